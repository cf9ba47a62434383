"""What settings say of requirements: `UV_CONSTRAINT`, `UV_OVERRIDE`, and pip's `constraint`.

`uv pip compile` reads these files beside what a project lists. It looks at no hash in them, writes
passwords that they have into the lock, and says of neither; so whoever looks for these in what a
project names has to look here, too. `uv lock` and `uv sync` read none of them.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from resolver.python.index import requires_hashes, uv_environment
from resolver.python.project import Origin
from resolver.python.requirements import requirement_files
from resolver.python.uv.once import once
from resolver.python.uv.settings import effective
from resolver.toml import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject
    from resolver.python.requirements import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLines:
    """Lines of the files, and requirements of uv's settings; `files` are those that were read.

    `lines` are the files' own, `by_pip`: pip has named the constraints, so pip's rules are meant.
    """

    overrides: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    lines: tuple[Line, ...] = ()
    by_pip: bool = False

    @property
    def facts(self) -> tuple[str, ...]:
        """What a lock follows from besides its project's files; nothing where nothing is named."""
        if not (self.overrides or self.constraints):
            return ()
        text = "\n".join((*self.overrides, "", *self.constraints))
        return (f"named {hashlib.sha256(text.encode()).hexdigest()}",)


NOTHING_NAMED: Final = NamedLines()


def named_lines(
    project: PythonProject, *, beside: bool = False, environ: Mapping[str, str] | None = None
) -> NamedLines:
    """For the lock of a project, or of what is resolved `beside` it (`--with`).

    A file that cannot be read has no lines: uv will have to complain of it.
    """
    if environ is None:
        key = ("named", project.root, project.origin, project.uv_lock, beside)
        return once(key, lambda: _named(project, os.environ, uv_environment(project.root), beside))
    return _named(project, environ, uv_environment(project.root, environ), beside)


def _named(
    project: PythonProject,
    env: Mapping[str, str],
    added: Mapping[str, str],
    beside: bool,  # noqa: FBT001 - as above
) -> NamedLines:
    by_compile = project.origin in {Origin.PYPROJECT, Origin.REQUIREMENTS}
    if not beside and not (by_compile and project.uv_lock is None):
        return NOTHING_NAMED
    by_pip = not env.get("UV_CONSTRAINT")
    files: list[Path] = []
    read: list[Line] = []

    def lines(words: Iterable[str]) -> list[str]:
        found: list[str] = []
        for word in words:
            if "://" in word and not word.startswith("file://"):
                found.append(f"-c {word}")
                continue
            with suppress(PkgviewError):  # relative to where uv runs
                one = requirement_files(project.directory / word.removeprefix("file://"))
                found += (line.text for line in one.lines)
                files.extend(one.files)
                read.extend(one.lines)
        return found

    said = {**env, **added}
    overrides, constraints = (
        lines(said.get(name, "").split()) for name in ("UV_OVERRIDE", "UV_CONSTRAINT")
    )
    by_settings = beside or project.origin is Origin.REQUIREMENTS  # else by pyproject.toml alone
    settings = effective(env, project.root) if by_settings else {}
    return NamedLines(
        overrides=(*overrides, *texts_of(settings.get("override-dependencies"))),
        constraints=(*constraints, *texts_of(settings.get("constraint-dependencies"))),
        files=tuple(files),
        lines=tuple(read),
        by_pip=by_pip and bool(constraints),
    )


def facts_of(project: PythonProject, *, unbuilt: bool) -> str:
    """What a view follows from besides: that hashes are required, and these lines.

    `unbuilt`: for who only looks, and takes what somebody had with other variables.
    """
    required = project.origin is Origin.REQUIREMENTS and requires_hashes(project.root)
    named = () if unbuilt else named_lines(project).facts
    return "".join(("hashes " if required else "", *named))
