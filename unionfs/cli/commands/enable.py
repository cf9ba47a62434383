"""`pkgview enable` and `pkgview disable`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.places import Places
from resolver.python.discovery import find_interpreter
from unionfs.cli import console
from unionfs.cli.asked import json_of
from unionfs.environment import ENABLE_FILE, taught

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.python.interpreter import Interpreter

PROBE_SECONDS = 15.0

_PROBE = (
    "import json, site; "
    "print(json.dumps([site.getusersitepackages(), site.check_enableusersite() is True]))"
)

_MODULES = ("_pkgview_enable", "_pkgview_wait")

EXECUTABLE = click.option(
    "--python",
    metavar="EXE",
    help="A version (3.12), a command's name or a path; default: python3.",
)


class _UserSite(NamedTuple):
    """Where a Python looks for its user's packages, and whether it does."""

    directory: Path
    used: bool


@click.command(
    epilog="""\b
Examples:
  pkgview enable                         plain `python3` sees its project's packages
  pkgview enable --python 3.12
  pkgview enable --shell >> ~/.profile   so do `pytest`, `ruff` and all other commands
"""
)
@EXECUTABLE
@click.option("--shell", is_flag=True, help="Print the line for a shell's profile; change nothing.")
@json_of("{executable, directory, files: [name]}")
def enable(*, python: str | None, shell: bool, as_json: bool) -> None:
    """Let a Python that is installed anyway see the view of the project it is used in.

    One .pth file and two modules are put into your site directory for that version of Python;
    nothing of the installation is changed. Where there is no project it stays as it is, and so do
    virtual environments and programs started with -I, -E or -s.
    """
    places = Places.from_environ()
    if shell:
        console.answer(_shell_line(places))
        return
    from unionfs.control.endpoint import (  # noqa: PLC0415 - `--shell` does without
        endpoint_of,
        standing_socket,
    )
    from unionfs.daemon import launch  # noqa: PLC0415 - `--shell` does without
    from unionfs.mounting import mounts  # noqa: PLC0415 - `--shell` does without

    interpreter = find_interpreter(None, python, places.state)
    site = _user_site(interpreter)
    if not site.used:
        raise PkgviewError(
            f"{interpreter.executable} does not look into its user's site directory "
            f"({site.directory})",
            remedy="Unset PYTHONNOUSERSITE; or use ~/.pkgview/bin/python, which needs nothing.",
        )
    mountpoint = launch.ensure_mounted(places).mountpoint
    endpoint = endpoint_of(places, mounts.canonical(places.mount))
    live = launch.running(places, endpoint) or endpoint
    files = taught(
        interpreter.python.version,
        mount=os.fspath(mountpoint),
        socket=os.fspath(standing_socket(places, live)),
        bound=os.fspath(places.state / "bindings" / f"{endpoint.name}.json"),
    )
    # Remembered first: what is there can then be taken away, wherever we are stopped.
    _remember(places, site.directory)
    for name, content in files.items():
        _write(site.directory / name, content)
    _compile(interpreter, [site.directory / f"{name}.py" for name in _MODULES])
    if as_json:
        console.as_json(
            {
                "executable": interpreter.executable,
                "directory": os.fspath(site.directory),
                "files": list(files),
            }
        )
        return
    console.note(
        f"Enabled {interpreter.executable}: in a project it sees the project's packages "
        f"({site.directory / ENABLE_FILE}.pth)."
    )


@click.command(
    epilog="""\b
Examples:
  pkgview disable                        every Python that was enabled
  pkgview disable --python 3.12
"""
)
@EXECUTABLE
@json_of("[directory]")
def disable(*, python: str | None, as_json: bool) -> None:
    """Undo `pkgview enable`: take its files away. Without --python, everywhere."""
    places = Places.from_environ()
    if python is None:
        directories = _remembered(places)
        with suppress(PkgviewError):  # where there is no Python there is none enabled
            directories.append(_user_site(find_interpreter(None, None, places.state)).directory)
    else:
        directories = [_user_site(find_interpreter(None, python, places.state)).directory]
    changed = [one for one in dict.fromkeys(directories) if _remove(one)]
    _forget(places, directories)
    if as_json:
        console.as_json([os.fspath(directory) for directory in changed])
    elif changed:
        for directory in changed:
            console.note(f"Disabled: {directory / ENABLE_FILE}.pth is gone.")
    else:
        console.note("Nothing was enabled.")


def _shell_line(places: Places) -> str:
    """What puts the mount's commands on PATH, and mounts where that has not been done."""
    own = shutil.which("pkgview") or os.fspath(Path(sys.executable).with_name("pkgview"))
    commands, program = shlex.quote(os.fspath(places.mount / "bin")), shlex.quote(own)
    if Path(os.environ.get("SHELL", "")).name == "fish":
        return f"set -gx PATH {commands} $PATH; {program} mount >/dev/null 2>&1 & disown"
    if Path(os.environ.get("SHELL", "")).name in {"csh", "tcsh"}:
        return f"set path = ({commands} $path:q); ( {program} mount >& /dev/null & )"
    return f'export PATH={commands}:"$PATH"; ({program} mount >/dev/null 2>&1 &)'


def _user_site(interpreter: Interpreter) -> _UserSite:
    """As the interpreter says, in this environment; it starts without `site`, so without us."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name in {"PYTHONUSERBASE", "PYTHONNOUSERSITE"}
    }
    try:
        said = subprocess.run(
            [interpreter.executable, "-S", "-B", "-c", _PROBE],
            cwd="/",
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=PROBE_SECONDS,
        )
        directory, used = json.loads(said.stdout)
        return _UserSite(Path(directory), bool(used))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
        raise PkgviewError(
            f"{interpreter.executable} does not say where its user's site directory is: {error}",
            remedy="Name another Python with --python.",
        ) from error


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    path.chmod(0o644)


def _compile(interpreter: Interpreter, modules: Sequence[Path]) -> None:
    """So that starting costs little; where it cannot be done they are compiled each time."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [interpreter.executable, "-S", "-m", "py_compile", *map(os.fspath, modules)],
            cwd="/",
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=PROBE_SECONDS,
        )


def _remove(directory: Path) -> bool:
    """Take our files away, and directories that are empty then; whether there were any."""
    caches = directory / "__pycache__"
    ours = [directory / f"{ENABLE_FILE}.pth", directory / f"{ENABLE_FILE}.start"]
    for module in _MODULES:
        ours += [directory / f"{module}.py", *caches.glob(f"{module}.*.pyc")]
    found = False
    for path in ours:
        try:
            path.unlink()
            found = True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PkgviewError(
                f"{path} cannot be removed: {error.strerror}", remedy="Remove it by hand."
            ) from error
    for left in (caches, directory):
        with suppress(OSError):
            left.rmdir()
    return found


# Where it was enabled, in <state>/enabled.json


def _remembered(places: Places) -> list[Path]:
    try:
        directories = json.loads((places.state / "enabled.json").read_bytes())
        return [Path(directory) for directory in directories]
    except (OSError, ValueError, TypeError):
        return []


def _remember(places: Places, directory: Path) -> None:
    known = dict.fromkeys([*_remembered(places), directory])
    _write_remembered(places, list(known))


def _forget(places: Places, directories: Sequence[Path]) -> None:
    known = _remembered(places)
    left = [directory for directory in known if directory not in directories]
    if left != known:
        _write_remembered(places, left)


def _write_remembered(places: Places, directories: Sequence[Path]) -> None:
    data = json.dumps([os.fspath(directory) for directory in directories]).encode()
    write_atomically(places.state / "enabled.json", data)
