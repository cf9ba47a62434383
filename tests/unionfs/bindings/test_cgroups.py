"""Cgroups: finding them in any kernel's table, and making and removing real ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.caller.procfs import Absence, Cgroup, Tid, read_cgroup
from resolver.errors import PkgviewError
from unionfs.bindings import cgroups, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.alone  # all that runs here makes its cgroups in one place

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate
99 31 0:38 /docker/c1 /srv/c1/cgroup rw - cgroup2 cgroup2 rw,nsdelegate
50 31 0:50 / /mnt rw - ext4 /dev/sda1 rw,pids
"""
OURS = "5:cpu,cpuacct:/a\n4:pids:/a/b\n1:name=systemd:/a\n0::/user.slice/x\n"
MIXED = tuple(
    Cgroup(controllers=controllers, path=path)
    for controllers, path in (("cpu,cpuacct", "/a"), ("pids", "/a/b"), ("", "/user.slice/x"))
)


def proc(root: Path, mounts: str, ours: str) -> Path:
    for name in ("self", str(os.getpid())):
        (root / name).mkdir(parents=True)
        (root / name / "mountinfo").write_text(mounts)
        (root / name / "cgroup").write_text(ours)
    return root


def test_hierarchies_of_a_hybrid_system(tmp_path: Path) -> None:
    found = cgroups.hierarchies(proc(tmp_path, HYBRID, OURS))
    assert {one.controllers: (str(one.directory), one.root) for one in found} == {
        "cpu,cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", "/"),
        "pids": ("/sys/fs/cgroup/pids", "/"),
        "name=systemd": ("/sys/fs/cgroup/systemd", "/"),
        "": ("/sys/fs/cgroup/unified", "/"),
    }
    assert [str(cgroups.directory_of(one, found)) for one in MIXED] == [
        "/sys/fs/cgroup/cpu,cpuacct/a",
        "/sys/fs/cgroup/pids/a/b",
        "/sys/fs/cgroup/unified/user.slice/x",
    ]
    assert cgroups.directory_of(Cgroup(controllers="memory", path="/a"), found) is None


def test_hierarchies_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert cgroups.hierarchies(tmp_path) == ()
    assert cgroups.hierarchies(proc(tmp_path, "nonsense\n\n - \n1 2 - cgroup2\n", "0::/\n")) == ()


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/a/b", "/cg/a/b"),
        ("/a", "/a", "/cg"),
        ("/a", "/a/b", "/cg/b"),
        ("/a", "/ab", None),
        ("/a", "/", None),
        ("/", "/../a", None),
        ("/..", "/a", None),
        ("/", "a", None),
    ],
)
def test_a_part_of_a_hierarchy_may_be_all_that_is_mounted(
    root: str, path: str, expected: str | None
) -> None:
    mounted = cgroups.Hierarchy(controllers="", directory=Path("/cg"), root=root)
    found = cgroups.directory_of(Cgroup(controllers="", path=path), [mounted])
    assert (None if found is None else str(found)) == expected


def test_choosing_among_the_cgroups_of_one_process() -> None:
    assert cgroups.with_name(MIXED, "b") == MIXED[1]
    assert cgroups.with_name(MIXED, "a") == MIXED[0]
    assert cgroups.with_name(MIXED, "slice") is None
    assert cgroups.with_name(Absence.GONE, "a") is None
    name = "f" * 64
    inside = [
        Cgroup(controllers="memory", path=f"/docker/{name}"),
        Cgroup(controllers="", path=f"/machine.slice/libpod-{name}.scope/container/init"),
    ]
    assert cgroups.holding(inside, name) == Cgroup(
        controllers="", path=f"/machine.slice/libpod-{name}.scope"
    )
    assert cgroups.holding(inside[:1], name) == inside[0]
    assert cgroups.holding(inside, "e" * 64) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/pkgview-12-345", True),
        ("/pkgview-12-345/sub", False),
        ("/pkgview-12-345.scope", False),
        ("/pkgview-12", False),
        ("/pkgview-", False),
        ("/other-1-2", False),
    ],
)
def test_which_cgroups_are_ours_to_remove(path: str, expected: bool) -> None:  # noqa: FBT001 - a column
    assert cgroups.is_ours(Cgroup(controllers="", path=path)) is expected


# Real ones


