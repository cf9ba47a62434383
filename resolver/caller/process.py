"""Who is asking: one process as the rules of binding need to see it.

`identity` is cheap and never blocks; the daemon calls it for every request. `observe` reads all the
rest (arguments, environment, links). It may block for as long as the process's memory or its file
systems do, so it belongs into a thread with a time limit.

**Nothing here touches a path inside pkgview's own mount**: such a look would wait for the daemon
that waits for it. Paths are therefore followed link by link (`follow`), and a walk that comes to
the mount point stops there: what lies behind it is decided from the text alone. Links such as
`project/.venv` lead there all the time.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from resolver.caller.commandline import Runs, interpreter_of, parse_command
from resolver.caller.procfs import (
    PROC,
    Absence,
    Cgroup,
    Image,
    Pid,
    StartTime,
    Tid,
    read_cgroup,
    read_cmdline,
    read_cwd,
    read_environ,
    read_exe,
    read_stat,
    read_status,
    share_memory,
)
from resolver.manifest import ViewId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from resolver.caller.procfs import Status

T = TypeVar("T")

MOST_ANCESTORS = 64
MOST_LINKS = 40
"""What the kernel follows in one path walk (MAXSYMLINKS)."""
MOST_PATH_ENTRIES = 64
MOST_SHOWN = 160
"""Bytes of a command line that are kept for people to read."""

_WANTED = frozenset((b"PKGVIEW_PROJECT", b"PKGVIEW_VIEW", b"PATH", b"PWD", b"PYTHONSAFEPATH"))


class Ancestor(NamedTuple):
    """A process further up, with the start time that makes its pid unmistakable."""

    pid: Pid
    start_time: StartTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which process it is (`tgid`, `start_time`), and which `execve` of it (`image`)."""

    tgid: Pid
    start_time: StartTime
    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One process at one moment. None and "" stand for what could not be had or is not there.

    `uid` is the file system uid of the thread that asked. `script` and `cwd` are absolute, without
    links, outside of the mount, and as this daemon sees them. `view` is PKGVIEW_VIEW, and `project`
    PKGVIEW_PROJECT, both as given. `runs_from` is the view whose interpreter, console script or
    program this process is. `command` is a digest of its arguments, `program` their beginning for
    people to read, or the executable. `runs_script`: an interpreter was given one outside of the
    mount, whether or not it could be found; `imports_here`: it imports from its working directory,
    by Python's own rules; `started_here`: it was started as a program in the mount, and `by_path`:
    by a path, so that nobody's PATH chose it. `images` tells which programs its ancestors are now,
    one by one; it is empty where that is not known.
    """

    identity: Identity
    uid: int | None = None
    exe: str | None = None
    is_interpreter: bool = False
    python: str | None = None
    script: str | None = None
    module: str | None = None
    command: bytes = b""
    program: str = ""
    runs_from: ViewId | None = None
    runs_script: bool = False
    imports_here: bool = False
    started_here: bool = False
    by_path: bool = False
    cwd: str | None = None
    view: str | None = None
    project: str | None = None
    ancestors: tuple[Ancestor, ...] = ()
    images: tuple[Image, ...] = ()
    cgroups: tuple[Cgroup, ...] = ()


def identity(tid: Tid, root: Path = PROC) -> Identity | Absence:
    """The process a thread belongs to. Two or three reads of `/proc` that never block (10-25 µs).

    A thread has a start time of its own, so the one that counts is asked of the thread group.
    """
    status = read_status(tid, root)
    if isinstance(status, Absence):
        return status
    stat = read_stat(status.tgid, root)
    if isinstance(stat, Absence):
        return stat
    image = stat.image
    if not image and int(status.tgid) != int(tid):
        # The leader may have ended before its threads; its memory is gone from its own entry then.
        thread = read_stat(tid, root)
        image = image if isinstance(thread, Absence) else thread.image
    return Identity(tgid=status.tgid, start_time=stat.start_time, image=image)


def observe(
    tid: Tid,
    mount: frozenset[str],
    root: Path = PROC,
    *,
    known: Identity | None = None,
    status: Status | None = None,
) -> Caller | Absence:
    """All that there is to see of the process that thread `tid` belongs to. Blocks: see above.

    `mount` is what `mount_names` gives; `known` and `status` save what was read a moment ago.
    Everything is read through the thread's own entry, since that of a process whose first thread
    has ended shows nothing.
    """
    who = known or identity(tid, root)
    if isinstance(who, Absence):
        return who
    status = status or _present(read_status(tid, root))
    exe = _present(read_exe(tid, root))
    argv = _present(read_cmdline(tid, root)) or ()
    environ: Mapping[bytes, bytes] = _present(read_environ(tid, _WANTED, root)) or {}
    variables = {name.decode("ascii"): os.fsdecode(value) for name, value in environ.items()}
    there = _Paths(tid, mount, root)
    interpreter = interpreter_of(exe) if exe else None
    line = ancestors(who, status, root) if status else ()
    above = tuple(ancestor for ancestor, _ in line)
    # Between vfork and execve a process is its parent's double in all but its directory: what it
    # looks up is the program that it is about to become, not a module of its parent's.
    borrowed = root == PROC and bool(above) and share_memory(who.tgid, above[0].pid)
    if borrowed:
        argv = ()
    cwd = _present(read_cwd(tid, root))
    # PWD is what a shell said the directory was at `execve`: for a script started by a relative
    # path in a program that has gone elsewhere since.
    bases = tuple(base for base in (cwd, variables.get("PWD", "")) if base and base[0] == "/")
    script: Followed | None = None
    module: str | None = None
    runs_script = imports_here = False
    if interpreter and not borrowed:
        command = parse_command(argv)
        isolated = command.safe_path or bool(variables.get("PYTHONSAFEPATH"))
        imports_here = command.kind is not Runs.SCRIPT and not isolated
        if command.kind is Runs.SCRIPT:
            script = there.follow_first(os.fsdecode(command.value), bases)
            # A command of the mount's has no place of its own: it is whoever's `current` shows it.
            runs_script = not isinstance(script, Inside)
        elif command.kind is Runs.MODULE:
            module = os.fsdecode(command.value)
    started = (
        ()
        if borrowed
        else _started(
            exe, argv if interpreter else (), bases, variables.get("PATH", ""), there, script
        )
    )
    return Caller(
        identity=who,
        uid=status.account.uid if status else None,
        exe=exe,
        is_interpreter=interpreter is not None and not borrowed,
        python=None if borrowed else interpreter or None,
        script=script if isinstance(script, str) else None,
        module=module,
        command=hashlib.blake2b(b"\0".join(argv), digest_size=16).digest() if argv else b"",
        program=os.fsdecode(b" ".join(argv)[:MOST_SHOWN]) or exe or "",
        runs_from=next((inside.view for inside in started if inside.view), None),
        runs_script=runs_script,
        imports_here=imports_here,
        started_here=bool(started),
        by_path=bool(argv) and b"/" in argv[0],
        cwd=there.outside(cwd) if cwd else None,
        view=variables.get("PKGVIEW_VIEW"),
        project=variables.get("PKGVIEW_PROJECT"),
        ancestors=above,
        images=tuple(image for _, image in line),
        cgroups=_present(read_cgroup(tid, root)) or (),
    )


def ancestors(
    who: Identity, status: Status, root: Path = PROC
) -> tuple[tuple[Ancestor, Image], ...]:
    """Parent, grandparent, …, and which program each is now.

    Without pid 1, and without what lies outside of our pid namespace.

    A parent that is younger than its child has taken over a dead one's pid: the chain ends there.
    """
    chain: list[tuple[Ancestor, Image]] = []
    pid, start_time = status.ppid, who.start_time
    while pid > 1 and len(chain) < MOST_ANCESTORS:
        parent = read_stat(pid, root)
        if isinstance(parent, Absence) or parent.start_time > start_time:
            break
        chain.append((Ancestor(pid, parent.start_time), parent.image))
        pid, start_time = parent.ppid, parent.start_time
    return tuple(chain)


class Inside(NamedTuple):
    """A place in pkgview's own mount: the names below the mount point, as text, never looked at."""

    names: tuple[str, ...]

    @property
    def view(self) -> ViewId | None:
        """The view that the path names, if it goes through `views/<id>`.

        With ".." in it nothing is said: behind a link, text does not tell where that leads.
        """
        match self.names:
            case ("views", name, *rest) if ".." not in rest:
                return as_view(name)
            case _:
                return None


