"""Which views programs use now, as far as anybody can tell.

Five witnesses. **Daemons** know who is bound to which view. **/proc** names views: in mounts (a
container that one is bound into), open files, working directories, programs, what they have mapped
or watch (`unionfs.upkeep.watches`), their arguments and environments. An **interpreter** that
pinned itself holds its view by a descriptor (`unionfs.environment.pin`), so it names it, too; what
it has started may name the path by which it goes, which leads to the view
(`resolver.project.standing`). And
there are interpreters that say nothing: without `site`, or with all descriptors closed, or inside
of another program. Of such a one is known when it was started and through which environment, so
what was a project's view *then* may be what it uses. Programs of Node's never say anything: what
their project has had may be what they use (`unionfs.upkeep.nodes`).

What /proc does not show, in other namespaces or for want of rights, **the kernel** knows: whoever
works in a view, has a file of it open or mapped, or pinned itself, holds the view's directory
(`unionfs.kernel.holding`). It is asked, by way of the daemon, about those views only that nothing
else speaks for. And a daemon that sees other processes than we do looks at them for us.

Where something cannot be read, it counts as in use: to keep too much is no harm.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.boot import since_boot
from resolver.caller.procfs import Absence, Stat, read_stat
from resolver.errors import PkgviewError
from resolver.project import standing
from unionfs.control import client
from unionfs.control.daemons import written_down
from unionfs.control.endpoint import (
    DaemonAbsentError,
    Endpoint,
    elsewhere,
    endpoint_of,
    opened_anywhere,
)
from unionfs.mounting import mountpoints, mounts
from unionfs.upkeep import nodes
from unionfs.upkeep.began import began, itself
from unionfs.upkeep.nodes import NodeProgram
from unionfs.upkeep.proc import has_ended, link, open_files, pinned, read, shown
from unionfs.upkeep.started import environments
from unionfs.upkeep.watches import watched
from unionfs.view.nodeid import NodeId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from resolver.manifest import ViewId
    from resolver.places import Places

_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])|/packages/[^/\0\n]*-([0-9a-f]{12})\b")
"""A view's id; or the digits that an archive has in `packages/`, whoever looks at it there."""

OURS = re.compile(rb"\0-m\0unionfs\.")
"""Of a command line: a process of ours."""

PATIENCE = 10.0
"""Seconds that a daemon may take to say who is bound."""

