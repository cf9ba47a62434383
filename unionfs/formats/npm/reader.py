"""An npm package's tarball, opened as hostile input, as the members of an archive.

`open_tarball` reads all of it, refuses it with its faults, and is left with the files that
`npm install` would have made of it, below the directory `TOP` of the archive. Where the two differ
is listed in docs/npm-packages.md.

Which module knows what:

    integrity    what a lock says of the file's bytes
    unpacked     the file's bytes, unpacked
    formats/tar  the entries, which have one reading only
    paths        where a path leads
    files        which file is there in the end
    packagejson  names, versions and commands
    reader       all of them together
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from resolver.naming import spelled
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.formats.npm import packagejson
from unionfs.formats.npm.files import File, Files
from unionfs.formats.npm.integrity import Integrity
from unionfs.formats.npm.packagejson import PackageJson
from unionfs.formats.npm.unpacked import unpacked
from unionfs.formats.tar.content import stream
from unionfs.formats.tar.entries import entries
from unionfs.formats.tar.fault import PackageRefused, UnsoundTarballError, refusing
from unionfs.formats.tar.unpacked import close

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unionfs.formats.tar.unpacked import Unpacked

TOP: Final = "package"
"""The one top-level directory of an archive: a view grafts it wherever the package goes."""

_MANIFEST = "package.json"
_BUNDLED = re.compile(r"(?:node_modules/(?:@[^/]+/)?[^/@][^/]*/)+package\.json")
_LINE = re.compile(rb"#![^\n]+\r\n")
_LINE_LIMIT = 2048
_NOT_IN_STEM = re.compile(r"[^A-Za-z0-9._+!-]")


def open_tarball(  # noqa: PLR0913 - all but the path by name
    path: Path,
    *,
    filename: str | None = None,
    name: str | None = None,
    version: str | None = None,
    integrity: str | None = None,
    origin: str = "",
) -> Tarball:
    """Open a package's tarball and find it in order.

    `path` is the file, `filename` what messages call it (its own name where that is None). `name`
    and `version` are what the lock calls the package, and what its archive will say; where they
    are None package.json has to say them. `integrity` is the lock's, of which the file has to
    have the strongest hash; None: nothing is checked. `origin` is what the archive will say it was
    made from ("sha256:<hex>").

    Raises `PackageRefused`; `PkgviewError` where the file cannot be read.
    """
    filename = path.name if filename is None else filename
    try:
        wanted = Integrity.parse(integrity) if integrity is not None else None
    except ValueError as error:
        raise PackageRefused(filename, f"what the lock says of it, {error}") from error
    with refusing(path, filename):
        data = unpacked(path, wanted)
        try:
            return Tarball(data, filename=filename, name=name, version=version, origin=origin)
        except BaseException:
            close(data)
            raise


class Tarball:
    """An open tarball that was found to be in order; made by `open_tarball`.

    `package` is what its package.json says. Close it only after the last stream of its members was
    read.
    """

    def __init__(
        self,
        data: Unpacked,
        *,
        filename: str,
        name: str | None,
        version: str | None,
        origin: str,
    ) -> None:
        self.filename = filename
        self._data = data
        self._files = Files(entries(data))
        if not self._files:
            raise UnsoundTarballError("it has no files")
        self._odd: list[str] = []
        self.package = self._own(needed=name is None or version is None)
        self._make_commands()
        name, version = name or self.package.name, version or self.package.version
        if not name or not version:
            missing = " and ".join(["name"] * (not name) + ["version"] * (not version))
            raise UnsoundTarballError(f"its package.json has no {missing}")
        self.meta = Meta(
            kind="distribution", name=name, version=version, stem=stem(name, version), origin=origin
        )

    @property
    def odd(self) -> tuple[str, ...]:
        """What a person might want to know of how it was taken, a clause each; mostly none."""
        said = [*self._odd]
        if self._files.links:
            said.append(f"its links are left out, as npm does ({self._files.links})")
        if self._files.beside:
            said.append(f"files in no directory are left out, as npm does ({self._files.beside})")
        own = (self.package.name or self.meta.name, self.package.version or self.meta.version)
        if own != (self.meta.name, self.meta.version):
            said.append(f"its package.json says it is {spelled(' '.join(own))}")
        return tuple(said)

    def members(self) -> Iterator[Member]:
        """What the archive is packed from: every file, below `TOP`."""
        data, top = self._data, TOP.encode() + b"/"
        for path, (executable, start, size, content) in self._files.items():
            yield Member(
                path=top + path.encode(),
                executable=executable,
                size=size,
                open=partial(stream, data if content is None else content, start, size),
            )

    def read(self, path: str) -> bytes | None:
        """The content of a file, by its path in the package; None where there is none."""
        file = self._files.get(path)
        if file is None:
            return None
        if file.content is not None:
            return file.content
        return self._data[file.start : file.start + file.size]

    def close(self) -> None:
        """Give up what was unpacked; doing it again does nothing."""
        data, self._data = self._data, b""
        close(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading ---------------------------------------------------------------------------------

    def _own(self, *, needed: bool) -> PackageJson:
        """Its package.json; npm, too, installs one without where a lock says what it is."""
        content = self.read(_MANIFEST)
        try:
            if content is not None:
                return packagejson.parse(content, sorted(self._files))
            fault = "it has no package.json"
        except ValueError as error:
            fault = f"its package.json cannot be read: {error}"
        if needed:
            raise UnsoundTarballError(fault)
        self._odd.append(fault)
        return PackageJson()

    def _make_commands(self) -> None:
        """Commands can be run, those of bundled packages too, and begin as Unix has it."""
        targets = set(self.package.bin.values())
        paths = sorted(self._files) if self.package.bundles else []
        for path in filter(_BUNDLED.fullmatch, paths):
            top = path.removesuffix(_MANIFEST)
            try:
                bundled = packagejson.parse(self.read(path) or b"", paths, top)
            except ValueError:
                continue
            targets.update(top + target for target in bundled.bin.values())
        for path in targets & self._files.keys():
            _, start, size, _ = self._files[path]
            content = None
            line = _LINE.match(self._data[start : start + min(size, _LINE_LIMIT)])
            if line is not None:
                rest = self._data[start + line.end() : start + size]
                content = line[0].removesuffix(b"\r\n") + b"\n" + rest
                start, size = 0, len(content)
            self._files[path] = File(True, start, size, content)  # noqa: FBT003 - a tuple's


def stem(name: str, version: str) -> str:
    """The human part of an archive's file name: `@types/node` 20.1.0 is `types+node-20.1.0`."""
    plain = _NOT_IN_STEM.sub("_", f"{name.removeprefix('@').replace('/', '+')}-{version}")
    return plain if plain[0].isalnum() else f"x{plain}"
