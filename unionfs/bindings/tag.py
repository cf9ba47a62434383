"""A tag that a process hands on to all that it starts, and that no program takes off.

It is the soft limit RLIMIT_LOCKS, to which Linux has paid no heed since 2.4.25 (setrlimit(2)).
Limits outlive `exec`, forks, a new session and an emptied environment, and everybody may read them
in `/proc/<pid>/limits`. So whatever a command has started before it was in its cgroup can be found.

`pkgview run` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import resource

RLIMIT_LOCKS = 10
"""include/uapi/asm-generic/resource.h; the same on all architectures."""

_FIRST = 1 << 60
_ROUNDS = 5
"""How often is looked again; somewhere something ends all the time."""
_LINE = b"Max file locks "


def put_on() -> None:
    """Tag this process; where that is not allowed it goes without."""
    with open("/proc/self/stat", "rb") as file:
        start_time = int(file.read().rpartition(b")")[2].split()[19])
    try:
        _, hard = resource.getrlimit(RLIMIT_LOCKS)
        resource.setrlimit(RLIMIT_LOCKS, (tag(os.getpid(), start_time), hard))
    except (OSError, ValueError):
        return


def tag(pid: int, start_time: int) -> int:
    """The number that a process with that start (in clock ticks since boot) is tagged with."""
    return _FIRST | (start_time & (1 << 36) - 1) << 23 | pid


def tagged(number: int) -> list[int]:
    """The pids of all processes with that tag that can be seen here."""
    for _ in range(_ROUNDS):
        found, ended = _tagged(str(number).encode())
        if found or not ended:
            break  # else one that has ended may have started another since the list was made
    return found


def _tagged(wanted: bytes) -> tuple[list[int], bool]:
    """Those that have it now; whether any ended while it was looked."""
    found, ended = [], False
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/limits", "rb") as file:
                    limits = file.read()
            except OSError:
                limits = b""
            line = limits.partition(_LINE)[2].split(None, 1)
            ended |= not line
            if line and line[0] == wanted:
                found.append(int(name))
    return found, ended
