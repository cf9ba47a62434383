"""Cgroups: where they lie, making one for a command, and taking it away when it is empty.

A cgroup holds a process and all that it starts, whatever these exec, fork or leave: the one thing
about a process that a double fork cannot shake off. Formats: cgroups(7), the kernel's
`admin-guide/cgroup-v2.rst` and `cgroup-v1/cgroups.rst`.

`enclose` tries, in this order, and takes the first that works:

1. a cgroup below the command's own in the unified hierarchy (v2): as root, or where a manager has
   delegated the place to the user (a desktop session, a user's service, a container of the user's
   own). No controller is enabled in it, so nothing is limited or counted differently;
2. a scope made by the user's systemd, where it is not in a delegated place (a login over ssh);
3. a cgroup below its own in a hierarchy of v1 that only groups or counts: `name=…`, pids, freezer.
   In the others a cgroup of one's own gets a share of its own, which would change how the command
   is scheduled.

A cgroup is known by the hierarchy's controllers and its path, as `/proc/<pid>/cgroup` says it,
and told from a later one of the same name by its directory's inode number.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.caller.procfs import PROC, Absence, Cgroup, Tid, read_cgroup, read_stat
from resolver.errors import PkgviewError
from unionfs.bindings.tag import tag, tagged
from unionfs.mounting.mounts import unescape

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "pkgview-"
"""How our cgroups' names begin; then come the pid and the start time of the command."""

ENTERED = ("", "name=", "pids", "freezer")
"""Hierarchies that a command may be put into, best first ("name=" stands for any such)."""

_ROUNDS = 20
"""How often is looked for what was started meanwhile; a bomb of forks is nobody's to catch."""

SYSTEMD_SECONDS = 2.0
"""How long systemd may take to make a scope; it takes some 20 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """A mounted hierarchy: its controllers ("" for v2), and where the cgroup `root` of it lies."""

    controllers: str
    directory: Path
    root: str


def hierarchies(proc: Path = PROC) -> tuple[Hierarchy, ...]:
    """All hierarchies that this process is in and that are mounted where it sees them."""
    ours = read_cgroup(Tid(os.getpid()), proc)
    if isinstance(ours, Absence):
        return ()
    try:
        mounted = (proc / "self/mountinfo").read_bytes()
    except OSError:
        return ()
    found: dict[str, Hierarchy] = {}
    for line in mounted.split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields, tail = left.split(b" "), right.split(b" ")
        if len(fields) < 5 or len(tail) < 3 or tail[0] not in {b"cgroup", b"cgroup2"}:  # noqa: PLR2004 - proc(5)
            continue
        options = set(os.fsdecode(tail[2]).split(","))
        for cgroup in ours:
            named = set(cgroup.controllers.split(",")) if cgroup.controllers else set()
            if (tail[0] == b"cgroup2") != (not named) or not named <= options:
                continue
            root = os.fsdecode(unescape(fields[3]))
            known = found.get(cgroup.controllers)
            # A part of it may be mounted elsewhere, for a container.
            if known is None or len(root) < len(known.root):
                found[cgroup.controllers] = Hierarchy(
                    controllers=cgroup.controllers,
                    directory=Path(os.fsdecode(unescape(fields[4]))),
                    root=root,
                )
    return tuple(found.values())


def directory_of(cgroup: Cgroup, among: Sequence[Hierarchy] | None = None) -> Path | None:
    """The cgroup's directory, whether it is there or not; None if it cannot be seen from here."""
    for hierarchy in hierarchies() if among is None else among:
        if hierarchy.controllers == cgroup.controllers:
            below = _below(hierarchy.root, cgroup.path)
            return None if below is None else hierarchy.directory / below
    return None


def inode_of(cgroup: Cgroup) -> int | None:
    """The number that tells it from any other, if it is there."""
    directory = directory_of(cgroup)
    try:
        return None if directory is None else directory.stat().st_ino
    except OSError:
        return None


