"""Adding requirements to a project's files, and taking them out.

uv does it where pyproject.toml is edited (with `--frozen` where there is no uv.lock), and in the
inline block of a script; this module in requirements.txt. docs/locking.md has the table.

Like `uv add`, what is added to pyproject.toml without a version gets the one that was found as its
lowest. A line of requirements.txt is what was typed, as pip's users know it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.inputs import read_text
from resolver.python.declared.lists import Names, joined
from resolver.python.editing.listing import name_of, with_line, without
from resolver.python.hashes.stated import has_hash
from resolver.python.lock import lock, write_lock
from resolver.python.lockfile import readable
from resolver.python.locks.chosen import Chosen
from resolver.python.locks.own import asked_again, own_mark
from resolver.python.project import (
    Origin,
    PythonProject,
    project_at,
    project_of_script,
    project_without_lock,
)
from resolver.python.requirements import local_directories, logical_lines, normalised
from resolver.python.selection import select
from resolver.python.uv.run import run_uv

if TYPE_CHECKING:
    from resolver.python.declared.mark import Mark
    from resolver.python.interpreter import Interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is to be done to a project's list: `removed`, or added if not.

    `requirements` are PEP 508 requirements, paths or, for removal, names; `editables` directories
    (absolute). `group` and `extra` say where in pyproject.toml: at most one of them is set.
    """

    requirements: tuple[str, ...]
    editables: tuple[Path, ...] = ()
    group: str | None = None
    extra: str | None = None
    removed: bool = False


def script_at(path: Path) -> PythonProject:
    """A script as a project of its own, also before it has an inline block (PEP 723)."""
    script = Path(os.path.realpath(path))
    if not script.is_file():
        raise PkgviewError(f"there is no script {path}", remedy="Name a Python file that is there.")
    found = project_of_script(script)
    if found is not None and found.root == script:
        return found
    return PythonProject(root=script, origin=Origin.SCRIPT, inputs=(script,))


async def edit(
    project: PythonProject, interpreter: Interpreter, asked: Edit, *, state: Path, offline: bool
) -> None:
    """Edit, and lock where the lock is a file of the project; for use in `whole.all_or_nothing`."""
    listed = project_without_lock(project.directory) if project.origin is Origin.PYLOCK else project
    if listed is None:
        raise PkgviewError(
            f"{project.root} has no list of requirements that could be edited",
            remedy="Create a pyproject.toml with [project], or a requirements.txt.",
        )
    mark = own_mark(project) if project.origin is Origin.PYLOCK else None
    if listed.origin is Origin.REQUIREMENTS:
        _edit_requirements(listed.directory / "requirements.txt", asked)
    else:
        await _by_uv(listed, interpreter, asked, offline=offline)
        if listed.origin is Origin.PYPROJECT and not asked.removed:
            await _bounded(listed.directory, interpreter, asked, state=state, offline=offline)
    if mark is not None:
        await _locked_again(project, interpreter, asked, mark, offline=offline)


async def _locked_again(
    project: PythonProject, interpreter: Interpreter, asked: Edit, mark: Mark, *, offline: bool
) -> None:
    """The pylock.toml made anew with the options of then; what came is in it."""
    edited = project_without_lock(project.directory)
    usual = edited.default_groups if edited is not None else ()
    came = Edit(requirements=()) if asked.removed else asked
    had = asked_again(mark, edited) if edited is not None else Names()
    more = Names(
        extras=(came.extra,) if came.extra else (),
        groups=(came.group,) if came.group and came.group not in usual else (),
    )
    both = joined(had, more)
    await write_lock(
        project,
        interpreter,
        extras=both.extras,
        groups=both.groups,
        offline=offline,
        python_version=mark.python,
    )


