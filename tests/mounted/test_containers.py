"""A view, or the whole mount, in containers of podman and of bubblewrap.

The containers have no packages and no Python of their own: `/usr` and the interpreter's prefix
come from the host, so the Python is the same at the same path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.mounted.conftest import Pair

pytestmark = pytest.mark.fuse

PODMAN = (
    "podman", "run", "--rm", "--runtime", "runc", "--cgroup-manager", "cgroupfs",
    "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
)  # fmt: skip

PKGVIEW = Path(sys.executable).with_name("pkgview")

SAY = "import sys, which; print(which.colour, which.__file__, sys.prefix)"

INSTALLED = """
import importlib.metadata as metadata
print(*sorted(found.metadata["Name"] for found in metadata.distributions()))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where containers come from."""

    pair: Pair
    rootfs: Path
    shared: Sequence[Path]
    """What of the host is in every container, at its own path."""

    def podman(self, *command: str, binds: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """What a command prints in a new container."""
        return self.pair.run(
            *self.podman_command(*command, binds=binds, options=options), cwd=self.pair.home
        ).stdout

    def podman_command(
        self, *command: str, binds: Sequence[str] = (), options: Sequence[str] = ()
    ) -> list[str]:
        volumes = [*(f"{path}:{path}:ro" for path in self.shared), *binds]
        given = [word for volume in volumes for word in ("-v", volume)]
        return [*PODMAN, *given, *options, "--rootfs", os.fspath(self.rootfs), *command]

    def bwrap_command(self, *command: str, binds: Sequence[tuple[Path, str]] = ()) -> list[str]:
        shared = [(path, os.fspath(path)) for path in self.shared]
        given = [word for at, to in (*shared, *binds) for word in ("--ro-bind", os.fspath(at), to)]
        links = [word for name in ("bin", "lib", "lib64") for word in
                 ("--symlink", f"usr/{name}", f"/{name}")]  # fmt: skip
        return [
            *("bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"),
            *(*links, *given, "--chdir", "/", *command),
        ]


@pytest.fixture(scope="module")
def host(pair: Pair) -> Iterator[Host]:
    prefix = pair.run(pair.python, "-c", "import sys; print(sys.base_prefix)", cwd=pair.home)
    shared = [Path("/usr")]
    if not Path(prefix.stdout.strip()).is_relative_to("/usr"):
        shared.append(Path(prefix.stdout.strip()))
    with tempfile.TemporaryDirectory(prefix="pkgview-rootfs-") as temporary:
        rootfs = Path(temporary) / "rootfs"
        rootfs.mkdir()
        for name in ("usr", "proc", "dev", "sys", "tmp", "etc"):
            (rootfs / name).mkdir()
        for name in ("bin", "lib", "lib64"):
            (rootfs / name).symlink_to(f"usr/{name}")
        yield Host(pair=pair, rootfs=rootfs, shared=shared)


@pytest.fixture
def podman() -> None:
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    if os.geteuid() != 0:
        pytest.skip("podman is tried as root only")


@pytest.fixture
def bwrap() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("there is no bwrap")


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


@pytest.mark.usefixtures("podman")
def test_a_view_in_a_container_of_podman(host: Host) -> None:
    pair = host.pair
    for root in ("/env", "/opt/deeper/place"):
        bind = [f"{view_of(pair, 'red')}:{root}:ro"]
        said = host.podman(f"{root}/bin/python", "-c", SAY, binds=bind)
        check_environment(said, root)
        said = host.podman(
            f"{root}/bin/which-colour", binds=bind,
            options=["-e", "WHICH=/bin"],
        )  # fmt: skip
        assert said == "red bin\n"
        said = host.podman(f"{root}/bin/python", "-c", INSTALLED, binds=bind)
        assert said == "which\n"


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
def answering(pair: Pair, command: Sequence[str]) -> Iterator[Answering]:
    with subprocess.Popen(
        command, cwd=pair.home, env={**pair.environ, "WHICH": "/pkgview/current"},
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


@pytest.mark.usefixtures("podman")
def test_the_mount_in_a_container_of_podman_that_is_bound(host: Host) -> None:
    pair = host.pair
    name = f"pkgview-test-{os.getpid()}"
    bind = [f"{pair.places.mount}:/pkgview:ro"]
    options = ["-i", "--name", name, "-e", "WHICH=/pkgview/current"]
    command = host.podman_command("/bin/sh", "-c", LOOP, binds=bind, options=options)
    with (
        answering(pair, command) as container,
        answering(
            pair, host.podman_command("/bin/sh", "-c", LOOP, binds=bind, options=options[:1])
        ) as unbound,
    ):
        assert container.sees() == "default none"
        red = os.fspath(pair.directory("red"))
        pair.pkgview("bind", "--container", name, "--project", red, cwd=pair.home)
        assert container.sees() == "red red red"
        assert unbound.sees() == "default none"
        # What is started in it later is in its cgroup, too.
        inside = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "exec", name]
        said = pair.run(*inside, "/pkgview/bin/which-colour", cwd=pair.home)
        assert said.stdout == f"red {pair.views['red']}\n"
        pair.pkgview("unbind", "--container", name, cwd=pair.home)
        assert container.sees() == "default none"


@pytest.mark.usefixtures("podman")
def test_a_container_may_name_its_view(host: Host) -> None:
    pair = host.pair
    # Through `env`: the runtime looks for the program before that has its environment.
    said = host.podman(
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


@pytest.mark.usefixtures("podman")
def test_another_user_in_a_container_needs_allow_other(host: Host) -> None:
    pair = host.pair
    options = ["--user", "1000:1000"]
    closed = host.podman_command(
        "/bin/ls", "/env/", binds=[f"{view_of(pair, 'red')}:/env:ro"], options=options
    )
    said = pair.run(*closed, cwd=pair.home, code=None)
    assert said.returncode != 0
    assert "Permission denied" in said.stderr
    with tempfile.TemporaryDirectory(prefix="pkgview-") as temporary:
        public = Path(temporary)
        public.chmod(0o755)
        mount = public / "mount"
        try:
            pair.pkgview("mount", "--allow-other", mount, cwd=pair.home)
            bind = [f"{mount}/views/{pair.views['red']}:/env:ro"]
            said = pair.run(
                *host.podman_command("/env/bin/python", "-c", SAY, binds=bind, options=options),
                cwd=pair.home,
            )
            check_environment(said.stdout, "/env")
            name = f"pkgview-test-{os.getpid()}"
            command = host.podman_command(
                "/bin/sh", "-c", LOOP, binds=[f"{mount}:/pkgview:ro"],
                options=[*options, "-i", "--name", name, "-e", "WHICH=/pkgview/current"],
            )  # fmt: skip
            with answering(pair, command) as container:
                assert container.sees() == "default none"
                pair.run(
                    PKGVIEW, "bind", "--container", name, "--project",
                    pair.directory("red"), cwd=pair.home,
                    environ={"PKGVIEW_MOUNT": os.fspath(mount)},
                )  # fmt: skip
                assert container.sees() == "red red red"
        finally:
            pair.pkgview("umount", "--force", mount, cwd=pair.home)


# Without root


@pytest.mark.usefixtures("bwrap")
def test_bubblewrap_without_root(ordinary: dict[str, Any], pair: Pair) -> None:
    python = "/usr/bin/python3"
    able = subprocess.run(
        [python, "-c", "import unionfs.cli"], check=False, capture_output=True, **ordinary
    )
    if able.returncode != 0:
        pytest.skip(f"{python} cannot run pkgview")
    home = Path(ordinary["env"]["HOME"])

    def run(*command: str | Path, cwd: Path = home) -> str:
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=120,
            **{**ordinary, "cwd": cwd},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout.strip())

    main = "import sys, unionfs.cli; sys.exit(unionfs.cli.main())"
    project = home / "shop"
    project.mkdir()
    (wheel,) = (pair.home / "wheels").glob("which-1-*")
    wheel = Path(shutil.copy(wheel, home))
    (project / "requirements.txt").write_text(f"which @ {wheel.as_uri()}")
    for path in (project, project / "requirements.txt", wheel):
        os.chown(path, 65534, 65534)
    run(python, "-c", main, "up", "--python", python, cwd=project)
    view = run(python, "-c", main, "view", "--path", cwd=project)
    inside = (
        "bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/",
        "--tmpfs", "/srv", "--proc", "/proc", "--dev", "/dev",
    )  # fmt: skip
    said = run(*inside, "--ro-bind", view, "/srv/env", "/srv/env/bin/python", "-c", SAY)
    check_environment(said, "/srv/env")
    mount = home / ".pkgview"
    whole = (*inside, "--ro-bind", mount, "/srv/pkgview", "readlink", "/srv/pkgview/current")
    assert run(*whole, cwd=project) == f"views/{Path(view).name}"
    assert run(*whole) != f"views/{Path(view).name}"
    bound = run(python, "-c", main, "run", "env", "-u", "PKGVIEW_VIEW", *whole, cwd=project)
    assert bound == f"views/{Path(view).name}"
