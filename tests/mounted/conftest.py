"""Mounts for tests: in a home of their own, and never left behind."""

from __future__ import annotations

import atexit
import base64
import contextlib
import fcntl
import hashlib
import html
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from resolver.project import resolved, trust
from resolver.python.interpreter import Interpreter, inspect
from resolver.python.project import find_project
from resolver.python.uv.run import uv_binary
from tests.mounted.forked import Forked
from unionfs.control import client
from unionfs.control.endpoint import Endpoint, endpoint_of
from unionfs.daemon import service
from unionfs.formats.python.generated import notice_layer, skeleton_layer
from unionfs.mounting import mounts, prerequisites, unmounting
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TRANSPORT = service.TRANSPORT_VARIABLE
"""What the tests run on unless they say otherwise themselves; unset: the default."""

CHOSEN = (TRANSPORT, service.WORKERS_VARIABLE)
"""The same: `PKGVIEW_WORKERS=3` runs on three processes those that neither count processes nor want
libfuse."""


def _crash(endpoint: Endpoint) -> None:
    """Kill all of a daemon: what holds the mount, what serves it, and what comes in their place."""
    deadline = time.monotonic() + 30
    while (pids := endpoint.pids()) or endpoint.held():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tidy(root: Path) -> None:
    """Unmount all below `root` and end every daemon whose lock lies there; then all is checked."""
    for mount in mounts.table():
        if mount.path.is_relative_to(root):
            unmounting.unmount(mount.path, lazy=True)
    deadline = time.monotonic() + 10
    for lock in root.rglob("*.lock"):
        endpoint = Endpoint(directory=lock.parent, name=lock.stem)
        while endpoint.held():
            _crash(endpoint)
            assert time.monotonic() < deadline, f"a daemon outlives its test: {lock}"
            time.sleep(0.02)
    assert not [mount for mount in mounts.table() if mount.path.is_relative_to(root)]


@pytest.fixture(scope="session")
def fuse() -> None:
    """What every mount needs; where it is missing CI fails, and a person is told."""
    try:
        prerequisites.preflight()
    except PkgviewError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport whose servers are supervised, whatever the tests run on."""
    monkeypatch.delenv(TRANSPORT, raising=False)


@pytest.fixture(scope="session")
def crash() -> Callable[[Places], None]:
    """Kill all of a mount's daemon, so that the mount is stale."""
    return lambda places: _crash(endpoint_of(places, mounts.canonical(places.mount)))


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
    _mount(os.environ)
    return places


def _mount(environ: Mapping[str, str]) -> None:
    ended = forked().run(["mount"], cwd=Path("/"), environ=environ, seconds=60)
    assert ended.returncode == 0, ended


@pytest.fixture
def ordinary(fuse: None) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - its refusal counts
    """How `subprocess` runs a program as nobody, in a home of nobody's, with FUSE for all."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("fusermount3") is None:
        pytest.skip("there is no fusermount3")
    device = Path("/dev/fuse")
    home = Path(tempfile.mkdtemp(prefix="pkgview-"))
    os.chown(home, 65534, 65534)
    path = os.pathsep.join(
        [os.fspath(Path(__file__).parents[2]), *(p for p in sys.path if "site-" in p)]
    )
    options = {
        "user": 65534, "group": 65534, "extra_groups": [], "cwd": "/",
        "env": {
            "HOME": os.fspath(home), "PATH": os.environ["PATH"], "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1", "PKGVIEW_COMPILE": "0",
        },
    }  # fmt: skip
    # The whole machine has one: other tests that change who may open it wait.
    with device.open("rb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = device.stat().st_mode & 0o777
        device.chmod(0o666)
        try:
            yield options
        finally:
            device.chmod(before)
            tidy(home)
            shutil.rmtree(home)


# A package index of our own, so that what an index can do wrong can be tested


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a place of an index wants to hear, "user:password", and which names it has."""

    said: str
    names: frozenset[str]


