from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from tests.mounted.conftest import forked
from unionfs.cli.commands.mount import unmount
from unionfs.cli.commands.status import look
from unionfs.control.client import ask
from unionfs.control.endpoint import DaemonSilentError, Endpoint, endpoint_of
from unionfs.daemon import launch
from unionfs.daemon.logfile import MAX_LOG, log_path
from unionfs.mounting import mounts, unmounting

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places

pytestmark = pytest.mark.fuse

HERE = Path(__file__).parent
STAND_IN = (sys.executable, "-P", os.fspath(HERE / "stand_in.py"))
PKGVIEW = (sys.executable, "-c", "from unionfs.cli import main; main()")


def mount(places: Places, *, patience: float = 20.0) -> launch.Mounted:
    return launch.ensure_mounted(places, command=STAND_IN, patience=patience)


def endpoint(places: Places) -> Endpoint:
    return endpoint_of(places, mounts.canonical(places.mount))


def eventually(what: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Ended: reaped, or waiting for whoever adopted it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return True
    return state[0] == "Z"


def is_mounted(places: Places) -> bool:
    return mounts.mounted_at(mounts.canonical(places.mount)) is not None


def log_of(places: Places) -> str:
    return log_path(places).read_text()


# A life


def test_mounting_twice_finds_the_first(places: Places) -> None:
    first, second = mount(places), mount(places)
    assert (first.how, second.how) == ("new", "already")
    assert first.pid == second.pid
    assert (places.mount / "file").read_bytes().startswith(b"what the stand-in serves")


def test_the_kernel_is_told_what_the_design_asks(places: Places) -> None:
    mount(places)
    line = next(
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if f" {places.mount} " in line
    )
    left, _, right = line.partition(" - ")
    assert {"ro", "nosuid", "nodev"} <= set(left.split()[5].split(","))
    assert right.split()[:2] == ["fuse.pkgview", "pkgview-stand-in"]
    assert "default_permissions" in right.split()[2].split(",")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(places: Places, number: signal.Signals) -> None:
    pid = mount(places).pid
    os.kill(pid, number)
    eventually(lambda: gone(pid))
    assert not is_mounted(places)
    assert not endpoint(places).held()
    assert not endpoint(places).socket.exists()
    assert log_of(places).rstrip().endswith("ended")


def test_a_signal_unmounts_under_an_open_file(places: Places) -> None:
    pid = mount(places).pid
    held = os.open(places.mount / "file", os.O_RDONLY)
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: gone(pid))
    assert not is_mounted(places)
    with pytest.raises(OSError, match="not connected"):  # the FLUSH of close(2)
        os.close(held)


def test_the_command_stop_ends_it(places: Places) -> None:
    pid = mount(places).pid
    assert ask(endpoint(places), "stop") is None
    eventually(lambda: gone(pid))
    assert not is_mounted(places)


def test_a_killed_daemon_leaves_a_stale_mount_that_is_mended(places: Places) -> None:
    pid = mount(places).pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not endpoint(places).held())
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        (places.mount / "file").stat()
    assert look(places)["state"] == "stale"
    assert mount(places).how == "mended"
    assert (places.mount / "file").stat().st_size > 0
    assert len([found for found in mounts.table() if found.path == places.mount]) == 1


def test_unmounting_from_outside_ends_the_daemon(places: Places) -> None:
    pid = mount(places).pid
    subprocess.run(["fusermount3", "-u", places.mount], check=True)
    eventually(lambda: gone(pid))
    assert log_of(places).rstrip().endswith("ended")
    assert "Traceback" not in log_of(places)


def test_twenty_commands_at_once_start_one_daemon(places: Places) -> None:
    outcomes: list[launch.Mounted] = []
    crowd = [
        threading.Thread(target=lambda: outcomes.append(mount(places, patience=60)))
        for _ in range(20)
    ]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert len(outcomes) == 20
    assert len({outcome.pid for outcome in outcomes}) == 1
    assert [outcome.how for outcome in outcomes].count("new") == 1
    assert log_of(places).count("mounted") == 1