ITSELF = """
import json, os
from unionfs.bindings import cgroups, tag
def enclosed():
    made = cgroups.enclose(os.getpid(), cgroups.read_stat(os.getpid()).start_time)
    return made and [made.controllers, made.path]
def cgroup(made):
    return cgroups.Cgroup(controllers=made[0], path=made[1])
"""


def in_child(code: str, **options: str) -> Any:  # noqa: ANN401 - as wide as JSON
    """Run code in another process, since it moves itself; it prints JSON."""
    done = subprocess.run(
        [sys.executable, "-c", ITSELF + code],
        capture_output=True, text=True, check=False, env={**os.environ, **options},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def eventually(what: Callable[[], bool]) -> None:
    """A process that has ended leaves its cgroup a moment later."""
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def writable() -> Iterator[Path]:
    """The directory of our own cgroup in the hierarchy that is tried first; left as it was."""
    ours = read_cgroup(Tid(os.getpid()))
    assert not isinstance(ours, Absence)
    for cgroup in sorted(ours, key=lambda one: one.controllers != ""):
        directory = cgroups.directory_of(cgroup)
        if directory is not None and os.access(directory / "cgroup.procs", os.W_OK):
            before = {one.name for one in directory.iterdir()}
            yield directory
            for one in directory.iterdir():
                if one.name not in before and one.is_dir():
                    for here, _, _ in os.walk(one, topdown=False):
                        os.rmdir(here)  # noqa: PTH106 - a string of os.walk's
            return
    pytest.skip("no cgroup can be made here")


@pytest.fixture
def made(writable: Path) -> Path:
    directory = writable / f"pkgview-{os.getpid()}-1"
    directory.mkdir()
    return directory


def test_enclosing_leaving_and_removing(writable: Path) -> None:
    before = sorted(one.name for one in writable.iterdir() if one.is_dir())
    found = in_child(
        "own = cgroup(enclosed())\n"
        "removed = cgroups.remove(own)\n"
        "inside = cgroup(enclosed())\n"
        "cgroups._leave(inside, os.getpid())\n"
        "back = own in cgroups.read_cgroup(os.getpid())\n"
        "print(json.dumps([own.controllers, own.path, removed, inside.path, back]))"
    )
    controllers, path, removed, inside, back = found
    assert Path(str(path)).name.startswith("pkgview-")
    assert (removed, back) == (False, True)
    assert inside == f"{path}/{Path(str(path)).name}"
    cgroup = Cgroup(controllers=str(controllers), path=str(path))
    assert cgroups.inode_of(cgroup)
    directory = cgroups.directory_of(cgroup)
    assert directory is not None
    (directory / "sub/sub").mkdir(parents=True)
    eventually(lambda: cgroups.remove(cgroup))
    assert cgroups.inode_of(cgroup) is None
    assert cgroups.remove(cgroup)  # once more changes nothing
    assert sorted(one.name for one in writable.iterdir() if one.is_dir()) == before


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_has_left_everything_behind_is_found_by_its_tag(
    writable: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The first process has ended, and nothing leads from it to what it has left running."""
    assert writable
    code = (
        "import os, subprocess\n"
        "from unionfs.bindings import tag\n"
        "tag.put_on()\n"
        "said = open('/proc/self/stat').read().rpartition(')')[2].split()[19]\n"
        "quiet = {'stdout': subprocess.DEVNULL, 'start_new_session': True}\n"
        "left = subprocess.Popen(['env', '-i', 'sleep', '60'], **quiet)\n"
        "print(os.getpid(), said, left.pid, flush=True)\n"
        "os.read(0, 1)\n"
        "os._exit(0)"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdin
    assert first.stdout
    with first.stdout:
        pid, start_time, left = map(int, first.stdout.readline().split())
    entered = cgroups._entered

    def ends_first(one: int, name: str) -> Cgroup | None:
        if first.stdin:
            first.stdin.close()
        first.wait()
        return entered(one, name)

    try:
        if when == "meanwhile":
            monkeypatch.setattr(cgroups, "_entered", ends_first)
        else:
            first.stdin.close()
            first.wait()
            assert tag.tagged(tag.tag(pid, start_time)) == [left]
        made = cgroups.enclose(pid, start_time)
        assert made is not None
        assert made in seen_in(left)
        assert cgroups.enclose(pid, start_time + 1) is None
    finally:
        os.kill(left, signal.SIGKILL)
    eventually(lambda: cgroups.remove(made))


def seen_in(pid: int) -> tuple[Cgroup, ...]:
    seen = read_cgroup(Tid(pid))
    assert not isinstance(seen, Absence)
    return seen


def test_one_that_is_in_use_is_left_alone_with_all_inside(made: Path) -> None:
    cgroup = cgroups.named(str(made))
    (made / "used").mkdir()
    (made / "empty").mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        (made / "used/cgroup.procs").write_text(str(process.pid))
        assert not cgroups.remove(cgroup)
        assert (made / "empty").is_dir()
        process.kill()
    eventually(lambda: cgroups.remove(cgroup))
    assert not made.exists()


def test_naming_one(made: Path) -> None:
    found = cgroups.named(str(made))
    assert found.path.endswith(f"/{made.name}")
    assert cgroups.named(found.path) == found
    assert cgroups.named(f"{made}/../{made.name}/") == found
    assert cgroups.inode_of(found) == made.stat().st_ino
    for nonsense in ("/nonsense", "nonsense", "/proc", "/etc/passwd", ""):
        with pytest.raises(PkgviewError, match="there is no cgroup"):
            cgroups.named(nonsense)
    mounted = next(one.directory for one in cgroups.hierarchies() if one.root == "/")
    for root in ("/", str(mounted)):
        with pytest.raises(PkgviewError, match="every process is in it"):
            cgroups.named(root)


def test_a_cgroup_that_was_made_again_is_another(made: Path) -> None:
    cgroup = cgroups.named(str(made))
    first = cgroups.inode_of(cgroup)
    made.rmdir()
    assert cgroups.inode_of(cgroup) is None
    made.mkdir()
    assert cgroups.inode_of(cgroup) not in {None, first}


def test_where_nothing_is_writable_there_is_none() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    found = in_child(
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "before = open('/proc/self/cgroup').read()\n"
        "print(json.dumps([enclosed(), before == open('/proc/self/cgroup').read()]))",
        XDG_RUNTIME_DIR="/nowhere",
    )
    assert found == [None, True]


def test_the_users_systemd_makes_a_scope(made: Path, tmp_path: Path) -> None:
    """Systemd cannot run here; a stand-in for `busctl` does what it is asked for."""
    if os.geteuid() != 0:
        pytest.skip("only root can stand in for systemd")
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/private").touch()
    busctl = tmp_path / "busctl"
    busctl.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        f"pathlib.Path({str(tmp_path / 'asked')!r}).write_text('\\n'.join(sys.argv[1:]))\n"
        "at = sys.argv.index('PIDs')\n"
        f"scope = pathlib.Path({str(made)!r}, sys.argv[at - 3])\n"
        "scope.mkdir()\n"
        "(scope / 'cgroup.procs').write_text(sys.argv[at + 3])\n"
    )
    busctl.chmod(0o755)
    found = in_child(
        "cgroups._enter_below = lambda *_: False\n"
        "own = cgroup(enclosed())\n"
        "name = own.path.rpartition('/')[2]\n"
        "print(json.dumps([name, own.path, cgroups.is_ours(own), os.getpid()]))",
        XDG_RUNTIME_DIR=str(tmp_path / "run"),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    name, path, ours, pid = found
    assert str(name).startswith(f"pkgview-{pid}-")
    assert str(path).endswith(f"/{name}")
    assert str(name).endswith(".scope")
    assert ours is False  # systemd removes it
    asked = (tmp_path / "asked").read_text().split("\n")
    # What `busctl` is given has as many values as its signature says.
    assert asked[asked.index("StartTransientUnit") + 1 :] == [
        "ssa(sv)a(sa(sv))", name, "fail", "3", "PIDs", "au", "1", str(pid),
        "Description", "s", "pkgview run", "CollectMode", "s", "inactive-or-failed", "0",
    ]  # fmt: skip
    eventually(lambda: not (made / str(name) / "cgroup.procs").read_bytes())
    with contextlib.suppress(FileNotFoundError):
        (made / str(name)).rmdir()


def test_without_an_answer_from_systemd_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/private").touch()
    busctl = tmp_path / "busctl"
    busctl.write_text("#!/bin/sh\nexit 1\n")
    busctl.chmod(0o755)
    code = "cgroups._enter_below = lambda *_: False\nprint(json.dumps([enclosed()]))"
    options = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert in_child(code, **options, PATH=f"{tmp_path}:{os.environ['PATH']}") == [None]
    assert in_child(code, **options, PATH=str(tmp_path / "run")) == [None]
