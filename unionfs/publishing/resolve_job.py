"""A job: make one project's view, running no code but our own and uv's.

A job (`unionfs.control.job`) of `unionfs.waiting.resolving`. The request is `{"places": {…},
"root": …, "executable": …, "extras": […], "groups": […], "asked": …, "beside": …}`; the lines say
how far it is (`Snapshot`), and the last one how it ended,

    {"view": ID, "python": "3.11", "said": …}      or      {"what": …, "remedy": …}

where `said` is for who waits, "" where there is nothing to say.

Nothing of the project is run: no sdist is built for its metadata or for itself, no build back end
is called for the project, no setup.py is read as a program (`Wish.no_build`). What needs that is an
error which names `pkgview up`, where a person says that it may. Nor is anything done that the
project has chosen itself and its user has not said yes to (`resolver.python.choices`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from resolver.errors import PkgviewError
from resolver.naming import shell_word, visible
from resolver.places import Places
from resolver.project import trust
from resolver.project.freshness import snapshot
from resolver.python.choices.own import python_choices
from resolver.python.declared.lists import Names
from resolver.python.discovery import find_interpreter
from resolver.python.project import find_project, project_of_script
from resolver.python.target import python_of
from resolver.python.uv.once import settings_read_once
from unionfs.control.job import begin, forked_for_each, write
from unionfs.formats.python.kind import KIND
from unionfs.formats.python.wish import PythonWish
from unionfs.publishing.ahead import import_all
from unionfs.publishing.allowed import check_choices, not_allowed
from unionfs.publishing.look import look
from unionfs.publishing.repeat import with_lists
from unionfs.publishing.up import make_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject
    from unionfs.publishing.up import Made

logger = logging.getLogger(__name__)

FORKED = "--forked"
"""It imports all that it may need, and is forked for each request."""

PACE = 0.1
"""Seconds between two lines about the same thing: what a terminal can show and an eye can read."""

READING = 60.0
"""Seconds in which a project has to be read, and what it chooses found out, so that no project
keeps others from being resolved."""

ATTEMPTS = 3
"""How often a project is judged and resolved again whose files were others in the end."""

LONGEST = 8000
"""Characters of an explanation. uv's can be long; the first part says what it is about."""


class Snapshot(TypedDict):
    """How far it is: all there is to say, so that who comes late needs no other line.

    `stage` is "queued" (others are made first), "starting", "resolving", "fetching" or "packing",
    `name` what it is about right now; `files` and `size` (bytes) are (done, all), with None for
    what is not known.
    """

    stage: str
    name: str
    files: tuple[int, int | None]
    size: tuple[int, int | None]


class ProgressLines:
    """The progress of `make_view` as lines; called from its trio thread."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._stage = ""
        self._name = ""
        self._files = self._bytes = 0
        self._of_files: int | None = None
        self._of_bytes: int | None = None
        self._last = float("-inf")

    def locking(self, project: str) -> None:
        """The lock is looked at, and made where there is none."""
        self._be("resolving", project)

    def started(self, total_files: int, total_bytes: int | None) -> None:
        """Downloads begin."""
        self._of_files, self._of_bytes = total_files, total_bytes
        self._be("fetching")

    def advanced(self, filename: str, count: int) -> None:
        """So many bytes more."""
        self._bytes += count
        self._be("fetching", filename)

    def finished(self, filename: str) -> None:
        """A file is whole."""
        self._files += 1
        self._be("fetching", filename)

    def packing(self, name: str) -> None:
        """An archive is being made."""
        still = self._of_files is not None and self._files < self._of_files
        self._be("fetching" if still else "packing", name)

    def building(self, name: str) -> None:
        """Nothing is: the project's own tree is made from its files."""

    def made(self, name: str) -> None:
        """An archive is in the store."""

    def _be(self, stage: str, name: str = "") -> None:
        now = time.monotonic()
        if stage == self._stage and now - self._last < PACE:
            return
        self._stage, self._name, self._last = stage, name, now
        snapshot = Snapshot(
            stage=stage,
            name=shown(name),
            files=(self._files, self._of_files),
            size=(self._bytes, self._of_bytes),
        )
        write(self._output, snapshot)


def shown(text: str) -> str:
    """Fit for somebody's terminal: it may hold what an index, a project or a path made up."""
    lines = (line if line.isprintable() else ascii(line) for line in text[:LONGEST].split("\n"))
    return "\n".join(lines)


