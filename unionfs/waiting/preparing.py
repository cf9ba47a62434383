"""What a resolution is to be made of, for a program that waits: looked up in a thread."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resolver.errors import PkgviewError
from resolver.naming import shell_word, spelled, visible
from resolver.project import resolved, trust
from resolver.project.freshness import Freshness
from resolver.python.discovery import fits
from resolver.python.interpreter import inspect, recalled
from resolver.python.target import python_of
from unionfs.publishing.look import look
from unionfs.publishing.repeat import last_up
from unionfs.publishing.resolve_job import project_at, wanted_interpreter
from unionfs.publishing.up import whole_manifest
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from resolver.manifest import ViewId
    from resolver.places import Places
    from resolver.project.resolved import ResolvedView
    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject


class Asker(NamedTuple):
    """What a program says of itself: the interpreter it runs in, as "3.11" and as a path.

    `restarts`: it would start anew in whatever Python the project wants.
    """

    python: str
    executable: str
    restarts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A view and the Python that it is for, or a failure, perhaps with the view of before.

    `said` is what is to be known of the view.
    """

    view: ViewId | None
    python: str
    said: str = ""
    what: str = ""
    remedy: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is a failure."""
        return bool(self.what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a resolution needs to know; `last` is the project's view for that Python until now.

    `beside`: it is for that Python's programs only. `directory` says which one it is, as
    `resolved.identity_text` does; `agreed` is what its user has said yes to.
    """

    root: str
    interpreter: Interpreter
    inputs: str
    last: ViewId | None
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    asked: str = ""
    beside: bool = False
    directory: str = ""
    agreed: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[str, str]:
        """What makes two resolutions the same."""
        return self.root, self.interpreter.python.version


class Preparing:
    """Answers whether there is anything to do, and what; may be called from several threads."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._freshness = Freshness()

    def __call__(self, root: str, asker: Asker) -> Outcome | Prepared:
        """In a thread: what is to be done, or the view where that has been done meanwhile.

        `PkgviewError` where it cannot be done.
        """
        with look(self._places):
            project = project_at(Path(root))
            inputs = self._freshness.fingerprint(project)
        problem = trust.problem(project, os.geteuid(), self._places.state)
        if problem is not None:
            raise untrusted(root, problem)
        # All that is asked for nowhere here is as in the last `up`, for another Python as well.
        like = last_up(self._places, project)
        interpreter = self._interpreter(project, asker, like)
        python = interpreter.python.version
        record = resolved.load(self._places.state / "projects", root)
        last = record.exactly(python)
        if last is not None and not trust.counts(last, root, self._places.state, project):
            last = None  # nor is it gone on with where that is refused
        if (
            last is not None
            and last.inputs in {"", inputs}
            and not self._freshness.is_stale(project, last)
            and whole_manifest(self._places, last.view) is not None
        ):
            return Outcome(view=last.view, python=python)
        return Prepared(
            root=root,
            interpreter=interpreter,
            inputs=inputs,
            last=last.view if last else None,
            extras=like.extras if like else (),
            groups=like.groups if like else (),
            asked=like.asked if like else "",
            beside=not asker.restarts and not self._is_own(project, interpreter, like),
            directory=resolved.identity_text(project.directory),
            agreed=trust.agreed_choices(project, self._places.state),
        )

    def _is_own(
        self, project: PythonProject, interpreter: Interpreter, like: ResolvedView | None
    ) -> bool:
        """Whether it is the project's own Python: that of the last `up`, else what it wants."""
        if like is not None:
            return like.variant == interpreter.python.version
        try:
            return wanted_interpreter(project, self._places.state) == interpreter
        except PkgviewError:
            return True  # there is no other

    def _interpreter(
        self, project: PythonProject, asker: Asker, like: ResolvedView | None
    ) -> Interpreter:
        """The asker's own, unless it would as well start in another one that the project wants.

        `like` is the view of the last `up`: another build of the same version stands for its own.
        """
        state = self._places.state
        if asker.restarts and (project.settings.python or project.python_pin):
            return wanted_interpreter(project, state)
        own = inspect(Path(asker.executable), state)
        needed = project.needed_python()
        if needed and not fits(own, needed):
            if asker.restarts:
                return wanted_interpreter(project, state)
            raise PkgviewError(
                f"{project.root} needs Python {needed}, and this is {own.full} ({own.executable})",
                remedy=f"Start it with {shell_word(self._places.mount / 'bin/python')}, "
                "which is the project's own.",
            )
        if like is not None and like.variant == own.python.version:
            with suppress(OSError, PkgviewError):
                manifest = read_manifest(self._places, like.view)
                return recalled(Path(python_of(manifest).executable), state) or own
        return own


def untrusted(root: str, problem: str) -> PkgviewError:
    """Why a project does not count, and the command that makes it count."""
    problem, named = visible(problem, root), spelled(root)
    return PkgviewError(
        f"{named} is not used, because it is not yours alone: {problem}",
        remedy=f"If you trust everybody who may write there: `pkgview trust {shell_word(root)}`.",
    )
