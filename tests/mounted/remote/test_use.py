"""What one pushes, another uses: with a lock alone, by a name, and without a network."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.mounted.conftest import Index, Site, a_shop, an_index
from tests.unionfs.store.remote import servers
from unionfs.archive.framecache import FrameCache
from unionfs.archive.reader import Archive
from unionfs.store.partial import Partials
from unionfs.store.remote.lazy.counts import fetched
from unionfs.store.remote.lazy.meeting import endpoint_of, trace_path
from unionfs.store.remote.use import traces

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
    """Who has pushed `project` to the store `url`, signed with `key`, and its index."""

    site: Site
    shop: Index
    project: Path
    url: str
    keys: Path
    www: Path

    @property
    def key(self) -> str:
        return str(self.keys / "good")

    def push(self, tag: str = "main", *more: str) -> Any:  # noqa: ANN401 - JSON
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
    text = random.Random(1).randbytes(size).hex()  # noqa: S311 - content, no secret
    return f"y = '{text}'\n".encode()


@contextmanager
def another(team: Team, tmp_path: Path, *, plugged: bool = False) -> Iterator[tuple[Site, Path]]:
    """A home that has never seen anything, with a clone of the project.

    Unless `plugged`, there is no index any more, and none of the files of the lock.
    """
    nowhere = "http://127.0.0.1:9"
    with a_shop(tmp_path / "another", team.shop) as made:
        site = made
        project = site.project("project")
        lock = (team.project / "uv.lock").read_text()
        shutil.copy(team.project / "pyproject.toml", project)
        if not plugged:
            environ = {**site.environ, "UV_DEFAULT_INDEX": f"{nowhere}/simple"}
            lock = lock.replace(team.shop.url.removesuffix("/simple"), nowhere)
            site = replace(site, environ=environ)
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
        before = len(team.shop.asked)
        done = site.up(project)
        assert (done["fetched"], len(team.shop.asked)) == (0, before)
        # With the bytecode that the signer vouches for.
        assert all(one["bytecode"] for one in layers(site, done["view"]).values() if one["name"])
        python = project / ".venv/bin/python"
        ended = site.run(python, "-c", "import alpha, beta; print(alpha.x)", cwd=project)
        assert ended.stdout == "1\n"
        here, size = held(site, "alpha")
        assert 0 < here < size / 2
        site.pkgview("store", "verify", cwd=project)
        site.pkgview("store", "verify", "--signatures", cwd=project)
        site.pkgview("gc", cwd=project)
        (of_alpha,) = [
            one
            for one in said(site, "store", cwd=project)["archives"]
            if one["archive"].startswith("alpha-") and one["of"] == size
        ]
        assert 0 < of_alpha["size"] < size / 2
        assert " of " in site.pkgview("store", cwd=project).stdout
        remote = said(site, "store", "list", cwd=project)[-1]
        assert (remote["path"], remote["held"]["archives"]) == (team.url, 2)  # and its bytecode
        assert 0 < remote["held"]["here"] < remote["held"]["size"] / 2
        status = said(site, "status", cwd=project)["remote"]
        assert status["answered"] >= 1
        assert status["failed"] == 0
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


SAY = "import alpha, beta, os; print(os.path.realpath(alpha.__file__))"


def test_a_view_by_its_name(team: Team, tmp_path: Path) -> None:
    with another(team, tmp_path) as (site, project):
        here, at = site.home, f"{team.url}:main"
        own = ["run", at, "--", "python", "-c", SAY]
        refused = site.pkgview(*own, cwd=here, code=1)
        assert f"you have listed no key for {team.url}" in refused.stderr
        refused = site.pkgview("run", "--key", f"{team.keys}/other.pub", *own[1:], cwd=here, code=1)
        assert "which you have not listed" in refused.stderr
        key = ["--key", f"{team.key}.pub"]
        ended = site.pkgview("run", *key, *own[1:], cwd=here)
        assert str(site.places.mount) in ended.stdout
        assert "main of good (SHA256:" in ended.stderr
        assert held(site, "alpha")[0] < held(site, "alpha")[1] / 2
        # A project that is here is not looked at; nothing can be added.
        site.pkgview("run", *key, "--with", "gamma", *own[1:], cwd=project, code=1)
        site.pkgview("run", *key, at, cwd=project, code=2)
        site.pkgview("run", *key, f"{team.url}:nothing", "--", "true", cwd=project, code=1)

        offline = site.pkgview("run", "--offline", *own[1:], cwd=project)
        assert offline.stdout == ended.stdout
        assert said(site, "pull", at, *key, cwd=project)["size"] > 0
        assert held(site, "alpha") == (0, 0)
        assert said(site, "pull", at, *key, cwd=project)["size"] == 0


def test_trusted_without_a_signature(team: Team, tmp_path: Path) -> None:
    team.push("unsigned")
    with another(team, tmp_path) as (site, project):
        own = ["run", f"{team.url}:unsigned", "--", "python", "-c", SAY]
        site.pkgview(*own, cwd=project, code=1)
        ended = site.pkgview("run", "--trust", *own[1:], cwd=project)
        view = ended.stdout.split("/views/")[1].split("/")[0]
        # What is run without any file that could prove it counts by a key alone.
        assert not any("bytecode" in one and one["bytecode"] for one in layers(site, view).values())


MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def put_back(team: Team, tag: str, old: bytes | None = None) -> bytes:
    """What the registry has under a tag; as an attacker, put there what it had before."""
    host, _, path = team.url.removeprefix("oci://").partition("/")
    address = f"http://{host}/v2/{path}/manifests/{tag}"
    headers = {"Accept": MANIFEST, "Content-Type": MANIFEST}
    method = "GET" if old is None else "PUT"
    asked = urllib.request.Request(address, data=old, headers=headers, method=method)
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 - the same
        found: bytes = answer.read()
    return found


def test_an_older_view_is_refused(team: Team, tmp_path: Path) -> None:
    team.push("moving", "--sign", team.key)
    old = put_back(team, "moving")
    team.push("moving", "--sign", team.key)
    with another(team, tmp_path) as (site, project):
        own = ["--key", f"{team.key}.pub", f"{team.url}:moving", "--", "python", "-c", "print(1)"]
        site.pkgview("run", *own, cwd=project)
        put_back(team, "moving", old)
        refused = site.pkgview("run", *own, cwd=project, code=1)
        assert "an older view than was seen there" in refused.stderr
        assert "--allow-older" in refused.stderr
        assert site.pkgview("run", "--allow-older", *own, cwd=project).stdout == "1\n"
        site.pkgview("run", *own, cwd=project)


def test_without_a_network_what_is_here_works(team: Team, tmp_path: Path) -> None:
    with another(team, tmp_path) as (site, project):
        with servers.registry(tmp_path / "registry") as host:
            url = f"oci://{host}/env"
            said(team.site, "push", f"{url}:main", "--sign", team.key, cwd=team.project)
            own = ["--key", f"{team.key}.pub", f"{url}:main", "--", "python", "-c", SAY]
            first = site.pkgview("run", *own, cwd=project)
            site.pkgview("store", "add", url, "--key", f"{team.key}.pub", cwd=project)
            site.up(project, "--lazy", "background")
            python = project / ".venv/bin/python"
            site.run(python, "-c", SAY, cwd=project)
            wait_for(lambda: held(site, "alpha") == (0, 0))
        again = site.pkgview("run", *own, cwd=project)
        assert again.stdout == first.stdout
        assert "As it was when it was asked: main of good" in again.stderr
        assert "Nothing to do" in site.pkgview("up", cwd=project).stderr
        site.run(python, "-c", f"{SAY}; import large", cwd=project)


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_web_server(team: Team, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("nginx")
    root = tmp_path / "www"
    root.mkdir()
    with (
        another(team, tmp_path) as (site, project),
        servers.nginx(tmp_path / "nginx", root) as host,
    ):
        url = f"http://{host}/env"
        copy: list[str | Path] = [
            "store",
            "copy",
            "--views",
            root / "env",
            team.project,
            "--tag",
            "main",
        ]
        (archive,) = (team.site.places.store / "archives").glob("alpha-1.0-*")
        trace_path(team.site.places, archive.name).unlink(missing_ok=True)
        traces.keep(team.site.places, archive.name, [0, 1])
        team.site.pkgview(*copy, "--sign", team.key, cwd=tmp_path, code=2)
        team.site.pkgview(*copy, "--sign", team.key, "--url", url, cwd=tmp_path)
        own = ["--key", f"{team.key}.pub", f"{url}:main", "--", "python", "-c", SAY]
        assert "alpha.py" in site.pkgview("run", *own, cwd=project).stdout
        assert traces.load(site.places, archive.name) == [0, 1]
        site.pkgview("store", "add", url, "--key", f"{team.key}.pub", cwd=project)
        assert site.up(project)["fetched"] == 0


def test_a_bucket(team: Team, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs(modules=servers.S3_MODULES)
    read, write = ("s3:GetObject", "s3:ListBucket"), ("s3:PutObject",)
    with another(team, tmp_path) as (site, project), servers.s3(tmp_path / "s3") as server:
        writer = replace(
            team.site, environ={**team.site.environ, **server.user("w", *read, *write)}
        )
        keys = server.user("r", *read)
        server.strict()
        url = "s3://team/env"
        signed = ["--sign", team.key]
        done = said(writer, "push", team.project, f"{url}:main", *signed, cwd=tmp_path)
        assert (done["store"], done["kept"]) == (f"{url}/", 0)
        again = said(writer, "store", "copy", url, team.project, "--tag", "x", cwd=tmp_path)
        assert (again["archives"], again["kept"]) == (0, done["archives"])
        refused = writer.pkgview("store", "copy", team.url, team.project, cwd=tmp_path, code=1)
        assert "`pkgview push`" in refused.stderr

        # Who reads has a profile, and the server and the fetcher find it there.
        aws = site.home / ".aws"
        aws.mkdir()
        (aws / "config").write_text(f"[default]\nendpoint_url = {server.url}\n")
        (aws / "credentials").write_text(
            f"[default]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
            f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
        )
        key = ["--key", f"{team.key}.pub"]
        run = ["run", *key, f"{url}:main", "--", "python", "-c"]
        assert "alpha.py" in site.pkgview(*run, SAY, cwd=project).stdout
        here, whole = held(site, "alpha")
        assert 0 < here < whole
        refused = site.pkgview("run", *key, f"{url}:x", "--", "true", cwd=project, code=1)
        assert "nobody has signed" in refused.stderr
        site.pkgview("store", "add", url, *key, cwd=project)
        assert site.up(project)["fetched"] == 0
        site.pkgview(*run, "import large; print(len(open(large.__file__).read()))", cwd=project)
        assert held(site, "alpha") != (here, whole)
        site.pkgview("pull", *key, f"{url}:main", cwd=project)
        assert held(site, "alpha") == (0, 0)
        refused = site.pkgview("push", f"{url}:y", cwd=project, code=1)
        assert "it refuses (403 AccessDenied)" in refused.stderr
        listed = said(site, "store", "list", cwd=project)
        assert [one["path"] for one in listed if one["rank"] == "remote"] == [f"{url}/"]


def test_what_was_touched_first_is_fetched_first(team: Team, tmp_path: Path) -> None:
    (archive,) = (path for path in (team.site.places.store / "archives").glob("alpha-1.0-*"))
    end = Archive.open(archive, FrameCache(0)).contents.frame_count - 1
    frames = [0, 1, end // 2]
    trace_path(team.site.places, archive.name).unlink(missing_ok=True)
    traces.keep(team.site.places, archive.name, frames)
    team.push("traced", "--sign", team.key)
    with another(team, tmp_path) as (site, project):
        own = ["run", "--key", f"{team.key}.pub", f"{team.url}:traced", "--"]
        site.pkgview(*own, "true", cwd=project)
        assert traces.load(site.places, archive.name) == frames
        # They came with the tables: nobody has read them, and nobody was asked for them.
        partials = Partials(site.places.store)
        here = partials.open(archive.name, FrameCache(0))
        assert not here.absent_of(frames)
        assert here.absent_of(range(end))
        assert endpoint_of(site.places).pids() == []
        assert fetched(partials)[team.url]["requests"] == 1
        # What is here in parts is fetched before it goes on.
        site.pkgview("store", "add", team.url, "--key", f"{team.key}.pub", cwd=project)
        site.up(project)
        assert held(site, "alpha") > (0, 0)
        pushed = said(site, "push", f"{team.url}-more:main", cwd=project)
        assert (pushed["archives"], pushed["kept"]) == (5, 0)
        assert held(site, "alpha") == (0, 0)