ASKED_AT_ONCE, GONE_AT_ONCE = 512, 128
"""Views that a daemon is asked about in one request, which may have 64 KiB; longer names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An interpreter.

    `started` is seconds since boot, at the earliest (`unionfs.upkeep.began`); `itself` is when this
    very process began, which may be a fork of what started.
    `places` are its working directory and the environments in which it may have been started; None
    where that cannot be known (`unionfs.upkeep.started`).
    """

    pid: int
    started: float
    itself: float
    places: frozenset[str] | None

    def came_through(self, roots: Iterable[str]) -> bool:
        """Whether one of its places is in, or is a link into, one of these directories."""
        if self.places is None:
            return True
        tops = tuple(f"{root.rstrip('/')}/" for root in roots)
        return any(f"{place}/".startswith(tops) for place in self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What programs have.

    `named`: digits, 32 of views and others, 12 of archives in `packages/`; and what standing paths
    are called. `programs`: who says nothing. `watched`: inodes under a watch, ours and others.
    `nodes`: programs of Node's.

    `daemons`: where those are reached that can ask the kernel.
    """

    named: frozenset[str]
    programs: tuple[Program, ...]
    watched: frozenset[NodeId] = frozenset()
    nodes: tuple[NodeProgram, ...] = ()
    daemons: tuple[Endpoint, ...] = ()

    def held(self, views: Collection[ViewId]) -> set[ViewId]:
        """Those of the views that the kernel says somebody holds.

        `PkgviewError` where a daemon runs and does not say.
        """
        found: set[ViewId] = set()
        for endpoint in self.daemons:
            left = sorted(views)
            while left:
                asked, left = left[:ASKED_AT_ONCE], left[ASKED_AT_ONCE:]
                said = _ask(endpoint, "held", views=asked)
                if said is None:
                    break
                for view in said["views"]:
                    found.add(view)
                    # The question took its name from the directory: have it found again, or who
                    # works there would not know where he is.
                    with suppress(OSError):
                        os.stat(os.path.join(said["mountpoint"], "views", view))  # noqa: PTH116, PTH118 - strings
        return found

    def gone(self, views: Collection[ViewId], packages: Collection[str]) -> None:
        """Have the kernel forget names that were removed, as far as daemons can be told."""
        names = [*(("views", view) for view in views), *(("packages", one) for one in packages)]
        for first in range(0, len(names), GONE_AT_ONCE):
            some = names[first : first + GONE_AT_ONCE]
            told = {key: [name for sort, name in some if sort == key] for key, _ in some}
            for endpoint in self.daemons:
                with suppress(PkgviewError):  # one of before, which knows no such request
                    _ask(endpoint, "gone", **told)


NOTHING = Survey(named=frozenset(), programs=())


def survey(places: Places) -> Survey:
    """Look once. `PkgviewError` where a daemon runs and does not say who is bound."""
    here = look_around()
    named, programs, inodes = set(here.named), list(here.programs), set(here.watched)
    of_node = list(here.nodes)
    daemons = tuple(_endpoints(places))
    for endpoint in daemons:
        said = _ask(endpoint, "ps")
        if said is None:
            continue
        named.update(str(one["view"]) for one in (*said["processes"], *said["by_hand"]))
        there = _ask(endpoint, "survey", pid_namespace=pid_namespace())
        if there is not None:
            named.update(there["named"])
            programs += [_from_json(one) for one in there["programs"]]
            of_node += nodes.from_json(there)
            inodes.update(map(NodeId, there.get("watched", ())))
    for path in standing.led_to(places.state, tuple(named)):
        named.update(_ids(os.fsencode(path)))
    return Survey(
        named=frozenset(named),
        programs=tuple(programs),
        watched=frozenset(inodes),
        nodes=tuple(of_node),
        daemons=daemons,
    )


def look_around() -> Survey:
    """What the /proc of this process shows."""
    named: set[str] = set()
    programs: list[Program] = []
    of_node: list[NodeProgram] = []
    inodes: set[NodeId] = set()
    seen: set[str] = set()
    let_in = any(mount.ours and mount.shared for mount in mounts.table())
    own = link("/proc/self")  # os.getpid() is another one where /proc is of a namespace above
    for name in os.listdir("/proc"):
        if name.isdecimal() and name != own:
            for one in _look(int(name), named, inodes, seen, let_in=let_in):
                if isinstance(one, NodeProgram):
                    of_node.append(one)
                else:
                    programs.append(one)
    return Survey(
        named=frozenset(named),
        programs=tuple(programs),
        watched=frozenset(inodes),
        nodes=tuple(of_node),
    )


def pid_namespace() -> str:
    """Which processes this one sees."""
    return link("/proc/self/ns/pid")


def as_json(seen: Survey) -> dict[str, Any]:
    """For who asks a daemon."""
    return {
        "named": sorted(seen.named),
        "watched": sorted(seen.watched),
        "nodes": nodes.as_json(seen.nodes),
        "programs": [
            [one.pid, one.started, one.itself, None if one.places is None else sorted(one.places)]
            for one in seen.programs
        ],
    }


def _from_json(said: list[Any]) -> Program:
    pid, started, itself, places = said
    return Program(
        pid=pid,
        started=started,
        itself=itself,
        places=None if places is None else frozenset(places),
    )


def _ask(endpoint: Endpoint, operation: str, **arguments: object) -> Mapping[str, Any] | None:
    """What a daemon answers; None where it has ended."""
    try:
        said: Mapping[str, Any] = client.ask(endpoint, operation, seconds=PATIENCE, **arguments)
    except DaemonAbsentError:
        return None
    except PkgviewError as error:
        raise _unknown(error) from error
    return said


def _unknown(error: PkgviewError) -> PkgviewError:
    return PkgviewError(
        f"it cannot be known who uses which view: {error.what}", remedy=error.remedy
    )


def _endpoints(places: Places) -> Iterator[Endpoint]:
    """Every daemon of this state that lives, wherever it has mounted."""
    primary = endpoint_of(places, places.mount)
    directories = {one.directory for one in (primary, *elsewhere(places, primary))}
    there = (
        Endpoint(directory=directory, name=lock.stem)
        for directory in directories
        for lock in directory.glob("*.lock")
    )
    try:
        said = {*written_down(places)}
    except PkgviewError as error:
        raise _unknown(error) from error
    for endpoint in {*there, *opened_anywhere(_names(places)), *said}:
        if endpoint.held():
            yield endpoint


def _names(places: Places) -> set[str]:
    """What the endpoints of all mount points are called that this state has had."""
    table, found = mounts.table(), set()
    for path in map(Path, mountpoints.mountpoints(places)):
        with suppress(PkgviewError):  # one that cannot be reached any more
            found.add(endpoint_of(places, mounts.canonical(path, table)).name)
    return found


def _look(
    pid: int, named: set[str], inodes: set[NodeId], seen: set[str], *, let_in: bool
) -> Iterator[Program | NodeProgram]:
    try:
        foreign = os.stat(f"/proc/{pid}").st_uid != os.geteuid()  # noqa: PTH116 - thousands of them
    except OSError:
        return
    stat = read_stat(pid)
    if isinstance(stat, Absence) or (base := shown(pid, stat)) is None:
        return
    namespace = link(f"{base}/ns/mnt")
    if namespace not in seen:
        seen.add(namespace)
        named.update(_ids(read(f"{base}/mountinfo")))
    exe, cwd = link(f"{base}/exe"), link(f"{base}/cwd")
    cmdline, environ, maps = (read(f"{base}/{name}") for name in ("cmdline", "environ", "maps"))
    files = open_files(base)
    for text in (exe, cwd, *files.values()):
        named.update(_ids(os.fsencode(text)))
    for content in (cmdline, environ, maps):
        named.update(_ids(content))
        named.update(_by_standing_paths(base, content))
    inodes.update(watched(base, files))
    # A kernel's thread has nothing; and nobody else, not even root, may enter a user's mount.
    if not (cmdline or maps) or OURS.search(cmdline) or (foreign and not let_in):
        return
    yield from nodes.looked(
        pid, stat, base, exe=exe, cwd=cwd, cmdline=cmdline, environ=environ, maps=maps
    )
    if pinned(base, files):
        return
    program = _silent(
        pid, stat, base, exe=exe, cwd=cwd, cmdline=cmdline, environ=environ, maps=maps
    )
    if program is not None:
        named.update(*(_ids(os.fsencode(place)) for place in program.places or ()))
        yield program


def _silent(  # noqa: PLR0913 - what /proc says of one process
    pid: int, stat: Stat, base: str, *, exe: str, cwd: str, cmdline: bytes, environ: bytes,
    maps: bytes,
) -> Program | None:  # fmt: skip
    """An interpreter that does not say in which view it is; None for all else."""
    started, places = began(stat), None
    if exe or maps:
        places = environments(
            base, since=time.time() - since_boot() + started,
            exe=exe, cwd=cwd, cmdline=cmdline, environ=environ, maps=maps,
        )  # fmt: skip
    elif pid == 1:
        return None  # the system's own init, which nobody may look at, uses none
    if places == frozenset() or (places is None and has_ended(pid, stat)):
        return None
    return Program(pid=pid, started=started, itself=itself(stat), places=places)


def _ids(text: bytes) -> set[str]:
    return {(found[1] or found[0]).decode() for found in _ID.finditer(text)}


def _by_standing_paths(base: str, text: bytes) -> Iterator[str]:
    """What standing paths there are called, and what they lead to as the process sees them."""
    for directory, name in standing.named(text):
        yield name
        yield from _ids(os.fsencode(link(f"{base}/root{directory}/at/{name}")))
