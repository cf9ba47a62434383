"""Locking: from a project to a `pylock.toml` (PEP 751), through uv.

| the project has | its lock |
|---|---|
| `pylock.toml` | that file, as it is |
| `uv.lock`, a script's lock | what `uv export --frozen` makes of it, kept in the state |
| a script without | what `uv lock --script` resolves of a copy, kept in the state |
| anything else | what `uv pip compile --universal` resolves, kept in the state |

Locks in the state lie in `<state>/locks/<project>/`, one for each set of options, each with a
`.json` beside it that holds the fingerprint of the inputs it was made from. While it matches,
nothing is resolved again. Where it does not, versions of before are preferred (`locks.kept`), so
that an edit changes what it has to and no more. One process at a time locks a project (`flock`);
files are replaced in one step.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import make_private, sweep, write_atomically
from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.naming import project_key
from resolver.project.branch import branches
from resolver.project.freshness import snapshot
from resolver.project.project import fingerprint
from resolver.project.resolved import identity_text
from resolver.python.constraints.named import NOTHING_NAMED, named_lines
from resolver.python.declared.files import digest
from resolver.python.declared.lists import Names, expanded, union
from resolver.python.declared.mark import Mark, marked
from resolver.python.fit.environments import refuse_other_machines
from resolver.python.foreign import unread_lock
from resolver.python.git.lfs import noted
from resolver.python.hashes.held import held, refused
from resolver.python.hashes.stated import stated
from resolver.python.lockfile import Lock, current_lock_in, only_one, readable
from resolver.python.locks.chosen import Chosen
from resolver.python.locks.indexes import indexes_of, made_from
from resolver.python.locks.kept import kept_versions, other_branches, outdate_others
from resolver.python.locks.own import own_lock, two_locks
from resolver.python.passwords.written import taken_out, written
from resolver.python.project import Origin, project_without_lock
from resolver.python.resolution import Resolution, lowest_python, uv_arguments
from resolver.python.script.locked import lock_script
from resolver.python.script.options import compile_options
from resolver.python.unbuilt import refuse_editables, refuse_sources
from resolver.python.uv.cache import forget_locked
from resolver.python.uv.run import run_uv, warnings_of
from resolver.python.uv.settings import other_lists, resolving_settings
from resolver.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

_TEMPORARY = "pylock.tmp-"
_SCRATCH = ".tmp-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A lock, the same in uv's own form where it is a script's, and what uv has passed over."""

    lock: bytes
    own: bytes
    said: str


async def lock(  # noqa: PLR0913 - the command line's options, by keyword
    project: PythonProject,
    interpreter: Interpreter,
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    state: Path,
    upgrade: bool = False,
    upgrade_packages: Sequence[str] = (),
    offline: bool = False,
    frozen: bool = False,
    no_build: bool = False,
    decides: bool = False,
    preferred: bytes | None = None,
) -> Lock:
    """The project's lock, made or made anew where that is needed.

    `extras` and `groups` are added to the project's default ones; a group with "-" before its name
    is left out, unless it is named after that. `frozen` never resolves: an outdated lock is an
    error. `no_build` runs no project's code: what would need that fails. `decides`: a lock that was
    made from other indexes is outdated. Where one in the state is made anew, the versions of the
    lock `preferred` are kept where they will do; None: those of the one that is there. A project's
    own lock is not compared with its files (`resolver.python.outdated.refresh` does that).
    """
    resolution = Resolution(
        project=project,
        interpreter=interpreter,
        extras=union(project.settings.extras, extras),
        groups=union(project.default_groups, groups),
        upgrade=upgrade,
        upgrade_packages=tuple(upgrade_packages),
        offline=offline,
        no_build=no_build,
        decides=decides,
        python_version=_lowest_patch(project, interpreter),
    )
    if project.is_script and (missing := next(iter(resolution.extras + resolution.groups), None)):
        raise PkgviewError(
            f"{project.root} has no extra or group {missing!r}: a script has none",
            remedy="Leave it out, and list what the script needs in its inline block.",
        )
    if project.origin is not Origin.PYLOCK and project.uv_lock is None:
        refuse_other_machines(project.root, interpreter)
        return await _in_state(resolution, state, frozen=frozen, preferred=preferred)
    resolution = replace(resolution, upgrade=False, upgrade_packages=())  # it is as it is
    if project.origin is Origin.PYLOCK:
        return own_lock(project, extras, groups)
    # An export resolves nothing, so it is no breach of `frozen`.
    return replace(await _in_state(resolution, state, frozen=False), said="")


