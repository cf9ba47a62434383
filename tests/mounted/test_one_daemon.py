"""One mount has one daemon, whatever the environment of whoever looks for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from tests.mounted.test_daemon import PKGVIEW, endpoint, eventually, gone, log_of, mount
from unionfs.cli.commands.mount import unmount
from unionfs.cli.commands.status import look
from unionfs.control.client import ask
from unionfs.daemon import launch
from unionfs.mounting import mounts
from unionfs.upkeep.inuse import survey
from unionfs.upkeep.unused import remove_unused

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse


def test_another_runtime_directory_finds_the_same_daemon(places: Places, tmp_path: Path) -> None:
    first = mount(places)
    # What cron, su and `env -i` have, and what a login has that the daemon had not.
    for runtime in (places.state / "run", tmp_path / "elsewhere/pkgview"):
        other = replace(places, runtime=runtime)
        assert (mount(other).how, mount(other).pid) == ("already", first.pid)
        assert look(other)["state"] == "mounted"
        assert look(other)["pid"] == first.pid
    assert len([one for one in mounts.table() if one.path == places.mount]) == 1
    assert unmount(other, lazy=False, force=False)[1] == "unmounted"
    eventually(lambda: gone(first.pid))
    # Who is told once where it is (an enabled Python) meets each daemon in the state directory.
    standing = replace(endpoint(places), directory=places.state / "run")
    for one in (other, replace(places, runtime=standing.directory), places):
        pid = mount(one).pid
        assert ask(standing, "ping")["pid"] == pid
        unmount(one, lazy=False, force=False)


def test_commands_of_two_environments_at_once_start_one_daemon(
    places: Places, tmp_path: Path
) -> None:
    outcomes: list[launch.Mounted] = []
    environments = [places, replace(places, runtime=tmp_path / "elsewhere/pkgview")] * 4
    crowd = [
        threading.Thread(target=lambda one=one: outcomes.append(mount(one, patience=60)))
        for one in environments
    ]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert len(outcomes) == len(crowd)
    assert len({outcome.pid for outcome in outcomes}) == 1
    assert log_of(places).count("mounted") == 1
    # Nor does who takes unused directories away meanwhile disturb them.
    for _ in range(3):
        unmount(places, lazy=False, force=False)
        outcomes.clear()
        crowd = [
            threading.Thread(target=target)
            for one in environments[:4]
            for target in (
                lambda one=one: remove_unused(one, os.environ),
                lambda one=one: outcomes.append(mount(one, patience=60)),
            )
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        assert len(outcomes) == len(environments[:4])
        assert len({outcome.pid for outcome in outcomes}) == 1
        remove_unused(places, os.environ)  # it is mounted
        assert look(places)["state"] == "mounted"
    unmount(places, lazy=False, force=False)
    remove_unused(environments[1], os.environ)
    assert not places.mount.exists()


def test_what_others_have_open_is_not_taken_for_a_daemon(places: Places, tmp_path: Path) -> None:
    """A lock of the right name, in a directory that others may enter: whoever made it is not it."""
    other = replace(places, runtime=tmp_path / "hostile/pkgview")
    name = endpoint(places).name
    other.runtime.mkdir(parents=True)
    other.runtime.chmod(0o755)
    lock = other.runtime / f"{name}.lock"
    hostile = subprocess.Popen(
        ["flock", "--close", lock, "sh", "-c", "echo; exec sleep 60"],
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with hostile:
        try:
            assert hostile.stdout
            hostile.stdout.readline()
            assert mount(places).how == "new"
        finally:
            os.killpg(hostile.pid, 9)


def test_a_daemon_that_nobody_can_find_any_more_is_replaced(places: Places) -> None:
    """What the end of a login does to /run/user/UID; what is open is served to its end."""
    first = mount(places)
    with (places.mount / "file").open("rb") as held:
        shutil.rmtree(places.runtime)
        assert look(places)["state"] == "unmet"
        second = mount(places)
        assert second.how == "mended"
        assert second.pid != first.pid
        assert held.read(10) == b"what the s"
    eventually(lambda: gone(first.pid))
    assert look(places)["pid"] == second.pid


def test_one_that_only_others_can_find_is_left_alone(
    places: Places, needs: Callable[..., None]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can have a pid namespace of its own here")
    needs("unshare")
    first = mount(places)
    environ = {**os.environ, "XDG_RUNTIME_DIR": ""}
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    ended = [
        subprocess.run(
            [*apart, *PKGVIEW, *words], env=environ, capture_output=True, text=True, check=False
        )
        for words in (["status", "--json"], ["mount"])
    ]
    assert json.loads(ended[0].stdout)["state"] == "unmet"
    assert ended[1].returncode == 1
    assert "is served by a daemon that cannot be found from here" in ended[1].stderr
    assert "XDG_RUNTIME_DIR" in ended[1].stderr
    assert mount(places) == replace(first, how="already")


# Served from where


def test_a_mount_that_is_served_from_elsewhere_is_refused(places: Places, tmp_path: Path) -> None:
    mount(places)
    for name, variable in (("store", "XDG_DATA_HOME"), ("state", "XDG_STATE_HOME")):
        other = replace(places, **{name: tmp_path / "other/pkgview" / name})
        for refuses in (launch.check_mountable, mount):
            with pytest.raises(PkgviewError) as caught:
                refuses(other)
            assert f"is served from the {name} in {getattr(places, name)}" in caught.value.what
            assert f"this command's is in {getattr(other, name)}" in caught.value.what
            assert f"{variable}={os.environ[variable]}," in caught.value.remedy
    # By another name it is the same; and a cache decides nothing of what is seen.
    (tmp_path / "link").symlink_to(places.state)
    same = replace(places, state=tmp_path / "link", cache=tmp_path / "cache")
    assert mount(same).how == "already"
    # Of configurations it is what they say of stores.
    other = replace(places, config=tmp_path / "config")
    assert mount(other).how == "already"
    other.config.mkdir()
    (other.config / "config.toml").write_text('[[store]]\npath = "/mnt/team"\n')
    with pytest.raises(PkgviewError, match="served from the config in"):
        mount(other)


def test_up_with_another_data_home_than_the_daemons(shop: Site, index: Index) -> None:
    """The store of whoever asks has all that is needed, and the daemon's has nothing of it."""
    index.wheel("alpha")
    project = shop.project("one")
    (project / "requirements.txt").write_text("alpha\n")
    shop.pkgview("up", cwd=project)
    assert "Nothing to do" in shop.pkgview("up", cwd=project).stderr
    shop.pkgview("umount", cwd=project)
    elsewhere = shop.home / "elsewhere"
    command = Path(sys.executable).with_name("pkgview")
    runtime = shop.home / "runtime"
    runtime.mkdir(mode=0o700)
    environ = {"XDG_DATA_HOME": str(elsewhere), "XDG_RUNTIME_DIR": str(runtime)}
    shop.run(command, "mount", cwd=project, environ=environ)
    said = shop.pkgview("up", cwd=project, code=1).stderr
    assert f"{elsewhere}/pkgview/store" in said
    assert str(shop.places.store) in said
    assert f"XDG_DATA_HOME={elsewhere}" in said
    # So it is where nothing is to be mounted: what is published counts at the mount all the same.
    assert shop.pkgview("up", "--no-mount", cwd=project, code=1).stderr == said
    # As it says: with the daemon's it works, and the view is whole.
    shop.run(command, "up", cwd=project, environ={"XDG_DATA_HOME": str(elsewhere)})
    python = project / ".venv/bin/python"
    assert shop.run(python, "-c", "import alpha; print(1)", cwd=project).stdout == "1\n"
    # Nor does `gc` overlook that daemon, which alone knows what the kernel says.
    assert [one.directory for one in survey(shop.places).daemons] == [runtime / "pkgview"]
