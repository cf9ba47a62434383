"""What one pushes, another uses: with a lock alone, by a name, and without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.mounted.conftest import Index, Site, a_shop, an_index
from tests.unionfs.store.remote import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.fuse

PROJECT = """\
[project]
name = "demo"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha", "beta"]
[tool.uv]
package = false
"""


class Team(NamedTuple):
    """Who has pushed `project` to the store `url`, whose `key` is there, and the index it was of."""

    site: Site
    index: Index
    project: Path
    url: str
    keys: Path
    www: Path

    @property
    def key(self) -> str:
        return str(self.keys / "good")

    def push(self, tag: str = "main", *more: str) -> dict[str, Any]:
        return said(self.site, "push", f"{self.url}:{tag}", *more, cwd=self.project)


def said(site: Site, *command: str | Path, cwd: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(site.pkgview(*command, "--json", cwd=cwd).stdout)


@pytest.fixture(scope="module")
def team(
    fuse: None,  # noqa: ARG001 - its refusal counts
    tmp_path_factory: pytest.TempPathFactory,
    needs: Callable[..., None],
) -> Iterator[Team]:
    """One registry, one index, and a view with bytecode that is signed by `good`."""
    needs("docker-registry", "ssh-keygen")
    directory = tmp_path_factory.mktemp("team")
    keys = directory / "keys"
    keys.mkdir()
    for name in ("good", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", keys / name]
        subprocess.run(command, check=True)
    with (
        an_index(directory / "index") as index,
        servers.registry(directory / "registry") as host,
        a_shop(directory / "home", index) as site,
    ):
        index.wheel("alpha", files={"alpha.py": b"x = 1\n", "large.py": noise(3 << 20)})
        index.wheel("beta", scripts=["beta=beta:hello"])
        project = site.project("project")
        (project / "pyproject.toml").write_text(PROJECT)
        site.uv("lock", cwd=project)
        site.up(project, "--compile")
        made = Team(site, index, project, f"oci://{host}/team/env", keys, directory / "www")
        made.push("main", "--sign", made.key)
        yield made


def noise(size: int) -> bytes:
    """A module that is large and stays so."""
    import random

    return b"y = '''\n" + random.Random(1).randbytes(size).hex().encode() + b"\n'''\n"


@contextmanager
def another(team: Team, tmp_path: Path, *, plugged: bool = False) -> Iterator[tuple[Site, Path]]:
    """A home that has never seen anything, with a clone of the project.

    Unless `plugged`, there is no index any more, and none of the files of the lock.
    """
    nowhere = "http://127.0.0.1:9"
    with a_shop(tmp_path / "another", team.index) as site:
        project = site.project("project")
        lock = (team.project / "uv.lock").read_text()
        shutil.copy(team.project / "pyproject.toml", project)
        if not plugged:
            environ = {**site.environ, "UV_DEFAULT_INDEX": f"{nowhere}/simple"}
            lock = lock.replace(team.index.url.removesuffix("/simple"), nowhere)
            site = Site(home=site.home, places=site.places, python=site.python, environ=environ)
        (project / "uv.lock").write_text(lock)
        yield site, project


def held(site: Site, name: str) -> tuple[int, int]:
    """How much of an archive is here, and how large it is, in bytes; whole ones are 0 of 0."""
    found = list((site.places.store / "partial").glob(f"{name}-*.zst"))
    return (found[0].stat().st_blocks * 512, found[0].stat().st_size) if found else (0, 0)


def layers(site: Site, view: str) -> dict[str, Any]:
    manifest = json.loads((site.places.state / "manifests" / f"{view}.json").read_bytes())
    return {layer["name"]: layer for layer in manifest["layers"]}


def test_up_of_a_lock_alone(team: Team, tmp_path: Path) -> None:
    with another(team, tmp_path) as (site, project):
        nothing = site.pkgview("up", "--frozen", cwd=project, code=1)
        assert "127.0.0.1:9" in nothing.stderr
        site.pkgview("store", "add", team.url, "--key", f"{team.key}.pub", cwd=project)
        before = len(team.index.asked)
        done = site.up(project)
        assert (done["fetched"], len(team.index.asked)) == (0, before)
        # With the bytecode that the signer vouches for.
        assert all(one["bytecode"] for one in layers(site, done["view"]).values() if one["name"])
        python = project / ".venv/bin/python"
        ended = site.run(python, "-c", "import alpha, beta; print(alpha.x)", cwd=project)
        assert ended.stdout == "1\n"
        here, size = held(site, "alpha")
        assert 0 < here < size / 2
        site.pkgview("store", "verify", "--signatures", cwd=project)
        site.pkgview("gc", cwd=project)
        assert "Nothing to do" in site.pkgview("up", cwd=project).stderr


def test_without_a_word_it_goes_on_as_always(team: Team, tmp_path: Path) -> None:
    with another(team, tmp_path, plugged=True) as (site, project):
        other = f"{team.key.removesuffix('good')}other.pub"
        site.pkgview("store", "add", team.url, "--key", other, cwd=project)
        gone = "oci://127.0.0.1:9/team/env"
        site.pkgview("store", "add", gone, "--trust", cwd=project)
        ended = site.pkgview("up", cwd=project)
        assert "which you have not listed" in ended.stderr
        assert "(and 1 more like that)" in ended.stderr
        assert gone in ended.stderr
        assert "fetched 2" in ended.stderr
