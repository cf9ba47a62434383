"""Several stores behind one mount, by the commands that a person uses."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.store.local import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

NOISE = bytes(range(256)) * 40


def project(shop: Site, name: str, *requirements: str) -> Path:
    directory: Path = shop.project(name)
    (directory / "requirements.txt").write_text("\n".join(requirements) + "\n")
    return directory


def stored(shop: Site, name: str) -> Path:
    found: Path
    (found,) = (shop.places.store / "archives").glob(f"{name}[-.]*.tar.zst")
    return found


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    # A single bit may be one that zstd does not look at: then the content is what it was.
    data[len(data) // 3] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)


def asked(shop: Site, *command: str, cwd: Path | None = None, code: int = 0) -> Any:  # noqa: ANN401 - JSON
    said = shop.pkgview(*command, "--json", cwd=cwd or shop.home, code=code)
    assert said.stderr == ""
    return json.loads(said.stdout)


@pytest.fixture
def team(shop: Site, index: Index) -> Path:
    """A store that somebody else filled with alpha."""
    index.wheel("alpha", files={"alpha/__init__.py": b"version = 1\n", "alpha/data": NOISE})
    shop.up(project(shop, "first", "alpha"))
    team: Path = shop.home / "team"
    shutil.move(shop.places.store, team)
    shutil.rmtree(shop.places.state / "projects")
    shop.pkgview("umount", cwd=shop.home)
    (shop.places.state / "registry.sqlite3").unlink()
    return team


def test_a_running_daemon_serves_from_a_store_that_is_added(shop: Site, team: Path) -> None:
    second = project(shop, "second")
    shop.up(second)
    (second / "requirements.txt").write_text("alpha\n")
    shop.pkgview("store", "add", "team", cwd=shop.home)
    ranks = [(one["rank"], one["path"]) for one in asked(shop, "store", "list")]
    assert ranks[:2] == [("user", str(shop.places.store)), ("added", str(team))]
    assert shop.up(second)["fetched"] == 0
    assert list((shop.places.store / "archives").glob("alpha*")) == []
    show = "import alpha; print(alpha.version)"
    python = second / ".venv/bin/python"
    assert shop.run(python, "-c", show, cwd=second).stdout == "1\n"
    # It goes away: what is open is an error at worst, and `up` makes it whole again.
    team.rename(team.with_name("away"))
    said = shop.pkgview("up", cwd=second)
    assert f"the store {team} is passed over: its archives cannot be read" in said.stderr
    assert f"pkgview store remove {team}" in said.stderr
    assert stored(shop, "alpha").exists()
    assert "passed over" not in shop.pkgview("up", cwd=second).stderr
    assert shop.run(python, "-c", show, cwd=second).stdout == "1\n"
    shop.pkgview("store", "remove", "team", cwd=shop.home)
    assert "was not added" in shop.pkgview("store", "remove", "team", cwd=shop.home, code=1).stderr


def test_a_store_that_others_may_write_to_needs_a_word(shop: Site, team: Path) -> None:
    (team / "archives").chmod(0o1777)
    said = shop.pkgview("store", "add", str(team), cwd=shop.home, code=1)
    assert f"everybody may write to {team / 'archives'}" in said.stderr
    assert f"pkgview store add --shared {team}" in said.stderr
    shop.pkgview("store", "add", "--shared", str(team), cwd=shop.home)
    assert asked(shop, "store", "list")[1]["shared"] is True
    said = shop.pkgview("store", "add", str(shop.home), cwd=shop.home, code=1)
    assert "store copy" in said.stderr


def test_repair_takes_the_shortest_way(shop: Site, index: Index, team: Path) -> None:
    index.wheel("beta", files={"beta.py": b"version = 2\n"})
    directory = project(shop, "third", "alpha", "beta")
    shop.up(directory)
    shop.pkgview("store", "add", str(team), cwd=shop.home)
    for name in ("alpha", "beta"):
        flip(stored(shop, name))
    found = asked(shop, "store", "verify", code=1)["damaged"]
    assert [one["archive"].split("-")[0] for one in found] == ["alpha", "beta"]
    before = len(index.asked)
    found = asked(shop, "store", "verify", "--repair")["damaged"]
    assert [one["repair"] for one in found] == [
        {"settled": True, "said": f"copied from {team}"}, {"settled": True, "said": "made again"},
    ]  # fmt: skip
    fetched = [path for path in index.asked[before:] if path.endswith(".whl")]
    assert len(fetched) == 1
    assert asked(shop, "store", "verify")["damaged"] == []
    for name in ("alpha", "beta"):
        assert len(list((shop.places.store / "archives/damaged").glob(f"{name}*"))) == 1
    # Damage elsewhere is found, too, and is nobody's here to mend.
    (archive,) = (team / "archives").glob("alpha*")
    flip(archive)
    assert asked(shop, "store", "verify", "--repair")["damaged"] == []
    (fault,) = asked(shop, "store", "verify", "--repair", "--all", code=1)["damaged"]
    assert (fault["store"], fault["archive"]) == (str(team), archive.name)


def test_bytecode_is_compiled_again(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = project(shop, "compiled", "alpha")
    view = json.loads(shop.pkgview("up", "--compile", "--json", cwd=directory).stdout)["view"]
    companion = stored(shop, "alpha_1.0")
    flip(companion)
    (repaired,) = asked(shop, "store", "verify", "--repair")["damaged"]
    assert (repaired["archive"], repaired["repair"]["said"]) == (companion.name, "made again")
    again = asked(shop, "up", "--compile", cwd=directory)
    assert (again["view"], again["compiled"]) == (view, 0)


def test_what_cannot_be_had_again_says_why(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    index.wheel("beta")
    needed, gone = project(shop, "needed", "alpha"), project(shop, "gone", "beta")
    shop.up(needed)
    shop.up(gone)
    for name in ("alpha", "beta"):
        flip(stored(shop, name))
        (wheel,) = index.directory.glob(f"{name}*.whl")
        wheel.rename(shop.home / wheel.name)
    shutil.rmtree(gone)
    said = shop.pkgview("store", "verify", "--repair", cwd=shop.home, code=1)
    assert f"It could not be had again: {needed}: " in said.stderr
    assert "No project needs it." in said.stderr
    assert "Traceback" not in said.stderr
    (wheel,) = shop.home.glob("alpha*.whl")
    wheel.rename(index.directory / wheel.name)
    assert shop.up(needed)["fetched"] == 1


def test_a_project_brings_what_it_needs(shop: Site, index: Index, team: Path) -> None:
    directory = project(shop, "carried", "alpha")
    shutil.move(team, directory / ".pkgview")
    before = len(index.asked)
    shop.pkgview("trust", cwd=directory)  # nothing but its user's word proves what it says
    assert shop.up(directory)["fetched"] == 0
    assert not [path for path in index.asked[before:] if path.endswith(".whl")]
    (directory / ".pkgview").rename(shop.home / "elsewhere")
    for name in Store(shop.places.store).names():
        Store(shop.places.store).verify(name)
    python = directory / ".venv/bin/python"
    assert shop.run(python, "-c", "import alpha; print(1)", cwd=directory).stdout == "1\n"
