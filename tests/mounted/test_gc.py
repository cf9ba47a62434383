"""`pkgview gc`: what nothing needs goes, what anybody uses stays, whoever makes views meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from resolver.manifest import ViewId
from unionfs.control.endpoint import endpoint_of
from unionfs.store.arrival import ATTRIBUTE
from unionfs.upkeep import collect
from unionfs.upkeep.collect import ON_ITS_WAY
from unionfs.upkeep.inuse import Survey, survey
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

T = TypeVar("T")

ONCE = 1_000_000_000
"""2001-09-09T01:46:40Z"""

LATE = "print('ready', flush=True); input(); import {name}; print({name}.version)"
"""A program that reads from its view when it is told to, long after it started."""


def project(shop: Site, name: str, *requirements: str) -> Path:
    directory: Path = shop.project(name)
    (directory / "requirements.txt").write_text("\n".join(requirements) + "\n")
    return directory


def kept(shop: Site) -> set[str]:
    """The distributions in the store."""
    names = os.listdir(shop.places.store / "archives")
    return {name.split("-")[0] for name in names if name.startswith(("alpha", "beta", "gamma"))}


def gc(shop: Site, *options: str) -> dict[str, Any]:
    said = shop.pkgview("gc", "--json", *options, cwd=shop.home)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def taken(collector: Callable[[], T]) -> T:
    """What a collector takes, which has something to take.

    Programs of other tests, of which cannot be told how they were started, may keep it for a while.
    """
    deadline = time.monotonic() + 30
    while True:
        found = collector()
        views = found["views"] if isinstance(found, dict) else getattr(found, "views", found)
        if views or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def age(shop: Site) -> None:
    """As if a while had passed since anything was written down."""
    passed = ON_ITS_WAY + 60
    before = time.time() - passed
    for path in (shop.places.state / "used").iterdir():
        boot, made, last = path.read_text().split()
        path.write_text(f"{boot} {float(made) - passed} {float(last) - passed}\n")
    for place in (shop.places.state / "manifests", shop.places.store / "archives"):
        for path in place.iterdir():
            came(path, before)


def came(path: Path, when: float) -> None:
    """As if an archive or a manifest were from that time."""
    path.chmod(0o644)
    with suppress(OSError):  # then the time of modification counts
        os.removexattr(path, ATTRIBUTE)
    os.utime(path, (when, when))


@pytest.fixture
def stocked(shop: Site, index: Index) -> Site:
    for name in ("alpha", "beta", "gamma"):
        index.wheel(name)
    return shop


def late(shop: Site, directory: Path, *command: str | Path, name: str = "alpha") -> Late:
    return Late(shop, directory, *command, "-c", LATE.format(name=name))


class Late:
    """A program that runs, and reads later."""

    def __init__(
        self, shop: Site, directory: Path, *command: str | Path, path: Path | None = None
    ) -> None:
        self.process = subprocess.Popen(
            command, cwd=directory, env=shop.environ, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout
        assert self.process.stdin
        if path is not None:
            (packages,) = path.glob(".venv/lib/python*/site-packages")
            self.process.stdin.write(f"{packages}\n")
            self.process.stdin.flush()
        self.said = self.process.stdout.readline()

    def goes_on(self) -> str:
        return self.process.communicate("\n", timeout=60)[0]


@pytest.fixture
def running() -> Iterator[list[Late]]:
    programs: list[Late] = []
    yield programs
    for program in programs:
        program.process.kill()
        program.process.communicate()


def test_what_no_project_needs_goes_and_all_else_stays(stocked: Site) -> None:
    one, two = project(stocked, "one", "alpha", "beta"), project(stocked, "two", "beta", "gamma")
    stocked.up(one)
    stocked.up(two)
    assert gc(stocked)["archives"] == []
    assert kept(stocked) == {"alpha", "beta", "gamma"}
    shutil.rmtree(one)
    found = taken(lambda: gc(stocked, "--dry-run"))
    assert [one["archive"].split("-")[0] for one in found["archives"]] == ["alpha"]
    assert kept(stocked) == {"alpha", "beta", "gamma"}
    # By whatever key it is known, those of earlier versions too.
    former = stocked.places.store / "derived" / f"editable-{'0' * 64}"
    former.symlink_to(f"../archives/{found['archives'][0]['archive']}")
    assert taken(lambda: gc(stocked))["archives"] == found["archives"]
    assert kept(stocked) == {"beta", "gamma"}
    assert not former.is_symlink()
    # Nor is anything left of how it was resolved, and what led to its view.
    state = stocked.places.state
    for kind in ("locks", "trusted"):
        assert [path.name.rpartition("-")[0] for path in (state / kind).iterdir()] == ["two"]
    assert gc(stocked)["views"] == []
    stocked.pkgview("store", "verify", cwd=two)
    python = two / ".venv/bin/python"
    assert stocked.run(python, "-c", "import beta, gamma; print(1)", cwd=two).stdout == "1\n"
    # What is gone is made again like anything else.
    assert stocked.up(project(stocked, "one", "alpha", "beta"))["fetched"] == 1


def test_a_view_that_is_gone_is_not_there_and_comes_back_whole(stocked: Site) -> None:
    directory = project(stocked, "one", "alpha")
    view = stocked.up(directory)["view"]
    views = stocked.places.mount / "views"
    seen = {path.name for path in (views / view).rglob("*")}
    shutil.rmtree(directory)
    assert taken(lambda: gc(stocked))["views"] == [view]
    with pytest.raises(FileNotFoundError):
        (views / view).stat()
    assert view not in os.listdir(views)
    assert stocked.run("find", views, cwd=stocked.home).stderr == ""
    with closing(Registry(stocked.places.state / "registry.sqlite3")) as registry:
        assert registry.view_number(ViewId(view)) is None or registry.views()[-1][1] == view
        assert len(registry.views()) <= 2
        assert len(registry.archives()) <= 3
    directory = project(stocked, "one", "alpha")
    assert stocked.up(directory)["view"] == view
    assert {path.name for path in (views / view).rglob("*")} == seen
    assert (
        stocked.run(directory / ".venv/bin/python", "-c", "import alpha", cwd=directory).stderr
        == ""
    )
    # Also where nobody looked in between: the numbers are those that the next server knows.
    (module,) = directory.glob(".venv/lib/python*/site-packages/alpha.py")
    package = next((stocked.places.mount / "packages").glob("alpha-*"))
    before = module.stat().st_ino, package.stat().st_ino
    shutil.rmtree(directory)
    assert taken(lambda: gc(stocked))["views"] == [view]
    directory = project(stocked, "one", "alpha")
    assert stocked.up(directory)["view"] == view
    now = module.stat().st_ino, package.stat().st_ino
    assert [one != other for one, other in zip(before, now, strict=True)] == [True, True]
    stocked.pkgview("upgrade", cwd=directory)
    assert (module.stat().st_ino, package.stat().st_ino) == now
    assert module.read_text()
    assert [path.name for path in package.iterdir()]


def test_what_killed_processes_left_goes(stocked: Site) -> None:
    stocked.up(project(stocked, "one", "alpha"))
    state, cache, store = stocked.places.state, stocked.places.cache, stocked.places.store
    left = [
        *(state / name / ".tmp-1" for name in ("", "interpreters", "manifests", "remembered")),
        *(store / name / ".tmp-1" for name in ("archives", "derived", "users")),
        *(cache / name for name in ("downloads/fetch-1", "builds/build-1", "bytecode/compile-1")),
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.name == "derived":  # a link cannot be locked: its age counts
            path.symlink_to("../archives/alpha")
            os.utime(path, (1, 1), follow_symlinks=False)
        elif path.is_relative_to(cache):
            path.mkdir()
        else:
            path.touch()
    old, new = (cache / "uv" / name for name in ("old", "new"))
    for path in (old, new):
        path.mkdir(parents=True)
    os.utime(old, (ONCE, ONCE))
    gc(stocked)
    assert [path for path in (*left, old) if os.path.lexists(path)] == []
    assert new.exists()


def test_a_view_that_was_replaced_goes_when_nothing_can_be_on_its_way_to_it(stocked: Site) -> None:
    directory = project(stocked, "one", "alpha")
    first = stocked.up(directory)["view"]
    (directory / "requirements.txt").write_text("beta\n")
    stocked.up(directory)
    assert gc(stocked)["views"] == []
    age(stocked)
    assert taken(lambda: gc(stocked))["views"] == [first]
    assert kept(stocked) == {"beta"}


def test_what_was_imported_again_is_on_its_way_whatever_had_it_before(stocked: Site) -> None:
    directory = project(stocked, "one", "alpha")
    view = stocked.up(directory)["view"]
    file = stocked.home / "one.tar"
    stocked.pkgview("store", "export", file, directory, cwd=directory)
    stocked.pkgview("forget", directory, cwd=directory)
    age(stocked)
    assert "there already: 1" in stocked.pkgview("store", "import", file, cwd=stocked.home).stderr
    assert taken(lambda: gc(stocked))["views"] == [view]
    assert kept(stocked) == {"alpha"}
    age(stocked)
    gc(stocked)
    assert kept(stocked) == set()


def test_another_state_of_the_same_store_keeps_what_it_needs(stocked: Site) -> None:
    """Of one user, whose store is nobody else's."""
    one, two = project(stocked, "one", "alpha", "beta"), project(stocked, "two", "beta", "gamma")
    view = stocked.up(one)["view"]
    places = {"XDG_STATE_HOME": "elsewhere", "PKGVIEW_MOUNT": "another mount"}
    elsewhere = {name: os.fspath(stocked.home / path) for name, path in places.items()}

    def there(*command: str) -> str:
        return stocked.pkgview(*command, cwd=two, environ=elsewhere).stdout

    there("up", "--no-mount")
    age(stocked)
    there("gc")
    assert kept(stocked) == {"alpha", "beta", "gamma"}
    assert stocked.run(one / ".venv/bin/python", "-c", "import alpha", cwd=one).stderr == ""
    # And the other way round; but neither keeps what only the other has needed.
    shutil.rmtree(one)
    assert taken(lambda: gc(stocked))["views"] == [view]
    assert kept(stocked) == {"beta", "gamma"}
    # Nobody knows whether there is no such state any more, or it is elsewhere; but it is silent.
    shutil.rmtree(stocked.home / "elsewhere")
    assert gc(stocked)["silent"] == []
    assert kept(stocked) == {"beta", "gamma"}
    for path in (stocked.places.store / "users").iterdir():
        os.utime(path, (ONCE, ONCE))
    said = stocked.pkgview("gc", "--dry-run", cwd=stocked.home).stderr
    assert said.count(f"of user {os.geteuid()} since 2001-09-09T01:46:40+00:00") == 1
    assert gc(stocked)["silent"] == [{"user": os.geteuid(), "told": "2001-09-09T01:46:40+00:00"}]
    assert kept(stocked) == set()
    assert gc(stocked)["silent"] == []