def named(path: str) -> Cgroup:
    """The cgroup that a user means: its directory, or its path as `/proc/<pid>/cgroup` has it.

    `PkgviewError` where there is none, or it is a hierarchy's root.
    """
    among = hierarchies()
    found = _of_directory(Path(os.path.realpath(path)), among)
    if found is None and path.startswith("/"):
        for hierarchy in sorted(among, key=lambda one: _rank(one.controllers)):
            cgroup = Cgroup(controllers=hierarchy.controllers, path=os.path.normpath(path))
            directory = directory_of(cgroup, among)
            if directory is not None and directory.is_dir():
                found = cgroup
                break
    if found is None:
        raise PkgviewError(
            f"there is no cgroup {path}",
            remedy="Name its directory below /sys/fs/cgroup, or its path as /proc/PID/cgroup "
            "has it.",
        )
    if not found.path.strip("/"):
        raise PkgviewError(
            f"{path} is the root of all cgroups: every process is in it",
            remedy="Name one that holds just what shall be bound.",
        )
    return found


def _of_directory(directory: Path, among: Sequence[Hierarchy]) -> Cgroup | None:
    for hierarchy in among:
        if directory.is_relative_to(hierarchy.directory) and directory.is_dir():
            below = directory.relative_to(hierarchy.directory)
            path = os.path.normpath(f"{hierarchy.root}/{below}")
            return Cgroup(controllers=hierarchy.controllers, path="/" + path.lstrip("/"))
    return None


def _below(root: str, path: str) -> str | None:
    """A cgroup's path, relative to that of a mount's root; None if it is outside of it."""
    names = path.split("/")
    if not path.startswith("/") or ".." in names or ".." in root.split("/"):
        return None  # outside of our cgroup namespace
    if root == "/":
        return path.lstrip("/")
    if path == root or path.startswith(f"{root}/"):
        return path[len(root) :].lstrip("/")
    return None


def _rank(controllers: str) -> int:
    """Where a hierarchy stands in `ENTERED`; behind all where it is none of them."""
    kind = _kind(controllers)
    return ENTERED.index(kind) if kind in ENTERED else len(ENTERED)


def _kind(controllers: str) -> str:
    return "name=" if controllers.startswith("name=") else controllers


# Making one


def enclose(pid: int, start_time: int) -> Cgroup | None:
    """Put a process into a new cgroup, with all that it has started; None where none can be made.

    The process is known by its start time. What it has started is known by its tag
    (`unionfs.bindings.tag`), and comes along though the process has ended. Takes the kernel 10 to
    30 ms, on a busy machine ten times that: it waits for an RCU grace period. Who takes the cgroup
    away is the daemon, or systemd.
    """
    name, number = f"{NAME}{pid}-{start_time}", tag(pid, start_time)
    members = _members(pid, start_time, number)
    for _ in range(_ROUNDS):
        tried = members
        made = next(filter(None, (_entered(one, name) for one in tried)), None)
        members = _members(pid, start_time, number)
        if made is not None or members == tried:
            break  # else somebody has ended, or was started, in between
    if made is None:
        return None
    if tried == [pid] and pid not in members:
        _leave(made, pid)  # another process, which has come into its pid meanwhile
        return None
    _gather(made, number)
    return made


def _entered(pid: int, name: str) -> Cgroup | None:
    """Put a process into a new cgroup of that name, the best that can be had."""
    ours = read_cgroup(Tid(pid))
    if isinstance(ours, Absence):
        return None
    among = hierarchies()
    entered: list[Path] = []

    def make_below(*kinds: str) -> bool:
        for cgroup in sorted(ours, key=lambda one: _rank(one.controllers)):
            directory = directory_of(cgroup, among) if _kind(cgroup.controllers) in kinds else None
            if directory is not None and _enter_below(directory, name, pid):
                entered.append(directory / name)
                return True
        return False

    if not make_below(ENTERED[0]) and not _enter_scope(f"{name}.scope", pid):
        make_below(*ENTERED[1:])
    seen = read_cgroup(Tid(pid))
    found = with_name(seen, name) or with_name(seen, f"{name}.scope")
    if found is None:  # it has ended meanwhile
        for directory in entered:
            with contextlib.suppress(OSError):
                directory.rmdir()
    return found


def _members(pid: int, start_time: int, number: int) -> list[int]:
    """The process, if it lives, and else what it has left running, by its tag."""
    stat = read_stat(pid)
    if not isinstance(stat, Absence) and stat.start_time == start_time and not stat.dead:
        return [pid]
    return tagged(number)