def test_daemons_started_directly_race_for_one_mount_point(places: Places) -> None:
    crowd = [
        subprocess.Popen([*STAND_IN], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    eventually(lambda: sum(one.poll() is None for one in crowd) == 1, 60)
    (winner,) = [one for one in crowd if one.poll() is None]
    losers = [one for one in crowd if one is not winner]
    assert [one.returncode for one in losers] == [0, 0, 0]
    assert ask(endpoint(places), "ping")["pid"] == winner.pid
    winner.terminate()
    assert winner.wait(10) == 0
    for one in crowd:
        one.communicate()


# Unmounting


def test_a_mount_in_use_is_kept_and_its_users_are_named(places: Places) -> None:
    mount(places)
    with (places.mount / "file").open("rb") as held:
        user = subprocess.Popen(["sleep", "60"], stdin=held)
        with contextlib.ExitStack() as stack:
            stack.callback(user.wait)
            stack.callback(user.kill)
            with pytest.raises(
                unmounting.MountBusyError, match=rf"sleep \(pid {user.pid}\)"
            ) as caught:
                unmount(places, lazy=False, force=False)
            assert "--lazy" in caught.value.remedy
    assert is_mounted(places)
    assert unmount(places, lazy=False, force=False)[1] == "unmounted"
    assert not is_mounted(places)
    assert unmount(places, lazy=False, force=False)[1] == "absent"


def test_lazily_unmounted_what_is_open_stays_readable_beside_a_new_mount(places: Places) -> None:
    old = mount(places).pid
    with (places.mount / "file").open("rb", buffering=0) as held:
        assert unmount(places, lazy=True, force=False)[1] == "detached"
        assert not is_mounted(places)
        fresh = mount(places)
        assert fresh.how == "new"
        assert fresh.pid != old
        assert held.read(24) == b"what the stand-in serves"
    eventually(lambda: gone(old))
    assert mount(places) == replace(fresh, how="already")


def test_a_detached_daemon_told_to_end_leaves_its_successor_mounted(places: Places) -> None:
    old = mount(places).pid
    held = os.open(places.mount / "file", os.O_RDONLY)
    unmount(places, lazy=True, force=False)
    fresh = mount(places)
    os.kill(old, signal.SIGTERM)
    eventually(lambda: gone(old))
    assert mount(places) == replace(fresh, how="already")
    assert endpoint(places).held()
    with contextlib.suppress(OSError):
        os.close(held)


def test_a_mount_taken_away_with_umount_l_is_mounted_anew(places: Places) -> None:
    old = mount(places).pid
    with (places.mount / "file").open("rb", buffering=0) as held:
        unmounting.unmount(places.mount, lazy=True)
        assert look(places)["state"] == "detached"
        assert mount(places).pid != old
        assert held.read(4) == b"what"


def test_a_daemon_that_hangs_is_named_and_ended_by_force(places: Places) -> None:
    pid = mount(places).pid
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(DaemonSilentError, match=rf"pid {pid}.* 1 seconds") as caught:
        mount(places, patience=1)
    assert time.monotonic() - begun < 5
    assert "umount --force" in caught.value.remedy
    assert unmount(places, lazy=False, force=True)[1] == "unmounted"
    eventually(lambda: gone(pid))
    assert mount(places).how == "new"


def test_force_frees_a_program_that_waits_for_a_hung_daemon(places: Places) -> None:
    pid = mount(places).pid
    os.kill(pid, signal.SIGSTOP)
    reader = subprocess.Popen(["cat", places.mount / "file"], stderr=subprocess.PIPE)
    time.sleep(0.2)
    assert reader.poll() is None
    unmount(places, lazy=False, force=True)
    _, said = reader.communicate(timeout=10)
    assert reader.returncode == 1
    assert said


def test_an_unanswering_daemon_can_still_be_unmounted(places: Places) -> None:
    pid = mount(places).pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DaemonSilentError):
        unmount(places, lazy=False, force=False, patience=0.3)
    assert not is_mounted(places)
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: gone(pid))
    assert log_of(places).rstrip().endswith("ended")