@dataclass(eq=False, slots=True, kw_only=True)
class Index:
    """A simple index (PEP 503, 658) of the wheels and sdists that a test puts into it."""

    directory: Path
    url: str = ""
    slow: set[str] = field(default_factory=set)
    """Names of files that come at 64 KiB/s until they are taken out."""
    lasting: bool = False
    """Its files never change, and caches are told so, as PyPI does."""
    instead: dict[str, bytes] = field(default_factory=dict)
    """Bytes that are served in place of a file's own."""
    asked: list[str] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    required: dict[str, str] = field(default_factory=dict)
    guards: dict[str, Guard] = field(default_factory=dict)
    """Places below which the same is served to who has the password, such as "/team"."""
    heard: set[tuple[str, str]] = field(default_factory=set)
    """Which user and password were sent, and to which of these places ("" for no such)."""

    def guard(self, place: str, user: str, *names: str) -> None:
        """Serve these names to that user at such a place, too, where everything else is absent.

        The password is the user's name, backwards.
        """
        said = f"{user}:{user[::-1]}"
        self.guards[place] = Guard(said=said, names=frozenset(names))

    def guarded(self, place: str, path: str = "/simple", *, said: str | None = None) -> str:
        """The address of something there, with user and password, or `said` in their place."""
        host = self.url.removeprefix("http://").removesuffix("/simple")
        return f"http://{self.guards[place].said if said is None else said}@{host}{place}{path}"

    def wheel(  # noqa: PLR0913 - what a wheel can be told
        self,
        name: str,
        version: str = "1.0",
        files: Mapping[str, bytes] | None = None,
        *,
        requires: Sequence[str] = (),
        python: str = "",
        tag: str = "py3-none-any",
        scripts: Sequence[str] = (),
    ) -> Path:
        """Write a wheel and offer it; without `files` it has one module of its name."""
        stem = f"{name}-{version}"
        said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        said += "".join(f"Requires-Dist: {one}\n" for one in requires)
        said += f"Requires-Python: {python}\n" if python else ""
        source = f"version = {version!r}\ndef hello(): print('hello')\n"
        content = {f"{name}.py": source.encode()} if files is None else files
        content = {
            **content,
            f"{stem}.dist-info/METADATA": said.encode(),
            f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n"
            f"Root-Is-Purelib: {str(tag.endswith('any')).lower()}\n".encode(),
        }
        if scripts:
            lines = "".join(f"{one}\n" for one in scripts)
            content[f"{stem}.dist-info/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
        record = "".join(
            f"{path},sha256={_urlsafe_sha256(data)},{len(data)}\n" for path, data in content.items()
        )
        content[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
        path = self.directory / f"{stem}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as file:
            for inside, data in content.items():
                file.writestr(inside, data)
        self.metadata[path.name] = said.encode()
        self.required[path.name] = python
        return path

    def page(self, name: str, place: str = "") -> str:
        """The links of one distribution."""
        links = []
        for path in sorted(self.directory.iterdir()):
            if re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower() != name:
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            has = path.name in self.metadata
            links.append(
                f'<a href="{place}/packages/{path.name}#sha256={digest}"'
                + (' data-core-metadata="true"' if has else "")
                + f' data-requires-python="{html.escape(self.required.get(path.name, ""))}"'
                f">{path.name}</a>"
            )
        return "\n".join(links)


def _urlsafe_sha256(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


class _Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        index: Index = self.server.index  # type: ignore[attr-defined]
        if self.command == "GET":
            index.asked.append(self.path)
        place = next((one for one in index.guards if self.path.startswith(f"{one}/")), "")
        kind, _, name = self.path.removeprefix(place).strip("/").partition("/")
        said = self.headers.get("Authorization", "Basic ")
        if heard := base64.b64decode(said.removeprefix("Basic ")).decode():
            index.heard.add((place, heard))
        guard = index.guards.get(place)
        if guard is not None and heard != guard.said:
            self._refuse()
            return
        absent = guard is not None and name and re.split(r"[-/]", name)[0] not in guard.names
        content = None if absent else self._content(index, place, kind, name)
        start = 0
        if content is not None and (wanted := self.headers.get("Range")) and kind == "packages":
            start = int(wanted.removeprefix("bytes=").partition("-")[0] or 0)
        self.send_response(404 if content is None else 206 if start else 200)
        body = (content or b"")[start:]
        is_page = kind in {"simple", "links.html"}
        self.send_header("Content-Type", "text/html" if is_page else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        if index.lasting and kind == "packages":
            self.send_header("Cache-Control", "max-age=31536000, immutable")
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(content or b'') - 1}/{len(content or b'')}"
            )
        self.end_headers()
        body = b"" if self.command == "HEAD" else body
        try:
            while body and self.command != "HEAD":
                piece, body = (
                    (body[: 1 << 12], body[1 << 12 :]) if name in index.slow else (body, b"")
                )
                self.wfile.write(piece)
                if body:
                    time.sleep(0.0625)
        except OSError:
            self.close_connection = True  # whoever asked was killed

    def do_HEAD(self) -> None:
        self.do_GET()

    @staticmethod
    def _content(index: Index, place: str, kind: str, name: str) -> bytes | None:
        if kind == "simple":
            return index.page(name, place).encode() or None
        if kind == "links.html":
            names = index.guards[place].names
            return "\n".join(index.page(name, place) for name in sorted(names)).encode()
        if name.endswith(".metadata"):
            return index.metadata.get(name.removesuffix(".metadata"))
        if (index.directory / name).is_file():
            return index.instead.get(name) or (index.directory / name).read_bytes()
        return None

    def _refuse(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # hundreds of clients may come at once

    def handle_error(self, *_: object) -> None:
        """A client that was killed is what some tests are about."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index on loopback, for one test."""
    with an_index(tmp_path / "index") as served:
        yield served


@contextmanager
def an_index(directory: Path) -> Iterator[Index]:
    """An empty index on loopback, whose files lie in a new directory."""
    directory.mkdir()
    served = Index(directory=directory)
    with _Server(("127.0.0.1", 0), _Requests) as server:
        server.index = served  # type: ignore[attr-defined]
        served.url = f"http://127.0.0.1:{server.server_port}/simple"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


@cache
def _known() -> Mapping[str, bytes]:
    """The files in which pkgview keeps what it knows of the interpreter that tests run on."""
    with tempfile.TemporaryDirectory() as state:
        inspect(Path(sys.executable).resolve(), Path(state))
        return {path.name: path.read_bytes() for path in Path(state, "interpreters").iterdir()}


@pytest.fixture
def shop(fuse: None, tmp_path: Path, index: Index) -> Iterator[Site]:  # noqa: ARG001 - its refusal counts
    """A home for one test, whose only index is `index`; nothing stays mounted or running."""
    with a_shop(tmp_path / "home", index) as made:
        yield made


@contextmanager
def a_shop(home: Path, index: Index) -> Iterator[Site]:
    """A new home whose only index is `index`; what is mounted there is unmounted.

    Its interpreter is known, as after a first command: asking it takes as long as a mount.
    """
    (home / "tmp").mkdir(parents=True)
    own = os.fspath(Path(sys.executable).parent)
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(
            ("AWS_", "PKGVIEW_", "XDG_", "PYTHON", "VIRTUAL_ENV", "PYTEST_", "PIP_")
        )
        or name in CHOSEN
    } | {
        "PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if p != own),
        "HOME": os.fspath(home),
        "TMPDIR": os.fspath(home / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PKGVIEW_COMPILE": "0",
        "PKGVIEW_FORKSERVER": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_DEFAULT_INDEX": index.url,
        "UV_HTTP_RETRIES": "0",
        "NO_COLOR": "1",
    }
    places = Places.from_environ(environ)
    places.state.mkdir(mode=0o700, parents=True)
    (places.state / "interpreters").mkdir()
    for name, content in _known().items():
        (places.state / "interpreters" / name).write_bytes(content)
    try:
        yield Site(home=home, places=places, environ=environ, python=Path(sys.executable).resolve())
    finally:
        tidy(home)


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


@cache
def forked() -> Forked:
    """One for all tests of a process."""
    made = Forked()
    atexit.register(made.close)
    return made


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
        self,
        *arguments: str | Path,
        cwd: Path,
        code: int | None = 0,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of pkgview's; by `forked`, or by the console script where that counts."""
        ended = forked().run(
            [os.fspath(one) for one in arguments], cwd=cwd, seconds=240,
            environ={**self.environ, **(environ or {})},
        )  # fmt: skip
        said = f"pkgview {arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        assert code is None or ended.returncode == code, said
        return ended

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


@contextmanager
def a_home() -> Iterator[Site]:
    """A home below a temporary directory; what is mounted there is unmounted, and all removed."""
    with tempfile.TemporaryDirectory(prefix="pkgview-") as temporary:
        home = Path(temporary)
        own = os.fspath(Path(sys.executable).parent)
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PKGVIEW_", "XDG_", "PYTHON", "VIRTUAL_ENV", "PYTEST_"))
            or name in CHOSEN
        } | {
            # Neither the tests' own tools nor bytecode beside the sources that are compared.
            "PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if p != own),
            "HOME": os.fspath(home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PKGVIEW_COMPILE": "0",
            "PKGVIEW_FORKSERVER": "0",
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
def site(fuse: None) -> Iterator[Site]:  # noqa: ARG001 - its refusal counts
    """One home for all tests that only look."""
    with a_home() as made:
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Site):
    """A site with two projects, `red` and `green`, whose views hold another `which` each.

    `which.colour` says which; the console script `which-colour` prints it, and the view that
    `current` leads to (or the link that WHICH names). `views` has the id of each colour's view.
    """

    views: Mapping[str, str]

    def directory(self, colour: str) -> Path:
        """A project's."""
        return self.home / colour

    def colour(self, text: str) -> str:
        """The colour of a view, by its id or by a path whose last part that is."""
        view = text.rpartition("/")[2]
        found = [name for name, one in self.views.items() if one == view]
        return found[0] if found else "default"


@pytest.fixture(scope="module")
def pair(fuse: None) -> Iterator[Pair]:  # noqa: ARG001 - its refusal counts
    """Two projects with a view each, mounted, in a home of this module's own."""
    with a_home() as made:
        views = {}
        wheels = Index(directory=made.home / "wheels")
        wheels.directory.mkdir()
        for version, colour in enumerate(("red", "green"), 1):
            module = (
                "import os\n"
                f"colour = {colour!r}\n"
                f"link = os.environ.get('WHICH', {os.fspath(made.places.mount / 'current')!r})\n"
                "def main():\n"
                "    print(colour, os.path.basename(os.readlink(link)), flush=True)\n"
            )
            wheel = wheels.wheel(
                "which", str(version), {"which.py": module.encode()},
                scripts=["which-colour = which:main"],
            )  # fmt: skip
            directory = made.project(colour)
            (directory / "requirements.txt").write_text(f"which @ {wheel.as_uri()}\n")
            views[colour] = made.up(directory)["view"]
        yield Pair(
            home=made.home, places=made.places, environ=made.environ, python=made.python,
            views=views,
        )  # fmt: skip


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


# A mount whose projects have views that nothing was resolved for, and programs that ask it


@dataclass(eq=False, slots=True, kw_only=True)
class Asker:
    """asker.c or asker.py at work: one line there, one line back."""

    connection: socket.socket
    pid: int = 0
    descriptor: int = 0
    """The number of the connection's other end, there."""
    _rest: bytes = b""

    def __post_init__(self) -> None:
        self.connection.settimeout(60)
        self.greeted()

    def greeted(self) -> None:
        """It has (again) said who it is."""
        said = self._line()
        assert said.startswith("pid\t"), said
        self.pid, self.descriptor = map(int, said.split("\t")[1:])

    def say(self, *words: object) -> str:
        """Tell it, and what it answers."""
        self.tell(*words)
        return self._line()

    def tell(self, *words: object) -> None:
        """Tell it, and do not wait."""
        self.connection.sendall("\t".join(map(str, words)).encode() + b"\n")

    def hear(self) -> str:
        """What it answers to what it was told."""
        return self._line()

    def link(self, way: str = "link") -> str:
        """The view that `current` leads to, for it."""
        said = self.say(way)
        assert said.startswith("views/"), said
        return said.removeprefix("views/")

    def exec(self, *command: object, environ: Mapping[str, str] | None = None) -> None:
        """Become another program, on the same connection."""
        variables = [f"{name}={value}" for name, value in (environ or {}).items()]
        self.tell("exec", len(variables), *variables, command[0], *command, self.descriptor)
        self.greeted()

    def _line(self) -> str:
        while b"\n" not in self._rest:
            part = self.connection.recv(1 << 20)
            if not part:
                raise EOFError(f"process {self.pid} has ended")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "surrogateescape")

    def end(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.connection.close()


@dataclass(eq=False, slots=True, kw_only=True)
class Stage:
    """A mount, projects, and those who ask."""

    places: Places
    home: Path
    store: Store
    interpreter: Interpreter
    asker: Path
    """The compiled program."""
    script: Path
    """The Python program, which belongs to no project."""
    listener: socket.socket
    root: Asker
    """The parent of all that are started; it never asks."""

    def view(self, text: str) -> str:
        """A view that nobody has, one for each text."""
        manifest = self.interpreter.python.manifest(
            (
                skeleton_layer(self.store, self.interpreter),
                notice_layer(self.store, self.interpreter.python, text),
            ),
        )
        registry = Registry(self.places.state / "registry.sqlite3")
        try:
            return publish(self.places, manifest, self.store, registry)
        finally:
            registry.close()

    @property
    def python(self) -> str:
        """The version that the interpreter's views are for."""
        return self.interpreter.python.version

    def project(self, name: str) -> Path:
        """A project's directory, new or as it is."""
        directory = self.home / name
        directory.mkdir(exist_ok=True)
        (directory / "requirements.txt").touch()
        return directory

    def up(self, project: Path, view: str, python: str | None = None) -> None:
        """The project gets that view, as `pkgview up` would do it."""
        projects = self.places.state / "projects"
        record = resolved.load(projects, str(project))
        made = resolved.ResolvedView(
            kind="python", variant=python or self.python, view=ViewId(view), fingerprint=view
        )
        resolved.save(projects, record.with_view(made))
        found = find_project(project)
        assert found is not None
        trust.agree(found, self.places.state, frozenset())
        self.ask("refresh")

    def ask(self, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - as wide as JSON
        """Ask the daemon."""
        endpoint = endpoint_of(self.places, self.places.mount)
        return client.ask(endpoint, operation, seconds=30, **arguments)

    @property
    def daemon(self) -> int:
        """The daemon's pid."""
        return int(self.ask("ping")["pid"])

    def accept(self) -> Asker:
        """The next one that connects."""
        connection, _ = self.listener.accept()
        return Asker(connection=connection)

    def command(self, program: str | Path | None = None) -> list[str]:
        """How an asker is started: the compiled one, or the script that is given.

        `script` itself, which belongs to no project, is run without being one: a script that lies
        elsewhere gets nothing from where it starts.
        """
        first = [os.fspath(self.asker)]
        if program is not None:
            python = [os.fspath(self.interpreter.python.executable), "-S", "-I"]
            code = f"exec(compile(open({os.fspath(program)!r}).read(), 'asker', 'exec'))"
            is_script = os.fspath(program) != os.fspath(self.script)
            first = [*python, *([os.fspath(program)] if is_script else ["-c", code])]
        return [*first, os.fspath(self.places.mount), self.listener.getsockname()]

    def start(
        self,
        *,
        cwd: Path,
        command: Sequence[str] = (),
        pid: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> Asker:
        """One more process, under that pid if it is not 0; `OSError` where it cannot be had."""
        variables = [f"{name}={value}" for name, value in (environ or {}).items()]
        command = command or self.command()
        said = self.root.say("spawn", pid, cwd, len(variables), *variables, command[0], *command)
        if said.startswith("errno "):
            raise OSError(int(said.removeprefix("errno ")), said)
        return self.accept()


@pytest.fixture(scope="module")
def stage(fuse: None) -> Iterator[Stage]:  # noqa: ARG001 - its refusal counts
    """One for all tests of a module."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    with tempfile.TemporaryDirectory(prefix="pkgview-") as temporary, ExitStack() as stack:
        home = Path(temporary)
        stack.callback(tidy, home)
        for name in ("runtime", "nowhere"):
            (home / name).mkdir(mode=0o700)
        environ = {"HOME": temporary, "XDG_RUNTIME_DIR": os.fspath(home / "runtime")}
        places = Places.from_environ(environ)
        here = Path(__file__).parent
        asker, script = home / "asker", home / "asker.py"
        subprocess.run(
            ["gcc", "-O1", "-pthread", "-o", asker, here / "asker.c"],
            check=True,
        )
        shutil.copy(here / "asker.py", script)
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(os.fspath(home / "ask"))
        listener.listen(64)
        listener.settimeout(60)
        kept = {
            name: os.environ[name]
            for name in ("PATH", "PKGVIEW_COMPILE", *CHOSEN)
            if name in os.environ
        }
        _mount(kept | environ)
        stack.enter_context(subprocess.Popen([asker, places.mount, home / "ask"], cwd=home, env={}))
        first = Asker(connection=listener.accept()[0])
        stack.callback(first.end)
        yield Stage(
            places=places, home=home, store=Store(places.store), asker=asker, script=script,
            interpreter=inspect(Path(sys.executable).resolve(), places.state),
            listener=listener, root=first,
        )  # fmt: skip
