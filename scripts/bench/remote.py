"""From nothing to the end of a first import, over a slow link: a remote store beside an index.

Both are on this machine, a registry (Debian's `docker-registry`) and an index of files, behind one
relay each that delays (20 ms there and back) and limits (50 Mbit/s) alike. uv: `uv sync --frozen`
of a lock, nothing cached, then the program. pkgview: `pkgview run oci://…:TAG -- program`, nothing
here but pkgview, mount included; with the traces of the pusher's first run, and without.
"""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from scripts.bench.measure import Sheet, turns
from scripts.bench.relay import relay
from scripts.bench.work import PKGVIEW, PYTHON, UV, unmount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from scripts.bench.bench import Bench
    from scripts.bench.relay import Relay
    from scripts.bench.work import Work

RATE: Final = 50e6 / 8
DELAY: Final = 0.020
CASES: Final = {
    "numpy + pandas": (("numpy", "pandas"), "import numpy, pandas"),
    "scikit-learn + matplotlib": (
        ("scikit-learn", "matplotlib"),
        "import sklearn.linear_model, matplotlib.pyplot",
    ),
    "torch": (("torch==2.13.0+cpu",), "import torch"),
}
"""What is listed, and the program. A local version (PEP 440) is on no public index: torch's is on
its makers'."""

CLIENTS: Final = 4
QUIET: Final = 12.0
"""Seconds after the first run until its traces are written down."""


def remote(bench: Bench, sheet: Sheet) -> None:
    """Every case, in turns."""
    if shutil.which("docker-registry") is None:
        sheet.note("Without docker-registry (Debian): nothing was measured.")
        return
    for number, (what, (listed, program)) in enumerate(CASES.items()):
        if bench.quick and number:
            break
        made = _Case(bench.work, f"{number}", listed, program)
        try:
            made.download()
        except PkgviewError:
            if "+" not in "".join(listed):
                raise
            sheet.note(f"pip finds no {' '.join(listed)}: {what} was not measured.")
            continue
        with made.served() as case:
            _measure(bench, sheet, what, case)


def _measure(bench: Bench, sheet: Sheet, what: str, case: _Case) -> None:
    contestants = ["uv", "plain", "traced"]
    for number, name in turns(contestants, bench.rounds(3), seconds=240):
        if name == "uv":
            took, size = case.by_uv()
            sheet.add(what, "uv", took)
            sheet.add(f"{what}: received", "uv", size, "B")
            continue
        with case.home(f"{name}-{number}") as env:
            took, size, requests = case.by_pkgview(env, name)
            how = "" if name == "traced" else ", without traces"
            sheet.add(f"{what}{how}", "pkgview", took)
            sheet.add(f"{what}{how}: received", "pkgview", size, "B")
            sheet.add(f"{what}{how}: connections", "pkgview", requests, "")
            if name == "traced":
                sheet.add(f"{what}, again, offline", "pkgview", case.again(env, name))
    sheet.add(f"{what}: {CLIENTS} at once, received", "pkgview", case.crowd(), "B")