# Mount points


@pytest.mark.parametrize(
    "name", ["with space", "new\nline", "back\\slash", "tab\t#,=", "Grüße", "-u"]
)
def test_any_name_can_be_a_mount_point(places: Places, tmp_path: Path, name: str) -> None:
    places = replace(places, mount=tmp_path / name / "deep")
    assert mount(places).how == "new"
    assert (places.mount / "file").exists()
    assert mount(places).how == "already"
    assert unmount(places, lazy=False, force=False)[1] == "unmounted"


def test_a_link_to_a_directory_is_followed(places: Places, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    places.mount.symlink_to(tmp_path / "disk")
    mount(places)
    assert mount(places).how == "already"
    assert mount(replace(places, mount=tmp_path / "disk")).how == "already"
    assert (tmp_path / "disk" / "file").exists()


def test_what_a_mount_would_hide_is_refused(places: Places) -> None:
    places.mount.mkdir()
    (places.mount / "precious").write_text("x")
    with pytest.raises(PkgviewError, match="not empty: mounting would hide 'precious'"):
        mount(places)
    assert not endpoint(places).held()
    (places.mount / "precious").unlink()
    assert mount(places).how == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")
def test_another_file_system_is_left_alone(places: Places) -> None:
    places.mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "elsewhere", places.mount], check=True)
    with pytest.raises(PkgviewError, match=r"something else mounted: elsewhere \(tmpfs\)"):
        mount(places)
    with pytest.raises(PkgviewError, match="something else mounted"):
        unmount(places, lazy=False, force=True)
    assert look(places)["state"] == "foreign"
    assert is_mounted(places)


def test_a_daemon_started_with_another_runtime_directory_is_found(
    places: Places, tmp_path: Path
) -> None:
    at_login = mount(replace(places, runtime=places.state / "run"))
    from_cron = mount(replace(places, runtime=tmp_path / "other"))
    assert from_cron == replace(at_login, how="already")


def test_what_a_daemon_cannot_do_reaches_the_user(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault, sentence, remedy in (
        ("refuses", "^the stand-in refuses", "Ask for another"),
        ("fails", "cannot be mounted: the stand-in fails", "--device /dev/fuse"),
        ("vanishes", "ended before it had mounted", "daemon.log"),
    ):
        monkeypatch.setenv("STAND_IN_FAULT", fault)
        with pytest.raises(PkgviewError, match=sentence) as caught:
            mount(places)
        assert remedy in caught.value.remedy
        assert not is_mounted(places)
        eventually(lambda: not endpoint(places).held())
    monkeypatch.delenv("STAND_IN_FAULT")
    assert mount(places).how == "new"


# What a daemon is


def test_a_daemon_is_independent_of_who_started_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKGVIEW_PROJECT", "/one/project")
    monkeypatch.setenv("PYTHONPATH", os.fspath(places.mount / "site-packages"))
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{places.mount / 'bin'}{os.pathsep}{before}")
    with tempfile.TemporaryFile() as mine:
        os.set_inheritable(mine.fileno(), True)  # noqa: FBT003 - positional only
        ours = os.fstat(mine.fileno()).st_ino
        pid = mount(places).pid
    process = Path(f"/proc/{pid}")
    assert (process / "cwd").readlink() == Path("/")
    assert os.getsid(pid) != os.getsid(0)
    assert ours not in [os.stat(link).st_ino for link in (process / "fd").iterdir()]  # noqa: PTH116 - through the link
    assert (process / "fd/0").readlink() == Path("/dev/null")
    limits = (process / "limits").read_text()
    (core,) = [line.split() for line in limits.splitlines() if "core file" in line]
    assert core[4:6] == ["0", "0"]
    (files,) = [line.split() for line in limits.splitlines() if "open files" in line]
    assert files[3] == files[4]
    said = ask(endpoint(places), "surroundings")
    assert said["umask"] == 0o077
    assert not {"PKGVIEW_PROJECT", "PYTHONPATH"} & set(said["environ"])
    assert not [entry for entry in said["path"] if entry.startswith(os.fspath(places.mount))]
    assert said["environ"]["PATH"] == before


def test_the_starter_may_be_killed_meanwhile(places: Places) -> None:
    program = (
        "import os, signal, sys, threading\n"
        "from resolver.places import Places\n"
        "from unionfs.daemon import launch\n"
        "threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "launch.ensure_mounted(Places.from_environ(), command=sys.argv[1:])\n"
    )
    subprocess.run([sys.executable, "-c", program, *STAND_IN], check=False, capture_output=True)
    assert mount(places).how in {"new", "already"}
    assert (places.mount / "file").exists()


def test_the_log_is_turned_when_it_is_full(places: Places) -> None:
    log = log_path(places)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (MAX_LOG + 1))
    mount(places)
    assert log.stat().st_size < 1000
    assert log.stat().st_mode & 0o777 == 0o600
    ask(endpoint(places), "chatter", lines=3000)
    assert log.stat().st_size < MAX_LOG
    assert sum(one.stat().st_size for one in log.parent.glob("daemon.log*")) < 3 * MAX_LOG


