"""Interpreters: which Python a project gets, and what wheels and markers it means.

An interpreter is run once, isolated (`-I -S`), with a probe that uses our own copy of packaging;
what it says is kept as JSON in `<state>/interpreters/`, named by the executable's path, size and
modification time, so that a later `pkgview up` starts no second Python.

Views are made for CPython, and others that packaging knows, from 3.10: that is the oldest Python
our packaging runs on, and so the oldest that can be asked for its tags.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.onpath import first_python, is_shims, may_run, pythons
from resolver.python.target import Python, Schemes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resolver.python.project import PythonProject

OLDEST = (3, 10)
FORMAT = 2

_SIMPLE = re.compile(r"\s*(>=|<)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})\s*")
"""A clause of requires-python such as nearly all projects have, and no others."""

_CACHE_TAG = re.compile(r"[A-Za-z0-9_-]{1,40}")

_REQUEST = re.compile(r"(?:cp|cpython-?|python-?)?(?P<numbers>\d+(?:\.\d+){0,2})(?P<threads>t?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A base interpreter (never a virtual environment's), fully described.

    `executable` is absolute and as stable as its installation allows; `version` has three parts,
    `full` is what markers call `python_full_version`; `tags` are the compatible wheel tags, best
    first; `environment` holds the values of environment markers. `cache_tag` and `magic`
    (hexadecimal) say which bytecode it reads (PEP 3147).
    """

    executable: str
    version: tuple[int, int, int]
    full: str
    implementation: str
    free_threaded: bool
    python: Python
    tags: tuple[str, ...]
    environment: Mapping[str, str]
    cache_tag: str
    magic: str

    @property
    def minor(self) -> str:
        """Such as "3.11"."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def tag(self) -> str:
        """Interpreter, ABI and platform of its best tag, such as "cp311-cp311-linux_x86_64"."""
        return self.tags[0]


def find_interpreter(
    project: PythonProject | None,
    request: str | None,
    state: Path,
    *,
    environ: Mapping[str, str] | None = None,
) -> Interpreter:
    """The interpreter for a project.

    The first of these that is given decides: `request` (a path, a command's name, "3.12",
    "3.12.1", "cp312", "3.13t"), `[tool.pkgview] python`, `.python-version`. Otherwise it is the
    first on PATH, then of pyenv's, that fits `requires-python`: `python3`, then pythonX.Y from
    the newest to the oldest.
    """
    env = os.environ if environ is None else environ
    required = project.requires_python if project else None
    for asked, origin in _asked(project, request):
        found = _find(asked, origin, project, state, env)
        if required and not fits(found, required):
            raise PkgviewError(
                f"{project.root if project else ''} needs Python {required}, and {origin} asks "
                f"for {found.full} at {found.executable}",
                remedy=f"Ask for a Python {required}, or change requires-python.",
            )
        return found
    seen: dict[str, Interpreter] = {}
    for path in _candidates(env):
        try:
            found = inspect(path, state)
        except PkgviewError:
            continue  # one broken or ancient Python on PATH is no reason not to use the next
        if not required or fits(found, required):
            return found
        seen.setdefault(found.executable, found)
    if not seen:
        raise PkgviewError(
            f"no Python {'.'.join(map(str, OLDEST))} or newer on PATH",
            remedy="Install one, or name one with --python PATH.",
        )
    listed = ", ".join(f"{one.full} at {one.executable}" for one in seen.values())
    raise PkgviewError(
        f"{project.root if project else 'the project'} needs Python {required}; found {listed}",
        remedy=f"Install a Python {required}, or name one with --python PATH.",
    )


def is_first(
    interpreter: Interpreter, project: PythonProject, request: str | None, state: Path
) -> bool:
    """Whether it was chosen for being the first on PATH, and would be by any project of its kind.

    So it follows from that program's file, and from what the project says.
    """
    asked = [name for name, _ in _asked(project, request)]
    path = first_python(os.environ)
    if path is None or (asked and not _REQUEST.fullmatch(asked[0])):
        return False
    kept = _kept_at(Path(path), state)
    return kept is not None and _load(kept) == interpreter


def inspect(executable: Path, state: Path) -> Interpreter:
    """Describe one interpreter, from what is kept of it where its file has not changed."""
    kept = _kept_at(executable, state)
    if kept is not None and (found := _load(kept)) is not None:
        return found
    from resolver.python.probe import probe  # noqa: PLC0415 - mostly there is no need to run one

    try:
        found = _described(executable, probe(executable, _packaging()[0]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PkgviewError(
            f"{executable} is not a usable Python: it describes itself in no way we know ({error})",
            remedy="Name another one with --python PATH.",
        ) from error
    if kept is not None:
        # What cannot be kept is asked for again; that the state cannot be written is for those to
        # say who have to write it, and is no fault of this Python.
        with suppress(PkgviewError):
            write_atomically(kept, json.dumps({"format": FORMAT, **asdict(found)}).encode())
    return found


def _asked(project: PythonProject | None, request: str | None) -> Iterator[tuple[str, str]]:
    if request:
        yield request, "--python"
    elif project and project.settings.python:
        yield project.settings.python, "[tool.pkgview] python"
    elif project and project.python_pin:
        yield project.python_pin, ".python-version"


def _find(
    asked: str, origin: str, project: PythonProject | None, state: Path, env: Mapping[str, str]
) -> Interpreter:
    if "/" in asked:
        base = Path.cwd() if origin == "--python" or project is None else project.directory
        return inspect(_at_path(base / Path(asked).expanduser(), origin), state)
    if numbers := _REQUEST.fullmatch(asked):
        return _of_version(numbers, origin, state, env)
    for directory in _directories(env):
        if may_run(path := directory / asked):
            return inspect(path, state)
    raise PkgviewError(
        f"{origin} names {asked}, and there is no such command on PATH",
        remedy="Name an interpreter by its path, or a version such as 3.12.",
    )


def _at_path(path: Path, origin: str) -> Path:
    """The interpreter at a path, which may be a virtual environment's or installation's root."""
    if os.access(path, os.X_OK) and path.is_dir():
        for inside in (path / "bin/python3", path / "bin/python"):
            if may_run(inside):
                return inside
    if not os.access(path, os.F_OK) or not path.is_file():
        raise PkgviewError(
            f"{origin} names {path}, and there is no interpreter",
            remedy="Name an existing interpreter.",
        )
    return path


def _of_version(
    numbers: re.Match[str], origin: str, state: Path, env: Mapping[str, str]
) -> Interpreter:
    wanted = _numbers(numbers["numbers"])
    if wanted < OLDEST[: len(wanted)]:
        raise PkgviewError(
            f"{origin} asks for Python {numbers[0]}, too old for a view",
            remedy=f"Use Python {'.'.join(map(str, OLDEST))} or newer.",
        )
    seen: dict[str, str] = {}
    for path in _candidates(env):
        try:
            found = inspect(path, state)
        except PkgviewError:
            continue
        matches = found.version[: len(wanted)] == wanted
        if matches and found.free_threaded == bool(numbers["threads"]):
            return found
        seen[found.executable] = found.full
    listed = ", ".join(f"{full} at {path}" for path, full in seen.items()) or "none"
    raise PkgviewError(
        f"{origin} asks for Python {numbers[0]}; found {listed}",
        remedy=f"Install Python {numbers[0]}, or name one with --python PATH.",
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Both "3.12" and "312" (as in cp312) are (3, 12)."""
    if "." not in text and len(text) > 1:
        return int(text[0]), int(text[1:])
    return tuple(map(int, text.split(".")))


