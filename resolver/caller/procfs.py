"""`/proc/<pid>/`, read: pure parsers of its bytes, and thin bounded readers.

Format: proc(5) and `fs/proc/array.c`, `fs/proc/base.c` of the kernel. A process may end, become a
zombie or change its credentials between any two reads, so an absence is an ordinary answer here,
never an exception: every reader returns what it read, or an `Absence` that says why not. Only
where we have no descriptors or no memory left ourselves they raise `OSError`.

Which of these may be called where others wait (kernel sources of 6.18):

| file | takes | so |
|---|---|---|
| `stat`, `status`, `exe`, `cwd` | spin locks and RCU only | never blocks |
| `cgroup` | the cgroup mutex | short, but not ours to hold |
| `cmdline`, `environ` | the process's mmap lock, its pages | may wait for a page fault |

A page fault may wait for a file system, and that may be *us*: this is why the last two are read in
a thread that somebody else can give up on.
"""

from __future__ import annotations

import enum
import errno
import functools
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Pid = NewType("Pid", int)
"""A thread-group id: what user space calls a pid."""

Tid = NewType("Tid", int)
"""A thread id, which is what the kernel gives a file system as the caller. 0: cannot be seen."""

StartTime = NewType("StartTime", int)
"""Clock ticks (`sysconf(_SC_CLK_TCK)`, 10 ms) from boot to the start of a process."""

PROC = Path("/proc")

STAT_LIMIT = 4096
STATUS_LIMIT = 16 << 10
CGROUP_LIMIT = 64 << 10
CMDLINE_LIMIT = 256 << 10
ENVIRON_LIMIT = 8 << 20
"""The kernel lets arguments and environment have 6 MiB together (`_STK_LIM / 4 * 3`)."""

VALUE_LIMIT = 16 << 10
"""No value we ask for is longer: they are paths (PATH_MAX is 4096) and ids."""

_CHUNK = 64 << 10


class Absence(enum.Enum):
    """Why there is nothing to be had; the value is a clause for a sentence."""

    GONE = "the process has ended"
    DENIED = "another user's or a protected process"
    MALFORMED = "the kernel's answer was not understood"
    UNREADABLE = "it could not be read"


class Image(NamedTuple):
    """What one `execve` laid out in memory: equal after `fork`, other after the next `execve`.

    Addresses of the code, the stack and the heap as `stat` gives them. Randomised, they differ for
    any two `execve`s; without randomisation they still differ with the program and with the length
    of arguments and environment. All 0 where we may not look into the process.
    """

    code: int
    stack: int
    heap: int

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return self.stack != 0


class Stat(NamedTuple):
    """`/proc/<pid>/stat`: `state` is one letter (Z: zombie).

    A ppid or a session of 0 is outside of our namespace.
    """

    pid: int
    comm: bytes
    state: str
    ppid: Pid
    session: int
    start_time: StartTime
    image: Image

    @property
    def dead(self) -> bool:
        """A zombie, or on the way out: it asks for nothing any more."""
        return self.state in "ZXx"


class Account(NamedTuple):
    """On whose behalf a thread opens files: its file system uid and gid."""

    uid: int
    gid: int


class Status(NamedTuple):
    """`/proc/<tid>/status`: of which process a thread is, and on whose behalf it opens files."""

    tgid: Pid
    ppid: Pid
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """One line of `/proc/<pid>/cgroup`; `controllers` is "" for the unified hierarchy (v2)."""

    controllers: str
    path: str


# The fields after the command, counted from "state" as 0 (proc(5) counts it as 3).
_STATE, _PPID, _SESSION, _STARTTIME = 0, 1, 3, 19
_STARTCODE, _STARTSTACK, _START_BRK = 23, 25, 44


