"""The daemon's answers about bindings: bind, unbind, ps, explain.

Requests come from the control socket, so from the daemon's own user or root, and are still taken
for hostile: every member is checked before it is used.

Concurrency: these run in the trio thread. Changes of the table go through one lock, are made in
a thread, since they write a file, and only then count: the binder is told at once, so whoever
asks for the link after `bind` has answered is bound anew.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from resolver.binding.binder import FRESH
from resolver.binding.manual import ManualBinding, Said
from resolver.caller.process import Ancestor, as_view
from resolver.caller.procfs import (
    Absence,
    Cgroup,
    Pid,
    StartTime,
    Tid,
    is_newborn,
    read_cgroup,
    read_stat,
    read_status,
)
from resolver.errors import PkgviewError
from unionfs.bindings import cgroups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from resolver.binding.binder import Binder, Explanation
    from resolver.binding.rules import Binding, Bound
    from unionfs.bindings.manual import ManualBindings
    from unionfs.control.request import Request
    from unionfs.publishing.view_index import ViewIndex

logger = logging.getLogger(__name__)

TEND_SECONDS = 10.0
"""How often is looked whether what was bound by hand has ended."""


ENCLOSED_AFTER = 0.05
"""Seconds after which a command gets a cgroup; most that end sooner leave nothing behind."""

NEWBORN_SECONDS = 0.02
"""After that long no other process can have the pid and the start time of one that lives."""


class Operations:
    """The control operations on one mount's bindings."""

    def __init__(
        self,
        binder: Binder,
        by_hand: ManualBindings,
        known: ViewIndex,
        by_path: Callable[[], Iterable[dict[str, Any]]] = tuple,
    ) -> None:
        """`by_path`: the processes that run in a view without having asked, as `ps` tells them."""
        self._by_path = by_path
        self._binder = binder
        self._by_hand = by_hand
        self._known = known
        self._changing = trio.Lock()
        self._bound = trio.Event()
        self._to_enclose, self._asked_for = trio.open_memory_channel[ManualBinding](math.inf)

    @property
    def table(self) -> Mapping[str, Callable[[Request], Awaitable[Any]]]:
        """Name -> operation."""
        return {
            "bind": self.bind,
            "unbind": self.unbind,
            "ps": self.ps,
            "explain": self.explain,
        }

    async def tend(self) -> None:
        """Let go of what has ended, for as long as there is anything that can; never returns."""
        self._binder.rebind(keep=self._keep)
        try:
            while True:
                if self._by_hand.is_idle:
                    self._bound = trio.Event()
                    await self._bound.wait()
                await trio.sleep(TEND_SECONDS)
                try:
                    await self._prune()
                except Exception:
                    logger.exception("what is bound by hand could not be looked through")
        finally:
            # What is left over then waits for the next daemon.
            self._by_hand.prune()

    async def enclose(self) -> None:
        """Put processes into cgroups of their own, one after the other; never returns.

        Nobody waits for it: the kernel takes its time, and until then a process is known by itself.
        """
        async for hand in self._asked_for:
            await trio.sleep(max(0.0, hand.since + ENCLOSED_AFTER - time.time()))
            made: Cgroup | None = None
            try:
                made = await self._enclosed(hand)
            except Exception:
                logger.exception("%s could not be put into a cgroup", hand.process)
            async with self._changing:
                try:
                    await trio.to_thread.run_sync(self._by_hand.enclosed, hand, made)
                except PkgviewError as error:
                    logger.warning("%s", error)
                self._binder.rebind(keep=self._keep)
                self._bound.set()

    async def _enclosed(self, hand: ManualBinding) -> Cgroup | None:
        process = hand.process
        if process is None or self._by_hand.hands.of_process(process) is None:
            return None
        return await trio.to_thread.run_sync(cgroups.enclose, process.pid, process.start_time)

    async def bind(self, request: Request) -> dict[str, Any]:
        """Bind a process, a cgroup, or both; of a view it counts as a use.

        `process`: [pid, start time], or "self" for whoever asks; `cgroup`: [controllers, path];
        `enclose`: whether the process is to be put into a cgroup of its own, with all that it
        starts; `project`, `view`, `python`, `said`: as in `ManualBinding`; `state`, `store` and
        `config`: which places are meant.
        """
        enclose = request.arguments.get("enclose") is True

        def bound() -> ManualBinding:
            # One thread for all of it: whoever asks is a command that waits to begin.
            return self._by_hand.bind(self._wanted(request), waits=enclose)

        async with self._changing:
            try:
                kept = await trio.to_thread.run_sync(bound)
            finally:  # what could not be written holds nevertheless, until the daemon ends
                self._binder.rebind(keep=self._keep)
                self._bound.set()
        if enclose:
            self._to_enclose.send_nowait(kept)
        return _described(kept)

    async def unbind(self, request: Request) -> list[dict[str, Any]]:
        """Take back what was said of a `process` or a `cgroup` (as in `bind`), or `all` of it."""
        async with self._changing:
            taken = await trio.to_thread.run_sync(self._taken, request)
            save = partial(self._by_hand.unbind, *(hand.number for hand in taken))
            try:
                await trio.to_thread.run_sync(save)
            finally:
                for hand in taken:
                    # A program keeps what it was shown, but not what was taken back.
                    self._binder.bindings.forget(hand.number)
                self._binder.rebind(keep=self._keep)
        return [_described(hand) for hand in taken]

    async def ps(self, _: Request) -> dict[str, Any]:
        """Every process that was seen, or runs in a view, and all that is bound by hand."""
        await self._prune()
        now = trio.current_time()
        seen = await trio.to_thread.run_sync(self._binder.living)
        processes = {bound.identity.tgid: _process(bound, now) for bound in seen}
        for one in await trio.to_thread.run_sync(lambda: list(self._by_path())):
            known = processes.get(one["pid"])
            if known is None or known["view"] != one["view"]:  # as what it was before it asked
                processes[one["pid"]] = one
        return {
            "processes": [processes[pid] for pid in sorted(processes)],
            "by_hand": [_described(hand) for hand in self._by_hand.hands],
        }

    async def explain(self, request: Request) -> dict[str, Any]:
        """What each rule says of the process `pid`, as if it asked now."""
        pid = request.arguments.get("pid")
        if not isinstance(pid, int) or not 0 < pid < 1 << 31:
            raise PkgviewError(f"there is no process {pid!r}")
        return _explained(await self._binder.explain(Pid(pid)), trio.current_time())

    async def _prune(self) -> None:
        async with self._changing:
            if await trio.to_thread.run_sync(self._by_hand.prune):
                self._binder.rebind(keep=self._keep)

    @property
    def _keep(self) -> float:
        return FRESH if self._by_hand.hands.has_cgroups else math.inf

    # In threads

    def _wanted(self, request: Request) -> ManualBinding:
        given = request.arguments
        uid = request.peer.uid
        process = self._process_of(request) if given.get("process") else None
        within: tuple[Cgroup, ...] = ()
        if process is not None:
            _check_owner(process.pid, uid)
            seen = read_cgroup(Tid(process.pid))
            within = () if isinstance(seen, Absence) else seen
        cgroup, inode = self._cgroup_of(given)
        if process is None and cgroup is None:
            raise PkgviewError("nothing was named that could be bound")
        project, view = _text(given, "project"), _text(given, "view")
        if project is not None and not project.startswith("/"):
            raise PkgviewError(f"{project!r} is no absolute path")
        if project is None and view is None:
            raise PkgviewError("neither a project nor a view was named")
        if not self._known.has_places(given):
            raise PkgviewError("the daemon works with other places", remedy="Run `pkgview up`.")
        known = None if view is None else as_view(view)
        if view is not None and (known is None or not self._known.use(known)):
            raise PkgviewError(
                f"there is no view {view}", remedy="`pkgview view DIR` shows a project's."
            )
        try:
            said = Said(_text(given, "said") or Said.BIND)
        except ValueError as error:
            raise PkgviewError("it does not say which command asks") from error
        return ManualBinding(
            uid=uid, said=said, process=process, within=within, cgroup=cgroup, inode=inode,
            project=project, view=known, python=_text(given, "python"), since=time.time(),
        )  # fmt: skip

    def _taken(self, request: Request) -> tuple[ManualBinding, ...]:
        hands, given = self._by_hand.hands, request.arguments
        if given.get("all") is True:
            return tuple(hands)
        if given.get("process"):
            process = self._process_of(request)
            found = hands.of_process(process)
            if found is None:
                raise PkgviewError(
                    f"process {process.pid} was not bound by hand itself",
                    remedy=f"`pkgview explain {process.pid}` says what holds for it, "
                    "`pkgview ps` what is bound by hand.",
                )
        else:
            cgroup, _ = self._cgroup_of(given)
            if cgroup is None:
                raise PkgviewError("nothing was named that could be bound")
            found = hands.of_cgroup(cgroup)
            if found is None:
                raise PkgviewError(
                    f"the cgroup {cgroup.path} was not bound by hand itself",
                    remedy="`pkgview ps` shows what is.",
                )
        return (found,)

    @staticmethod
    def _process_of(request: Request) -> Ancestor:
        """The process that a request names, if it is still the one that was meant."""
        match request.arguments["process"]:
            case "self":
                pid, start_time = request.peer.pid, None
            case [int(pid), int(start_time)] if 0 < pid < 1 << 31:
                pass
            case other:
                raise PkgviewError(f"{other!r} names no process")
        stat = read_stat(pid)
        if not isinstance(stat, Absence) and is_newborn(stat.start_time):
            time.sleep(NEWBORN_SECONDS)
            stat = read_stat(pid)
        if isinstance(stat, Absence) or stat.dead or start_time not in {None, stat.start_time}:
            raise PkgviewError(
                f"the daemon sees no process {pid}" if pid else "the daemon cannot see the process",
                remedy="It has ended, or is in another pid namespace; run the command outside of "
                "that.",
            )
        status = read_status(pid)
        if isinstance(status, Absence) or status.tgid != pid:
            raise PkgviewError(f"{pid} is a thread, not a process")
        return Ancestor(Pid(pid), StartTime(stat.start_time))

    @staticmethod
    def _cgroup_of(given: Mapping[str, Any]) -> tuple[Cgroup | None, int]:
        """The cgroup that a request names, and the number of its directory."""
        match given.get("cgroup"):
            case None:
                return None, 0
            case [str(controllers), str(path)] if path.startswith("/") and path.strip("/"):
                cgroup = Cgroup(controllers=controllers, path=path)
            case other:
                raise PkgviewError(f"{other!r} names no cgroup")
        inode = cgroups.inode_of(cgroup)
        if inode is None:
            raise PkgviewError(f"the daemon sees no cgroup {cgroup.path}")
        return cgroup, inode


