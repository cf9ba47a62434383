"""What the system has of a file in memory, and what processes had it fetch from a disk."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE: Final = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)


def pages(path: Path) -> set[int]:
    """The numbers of a file's pages that are in memory, by mincore(2): none is read for that."""
    size = path.stat().st_size
    answer = (ctypes.c_ubyte * -(-size // PAGE))()
    # A private map may be written to, which ctypes insists on; nobody does.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as area:
        begin = ctypes.c_char.from_buffer(area)
        refused = _libc.mincore(ctypes.byref(begin), ctypes.c_size_t(size), answer)
        del begin
    if refused:
        raise OSError(ctypes.get_errno(), "mincore", os.fspath(path))
    return {number for number, state in enumerate(answer) if state & 1}


def resident(path: Path) -> int:
    """Bytes of a file that are in memory."""
    return PAGE * len(pages(path))


def forget(path: Path) -> None:
    """Have the system keep none of a file in memory, where it can."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_from_disk(pids: Iterable[int]) -> int:
    """Bytes that these processes have had fetched from a disk."""
    lines = [
        line for pid in pids for line in Path(f"/proc/{pid}/io").read_text("ascii").splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))
