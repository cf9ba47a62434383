"""Mounts for tests: in a home of their own, and never left behind.

Run as a program, this file is a daemon that serves a stand-in instead of packages: one directory
with one file, so that the daemon's life can be tested apart from what it serves.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import html
import http.server
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs import control, daemon, launch, mounts, service
from unionfs.rendezvous import Rendezvous

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONTENT = b"what the stand-in serves\n" * 20_000


async def _serve(
    mountpoint: Path,
    *,
    options: set[str],
    ready: Callable[[], None],
    requests: Counter[str],
) -> None:
    import pyfuse3  # noqa: PLC0415 - the tests' own process does without

    class OneFile(pyfuse3.Operations):
        """`/file`, whose bytes the kernel may not keep: each read comes here."""

        @staticmethod
        def _attributes(inode: int) -> pyfuse3.EntryAttributes:
            found = pyfuse3.EntryAttributes()
            found.st_ino = pyfuse3.InodeT(inode)
            directory = inode == pyfuse3.ROOT_INODE
            found.st_mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
            found.st_uid, found.st_gid = os.getuid(), os.getgid()
            found.st_size = 0 if directory else len(CONTENT)
            return found

        async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
            del ctx
            requests["GETATTR"] += 1
            return self._attributes(inode)

        async def lookup(
            self, parent_inode: int, name: bytes, ctx: object = None
        ) -> pyfuse3.EntryAttributes:
            del parent_inode, ctx
            requests["LOOKUP"] += 1
            if name != b"file":
                raise pyfuse3.FUSEError(errno.ENOENT)
            return self._attributes(2)

        async def open(self, inode: int, flags: int, ctx: object = None) -> pyfuse3.FileInfo:
            del flags, ctx
            return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), direct_io=True)

        async def read(self, fh: int, off: int, size: int) -> bytes:
            del fh
            return CONTENT[off : off + size]

    pyfuse3.init(OneFile(), os.fspath(mountpoint), options)
    try:
        ready()
        await pyfuse3.main()
    finally:
        pyfuse3.close(unmount=True)


def _assemble(places: Places) -> service.Service:
    fault = os.environ.get("STAND_IN_FAULT", "")
    if fault == "refuses":
        raise PkgviewError("the stand-in refuses", remedy="Ask for another.")
    if fault == "vanishes":
        os._exit(3)

    async def fail(
        mountpoint: Path, *, options: set[str], ready: Callable[[], None], requests: Counter[str]
    ) -> None:
        del mountpoint, options, ready, requests
        raise RuntimeError("the stand-in fails")

    async def explode(_: control.Request) -> None:
        raise ZeroDivisionError

    async def chatter(request: control.Request) -> None:
        for _ in range(request.arguments["lines"]):
            logging.getLogger("stand-in").info("%s", "x" * 1000)

    async def surroundings(_: control.Request) -> dict[str, Any]:
        os.umask(mask := os.umask(0))
        return {"umask": mask, "path": sys.path, "environ": dict(os.environ)}

    return service.Service(
        serve=fail if fault == "fails" else _serve,
        transport="stand-in",
        gauges=lambda: {"store": os.fspath(places.store)},
        operations={"explode": explode, "chatter": chatter, "surroundings": surroundings},
    )


if __name__ == "__main__":
    sys.exit(daemon.main(assemble=_assemble))


import pytest  # noqa: E402 - the daemon above does without

from resolver.uv import uv_binary  # noqa: E402 - the same


def tidy(root: Path) -> None:
    """Unmount all below `root` and end every daemon whose lock lies there; then all is checked."""
    for mount in mounts.table():
        if mount.path.is_relative_to(root):
            mounts.unmount(mount.path, lazy=True)
    deadline = time.monotonic() + 10
    for lock in root.rglob("*.lock"):
        meeting = Rendezvous(directory=lock.parent, name=lock.stem)
        while meeting.held():
            if pid := meeting.pid():
                os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"a daemon outlives its test: {lock}"
            time.sleep(0.02)
    assert not [mount for mount in mounts.table() if mount.path.is_relative_to(root)]


@pytest.fixture(scope="session")
def fuse() -> None:
    """What every mount needs; where it is missing CI fails, and a person is told."""
    try:
        mounts.preflight()
    except PkgviewError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def places(fuse: None, isolated_places: Places, tmp_path: Path) -> Iterator[Places]:  # noqa: ARG001 - its refusal counts
    """A home of its own, in the environment too; nothing mounted or running is left behind."""
    try:
        yield isolated_places
    finally:
        tidy(tmp_path)


@pytest.fixture
def mounted(places: Places) -> Places:
    """pkgview itself, mounted at `places.mount`."""
    launch.ensure_mounted(places)
    return places


@pytest.fixture
def ordinary(fuse: None) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - its refusal counts
    """How `subprocess` runs a program as nobody, in a home of nobody's, with FUSE for all."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("fusermount3") is None:
        pytest.skip("there is no fusermount3")
    device = Path("/dev/fuse")
    before = device.stat().st_mode & 0o777
    home = Path(tempfile.mkdtemp(prefix="pkgview-"))
    os.chown(home, 65534, 65534)
    path = os.pathsep.join(
        [os.fspath(Path(__file__).parents[2]), *(p for p in sys.path if "site-" in p)]
    )
    options = {
        "user": 65534, "group": 65534, "extra_groups": [], "cwd": "/",
        "env": {
            "HOME": os.fspath(home), "PATH": os.environ["PATH"], "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    }  # fmt: skip
    device.chmod(0o666)
    try:
        yield options
    finally:
        device.chmod(before)
        tidy(home)
        shutil.rmtree(home)


# One large environment, made once for all tests that look at it

LARGE = """\
flask==3.1.3
greenlet==3.5.6
jupyterlab==4.6.6
mypy==2.4.1
numpy==2.4.6
pandas==3.1.1
pip==26.3
pydantic==2.14.3
pytest==9.2.0
requests==2.34.2
rich==15.0.0
setuptools==84.2.1
sqlalchemy==2.1.9
zope.event==6.2
zope.interface==8.7
"""
"""Requirements of `large`: greenlet brings headers, setuptools a .pth file, jupyterlab data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Projects in a home of their own, and how programs are run there as a user would run them."""

    home: Path
    places: Places
    environ: Mapping[str, str]
    python: Path
    """The interpreter on which all of its views are based."""

    def project(self, name: str) -> Path:
        """A new directory for a project."""
        directory = self.home / name
        directory.mkdir()
        return directory

    def run(
        self,
        *command: str | Path,
        cwd: Path,
        code: int | None = 0,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; any other status than `code` (None: any) fails the test."""
        ended = subprocess.run(
            command, cwd=cwd, env={**self.environ, **(environ or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        said = f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        assert code is None or ended.returncode == code, said
        return ended

    def pkgview(
        self, *arguments: str | Path, cwd: Path, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run pkgview's console script."""
        command = Path(sys.executable).with_name("pkgview")
        return self.run(command, *arguments, cwd=cwd, code=code)

    def uv(
        self, *arguments: str | Path, cwd: Path, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the uv that pkgview runs."""
        return self.run(uv_binary(), *arguments, cwd=cwd, code=code)

    def up(self, directory: Path, *arguments: str) -> dict[str, Any]:
        """`pkgview up`, and what it says as JSON."""
        said = self.pkgview("up", "--python", self.python, "--json", *arguments, cwd=directory)
        answer: dict[str, Any] = json.loads(said.stdout)
        return answer

    def uv_environment(self, directory: Path, root: Path) -> Path:
        """What uv alone makes of a project's lock at `root`: copied, and nothing compiled."""
        self.uv("venv", "--python", self.python, root, cwd=directory)
        self.uv(
            *("pip", "install", "--preview-features", "pylock", "--link-mode", "copy"),
            *("--no-compile-bytecode", "--python", str(root), "-r", "pylock.toml"),
            cwd=directory,
        )
        return root


@dataclass(frozen=True, slots=True, kw_only=True)
class Large(Site):
    """A site whose project `directory` is locked, has `LARGE` in its view, and `.venv`."""

    directory: Path
    first: Mapping[str, Any]
    """What the `pkgview up --json` that made it said."""

    @property
    def venv(self) -> Path:
        """The link to the view."""
        return self.directory / ".venv"

    @property
    def view(self) -> Path:
        """The view itself."""
        return self.venv.resolve()

    def packages(self, root: Path) -> Path:
        """The site-packages of an environment of this Python."""
        (found,) = (root / "lib").glob("python3.*/site-packages")
        return found


@pytest.fixture(scope="session")
def site(fuse: None) -> Iterator[Site]:  # noqa: ARG001 - its refusal counts
    """A home below a temporary directory; what is mounted there is unmounted, and all removed."""
    with tempfile.TemporaryDirectory(prefix="pkgview-") as temporary:
        home = Path(temporary)
        own = os.fspath(Path(sys.executable).parent)
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PKGVIEW_", "XDG_", "PYTHON", "VIRTUAL_ENV", "PYTEST_"))
        } | {
            # Neither the tests' own tools nor bytecode beside the sources that are compared.
            "PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if p != own),
            "HOME": os.fspath(home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "NO_COLOR": "1",
        }
        python = Path(sys.executable).resolve()
        places = Places.from_environ(environ)
        try:
            yield Site(home=home, places=places, environ=environ, python=python)
        finally:
            tidy(home)


@pytest.fixture(scope="session")
def large(site: Site) -> Large:
    """Some 120 distributions in one view."""
    directory = site.project("large")
    (directory / "requirements.txt").write_text(LARGE)
    site.pkgview("lock", "--python", site.python, cwd=directory)
    first = site.up(directory)
    return Large(
        home=site.home, places=site.places, environ=site.environ, python=site.python,
        directory=directory, first=first,
    )  # fmt: skip


@pytest.fixture(scope="session")
def by_uv(large: Large) -> Path:
    """The virtual environment that uv makes of the same lock, with nothing shared or compiled."""
    return large.uv_environment(large.directory, large.home / "by-uv")


# LOST: the fixtures `index` and `shop` of test_failures.py stood here; an edit made at the same
# time has overwritten them (00:07). Their imports above are still there. Append them again, please.
