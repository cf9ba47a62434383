"""Packages of a Python lock: a wheel as it is, one that is built, or an editable tree.

Each choice is a package of the store, known under a key that says all that its archive follows
from.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from resolver.fetch.wanted import Download
from resolver.project.package import Package
from resolver.python.build import build_wheel
from resolver.python.directurl import direct_url
from resolver.python.editable import build_editable, editable_key, static_editable
from resolver.python.selection import Choice, Source
from resolver.python.uv import note as uv_note
from resolver.python.uv.settings import build_settings
from unionfs.archive.layer import Kind
from unionfs.archive.pack import Member
from unionfs.formats.wheel.editable import editable_members
from unionfs.formats.wheel.reader import open_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject
    from unionfs.store.local import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonPackage(Package):
    """A distribution.

    `unbuilt`: the project, to be taken as its files say since nothing may run, or as `earlier`, the
    archive of an earlier build. `note`: uv's, of a distribution from this machine.
    """

    choice: Choice
    unbuilt: PythonProject | None = None
    earlier: str | None = None
    note: Path | None = None


def package_of(
    choice: Choice,
    interpreter: Interpreter,
    *,
    state: Path | None = None,
    unbuilt: PythonProject | None = None,
    earlier: str | None = None,
) -> PythonPackage:
    """A choice as a package of that interpreter's; in `state` uv's notes are kept."""
    built = choice.kind is not Source.WHEEL
    as_it_is = unbuilt if built else None
    # Nothing is remembered of what was taken as its files say.
    key = None if as_it_is is not None else source_key(choice, interpreter)
    note = None if state is None or as_it_is is not None else _noted(choice, state)
    if key is not None and note is not None:
        # Its archive leads to this user's note: another's would not do, nor one that has none.
        key = f"noted-{hashlib.sha256(f'{key} {note}'.encode()).hexdigest()}"
    return PythonPackage(
        name=choice.name,
        version=choice.version or "",
        grafts=interpreter.python.schemes.grafts,
        key=key,
        download=_download(choice) if choice.filename is not None else None,
        built=built,
        choice=choice,
        unbuilt=as_it_is,
        earlier=earlier if as_it_is is not None else None,
        note=note,
    )


async def build(
    package: PythonPackage,
    source: Path | None,
    interpreter: Interpreter,
    within: Path,
    *,
    offline: bool,
) -> Path:
    """A wheel, or a tree in the shape of one, made in `within`."""
    choice, into = package.choice, within / "built"
    if package.unbuilt is not None:
        return await trio.to_thread.run_sync(static_editable, package.unbuilt, into)
    if choice.kind is Source.DIRECTORY and choice.editable and choice.path is not None:
        tree = _tree(choice.path, choice)
        return await build_editable(tree, interpreter, into, offline=offline, within=within)
    return await build_wheel(choice, source, interpreter, into, offline=offline, within=within)


def add(store: Store, package: PythonPackage, path: Path) -> str:
    """A wheel, or the tree of an editable build, as an archive of the store: its name."""
    choice = package.choice
    if path.is_dir():
        meta, members = editable_members(path, name=choice.name, version=choice.version or "0")
        return store.add(_with_note(members, package.note), meta)
    # A fetched wheel has the lock's hashes; what was built is known by nobody's.
    sha256 = dict(choice.hashes).get("sha256") if choice.kind is Source.WHEEL else None
    if sha256 is None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with open_wheel(
        path,
        filename=choice.filename if choice.kind is Source.WHEEL else path.name,
        name=choice.name,
        version=choice.version,
        origin=f"sha256:{sha256}",
        direct_url=direct_url(choice),
    ) as wheel:
        return store.add(_with_note(wheel.members(), package.note), wheel.meta)


def source_key(choice: Choice, interpreter: Interpreter) -> str | None:
    """Under which key the store remembers what a choice became; None if it has to be made anew.

    A wheel is known by its own hash. What is built depends on the interpreter, too, and on settings
    for compilers and back ends (`resolver.buildenv`). What no index
    offered says where it is from, so that is a part of its key. A directory has no version that
    could be compared; the project's fingerprint says when to build it again.
    """
    hashes = dict(choice.hashes)
    place = (direct_url(choice) or b"").decode()
    match choice.kind:
        case Source.WHEEL if "sha256" in hashes and place:
            digest = hashlib.sha256(f"{hashes['sha256']}\0{place}".encode())
            return f"direct-{digest.hexdigest()}"
        case Source.WHEEL if "sha256" in hashes:
            return f"sha256-{hashes['sha256']}"
        case Source.SDIST | Source.ARCHIVE if "sha256" in hashes:
            return _built_key(choice, interpreter, hashes["sha256"], place)
        case Source.VCS if choice.commit:
            return _built_key(
                choice, interpreter, choice.commit, str(choice.url or choice.path), place
            )
        case Source.DIRECTORY if choice.editable and choice.path is not None:
            return f"editable-{editable_key(_tree(choice.path, choice), interpreter)}"
        case _:
            return None


def _built_key(choice: Choice, interpreter: Interpreter, *parts: str) -> str:
    what = (*parts, choice.subdirectory or "", interpreter.tag)
    settings = build_settings(None)  # what is built elsewhere is built far from any project
    digest = hashlib.sha256("\0".join((*what, settings) if settings else what).encode())
    return f"built-{digest.hexdigest()}"


def _has_note(choice: Choice) -> bool:
    """Whether uv compares it with what lies there, at every look."""
    return choice.direct and choice.path is not None and choice.kind is not Source.VCS


def _noted(choice: Choice, state: Path) -> Path | None:
    """Write the note; what is not there will be missed by those who need it."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if choice.path is not None and _has_note(choice):
            is_tree = choice.kind is Source.DIRECTORY
            place = _tree(choice.path, choice) if is_tree else choice.path
            return uv_note.written(place, state, os.environ)
    return None


def _with_note(members: Iterable[Member], note: Path | None) -> Iterator[Member]:
    """The members, with a link to the note in `.dist-info`."""
    for member in members:
        directory, _, name = member.path.rpartition(b"/")
        if note is None or not directory.endswith(b".dist-info"):
            yield member
        elif name != os.fsencode(uv_note.NAME):
            yield member
            if name == b"RECORD":
                path = directory + b"/" + os.fsencode(uv_note.NAME)
                yield Member(path=path, kind=Kind.SYMLINK, target=os.fsencode(note))


def _tree(path: Path, choice: Choice) -> Path:
    return path / (choice.subdirectory or "")


def _download(choice: Choice) -> Download:
    return Download(
        url=str(choice.path) if choice.path is not None else choice.url or "",
        filename=choice.filename or "",
        size=choice.size,
        hashes=dict(choice.hashes),
    )