def _lowest_patch(project: PythonProject, interpreter: Interpreter) -> str | None:
    """The first release of the interpreter's version that the project allows; None: of any.

    uv takes the version's first release for meant, and some distributions need a later one.
    """
    lowest = lowest_python(project.requires_python)
    return lowest if lowest is not None and lowest.startswith(f"{interpreter.minor}.") else None


async def resolved_beside(
    resolution: Resolution, state: Path, facts: Sequence[str], preferred: bytes
) -> Path:
    """A lock in the state of `resolution.requirements` alone.

    `facts` stand for what else it follows from, beside the project's inputs; the versions of the
    lock `preferred` are taken where they will do.
    """
    made = await _in_state(resolution, state, frozen=False, facts=facts, preferred=preferred)
    return made.path


async def write_lock(  # noqa: PLR0913 - the command line's options, by keyword
    project: PythonProject,
    interpreter: Interpreter,
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    upgrade: bool = False,
    upgrade_packages: Sequence[str] = (),
    offline: bool = False,
    python_version: str | None = None,
) -> Path:
    """Write `pylock.toml` into the project, for every Python that requires-python allows.

    Versions of an existing `pylock.toml` are preferred unless `upgrade`. A lock for others has to
    hold from requires-python's lowest version on; where there is none, from `python_version` or
    this interpreter's. The lock says what it was made from, so that it can be made anew
    (`resolver.python.declared.mark`).
    """
    source = project_without_lock(project.root) if project.origin is Origin.PYLOCK else project
    if source is None:
        raise PkgviewError(
            f"{project.root} has a pylock.toml, and nothing that it could be made from",
            remedy="List the requirements in pyproject.toml or requirements.txt.",
        )
    if source.is_script:
        raise PkgviewError(
            f"{source.root} is a script: it has no directory of its own for a pylock.toml",
            remedy="Nothing to do: pkgview keeps one in its state. `uv lock --script` writes one.",
        )
    if source.uv_lock is not None:
        if project.origin is Origin.PYLOCK:
            raise two_locks(project, source.uv_lock)
        raise PkgviewError(
            f"{source.root} is locked by uv.lock, which a pylock.toml would hide",
            remedy="Run `uv lock`; for other tools, `uv export --format pylock.toml`.",
        )
    named = expanded(Names(tuple(extras), tuple(groups)), source)
    resolution = Resolution(
        project=source,
        interpreter=interpreter,
        extras=union(source.settings.extras, named.extras),
        groups=union(source.default_groups, named.groups),
        upgrade=upgrade,
        upgrade_packages=tuple(upgrade_packages),
        offline=offline,
        python_version=lowest_python(source.requires_python) or python_version,
    )
    path = source.directory / "pylock.toml"
    mark = Mark(
        inputs=digest(source),  # before uv reads them: what is edited meanwhile outdates the lock
        extras=tuple(extras),
        groups=tuple(groups),
        python=resolution.python_version or interpreter.minor,
    )
    async with only_one(path.parent):
        write_atomically(path, marked(await _made_in_project(resolution, path), mark))
        path.chmod(0o644)  # a file of the project, for all who may read it
    return path