def _check_owner(pid: int, uid: int) -> None:
    """Only root may say what other users' processes see."""
    status = read_status(pid)
    if uid != 0 and not isinstance(status, Absence) and status.account.uid != uid:
        raise PkgviewError(
            f"process {pid} belongs to uid {status.account.uid}, and you are uid {uid}",
            remedy="Bind your own processes, or run the command as root.",
        )


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise PkgviewError(f"{name} is no text")
    return value


# As JSON


def _described(hand: ManualBinding) -> dict[str, Any]:
    return {
        "pid": None if hand.process is None else hand.process.pid,
        "cgroup": None if hand.cgroup is None else hand.cgroup.path,
        "hierarchy": None if hand.cgroup is None else hand.cgroup.controllers or "unified",
        "by": hand.said.value,
        "uid": hand.uid,
        "project": hand.project,
        "view": hand.view,
        "since": _moment(hand.since),
    }


def _process(bound: Bound, now: float) -> dict[str, Any]:
    return {
        "pid": bound.identity.tgid,
        "program": bound.program,
        "uid": bound.uid,
        "python": bound.python,
        **_binding(bound.binding),
        "since": _moment(time.time() - (now - bound.given)),
        "seconds": round(now - bound.given, 3),
        "lasting": bound.lasting,
    }