async def _by_uv(
    project: PythonProject, interpreter: Interpreter, asked: Edit, *, offline: bool
) -> None:
    verb = "remove" if asked.removed else "add"
    if project.origin is Origin.SCRIPT:
        options = ["--script", project.root.name]  # uv makes its lock anew where there is one
    else:
        options = ["--no-sync" if project.origin is Origin.UV else "--frozen"]
    options += ["--python", interpreter.executable]
    options += [f"--group={asked.group}"] if asked.group else []
    options += [f"--optional={asked.extra}"] if asked.extra else []
    # uv takes such an option for all that is named with it.
    editables = tuple(_relative(path, project.directory) for path in asked.editables)
    # What uv makes a source of an address for has no hash.
    chosen = Chosen(place=project.directory, project=project)
    pinned = tuple(one for one in asked.requirements if has_hash(one) and not asked.removed)
    others = tuple(one for one in asked.requirements if one not in pinned)
    for named, more in ((others, ()), (pinned, ("--raw",)), (editables, ("--editable",))):
        if named:
            await run_uv(
                [verb, *options, *more, "--", *named],
                cwd=project.directory,
                # pip's indexes would be written into the project, as all that uv is told of.
                added=chosen.environment(interpreter.executable, indexes=False),
                offline=offline,
                doing=f"cannot {verb} {', '.join(named)}",
            )


async def _bounded(
    directory: Path, interpreter: Interpreter, asked: Edit, *, state: Path, offline: bool
) -> None:
    """Give what was added without a version the one that is found as its lowest."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - 10 ms
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - the same
    from packaging.version import Version  # noqa: PLC0415 - the same

    bare: list[Requirement] = []
    for one in asked.requirements:
        with suppress(InvalidRequirement):  # a path or an address, to uv
            found = Requirement(one)
            bare += [found] if not found.specifier and found.url is None else []
    edited = project_without_lock(directory)  # which has to be asked what is new, not the lock
    if not bare or edited is None:
        return
    preferred = readable(directory / Origin.PYLOCK) or None
    extras = (asked.extra,) if asked.extra else ()
    groups = (asked.group,) if asked.group else ()
    made = await lock(
        edited,
        interpreter,
        extras=extras,
        groups=groups,
        state=state,
        offline=offline,
        preferred=preferred,
    )
    versions = {one.name: one.version for one in select(made, interpreter) if not one.direct}
    bounded = []
    for requirement in bare:
        version = versions.get(normalised(requirement.name))
        if version is not None:
            requirement.specifier &= SpecifierSet(f">={Version(version).public}")
            bounded.append(str(requirement))
    if bounded:
        again = Edit(requirements=tuple(bounded), group=asked.group, extra=asked.extra)
        await _by_uv(edited, interpreter, again, offline=offline)


def _edit_requirements(path: Path, asked: Edit) -> None:
    if asked.group or asked.extra:
        raise PkgviewError(
            f"{path} has no groups and no extras",
            remedy="Leave the option out, or describe the project in pyproject.toml.",
        )
    text = read_text(path)
    for one in asked.requirements:
        if "\n" in one or one.startswith("-") or not (asked.removed or _may_be_listed(one)):
            raise PkgviewError(
                f"{masked(one)!r} is no requirement", remedy="Name it as in 'rich>=14'."
            )
        if asked.removed:
            edited = without(text, _line_of(one, text, path.parent))
        else:
            edited = with_line(text, one)
        if edited is None:
            raise PkgviewError(
                f"{path} does not list {masked(one)}",
                remedy="Look at what does: another requirement, or a file that is named with -r.",
            )
        text = edited
    for editable in asked.editables:
        text = with_line(text, f"-e {_relative(editable, path.parent)}")
    mode = path.stat().st_mode & 0o7777
    real = path.resolve()
    write_atomically(real, text.encode())
    real.chmod(mode)


def _may_be_listed(requirement: str) -> bool:
    """Whether it is written as PEP 508 has it, or begins with no name: a path, an address."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - 10 ms

    if not name_of(requirement):
        return True
    try:
        Requirement(requirement)
    except InvalidRequirement:
        return False
    return True


def _line_of(name: str, text: str, directory: Path) -> str:
    """How a distribution is listed that lies in a directory; the name itself for any other."""
    for _, line in logical_lines(text):
        for tree in local_directories(line, directory):
            found = project_at(os.fspath(tree))
            if found is not None and found.name == normalised(name):
                return line
    return name


def _relative(path: Path, start: Path) -> str:
    """As pip wants it: one that begins with a dot."""
    found = os.path.relpath(path, start)
    return found if found.startswith(".") else f"./{found}"
