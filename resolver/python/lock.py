"""Locking: from a project to a `pylock.toml` (PEP 751), through uv.

| the project has | its lock |
|---|---|
| `pylock.toml` | that file, as it is |
| `uv.lock` | what `uv export --frozen` makes of it, kept in the state |
| anything else | what `uv pip compile --universal` resolves, kept in the state |

Locks in the state lie in `<state>/locks/<project>/`, one for each set of options, each with a
`.json` beside it that holds the fingerprint of the inputs it was made from. While it matches,
nothing is resolved again. Where it does not, the old lock's versions are preferred, so that an
edit changes what it has to and no more; the old lock is that of the same git branch, or of the one
that this one was begun from. One process at a time locks a project (`flock`); files are replaced in
one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from resolver.atomic import Patience, make_private, sweep, write_atomically
from resolver.errors import PkgviewError
from resolver.inputs import read_input, read_text
from resolver.naming import project_key
from resolver.project.branch import branches
from resolver.project.project import fingerprint
from resolver.python.declared.files import digest
from resolver.python.declared.mark import Mark, mark_of, marked
from resolver.python.hashes.held import held, refused
from resolver.python.hashes.stated import stated
from resolver.python.index import uv_environment
from resolver.python.lockfile import Lock
from resolver.python.passwords.written import written
from resolver.python.project import Origin, project_without_lock
from resolver.python.requirements import normalised
from resolver.python.resolution import Resolution, lowest_python, union, uv_arguments
from resolver.python.unbuilt import refuse_editables
from resolver.python.uv.cache import forget_locked
from resolver.python.uv.run import run_uv
from resolver.scratch import scratch
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

_TEMPORARY = "pylock.tmp-"
_SCRATCH = ".tmp-"
WAIT_LIMIT = 600.0
"""Seconds for which another one may resolve the same project."""


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
    preferred: bytes | None = None,
) -> Lock:
    """The project's lock, made or made anew where that is needed.

    `extras` and `groups` are added to the project's default ones; a group with "-" before its name
    is left out, unless it is named after that. `frozen` never resolves: a
    missing or outdated lock is an error. `no_build` runs no project's code: where a resolution
    would have to build an sdist for its metadata, it fails. Where a lock in the state is made anew,
    the versions of the lock `preferred` are kept where they will do; None: those of the one that is
    there. A lock of the project's own is not compared with its files
    (`resolver.python.outdated.refresh` does that).
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
    )
    if project.origin is not Origin.PYLOCK and project.uv_lock is None:
        return await _in_state(resolution, state, frozen=frozen, preferred=preferred)
    resolution = replace(resolution, upgrade=False, upgrade_packages=())  # it is as it is
    if project.origin is Origin.PYLOCK:
        return _own(project, extras, groups)
    # An export resolves nothing, so it is no breach of `frozen`.
    return replace(await _in_state(resolution, state, frozen=False), said="")


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
    if source.origin is Origin.SCRIPT:
        raise PkgviewError(
            f"{source.root} is a script: it has no directory of its own for a pylock.toml",
            remedy="Nothing to do: its lock is kept in pkgview's state.",
        )
    if source.origin is Origin.UV:
        raise PkgviewError(
            f"{source.root} is locked by uv.lock, which a pylock.toml would hide",
            remedy="Run `uv lock`; for other tools, `uv export --format pylock.toml`.",
        )
    resolution = Resolution(
        project=source,
        interpreter=interpreter,
        extras=union(source.settings.extras, extras),
        groups=union(source.default_groups, groups),
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


def _own(project: PythonProject, extras: Sequence[str], groups: Sequence[str]) -> Lock:
    """The project's own pylock.toml; asking for an extra or group that it has not is an error."""
    path = project.root / "pylock.toml"
    try:
        document: dict[str, Any] = parse(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PkgviewError(
            f"{path} is not valid TOML: {error}", remedy="Write it anew with `pkgview lock`."
        ) from error

    def offered(key: str) -> list[str]:
        names = document.get(key, [])
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    mark = mark_of(document)
    built_in = {f"-{name}" for name in project.default_groups} - {*(mark.groups if mark else ())}
    # Of what it has not, only what is built in cannot be left out.
    named = [one.removeprefix("-") for one in groups if one[:1] != "-" or one in built_in]
    for key, asked in (("extras", extras), ("dependency-groups", named)):
        missing = [name for name in asked if normalised(name) not in map(normalised, offered(key))]
        if missing:
            listed = ", ".join(offered(key)) or "none"
            raise PkgviewError(
                f"{path} has no {missing[0]!r} among its {key} ({listed})",
                remedy="Lock it with that choice built in: `pkgview lock` takes the same options.",
            )
    # The lock's defaults stand for what the project depends on itself: groups are added to them.
    return Lock(
        path=path,
        project=project,
        extras=union(_among(project.settings.extras, offered("extras")), extras),
        groups=union(
            offered("default-groups"),
            _among(project.settings.groups or (), offered("dependency-groups")),
            groups,
        ),
    )


def _among(asked: Iterable[str], offered: Iterable[str]) -> list[str]:
    """Those that a lock has."""
    return [name for name in asked if normalised(name) in set(map(normalised, offered))]


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
    hashes = stated(project, asked)
    facts = (*facts, *hashes.facts, *written(project, asked or ()).facts)
    wanted = fingerprint(project, *resolution.options, *facts)
    directory = _directory(project, state)
    names = [_name(resolution, branch) for branch in branches(project.directory) or ("",)]
    path = directory / names[0]
    if not resolution.renews and (current := _current(path, wanted)):
        # The child of a run that was killed may have outlived the last sweep.
        sweep(directory.parent, _SCRATCH)
        return Lock(path=current, project=project)
    if frozen:
        why = "outdated" if path.exists() else "missing"
        raise PkgviewError(
            f"{project.root} cannot be used with --frozen or --locked: its lock is {why}",
            remedy="Run `pkgview up` once without them, or `pkgview lock`.",
        )
    try:
        make_private(directory)
    except OSError as error:
        raise PkgviewError(
            f"cannot make {directory}: {error.strerror}",
            remedy="Make it writable, or set XDG_STATE_HOME to a directory that is.",
        ) from error
    said = ""
    async with only_one(directory):
        # Another process may have done it while this one waited.
        if resolution.renews or not (current := _current(path, wanted)):
            if preferred is None:
                kept = (_preferred(directory / name) for name in names)
                preferred = next(filter(None, kept), b"")
                said = "" if preferred else _anew(directory, resolution)
            write_atomically(path, await _made_in_state(resolution, path, preferred))
            # Written last. An input that was edited meanwhile differs from `wanted`, which was
            # computed before uv read it: then the lock is outdated at once, as it should be.
            note = json.dumps({"fingerprint": wanted}).encode()
            write_atomically(path.with_suffix(".json"), note)
            current, said = path, " ".join(filter(None, (said, hashes.remark)))
    return Lock(path=current, project=project, said=said)


def _name(resolution: Resolution, branch: str) -> str:
    """Under which name the lock of a branch with these options is kept; "": of no branch."""
    said = [*resolution.options, *([branch] if branch else [])]
    return f"pylock.{hashlib.sha256(chr(0).join(said).encode()).hexdigest()[:16]}.toml"


def _anew(directory: Path, resolution: Resolution) -> str:
    """What is said where nothing is kept of this branch, but something of others."""
    branch = next(iter(branches(resolution.project.directory)), "")
    if not branch or not any(directory.glob("pylock.*.toml")):
        return ""
    return f"Resolved anew: no versions are kept of the branch {branch}."


def _current(path: Path, wanted: str) -> Path | None:
    """A lock that was made from the same: this one, or that of another branch beside it."""
    others = (note.with_suffix(".toml") for note in path.parent.glob("pylock.*.json"))
    return next((one for one in (path, *others) if _is_current(one, wanted)), None)


def _directory(project: PythonProject, state: Path) -> Path:
    """Resolved, because uv's relative paths are: a link in between would lead them astray."""
    return Path(os.path.realpath(state)) / "locks" / project_key(str(project.root))


def _is_current(path: Path, wanted: str) -> bool:
    try:
        note = json.loads(path.with_suffix(".json").read_bytes())
        return path.is_file() and isinstance(note, dict) and note.get("fingerprint") == wanted
    except (OSError, ValueError):
        return False


async def _made_in_state(resolution: Resolution, path: Path, preferred: bytes) -> bytes:
    """Have uv write the lock in a directory beside that of `path`, and return its bytes.

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
    return await _made(resolution, output, _preferred(path), strict=True)


async def _made(
    resolution: Resolution, output: Path, preferred: bytes, *, strict: bool = False
) -> bytes:
    """What uv writes to `output`, where it finds the versions that are to be preferred.

    `strict`: all that it has can be had, on whatever machine.
    """
    project = resolution.project
    if resolution.no_build:
        await refuse_editables(project, resolution.interpreter.executable)
    overrides = output.with_suffix(".overrides")
    with _disk_errors(output.parent):
        try:
            if preferred and not resolution.upgrade:
                output.write_bytes(preferred)  # noqa: ASYNC240 - a small file
            added, began = uv_environment(project.directory), time.time()
            await run_uv(
                uv_arguments(resolution, output, overrides),
                cwd=project.directory,
                added=added,
                offline=resolution.offline,
                stdin="".join(f"{one}\n" for one in resolution.requirements or ()).encode(),
                doing=f"cannot resolve {resolution.named}",
            )
            data = read_input(output)
            await forget_locked(data, began, cwd=project.directory, added=added)
        finally:
            for temporary in (output, overrides):
                temporary.unlink(missing_ok=True)
    data = written(project, resolution.requirements or ()).taken_out(data)
    data, faults = held(data, stated(project, resolution.requirements), output.parent)
    if faults and strict:
        raise refused(project.root, faults)
    return data


@contextlib.contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PkgviewError(
            f"cannot write to {directory}: {error.strerror}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error


def _preferred(path: Path) -> bytes:
    """The lock that is there; b"" where there is none, or a damaged one, which uv would refuse."""
    if not path.exists():
        return b""
    data = read_input(path)
    with contextlib.suppress(ValueError, RecursionError):
        if "lock-version" in parse(data.decode()):
            return data
    return b""


@contextlib.asynccontextmanager
async def only_one(directory: Path) -> AsyncIterator[None]:
    """Let one process at a time in here for that directory; waiting can be cancelled, and ends.

    The directory itself is locked, so nothing is left behind and nothing can go stale.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    patience = Patience(descriptor, directory, WAIT_LIMIT)
    try:
        while not patience.locked(fcntl.LOCK_EX):  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(patience.pause)
        yield
    finally:
        os.close(descriptor)