def project_at(root: Path) -> PythonProject:
    """The project whose root that is; `PkgviewError` where it is none any more."""
    found = project_of_script(root) if root.is_file() else find_project(root)
    if found is None or found.root != root:
        raise PkgviewError(
            f"{root} is no project any more",
            remedy="Start the program again: it is looked at anew.",
        )
    return found


def wanted_interpreter(project: PythonProject, state: Path) -> Interpreter:
    """The Python that a project wants, for somebody who only looks: none of its own is run.

    Unless its user has said yes to that one: else it is a `PkgviewError` before anything is run.
    """
    wanted = python_choices(project)
    if new := trust.not_agreed(project, state, wanted):
        raise not_allowed(project, new)
    return find_interpreter(project, None, state, lookup=not wanted)


def refusal(error: PkgviewError, root: Path) -> dict[str, str]:
    """A failure as it is told to programs that wait: with the command that can do more."""
    command = f"pkgview up {shell_word(root)}"
    remedy = visible(error.remedy, str(root))
    if command not in remedy:
        said = f"`{command}` tries it again, says more, and may build what has no wheel."
        remedy = f"{remedy}\n{said}" if remedy else said
    return {"what": shown(visible(error.what, str(root))), "remedy": shown(remedy)}


class _TooLong(BaseException):
    """Raised by a signal; as KeyboardInterrupt, so that nobody on the way takes it."""


@contextlib.contextmanager
def in_time(root: Path) -> Iterator[None]:
    """`PkgviewError` where that takes longer than `READING`; for the main thread."""

    def over(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, READING)
    try:
        yield
    except _TooLong:
        raise PkgviewError(
            f"{root} was read for {READING:g} s, and what it chooses is not known yet",
            remedy="Its files, or those that they name, are too many or too large to look at.",
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Judged(NamedTuple):
    """What a project was when it was asked what it chooses."""

    project: PythonProject
    seen: tuple[object, ...]
    choices: frozenset[str]


class _ChangedError(Exception):
    """It is not any more what was judged."""


def judged(root: Path, places: Places) -> _Judged:
    """A project as it is now; `PkgviewError` where it chooses what was not said yes to."""
    with look(places, limited=False), in_time(root):
        project = project_at(root)
        seen = snapshot(project)  # what is judged is read after that
        problem = trust.problem(project, os.geteuid(), places.state)
        if problem is not None:
            raise PkgviewError(
                f"{root} is not used, because it is not yours alone: {problem}",
                remedy=f"If you trust everybody who may write there: `pkgview trust "
                f"{shell_word(root)}`.",
            )
        return _Judged(project, seen, check_choices(project, places.state))


def resolve(request: dict[str, Any], output: int) -> dict[str, Any]:
    """What the last line says."""
    root = Path(request["root"])
    places = Places(**{name: Path(path) for name, path in request["places"].items()})
    try:
        made = _made(root, places, request, ProgressLines(output))
    except PkgviewError as error:
        return refusal(error, root)
    python = python_of(made.manifest).version
    return {"view": made.view, "python": python, "said": shown(made.remark)}


def _made(root: Path, places: Places, request: dict[str, Any], progress: ProgressLines) -> Made:
    """The view of a project that was the same from when it was judged until the view was there."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(_ChangedError):
            return _made_of(judged(root, places), places, request, progress)
    raise PkgviewError(
        f"files of {root} change while they are read, so nothing was made of them",
        remedy="Start the program again when they do not.",
    )


def _made_of(
    project: _Judged, places: Places, request: dict[str, Any], progress: ProgressLines
) -> Made:
    """Its view; `_ChangedError` where uv, or we, may have read something else than was judged."""

    def check() -> None:
        if judged(project.project.root, places) != project:
            raise _ChangedError

    wish = PythonWish(
        project=project.project,
        python=request["executable"],
        asked=request["asked"],
        no_build=True,
        beside=request["beside"],
    )
    had = Names(tuple(request["extras"]), tuple(request["groups"]))
    with settings_read_once():  # but for what is judged, in a look
        return make_view(places, KIND, with_lists(wish, had), progress, check)


def main() -> int:
    """Read the request, answer it; the exit status is 0 whenever an answer was written."""
    if FORKED in sys.argv:
        import_all()
        forked_for_each()
    request, output = begin()
    try:
        answer = resolve(request, output)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        logger.exception("the view of %s could not be made", request["root"])
        what = f"the view of {request['root']} could not be made: {error!r}"
        unforeseen = PkgviewError(what, remedy="The daemon's log says more.")
        answer = refusal(unforeseen, Path(request["root"]))
    with contextlib.suppress(BrokenPipeError):
        write(output, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