def test_who_only_added_a_store_keeps_what_it_takes_from_there(stocked: Site) -> None:
    one, two = project(stocked, "one", "alpha"), project(stocked, "two", "alpha")
    names = ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "PKGVIEW_MOUNT")
    elsewhere = {name: os.fspath(stocked.home / "elsewhere" / name) for name in names}

    def there(*command: str | Path) -> str:
        return stocked.pkgview(*command, cwd=two, environ=elsewhere).stdout

    stocked.up(one)
    store = stocked.places.store
    there("store", "add", store)
    assert json.loads(there("up", "--no-mount", "--json"))["fetched"] == 0
    there("gc")
    shutil.rmtree(one)
    age(stocked)
    taken(lambda: gc(stocked))
    assert kept(stocked) == {"alpha"}
    there("store", "remove", store)
    gc(stocked)
    assert kept(stocked) == set()
    assert json.loads(there("up", "--no-mount", "--json"))["fetched"] == 1
    # By another path it is the own one, where all is needed.
    (stocked.home / "link").symlink_to(stocked.home / "elsewhere/XDG_DATA_HOME/pkgview/store")
    there("store", "add", "--shared", stocked.home / "link")
    there("gc")
    (told,) = (stocked.home / "link/users").iterdir()
    assert "alpha" in told.read_text()


