"""An egg, or another Zip file that could stand on `sys.path`, read as hostile input."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

from resolver.errors import PkgviewError
from unionfs.archive.layer import Kind
from unionfs.archive.pack import Member
from unionfs.formats.byhand.infos import (
    INFO,
    METADATA,
    POINTS,
    SITE,
    Distribution,
    distribution,
    meta_of,
    script_members,
    script_of,
)
from unionfs.formats.zip.check import ZipFile, ZipMember
from unionfs.formats.zip.fault import UnsoundZipError
from unionfs.formats.zip.stream import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXT_LIMIT: Final = 16 * 2**20
"""Most bytes of a file that is held in memory: metadata, a script."""

_LEFT_OUT = re.compile(r"(?:.*/)?__pycache__(?:/.*)?|[^/]*\.pth|.*\.pyc", re.DOTALL)
"""Bytecode is made anew; a `.pth` file is nothing on `sys.path`."""


class Packed:
    """An open one, found to be in order. Close it after the last stream of its members."""

    def __init__(self, path: Path, origin: str, named: str) -> None:
        """`named` is how errors call it.

        Raises `PkgviewError` where it is no Zip file to be trusted, or cannot be read.
        """
        self._path, self._named = path, named
        try:
            self._zip = ZipFile(path)
        except UnsoundZipError as error:
            raise self._refused(str(error)) from error
        except OSError as error:
            raise PkgviewError(f"cannot read {named}: {error.strerror}") from error
        try:
            self.distributions = tuple(self._distributions())
            self.meta = meta_of(self.distributions, path.name, origin)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def members(self) -> Iterator[Member]:
        """Its files at their places; EGG-INFO is called as `importlib.metadata` looks for it."""
        infos = {one.info: one.egg_info for one in self.distributions if one.info == "EGG-INFO"}
        own = {one.path: one for one in (*self._scripts(), *script_members(self.distributions))}
        for member in self._zip.members:
            top, slash, below = member.path.partition("/")
            if _LEFT_OUT.fullmatch(member.path):
                continue
            path = f"{SITE}/{infos.get(top, top)}{slash}{below}".encode()
            if member.kind is not Kind.FILE:
                yield Member(path=path, kind=Kind.DIRECTORY)
                continue
            yield Member(
                path=path,
                executable=member.executable,
                size=member.size,
                open=self._opener(member),
            )
        yield from own.values()

    def _opener(self, member: ZipMember) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", self._zip.stream(member))

    def _scripts(self) -> Iterator[Member]:
        for member in self._zip.members:
            directory, _, name = member.path.rpartition("/")
            if directory == "EGG-INFO/scripts" and member.kind is Kind.FILE:
                script = script_of(name, self._content(member))
                if script is not None:
                    yield script

    def _distributions(self) -> Iterator[Distribution]:
        files = {one.path: one for one in self._zip.members if one.kind is Kind.FILE}
        tops = dict.fromkeys(path.partition("/")[0] for path in files)
        for top in tops:
            if not INFO.fullmatch(top) or top in files:
                continue
            texts = [
                self._content(files[f"{top}/{name}"]).decode("utf-8", "replace")
                if f"{top}/{name}" in files
                else ""
                for name in (*METADATA, POINTS)
            ]
            called = self._path.name if top == "EGG-INFO" else top.rpartition(".")[0]
            metadata = next(filter(None, texts[:-1]), "")
            yield distribution(top, metadata, texts[-1], called=called, of=self._named)

    def _content(self, member: ZipMember) -> bytes:
        if member.size > TEXT_LIMIT:
            raise self._refused(f"{member.path!r} has {member.size} bytes")
        try:
            with self._zip.stream(member) as stream:
                return stream.read()
        except ContentError as error:
            raise self._refused(f"{member.path!r} {error}") from error

    def _refused(self, why: str) -> PkgviewError:
        return PkgviewError(
            f"{self._named} is refused: {why}",
            remedy="Make it anew with another tool, or unpack it and name the directory.",
        )
