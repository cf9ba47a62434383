"""A .deb, opened as hostile input, as the members of an archive.

`open_deb` reads all of it, refuses it with its faults, and is left with what `dpkg-deb -x` would
have written, and below `CONTROL_TOP` what dpkg would keep of the control part. A view does not show
the latter: it is there for whoever makes what the scripts would have made. Where the two differ is
listed in docs/debian.md.

    ar           the three members, and where each is
    unpacked     a part's bytes, unpacked
    formats/tar  the entries, which have one reading only
    files        which file, link or directory is where
    control      what it says of itself
    reader       all of them together
"""

from __future__ import annotations

import io
import os
import re
import stat
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from resolver.naming import spelled
from unionfs.archive.layer import Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.formats.deb import ar, control
from unionfs.formats.deb.files import Items
from unionfs.formats.deb.unpacked import CONTROL_LIMIT, unpacked
from unionfs.formats.tar.content import stream
from unionfs.formats.tar.entries import entries
from unionfs.formats.tar.fault import UnsoundTarballError, refusing
from unionfs.formats.tar.unpacked import close

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from unionfs.formats.deb.control import Control
    from unionfs.formats.tar.unpacked import Unpacked

CONTROL_TOP: Final = "DEBIAN"
"""The directory of an archive that has the files of the control part."""

_NOT_IN_STEM = re.compile(r"[^A-Za-z0-9._+!-]")
_NAMED = 5


def open_deb(
    path: Path,
    *,
    filename: str | None = None,
    expected: tuple[str, str, str] | None = None,
    origin: str = "",
) -> Deb:
    """Open a .deb and find it in order.

    `filename` is what messages call it (its own name where that is None), `expected` the name,
    version and architecture that it has to say itself, and `origin` what the archive will say it
    was made from ("sha256:<hex>").

    Raises `PackageRefused`; `PkgviewError` where the file cannot be read.
    """
    with (
        refusing(path, path.name if filename is None else filename),
        open(path, "rb", opener=_opener) as file,
    ):
        return _opened(file, expected, origin)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)


def _opened(file: BinaryIO, expected: tuple[str, str, str] | None, origin: str) -> Deb:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise UnsoundTarballError("it is no regular file")
    first, second = ar.parts(file)
    data = unpacked(file, first, CONTROL_LIMIT)
    try:
        said = control.read(data)
    finally:
        close(data)
    found = (said.name, said.version, said.architecture)
    if expected is not None and found != expected:
        raise UnsoundTarballError(
            f"it says that it is {' '.join(found)}, and should be {' '.join(expected)}"
        )
    data = unpacked(file, second)
    try:
        return Deb(said, data, origin)
    except BaseException:
        close(data)
        raise


class Deb:
    """An open .deb that was found to be in order; made by `open_deb`.

    Close it only after the last stream of its members was read.
    """

    def __init__(self, said: Control, data: Unpacked, origin: str) -> None:
        self.control = said
        self._data = data
        self._items = Items(entries(data))
        top = CONTROL_TOP.encode()
        if any(path.split(b"/", 1)[0] == top for path in self._items):
            raise UnsoundTarballError(f"its data has a {CONTROL_TOP} of its own")
        self.meta = Meta(
            kind="distribution",
            name=said.name,
            version=said.version,
            stem=_NOT_IN_STEM.sub("_", f"{said.name}-{said.version}-{said.architecture}"),
            origin=origin,
        )

    @property
    def odd(self) -> tuple[str, ...]:
        """What a person might want to know of how it was taken, a clause each; mostly none."""
        dropped = self._items.set_id
        if not dropped:
            return ()
        named = ", ".join(os.fsdecode(path) for path in dropped[:_NAMED])
        more = f" and {len(dropped) - _NAMED} more" if len(dropped) > _NAMED else ""
        return (f"set-user-id and set-group-id are dropped of {spelled(named)}{more}",)

    def members(self) -> Iterator[Member]:
        """What the archive is packed from."""
        for name, content in self.control.files.items():
            yield Member(
                path=f"{CONTROL_TOP}/{name}".encode(),
                executable=name in control.SCRIPTS,
                size=len(content),
                open=partial(io.BytesIO, content),
            )
        for path, item in self._items.items():
            if item.kind is Kind.FILE:
                yield Member(
                    path=path,
                    executable=bool(item.mode & 0o111),
                    size=item.size,
                    open=partial(stream, self._data, item.start, item.size),
                )
            else:
                yield Member(path=path, kind=item.kind, target=item.target)

    def close(self) -> None:
        """Give up what was unpacked; doing it again does nothing."""
        data, self._data = self._data, b""
        close(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