def parse_stat(data: bytes) -> Stat | Absence:
    """Read one line; the command may hold spaces, newlines and parentheses, so its end is the last.

    Kernels before 3.5 have no heap address: it is 0 then.
    """
    opening, closing = data.find(b" ("), data.rfind(b") ")
    if not 0 < opening < closing:
        return Absence.MALFORMED
    fields = data[closing + 2 :].split(maxsplit=_START_BRK + 1)
    try:
        return Stat(
            pid=_natural(data[:opening]),
            comm=data[opening + 2 : closing],
            state=fields[_STATE].decode("ascii"),
            ppid=Pid(_natural(fields[_PPID])),
            session=max(0, int(fields[_SESSION])),  # -1 at the very end
            start_time=StartTime(_natural(fields[_STARTTIME])),
            image=Image(
                _natural(fields[_STARTCODE]),
                _natural(fields[_STARTSTACK]),
                _natural(fields[_START_BRK]) if len(fields) > _START_BRK else 0,
            ),
        )
    except (ValueError, IndexError):
        return Absence.MALFORMED


# The kernel writes these lines in this order; the last of four ids is that for file systems.
_STATUS = re.compile(
    rb"^Tgid:\t(\d{1,10})$.*?^PPid:\t(\d{1,10})$"
    rb".*?^Uid:(?:\t\d+){3}\t(\d{1,10})\nGid:(?:\t\d+){3}\t(\d{1,10})$",
    re.MULTILINE | re.DOTALL,
)


def parse_status(data: bytes) -> Status | Absence:
    """Read the four lines we need; `Name:` is the first and is escaped, so it can forge none."""
    found = _STATUS.search(data)
    if found is None:
        return Absence.MALFORMED
    tgid, ppid, uid, gid = map(int, found.groups())
    return Status(tgid=Pid(tgid), ppid=Pid(ppid), account=Account(uid, gid))


def parse_cmdline(data: bytes) -> tuple[bytes, ...]:
    """The arguments; empty for kernel threads and zombies.

    The last one may be cut short where the reader's limit cut it, or where the process wrote over
    its own arguments (setproctitle), which then need not end in NUL.
    """
    return tuple(data.removesuffix(b"\0").split(b"\0")) if data else ()


def parse_cgroup(data: bytes) -> tuple[Cgroup, ...]:
    """`hierarchy:controllers:path`, one a line (the path may hold colons); other lines are not."""
    lines = (line.split(b":", 2) for line in data.splitlines())
    return tuple(
        Cgroup(controllers=os.fsdecode(parts[1]), path=os.fsdecode(parts[2]))
        for parts in lines
        if len(parts) == 3  # noqa: PLR2004 - as the docstring says
    )


def _natural(digits: bytes) -> int:
    if not digits.isdigit():  # int() would also take "+1", " 1" and "1_0"
        raise ValueError(digits)
    return int(digits)


def read_stat(pid: int, root: Path = PROC) -> Stat | Absence:
    """Never blocks."""
    data = _read(pid, "stat", root, STAT_LIMIT)
    return data if isinstance(data, Absence) else parse_stat(data)


def read_status(tid: int, root: Path = PROC) -> Status | Absence:
    """Never blocks."""
    data = _read(tid, "status", root, STATUS_LIMIT)
    return data if isinstance(data, Absence) else parse_status(data)


def read_exe(tid: int, root: Path = PROC) -> str | Absence:
    """The executable's path, " (deleted)" and all. Never blocks; DENIED without ptrace rights."""
    return _link(tid, "exe", root)


def read_cwd(tid: int, root: Path = PROC) -> str | Absence:
    """The working directory's path. GONE also where that directory was deleted. Never blocks."""
    path = _link(tid, "cwd", root)
    if isinstance(path, str) and path.endswith(" (deleted)"):
        return Absence.GONE
    return path


def read_cmdline(tid: int, root: Path = PROC) -> tuple[bytes, ...] | Absence:
    """The first 256 KiB of the arguments. May block."""
    data = _read(tid, "cmdline", root, CMDLINE_LIMIT)
    return data if isinstance(data, Absence) else parse_cmdline(data)


def read_cgroup(tid: int, root: Path = PROC) -> tuple[Cgroup, ...] | Absence:
    """The cgroups, one a hierarchy. May block for a moment."""
    data = _read(tid, "cgroup", root, CGROUP_LIMIT)
    return data if isinstance(data, Absence) else parse_cgroup(data)