def test_a_program_keeps_the_view_that_its_project_had(
    stocked: Site, running: list[Late], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started through .venv, the daemon never saw it; and it reads only after the collection."""
    directory = project(stocked, "one", "alpha")
    stocked.up(directory)
    python = directory / ".venv/bin/python"
    running.append(late(stocked, directory, python))
    running.append(
        late(stocked, stocked.home, stocked.places.mount.parent / "one/.venv/bin/python")
    )
    environ = f"PATH={directory}/.venv/bin:/usr/bin:/bin"
    running.append(late(stocked, stocked.home, "/usr/bin/env", environ, "python"))
    forked = "import os; os.fork() and os._exit(0); " + LATE.format(name="alpha")
    running.append(Late(stocked, directory, python, "-c", forked))
    running.append(late(stocked, directory, stocked.places.mount / "bin/python"))
    assert [program.said for program in running] == ["ready\n"] * len(running)
    (directory / "requirements.txt").write_text("beta\n")
    stocked.up(directory)
    monkeypatch.setattr(collect, "ON_ITS_WAY", 0.0)
    while running:  # each alone keeps it
        assert collect.collect(stocked.places, collect.Limits()) is not None
        assert kept(stocked) == {"alpha", "beta"}
        assert running.pop().goes_on() == "1.0\n"
    assert taken(lambda: collect.collect(stocked.places, collect.Limits())) is not None
    assert kept(stocked) == {"beta"}


QUIET = """
import ctypes, mmap, os, sys, threading
os.chdir('/')
def read():
    while 'leaderless' in sys.argv and ') Z ' not in open('/proc/self/stat').read():
        pass
    print('ready', flush=True)
    input()
    import alpha
    print(alpha.version, flush=True)
    os._exit(0)
for what in sys.argv[1:]:
    if what.endswith('.so'):
        file = open(what, 'rb')
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    if what == 'closed':
        os.closerange(3, 1024)
    if what.startswith(('title', 'written over')):
        ends = open('/proc/self/stat').read().rpartition(')')[2].split()
        start, end = int(ends[45]), int(ends[46 if what.startswith('title') else 48])
        ctypes.memset(start, 0, end - start)
        title = what.removeprefix('title').encode()
        ctypes.memmove(start, title, len(title))
    if what == 'leaderless':
        threading.Thread(target=read).start()
        ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)