def fits(interpreter: Interpreter, required: str) -> bool:
    """Whether it is one of those that `requires-python` allows."""
    clauses = [_SIMPLE.fullmatch(clause) for clause in required.split(",")]
    simple = [clause for clause in clauses if clause]
    if len(simple) == len(clauses) and interpreter.full[-1].isdecimal():
        return all(_within(interpreter.version, clause) for clause in simple)
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - start-up

    try:
        return SpecifierSet(required).contains(interpreter.full, prereleases=True)
    except InvalidSpecifier as error:
        raise PkgviewError(
            f"requires-python {required!r} is no version specifier",
            remedy='Write it as in requires-python = ">=3.11".',
        ) from error


def _within(version: tuple[int, ...], clause: re.Match[str]) -> bool:
    """What packaging says of a final release, without the 10 ms that importing it takes."""
    bound = tuple(map(int, clause[2].split(".")))
    while bound[-1:] == (0,):
        bound = bound[:-1]  # 3.12.0 is 3.12, and no shorter than it
    return version >= bound if clause[1] == ">=" else version < bound


def _directories(env: Mapping[str, str]) -> list[Path]:
    """PATH, absolute directories only, those of shims left out."""
    given = env.get("PATH", os.defpath).split(os.pathsep)
    paths = [Path(directory) for directory in given if directory.startswith("/")]
    return list(dict.fromkeys(path for path in paths if not is_shims(path)))


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    """Interpreters to try, cheap and usual ones first."""
    yield from map(Path, pythons(env))
    named = re.compile(r"python3\.(\d+)t?")
    numbered: list[tuple[int, int, Path]] = []
    for order, directory in enumerate((*_directories(env), *_pyenv_versions(env))):
        with suppress(OSError):
            numbered += [
                (-int(match[1]), order, directory / match[0])
                for match in map(named.fullmatch, os.listdir(directory))
                if match
            ]
    yield from (path for _, _, path in sorted(numbered))


