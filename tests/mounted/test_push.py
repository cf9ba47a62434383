"""A project's view, pushed to a real registry and copied for a web server, and read there again."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from resolver.fetch.client import Patience
from resolver.manifest import ViewId
from tests.mounted.test_containers import LIMITS, make_rootfs
from tests.mounted.test_json import faults, shapes
from tests.unionfs.store.remote import servers
from unionfs.cli.progress import Display
from unionfs.store.local import Store
from unionfs.store.ordered import Stores
from unionfs.store.remote.addresses import address
from unionfs.store.remote.statement import Derived, View, read
from unionfs.store.remote.static.directory import DirectoryTransport
from unionfs.store.remote.stores import transport
from unionfs.upkeep.pushing import parcel, push
from unionfs.view.opened import load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.mounted.conftest import Index, Site
    from unionfs.store.remote.oci.repository import OciTransport
    from unionfs.store.remote.static.http import HttpTransport
    from unionfs.store.remote.static.s3 import S3Transport
    from unionfs.store.remote.transport import Statement

pytestmark = pytest.mark.fuse

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.2, connect=2.0, stall=5.0)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]) -> Iterator[str]:
    """A registry that wants a user and a password."""
    needs("docker-registry")
    directory = tmp_path_factory.mktemp("registry")
    with servers.registry(directory, servers.basic_auth(directory)) as found:
        yield found


@pytest.fixture
def project(shop: Site, index: Index) -> Path:
    index.wheel("alpha")
    index.wheel("beta")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\nbeta\n")
    shop.up(directory)
    return directory


@pytest.fixture
def logged_in(shop: Site, host: str) -> Site:
    """Who has said `podman login`, and so has the file."""
    file = shop.home / ".config/containers/auth.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"auths": {host: {"auth": servers.both()}}}))
    return shop


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path podman finds short enough."""
    with tempfile.TemporaryDirectory(prefix="podman-") as found:
        yield Path(found)