read()
"""
"""A server; its arguments say what it does to be overlooked."""


IMPATIENT = """
from resolver.places import Places
from unionfs.upkeep import collect
collect.ON_ITS_WAY = 0.0
print(*collect.collect(Places.from_environ(), collect.Limits()).views)
"""
"""A collector to which nothing is on its way any more."""


def replaced(shop: Site, directory: Path) -> None:
    """The project gets another view."""
    (directory / "requirements.txt").write_text("beta\n")
    shop.up(directory)


def collected(shop: Site, *within: str) -> list[str]:
    """The views that such a collector takes."""
    return shop.run(*within, sys.executable, "-c", IMPATIENT, cwd=shop.home).stdout.split()


def test_a_program_whose_start_cannot_be_told_keeps_its_view(
    stocked: Site, running: list[Late], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that went to / and closed all after they were started."""
    directory = project(stocked, "one", "alpha")
    first = stocked.up(directory)["view"]
    script, other = stocked.home / "server.py", stocked.home / "lib/python3/site-packages/x.so"
    script.write_text(QUIET)
    server = (script, "closed")
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(4096))
    bare = ("env", f"PATH={directory}/.venv/bin:/usr/bin:/bin", "python", *server)
    (stocked.home / "link").symlink_to(directory / ".venv")
    by_link = (stocked.home / "link/bin/python", *server)
    by_path = (directory / ".venv/bin/python", *server)
    shell = ("env", f"VIRTUAL_ENV={directory}/.venv", "sh", "-c", "echo ready; read l; echo 1.0")
    # How each was started, by what happens to its project afterwards.
    commands = {
        "another view": [
            *((".venv/bin/python", *server, *what)
              for what in ((), ("title",), ("titletail",), ("written over",), ("leaderless",),
                           (other,))),
            bare, by_path, by_link, shell,
        ],
        "another environment": [bare, by_path, by_link, shell],
        "no environment": [bare, by_path, by_link, shell],
        "no link": [by_link],
        "no project": [by_path],
    }  # fmt: skip
    programs = {
        what: [Late(stocked, directory, *command) for command in several]
        for what, several in commands.items()
    }
    running += [program for several in programs.values() for program in several]
    assert [program.said for program in running] == ["ready\n"] * len(running)
    monkeypatch.setattr(collect, "ON_ITS_WAY", 0.0)
    for what, several in programs.items():
        match what:
            case "another view":
                replaced(stocked, directory)
            case "another environment":
                stocked.pkgview("down", cwd=directory)
                stocked.run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=directory)
            case "no environment":
                shutil.rmtree(directory / ".venv")
            case "no link":
                (stocked.home / "link").unlink()
            case _:
                shutil.rmtree(directory)
        found = {one.pid: one for one in survey(stocked.places).programs}
        for program in several:  # each by itself keeps it
            alone = Survey(named=frozenset(), programs=(found[program.process.pid],))
            planned = collect.plan(stocked.places, alone, collect.Limits()).views
            assert first not in planned, (what, program.process.args)
        assert collect.collect(stocked.places, collect.Limits()) is not None
        assert [program.goes_on() for program in several] == ["1.0\n"] * len(several)
    done = taken(lambda: collect.collect(stocked.places, collect.Limits()))
    assert done is not None
    assert first in done.views


INSIDE = """
import os, sys
path = os.path.realpath(sys.stdin.readline().strip())
os.chdir('/')
os.closerange(3, 1024)
print('ready', flush=True)
input()
sys.path.append(path)
import alpha
print(alpha.version)
"""

MEMORY = """
import os, sys
file = os.memfd_create('server')
os.write(file, open({static!r}, 'rb').read())
os.execve(file, ['.venv/bin/python', *sys.argv[1:]], dict(os.environ))
"""
"""Become a copy of that program that is in memory only."""


