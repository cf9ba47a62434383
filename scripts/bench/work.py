"""The directory that a run works in, and what in it need not be made twice.

    project/    the environment's pyproject.toml and uv.lock
    wheels/     its distributions, as they are on the index
    uv-cache/   uv's cache, which has them all
    home/       pkgview's store and state
    made/       what a rival or a part keeps for the next run
    scratch/    what is made anew each time
    mnt/        mount points

A second run on the same directory needs no network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.mounting import mounts, unmounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PYTHON = Path(sys.executable).resolve()
"""The interpreter that all environments are for."""

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{VERSION}/site-packages"
BIN = Path(sys.executable).parent
UV, PKGVIEW = str(BIN / "uv"), str(BIN / "pkgview")

QUICK = ("attrs", "click", "flask", "idna", "jinja2", "markupsafe", "pygments", "requests", "rich",
         "blinker", "certifi", "charset-normalizer", "itsdangerous", "urllib3", "werkzeug",
         "markdown-it-py", "mdurl")  # fmt: skip
"""What a quick run's environment has of the distributions in environment.txt."""

PATIENCE = 600
"""Seconds for any one command: what hangs shall not hold up all the rest."""

LONGEST = 60
"""Bytes of the directory's name: control sockets lie below it, and theirs are limited, unix(7)."""

_OWN = ("XDG_", "PKGVIEW_", "PYTHON", "VIRTUAL_ENV")
_UV_OWN = ("UV_CACHE_DIR", "UV_LINK_MODE", "UV_COMPILE_BYTECODE", "UV_PROJECT_ENVIRONMENT")


class Work:
    """The directory `root`, and commands that are run with everything of theirs below it."""

    def __init__(self, root: Path, *, quick: bool) -> None:
        self.root = root / ("quick" if quick else "full")
        self.quick = quick
        if len(os.fsencode(self.root)) > LONGEST:
            raise PkgviewError(
                f"{self.root} is too long a name for what lies below it",
                remedy="Name a directory with --work, e.g. /tmp/bench.",
            )
        self.project = self.root / "project"
        self.wheels = self.root / "wheels"
        self.made = self.root / "made"
        self.scratch = self.root / "scratch"
        self.uv_cache = self.root / "uv-cache"
        self.env = self.home(self.root / "home", mount=self.root / "mnt/pkgview")

    def home(self, base: Path, *, mount: Path) -> dict[str, str]:
        """An environment for commands whose places are below `base`."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OWN) and name not in _UV_OWN
        }
        (base / "run").mkdir(parents=True, exist_ok=True)
        (base / "run").chmod(0o700)
        return kept | {
            "XDG_DATA_HOME": str(base / "data"),
            "XDG_STATE_HOME": str(base / "state"),
            "XDG_CACHE_HOME": str(base / "cache"),
            "XDG_RUNTIME_DIR": str(base / "run"),
            "PKGVIEW_MOUNT": str(mount),
            "UV_CACHE_DIR": str(self.uv_cache),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run works here, nothing is mounted before, and nothing stays mounted."""
        self.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PkgviewError(
                    f"another run works in {self.root}", remedy="Name another with --work."
                ) from error
            self._tidy()
            try:
                yield
            finally:
                self._tidy()
        finally:
            os.close(descriptor)

    def _tidy(self) -> None:
        for mount in reversed(mounts.table()):
            if mount.path.is_relative_to(self.root):
                unmount(mount.path)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    def run(
        self, command: Sequence[str | Path], *, cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """What a command says, which has to succeed."""
        done = subprocess.run(
            [os.fspath(word) for word in command],
            cwd=cwd or self.root, env=dict(env or self.env), check=False, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
        )  # fmt: skip
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise PkgviewError(f"`{' '.join(map(str, command))}` failed: {said}")
        return done.stdout

    def timed(
        self, command: Sequence[str | Path], *, cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> float:  # fmt: skip
        """Seconds of wall-clock time that a command took, which has to succeed."""
        began = time.perf_counter()
        self.run(command, cwd=cwd, env=env)
        return time.perf_counter() - began

    def once(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """`made/<name>`, made anew unless it was made whole, from the same `key`."""
        path, stamp = self.made / name, self.made / f"{name}.stamp"
        if not (stamp.is_file() and stamp.read_text("utf-8") == key):
            stamp.unlink(missing_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
            stamp.write_text(key, "utf-8")
        return path

    # -- the environment

    def pins(self) -> list[str]:
        """`name==version` of everything in the environment."""
        listed = (Path(__file__).parent / "environment.txt").read_text("utf-8").split()
        return [pin for pin in listed if not self.quick or pin.partition("==")[0] in QUICK]

    def lock(self) -> str:
        """Have `project` locked; what names this environment."""
        pins = self.pins()
        listed = "".join(f'    "{pin}",\n' for pin in pins)
        text = (
            '[project]\nname = "research"\nversion = "1"\n'
            f'requires-python = "~={platform.python_version()}"\ndependencies = [\n{listed}]\n'
        )
        file = self.project / "pyproject.toml"
        if not (file.is_file() and file.read_text("utf-8") == text):
            self.project.mkdir(exist_ok=True)
            (self.project / "uv.lock").unlink(missing_ok=True)
            file.write_text(text, "utf-8")
        if not (self.project / "uv.lock").is_file():
            self.run([UV, "lock", "-q", "-p", PYTHON], cwd=self.project)
        return hashlib.sha256((self.project / "uv.lock").read_bytes()).hexdigest()

    def sync(self, directory: Path, *options: str) -> list[str | Path]:
        """The command that makes the .venv of a project with a lock, from uv's cache."""
        return [UV, "sync", "-q", "-p", PYTHON, "--frozen", "--no-install-project", *options,
                "--project", directory]  # fmt: skip

    def prepare(self) -> str:
        """Everything that comes from the network, and bytecode; what names the environment.

        With its bytecode made, no daemon begins to make it while something is measured.
        """
        key = self.lock()
        stamp = self.wheels / ".done"
        if not (stamp.is_file() and stamp.read_text("utf-8") == key):
            shutil.rmtree(self.wheels, ignore_errors=True)
            self.wheels.mkdir()
            pip: list[str | Path] = [sys.executable, "-m", "pip", "-q", "download", "--no-deps",
                                     "--only-binary", ":all:", "-d", self.wheels]  # fmt: skip
            self.run([*pip, *self.pins()])
            self.run(self.sync(self.project))
            shutil.rmtree(self.project / ".venv")
            stamp.write_text(key, "utf-8")
        self.run([PKGVIEW, "up", self.project, "--no-link", "--no-mount", "--compile"])
        return key


def unmount(path: Path) -> None:
    """Whatever is mounted at `path`, in whatever state; it goes when nobody uses it any more."""
    while (there := mounts.mounted_at(path)) is not None:
        if there.fstype.startswith("fuse"):
            unmounting.unmount(path, lazy=True)
        else:
            subprocess.run(["umount", "-l", path], check=True, capture_output=True)


def is_root() -> bool:
    """Whether file systems of the kernel can be mounted and its caches be dropped."""
    return os.geteuid() == 0


def drop_caches() -> None:
    """Let the kernel forget all pages, names and attributes that it could read again; root's."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n", "ascii")
