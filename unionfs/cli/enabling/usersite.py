"""Where a Python looks for its user's packages: what `pkgview enable` writes there, and takes away.

Which directories those were stands in `<state>/enabled.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from unionfs.cli.enabling import made
from unionfs.environment import ENABLE_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resolver.places import Places
    from resolver.python.interpreter import Interpreter

PROBE_SECONDS = 15.0

_PROBE = (
    "import json, site; "
    "print(json.dumps([site.getusersitepackages(), site.check_enableusersite() is True]))"
)

_MODULES = ("_pkgview_enable", "_pkgview_wait")


class UserSite(NamedTuple):
    """Where a Python looks for its user's packages, and whether it does."""

    directory: Path
    used: bool


def install(
    places: Places, interpreter: Interpreter, directory: Path, files: Mapping[str, bytes]
) -> None:
    """Write the files, and remember where."""
    # Remembered first: what is there can then be taken away, wherever we are stopped.
    known = dict.fromkeys([*remembered(places), directory])
    _write_remembered(places, list(known))
    made.remember(places, directory / "any")
    for name, content in files.items():
        write_atomically(directory / name, content)
        (directory / name).chmod(0o644)
    _compile(interpreter, [directory / f"{name}.py" for name in _MODULES])


def user_site(interpreter: Interpreter) -> UserSite:
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
        return UserSite(Path(directory), bool(used))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
        raise PkgviewError(
            f"{interpreter.executable} does not say where its user's site directory is: {error}",
            remedy="Name another Python with --python.",
        ) from error


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


def remove(directory: Path) -> bool:
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


def remembered(places: Places) -> list[Path]:
    """The directories where there is something of ours."""
    try:
        directories = json.loads((places.state / "enabled.json").read_bytes())
        return [Path(directory) for directory in directories]
    except (OSError, ValueError, TypeError):
        return []


def forget(places: Places, directories: Sequence[Path]) -> None:
    """Nothing of ours is left in these."""
    known = remembered(places)
    left = [directory for directory in known if directory not in directories]
    if left != known:
        _write_remembered(places, left)


def _write_remembered(places: Places, directories: Sequence[Path]) -> None:
    data = json.dumps([os.fspath(directory) for directory in directories]).encode()
    write_atomically(places.state / "enabled.json", data)
