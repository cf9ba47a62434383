"""Which machine, and which boot of it, this is, and how long ago that was.

What is kept in files outlives a boot, and what a number or a clock says may be true of one only.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import time

_DIGITS = 32
"""Of a machine's id; an image may have "uninitialized" there."""


def boot_id() -> str:
    """Of this boot; the machine's name where /proc does not say (random(4))."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return os.uname().nodename or "?"


def machine_id() -> str:
    """Of this machine (machine-id(5)); its name where it has none, as most containers."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            found = file.read().strip()
    except (OSError, ValueError):
        found = ""
    return found if len(found) == _DIGITS else os.uname().nodename or "?"


def since_boot() -> float:
    """Seconds since then, in which everybody on the machine agrees."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - shift()


def shift() -> float:
    """Seconds by which this process sees that clock, and starts of processes in /proc, moved.

    Those of its time namespace (time_namespaces(7)), 0 for nearly everybody.
    """
    try:
        with open("/proc/self/timens_offsets", encoding="ascii") as file:
            for line in file:
                clock, seconds, nanoseconds = line.split()
                if clock in {"boottime", str(time.CLOCK_BOOTTIME)}:
                    return int(seconds) + int(nanoseconds) / 1e9
    except (OSError, ValueError):
        pass  # a kernel without time namespaces
    return 0.0