def test_a_program_that_has_python_inside_keeps_its_view(
    stocked: Site, running: list[Late]
) -> None:
    """It is no interpreter by its name, and says nothing; or only its variables lead to a view."""
    directory = project(stocked, "one", "alpha")
    view = stocked.up(directory)["view"]
    server = stocked.home / "server"
    shutil.copy(os.path.realpath(sys.executable), server)
    home = ["env", "-i", f"PYTHONHOME={sys.base_prefix}", f"LD_LIBRARY_PATH={sys.base_prefix}/lib"]
    if "libpython" in stocked.run("ldd", server, cwd=stocked.home).stdout:
        running.append(Late(stocked, stocked.home, *home, server, "-Sc", INSIDE, path=directory))
    static = Path("/usr/bin/python3").resolve()
    if static.exists() and "libpython" not in stocked.run("ldd", static, cwd=stocked.home).stdout:
        # By another name, or by none: it was started as an interpreter all the same.
        shutil.copy(static, stocked.home / "static")
        renamed = ("bash", "-c", 'exec -a .venv/bin/python "$@"', "bash", stocked.home / "static")
        memory = (static, "-c", MEMORY.format(static=str(static)))
        running.append(Late(stocked, directory, *renamed, "-SIc", INSIDE, path=directory))
        running.append(Late(stocked, directory, *memory, "-SIc", INSIDE, path=directory))
    for variable in (f"VIRTUAL_ENV={directory}/.venv", f"PATH={directory}/.venv/bin:/usr/bin"):
        shell = ("/bin/sh", "-c", "cd /; echo ready; read line; echo 1.0")
        running.append(Late(stocked, stocked.home, "env", "-i", variable, *shell))
    assert [program.said for program in running] == ["ready\n"] * len(running)
    replaced(stocked, directory)
    speaking = {one.pid for one in survey(stocked.places).programs}
    assert speaking >= {program.process.pid for program in running}  # each by itself
    while running:
        assert collected(stocked) == []
        assert running.pop().goes_on() == "1.0\n"
    assert taken(lambda: collected(stocked)) == [view]


WATCHING = """
import ctypes, os, sys
path = os.path.join(os.path.realpath(sys.stdin.readline().strip()), sys.argv[1])
libc = ctypes.CDLL(None)
watch = libc.inotify_init1(0)
assert libc.inotify_add_watch(watch, path.encode(), 2) > 0
os.chdir('/')
print('ready', flush=True)
input()
print(os.path.exists(path))
"""


