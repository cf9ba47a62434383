"""Archives of files that no package brings: what a view has of its own.

Each is a small archive like any other. What it contains follows from its files alone, so it is
made once, found again under that content as its source, and made again where it is damaged.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.meta import NEWEST, Meta
from unionfs.archive.pack import Member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unionfs.store.local import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedFile:
    """A file (`target` is None) or a symbolic link (`content` is empty, `executable` False).

    `path` is relative and uses "/"; its first name is a top-level directory, which the layer's
    grafts place. One that ends with "/" is an empty directory. `target` is written as it is.
    """

    path: str
    content: bytes = b""
    target: str | None = None
    executable: bool = False


def add_generated(
    store: Store, stem: str, files: Sequence[GeneratedFile], *, newest: bool = False
) -> str:
    """The name of the archive of these files, made unless the store has it whole.

    `newest`: as `unionfs.archive.meta.NEWEST` says.
    """
    name = NEWEST if newest else ""
    source = f"made-{hashlib.sha256(f'{name}{files!r}'.encode()).hexdigest()}"
    archive = store.archive_of(source)
    if archive is None or not _is_whole(store, archive):
        meta = Meta(kind="skeleton", name=name, version="", stem=stem)
        archive = store.add([_member(file) for file in files], meta)
        store.record_source(source, archive)
    return archive


def _is_whole(store: Store, archive: str) -> bool:
    """These archives are small and need no network: a damaged one is simply made again."""
    try:
        store.verify(archive)
    except LayerError:
        return False
    return True


def _member(file: GeneratedFile) -> Member:
    path = file.path.encode("utf-8", "surrogateescape")
    if path.endswith(b"/"):
        return Member(path=path.rstrip(b"/"), kind=Kind.DIRECTORY)
    if file.target is not None:
        target = file.target.encode("utf-8", "surrogateescape")
        return Member(path=path, kind=Kind.SYMLINK, target=target)
    return Member(
        path=path,
        executable=file.executable,
        size=len(file.content),
        open=partial(io.BytesIO, file.content),
    )
