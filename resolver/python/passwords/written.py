"""User and password in the addresses that a project's files name.

`--index-url https://user:password@host/simple` in a requirements file, `${NAME}` in it, and the
same in an address that a requirement names. uv reads them where it resolves, and writes those of
single files and repositories into the lock, with what the environment has for a variable. A lock
may be committed, and a password change, so it has none: they are taken out of what uv writes, and
looked up again where a file is fetched.

Each counts for the place that it was written for, and no other: an index, as docs/security.md says
which addresses are one's; a page of links, and what lies beside and below it; a file; a repository.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import canonical, file_places, links_places, without_userinfo
from resolver.python.requirements import requirement_files, with_variables
from resolver.toml import every_text, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resolver.python.project import PythonProject

_ADDRESS = re.compile(r"(https?://)([^\s/?#\"'<>]+)@([^\s\"'<>]+)")
_OPTION = re.compile(
    r"(?:^|\s)(?:(-[if])\s*|(--(?:index-url|extra-index-url|find-links))(?:\s*=\s*|\s+))[\"']?$"
)
_REVISION = re.compile(r"@[^/@]*$")

_LONGEST_OPTION = 40
"""Characters before an address in which its option stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """By place, "user:password" as an address has them, quoted.

    `indexes` has the addresses below which the files of an index or a page of links lie, as
    `resolver.fetch.addresses` has them, `direct` those of single files and repositories.
    """

    indexes: dict[str, str] = field(default_factory=dict, repr=False)
    direct: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def facts(self) -> tuple[str, ...]:
        """What a lock follows from besides its project's files: that they are taken out."""
        return ("passwords 1",) if self.direct else ()

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

    def taken_out(self, lock: bytes) -> bytes:
        """What uv wrote, without those that can be looked up again."""
        if not self.direct:
            return lock

        def without(found: re.Match[str]) -> str:
            known = _plain(f"{found[1]}{found[3]}") in self.direct
            return f"{found[1]}{found[3]}" if known else found[0]

        return _ADDRESS.sub(without, lock.decode()).encode()


def written(project: PythonProject, requirements: Iterable[str] = ()) -> Written:
    """All that a project's files have, and these requirements (`--with`)."""
    found = Written()
    for path in project.inputs:
        if path.name == "requirements.txt" and path.parent == project.directory:
            with suppress(PkgviewError):  # who needs them has been told; a lock does without
                for line in requirement_files(path).lines:
                    _find(line.text, found)
        elif path.suffix == ".toml" or path == project.root:
            text = project.content(path).decode("utf-8-sig", "replace")
            with suppress(tomllib.TOMLDecodeError, RecursionError):  # uv will complain of it
                for one in every_text(parse(text)):
                    _find(one, found)
    for one in requirements:
        _find(one, found)
    return found


def _find(text: str, found: Written) -> None:
    """Note what one line, or one text of a TOML file, has."""
    for address in _ADDRESS.finditer(text):
        scheme, said, rest = map(with_variables, address.groups())
        if "${" in said:
            continue  # the environment does not have it, and uv goes without
        before = text[max(0, address.start() - _LONGEST_OPTION) : address.start()]
        option = _OPTION.search(before)
        url = f"{scheme}{rest}"
        if option is None:
            found.direct[_plain(url)] = said
        elif option[1] == "-f" or option[2] == "--find-links":
            found.indexes.update(dict.fromkeys(links_places(url), said))
        else:
            found.indexes.update(dict.fromkeys(file_places(canonical(url)), said))


def _plain(url: str) -> str:
    """A file or repository, whoever asks for it, and whichever revision."""
    with suppress(ValueError):
        return canonical(_REVISION.sub("", without_userinfo(re.split(r"[?#]", url, maxsplit=1)[0])))
    return ""
