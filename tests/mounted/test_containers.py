"""A view, or the whole mount, in containers of podman, of Docker and of bubblewrap.

The containers have no packages and no Python of their own: `/usr` and the interpreter's prefix
come from the host, so the Python is the same at the same path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.mounted.conftest import Pair

pytestmark = pytest.mark.fuse

LIMITS = (
    "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
)  # fmt: skip
PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")

PKGVIEW = Path(sys.executable).with_name("pkgview")

SAY = "import sys, which; print(which.colour, which.__file__, sys.prefix)"

INSTALLED = """
import importlib.metadata as metadata
print(*sorted(found.metadata["Name"] for found in metadata.distributions()))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What of the host is in every container, and where containers come from."""

    pair: Pair
    rootfs: Path
    shared: Sequence[Path]
    """In every container, at its own path."""

    def bwrap_command(self, *command: str, binds: Sequence[tuple[Path, str]] = ()) -> list[str]:
        shared = [(path, os.fspath(path)) for path in self.shared]
        given = [word for at, to in (*shared, *binds) for word in ("--ro-bind", os.fspath(at), to)]
        links = [word for name in ("bin", "lib", "lib64") for word in
                 ("--symlink", f"usr/{name}", f"/{name}")]  # fmt: skip
        return [
            *("bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"),
            *(*links, *given, "--chdir", "/", *command),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What makes containers, and how one is told to."""

    host: Host
    program: Sequence[str]
    image: Sequence[str]
    environ: Mapping[str, str]

    def command(
        self, *command: str, binds: Sequence[str] = (), options: Sequence[str] = ()
    ) -> list[str]:
        """One that runs a command in a new container."""
        volumes = [*(f"{path}:{path}:ro" for path in self.host.shared), *binds]
        given = [word for volume in volumes for word in ("-v", volume)]
        return [*self.program, "run", "--rm", *LIMITS, *given, *options, *self.image, *command]

    def run(self, *command: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a program of the host's that may ask the engine."""
        pair = self.host.pair
        return pair.run(*command, cwd=pair.home, code=code, environ=self.environ)

    def prints(self, *command: str, binds: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """What a command prints in a new container."""
        return self.run(*self.command(*command, binds=binds, options=options)).stdout


def make_rootfs(root: Path) -> None:
    """A container's root without a program: those are the host's."""
    root.mkdir()
    for name in ("usr", "proc", "dev", "sys", "tmp", "etc"):
        (root / name).mkdir()
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")


@pytest.fixture(scope="module")
def host(pair: Pair) -> Iterator[Host]:
    prefix = pair.run(pair.python, "-c", "import sys; print(sys.base_prefix)", cwd=pair.home)
    shared = [Path("/usr")]
    if not Path(prefix.stdout.strip()).is_relative_to("/usr"):
        shared.append(Path(prefix.stdout.strip()))
    with tempfile.TemporaryDirectory(prefix="pkgview-rootfs-") as temporary:
        rootfs = Path(temporary) / "rootfs"
        make_rootfs(rootfs)
        yield Host(pair=pair, rootfs=rootfs, shared=shared)


@pytest.fixture(scope="module")
def podman(host: Host, needs: Callable[..., None]) -> Engine:
    if os.geteuid() != 0:
        pytest.skip("only root's containers have a cgroup everywhere")
    needs("podman", "runc")
    return Engine(host=host, program=PODMAN, image=("--rootfs", os.fspath(host.rootfs)), environ={})


@pytest.fixture(scope="module")
def docker(host: Host, needs: Callable[..., None]) -> Iterator[Engine]:
    """A Docker daemon of our own, that changes nothing of the host's network and images."""
    if os.geteuid() != 0:
        pytest.skip("only root may start a Docker daemon")
    needs("dockerd", "docker", "containerd")
    # Short: sockets lie below, and their names are.
    with tempfile.TemporaryDirectory(prefix="docker-") as temporary:
        there = Path(temporary)
        address = f"unix://{there}/socket"
        command: list[str | Path] = [
            *("dockerd", "--host", address, "--data-root", there / "data"),
            *("--exec-root", there / "exec", "--pidfile", there / "pid"),
            *("--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
        ]
        engine = Engine(
            host=host, program=["docker"], image=["of-the-host"], environ={"DOCKER_HOST": address}
        )
        with (there / "log").open("wb") as log, subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        ) as daemon:  # fmt: skip
            try:
                until = time.monotonic() + 60
                while engine.run("docker", "info", code=None).returncode != 0:
                    said = (there / "log").read_text()
                    assert daemon.poll() is None, said
                    assert time.monotonic() < until, said
                    time.sleep(0.1)
                archive = shutil.make_archive(os.fspath(there / "rootfs"), "tar", host.rootfs)
                engine.run("docker", "import", archive, *engine.image)
                yield engine
            finally:
                daemon.terminate()
                try:
                    daemon.wait(60)
                finally:
                    daemon.kill()


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of those whose containers have a name and a cgroup."""
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bwrap(needs: Callable[..., None]) -> None:
    needs("bwrap")


def view_of(pair: Pair, colour: str) -> Path:
    """As `pkgview view --path` says it."""
    said = pair.pkgview("view", "--path", cwd=pair.directory(colour))
    assert said.stdout == f"{pair.places.mount}/views/{pair.views[colour]}\n"
    return Path(said.stdout.strip())


def check_environment(said: str, root: str) -> None:
    """What `SAY` printed in a working virtual environment at `root`."""
    colour, module, prefix = said.split()
    assert colour == "red"
    assert module.startswith(f"{root}/lib/python3.")
    assert prefix == root


# A view by itself


def test_a_view_in_a_container(engine: Engine) -> None:
    pair = engine.host.pair
    for root in ("/env", "/opt/deeper/place"):
        binds = [f"{view_of(pair, 'red')}:{root}:ro"]
        check_environment(engine.prints(f"{root}/bin/python", "-c", SAY, binds=binds), root)
        said = engine.prints(f"{root}/bin/which-colour", binds=binds, options=["-e", "WHICH=/bin"])
        assert said == "red bin\n"
        assert engine.prints(f"{root}/bin/python", "-c", INSTALLED, binds=binds) == "which\n"


@pytest.mark.usefixtures("bwrap")
def test_a_view_in_bubblewrap(host: Host) -> None:
    pair = host.pair
    binds = [(view_of(pair, "red"), "/env")]
    run = pair.run
    said = run(*host.bwrap_command("/env/bin/python", "-c", SAY, binds=binds), cwd=pair.home)
    check_environment(said.stdout, "/env")
    script = host.bwrap_command("/env/bin/which-colour", binds=binds)
    said = run(*script, cwd=pair.home, environ={"WHICH": "/bin"})
    assert said.stdout == "red bin\n"
    activated = ". /env/bin/activate && which-colour && python -c 'import which'"
    command = host.bwrap_command("/bin/sh", "-c", activated, binds=binds)
    said = run(*command, cwd=pair.home, environ={"WHICH": "/bin"})
    assert (said.stdout, said.stderr) == ("red bin\n", "")


# The whole mount


LOOP = (
    "while read -r word; do readlink /pkgview/current; "
    "/pkgview/bin/python -c 'import which; which.main()' 2>/dev/null || echo none; done"
)


@contextmanager
def answering(
    pair: Pair, command: Sequence[str], environ: Mapping[str, str] | None = None
) -> Iterator[Answering]:
    with subprocess.Popen(
        command, cwd=pair.home,
        env={**pair.environ, "WHICH": "/pkgview/current", **(environ or {})},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Answering(pair, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


class Answering:
    """A shell in a container: each line it is given makes it say what a shell and a Python see."""

    def __init__(self, pair: Pair, process: subprocess.Popen[str]) -> None:
        self._pair = pair
        self._process = process

    def sees(self) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("\n")
        stdin.flush()
        words = [stdout.readline(), *stdout.readline().split()]
        known = {"red", "green", "none"}
        return " ".join(w if w in known else self._pair.colour(w.strip()) for w in words)


def test_the_mount_in_a_container_that_is_bound(engine: Engine) -> None:
    pair = engine.host.pair
    name = f"pkgview-test-{os.getpid()}"
    binds = [f"{pair.places.mount}:/pkgview:ro"]
    options = ["-i", "--name", name, "-e", "WHICH=/pkgview/current"]
    command = engine.command("/bin/sh", "-c", LOOP, binds=binds, options=options)
    another = engine.command("/bin/sh", "-c", LOOP, binds=binds, options=["-i"])
    with (
        answering(pair, command, engine.environ) as container,
        answering(pair, another, engine.environ) as unbound,
    ):
        assert container.sees() == "default none"
        red = pair.directory("red")
        engine.run(PKGVIEW, "bind", "--container", name, "--project", red)
        assert container.sees() == "red red red"
        assert unbound.sees() == "default none"
        # What is started in it later is in its cgroup, too.
        said = engine.run(*engine.program, "exec", name, "/pkgview/bin/which-colour")
        assert said.stdout == f"red {pair.views['red']}\n"
        engine.run(PKGVIEW, "unbind", "--container", name)
        assert container.sees() == "default none"


def test_a_container_may_name_its_view(engine: Engine) -> None:
    pair = engine.host.pair
    # Through `env`: the runtime looks for the program before that has its environment.
    said = engine.prints(
        "/usr/bin/env", "/pkgview/bin/which-colour", binds=[f"{pair.places.mount}:/pkgview:ro"],
        options=["-e", "WHICH=/pkgview/current", "-e", f"PKGVIEW_VIEW={pair.views['red']}"],
    )  # fmt: skip
    assert said == f"red {pair.views['red']}\n"


@pytest.mark.usefixtures("bwrap")
def test_the_mount_in_bubblewrap(host: Host) -> None:
    pair = host.pair
    binds = [(pair.places.mount, "/pkgview")]
    command = host.bwrap_command("/pkgview/bin/which-colour", binds=binds)
    environ = {"WHICH": "/pkgview/current"}
    for colour in ("red", "green"):
        said = pair.run(
            PKGVIEW, "run", "env", "-u", "PKGVIEW_VIEW", *command, cwd=pair.directory(colour),
            environ=environ,
        )  # fmt: skip
        assert said.stdout == f"{colour} {pair.views[colour]}\n"
    with answering(pair, host.bwrap_command("/bin/sh", "-c", LOOP, binds=binds)) as sandbox:
        assert sandbox.sees() == "default none"


# Another user inside


def test_another_user_in_a_container_needs_allow_other(engine: Engine) -> None:
    pair = engine.host.pair
    options = ["--user", "1000:1000"]
    view = view_of(pair, "red")
    closed = engine.command("/bin/ls", "/env/", binds=[f"{view}:/env:ro"], options=options)
    said = engine.run(*closed, code=None)
    assert said.returncode != 0
    assert "Permission denied" in said.stderr
    with tempfile.TemporaryDirectory(prefix="pkgview-") as temporary:
        public = Path(temporary)
        public.chmod(0o755)
        mount = public / "mount"
        try:
            pair.pkgview("mount", "--allow-other", mount, cwd=pair.home)
            binds = [f"{mount}/views/{pair.views['red']}:/env:ro"]
            said_there = engine.prints("/env/bin/python", "-c", SAY, binds=binds, options=options)
            check_environment(said_there, "/env")
            name = f"pkgview-test-{os.getpid()}"
            command = engine.command(
                "/bin/sh", "-c", LOOP, binds=[f"{mount}:/pkgview:ro"],
                options=[*options, "-i", "--name", name, "-e", "WHICH=/pkgview/current"],
            )  # fmt: skip
            with answering(pair, command, engine.environ) as container:
                assert container.sees() == "default none"
                engine.run(
                    *("env", f"PKGVIEW_MOUNT={mount}", PKGVIEW, "bind", "--container", name),
                    *("--project", pair.directory("red")),
                )
                assert container.sees() == "red red red"
        finally:
            pair.pkgview("umount", "--force", mount, cwd=pair.home)


# Without root


PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinary:
    """An ordinary user with a project whose view holds `which`."""

    options: Mapping[str, Any]
    project: Path
    view: Path

    @property
    def home(self) -> Path:
        return self.project.parent

    @property
    def mount(self) -> Path:
        return self.home / ".pkgview"

    def run(self, *command: str | Path, cwd: Path | None = None, **environ: str) -> str:
        options = dict(self.options)
        environ = {**options.pop("env"), **environ}
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL, **{**options, "cwd": cwd or self.home, "env": environ},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout.strip())


MAIN = (PYTHON, "-c", "import sys, unionfs.cli; sys.exit(unionfs.cli.main())")


@pytest.fixture
def someone(ordinary: dict[str, Any], pair: Pair) -> Ordinary:
    able = subprocess.run(
        [PYTHON, "-c", "import unionfs.cli"], check=False, capture_output=True, **ordinary
    )
    if able.returncode != 0:
        pytest.skip(f"{PYTHON} cannot run pkgview")
    home = Path(ordinary["env"]["HOME"])
    project = home / "shop"
    project.mkdir()
    (wheel,) = (pair.home / "wheels").glob("which-1-*")
    wheel = Path(shutil.copy(wheel, home))
    (project / "requirements.txt").write_text(f"which @ {wheel.as_uri()}")
    for path in (project, project / "requirements.txt", wheel):
        os.chown(path, 65534, 65534)
    made = Ordinary(options=ordinary, project=project, view=home)
    made.run(*MAIN, "up", "--python", PYTHON, cwd=project)
    return replace(made, view=Path(made.run(*MAIN, "view", "--path", cwd=project)))


@pytest.mark.usefixtures("bwrap")
def test_bubblewrap_without_root(someone: Ordinary) -> None:
    inside = (
        "bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/",
        "--tmpfs", "/srv", "--proc", "/proc", "--dev", "/dev",
    )  # fmt: skip
    run, view, project = someone.run, someone.view, someone.project
    said = run(*inside, "--ro-bind", view, "/srv/env", "/srv/env/bin/python", "-c", SAY)
    check_environment(said, "/srv/env")
    whole = (*inside, "--ro-bind", someone.mount, "/srv/pkgview", "readlink",
             "/srv/pkgview/current")  # fmt: skip
    assert run(*whole, cwd=project) == f"views/{view.name}"
    assert run(*whole) != f"views/{view.name}"
    bound = run(*MAIN, "run", "env", "-u", "PKGVIEW_VIEW", *whole, cwd=project)
    assert bound == f"views/{view.name}"


def test_podman_without_root(someone: Ordinary, needs: Callable[..., None]) -> None:
    needs("podman", "runc")
    rootfs = someone.home / "rootfs"
    make_rootfs(rootfs)
    runtime = someone.home / "run"
    runtime.mkdir(mode=0o700)
    for path in (runtime, rootfs, *rootfs.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)

    def podman(*words: str) -> str:
        return someone.run(*PODMAN, *words, XDG_RUNTIME_DIR=os.fspath(runtime))

    def container(bind: str, *command: str) -> str:
        shared = ("-v", "/usr:/usr:ro", "-v", bind)
        return podman("run", "--rm", *LIMITS, *shared, "--rootfs", os.fspath(rootfs), *command)

    view = someone.view
    try:
        check_environment(container(f"{view}:/env:ro", "/env/bin/python", "-c", SAY), "/env")
        look = (f"{someone.mount}:/pkgview:ro", "readlink", "/pkgview/current")
        assert container(*look) != f"views/{view.name}"
        named = (look[0], "/usr/bin/env", f"PKGVIEW_VIEW={view.name}", *look[1:])
        assert container(*named) == f"views/{view.name}"
    finally:
        podman("system", "migrate")  # ends the process that keeps the user namespace
