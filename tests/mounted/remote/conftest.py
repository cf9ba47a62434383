"""A store on a web server of the tests' own, and a home that has nothing but what it fetches."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from resolver.python.target import Python, Schemes
from unionfs.archive.framecache import FrameCache
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.archive.reader import Archive
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.store.ordered import Stores
from unionfs.store.partial import Partials
from unionfs.store.remote.lazy import meeting
from unionfs.store.remote.lazy.filling import begin
from unionfs.store.remote.lazy.opening import transport_for
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from resolver.places import Places

SCHEMES = Schemes(purelib="site", platlib="site", scripts="bin", headers="include", data="")
PYTHON = Python(version="3.11", executable="/usr/bin/python3.11", schemes=SCHEMES)


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not get smaller."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - content, no secret


@dataclass(kw_only=True)
class Remote:
    """The server, and the home of one who reads from it."""

    places: Places
    directory: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    """Path below `site` -> content, of all archives."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("server.py"), self.directory,
             self.directory / "faults", self.directory / "log", str(self.port)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def faults(self, **faults: object) -> None:
        """What the server does wrong from now on."""
        fresh = self.directory / "faults.new"
        fresh.write_text(json.dumps(faults))
        fresh.replace(self.directory / "faults")

    def asked(self) -> list[list[Any]]:
        """Its requests so far: path, first byte, end, bytes sent."""
        try:
            lines = (self.directory / "log").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def forget(self) -> None:
        (self.directory / "log").unlink(missing_ok=True)

    def archive(self, name: str, files: Mapping[str, bytes], version: str = "1") -> str:
        """Have an archive there."""
        members = [
            Member(path=f"purelib/{path}".encode(), size=len(content),
                   open=partial(io.BytesIO, content))
            for path, content in files.items()
        ]  # fmt: skip
        self.files.update(files)
        meta = Meta(kind="distribution", name=name, version=version, stem=f"{name}-{version}-py3")
        return Store(self.directory).add(members, meta)

    def there(self, name: str) -> Archive:
        """The archive as the server has it."""
        return Archive.open(self.directory / "archives" / name, FrameCache())

    def begin(self, name: str) -> bool:
        async def run() -> bool:
            async with transport_for(self.places, self.url) as transport:
                blob = await transport.find(name)
                assert blob is not None
                return await begin(Partials(self.places.store), transport, blob)

        return trio.run(run)

    def publish(self, *names: str, before: tuple[str, ...] | None = None) -> Path:
        """Have a view of these archives, which are begun: where its files are seen.

        `before`: archives of the home's own store that get a view first, and nothing is begun that
        is there.
        """
        if before:
            self.publish(*before, before=())
        for name in names:
            if not Stores(self.places).has(name):
                self.begin(name)
        store = Stores(self.places)
        registry = Registry.of(self.places)
        try:
            with store.held():
                view = publish(
                    self.places, PYTHON.manifest(tuple(PYTHON.layer(n) for n in names)),
                    store, registry,
                )  # fmt: skip
        finally:
            registry.close()
        return self.places.mount / "views" / view / "site"

    def status(self) -> dict[str, Any]:
        live = endpoint_of(self.places, self.places.mount)
        said: dict[str, Any] = client.ask(live, "status")
        return said

    def fetchers(self) -> list[int]:
        return meeting.endpoint_of(self.places).pids()

    def config(self, text: str) -> None:
        self.places.config.mkdir(parents=True, exist_ok=True)
        (self.places.config / "config.toml").write_text(text)


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def remote(places: Places, tmp_path: Path) -> Iterator[Remote]:
    """A server that has nothing yet; whoever fetches from it ends with the test."""
    directory = tmp_path / "server"
    directory.mkdir()
    made = Remote(places=places, directory=directory)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        for pid in made.fetchers():
            os.kill(pid, signal.SIGKILL)