def _pyenv_roots(env: Mapping[str, str]) -> Iterator[Path]:
    if env.get("PYENV_ROOT", "").startswith("/"):
        yield Path(env["PYENV_ROOT"])
    for text in env.get("PATH", "").split(os.pathsep):
        if text.startswith("/") and is_shims(Path(text)):
            yield Path(text).parent
    if env.get("HOME", "").startswith("/"):
        yield Path(env["HOME"]) / ".pyenv"


def _pyenv_versions(env: Mapping[str, str]) -> Iterator[Path]:
    for root in dict.fromkeys(_pyenv_roots(env)):
        with suppress(OSError):
            yield from (
                root / "versions" / version / "bin" for version in os.listdir(root / "versions")
            )


def _kept_at(executable: Path, state: Path) -> Path | None:
    """Where its description is kept; None for a script, which may start a different Python."""
    try:
        found = executable.stat()
        with executable.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
    except OSError:
        return None
    # A virtual environment is a link to its base with pyvenv.cfg beside: its path tells it apart.
    identity = f"{executable}\0{found.st_mtime_ns}\0{found.st_size}\0{_packaging()[1]}"
    digest = hashlib.sha256(os.fsencode(identity)).hexdigest()
    return state / "interpreters" / f"{digest[:32]}.json"


def _packaging() -> tuple[str, str]:
    """Where our packaging can be imported from, and a name for its state, without importing it."""
    spec = find_spec("packaging")
    if spec is None or spec.origin is None:
        raise PkgviewError(
            "the distribution `packaging` is missing", remedy="Install pkgview again."
        )
    origin = Path(spec.origin)
    found = origin.stat()
    return str(origin.parent.parent), f"{found.st_size}-{found.st_mtime_ns}"


def _load(path: Path) -> Interpreter | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        if fields.pop("format") != FORMAT:
            return None
        python = fields.pop("python")
        schemes = Schemes(**python.pop("schemes"))
        version = tuple(fields.pop("version"))
        found = Interpreter(
            python=Python(schemes=schemes, **python),
            version=(version[0], version[1], version[2]),
            tags=tuple(fields.pop("tags")),
            **fields,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None  # never written, or damaged: the interpreter is asked again
    return found if os.access(found.executable, os.F_OK) else None


def _described(executable: Path, told: Mapping[str, Any]) -> Interpreter:
    version = tuple(told["version"])
    if version < OLDEST:
        raise PkgviewError(
            f"{executable} is Python {'.'.join(map(str, version))}, too old for a view",
            remedy=f"Use Python {'.'.join(map(str, OLDEST))} or newer.",
        )
    threads = "t" if told["free_threaded"] else ""
    minor = f"{version[0]}.{version[1]}"
    stable = _stable(told["executable"], f"python{minor}{threads}")
    paths = told["paths"]
    if any(path.startswith("..") for path in paths.values()):
        raise PkgviewError(
            f"{executable} installs packages outside its prefix: {paths['purelib']}",
            remedy="Use another Python, with --python PATH.",
        )
    schemes = Schemes(
        purelib=paths["purelib"],
        platlib=paths["platlib"],
        scripts=paths["scripts"],
        # No scheme of sysconfig says where a distribution's headers go in a virtual environment;
        # pip and uv agree on this.
        headers=f"include/site/python{minor}",
        data="" if paths["data"] == "." else paths["data"],
    )
    return Interpreter(
        executable=stable,
        version=(version[0], version[1], version[2]),
        full=told["full"],
        implementation=told["implementation"],
        free_threaded=told["free_threaded"],
        python=Python(version=minor + threads, executable=stable, schemes=schemes),
        tags=tuple(told["tags"]),
        environment=told["environment"],
        cache_tag=_cache_tag(told["cache_tag"]),
        magic=bytes.fromhex(told["magic"]).hex(),
    )


def _cache_tag(told: str | None) -> str:
    """It stands in names of files; "" where the interpreter keeps no bytecode in files."""
    if told and not _CACHE_TAG.fullmatch(told):
        raise ValueError(f"its cache tag is {told!r}")
    return told or ""


def _stable(executable: str, numbered: str) -> str:
    """One name for an installation however it was reached.

    `python3` may be another Python after the next upgrade, `python3.11` beside it is not; /bin is
    /usr/bin where it is a link. Other links stay: they are often what keeps a path stable (uv's
    and Homebrew's directories are named by patch release, their links by minor release).
    """
    path = Path(executable)
    if path.parent == Path("/bin") and Path("/bin").resolve() == Path("/usr/bin"):
        path = Path("/usr/bin") / path.name
    with suppress(OSError):
        if (beside := path.parent / numbered).samefile(path):
            return str(beside)
    return str(path)