def read_environ(
    tid: int, wanted: Collection[bytes], root: Path = PROC
) -> Mapping[bytes, bytes] | Absence:
    """Those of the `wanted` variables that `execve` got; nothing else is kept. May block.

    The first of a name wins, as for getenv(3). Values longer than `VALUE_LIMIT` are left out.
    """
    descriptor = _open(tid, "environ", root)
    if isinstance(descriptor, Absence):
        return descriptor
    found: dict[bytes, bytes] = {}
    rest, left, cut = b"", ENVIRON_LIMIT, False
    try:
        while chunk := os.read(descriptor, min(_CHUNK, left)):
            left -= len(chunk)
            *whole, rest = (rest + chunk).split(b"\0")
            for number, variable in enumerate(whole):
                if number or not cut:
                    _keep(variable, wanted, found)
            cut = cut and not whole
            if len(rest) > VALUE_LIMIT:  # its name was seen already, the value is too long
                rest, cut = b"", True
    except OSError as error:
        return _absence(error)
    finally:
        os.close(descriptor)
    if not cut:
        _keep(rest, wanted, found)
    return found


def _keep(variable: bytes, wanted: Collection[bytes], found: dict[bytes, bytes]) -> None:
    name, equals, value = variable.partition(b"=")
    if equals and name in wanted and len(value) <= VALUE_LIMIT:
        found.setdefault(name, value)


def _open(pid: int, name: str, root: Path) -> int | Absence:
    if pid <= 0:
        return Absence.GONE
    try:
        # A string, not `root / …`: this is on the way of every request.
        return os.open(f"{root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        return _absence(error)


def _read(pid: int, name: str, root: Path, limit: int) -> bytes | Absence:
    descriptor = _open(pid, name, root)
    if isinstance(descriptor, Absence):
        return descriptor
    try:
        data = os.read(descriptor, limit)
        if (
            len(data) < STAT_LIMIT
        ):  # one read gives a whole small file; a page or more may be a part
            return data
        parts = [data]
        left = limit - len(data)
        while left and (data := os.read(descriptor, left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)
    except OSError as error:
        return _absence(error)
    finally:
        os.close(descriptor)


def _link(pid: int, name: str, root: Path) -> str | Absence:
    if pid <= 0:
        return Absence.GONE
    try:
        return os.readlink(f"{root}/{pid}/{name}")
    except OSError as error:
        return _absence(error)


_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What is wrong with whoever looks, and says nothing of the process that is looked at."""


def _absence(error: OSError) -> Absence:
    if error.errno in _OURS:
        raise error
    if error.errno in (errno.ENOENT, errno.ESRCH):
        return Absence.GONE
    if error.errno in (errno.EACCES, errno.EPERM):
        return Absence.DENIED
    return Absence.UNREADABLE


_KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}
_KCMP_VM = 1


_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of one tick of `StartTime`."""


def is_newborn(start_time: StartTime) -> bool:
    """Whether the tick in which a process began is not over yet.

    Until then another one may begin that has its pid and its start time. Once it has been seen
    alive after that, no other can have both: its pid was taken for the whole of the tick's rest.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK <= start_time


def read_serial(pid: Pid) -> int:
    """What tells a process from all others since boot: its pidfd's inode (Linux 6.9 and newer).

    0 where there is no such process. Older kernels give the same number for all. Takes 3 µs and
    never blocks.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return 0
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def share_memory(one: Pid, other: Pid) -> bool:
    """Whether two processes have one address space (kcmp(2)); False where that cannot be told.

    They have between `vfork` and `execve`, which is how most programs start others.
    """
    kcmp = _kcmp()
    return kcmp is not None and kcmp(int(one), int(other), _KCMP_VM, 0, 0) == 0


@functools.cache
def _kcmp() -> Callable[..., int] | None:
    """kcmp(2), which libc has no function for; None on a machine whose number for it is unknown."""
    import ctypes  # noqa: PLC0415 - only the daemon asks
    import platform  # noqa: PLC0415 - the same

    number = _KCMP.get(platform.machine())
    return None if number is None else functools.partial(ctypes.CDLL(None).syscall, number)