def _binding(binding: Binding) -> dict[str, Any]:
    return {
        "rule": binding.rule.name.lower(),
        "project": binding.project,
        "view": binding.view,
        "why": binding.why,
    }


def _explained(found: Explanation, now: float) -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    won = next((one.rule for one in found.findings if one.binding is not None), None)
    for finding in found.findings:
        said = "; ".join(filter(None, (finding.said, *finding.skipped)))
        if finding.binding is not None:
            said = "; ".join((finding.binding.why, *finding.skipped))
        rules.append(
            {
                "rule": finding.rule.name.lower(),
                "found": finding.binding is not None,
                "won": finding.rule is won,
                "view": finding.binding.view if finding.binding else None,
                "project": finding.binding.project if finding.binding else None,
                "why": said,
            }
        )
    caller = found.caller
    return {
        "pid": caller.identity.tgid,
        "program": caller.program,
        "exe": caller.exe,
        "uid": caller.uid,
        "python": caller.python if caller.is_interpreter else None,
        "directory": caller.cwd,
        "script": caller.script,
        "cgroups": {one.controllers or "unified": one.path for one in caller.cgroups},
        "ancestors": [ancestor.pid for ancestor in caller.ancestors],
        "rules": rules,
        "last": None if found.last is None else _process(found.last, now),
    }


def _moment(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