@pytest.mark.parametrize("what", ["alpha-1.0.dist-info", "alpha.py"])
def test_what_somebody_watches_stays(stocked: Site, running: list[Late], what: str) -> None:
    """Nothing of it is open: a program that loads anew what has changed."""
    directory = project(stocked, "one", "alpha")
    first = stocked.up(directory)["view"]
    command = ("env", "-i", sys.executable, "-Sc", WATCHING, what)
    running.append(Late(stocked, stocked.home, *command, path=directory))
    assert running[0].said == "ready\n"
    replaced(stocked, directory)
    assert collected(stocked) == []
    if os.geteuid() == 0:  # a pid namespace of one's own needs root; the daemon sees it, then
        assert collected(stocked, "unshare", "--pid", "--fork", "--mount-proc") == []
    assert running[0].goes_on() == "True\n"
    assert taken(lambda: collected(stocked)) == [first]


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace of one's own needs root")
@pytest.mark.parametrize("what", [(), ("closed",)], ids=repr)
def test_programs_outside_of_the_collector_s_pid_namespace(
    stocked: Site, running: list[Late], what: tuple[str, ...]
) -> None:
    directory = project(stocked, "one", "alpha")
    first = stocked.up(directory)["view"]
    (directory / "server.py").write_text(QUIET)
    running.append(Late(stocked, directory, ".venv/bin/python", "server.py", *what))
    replaced(stocked, directory)
    inside = ("unshare", "--pid", "--fork", "--mount-proc")
    assert collected(stocked, *inside) == []
    assert running[0].goes_on() == "1.0\n"
    assert taken(lambda: collected(stocked, *inside)) == [first]


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")
def test_who_cannot_ask_the_daemon_collects_nothing(stocked: Site, running: list[Late]) -> None:
    """In a container that shares store and state, and neither mount, socket nor processes."""
    runtime = stocked.home / "runtime"
    runtime.mkdir(mode=0o700)
    stocked.pkgview("mount", cwd=stocked.home, environ={"XDG_RUNTIME_DIR": str(runtime)})
    directory = project(stocked, "one", "alpha")
    first = stocked.up(directory)["view"]
    running.append(late(stocked, directory, ".venv/bin/python"))
    assert running[0].said == "ready\n"
    replaced(stocked, directory)
    script = (
        f'umount -l {stocked.places.mount}; mount -t tmpfs -o mode=700 none {runtime}; exec "$@"'
    )
    apart = ("unshare", "-pfm", "--mount-proc", "sh", "-c", script, "sh")
    command = (*apart, sys.executable, "-c", IMPATIENT)
    daemon = json.loads(stocked.pkgview("status", "--json", cwd=stocked.home).stdout)["pid"]
    for what in ("lives", "was upgraded", "lost its supervisor"):
        match what:
            case "was upgraded":
                stocked.pkgview("upgrade", cwd=stocked.home)
            case "lost its supervisor":
                os.kill(daemon, signal.SIGKILL)
        said = stocked.run(*command, cwd=stocked.home, code=1).stderr
        assert f"the daemon of {stocked.places.mount} cannot be asked from here" in said, what
        assert collected(stocked) == []
    assert running[0].goes_on() == "1.0\n"
    assert taken(lambda: collected(stocked)) == [first]
    stocked.pkgview("umount", cwd=stocked.home)
    assert stocked.run(*command, cwd=stocked.home).stdout == "\n"
    assert not list((stocked.places.state / "daemons").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")
def test_whom_no_proc_shows_the_kernel_knows(stocked: Site, running: list[Late]) -> None:
    directory = project(stocked, "one", "alpha")
    view = ViewId(stocked.up(directory)["view"])
    path = stocked.places.mount / "views" / view
    kernel = survey(stocked.places)
    for command, cwd in (
        (("/bin/sh", "-c", "echo ready; read line; /bin/pwd"), path / "lib"),
        (("/bin/sh", "-c", f"exec 3<{path}/pyvenv.cfg; echo ready; read line"), "/"),
        (("unshare", "-m", "/bin/sh", "-c",
          f"mount --bind {path}/lib /mnt; echo ready; read line; ls /mnt"), "/"),
        ((path / "bin/python", "-c", LATE.format(name="alpha")), "/"),
    ):  # fmt: skip
        running.append(Late(stocked, Path(cwd), *command))
        assert running[-1].said == "ready\n"
        assert kernel.held([view]) == {view}
        said = running.pop().goes_on()
        assert said.strip() in {f"{path}/lib", "", os.listdir(path / "lib")[0], "1.0"}
        assert kernel.held([view]) == set()
    assert stocked.run(path / "bin/python", "-c", "import alpha", cwd=stocked.home).stderr == ""


def test_a_clock_that_is_set_makes_nothing_old(
    stocked: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = project(stocked, "one", "alpha")
    stocked.up(directory)
    (directory / "requirements.txt").write_text("beta\n")
    stocked.up(directory)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 7200)
    found = collect.collect(stocked.places, collect.Limits())
    assert found is not None
    assert found.views == ()


def test_each_witness_alone_keeps_a_view(stocked: Site, running: list[Late]) -> None:
    directory = project(stocked, "one", "alpha")
    view = stocked.up(directory)["view"]
    path = stocked.places.mount / "views" / view
    python = path / "bin/python"
    shutil.rmtree(directory)
    sleep = ("/bin/sh", "-c", "echo ready; read line; echo over")
    for command, cwd in (
        ((python, "-c", LATE.format(name="alpha")), stocked.home),
        (sleep, path / "bin"),
        (("/usr/bin/env", f"SOME={path}", *sleep), stocked.home),
        ((*sleep, str(path)), stocked.home),
        (("/bin/sh", "-c", f"exec 3<{path}/pyvenv.cfg; echo ready; read line"), stocked.home),
    ):
        running.append(Late(stocked, cwd, *command))
        assert running[-1].said == "ready\n"
        assert gc(stocked)["views"] == []
        assert kept(stocked) == {"alpha"}
        running.pop().goes_on()
    assert taken(lambda: gc(stocked))["views"] == [view]
    assert kept(stocked) == set()


def test_an_archive_that_somebody_looks_at_stays(stocked: Site, running: list[Late]) -> None:
    directory = project(stocked, "one", "alpha")
    stocked.up(directory)
    shutil.rmtree(directory)
    (path,) = (stocked.places.mount / "packages").glob("alpha-*")
    look = ("/bin/sh", "-c", "echo ready; read line; cat purelib/alpha.py")
    running.append(Late(stocked, path, *look))
    assert gc(stocked)["archives"] == []
    assert "version = '1.0'" in running.pop().goes_on()
    assert len(taken(lambda: gc(stocked))["archives"]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_view_that_is_bound_elsewhere_stays(stocked: Site) -> None:
    directory = project(stocked, "one", "alpha")
    view = stocked.up(directory)["view"]
    bound = stocked.home / "container"
    bound.mkdir()
    source = stocked.places.mount / "views" / view
    if subprocess.run(["mount", "--bind", source, bound], check=False).returncode:
        pytest.skip("no bind mounts here")
    try:
        shutil.rmtree(directory)
        assert gc(stocked)["views"] == []
        found = stocked.run(bound / "bin/python", "-c", "import alpha; print(1)", cwd=stocked.home)
        assert found.stdout == "1\n"
    finally:
        subprocess.run(["umount", bound], check=True)
    assert taken(lambda: gc(stocked))["views"] == [view]


def test_pins_and_limits(stocked: Site) -> None:
    for name in ("alpha", "beta", "gamma"):
        view = stocked.up(project(stocked, name, name))["view"]
    stocked.pkgview("store", "pin", cwd=stocked.home / "gamma")
    listed = stocked.pkgview("store", "pin", "--list", cwd=stocked.home).stdout
    assert listed.split() == ["view", "project", view, str(stocked.home / "gamma")]
    for name in ("alpha", "beta", "gamma"):
        shutil.rmtree(stocked.home / name)
    for name, days in (("alpha", 20), ("beta", 10)):
        (path,) = (stocked.places.store / "archives").glob(f"{name}-*")
        came(path, time.time() - days * 86400)
        for manifest in (stocked.places.state / "manifests").iterdir():
            if path.name in manifest.read_text():
                came(manifest, time.time() - days * 86400)
    assert gc(stocked, "--max-age", "30d")["archives"] == []
    assert gc(stocked, "--max-size", "1 GB")["archives"] == []
    total = json.loads(stocked.pkgview("store", "--json", cwd=stocked.home).stdout)["size"]
    gc(stocked, "--max-size", f"{total - 1}")
    assert kept(stocked) == {"beta", "gamma"}
    gc(stocked, "--max-age", "5d")
    assert kept(stocked) == {"gamma"}
    assert gc(stocked)["archives"] == []
    stocked.pkgview("store", "unpin", view, cwd=stocked.home)
    stocked.pkgview("store", "unpin", view, cwd=stocked.home, code=1)
    taken(lambda: gc(stocked))
    assert kept(stocked) == set()
    for wrong in (("--max-age", "soon"), ("--max-size", "much")):
        assert wrong[1] in stocked.pkgview("gc", *wrong, cwd=stocked.home, code=2).stderr


def test_a_size_that_is_configured_holds_by_itself(stocked: Site) -> None:
    stocked.up(project(stocked, "one", "alpha"))
    shutil.rmtree(stocked.home / "one")
    stocked.places.config.mkdir(parents=True)
    (stocked.places.config / "config.toml").write_text('[gc]\nmax-size = "1 kB"\n')
    two = project(stocked, "two", "beta")
    said = stocked.pkgview("up", cwd=two)
    for number in range(100):
        if kept(stocked) == {"beta"}:
            break
        time.sleep(0.2)  # a program of another test may keep it for a while, see `taken`
        (two / "requirements.txt").write_text(f"beta\n# {number}\n")
        said = stocked.pkgview("up", cwd=two)
    assert kept(stocked) == {"beta"}
    assert "gc.max-size" in said.stderr
    assert "store du" in said.stderr


def test_du(stocked: Site) -> None:
    for name, needs in (("one", ["alpha", "beta"]), ("two", ["beta", "gamma"])):
        stocked.up(project(stocked, name, *needs))
    found = json.loads(stocked.pkgview("store", "du", "--json", cwd=stocked.home).stdout)
    sizes = {
        one["archive"].split("-")[0]: one["size"]
        for one in json.loads(stocked.pkgview("store", "--json", cwd=stocked.home).stdout)[
            "archives"
        ]
    }
    one = next(share for share in found["projects"] if share["project"].endswith("one"))
    assert one["alone"] == sizes["alpha"]
    assert one["size"] == sizes["alpha"] + sizes["beta"] + sizes["skeleton"]
    assert one["part"] == round(sizes["alpha"] + (sizes["beta"] + sizes["skeleton"]) / 2)
    assert found["shared"] == sizes["beta"] + sizes["skeleton"]
    shutil.rmtree(stocked.home / "one")
    assert taken(lambda: gc(stocked))["freed"] == one["alone"]


def test_a_project_that_is_there_can_be_forgotten(stocked: Site, running: list[Late]) -> None:
    """And what runs as `.venv/bin/…` is seen, and keeps what it has."""
    one, two = project(stocked, "one", "alpha", "beta"), project(stocked, "two", "beta")
    view = stocked.up(one)["view"]
    stocked.up(two)
    running.append(late(stocked, one, ".venv/bin/python"))
    # Without `site`, and so without a word; its arguments alone say where it came from.
    running.append(late(stocked, one, ".venv/bin/python", "-S"))
    seen = json.loads(stocked.pkgview("ps", "--json", cwd=two).stdout)["processes"]
    (shown,) = [each for each in seen if each["pid"] == running[0].process.pid]
    assert (shown["view"], shown["project"], shown["rule"]) == (view, str(one), "path")
    assert shown["program"].startswith(".venv/bin/python -c ")
    assert shown["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert 0 <= shown["seconds"] < 100
    table = stocked.pkgview("ps", cwd=two).stdout
    assert f"{shown['pid']}  .venv/bin/python" in table
    listed = json.loads(stocked.pkgview("projects", "--json", cwd=two).stdout)
    assert [(each["project"], each["exists"]) for each in listed] == [
        (str(one), True),
        (str(two), True),
    ]
    assert listed[0]["alone"] > 0
    assert listed[0]["views"][0]["view"] == view

    said = stocked.pkgview("forget", cwd=one).stderr
    assert said == (
        f"Removed {one}/.venv.\nForgot {one}. `pkgview gc` removes what only it needed.\n"
    )
    state = stocked.places.state
    for place in ("projects", "locks", "trusted"):
        left = [each.name for each in (state / place).iterdir() if each.suffix != ".forgotten"]
        assert [name.startswith("two-") for name in left] == [True], place
    assert str(one) not in stocked.pkgview("projects", cwd=two).stdout
    foreign = stocked.project("poetry")  # a project, but none of ours
    (foreign / "pyproject.toml").write_text("[tool.poetry]\n")
    for unknown in (foreign, stocked.home / "nowhere"):
        said = stocked.pkgview("forget", unknown, cwd=two, code=1).stderr
        assert said.startswith(f"pkgview: nothing is known of {unknown}\n")
    assert "nothing is known of" in stocked.pkgview("forget", one, cwd=two, code=1).stderr
    age(stocked)
    assert gc(stocked)["archives"] == []
    assert running.pop(0).goes_on() == "1.0\n"
    assert gc(stocked)["archives"] == []  # the other one may still need it
    ended = running.pop()
    ended.process.kill()
    ended.process.communicate()
    assert [each["archive"].split("-")[0] for each in taken(lambda: gc(stocked))["archives"]] == [
        "alpha"
    ]
    assert not list((state / "projects").glob("*.forgotten"))
    # By its name, too, where it is gone; and what was forgotten can be had again.
    assert stocked.up(one)["view"] == view
    shutil.rmtree(one)
    assert "it is gone" in stocked.pkgview("projects", cwd=two).stdout
    stocked.pkgview("forget", one, cwd=two)
    assert str(one) not in stocked.pkgview("projects", cwd=two).stdout


def test_a_daemon_that_does_not_answer_keeps_everything(stocked: Site) -> None:
    directory = project(stocked, "one", "alpha")
    stocked.up(directory)
    shutil.rmtree(directory)
    # The supervisor first, which would replace a server that does not answer.
    holder = endpoint_of(stocked.places, stocked.places.mount).pid()
    assert holder
    servers = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
    stopped = [holder, *map(int, servers)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        said = stocked.pkgview("gc", cwd=stocked.home, code=1)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert "it cannot be known who uses which view" in said.stderr
    assert kept(stocked) == {"alpha"}


def test_while_others_make_views(stocked: Site) -> None:
    """Projects come and go, and one collection follows another: each view is whole."""
    script = stocked.home / "user.sh"
    script.write_text(
        'set -e\nfor n in 1 2; do\n  mkdir "$1.$n"; cd "$1.$n"\n'
        '  printf "%s\\n" alpha beta gamma | head -n $(( ($2 + n) % 3 + 1 )) >requirements.txt\n'
        '  "$PKGVIEW" up >said 2>&1 || { cat said; exit 1; }\n'
        '  .venv/bin/python -c "import alpha" || exit 1\n'
        '  cd ..; rm -r "$1.$n"\ndone\n'
    )
    environ = {**stocked.environ, "PKGVIEW": str(Path(sys.executable).with_name("pkgview"))}
    users = [
        subprocess.Popen(["/bin/sh", script, f"u{number}", str(number)], cwd=stocked.home,
                         env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for number in range(4)
    ]  # fmt: skip
    collected = 0
    while any(user.poll() is None for user in users):
        collected += len(gc(stocked)["archives"])
    for user in users:
        said = user.communicate()[0]
        assert (user.returncode, said) == (0, "")
    stocked.pkgview("store", "verify", cwd=stocked.home)
    age(stocked)

    def emptied() -> bool:
        gc(stocked)
        return not kept(stocked)

    assert taken(emptied)
    assert collected