async def _in_state(
    resolution: Resolution,
    state: Path,
    *,
    frozen: bool,
    facts: Sequence[str] = (),
    preferred: bytes | None = None,
) -> Lock:
    """The lock in the state for this resolution, made where it is missing or outdated."""
    project = resolution.project
    asked = resolution.requirements
    seen = snapshot(project)
    named = named_lines(project, beside=asked is not None)
    hashes = stated(project, asked, named)
    own = hashes if named == NOTHING_NAMED else stated(project, asked)
    files = (own, written(project, asked or (), NOTHING_NAMED))
    facts = (*facts, *(fact for one in files for fact in one.facts))
    if project.origin is Origin.PYPROJECT and other_lists(project.root):
        facts = (*facts, "lists 1")
    note = {
        "fingerprint": fingerprint(project, *resolution.options, *facts, live=False),
        # An index that was allowed to another directory at this place is not asked.
        "directory": identity_text(project.directory),
    }
    if not resolution.no_build:  # who only looks takes what somebody had with other variables
        note["settings"] = resolving_settings(project.root) + "".join(named.facts)
    indexes = {"indexes": indexes_of(project, beside=asked is not None)}
    wanted = note | (indexes if (resolution.decides or asked) and not frozen else {})
    note |= indexes
    directory = _directory(project, state)
    known = branches(project.directory) or ("",)
    names = [_name(resolution, branch) for branch in known]
    python = f"{resolution.interpreter.implementation} {resolution.interpreter.minor}"
    path = directory / names[0]
    if not resolution.renews and (current := current_lock_in(path, wanted)):
        # The child of a run that was killed may have outlived the last sweep.
        sweep(directory.parent, _SCRATCH)
        return Lock(path=current, project=project, indexes=made_from(current))
    if frozen:
        why = "outdated" if path.exists() else "missing"
        raise PkgviewError(
            f"{project.root} cannot be used with --frozen or --locked: its lock is {why}",
            remedy="Run `pkgview up` once without them, or `pkgview lock`.",
        )
    _make(directory)
    said = ""
    async with only_one(directory):
        # Another process may have done it while this one waited.
        if resolution.renews or not (current := current_lock_in(path, wanted)):
            if preferred is None:
                preferred = _kept(resolution, directory, known, names, python)
                said = "" if preferred else _anew(directory, known, project)
            made = await _made_in_state(resolution, path, preferred)
            write_atomically(path, made.lock)
            if made.own:
                write_atomically(path.with_suffix(_suffix(resolution)), made.own)
            said = " ".join(filter(None, (said, made.said)))
            if resolution.requirements is None:  # else of one run, whose versions are not kept
                note |= {"branch": known[0], "python": python}
            # Written last. If an input was edited meanwhile, even to and fro, nobody knows what uv
            # read: then the lock is outdated at once, as it should be.
            note |= {} if snapshot(project) == seen else {"fingerprint": ""}
            write_atomically(path.with_suffix(".json"), json.dumps(note).encode())
            if resolution.renews:
                outdate_others(path, known[0], python)
            current, said = path, " ".join(filter(None, (said, hashes.remark)))
    return Lock(path=current, project=project, said=said, indexes=made_from(current))


def _make(directory: Path) -> None:
    try:
        make_private(directory)
    except OSError as error:
        raise PkgviewError(
            f"cannot make {directory}: {error.strerror}",
            remedy="Make it writable, or set XDG_STATE_HOME to a directory that is.",
        ) from error


def _name(resolution: Resolution, branch: str) -> str:
    """Under which name the lock of a branch with these options is kept; "": of no branch."""
    said = [*resolution.options, *([branch] if branch else [])]
    return f"pylock.{hashlib.sha256(chr(0).join(said).encode()).hexdigest()[:16]}.toml"


def _suffix(resolution: Resolution) -> str:
    """Of the file that holds the versions to be preferred; of a script it is one of uv's form."""
    is_script = resolution.project.is_script and resolution.requirements is None
    return ".lock" if is_script else ".toml"


