"""The places of a wheel's files: one of five schemes, and from there a place in a view.

In an archive the schemes are the top-level directories. A view puts each where its interpreter
has it; in every virtual environment `site-packages` is three levels deep, `bin` is `bin` and data
begins at the root, so that RECORD, which names files relative to `site-packages`, can be written
once for all Pythons.

Format: the wheel specification, "the .data directory"; sysconfig's scheme `venv`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from unionfs.archive.layer import Kind
from unionfs.formats.wheel import scripts
from unionfs.formats.zip import naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.tags import Tag

SCHEMES: Final = frozenset({"purelib", "platlib", "headers", "scripts", "data"})

_TO_ROOT = "../../../"
"""From lib/pythonX.Y/site-packages to the root of a view."""

_LIB64 = re.compile(r"\Alib64(?=/|\Z)")

_OF_THE_ENVIRONMENT = frozenset({"pyvenv.cfg", "site-packages"})
"""What a view has of its own at its root, where data would lie; `lib64` is a link to `lib`."""

_CPYTHON = re.compile(r"cp(?P<major>[0-9])(?P<minor>[0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`path` below the top-level directory `scheme` of an archive; "" is that directory itself."""

    scheme: str
    path: str

    @property
    def in_archive(self) -> bytes:
        """The member's path."""
        return f"{self.scheme}/{self.path}".encode()

    @property
    def in_view(self) -> str:
        """What is equal for two places that are one in every view."""
        match self.scheme:
            case "purelib" | "platlib":
                return f"{_TO_ROOT}lib/*/site-packages/{self.path}"
            case "scripts":
                return f"{_TO_ROOT}bin/{self.path}"
            case "headers":
                return f"{_TO_ROOT}include/*/{self.path}"
            case _:
                return _TO_ROOT + self.path

    def in_record(self, headers: str | None) -> str | None:
        """The path as RECORD has it; `headers` is the view's directory of headers, if known."""
        match self.scheme:
            case "purelib" | "platlib":
                return self.path
            case "headers":
                return None if headers is None else f"{_TO_ROOT}{headers}/{self.path}"
            case _:
                return self.in_view


def place(path: str, *, stem: str, root: str, name: str) -> Place | None:
    """Where a wheel's member goes; None if it lies under no scheme.

    `stem` is that of `<stem>.data`, `root` the scheme of all that is not below it, `name` the
    distribution's: its headers get a directory of that name.
    """
    top, _, below = path.partition("/")
    if top != f"{stem}.data":
        return Place(scheme=root, path=path)
    scheme, _, rest = below.partition("/")
    if not scheme:
        # The directory of the schemes itself.
        return Place(scheme=root, path="")
    if scheme not in SCHEMES:
        return None
    if scheme == "headers":
        rest = f"{canonicalize_name(name)}/{rest}".rstrip("/")
    elif scheme == "data":
        rest = _LIB64.sub("lib", rest)
    return Place(scheme=scheme, path=rest)


def left_out(where: Place) -> str | None:
    """Why it is left out: an environment has something of its own there. None: it is not."""
    top, _, below = where.path.partition("/")
    match where.scheme:
        case "scripts":
            own = scripts.is_of_activation(where.path)
        case "data":
            own = top in _OF_THE_ENVIRONMENT or (top == "bin" and scripts.is_of_activation(below))
        case _:
            own = False
    place = where.in_view.removeprefix(_TO_ROOT)
    return f"{place!r} is left out, where the environment has its own" if own else None


def place_faults(placed: Iterable[tuple[Place, Kind]]) -> Iterator[str]:
    """Places that nothing may have, and those that two files would have in a view."""
    kinds: list[tuple[str, Kind]] = []
    for where, kind in placed:
        kinds.append((where.in_view, kind))
        if where.scheme == "scripts" and ("/" in where.path or kind is Kind.DIRECTORY):
            yield f"the script {where.path!r} lies in a directory of its own"
        elif where.scheme == "scripts":
            for wrong in scripts.name_faults(where.path):
                yield f"the script name {where.path!r} {wrong}"
        elif where.scheme == "data" and _is_environment(where.path, kind):
            yield f"the data file {where.path!r} would replace a part of the environment"
    files = [(path, kind) for path, kind in kinds if kind is not Kind.DIRECTORY]
    directories = {(path, kind) for path, kind in kinds if kind is Kind.DIRECTORY}
    for clash in naming.collisions([*files, *directories]):
        yield f"installed, {clash.replace(_TO_ROOT, '')}"


def _is_environment(path: str, kind: Kind) -> bool:
    """Whether a data file has a place that a virtual environment has something of its own at."""
    top, _, below = path.partition("/")
    if top == "bin" and below:
        return any(scripts.name_faults(below.partition("/")[0]))
    return path == "bin" and kind is not Kind.DIRECTORY


def headers_directory(tags: Iterable[Tag]) -> str | None:
    """`include/site/pythonX.Y`, if the wheel is for one CPython only; None if for several.

    A wheel for several has one archive for all of them, which cannot name the directory.
    """
    found = {_headers_of(tag) for tag in tags}
    return found.pop() if len(found) == 1 else None


def _headers_of(tag: Tag) -> str | None:
    match = _CPYTHON.fullmatch(tag.interpreter)
    if match is None or tag.abi.rstrip("dmut") != tag.interpreter:
        return None
    threads = "t" if "t" in tag.abi[len(tag.interpreter) :] else ""
    return f"include/site/python{match['major']}.{match['minor']}{threads}"
