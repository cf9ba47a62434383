"""Which hashes a project states of its files, and whether all of them have to have one.

Two ways to state one, read as pip and uv do (https://pip.pypa.io/en/stable/topics/secure-installs/):
`--hash=ALGORITHM:DIGEST` at the end of a line of a requirements file, of which a file has to have
any, and `#ALGORITHM=DIGEST` in an address, which it has to have. `uv pip compile` writes neither
into a lock, but for SHA-2 in an address of http; so a lock is held to them by `held`.

A hash is stated of what a line names: of a distribution, or of a place, which is an address or a
path. Places are compared as `place_of` has them. For which interpreter it counts, and before which
others, is in `lines`.
"""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.python.constraints.named import NOTHING_NAMED
from resolver.python.hashes.lines import Rank, Some
from resolver.python.index import requires_hashes
from resolver.python.project import Origin
from resolver.python.requirements import normalised, requirement_files, with_variables
from resolver.toml import every_text, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from resolver.python.constraints.named import NamedLines
    from resolver.python.project import PythonProject

OF_OPTIONS: Final = frozenset(("md5", "sha256", "sha384", "sha512", "blake2b"))
"""Algorithms of `--hash`: uv's. pip has three of them, and refuses a file with others."""

_OF_ADDRESSES = re.compile(
    r"(?:^|&)(sha512|sha384|sha256|sha224|sha1|md5|blake2b)=([^&]*)", re.ASCII
)
"""pip's, and uv's `blake2b`. Of several the first counts."""

