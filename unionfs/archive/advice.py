"""What the system is told of an archive's file: what to fetch ahead, and what to forget.

It keeps the compressed bytes, and the kernel, as pages of the mount, what became of them. Frames
are read one by one, each with a descriptor of its own, so the system cannot know by itself what is
read next. Left alone it guesses from what it has of the file: as much as the disk's whole
read-ahead (8 MiB in some virtual machines), what was forgotten on purpose as well. So a
descriptor of `open_file` has it guess nothing, and it is told:

- of a small file that had to be fetched, its neighbours: who imports one module mostly imports
  others;
- for who reads in order (`unionfs.archive.order`), a window before him;
- for anybody else, of a large file, what he asked for and no more;
- and what lies behind one who reads a large file in order may go: nobody asks for it again until
  the kernel drops its own pages.

To forget must not lead to reading twice. So it is a window behind the last READ that was answered,
wide enough for those before it that are still on their way, in other threads and processes. It
begins where the reader did, and not where it last ended, since the system forgets nothing of a
page, or of a larger piece, that only begins or ends in what it is told. And what it is told to
fetch begins where that ended the last time, wherever the frame is that is read now. Archives that
belong to somebody else are not forgotten: he may serve others from them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from unionfs.archive.frames import SeekTable
    from unionfs.archive.order import Run

    Advise = Callable[[int, int, SeekTable], None]
    """A descriptor, the frame that is about to be read there, where frames lie."""

AHEAD: Final = 1 << 21
"""Bytes that are fetched beyond what is read: some forty frames, the cost of a few seeks, and
little beside what one import reads."""

ASKED: Final = 1 << 17
"""Bytes that are asked for at a time for who reads in order. More might be cut to what is the
disk's best size, without a word. Two times a frame make a window that grows to `AHEAD`."""

LARGE: Final = 1 << 24
"""Bytes of a file that need not be in memory twice."""

BEHIND: Final = 1 << 21
"""Bytes that are kept behind who reads a large file in order. What lies further back is forgotten
by as much at a time."""


def open_file(path: str) -> int:
    """A descriptor to read frames by, of which the system draws no conclusions."""
    # Not blocking: what lies there under an archive's name may be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    except OSError:  # it is one
        os.close(descriptor)
        raise
    return descriptor


def neighbours(descriptor: int, frame: int, seek: SeekTable) -> None:
    """For one small file: its frame, and then what lies beside it."""
    begin, end = seek.offsets[frame], seek.offsets[frame + 1]
    _fetch(descriptor, begin, end)  # by itself: it has to be waited for
    _fetch(descriptor, end, end + AHEAD)


def asked_for(last: int) -> Advise:
    """For a read of a large file that needs frames up to `last`: those."""

    def advise(descriptor: int, frame: int, seek: SeekTable) -> None:
        if last > frame:
            _fetch(descriptor, seek.offsets[frame], seek.offsets[last + 1])

    return advise


def going_on(run: Run, large: int | None, descriptor: int, frame: int, seek: SeekTable) -> None:
    """For one who reads in order: what he will want, and what he has had.

    `large` is the first frame of a large file that need not be kept behind him; None: all is kept.
    """
    until = min(seek.offsets[frame] + AHEAD, seek.offsets[-1])
    for _ in range(2):
        begin = max(run.asked, seek.offsets[frame])
        if begin < until:
            run.asked = min(begin + ASKED, until)
            _fetch(descriptor, begin, run.asked)
    if large is not None:
        begin = seek.offsets[max(run.began, large)]
        until = seek.offsets[run.last] - BEHIND
        if until - max(begin, run.dropped) >= BEHIND:
            run.dropped = until
            os.posix_fadvise(descriptor, begin, until - begin, os.POSIX_FADV_DONTNEED)


def _fetch(descriptor: int, begin: int, end: int) -> None:
    os.posix_fadvise(descriptor, begin, end - begin, os.POSIX_FADV_WILLNEED)
