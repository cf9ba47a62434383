"""What a binding costs, and what a bystander notices of those who make trouble.

First, requests for `current`: from outside, as the process waits for it, and where a process had to
be looked at, from inside, in the daemon's own processor time. A plain link on the same machine
stands beside it. Then one process asks all the time, alone and while others do what takes the
daemon longest.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.places import Places
from resolver.project import resolved
from resolver.python.interpreter import inspect
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon import launch
from unionfs.formats.python.generated import notice_layer, skeleton_layer
from unionfs.mounting import unmounting
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from scripts.bench.bench import Bench
    from scripts.bench.measure import Sheet

ASKER = Path(__file__).parents[2] / "tests/mounted/asker.c"

RESPONSE = "waits for it"
TAIL = "waits for it, 99th percentile"
INSIDE = "the daemon's time"


class Asker:
    """asker.c at work, as the tests of bindings use it."""

    def __init__(self, listener: socket.socket) -> None:
        self._connection = listener.accept()[0]
        self._lines = self._connection.makefile("r", encoding="ascii")
        self.pid = int(self._lines.readline().split()[1])

    def tell(self, *words: object) -> None:
        """Say what it is to do."""
        self._connection.sendall("\t".join(map(str, words)).encode() + b"\n")

    def hear(self) -> str:
        """What it answers."""
        return self._lines.readline().rstrip("\n")

    def say(self, *words: object) -> str:
        """Both."""
        self.tell(*words)
        return self.hear()

    def times(self, count: int, pause: int = 0) -> list[float]:
        """Seconds that each of so many requests took, microseconds apart."""
        return [int(one) / 1e9 for one in self.say("time", count, pause).split()]


class Scene:
    """A mount with one project, whose view is next to empty."""

    def __init__(self, home: Path, env: dict[str, str], listener: socket.socket) -> None:
        self.home = home
        self._listener = listener
        self.places = Places.from_environ(env)
        launch.ensure_mounted(self.places)
        self.python = inspect(Path(sys.executable).resolve(), self.places.state)
        self.directory = home / "project"
        self.directory.mkdir()
        (self.directory / "requirements.txt").touch()
        self._publish()
        self.asker = home / "asker"
        subprocess.run(["gcc", "-O2", "-pthread", "-o", self.asker, ASKER], check=True)
        # Named as one, it is an interpreter: what is measured is the binding and not a Python.
        self.interpreter = home / f"python{self.python.python.version}"
        self.interpreter.write_bytes(self.asker.read_bytes())
        self.interpreter.chmod(0o755)
        (home / "plain").mkdir()
        (home / "plain/current").symlink_to("views/0")
        self._running: list[subprocess.Popen[bytes]] = []

    def _publish(self) -> None:
        store = Store(self.places.store)
        layers = (
            skeleton_layer(store, self.python),
            notice_layer(store, self.python.python, "bench"),
        )
        registry = Registry(self.places.state / "registry.sqlite3")
        view = publish(self.places, self.python.python.manifest(layers), store, registry)
        registry.close()
        record = resolved.Resolved(root=str(self.directory)).with_view(
            resolved.ResolvedView(
                kind="python", variant=self.python.python.version, view=view, fingerprint=""
            )
        )
        resolved.save(self.places.state / "projects", record)
        self.ask("refresh")

    def ask(self, operation: str) -> Any:  # noqa: ANN401 - as wide as JSON
        """Ask the daemon."""
        return client.ask(endpoint_of(self.places, self.places.mount), operation, seconds=30)

    def start(self, program: Path | None = None, mount: Path | None = None) -> Asker:
        """One more process in the project."""
        command = [program or self.asker, mount or self.places.mount, self.home / "ask"]
        self._running.append(subprocess.Popen(command, cwd=self.directory))
        return Asker(self._listener)

    def end(self) -> None:
        """Nothing is left."""
        for process in self._running:
            process.kill()
            process.wait()
        unmounting.unmount(self.places.mount, lazy=True)


def told(sheet: Sheet, what: str, seconds: list[float], inside: list[float] | None = None) -> None:
    """What is told of one kind of request."""
    sheet.add(f"{what}: {RESPONSE}", "pkgview", statistics.median(seconds))
    ordered = sorted(seconds)
    sheet.add(f"{what}: {TAIL}", "pkgview", ordered[len(ordered) * 99 // 100])
    if inside:
        sheet.add(f"{what}: {INSIDE}", "pkgview", statistics.median(inside))


def requests(scene: Scene, sheet: Sheet, rounds: int) -> None:
    """What one request costs, for each kind of asker."""
    plain = scene.start(mount=scene.home / "plain")
    told(sheet, "a plain link, without pkgview", plain.times(rounds))
    bound = scene.start(scene.interpreter)
    bound.times(5)
    told(sheet, "a bound interpreter", bound.times(rounds))
    shell = scene.start()
    shell.times(5)
    told(sheet, "a shell in the same directory", shell.times(rounds))
    for what, program in (
        ("a shell, seen for the first time", scene.asker),
        ("an interpreter, seen for the first time", scene.interpreter),
    ):
        outside: list[float] = []
        inside: list[float] = []
        for _ in range(rounds):
            one = scene.start(program)
            before = scene.ask("status")
            outside += one.times(1)
            after = scene.ask("status")
            if after["looks"] == before["looks"] + 1:
                inside.append(after["look_seconds"] - before["look_seconds"])
            one.tell("exit")
        told(sheet, what, outside, inside)


def disturbances(scene: Scene, sheet: Sheet, rounds: int) -> None:
    """What a shell notices that asks once a millisecond."""
    bystander = scene.start()
    bystander.times(20)
    told(sheet, "a bystander, alone", bystander.times(3 * rounds, 1000))
    storm = scene.start()
    storm.tell("storm", 10 * rounds, 50)
    what = f"a bystander, while {10 * rounds:,} processes ask once and end"
    told(sheet, what, bystander.times(3 * rounds, 1000))
    storm.hear()
    crowd = [scene.start() for _ in range(8)]
    for one in crowd:
        one.tell("time", 5000, 0)
    told(sheet, "a bystander, while 8 ask without a pause", bystander.times(3 * rounds, 1000))
    for one in crowd:
        one.hear()


def looks(bench: Bench, sheet: Sheet) -> None:
    """Both, on a mount of their own."""
    if shutil.which("gcc") is None:
        raise PkgviewError("what asks is C, and there is no gcc")
    home = bench.work.scratch / "look"
    env = bench.work.home(home, mount=home / "mnt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "ask"))
        listener.listen(64)
        scene = Scene(home, env, listener)
        try:
            requests(scene, sheet, bench.rounds(200))
            disturbances(scene, sheet, bench.rounds(200))
        finally:
            scene.end()
    sheet.note(
        f"{bench.rounds(200)} requests of each kind, and of a bystander three times as many, one a "
        "millisecond. The daemon's time is the processor time of the look, told by itself."
    )