def test_status_says_what_the_daemon_did(places: Places) -> None:
    assert look(places)["state"] == "absent"
    pid = mount(places).pid
    (places.mount / "file").stat()
    found = look(places)
    assert (found["state"], found["pid"], found["transport"]) == ("mounted", pid, "stand-in")
    assert found["requests"]["LOOKUP"] == 1
    assert found["memory"] > 1 << 20
    assert 0 < found["uptime"] < 60
    assert found["mountpoint"] == os.fspath(places.mount)


# The control socket under attack


def raw(places: Places) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    with endpoint(places).opened() as directory:
        client.connect(f"/proc/self/fd/{directory}/{endpoint(places).socket.name}")
    client.settimeout(10)
    return client


def test_hostile_clients_harm_nobody(places: Places) -> None:
    mount(places)
    with contextlib.ExitStack() as stack:
        crowd = []
        for _ in range(500):
            client = stack.enter_context(raw(places))
            crowd.append(client)
            with contextlib.suppress(OSError):
                client.sendall(b'{"op": "pi')
        with raw(places) as endless, contextlib.suppress(OSError):
            for _ in range(1000):
                endless.sendall(b"x" * 4096)
        for garbage in (b"\x00" * 100 + b"\n", b"[" * 50_000 + b"\n", b"9" * 10_000 + b"\n"):
            with raw(places) as client:
                client.sendall(garbage)
                assert json.loads(client.makefile("rb").readline())["ok"] is False
        assert ask(endpoint(places), "ping")["mounted"]
        assert (places.mount / "file").exists()
    with pytest.raises(PkgviewError, match="the daemon failed in 'explode'"):
        ask(endpoint(places), "explode")
    with pytest.raises(PkgviewError, match="does not know 'nonsense'"):
        ask(endpoint(places), "nonsense")
    assert ask(endpoint(places), "ping")["mounted"]
    assert "ZeroDivisionError" in log_of(places)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_is_not_answered(places: Places) -> None:
    mount(places)
    at = endpoint(places)
    with at.opened() as directory:
        for path in (at.directory, at.socket):
            path.chmod(0o777)  # as if the directory's mode had been no protection
        program = (
            "import socket, sys\n"
            "client = socket.socket(socket.AF_UNIX)\n"
            "client.connect(f'/proc/self/fd/{sys.argv[1]}')\n"
            'client.sendall(b\'{"op": "stop"}\\n\')\n'
            "sys.exit(len(client.recv(100)))\n"
        )
        number = os.open(at.socket.name, os.O_PATH, dir_fd=directory)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", program, str(number)],
            check=False, capture_output=True, user=65534, group=65534, extra_groups=[],
            pass_fds=[number], cwd="/",
        )  # fmt: skip
        os.close(number)
        at.directory.chmod(0o700)
    assert done.returncode == 0 or b"reset" in done.stderr or b"Broken pipe" in done.stderr
    assert "uid 65534" in log_of(places)
    assert ask(at, "ping")["mounted"]


