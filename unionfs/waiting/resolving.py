"""Programs that wait for a view, and the resolutions that they wait for.

A program whose project has no view is shown one that waits (`unionfs.environment.wait`): before
its first import it asks here, over the control socket, and is told how far it is until it has a
view or the reason why not. It is looked at by the binding rules like any other process, so it
names no project: nobody gets another's view by asking for it.

* **One resolution for each project and Python**, however many wait, in a process of its own
  (`unionfs.publishing.resolve_job`), at a lower priority than serving. Few run at once
  (`unionfs.waiting.turns`), within bounds (`unionfs.waiting.bounds`).
* It goes on when nobody waits any more, the next start has use for it, unless others have no room.
* **A failure is remembered** until something is otherwise that it came from (`Prepared`), or a
  command says so, `REMEMBERED` seconds at most (what failed may have been the network; longer where
  it was a bound): a loop of failing starts is no loop of resolutions.
* What the daemon's user has not made up or trusted is never resolved.

Concurrency: all of `Resolving` belongs to the trio thread and changes only between awaits; threads
run `Preparing`. A resolution is a system task, because no connection is its parent; nothing that
happens in it may escape from it.
"""

from __future__ import annotations

import logging
import os
import re
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from resolver.binding.rules import Rule
from resolver.caller.procfs import Tid
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.naming import shell_word, spelled
from resolver.project import resolved, trust
from resolver.python.environment import for_project, refuse_relative
from unionfs.control import jobs
from unionfs.control.forking import Template
from unionfs.control.jobs import Job
from unionfs.forkserver import IDLE_SECONDS, OFF
from unionfs.publishing.resolve_job import (
    FORKED,
    Snapshot,
    refusal,
    shown,
)
from unionfs.waiting import bounds
from unionfs.waiting.preparing import Asker, Outcome, Prepared, Preparing, untrusted
from unionfs.waiting.turns import Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.binding.binder import Binder
    from resolver.binding.rules import Candidate
    from resolver.places import Places
    from unionfs.control.request import Request, Tell

logger = logging.getLogger(__name__)

REMEMBERED = 30.0
"""Seconds that a failure is told again instead of being looked into anew."""

MOST_REMEMBERED = 256

SILENT = 600.0
"""Seconds after which a resolution that says nothing is given up: its user has said yes to what it
chooses, and uv is silent while it clones a repository. Others have less, `bounds.MOST_SECONDS`."""

BEAT = 1.0
"""Seconds after which a program that waits hears something, so that it knows that we live."""

_VERSION = re.compile(r"3\.\d{1,3}t?")


def _at(stage: str) -> Snapshot:
    """How far it is before its job says anything."""
    return Snapshot(stage=stage, name="", files=(0, None), size=(0, None))


@dataclass(eq=False, slots=True, kw_only=True)
class _Resolution:
    prepared: Prepared
    snapshot: Snapshot = field(default_factory=lambda: _at("starting"))
    outcome: Outcome | None = None
    changed: trio.Event = field(default_factory=trio.Event)
    turn: Turn = field(default_factory=Turn)
    remembered: float = field(default_factory=lambda: REMEMBERED)
    """Seconds, if it fails."""

    def is_timed(self) -> bool:
        """Whether it finds out what is needed, for a project that nobody has allowed anything."""
        return not self.prepared.agreed and self.snapshot["stage"] in {"starting", "resolving"}

    def say(self) -> None:
        """Wake all who wait."""
        self.changed.set()
        self.changed = trio.Event()


class _Failure(NamedTuple):
    of: Prepared
    outcome: Outcome
    until: float