Followed = str | Inside
"""Where a path leads: to a file outside of the mount (absolute, without links), or into it."""


def as_view(text: str) -> ViewId | None:
    """The id of a view, if it has the form of one."""
    return ViewId(text) if re.fullmatch(r"[0-9a-f]{32}", text) else None


def mount_names(mount: Path) -> frozenset[str]:
    """All that the mount point is called once the links on the way to it are followed.

    Looks at the mount point's parents, and whether it is a link itself; nothing of this asks the
    file system that is mounted there. Call it once.
    """
    own = os.path.join(os.path.realpath(mount.parent), mount.name)  # noqa: PTH118 - as text
    try:
        target = os.readlink(own)
    except OSError:
        return frozenset((own,))
    elsewhere = os.path.join(os.path.dirname(own), target)  # noqa: PTH118, PTH120 - as text
    parent, name = os.path.split(os.path.normpath(elsewhere))
    return frozenset((own, os.path.join(os.path.realpath(parent), name)))  # noqa: PTH118 - as text


def follow(path: str, mount: frozenset[str]) -> Followed | None:  # noqa: C901 - the cases of one path walk
    """Follow every link of an absolute path, up to the mount point; None if it leads nowhere.

    `/proc` is nowhere: its links mean something else to each process. May block on other file
    systems.
    """
    done, todo, links = "", list(reversed(path.split("/"))), 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{name}"
        if here in mount:
            return Inside(tuple(rest for rest in reversed(todo) if rest not in ("", ".")))
        if here == "/proc":
            return None
        try:
            target = os.readlink(here)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return None
            done = here  # there, and no link
            continue
        except ValueError:
            return None  # a NUL
        links += 1
        if links > MOST_LINKS:
            return None
        if target.startswith("/"):
            done = ""
        todo.extend(reversed(target.split("/")))
    return done or "/"


