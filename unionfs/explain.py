"""Why a file is what it is: which layer gives a path or a module, and what it hides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unionfs.layer import EntryNo, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from resolver.manifest import LayerSpec, Manifest
    from unionfs.union import Place, Union

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_IN_VIEW = re.compile(r"(?:views/[0-9a-f]{32}|projects/[^/]+|current)(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One layer's own entry at a path; size in bytes (0 for directories)."""

    layer: LayerSpec
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A path in the view, who gives it, and whose entries it hides.

    A merged directory has several givers and hides nothing by itself.
    """

    path: str
    given_by: tuple[Provider, ...]
    hides: tuple[Provider, ...]


def candidates(query: str, manifest: Manifest, mount: Path, cwd: Path) -> Iterator[str]:
    """Paths in the view that the user may mean, the likeliest first.

    A path below the mount or below a project's `.venv`, a path in the view or in its
    site-packages, or a module's dotted name.
    """
    site = manifest.python.schemes.purelib
    inside = _inside(query, mount, cwd)
    if inside is not None:
        yield inside
        return
    plain = query.strip("/")
    yield plain
    yield f"{site}/{plain}"
    if _MODULE.fullmatch(query):
        module = query.replace(".", "/")
        yield f"{site}/{module}"
        yield f"{site}/{module}.py"


def extension_module(union: Union, site: str, module: str) -> str | None:
    """The path of a compiled module, whose file name carries an ABI tag."""
    *packages, last = module.split(".")
    directory = "/".join((site, *packages))
    place = union.resolve(directory.encode())
    if place is None or union.entry(place).kind is not Kind.DIRECTORY:
        return None
    prefix = f"{last}.".encode()
    for name, _ in union.children(place):
        if name.startswith(prefix) and name.endswith((b".so", b".pyi")):
            return f"{directory}/{name.decode()}"
    return None


def origin(union: Union, manifest: Manifest, path: str) -> Origin | None:
    """Who gives the path; None if the view has no such path."""
    place = union.resolve(path.encode("utf-8", "surrogateescape"))
    if place is None:
        return None
    entries = union.providers(path.encode("utf-8", "surrogateescape"))
    # The union's first rules, seen from one path: what merges is given by all that merge.
    shared = 0
    if union.entry(place).kind is Kind.DIRECTORY:
        while shared < len(entries) and _kind(union, entries[shared]) is Kind.DIRECTORY:
            shared += 1
    else:
        shared = 1
    return Origin(
        path=path,
        given_by=_providers(union, manifest, entries[:shared]),
        hides=_providers(union, manifest, entries[shared:]),
    )


def find(union: Union, manifest: Manifest, query: str, *, mount: Path, cwd: Path) -> Origin | None:
    """What `pkgview why QUERY` answers.

    A package's `__init__.py` says more than its directory, which others may share.
    """
    for path in candidates(query, manifest, mount, cwd):
        if _MODULE.fullmatch(query):
            inner = origin(union, manifest, f"{path}/__init__.py")
            if inner is not None:
                return inner
        found = origin(union, manifest, path)
        if found is not None:
            return found
    compiled = (
        extension_module(union, manifest.python.schemes.platlib, query)
        if _MODULE.fullmatch(query)
        else None
    )
    return None if compiled is None else origin(union, manifest, compiled)


def _inside(query: str, mount: Path, cwd: Path) -> str | None:
    """The part of an absolute or relative file path that lies in a view."""
    if "/" not in query:
        return None
    absolute = cwd / query
    if absolute.is_relative_to(mount):
        rest = str(absolute.relative_to(mount))
        match = _IN_VIEW.match(rest)
        return rest[match.end() :] if match else rest
    for parent in absolute.parents:
        if parent.name == ".venv":
            return str(absolute.relative_to(parent))
    return None


def _providers(union: Union, manifest: Manifest, places: Sequence[Place]) -> tuple[Provider, ...]:
    found = []
    for place in places:
        entry = union.layers[place.layer].entry(EntryNo(place.number))
        found.append(Provider(layer=manifest.layers[place.layer], kind=entry.kind, size=entry.size))
    return tuple(found)


def _kind(union: Union, place: Place) -> Kind:
    return union.layers[place.layer].entry(EntryNo(place.number)).kind