class _Case:
    """One program: its lock, what was pushed of it, and the two servers behind their links."""

    def __init__(self, work: Work, name: str, listed: tuple[str, ...], program: str) -> None:
        self._work = work
        self._root = work.scratch / f"remote/{name}"
        self._listed = listed
        self._program = program
        self._project = self._root / "project"
        self._wheels = work.made / f"remote-{name}"
        self._key = self._root / "key"
        self._index: Relay
        self._registry: Relay

    @contextmanager
    def served(self) -> Iterator[_Case]:
        """While it can be measured."""
        self._root.mkdir(parents=True)
        command: list[str | Path] = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key]
        subprocess.run(command, check=True)
        with (
            relay(self._of_index()) as self._index,
            _registry(self._root / "registry") as port,
            relay(port) as self._registry,
        ):
            self._prepare()
            for link in (self._index, self._registry):
                link.rate, link.delay = RATE, DELAY
            yield self

    def by_uv(self) -> tuple[float, int]:
        """Seconds, and bytes that came."""
        work, link, project = self._work, self._index, self._root / "by-uv"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copy(self._project / name, project)
        cache = self._root / "uv-cache"
        shutil.rmtree(cache, ignore_errors=True)
        before = link.down.passed
        env = self._env("uv") | {"UV_CACHE_DIR": str(cache)}
        took = work.timed(work.sync(project), cwd=project, env=env)
        took += work.timed([project / ".venv/bin/python", "-c", self._program], env=env)
        return took, link.down.passed - before

    def by_pkgview(self, env: Mapping[str, str], tag: str) -> tuple[float, int, int]:
        """The same, and connections."""
        link = self._registry
        size, connections = link.down.passed, link.connections
        took = self._work.timed(self._command(tag), env=env)
        time.sleep(1)  # what a trace says may still be on its way
        return took, link.down.passed - size, link.connections - connections

    def again(self, env: Mapping[str, str], tag: str) -> float:
        """Seconds of the next start, that asks nobody."""
        return self._work.timed(self._command(tag, "--offline"), env=env)

    def crowd(self) -> float:
        """Bytes for each of some clients that begin at one moment."""
        before = self._registry.down.passed
        threads = [threading.Thread(target=self._one, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (self._registry.down.passed - before) / CLIENTS

    def _one(self, number: int) -> None:
        with self.home(f"crowd-{number}") as env:
            self.by_pkgview(env, "traced")

    @contextmanager
    def home(self, name: str) -> Iterator[dict[str, str]]:
        """A machine that has never seen anything."""
        env = self._env(name)
        try:
            yield env
        finally:
            self._work.run([PKGVIEW, "umount", "--lazy"], env=env)
            unmount(self._work.root / f"mnt/r-{name}")

    def _env(self, name: str) -> dict[str, str]:
        mount = self._work.root / f"mnt/r-{name}"
        base = self._root / f"home-{name}"
        found = self._work.home(base, mount=mount)
        return found | {"XDG_CONFIG_HOME": str(base / "config"), "UV_PYTHON": str(PYTHON)}

    def _command(self, tag: str, *options: str) -> list[str | Path]:
        url = f"oci://127.0.0.1:{self._registry.port}/env-{tag}:main"
        key = ["--key", f"{self._key}.pub"]
        return [PKGVIEW, "run", *options, *key, url, "--", "python", "-c", self._program]

    def _prepare(self) -> None:
        """Lock it, make its view, push it before and after its program has run once."""
        work, project = self._work, self._project
        project.mkdir()
        listed = "".join(f'    "{one}",\n' for one in self._listed)
        (project / "pyproject.toml").write_text(
            f'[project]\nname = "remote"\nversion = "1"\nrequires-python = ">=3.11"\n'
            f"dependencies = [\n{listed}]\n[tool.uv]\npackage = false\n",
            "utf-8",
        )
        with self.home("team") as env:
            at = f"http://127.0.0.1:{self._index.port}"
            env |= {"UV_DEFAULT_INDEX": at, "UV_CACHE_DIR": str(self._root / "team-cache")}
            work.run([UV, "lock", "-q", "-p", PYTHON], cwd=project, env=env)
            work.run([PKGVIEW, "up", "--compile", "-p", PYTHON], cwd=project, env=env)
            self._push("plain", env)
            work.run([project / ".venv/bin/python", "-c", self._program], env=env)
            time.sleep(QUIET)
            self._push("traced", env)

    def _push(self, tag: str, env: Mapping[str, str]) -> None:
        url = f"oci://127.0.0.1:{self._registry.port}/env-{tag}:main"
        self._work.run([PKGVIEW, "push", url, "--sign", self._key], cwd=self._project, env=env)

    def download(self) -> None:
        """Have all files here that it needs; `PkgviewError` where pip does not find them."""
        if not self._wheels.is_dir():
            coming = self._wheels.with_name(f"{self._wheels.name}.coming")
            pip = [sys.executable, "-m", "pip", "-q", "download", "--only-binary", ":all:"]
            self._work.run([*pip, "-d", coming, *self._listed])
            coming.rename(self._wheels)

    def _of_index(self) -> int:
        """The port of an index of all files that the case needs."""
        site = self._root / "index"
        for path in self._wheels.iterdir():
            name = path.name.partition("-")[0].lower().replace("_", "-").replace(".", "-")
            page = site / name / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, page.parent)
            digest = sha256(path.read_bytes()).hexdigest()
            link = f'<a href="/{name}/{path.name}#sha256={digest}">{path.name}</a>\n'
            page.write_text((page.read_text("utf-8") if page.exists() else "") + link, "utf-8")
        answers = partial(_Quiet, directory=str(site))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _registry(directory: Path) -> Iterator[int]:
    """Debian's, from when it listens; its port."""
    directory.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of the measurement"},
    }
    (directory / "config.yml").write_text(json.dumps(config), "utf-8")
    with (directory / "log").open("wb") as log:
        command = ["docker-registry", "serve", str(directory / "config.yml")]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(500):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait(10)
