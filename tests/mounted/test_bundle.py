"""A project that was made whole on one machine runs on another that has no network."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.places import Places
from tests.mounted.conftest import tidy
from unionfs.store.local import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse


@pytest.fixture
def elsewhere(shop: Site, tmp_path: Path) -> Iterator[Site]:
    """Another home, which shares nothing with the first."""
    home = tmp_path / "elsewhere"
    (home / "tmp").mkdir(parents=True)
    own = {"HOME": os.fspath(home), "TMPDIR": os.fspath(home / "tmp")}
    environ = {**shop.environ, **own}
    try:
        yield replace(shop, home=home, environ=environ, places=Places.from_environ(environ))
    finally:
        tidy(home)


def project(site: Site, name: str, *requirements: str) -> Path:
    directory = site.project(name)
    (directory / "requirements.txt").write_text("\n".join(requirements) + "\n")
    return directory


def counted(site: Site, *command: str | Path, cwd: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(site.pkgview("store", *command, "--json", cwd=cwd).stdout)


@pytest.mark.parametrize("way", ["export", "copy"])
def test_another_home_goes_offline(shop: Site, elsewhere: Site, index: Index, way: str) -> None:
    index.wheel("alpha")
    index.wheel("beta")
    directory = project(shop, "project", "alpha")
    other = project(shop, "other", "beta")
    shop.pkgview("lock", cwd=directory)
    for one in (directory, other):
        shop.up(one)
    taken = elsewhere.home / "project"
    if way == "export":
        file = shop.home / "bundle.tar"
        sent = counted(shop, "export", file, directory, cwd=shop.home)
        assert sent["archives"] == 1  # what an environment has of its own is made by each store
        got = counted(elsewhere, "import", file, cwd=elsewhere.home)
        assert got == sent
        assert counted(elsewhere, "import", file, cwd=elsewhere.home)["kept"] == 1
        assert not [*Store(elsewhere.places.store).archives.glob("beta-*")]
    else:
        assert counted(shop, "copy", directory / ".pkgview", ".", cwd=directory)["archives"] == 1
    shutil.copytree(directory, taken, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    index.asked.clear()
    if way == "copy":  # who brought it is believed by the user's word only
        elsewhere.pkgview("trust", cwd=taken)
    answer = elsewhere.up(taken, "--offline")
    assert answer["fetched"] == 0
    assert not index.asked
    said = elsewhere.run(taken / ".venv/bin/python", "-c", "import alpha", cwd=taken)
    assert not said.stderr


def test_a_damaged_archive_that_a_project_brings_is_named(
    shop: Site, elsewhere: Site, index: Index
) -> None:
    index.wheel("alpha")
    directory = project(shop, "project", "alpha")
    shop.pkgview("lock", cwd=directory)
    shop.up(directory)
    counted(shop, "copy", directory / ".pkgview", ".", cwd=directory)
    (archive,) = (directory / ".pkgview/archives").glob("alpha-*")
    archive.chmod(0o644)
    archive.write_bytes(archive.read_bytes()[:-9])
    taken = elsewhere.home / "taken"
    shutil.copytree(directory, taken, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    elsewhere.pkgview("trust", cwd=taken)
    said = elsewhere.pkgview("up", cwd=taken).stderr
    assert f"{taken}/.pkgview/archives/{archive.name} is not what its name says" in said
    elsewhere.run(taken / ".venv/bin/python", "-c", "import alpha", cwd=taken)


def test_what_the_commands_refuse(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = project(shop, "project", "alpha")
    said = shop.pkgview("store", "export", "b.tar", ".", cwd=directory, code=1)
    assert "has no view" in said.stderr
    assert "pkgview up" in said.stderr
    assert [path.name for path in directory.iterdir()] == ["requirements.txt"]
    said = shop.pkgview("store", "import", "requirements.txt", cwd=directory, code=1)
    assert "requirements.txt: it is no bundle" in said.stderr
    said = shop.pkgview("store", "import", "nowhere", cwd=directory, code=1)
    assert "No such file" in said.stderr
    fifo = directory / "fifo"
    os.mkfifo(fifo)
    said = shop.pkgview("store", "export", fifo, cwd=directory, code=1)
    assert "no regular file" in said.stderr
    said = shop.pkgview("store", "export", "-", "--json", cwd=directory, code=2)
    assert "standard output" in said.stderr


def test_through_a_pipe(shop: Site, elsewhere: Site, index: Index) -> None:
    index.wheel("alpha")
    shop.up(project(shop, "project", "alpha"))
    command = 'pkgview=$1; "$pkgview" store export - | HOME=$2 "$pkgview" store import -'
    pkgview = Path(sys.executable).with_name("pkgview")
    shop.run("sh", "-ec", command, "sh", pkgview, elsewhere.home, cwd=shop.home)
    (name,) = Store(elsewhere.places.store).names()
    assert name in Store(shop.places.store).names()
    assert name.startswith("alpha")