def said(site: Site, *command: str | Path, cwd: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(site.pkgview(*command, "--json", cwd=cwd).stdout)


async def whole(
    remote: OciTransport | HttpTransport | S3Transport, reference: str, store: Store
) -> View:
    """The view of that tag, every archive of which is there byte for byte, with its sources."""
    async with remote:
        statement = await remote.view(reference)
        assert statement is not None
        view = read(statement.said)
        assert isinstance(view, View)
        for name in view.manifest.archives:
            blob = await remote.find(name)
            assert blob is not None
            pieces = [piece async for piece in remote.read(blob, 0, blob.size)]
            assert b"".join(pieces) == store.path(name).read_bytes()
        for key, name in view.sources.items():
            (found,) = await remote.derived(key)
            assert read(found.said) == Derived(source=key, archive=name)
        assert view.sources
    return view


def test_push(logged_in: Site, host: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = f"oci://{host}/team/env"
    done = said(logged_in, "push", f"{at}:main", cwd=project)
    view = logged_in.pkgview("view", "--path", cwd=project).stdout.strip().rpartition("/")[2]
    assert faults(shapes()["push"], done) == []
    assert done["store"] == at
    assert done["views"] == [{"view": view, "tag": "main"}]
    assert done["archives"] >= 3
    again = said(logged_in, "push", project, f"{at}:main", cwd=logged_in.home)
    assert (again["archives"], again["size"], again["kept"]) == (0, 0, done["archives"])

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, logged_in.environ.get(name, ""))
    store = Store(logged_in.places.store)
    for reference in ("main", view):
        found = trio.run(whole, transport(address(at), patience=QUICK), reference, store)
        assert (found.id, found.name, found.store) == (view, "main", at)


def test_without_a_password_nobody_is_told_one(shop: Site, host: str, project: Path) -> None:
    refused = shop.pkgview("push", f"oci://{host}/team/env", cwd=project, code=1)
    assert "401" in refused.stderr
    assert f"podman login {host}" in refused.stderr
    secret = shop.pkgview("push", f"oci://u:geheim@{host}/team/env", cwd=project, code=1)
    assert "no user and password in it" in secret.stderr
    assert "geheim" not in secret.stderr


def test_an_image_that_runs_by_itself(
    logged_in: Site, host: str, project: Path, needs: Callable[..., None], short: Path
) -> None:
    needs("podman", "runc", "skopeo")
    if os.geteuid() != 0:
        pytest.skip("only root's containers run without a network of their own everywhere")
    auth = logged_in.home / ".config/containers/auth.json"
    environ = {**os.environ, "REGISTRY_AUTH_FILE": str(auth)}
    podman = [
        "podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs",
        "--root", str(short / "images"), "--runroot", str(short / "run"),
    ]  # fmt: skip

    def run(*command: str | Path) -> str:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    rootfs = short / "rootfs"
    make_rootfs(rootfs)  # the programs are the host's
    run("tar", "-C", rootfs, "-cf", short / "base.tar", ".")
    run(*podman, "import", short / "base.tar", "base")
    base = f"{host}/base/python:3"
    run(*podman, "push", "--tls-verify=false", "base", f"docker://{base}")

    at = f"oci://{host}/team/image"
    logged_in.pkgview("push", f"{at}:main", "--image", f"oci://{base}", cwd=project)
    there = f"{host}/team/image:main-image"
    shown = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{there}"))
    assert "PYTHONPATH=/pkgview" in shown["Env"]
    python = ["-v", "/usr:/usr:ro", *LIMITS]
    run(*podman, "pull", "--tls-verify=false", there)
    say = "import alpha, beta, sys; print(alpha.__file__, beta.__file__, sys.executable)"
    said = run(*podman, "run", "--rm", *python, there, "python", "-c", say)
    assert said.split()[:2] == ["/purelib/alpha.py", "/purelib/beta.py"]


def test_what_a_web_server_gives(
    shop: Site, project: Path, needs: Callable[..., None], tmp_path: Path
) -> None:
    needs("nginx")
    root = tmp_path / "www"
    shop.pkgview("store", "copy", root / "env", project, "--tag", "x", cwd=project, code=2)
    done = said(
        shop, "store", "copy", "--views", root / "env", project, "--tag", "main", cwd=project
    )
    (view,) = done["views"]
    files = {path: path.stat() for path in (root / "env").rglob("*") if path.is_file()}
    assert {oct(status.st_mode & 0o777) for status in files.values()} == {"0o444", "0o644"}
    again = said(shop, "store", "copy", "--views", root / "env", view["view"], cwd=shop.home)
    assert (again["archives"], again["kept"]) == (0, done["archives"])
    for path, status in files.items():
        assert path.name == f"{view['view']}.json" or path.stat().st_ino == status.st_ino

    with servers.nginx(tmp_path / "nginx", root) as host:
        at = f"http://{host}/env"
        refused = shop.pkgview("push", at, cwd=project, code=1)
        assert "store copy --views" in refused.stderr
        store = Store(shop.places.store)
        for reference in ("main", view["view"]):
            found = trio.run(whole, transport(address(at), patience=QUICK), reference, store)
            assert found.id == view["view"]


async def test_what_was_signed_stays_signed(shop: Site, project: Path, tmp_path: Path) -> None:
    view = ViewId(said(shop, "view", cwd=project)["view"])
    stores, remote = Stores(shop.places), DirectoryTransport(tmp_path / "www")
    what = parcel(stores, [(load_manifest(shop.places, view), "main")])
    asked: list[int] = []

    def sign(texts: Sequence[bytes]) -> list[tuple[str, ...]]:
        asked.append(len(texts))
        return [("signed",) for _ in texts]

    with Display(quiet=True) as display:
        await push(remote, stores, what, display, sign)
        first = await remote.view("main")
        assert first is not None
        assert first.signatures == ("signed",)
        # The same once more, by who signs nothing, and then by who does.
        await push(remote, stores, what, display)
        assert await remote.view("main") == first
        for key in what.sources:
            (found,) = await remote.derived(key)
            assert found.signatures == ("signed",)
        await push(remote, stores, what, display, sign)
    assert asked == [len(what.sources) + 1] * 2
    again = await remote.view("main")
    assert again is not None
    assert serial(again) > serial(first)


def serial(statement: Statement) -> int:
    view = read(statement.said)
    assert isinstance(view, View)
    return view.serial


def test_stores_beyond_this_machine_are_listed(shop: Site) -> None:
    added = {
        "oci://registry.example.org/team/env": ["--trust"],
        "https://example.org/env/": [],
    }
    here = shop.home
    for url, options in added.items():
        assert said(shop, "store", "add", url, *options, cwd=here)["path"] == url
    shop.pkgview("store", "add", "oci://Registry.example.org/team/env", "--insecure", cwd=here)
    listed = [one for one in said(shop, "store", "list", cwd=here) if one["rank"] == "remote"]
    assert [(one["path"], one["believed"]) for one in listed] == [
        ("https://example.org/env/", "nothing"),
        ("oci://registry.example.org/team/env", "nothing"),
    ]
    for refused, why in {
        "oci://registry.example.org/team/env:main": "names a view",
        "http://example.org/env": "without TLS",
        "oci://registry.example.org/Team": "names no repository",
        "https://example.org/env:main": "names a view",
        "s3://bucket/env:main": "names a view",
        "s3://bucket:1/env": "no remote store's address",
        "oci://u:geheim@registry.example.org/team": "no user and password",
    }.items():
        ended = shop.pkgview("store", "add", refused, cwd=here, code=1)
        assert why in ended.stderr
        assert "geheim" not in ended.stderr
    shop.pkgview("store", "add", "/nowhere", "--trust", cwd=here, code=2)
    shop.pkgview("store", "add", "https://example.org/env", "--shared", cwd=here, code=2)
    shop.pkgview("store", "remove", "https://EXAMPLE.org/env", cwd=here)
    shop.pkgview("store", "remove", "oci://registry.example.org/team/env", cwd=here)
    shop.pkgview("store", "remove", "oci://registry.example.org/team/env", cwd=here, code=1)
    assert all(one["rank"] != "remote" for one in said(shop, "store", "list", cwd=here))
