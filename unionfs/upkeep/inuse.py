"""Which views programs use now, as far as the system tells.

Three witnesses. **Daemons** know who is bound to which view. **/proc** names views: in mounts (a
container that one is bound into), open files, working directories, programs, their arguments and
environments. And there are **interpreters** that say nothing: one that was started through a
project's `.venv` has pinned itself to what that led to then, and reads from there whenever it
likes. Of such a one is known when it was started and through which environment, so what was
a project's view *then* may be what it uses.

Where something cannot be read, it counts as in use: to keep too much is no harm.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.caller.procfs import Absence, Stat, read_stat
from resolver.errors import PkgviewError
from unionfs.control import client
from unionfs.control.endpoint import DaemonAbsentError, Endpoint, elsewhere, endpoint_of
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from resolver.places import Places

_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_INTERPRETER = re.compile(r"(python|pypy)[\d.]*[a-z]*( \(deleted\))?")
_MAPPED = re.compile(
    rb"/(lib)?(python|pypy)[\d.]*[a-z]*(\.so[\d.]*)?( \(deleted\))?$", re.MULTILINE
)
_OURS = re.compile(rb"\0-m\0unionfs\.")

PATIENCE = 10.0
"""Seconds that a daemon may take to say who is bound."""

LONGEST = 1 << 22
"""Bytes read of one file of /proc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An interpreter. `started` is seconds since 1970, 0 where it outlived who started it.

    `places` are its working directory and the environments in which it may have been started; None
    where that cannot be read.
    """

    pid: int
    started: float
    places: frozenset[str] | None

    def came_through(self, roots: Iterable[str]) -> bool:
        """Whether one of its places is in, or is a link into, one of these directories."""
        if self.places is None:
            return True
        tops = tuple(f"{root.rstrip('/')}/" for root in roots)
        return any(f"{place}/".startswith(tops) for place in self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """`named`: 32 digits that somebody has, views and others; `programs`: who says nothing."""

    named: frozenset[str]
    programs: tuple[Program, ...]


def survey(places: Places) -> Survey:
    """Look once. `PkgviewError` where a daemon runs and does not say who is bound."""
    named: set[str] = set()
    programs: list[Program] = []
    seen: set[str] = set()
    own = set(_ask_daemons(places, named)) | {os.getpid()}
    let_in = any(mount.ours and mount.shared for mount in mounts.table())
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid not in own:
            programs += _look(pid, named, seen, let_in=let_in)
    return Survey(named=frozenset(named), programs=tuple(programs))


def _ask_daemons(places: Places, named: set[str]) -> Iterator[int]:
    """Add what the daemons of this user know; their pids."""
    for endpoint in _endpoints(places):
        pid = endpoint.pid()
        if pid is not None:
            yield pid
        try:
            said = client.ask(endpoint, "ps", seconds=PATIENCE)
        except DaemonAbsentError:
            continue
        except PkgviewError as error:
            raise PkgviewError(
                f"it cannot be known who uses which view: {error.what}", remedy=error.remedy
            ) from error
        named.update(str(one["view"]) for one in (*said["processes"], *said["by_hand"]))


def _endpoints(places: Places) -> Iterator[Endpoint]:
    """Every daemon of this state that lives, wherever it has mounted."""
    primary = endpoint_of(places, places.mount)
    for directory in {one.directory for one in (primary, *elsewhere(places, primary))}:
        for lock in directory.glob("*.lock"):
            endpoint = Endpoint(directory=directory, name=lock.stem)
            if endpoint.held():
                yield endpoint


def _look(pid: int, named: set[str], seen: set[str], *, let_in: bool) -> Iterator[Program]:
    base = f"/proc/{pid}"
    try:
        foreign = os.stat(base).st_uid != os.geteuid() != 0  # noqa: PTH116 - thousands of them
    except OSError:
        return
    namespace = _link(f"{base}/ns/mnt")
    if namespace not in seen:
        seen.add(namespace)
        named.update(_ids(_read(f"{base}/mountinfo")))
    stat = read_stat(pid)
    if isinstance(stat, Absence) or stat.dead:
        return
    exe, cwd = _link(f"{base}/exe"), _link(f"{base}/cwd")
    cmdline, environ, maps = (_read(f"{base}/{name}") for name in ("cmdline", "environ", "maps"))
    for text in (os.fsencode(exe), os.fsencode(cwd), cmdline, environ, maps, _open_files(base)):
        named.update(_ids(text))
    if _OURS.search(cmdline) or not cmdline:  # a kernel's thread has no arguments
        return
    readable = bool(exe or maps)
    if not readable:
        # The system's own init is one that nobody may look at; it uses no view.
        if pid != 1 and (let_in or not foreign):
            yield Program(pid=pid, started=_started(stat, cmdline), places=None)
    elif _INTERPRETER.fullmatch(exe.rpartition("/")[2]) or _MAPPED.search(maps):
        known = bool(environ) or os.access(f"{base}/environ", os.R_OK)
        found = frozenset(_environments(cwd, cmdline, environ)) if known else None
        yield Program(pid=pid, started=_started(stat, cmdline), places=found)


def _environments(cwd: str, cmdline: bytes, environ: bytes) -> Iterator[str]:
    """The working directory, and what has a `bin` that the interpreter may have been found in."""
    yield cwd
    tokens = {os.fsdecode(cmdline.partition(b"\0")[0])}
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in {b"PATH", b"VIRTUAL_ENV", b"_"}:
            tokens.update(os.fsdecode(value).split(":"))
    for token in tokens:
        directory, slash, last = token.rstrip("/").rpartition("/")
        if not slash:
            continue
        for prefix in (token, directory if last == "bin" else directory.rpartition("/")[0]):
            place = os.path.normpath(os.path.join(cwd, prefix))  # noqa: PTH118 - strings
            yield place
            yield os.path.join(os.path.dirname(place), _link(place))  # noqa: PTH118, PTH120 - the same


def _started(stat: Stat, cmdline: bytes) -> float:
    """When what runs there began, forks included; 0 where whoever started it is gone."""
    while True:
        above = read_stat(stat.ppid)
        if stat.ppid <= 1 or isinstance(above, Absence) or above.comm == b"systemd":
            return 0.0
        if _read(f"/proc/{stat.ppid}/cmdline") != cmdline:
            break
        stat = above
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + stat.start_time / os.sysconf("SC_CLK_TCK")


def _open_files(base: str) -> bytes:
    try:
        numbers = os.listdir(f"{base}/fd")
    except OSError:
        return b""
    return b"\n".join(os.fsencode(_link(f"{base}/fd/{number}")) for number in numbers)


def _ids(text: bytes) -> set[str]:
    return {found.decode() for found in _ID.findall(text)}


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - thousands of them
            return file.read(LONGEST)
    except OSError:
        return b""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
