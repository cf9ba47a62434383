"""Why a file is what it is: which layer gives a path or a module, and what it hides."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unionfs.archive.layer import EntryNo, Kind
from unionfs.bytecode.paired import Paired
from unionfs.kinds import MEMBERS, links, shown_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resolver.manifest import LayerSpec, Manifest
    from unionfs.view.union import Place, Union

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
MOST_LINKS = 40
"""What the kernel follows in one path walk."""

_IN_VIEW = re.compile(r"(?:views/[0-9a-f]{32}|projects/[^/]+|current)(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One layer's own entry at a path, in `archive`; size in bytes (0 for directories)."""

    layer: LayerSpec
    archive: str
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


def candidates(
    query: str, roots: Sequence[str], mount: Path, cwd: Path, project: Path | None = None
) -> Iterator[str]:
    """Paths in the view that the user may mean, the likeliest first.

    A path below the mount or below a project's link, a path in the view or below one of
    `roots`, where its kind looks names up (site-packages), or a module's dotted name. `project` is
    the root of the one whose links are the nearest.
    """
    inside = list(_inside(query, mount, cwd, project))
    if inside:
        yield from inside
        return
    plain = query.strip("/")
    yield plain
    for root in roots:
        yield f"{root}/{plain}"
        if _MODULE.fullmatch(query):
            module = query.replace(".", "/")
            yield f"{root}/{module}"
            yield f"{root}/{module}.py"


def extension_module(union: Union, site: str, module: str) -> str | None:
    """The path of a compiled module, whose file name carries an ABI tag."""
    *packages, last = module.split(".")
    directory = "/".join((site, *packages))
    place = union.resolve(directory.encode())
    if place is None or union.entry(place).kind is not Kind.DIRECTORY:
        return None
    prefix = f"{last}.".encode()
    for name, _, _ in union.children(place):
        if name.startswith(prefix) and name.endswith((b".so", b".pyi")):
            return f"{directory}/{os.fsdecode(name)}"
    return None


def origin(union: Union, manifest: Manifest, path: str) -> Origin | None:
    """Who gives the path; None if the view has no such path.

    A path that goes through links of the view itself (`lib64`, `site-packages`) means the place
    that they lead to.
    """
    real = followed(union, os.fsencode(path))
    if real is None:
        return None
    entries = union.providers(real)
    visible = _layers_above_files(union, real)
    given = 0
    # The union's own rules, seen from one path: what merges is given by all that merge.
    while given < len(entries) and entries[given].layer < visible:
        if _kind(union, entries[given]) is not Kind.DIRECTORY:
            given = given or 1
            break
        given += 1
    return Origin(
        path=os.fsdecode(real),
        given_by=_providers(union, manifest, entries[:given]),
        hides=_providers(union, manifest, entries[given:]),
    )


def followed(union: Union, path: bytes) -> bytes | None:
    """The path without links on its way (the last name may be one); None if it leads nowhere."""
    done: list[bytes] = []
    todo = list(reversed(path.split(b"/")))
    links = 0
    while todo:
        name = todo.pop()
        if name in {b"", b"."}:
            continue
        if name == b"..":
            del done[-1:]
            continue
        here = b"/".join((*done, name))
        place = union.resolve(here)
        if place is None:
            return None
        if not any(todo) or union.entry(place).kind is not Kind.SYMLINK:
            done.append(name)
            continue
        target = union.layers[place.layer].target(EntryNo(place.number))
        links += 1
        if target.startswith(b"/") or links > MOST_LINKS:
            return None
        todo += reversed(target.split(b"/"))
    return b"/".join(done)


def _layers_above_files(union: Union, path: bytes) -> int:
    """How many layers can show something below the directories on the way to `path`.

    Where a layer has a file in place of one of these, it and all layers after it are hidden there.
    """
    names = path.split(b"/")
    visible = len(union.layers)
    for depth in range(1, len(names)):
        for place in union.providers(b"/".join(names[:depth])):
            if _kind(union, place) is not Kind.DIRECTORY:
                visible = min(visible, place.layer)
    return visible


def find(  # noqa: PLR0913 - what to look for, in what, and where names mean what
    union: Union,
    manifest: Manifest,
    query: str,
    *,
    roots: Sequence[str],
    mount: Path,
    cwd: Path,
    project: Path | None = None,
) -> Origin | None:
    """What `pkgview why QUERY` answers; `roots` and `project`, its root, as in `candidates`.

    A package's `__init__.py` says more than its directory, which others may share.
    """
    paths = list(candidates(query, roots, mount, cwd, project))
    for path in paths:
        if _MODULE.fullmatch(query):
            inner = origin(union, manifest, f"{path}/__init__.py")
            if inner is not None:
                return inner
        found = origin(union, manifest, path)
        if found is not None:
            return found
    if _MODULE.fullmatch(query):
        for root in roots:
            compiled = extension_module(union, root, query)
            if compiled is not None:
                return origin(union, manifest, compiled)
    return next(filter(None, (_led_out(union, manifest, path) for path in paths)), None)


def _led_out(union: Union, manifest: Manifest, path: str) -> Origin | None:
    """Who gives the link on the way to a path by which it leads out of the view: a live layer."""
    names = path.split("/")
    for depth in range(1, len(names)):
        real = followed(union, os.fsencode("/".join(names[:depth])))
        place = None if real is None else union.resolve(real)
        if real is None or place is None:
            return None
        if union.entry(place).kind is Kind.SYMLINK:
            target = union.layers[place.layer].target(EntryNo(place.number))
            return origin(union, manifest, os.fsdecode(real)) if target[:1] == b"/" else None
    return None


def _inside(query: str, mount: Path, cwd: Path, project: Path | None) -> Iterator[str]:
    """The part of an absolute or relative file path that lies in a view, if any may be meant."""
    if "/" not in query:
        return
    absolute = Path(os.path.normpath(cwd / query))
    if absolute.is_relative_to(mount):
        rest = str(absolute.relative_to(mount))
        match = _IN_VIEW.match(rest)
        yield rest[match.end() :] if match else rest
        return
    if project is not None and absolute.is_relative_to(project):
        names = absolute.relative_to(project).parts
        at = next((at for at, name in enumerate(names) if name in links()), None)
        if at is not None:
            shown = [shown_of(names[at]), *names[at + 1 :]] if at == 0 else [MEMBERS, *names]
            yield "/".join(filter(None, shown))
    for parent in absolute.parents:
        if parent.name in links():
            rest = absolute.relative_to(parent).as_posix()
            yield "/".join(filter(None, (shown_of(parent.name), rest)))


def _providers(union: Union, manifest: Manifest, places: Sequence[Place]) -> tuple[Provider, ...]:
    found = []
    for place in places:
        layer, number = union.layers[place.layer], EntryNo(place.number)
        spec, entry = manifest.layers[place.layer], layer.entry(number)
        compiled = isinstance(layer, Paired) and layer.in_companion(number) is not None
        archive = spec.bytecode if compiled else spec.archive
        found.append(Provider(layer=spec, archive=archive, kind=entry.kind, size=entry.size))
    return tuple(found)


def _kind(union: Union, place: Place) -> Kind:
    return union.layers[place.layer].entry(EntryNo(place.number)).kind
