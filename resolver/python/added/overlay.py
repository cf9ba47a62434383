"""An overlay: what `--with` adds to a locked project for one run, and takes the place of.

The additions are resolved by themselves, as in `uv run --with`, and what comes out lies over what
the project's lock gives. Versions of the lock are preferred, so mostly nothing is there twice.
Where the two differ, the additions win: they are what was asked for just now. One thing stays: what
the lock has from a directory, a repository or an address is not replaced by what an index has of
the same name, unless that was asked for by a version.

The project's own lock is only read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resolver.inputs import read_input
from resolver.local import place_content
from resolver.naming import sha256
from resolver.python.lock import resolved_beside
from resolver.python.resolution import Resolution
from resolver.python.selection import choices_of, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from resolver.python.added.additions import Addition
    from resolver.python.interpreter import Interpreter
    from resolver.python.lockfile import Lock
    from resolver.python.project import PythonProject
    from resolver.python.selection import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """All that the view has, in the lock's order, and (new, old) for what was replaced."""

    choices: tuple[Choice, ...]
    replaced: tuple[tuple[Choice, Choice], ...]

    @property
    def said(self) -> str:
        """What was replaced, in one line; "" where nothing was."""
        pairs = [f"{_described(new)} instead of {_described(old)}" for new, old in self.replaced]
        return f"For this run only: {', '.join(pairs)}." if pairs else ""


async def overlay(  # noqa: PLR0913 - how, by keyword
    base: Lock,
    interpreter: Interpreter,
    additions: Sequence[Addition],
    *,
    state: Path,
    offline: bool = False,
    place: PythonProject | None = None,
) -> Overlay:
    """Resolve the additions and lay them over what the project's lock gives the interpreter.

    With the settings of the project, or of `place`.
    """
    below = select(base, interpreter)
    kept = frozenset(_kept(below, additions))
    resolution = Resolution(
        project=place or base.project,
        interpreter=interpreter,
        requirements=tuple(one.line for one in additions),
        left_out=tuple(sorted(kept)),
        offline=offline,
    )
    preferred = read_input(base.path)
    places = b"".join(place_content(one.path) for one in additions if one.path is not None)
    facts = sha256(preferred).hexdigest(), sha256(places).hexdigest()
    path = await resolved_beside(resolution, state, facts, preferred)
    above = choices_of(path, interpreter, (), ())
    return laid_over(below, [one for one in above if one.name not in kept])


def laid_over(below: Sequence[Choice], above: Sequence[Choice]) -> Overlay:
    """The choices of both, where the same name is in both those of `above`."""
    over = {choice.name: choice for choice in above}
    replaced = []
    choices = []
    for old in below:
        new = over.pop(old.name, None)
        # The same file may be named with more or fewer hashes.
        if new is None or (_is_of_index(old, new) and old.version == new.version):
            choices.append(old)
        elif replace(new, version=old.version) == old:
            choices.append(new)  # the same place, whatever was known of its version
        else:
            choices.append(new)
            replaced.append((new, old))
    return Overlay(choices=(*choices, *over.values()), replaced=tuple(replaced))


def _kept(below: Sequence[Choice], additions: Sequence[Addition]) -> Iterator[str]:
    """What no index has to be asked for: the project has it from elsewhere."""
    asked = {one.name: one for one in additions if one.name is not None}
    places = {one.path for one in additions}
    for choice in below:
        wanted = asked.get(choice.name)
        met = wanted is None or wanted.is_met_by(choice.version)
        if choice.direct and met and choice.path not in places:
            yield choice.name


def _is_of_index(*choices: Choice) -> bool:
    return not any(choice.direct for choice in choices)


def _described(choice: Choice) -> str:
    """Such as "b 1.0" or "b (/home/me/b)"."""
    named = f"{choice.name} {choice.version or ''}".rstrip()
    place = (choice.path or choice.url) if choice.direct else None
    return f"{named} ({place})" if place else named