def _anew(directory: Path, known: Sequence[str], project: PythonProject) -> str:
    """What is said where nothing is kept of this branch: of versions that are elsewhere."""
    if known[0] and other_branches(directory, known):
        return f"Resolved anew: no versions are kept of the branch {known[0]}."
    return unread_lock(project)


def _kept(
    resolution: Resolution, directory: Path, known: Sequence[str], names: Sequence[str], python: str
) -> bytes:
    """The versions to go on with, in the form of the lock that is to be made."""
    if (suffix := _suffix(resolution)) == ".toml":
        return kept_versions(directory, known, names, python)
    kept = (readable((directory / name).with_suffix(suffix)) for name in names)
    return next(filter(None, kept), b"")


def _directory(project: PythonProject, state: Path) -> Path:
    """Resolved, because uv's relative paths are: a link in between would lead them astray."""
    return Path(os.path.realpath(state)) / "locks" / project_key(str(project.root))


async def _made_in_state(resolution: Resolution, path: Path, preferred: bytes) -> _Made:
    """Have uv write the lock in a directory beside that of `path`; its bytes, as of `_made`.

    Relative paths are the same from there. If we are killed, uv may go on for a while, and make
    that directory again if it was swept meanwhile: the next run sweeps once more.
    """
    with scratch(path.parent.parent, _SCRATCH) as temporary:
        return await _made(resolution, temporary / path.name, preferred)


async def _made_in_project(resolution: Resolution, path: Path) -> bytes:
    """The same beside `path` itself: its directory is the project's, as are relative paths.

    The caller holds the directory's lock, so files that an earlier run left behind can go.
    """
    for left in path.parent.glob(f"{_TEMPORARY}*"):
        left.unlink(missing_ok=True)
    output = path.with_name(f"{_TEMPORARY}{os.getpid()}.toml")
    return (await _made(resolution, output, readable(path), strict=True)).lock


async def _made(
    resolution: Resolution, output: Path, preferred: bytes, *, strict: bool = False
) -> _Made:
    """What uv writes to `output`, where it finds the versions that are to be preferred.

    `strict`: all that it has can be had, on whatever machine.
    """
    project, own, said = resolution.project, b"", ""
    if resolution.no_build:
        refuse_sources(project)
        await refuse_editables(project, resolution.interpreter.executable)
    overrides, configuration = output.with_suffix(".overrides"), output.with_suffix(".uv")
    with _disk_errors(output.parent):
        try:
            chosen, began = Chosen(place=project.root, project=project), time.time()
            added = chosen.environment(resolution.interpreter.executable)
            if project.is_script and project.uv_lock is None and resolution.requirements is None:
                own = await lock_script(resolution, output, preferred, added)
            else:
                if preferred and not resolution.upgrade:
                    output.write_bytes(preferred)  # noqa: ASYNC240 - a small file
                options = compile_options(resolution, configuration)
                done = await run_uv(
                    uv_arguments(resolution, output, overrides, options),
                    cwd=project.directory,
                    added=added,
                    offline=resolution.offline,
                    stdin="".join(f"{one}\n" for one in resolution.requirements or ()).encode(),
                    doing=f"cannot resolve {resolution.named}",
                )
                said = warnings_of(done.stderr)
            data = read_input(output)
            await forget_locked(data, began, cwd=project.directory, added=added)
        finally:
            for temporary in (output, overrides, configuration):
                temporary.unlink(missing_ok=True)
    data, own = taken_out(data), taken_out(own)
    asked = resolution.requirements
    named = named_lines(project, beside=asked is not None)
    data, faults = held(data, stated(project, asked, named), output.parent)
    if faults and strict:
        raise refused(project.root, faults)
    data = noted(data, map(project.content, project.inputs))
    return _Made(lock=data, own=own, said=said)


@contextlib.contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PkgviewError(
            f"cannot write to {directory}: {error.strerror}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error
