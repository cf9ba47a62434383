"""What others on the machine can do to one's own pkgview: hold nothing up, see and replace nothing.

Each is seen from the command line, with a real other user where that takes root.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from resolver.atomic import TIMEOUT_VARIABLE
from tests.resolver.test_atomic import another

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

ANOTHER = 61009


@pytest.fixture
def project(shop: Site, index: Index) -> Path:
    """A project in a home that others may pass through."""
    index.wheel("alpha")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    for above in (shop.home, *shop.home.parents[:-2]):
        above.chmod(0o755)
    return directory


def modes(shop: Site) -> dict[str, int]:
    places = shop.places
    return {
        os.fspath(path.relative_to(shop.home)): stat.S_IMODE(path.stat().st_mode)
        for path in (places.store, places.state, places.cache)
    }


def test_what_is_made_is_the_users_alone(shop: Site, project: Path) -> None:
    shop.up(project)
    assert set(modes(shop).values()) == {0o700}


def test_what_was_open_is_closed_by_the_next_start(shop: Site, project: Path) -> None:
    shop.up(project)
    for path in (shop.places.store, shop.places.state):
        path.chmod(0o755)
    # This one has nothing to do, and would not come as far as click.
    said = shop.pkgview("up", cwd=project).stderr
    assert said.count("yours alone now") == 2
    assert set(modes(shop).values()) == {0o700}
    assert "yours alone" not in shop.pkgview("up", cwd=project).stderr
    shop.places.state.chmod(0o755)
    assert "yours alone now" in shop.pkgview("store", cwd=project).stderr
    # As a directory of other archives it stays what it was made.
    shop.pkgview("store", "copy", shop.home / "given", cwd=project)
    given = shop.home / "given/archives"
    assert stat.S_IMODE(given.stat().st_mode) & 0o055 == 0o055


def test_who_may_only_read_cannot_lock(shop: Site, project: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    shop.up(project)
    for path in (shop.places.store / "archives", shop.places.state / "projects"):
        with pytest.raises(AssertionError), another(path, ANOTHER):
            pass


@pytest.mark.parametrize("place", ["archives", "projects"])
def test_a_lock_taken_before_holds_nobody_up_for_ever(
    shop: Site, project: Path, place: str
) -> None:
    shop.up(project)
    (project / "requirements.txt").write_text("# another\nalpha\n")
    root = shop.places.store if place == "archives" else shop.places.state
    with another(root / place) as pid:
        environ = {TIMEOUT_VARIABLE: "3"}
        said = shop.run(*pkgview("up"), cwd=project, code=1, environ=environ).stderr
    assert f"waiting for {root / place}, which is locked by process {pid}" in said
    assert f" 3 s by process {pid}" in said.partition("has been locked for")[2]
    shop.up(project)


def test_a_mount_point_that_others_could_replace(shop: Site, project: Path) -> None:
    open_to_all = shop.home / "open"
    (open_to_all / "own").mkdir(parents=True)
    open_to_all.chmod(0o777)
    (shop.home / "link").symlink_to(open_to_all / "own")
    for mount in (open_to_all / "own/view", shop.home / "link/view"):
        for command in (("mount", mount), ("up", project)):
            said = shop.run(
                "env", f"PKGVIEW_MOUNT={mount}", *pkgview(*command), cwd=project, code=1
            ).stderr
            assert f"everybody may write to {open_to_all}\n" in said
            assert "chmod go-w" in said
        assert not (open_to_all / "own/view").exists()
    for name in ("STATE", "DATA", "CACHE", "CONFIG"):
        environ = {f"XDG_{name}_HOME": os.fspath(open_to_all / "own")}
        for asked in (["up"], ["run", "true"], ["status"]):
            said = shop.pkgview(*asked, cwd=project, code=1, environ=environ).stderr
            assert f"everybody may write to {open_to_all}\n" in said
            assert f"set XDG_{name}_HOME to a directory of your own" in said
    assert os.listdir(open_to_all / "own") == []
    open_to_all.chmod(0o1777)
    shop.run(*pkgview("mount", open_to_all / "own/view"), cwd=project)


def test_a_mount_point_that_others_can_replace_meanwhile(shop: Site, project: Path) -> None:
    """With nothing to do, too."""
    shop.up(project)
    assert "Nothing to do" in shop.pkgview("up", cwd=project).stderr
    shop.home.chmod(0o777)
    said = shop.pkgview("up", cwd=project, code=1).stderr
    assert f"everybody may write to {shop.home}" in said
    shop.home.chmod(0o755)
    assert "Nothing to do" in shop.pkgview("up", cwd=project).stderr


def pkgview(*arguments: str | Path) -> tuple[str | Path, ...]:
    import sys  # noqa: PLC0415 - here alone
    from pathlib import Path  # noqa: PLC0415 - the same

    return (Path(sys.executable).with_name("pkgview"), *arguments)