class _Paths:
    """Another process's paths, as this process may use them."""

    def __init__(self, tid: Tid, mount: frozenset[str], root: Path) -> None:
        self._mount = mount
        self._theirs = f"{root}/{tid}/root"
        # A process in another mount namespace (a container) or behind chroot(2) may mean another
        # file by the same path. Then a path counts only if both names lead to one file.
        own = _own_mounts(root)
        self._shared = _link_text(self._theirs) == "/" and _link_text(f"{root}/{tid}/ns/mnt") == own

    def follow_first(self, path: str, bases: Sequence[str]) -> Followed | None:
        """Where the path leads from the first of the directories where it leads anywhere."""
        starts = ("",) if path.startswith("/") else bases
        for base in starts:
            found = follow(f"{base}/{path}", self._mount)
            if isinstance(found, Inside) or (found and self._same(found)):
                return found
        return None

    def outside(self, path: str) -> str | None:
        """A path that the kernel gave, if it is outside of the mount and the same file for us."""
        inside = self.inside(path)
        return path if not inside and path.startswith("/") and self._same(path) else None

    def inside(self, path: str) -> Inside | None:
        """A path that the kernel gave, if it is in the mount: there are no links in it."""
        for name in self._mount:
            if path == name or path.startswith(f"{name}/"):
                return Inside(tuple(path[len(name) + 1 :].split("/")))
        return None

    def _same(self, path: str) -> bool:
        if self._shared:
            return True
        try:
            ours, theirs = os.stat(path), os.stat(f"{self._theirs}{path}")  # noqa: PTH116 - strings
        except (OSError, ValueError):
            return False
        return os.path.samestat(ours, theirs)


def _started(  # noqa: PLR0913, PLR0917 - what it says, all read by its one caller
    exe: str | None,
    argv: Sequence[bytes],
    bases: Sequence[str],
    search: str,
    there: _Paths,
    script: Followed | None,
) -> tuple[Inside, ...]:
    """Where in the mount a program was started: by its executable, its `python`, or its script.

    A view's `python` is a link, so the kernel shows the real one as executable, and only
    `argv[0]` still says which name was used; a bare name is looked up on PATH, as Python does.
    """
    candidates: list[Followed | None] = [script]
    if exe:
        candidates.append(there.inside(exe))
    if argv and b"/" in argv[0]:
        candidates.append(there.follow_first(os.fsdecode(argv[0]), bases))
    elif argv and argv[0]:
        name = os.fsdecode(argv[0])
        for directory in search.split(":")[:MOST_PATH_ENTRIES]:
            found = there.follow_first(f"{directory or '.'}/{name}", bases)
            if found:
                candidates.append(found)
                break
    return tuple(where for where in candidates if isinstance(where, Inside))


@functools.cache
def _own_mounts(root: Path) -> str:
    """Our own mount namespace, which we never leave."""
    return _link_text(f"{root}/self/ns/mnt")


def _link_text(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _present(value: T | Absence) -> T | None:
    return None if isinstance(value, Absence) else value
