"""Interpreters: what a Python says of itself, and what wheels and markers it means.

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
from resolver.naming import identity_text
from resolver.ownership import identity
from resolver.python.installed import is_installed
from resolver.python.target import Python, Schemes

if TYPE_CHECKING:
    from collections.abc import Mapping


OLDEST = (3, 10)
FORMAT = 4

_CACHE_TAG = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A base interpreter (never a virtual environment's), fully described.

    `executable` is absolute and as stable as its installation allows; `version` has three parts,
    `full` is what markers call `python_full_version`; `tags` are the compatible wheel tags, best
    first; `environment` holds the values of environment markers. `cache_tag` and `magic`
    (hexadecimal) say which bytecode it reads (PEP 3147). `installed`: user or root have put
    it there, outside of all projects.
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
    installed: bool = True

    @property
    def minor(self) -> str:
        """Such as "3.11"."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def tag(self) -> str:
        """Interpreter, ABI and platform of its best tag, such as "cp311-cp311-linux_x86_64"."""
        return self.tags[0]

    @property
    def own(self) -> str:
        """What tells its work, bytecode and builds, from that of others with the same tag.

        "" of an installed one: their work is the same. A Python that a project brings may be any
        program, so what it made is for its own views: by its path, its directory and its file.
        """
        if self.installed:
            return ""
        try:
            path = Path(self.executable)
            found, inside = path.stat(), identity(path.parent)
        except OSError:  # who starts it will have to complain of it
            return self.executable
        file = f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"
        return f"{self.executable}\0{identity_text(inside)}\0{file}"


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


def recalled(executable: Path, state: Path) -> Interpreter | None:
    """What is kept of an interpreter whose file has not changed; None where nothing is."""
    kept = _kept_at(executable, state)
    return None if kept is None else _load(kept)


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
        # It says itself where it lies; the file that was run has to agree.
        installed=all(
            is_installed(one, os.environ) for one in (stable, os.path.realpath(executable))
        ),
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