# The command line, on the real daemon


def pkgview(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return forked().run(arguments, cwd=Path("/"), environ=env or os.environ, seconds=60)


def test_mount_status_umount(places: Places) -> None:
    assert pkgview("status").returncode == 1
    done = pkgview("mount", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["how"] == "new"
    assert "is mounted already" in pkgview("mount").stderr
    assert os.readlink(places.mount / "current").startswith("views/")
    status = json.loads(pkgview("status", "--json").stdout)
    assert (status["state"], status["pid"]) == ("mounted", said["pid"])
    assert str(said["pid"]) in pkgview("status").stdout
    assert os.getpid() in [one["pid"] for one in ask(endpoint(places), "ps")["processes"]]
    assert ask(endpoint(places), "refresh") is None
    # A program of another test may have a copy for a moment, in a mount namespace of its own.
    assert f"Unmounted {places.mount}" in pkgview("umount").stderr
    # No project has a view, so nobody has a use for these.
    eventually(lambda: not places.mount.exists() and not places.runtime.exists())
    done = pkgview("umount")
    assert (done.returncode, done.stderr) == (0, f"Nothing is mounted at {places.mount}.\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
def test_umount_names_who_has_a_copy_of_the_mount(places: Places) -> None:
    served = json.loads(pkgview("mount", "--json").stdout)["pid"]
    copying = ["unshare", "-m", "sh", "-c", 'echo ready; read -r _; readlink "$0"']
    with subprocess.Popen(
        [*copying, places.mount / "current"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        done = pkgview("umount")
        assert done.returncode == 0
        assert "are served until they end: " in done.stderr
        # Those of other tests, in namespaces of their own, may have copied it at that moment.
        assert f"sh (pid {holder.pid})" in done.stderr
        assert f"Unmounted {places.mount}; the daemon ends when" in done.stderr
        assert not is_mounted(places)
        assert not endpoint(places).held()  # another may be mounted there now
        said, _ = holder.communicate("\n", timeout=30)
        assert said.startswith("views/")
    eventually(lambda: not Path(f"/proc/{served}").exists(), 30)


def test_in_the_foreground_an_interrupt_unmounts(places: Places) -> None:
    process = subprocess.Popen(
        [*PKGVIEW, "mount", "--foreground"], stderr=subprocess.PIPE, text=True
    )
    eventually(lambda: is_mounted(places), 60)
    refused = pkgview("mount", "--foreground")
    assert refused.returncode == 1
    assert f"mounted already, by pid {process.pid}\n  Run `pkgview umount`" in refused.stderr
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert not is_mounted(places)


def test_what_is_wrong_is_said_without_a_traceback(places: Places, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = pkgview("mount", os.fspath(tmp_path / "file"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"pkgview: {tmp_path}/file cannot be a mount point")
    assert done.stderr.splitlines()[1].startswith("  ")
    places.runtime.parent.mkdir(exist_ok=True)
    places.runtime.mkdir(exist_ok=True)
    places.runtime.chmod(0o755)
    done = pkgview("mount")
    assert f"  Run `chmod 700 {places.runtime}`." in done.stderr.splitlines()


# An ordinary user


def interpreter_for(options: dict[str, Any]) -> str:
    """One that nobody may run: root's own often lies where nobody may look."""
    for program in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [program, "-c", "import pyfuse3, trio, unionfs.daemon.process"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, check=False, capture_output=True, **options).returncode == 0:
                return program
    pytest.skip("no interpreter with pkgview's dependencies that nobody may run")


def test_an_ordinary_user_mounts_mends_and_unmounts(ordinary: dict[str, Any]) -> None:
    python = interpreter_for(ordinary)
    home = Path(ordinary["env"]["HOME"])
    program = (
        "import sys, json, os, signal, time\n"
        "from resolver.places import Places\n"
        "from unionfs.daemon import launch\n"
        "from unionfs.mounting import mounts, unmounting\n"
        "from unionfs.control.endpoint import endpoint_of\n"
        "from unionfs.cli.commands.mount import unmount\n"
        "places = Places.from_environ()\n"
        "mount = lambda: launch.ensure_mounted(places, command=sys.argv[1:])\n"
        "first = mount(); said = [first.how, mount().how, os.stat(places.mount / 'file').st_uid]\n"
        "os.kill(first.pid, signal.SIGKILL)\n"
        "while endpoint_of(places, places.mount).held(): time.sleep(0.01)\n"
        "said.append(mount().how)\n"
        "with open(places.mount / 'file', 'rb') as held:\n"
        "    try: unmount(places, lazy=False, force=False)\n"
        "    except unmounting.MountBusyError: said.append('busy')\n"
        "said.append(unmount(places, lazy=False, force=False)[1])\n"
        "os.kill(mount().pid, signal.SIGTERM)\n"
        "while endpoint_of(places, places.mount).held(): time.sleep(0.01)\n"
        "said.append(mounts.mounted_at(places.mount))\n"
        "pid = mount().pid; os.kill(pid, signal.SIGSTOP)\n"
        "said.append(unmount(places, lazy=False, force=True)[1])\n"
        "print(json.dumps(said))\n"
    )
    done = subprocess.run(
        [python, "-P", "-c", program, python, *STAND_IN[1:]],
        check=False, capture_output=True, text=True, timeout=120, **ordinary,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "new", "already", 65534, "mended", "busy", "unmounted", None, "unmounted",
    ]  # fmt: skip
    assert not [mount for mount in mounts.table() if mount.path.is_relative_to(home)]


def test_why_the_kernel_refuses_reaches_the_user(ordinary: dict[str, Any]) -> None:
    """Root of a user namespace whose mount namespace belongs to another: all looks well before."""
    python = interpreter_for(ordinary)
    unshare = ["unshare", "--user", "--map-root-user"]
    with contextlib.suppress(OSError):
        done = subprocess.run([*unshare, "true"], check=False, capture_output=True, **ordinary)
        if done.returncode:
            pytest.skip("user namespaces are not allowed")
    program = (
        "import sys\n"
        "from resolver.errors import PkgviewError\n"
        "from resolver.places import Places\n"
        "from unionfs.daemon import launch\n"
        "try: launch.ensure_mounted(Places.from_environ(), command=sys.argv[1:])\n"
        "except PkgviewError as error: print(error)\n"
    )
    done = subprocess.run(
        [*unshare, python, "-P", "-c", program, python, *STAND_IN[1:]],
        check=False, capture_output=True, text=True, **ordinary,
    )  # fmt: skip
    assert "mount failed: Operation not permitted" in done.stdout, done.stderr
    assert "--cap-add SYS_ADMIN" in done.stdout


def test_an_ordinary_user_without_the_device_is_told_so(ordinary: dict[str, Any]) -> None:
    python = interpreter_for(ordinary)
    Path("/dev/fuse").chmod(0o600)
    done = subprocess.run(
        [python, "-P", *PKGVIEW[1:], "mount"],
        check=False, capture_output=True, text=True, **ordinary,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("pkgview: /dev/fuse cannot be opened: Permission denied\n  Run")
    assert "chmod 666 /dev/fuse" in done.stderr


def test_an_ordinary_user_without_fusermount_is_told_so(ordinary: dict[str, Any]) -> None:
    python = interpreter_for(ordinary)
    ordinary["env"]["PATH"] = "/nonexistent"
    done = subprocess.run(
        [python, "-P", *PKGVIEW[1:], "mount"],
        check=False, capture_output=True, text=True, **ordinary,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pkgview: fusermount3 is not installed" in done.stderr
    assert "apt install fuse3" in done.stderr


def test_root_leaves_another_users_home_alone(ordinary: dict[str, Any]) -> None:
    home = Path(ordinary["env"]["HOME"])
    (home / ".pkgview").mkdir()
    os.chown(home / ".pkgview", 65534, 65534)
    done = pkgview("mount", env={**os.environ, **ordinary["env"], "PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert "another user's" in done.stderr