def _gather(made: Cgroup, number: int) -> None:
    """Bring in what was started while the kernel waited, until nothing is left outside."""
    directory = directory_of(made)
    if directory is None:
        return
    for _ in range(_ROUNDS):
        outside = [
            pid for pid in tagged(number)
            if not isinstance(seen := read_cgroup(Tid(pid)), Absence) and made not in seen
        ]  # fmt: skip
        for pid in outside:
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user by now
                (directory / "cgroup.procs").write_bytes(b"%d" % pid)
        if not outside:
            return


def _enter_below(parent: Path, name: str, pid: int) -> bool:
    directory = parent / name
    try:
        directory.mkdir()
    except OSError:
        return False
    try:
        (directory / "cgroup.procs").write_bytes(b"%d" % pid)
    except OSError:
        # Ended, or not ours to move from where it is (the common ancestor belongs to somebody
        # else), or a threaded cgroup, which takes no processes.
        with contextlib.suppress(OSError):
            directory.rmdir()
        return False
    return True


def _enter_scope(name: str, pid: int) -> bool:
    """Ask the user's systemd for a scope with the process in it, as `systemd-run --scope` does.

    Through `busctl`, since `systemd-run` would have to start the command itself.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if not Path(runtime, "systemd/private").exists():
        return False
    # Manager.StartTransientUnit(name, mode, properties, auxiliary units), org.freedesktop.systemd1
    properties = ["3", "PIDs", "au", "1", str(pid), "Description", "s", "pkgview run",
                  "CollectMode", "s", "inactive-or-failed"]  # fmt: skip
    command = ["busctl", "--user", "--quiet", "call", "org.freedesktop.systemd1",
               "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
               "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail",
               *properties, "0"]  # fmt: skip
    deadline = time.monotonic() + SYSTEMD_SECONDS
    try:
        asked = subprocess.run(
            command, check=False, timeout=SYSTEMD_SECONDS, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    while asked.returncode == 0 and time.monotonic() < deadline:
        seen = read_cgroup(Tid(pid))
        if isinstance(seen, Absence):
            return False
        if with_name(seen, name) is not None:
            return True
        time.sleep(0.005)
    return False


def _leave(cgroup: Cgroup, pid: int) -> None:
    """Put a process back to where `enclose` has taken it from."""
    directory = directory_of(cgroup) if is_ours(cgroup) else None
    if directory is not None:
        with contextlib.suppress(OSError):
            (directory.parent / "cgroup.procs").write_bytes(b"%d" % pid)
            directory.rmdir()


def with_name(cgroups: Sequence[Cgroup] | Absence, name: str) -> Cgroup | None:
    """The one whose path ends in that name; the best of several hierarchies."""
    if isinstance(cgroups, Absence):
        return None
    found = [cgroup for cgroup in cgroups if cgroup.path.endswith(f"/{name}")]
    return min(found, key=lambda cgroup: _rank(cgroup.controllers), default=None)


def holding(cgroups: Sequence[Cgroup], part: str) -> Cgroup | None:
    """The cgroup, of these or around them, whose name has that part: a container's, by its id."""
    for cgroup in sorted(cgroups, key=lambda one: _rank(one.controllers)):
        names = cgroup.path.split("/")
        for depth, name in enumerate(names):
            if part in name:
                path = "/".join(names[: depth + 1])
                return Cgroup(controllers=cgroup.controllers, path=path)
    return None


# Taking it away


def remove(cgroup: Cgroup) -> bool:
    """Remove one of ours with all that is empty inside; False while a process is in it."""
    directory = directory_of(cgroup)
    if directory is None or _is_populated(directory):
        # One that cannot be seen any more is nobody's to remove.
        return directory is None
    for here, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(here)  # noqa: PTH106 - a string of os.walk's
        except FileNotFoundError:
            continue
        except OSError:
            return False  # a process went there meanwhile
    return True


def _is_populated(directory: Path) -> bool:
    """Whether a living process is in it, or in one inside."""
    try:
        return b"populated 1" in (directory / "cgroup.events").read_bytes()
    except FileNotFoundError:
        pass  # v1, or gone
    for here, _, _ in os.walk(directory):
        with contextlib.suppress(OSError):
            if Path(here, "cgroup.procs").read_bytes():
                return True
    return False


def is_ours(cgroup: Cgroup) -> bool:
    """Whether it was made by `enclose`, for the daemon to remove; a scope is systemd's."""
    name = cgroup.path.rpartition("/")[2]
    pid, _, start_time = name.removeprefix(NAME).partition("-")
    return name.startswith(NAME) and pid.isdecimal() and start_time.isdecimal()
