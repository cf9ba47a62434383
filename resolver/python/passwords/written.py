"""User and password in the addresses that a project's files name.

`--index-url https://user:password@host/simple` in a requirements file, `${NAME}` in it, and the
same in an address that a requirement names. uv reads them where it resolves, and writes those of
single files and repositories into the lock, with what the environment has for a variable. A lock
may be committed, and a password change, so it has none, wherever uv has them from (`taken_out`).
They are looked up again where a file is fetched: in the project's files, in those that settings
name (`resolver.python.constraints`), and in the metadata of source trees, as far as they can be
found there without running anything. One that only an index's metadata tells is not found again.

Each counts for the place that it was written for, and no other: an index, as docs/security.md says
which addresses are one's; a page of links, and what lies beside and below it; a file; a repository.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import canonical, file_places, links_places, without_userinfo
from resolver.python.constraints.named import named_lines
from resolver.python.requirements import requirement_files, with_variables
from resolver.toml import every_text, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from resolver.python.constraints.named import NamedLines
    from resolver.python.project import PythonProject

_ADDRESS = re.compile(r"(https?://)([^/?#\\]*)@(.+)", re.IGNORECASE | re.DOTALL)
"""In one word, as WHATWG reads it: its user may have quotes and brackets in it."""

_IN_CODE = re.compile(r"https?://[^\s/?#\\\"'<>]+@[^\s\"'<>\\]+", re.IGNORECASE)
"""In a text of which nobody knows where a word ends."""

_OPTION = re.compile(
    r"(?:^|\s)(?:(-[if])\s*|(--(?:index-url|extra-index-url|find-links))(?:\s*=\s*|\s+))"
    r"(\"[^\"]*\"|'[^']*'|\S+)"
)
_REVISION = re.compile(r"@[^/@]*$")
_EXTRAS = re.compile(r"\[[^\]/]*\]$")

_USER = re.compile(r"(?<=://)[^\s/?#\\\"]*@")
"""In a lock, where uv quotes what else an address could end with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """By place, "user:password", both quoted.

    `indexes` has the addresses below which the files of an index or a page of links lie, as
    `resolver.fetch.addresses` has them, `direct` those of single files and repositories.
    """

    indexes: dict[str, str] = field(default_factory=dict, repr=False)
    direct: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def facts(self) -> tuple[str, ...]:
        """What a lock follows from besides its project's files: that they are taken out."""
        return ("passwords 2",) if self.direct else ()

    @property
    def credentials(self) -> dict[str, tuple[str, str]]:
        """User and password of the indexes' places."""
        pairs = ((place, said.partition(":")) for place, said in self.indexes.items())
        return {place: (unquote(pair[0]), unquote(pair[2])) for place, pair in pairs}

    def with_password(self, url: str) -> str:
        """The address of a file or repository as it was written, where it was."""
        said = self.direct.get(_plain(url))
        if said is None or "@" in urlsplit(url).netloc:
            return url
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{said}@{rest}"


def taken_out(lock: bytes) -> bytes:
    """What uv wrote, in whichever of its forms, without any password.

    The name alone of a user of ssh is none, and nothing is fetched without it.
    """

    def without(found: re.Match[str]) -> str:
        if found.string.endswith(("http://", "https://"), 0, found.start()):
            return ""
        user, colon, _ = found[0].partition(":")
        return f"{user}@" if colon else user

    return _USER.sub(without, lock.decode()).encode()


def written(
    project: PythonProject, requirements: Iterable[str] = (), named: NamedLines | None = None
) -> Written:
    """All that a project's files have, these requirements (`--with`), and what settings name."""
    found = Written()
    asked = tuple(requirements)
    listed: set[Path] = set()
    if (start := project.directory / "requirements.txt") in project.inputs:
        with suppress(PkgviewError):  # who needs them has been told; a lock does without
            files = requirement_files(start)
            listed.update(files.files)
            for line in files.lines:
                _find_in_line(line.text, found)
    for path in project.inputs:
        if path in listed:
            continue
        text = project.content(path).decode("utf-8-sig", "replace")
        if path.suffix != ".toml" and path != project.root:
            _find(_IN_CODE.findall(text), found)  # setup.py, setup.cfg
            continue
        with suppress(tomllib.TOMLDecodeError, RecursionError):  # uv will complain of it
            for one in every_text(parse(text)):
                _find(one.split(), found)
    named = named_lines(project, beside=bool(asked)) if named is None else named
    for one in (*named.overrides, *named.constraints):
        _find_in_line(one, found)
    for one in asked:
        _find(one.split(), found)
    return found


def _find_in_line(line: str, found: Written) -> None:
    """Note what a line of a requirements file has."""
    for option in _OPTION.finditer(line):
        is_page = option[1] == "-f" or option[2] == "--find-links"
        for url, said in _addresses([option[3].strip("\"'")]):
            places = links_places(url) if is_page else file_places(canonical(url))
            found.indexes.update(dict.fromkeys(places, said))
    _find(_OPTION.sub(" ", line).split(), found)


def _find(words: Iterable[str], found: Written) -> None:
    """Note what is an address of a file or a repository."""
    for url, said in _addresses(words):
        found.direct[_plain(url)] = said


def _addresses(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each address with a user, without it; and "user:password"."""
    # A variable may hold any part of it, or all.
    for address in map(_ADDRESS.search, map(with_variables, words)):
        if address is None or "${" in address[2]:
            continue  # the environment does not have it, and uv goes without
        user, colon, password = address[2].partition(":")
        with suppress(ValueError):
            urlsplit(url := f"{address[1]}{address[3]}")
            yield url, f"{_quoted(user)}{colon}{_quoted(password)}"


def _quoted(text: str) -> str:
    """The same for all who read addresses, however it was written."""
    return quote(unquote_to_bytes(text), safe="")


def _plain(url: str) -> str:
    """A file or repository, whoever asks for it, and whichever revision."""
    with suppress(ValueError):
        url = without_userinfo(re.split(r"[?#]", url, maxsplit=1)[0])
        return unquote(canonical(_REVISION.sub("", _EXTRAS.sub("", url))))
    return ""
