"""What a deputy says of a process of its user's: written there, read here as hostile input.

A deputy (`unionfs.deputies.client`) runs as that user, so whatever it says may be a lie. It can
therefore speak only for processes of its own user, and what it says is: how the process looks from
its own rights, which projects the three paths lead to that the rules ask about, and which view each
has. Who the process is, who its ancestors are, which user and which cgroups it has, it is not
asked.

`write` and `read` are the two ends; both are pure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from resolver.binding.rules import Candidate
from resolver.caller.process import MOST_SHOWN, Caller, as_view
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resolver.binding.rules import Binding, BindingState
    from resolver.caller.process import Identity
    from resolver.manifest import ViewId

LONGEST = 4096
"""Bytes of any text in an answer (PATH_MAX)."""

_TEXTS = ("exe", "python", "script", "module", "cwd", "view", "project")
"""Fields of `Caller` that a deputy may fill, besides `program`, `command` and `runs_from`."""

_FLAGS = ("is_interpreter", "runs_script", "imports_here", "started_here", "by_path")

DIGEST = 16


class PathAnswer(NamedTuple):
    """Where a path leads: `root` is the project's, None where there is none.

    `refused`: its user may not act on it; `unreadable`: it cannot be understood. Why, only that
    user is told, by `pkgview up`. `agreed`: that user has said yes to it.
    """

    root: str | None = None
    view: ViewId | None = None
    refused: bool = False
    unreadable: bool = False
    agreed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is believed of a deputy's answer; without arguments, nothing is known."""

    seen: Caller | None = None
    directories: Mapping[str, PathAnswer] = field(default_factory=dict)
    scripts: Mapping[str, PathAnswer] = field(default_factory=dict)

    def caller(self, known: Caller) -> Caller:
        """The process, with what is `known` of it by other means in the first place."""
        if self.seen is None:
            return known
        return replace(
            self.seen,
            identity=known.identity,
            uid=known.uid,
            ancestors=known.ancestors,
            images=known.images,
            cgroups=known.cgroups,
        )


def write(answer: Answer) -> dict[str, Any]:
    """As JSON has it. Texts are paths, with surrogates for bytes that are no UTF-8."""
    seen = answer.seen
    if seen is None:
        return {}
    return {
        **{name: getattr(seen, name) for name in _TEXTS},
        **{name: getattr(seen, name) for name in _FLAGS},
        "program": seen.program,
        "command": seen.command.hex(),
        "runs_from": seen.runs_from,
        "directories": {path: told._asdict() for path, told in answer.directories.items()},
        "scripts": {path: told._asdict() for path, told in answer.scripts.items()},
    }


def read(said: object, who: Identity) -> Answer:
    """The answer about that process; `ValueError` for what no honest deputy says."""
    if said == {}:
        return Answer()
    if not isinstance(said, dict):
        raise ValueError("no object")  # noqa: TRY004 - the one error for all that is wrong with it
    command = bytes.fromhex(_text(said, "command") or "")
    if len(command) not in {0, DIGEST}:
        raise ValueError("command is no digest")
    seen = Caller(
        identity=who,
        command=command,
        program=(_text(said, "program") or "")[:MOST_SHOWN],
        runs_from=_view(said, "runs_from"),
    )
    seen = replace(seen, **{name: _text(said, name) for name in _TEXTS})  # type: ignore[arg-type]
    seen = replace(seen, **{name: _flag(said, name) for name in _FLAGS})  # type: ignore[arg-type]
    paths = {seen.cwd, seen.project} - {None}
    return Answer(
        seen=seen,
        directories=_places(said.get("directories"), paths),
        scripts=_places(said.get("scripts"), {seen.script} - {None}),
    )


def _places(said: object, asked: set[str | None]) -> dict[str, PathAnswer]:
    if not isinstance(said, dict) or not said.keys() <= asked:
        raise ValueError("other paths than the process has")
    return {path: _told(told) for path, told in said.items()}


def _told(said: object) -> PathAnswer:
    if not isinstance(said, dict):
        raise ValueError("no object")  # noqa: TRY004 - as above
    root = _text(said, "root")
    if root is not None and not root.startswith("/"):
        raise ValueError("a project's root is no absolute path")
    return PathAnswer(
        root=root,
        view=_view(said, "view"),
        refused=_flag(said, "refused"),
        unreadable=_flag(said, "unreadable"),
        agreed=_flag(said, "agreed"),
    )


def _text(said: Mapping[Any, object], name: str) -> str | None:
    value = said.get(name)
    if value is None:
        return None
    # `fsencode` is a ValueError for what is no path's text.
    if not isinstance(value, str) or "\0" in value or len(os.fsencode(value)) > LONGEST:
        raise ValueError(f"{name} is no text, or too long")
    return value


def _flag(said: Mapping[Any, object], name: str) -> bool:
    value = said.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is neither true nor false")  # noqa: TRY004 - as above
    return value


def _view(said: Mapping[Any, object], name: str) -> ViewId | None:
    value = _text(said, name)
    view = None if value is None else as_view(value)
    if value is not None and view is None:
        raise ValueError(f"{name} is no view's id")
    return view


class AnsweredState:
    """What the rules ask, answered for one look: projects by the deputy, the rest by the mount."""

    def __init__(
        self,
        answer: Answer,
        mount: BindingState,
        ask: Callable[[str, str | None], ViewId | None],
    ) -> None:
        self._answer = answer
        self._mount = mount
        self._ask = ask
        told = (*answer.directories.values(), *answer.scripts.values())
        self._views = {one.root: one.view for one in told if one.root is not None}

    def by_hand(self, caller: Caller) -> Binding | None:
        """As for everybody: only root, and the process's own user, bind it."""
        return self._mount.by_hand(caller)

    def knows(self, view: ViewId) -> bool:
        """Whether the mount has it: a view is no secret on it."""
        return self._mount.knows(view)

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        """What the deputy found there."""
        del uid
        return _candidate(self._answer.directories.get(directory))

    def script_project(self, script: str, uid: int) -> Candidate | None:
        """The same for a script."""
        del uid
        return _candidate(self._answer.scripts.get(script))

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        """What the deputy said; one more question where this is another process's project."""
        if project in self._views:
            return self._views[project]
        return self._ask(project, python)

    def default_view(self, python: str | None) -> ViewId | None:
        """The mount's."""
        return self._mount.default_view(python)


def _candidate(told: PathAnswer | None) -> Candidate | None:
    if told is None or told.root is None:
        if told is not None and told.unreadable:
            raise PkgviewError("it belongs to a project that cannot be read")
        return None
    refused = "its user may not act on it" if told.refused else ""
    return Candidate(told.root, refused, agreed=told.agreed)