class Resolving:
    """Makes views for programs that wait; belongs to one trio run."""

    def __init__(self, places: Places, binder: Binder, *, command: Sequence[str] = ()) -> None:
        self._places = places
        self._binder = binder
        self._command = command or jobs.command("unionfs.publishing.resolve_job")
        self._template = Template((*self._command, FORKED), IDLE_SECONDS)
        self._preparing = Preparing(places)
        self._running: dict[tuple[str, str], _Resolution] = {}
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._turns = Turns()

    @property
    def running(self) -> int:
        """Resolutions under way, those in the queue included."""
        return len(self._running)

    def look_again(self) -> None:
        """A command has changed something: what failed may not fail any more."""
        self._failures.clear()

    async def answer(self, request: Request) -> dict[str, Any]:
        """The operation `resolve`: which view the asking process is to use.

        `python` ("3.11") is its interpreter's version, `restarts` as in `Asker`. The answer has
        `view` (None: none of ours), `python` where the view is the project's, `failed` (a sentence
        and its remedy) where there should be another one, and `notice`, a text to show.
        """
        tid = Tid(request.peer.pid)
        python = request.arguments.get("python")
        if not isinstance(python, str) or not _VERSION.fullmatch(python):
            raise PkgviewError("`python` is a version such as 3.11")
        binding = await self._binder.binding_for(tid)
        if binding.rule is Rule.DEFAULT:
            said = refused_notice(binding.refused) if binding.refused else None
            return {"view": None, "notice": said}
        if binding.view is not None or binding.project is None:
            # Without either the project cannot be read: `why` says what is wrong with it.
            said = None if binding.view else f"pkgview: {shown(binding.why)}\n"
            return {"view": binding.view, "notice": said}
        bound = self._binder.bound(tid)
        asker = Asker(
            python=python,
            executable=(bound.exe if bound else None) or "",
            restarts=request.arguments.get("restarts") is True,
        )
        outcome = await self.view_for(binding.project, asker, request.tell)
        if outcome.view is not None and not asker.restarts:
            # It goes on as it is, so let it be known what it goes on with.
            await self._binder.binding_for(tid)
        failed = {"what": outcome.what, "remedy": outcome.remedy} if outcome.failed else None
        answer = {"view": outcome.view, "python": outcome.python, "failed": failed}
        return {**answer, "notice": f"pkgview: {outcome.said}\n"} if outcome.said else answer

    async def view_for(self, root: str, asker: Asker, tell: Tell) -> Outcome:
        """The view of the project at `root` for that interpreter, made if it has to be."""
        try:
            found = await trio.to_thread.run_sync(
                self._preparing, root, asker, abandon_on_cancel=True
            )
        except PkgviewError as error:
            last = resolved.load(self._places.state / "projects", root).exactly(asker.python)
            if last is not None and not trust.counts(last, root, self._places.state):
                last = None
            told = refusal(error, Path(root))
            return Outcome(view=last.view if last else None, python=asker.python, **told)
        if isinstance(found, Outcome):
            return found
        failure = self._failures.get(found.key)
        if failure is not None:
            if failure.of == found and trio.current_time() < failure.until:
                return failure.outcome
            del self._failures[found.key]
        resolution = self._running.get(found.key)
        if resolution is None:
            resolution = self._running[found.key] = _Resolution(prepared=found)
            trio.lowlevel.spawn_system_task(self._run, resolution)
        return await self._follow(resolution, tell)

    async def _follow(self, resolution: _Resolution, tell: Tell) -> Outcome:
        """Tell how far it is until it is over."""
        with resolution.turn.waited_for():
            while resolution.outcome is None:
                changed = resolution.changed
                await tell({**resolution.snapshot, "project": spelled(resolution.prepared.root)})
                with trio.move_on_after(BEAT):
                    await changed.wait()
        return resolution.outcome

    # One resolution

    async def _run(self, resolution: _Resolution) -> None:
        """A system task: see that there is an outcome, whatever happens."""
        prepared = resolution.prepared
        error = PkgviewError(
            f"the resolution of {prepared.root} was ended for others: no program waited for it",
            remedy="Start the program again.",
        )
        answer: dict[str, Any] = refusal(error, Path(prepared.root))
        try:
            if not self._turns.is_free:
                resolution.snapshot = _at("queued")
                resolution.say()
            async with self._turns.taken(resolution.turn):
                resolution.snapshot = _at("starting")
                answer = await self._answer_of(resolution)
        except Exception:
            logger.exception("the resolution of %s failed", prepared.root)
            error = PkgviewError(
                f"the view of {prepared.root} could not be made",
                remedy="The daemon's log says why.",
            )
            answer = refusal(error, Path(prepared.root))
        python = prepared.interpreter.python.version
        if "view" in answer:
            view = ViewId(answer["view"])
            outcome = Outcome(view=view, python=python, said=answer.get("said", ""))
        else:
            logger.warning("%s: %s", prepared.root, answer["what"])
            outcome = Outcome(view=prepared.last, python=python, **answer)
            if len(self._failures) >= MOST_REMEMBERED:
                del self._failures[next(iter(self._failures))]
            if not resolution.turn.running.cancelled_caught:
                until = trio.current_time() + resolution.remembered
                self._failures[prepared.key] = _Failure(prepared, outcome, until)
        del self._running[prepared.key]
        if os.environ.get(OFF) != "0":
            nobodys = for_project(os.environ, frozenset())
            trio.lowlevel.spawn_system_task(self._template.keep, nobodys)
        self._binder.refresh()
        resolution.outcome = outcome
        resolution.say()

    async def _answer_of(self, resolution: _Resolution) -> dict[str, Any]:
        """Run `unionfs.publishing.resolve_job`: its last line."""
        prepared = resolution.prepared
        request = {
            "places": {name: os.fspath(path) for name, path in asdict(self._places).items()},
            "root": prepared.root,
            "executable": prepared.interpreter.executable,
            "extras": prepared.extras,
            "groups": prepared.groups,
            "asked": prepared.asked,
            "beside": prepared.beside,
        }
        last: dict[str, Any] = {}
        given_up: PkgviewError | None = None

        async def bound(job: Job, running: trio.CancelScope) -> None:
            nonlocal given_up
            given_up = await bounds.ended_beyond(job, prepared.root, resolution.is_timed, running)
            resolution.remembered = bounds.REMEMBERED

        try:
            refuse_relative(os.environ)
            environ = for_project(os.environ, prepared.agreed)
            forked = await self._template.forked()
            async with Job(self._command, request, environ, forked) as job:
                logger.info("resolving %s for Python %s, pid %d", *prepared.key, job.pid)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(bound, job, nursery.cancel_scope)
                    try:
                        async for message in job.messages(SILENT):
                            last = message
                            if "stage" in message:
                                resolution.snapshot = Snapshot(**message)  # type: ignore[typeddict-item]
                                resolution.say()
                    except trio.TooSlowError:
                        what = f"the resolution of {prepared.root} said nothing for {SILENT:.0f} s"
                        given_up = PkgviewError(what)
                    nursery.cancel_scope.cancel()
        except PkgviewError as error:
            given_up = error
        if given_up is not None:
            return refusal(given_up, Path(prepared.root))
        if "view" in last or "what" in last:
            return last
        how = f"status {job.returncode}"
        if job.returncode is not None and job.returncode < 0:
            how = signal.Signals(-job.returncode).name
        what = f"the resolution of {prepared.root} was ended by {how}"
        return refusal(PkgviewError(what, remedy="Start the program again."), Path(prepared.root))


def unknown(root: str) -> PkgviewError:
    """Why a project does not count for who only starts in it, and the command that changes it."""
    return PkgviewError(
        f"{spelled(root)} is not used, because you have not said yes to it",
        remedy=f"If what it lists may run in programs that start there: `pkgview trust "
        f"{shell_word(root)}`.",
    )


def refused_notice(refused: Candidate) -> str:
    """The same as a program is told it that would have used it."""
    error = untrusted(refused.root, refused.refused) if refused.refused else unknown(refused.root)
    return f"pkgview: {shown(error.what)}\n  {shown(error.remedy)}\n"