_HASH = re.compile(r"\s--hash(?:\s*=\s*|\s+)(\S+)")
_REMOTE = re.compile(
    r"(?:-r|-c|--requirement|--constraint)[\s=]*[\"']?(https?://[^\s\"']+)", re.IGNORECASE
)
_REQUIRED = re.compile(r"(?:^|\s)--require-hashes(?:\s|$)")
_OPTIONS = re.compile(r"\s--\S.*$", re.DOTALL)
_NAMED = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*")
_FILE = re.compile(r"\.(?:whl|zip|tgz|tbz|txz|tlz|tar(?:\.\w+)?)$", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What is stated, in the order of the lines.

    `names` has it by a distribution's name, `places` by where its file is, `direct` by the name
    of what has a place. `required`: whatever has none is refused, as pip does where one has.
    `unread` are addresses of further requirements files, which only uv reads.
    """

    names: Mapping[str, tuple[Some, ...]]
    places: Mapping[str, tuple[Some, ...]]
    direct: Mapping[str, tuple[Some, ...]]
    required: bool = False
    unread: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """What a person should know of it, a sentence; mostly ""."""
        if not self.unread:
            return ""
        named = ", ".join(self.unread)
        return f"Hashes and passwords in {named} are not looked at: only uv reads these files."

    @property
    def facts(self) -> tuple[str, ...]:
        """What a lock follows from besides its project's files; nothing where none is stated."""
        if not (self.required or self.names or self.places):
            return ()
        return ("hashes 2", "required" if self.required else "")

    def of(self, name: str, place: str) -> tuple[Some, ...]:
        """That of a distribution, whose own place is `place` or "": an index has it.

        A place may be written in another way than it is locked; then its file's name decides.
        """
        if not place:
            return self.names.get(name, ())
        if place in self.places:
            return self.places[place]
        file = place.rpartition("/")[2]
        alike = [some for one, some in self.places.items() if one.rpartition("/")[2] == file]
        if alike:
            return tuple(one for some in alike for one in some)
        return self.direct.get(name) or self.names.get(name, ())


def stated(
    project: PythonProject,
    requirements: Iterable[str] | None = None,
    named: NamedLines = NOTHING_NAMED,
) -> Stated:
    """All that a project states, or these requirements (PEP 508, or a place) alone.

    And what settings name besides. `PkgviewError` for what is no hash.
    """
    found = _Found(project.directory)
    listed = project.origin is Origin.REQUIREMENTS and requirements is None
    for line in named.overrides:
        found.line(line, Rank.OVERRIDE, binds=False)
    if requirements is not None:
        found.texts(requirements)
    else:
        _in_toml(project, found)
    lines = requirement_files(project.root / Origin.REQUIREMENTS).lines if listed else ()
    for one in lines:
        found.line(one.text, Rank.CONSTRAINT if one.constraint else Rank.REQUIREMENT)
    rank = Rank.NAMED if named.by_pip else Rank.CUT
    for line in named.constraints:
        found.line(line, rank, binds=named.by_pip and listed)
    if requirements is not None:
        found.required = False  # what is added to a project for one run has no lines
    elif listed:
        found.required = found.required or requires_hashes(project.directory)
    return found.result()


def _in_toml(project: PythonProject, found: _Found) -> None:
    for path in project.inputs:
        if path.suffix == ".toml" or path == project.root:
            text = project.content(path).decode("utf-8-sig", "replace")
            with suppress(tomllib.TOMLDecodeError, RecursionError):  # uv will complain of it
                found.texts(every_text(parse(text)))


class _Found:
    """What is stated so far."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: dict[str, list[Some]] = {}
        self._places: dict[str, list[Some]] = {}
        self._direct: dict[str, list[Some]] = {}
        self.required = False
        self._unread: list[str] = []

    def texts(self, texts: Iterable[str]) -> None:
        """Texts of which some may be requirements; they have no options."""
        for text in texts:
            if "#" in text or "${" in text:
                self._requirement(text, frozenset(), Rank.REQUIREMENT)

    def line(self, line: str, rank: Rank, *, binds: bool = True) -> None:
        """One of a requirements file, without its comment.

        `binds`: one hash means that all have to have one, as for pip.
        """
        options = frozenset(_option(found[1], line) for found in _HASH.finditer(line))
        required = (binds and bool(options)) or bool(_REQUIRED.search(line))
        self.required = self.required or required
        if remote := _REMOTE.match(line):
            self._unread.append(_shown(remote[1]))
        if not line.startswith("-"):
            self._requirement(_OPTIONS.sub("", line), options, rank)

    def _requirement(self, text: str, options: frozenset[str], rank: Rank) -> None:
        # uv's own variable besides; the whole of an address may be in one.
        text = with_variables(text, {"PROJECT_ROOT": str(self._directory)})
        parts = _split(text)
        place, in_address = _placed(parts.place, self._directory) if parts.place else ("", "")
        hashes = options
        if in_address:
            algorithm = in_address.partition(":")[0]
            same = {one for one in options if one.startswith(f"{algorithm}:")}
            if same and in_address not in same:
                raise PkgviewError(
                    f"{_shown(text)} has two hashes that contradict each other",
                    remedy="Leave the one out that is not the file's.",
                )
            hashes = frozenset((in_address,))
        if not hashes:
            return
        some = Some(hashes=hashes, rank=rank, marker=parts.marker, specifier=parts.specifier)
        if place:
            self._places.setdefault(place, []).append(some)
        if parts.name:
            (self._direct if place else self._names).setdefault(parts.name, []).append(some)

    def result(self) -> Stated:
        """All of it."""
        names, places, direct = (
            {key: tuple(dict.fromkeys(some)) for key, some in one.items()}
            for one in (self._names, self._places, self._direct)
        )
        return Stated(
            names=names,
            places=places,
            direct=direct,
            required=self.required,
            unread=tuple(dict.fromkeys(self._unread)),
        )


def has_hash(requirement: str) -> bool:
    """Whether a hash stands in the address that a requirement has."""
    return bool(_OF_ADDRESSES.search(requirement.partition("#")[2]))


def place_of(address: str, directory: Path) -> str:
    """An address without user and fragment, or an absolute path with all links followed."""
    return _placed(address, directory)[0]


def _placed(target: str, directory: Path) -> tuple[str, str]:
    """The place, "" for what is none, and the hash that stands in the address, if one does."""
    target, _, fragment = target.partition("#")
    found = _OF_ADDRESSES.search(fragment)
    in_address = f"{found[1]}:{found[2].strip().lower()}" if found else ""
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        return "", ""
    if "://" in target and parts.scheme != "file":
        query = f"?{parts.query}" if parts.query else ""
        where = f"{parts.hostname}:{port or _PORTS.get(parts.scheme)}"
        return f"{parts.scheme}://{where}{unquote(parts.path)}{query}", in_address
    path = unquote(parts.path) if parts.scheme == "file" else target
    return ("" if "\0" in path else os.path.realpath(directory / path)), in_address


class _Requirement(NamedTuple):
    """Parts of a requirement; "" for what it has not. `name` is normalised."""

    name: str = ""
    place: str = ""
    specifier: str = ""
    marker: str = ""


def _split(text: str) -> _Requirement:
    text, marker = (one.strip() for one in (*re.split(r"\s;", text, maxsplit=1), "")[:2])
    named = _NAMED.match(text)
    if named is not None and text[named.end() :].startswith("@"):
        place = text[named.end() + 1 :].strip()
        return _Requirement(normalised(named[1]), place, marker=marker)
    plain = text.partition("#")[0]
    if "://" in plain or plain.startswith((".", "/", "~", "file:")) or _FILE.search(plain):
        place = _without_extras(plain) + text[len(plain) :]
        return _Requirement(place=place, marker=marker)
    if named is None:
        return _Requirement()
    specifier, semicolon, at_once = text[named.end() :].partition(";")  # without a blank before it
    marker = at_once.strip() if semicolon else marker
    return _Requirement(normalised(named[1]), "", specifier.strip("() \t"), marker)


def _without_extras(place: str) -> str:
    """`./x.whl` for `./x.whl[extra]`."""
    opened = place.rfind("[")
    has_some = place.endswith("]") and opened > 0 and "/" not in place[opened:]
    return place[:opened] if has_some else place


def _option(said: str, line: str) -> str:
    algorithm, _, digest = said.strip("\"'").partition(":")
    if algorithm not in OF_OPTIONS or not re.fullmatch(r"[0-9A-Fa-f]+", digest):
        raise PkgviewError(
            f"{_shown(line)}: {said} is no hash that pip or uv would take",
            remedy="Write it as --hash=sha256:… with the digest in hexadecimal.",
        )
    return f"{algorithm}:{digest.lower()}"


def _shown(line: str) -> str:
    """A line fit for a message: without the password of an address, and not for ever."""
    text = masked(_OPTIONS.sub("", line))
    return text if len(text) <= 100 else f"{text[:100]}…"  # noqa: PLR2004 - a line
