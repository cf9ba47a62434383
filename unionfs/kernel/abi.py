"""The kernel's side of `/dev/fuse`: structures, opcodes and flags, by their names in linux/fuse.h.

All numbers are in the machine's own byte order and alignment, as the kernel copies its structures.
Only what a read-only file system needs is here.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import Final

MAJOR: Final = 7
"""FUSE_KERNEL_VERSION: there has been no other since 2005."""

MINOR: Final = 38
"""FUSE_KERNEL_MINOR_VERSION of what is described here; a newer kernel speaks it too."""

OLDEST_MINOR: Final = 28
"""Linux 4.20: the first with FUSE_MAX_PAGES and cached listings. Structures are the same since."""

READ_BUFFER: Final = 8192
"""FUSE_MIN_READ_BUFFER: the least that a read(2) must offer, whatever the request's size."""


class Opcode(enum.IntEnum):
    """`enum fuse_opcode`."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52


class Init(enum.IntFlag):
    """`FUSE_*` flags of `fuse_init_in` and `fuse_init_out` that matter here."""

    ASYNC_READ = 1 << 0
    DO_READDIRPLUS = 1 << 13
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24


class OpenFlag(enum.IntFlag):
    """`FOPEN_*` flags of `fuse_open_out`."""

    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3


IN_HEADER: Final = Struct("=IIQQIIIHH")
"""fuse_in_header: len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding."""

OUT_HEADER: Final = Struct("=IiQ")
"""fuse_out_header: len, error (0, or an errno below 0), unique."""

INIT_IN: Final = Struct("=IIII")
"""The beginning of fuse_init_in: major, minor, max_readahead, flags."""

INIT_OUT: Final = Struct("=IIIIHHIIHHI28x")
"""fuse_init_out: major, minor, max_readahead, flags, max_background, congestion_threshold,
max_write, time_gran, max_pages, map_alignment, flags2."""

ATTR: Final = Struct("=QQQQQQIIIIIIIIII")
"""fuse_attr: ino, size, blocks, atime, mtime, ctime, their nanoseconds, mode, nlink, uid, gid,
rdev, blksize, flags."""

ENTRY_OUT_HEAD: Final = Struct("=QQQQII")
"""fuse_entry_out before its fuse_attr: nodeid, generation, entry_valid, attr_valid and their
nanoseconds."""

ENTRY_OUT_SIZE: Final = ENTRY_OUT_HEAD.size + ATTR.size

ATTR_OUT_HEAD: Final = Struct("=QII")
"""fuse_attr_out before its fuse_attr: attr_valid, its nanoseconds, dummy."""

DIRENT: Final = Struct("=QQII")
"""fuse_dirent before its name: ino, off, namelen, type."""

READ_IN: Final = Struct("=QQI")
"""The beginning of fuse_read_in: fh, offset, size."""

OPEN_IN: Final = Struct("=II")
"""fuse_open_in: flags, open_flags."""

OPEN_OUT: Final = Struct("=QII")
"""fuse_open_out: fh, open_flags, padding."""

STATFS_OUT: Final = Struct("=QQQQQIIII24x")
"""fuse_statfs_out: blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, padding."""

INTERRUPT_IN: Final = Struct("=Q")
"""fuse_interrupt_in: unique of the request that is interrupted."""


def aligned(size: int) -> int:
    """FUSE_REC_ALIGN."""
    return (size + 7) & ~7
