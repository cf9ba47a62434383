"""Bytecode as an archive: which files may be in it, and whose companion it is.

What an archive's sources were compiled to, for one interpreter, is an archive of its own, the
*companion* of that archive. It holds `__pycache__/NAME.TAG.pyc` beside a `NAME.py` of its own
source, and nothing else: it can neither hide a file nor bring code of its own under another
name. Whose it is stands in its metadata, which its name vouches for.

The store finds a companion by its source and by what an interpreter reads: cache tag (PEP 3147)
and magic number. What a Python has compiled that a project brought is for the views of that one
alone. One that lacks a file's bytecode is as final as any other: what could not be compiled once is
not tried again.

Pure: nothing here compiles or reads files.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.meta import NAME_LIMIT, Meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.manifest import LayerSpec, Manifest
    from resolver.python.interpreter import Interpreter
    from unionfs.archive.layer import EntryNo
    from unionfs.archive.reader import Archive

KIND = "bytecode"
PYCACHE = b"__pycache__"
SOURCE = b".py"

MOST_COMPILED = 2
"""How many entries a companion has at most for each of its source: for a directory the same one
and a `__pycache__`, for a file its bytecode."""

_FORMAT = "2"
"""Raised where the same source and interpreter shall be compiled anew.

What was compiled under 1 may be of any Python with that magic number."""

_SITE = (b"purelib/", b"platlib/")
"""The schemes that modules are imported from."""


def companion_key(archive: str, interpreter: Interpreter) -> str:
    """Under which key the store remembers the companion of the archive of that name."""
    told = f"{archive} {interpreter.cache_tag} {interpreter.magic} {_FORMAT}"
    told += f" {interpreter.own}" if interpreter.own else ""
    return f"{KIND}-{hashlib.sha256(os.fsencode(told)).hexdigest()}"


def with_companions(
    manifest: Manifest, interpreter: Interpreter, archive_of: Callable[[str], str | None]
) -> Manifest:
    """The manifest with the bytecode that there is by now; `archive_of` is the store's."""

    def paired(layer: LayerSpec) -> LayerSpec:
        known = archive_of(companion_key(layer.archive, interpreter))
        return replace(layer, bytecode=known or "")

    return replace(manifest, layers=tuple(map(paired, manifest.layers)))


def companion_meta(source: Archive, interpreter: Interpreter) -> Meta:
    """What a companion says of itself. Without a hyphen its name is no distribution's."""
    of = source.meta
    whose = f"{of.name}_{of.version}" if of.name else of.stem
    return Meta(
        kind=KIND,
        name=of.name,
        version=of.version,
        stem=f"{whose}.{interpreter.cache_tag}.pyc".replace("-", "_"),
        origin=f"{source.digest_hex} {interpreter.cache_tag} {interpreter.magic}",
    )


def sources(archive: Archive, cache_tag: str) -> Iterator[tuple[bytes, EntryNo, bytes]]:
    """What is compiled: (path, entry, path of its bytecode), as an installer would choose.

    A directory with a `__pycache__` of its own is left as it is.
    """
    for path, number in archive.walk():
        if not path.endswith(SOURCE) or not path.startswith(_SITE):
            continue
        if archive.entry(number).kind is not Kind.FILE:
            continue
        directory, _, name = path.rpartition(b"/")
        compiled = compiled_name(name, cache_tag)
        if len(compiled) > NAME_LIMIT or archive.find(directory + b"/" + PYCACHE) is not None:
            continue
        yield path, number, b"/".join((directory, PYCACHE, compiled))


def compiled_name(name: bytes, cache_tag: str) -> bytes:
    """`NAME.TAG.pyc` for `NAME.py`, as `importlib.util.cache_from_source` has it."""
    return b"%s.%s.pyc" % (name.removesuffix(SOURCE), cache_tag.encode())


def cache_tag_of(companion: Archive, source: Archive) -> str:
    """The cache tag of a companion of that source; `LayerError` if it is none of it."""
    whose, _, reads = companion.meta.origin.partition(" ")
    tag, _, magic = reads.partition(" ")
    if companion.meta.kind != KIND or not tag or not magic:
        raise LayerError(f"{companion.name} holds no bytecode")
    if whose != source.digest_hex or len(companion) > MOST_COMPILED * len(source):
        raise LayerError(f"{companion.name} holds bytecode, but not of {source.name}")
    return tag


def check(companion: Archive, source: Archive) -> None:
    """`LayerError` unless it holds bytecode of that source and nothing else."""
    allowed = {path for _, _, path in sources(source, cache_tag_of(companion, source))}
    above = {path.rpartition(b"/")[0] for path in allowed}
    for path in list(above):
        parts = path.split(b"/")
        above.update(b"/".join(parts[:count]) for count in range(1, len(parts)))
    for path, number in companion.walk():
        entry = companion.entry(number)
        right = above if entry.kind is Kind.DIRECTORY else allowed
        if path not in right or entry.kind is Kind.SYMLINK or entry.executable:
            raise LayerError(
                f"{companion.name} holds {os.fsdecode(path)!r}, which is no bytecode of "
                f"{source.name}"
            )
