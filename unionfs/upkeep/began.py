"""When the program that runs in a process was started, at the earliest.

Its own start tells as long as whoever started it lives; of what was forked, the start of the first.
Where that one has ended the process may be a fork, hours younger than its program. Then the program
is no older than

* the main process of its systemd service, where its environment names both: that is what the
  program was started with, whoever it was forked by since (systemd.exec(5), "SYSTEMD_EXEC_PID");
* the leader of its session, and the first process of its pid namespace: it was forked by these.

If one of these two runs the same program it may be a fork as well, and tells nothing. Who was
forked from an older program, has forked this one, and runs another program since, is not noticed;
nor is who entered the namespace of a younger process and forked there, without another program.

A cgroup tells nothing: running processes are moved into it. Nor does it tell anything that somebody
is init's child and leads a session: so is what made a daemon of itself.
"""

from __future__ import annotations

import os
import re

from resolver.boot import shift
from resolver.caller.procfs import Absence, Stat, read_stat
from unionfs.upkeep.proc import read, shown

TICKS = os.sysconf("SC_CLK_TCK")
"""In a second, as /proc counts the starts of processes."""

_NAMESPACES = re.compile(rb"^NSpid:((?:\t\d+)+)$", re.MULTILINE)
_VARIABLES = (b"SYSTEMD_EXEC_PID", b"INVOCATION_ID")
_VARIABLE = re.compile(rb"(?:^|\0)(%b)=([^\0]+)" % b"|".join(_VARIABLES))


def began(stat: Stat) -> float:
    """Seconds since boot: when what runs there began, forks included; 0 where that is not known."""
    arguments = _arguments(stat)
    while True:
        above = read_stat(stat.ppid)
        if isinstance(above, Absence) or above.comm == b"systemd":
            return max(_by_service(stat), _by_session(stat, arguments))
        if _is_first(above):
            told = _by_service(stat), _by_session(stat, arguments), _forked_by(above, arguments)
            return max(told)
        if _arguments(above) != arguments:
            return itself(stat)
        stat = above


def itself(stat: Stat) -> float:
    """Seconds since boot: when this very process began."""
    return stat.start_time / TICKS - shift()


def _by_service(stat: Stat) -> float:
    named = _service(stat)
    main = read_stat(int(named.get(b"SYSTEMD_EXEC_PID", b"0")))
    # The number may have been given to another service's since.
    if len(named) < len(_VARIABLES) or isinstance(main, Absence) or _service(main) != named:
        return 0.0
    return itself(main)


def _by_session(stat: Stat, arguments: bytes) -> float:
    leader = read_stat(stat.session) if stat.session != stat.pid else Absence.GONE
    return 0.0 if isinstance(leader, Absence) else _forked_by(leader, arguments)


def _forked_by(forefather: Stat, arguments: bytes) -> float:
    """When who has forked it began, if that is another program, and so not a fork itself."""
    return itself(forefather) if _arguments(forefather) not in {b"", arguments} else 0.0


def _is_first(stat: Stat) -> bool:
    """Whether it is the first of a pid namespace, which gets all orphans there."""
    found = _NAMESPACES.search(read(f"/proc/{stat.pid}/status"))
    return stat.pid == 1 or (found is not None and found[1].endswith(b"\t1"))


def _service(stat: Stat) -> dict[bytes, bytes]:
    found = dict(_VARIABLE.findall(read(f"{shown(stat.pid, stat)}/environ")))
    return found if found.get(b"SYSTEMD_EXEC_PID", b"").isdigit() else {}


def _arguments(stat: Stat) -> bytes:
    return read(f"{shown(stat.pid, stat)}/cmdline")
