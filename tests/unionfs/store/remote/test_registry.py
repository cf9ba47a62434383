"""A store in a real registry (Debian's): what is pushed there, and had from there again."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import re
import subprocess
import traceback
import urllib.request
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from resolver.errors import PkgviewError
from resolver.fetch.client import Patience
from tests.unionfs.store.remote import servers
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.store.remote.addresses import address
from unionfs.store.remote.oci import artifacts
from unionfs.store.remote.oci import registry as oci_registry
from unionfs.store.remote.statement import Derived
from unionfs.store.remote.stores import repository
from unionfs.store.remote.transport import Blob, RemoteError, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from unionfs.store.remote.oci.repository import OciTransport
    from unionfs.store.remote.web.messages import Answer

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.2, connect=2.0, stall=5.0)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]) -> Iterator[str]:
    needs("docker-registry")
    with servers.registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]) -> Iterator[str]:
    """One that wants a user and a password."""
    needs("docker-registry")
    directory = tmp_path_factory.mktemp("guarded")
    with servers.registry(directory, servers.basic_auth(directory)) as found:
        yield found


@pytest.fixture(autouse=True)
def _own_places(isolated_places: object) -> None:
    """No file of the user's own says a password."""


def opened(host: str, name: str = "team/env", beside: tuple[str, ...] = ()) -> OciTransport:
    return repository(address(f"oci://{host}/{name}"), patience=QUICK, beside=beside)


def archive(store: Store, stem: str, size: int) -> str:
    content = random.Random(stem).randbytes(size)  # noqa: S311 - content, no secret
    member = Member(path=b"purelib/a.bin", size=size, open=partial(io.BytesIO, content))
    return store.add([member], Meta(kind="distribution", name=stem, version="1", stem=f"{stem}-1"))


async def read(store: OciTransport, name: str, start: int, end: int) -> bytes:
    blob = await store.find(name)
    assert blob is not None
    async with contextlib.aclosing(store.read(blob, start, end)) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_an_archive_there_and_back(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, "there", 300_000)
    whole = store.path(name).read_bytes()
    async with opened(host) as remote:
        assert await remote.find(name) is None
        assert await remote.put_archive(name, store.path(name))
        assert not await remote.put_archive(name, store.path(name))
    async with opened(host) as remote:
        blob = await remote.find(name)
        assert blob is not None
        assert (blob.name, blob.size) == (name, len(whole))
        assert await read(remote, name, 0, blob.size) == whole
        assert await read(remote, name, 1000, 2000) == whole[1000:2000]
        # Past the end, where Debian's answers 416 with the whole file's length.
        assert await read(remote, name, blob.size - 10, blob.size + 1000) == whole[-10:]
        assert await read(remote, name, blob.size, blob.size + 10) == b""
        longer = replace(blob, size=blob.size + 1000)
        with pytest.raises(RemoteError, match="416"):
            async for _ in remote.read(longer, blob.size + 1, blob.size + 2):
                pass
        with pytest.raises(RemoteError, match="has 300,"):
            async for _ in remote.read(longer, 0, 10):
                pass
        with pytest.raises(RemoteError, match="nothing at"):
            async for _ in remote.read(replace(blob, address="../x"), 0, 10):
                pass


async def test_a_damaged_archive_is_not_sent(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, "damaged", 300_000)
    text = bytearray(store.path(name).read_bytes())
    text[1000] ^= 1
    (tmp_path / "damaged").write_bytes(text)
    async with opened(host) as remote:
        with pytest.raises(LayerError):
            await remote.put_archive(name, tmp_path / "damaged")
        assert await remote.find(name) is None


async def test_a_blob_that_was_deleted_is_sent_again(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, "deleted", 30_000)
    async with opened(host) as remote:
        await remote.put_archive(name, store.path(name))
        blob = await remote.find(name)
        assert blob is not None
        at = f"http://{host}/v2/team/env/blobs/{blob.address}"
        gone = urllib.request.Request(at, method="DELETE")
        urllib.request.urlopen(gone).close()  # noqa: ASYNC210, S310 - of this machine
        assert await remote.put_archive(name, store.path(name))
        assert await read(remote, name, 0, blob.size) == store.path(name).read_bytes()


async def test_who_says_what_of_a_key(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name, key = archive(store, "said", 3000), "sha256-" + "a+b!" * 20
    first = Derived(source=key, archive=name).to_bytes()
    other = Derived(source=key, archive=name.replace("said", "other")).to_bytes()
    async with opened(host) as remote:
        assert await remote.derived(key) == ()
        await remote.put_archive(name, store.path(name))
        await remote.put_derived(key, Statement(said=first, signatures=("one\n",)))
        await remote.put_derived(key, Statement(said=first, signatures=("two\n",)))
        await remote.put_derived(key, Statement(said=first))
        await remote.put_derived(key, Statement(said=other))
    async with opened(host) as remote:
        assert await remote.derived(key) == (
            Statement(said=first, signatures=("one\n", "two\n")), Statement(said=other),
        )  # fmt: skip
        asked = remote.registry.exchange
        del remote.registry
        blob = await remote.find(name)  # by what was read: nobody is asked
        assert blob is not None
        remote.registry = oci_registry.Registry(asked, "team/env")


async def test_a_view_by_its_names(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    names = [archive(store, f"view{number}", 3000) for number in range(3)]
    for size in (100, 1 << 20):  # in the manifest, and beside it
        said = json.dumps({"x": "ü" * (size // 2)}, ensure_ascii=False).encode()
        statement = Statement(said=said, signatures=("signed",))
        async with opened(host) as remote:
            for name in names:
                await remote.put_archive(name, store.path(name))
            blobs = [blob for name in names if (blob := await remote.find(name))]
            await remote.put_view(["0" * 32, "main"], statement, blobs)
        async with opened(host) as remote:
            assert await remote.view("other") is None
            assert await remote.view("main") == await remote.view("0" * 32) == statement
            assert [await remote.find(name) for name in names] == blobs
            for bad in ("archive-x", "", "a+b", "x" * 129):
                with pytest.raises(RemoteError, match="cannot be a view's tag"):
                    await remote.view(bad)
            # What is another's there is none of ours.
            with pytest.raises(RemoteError, match="none of pkgview's"):
                await remote._artifact("main", artifacts.DERIVED)


async def test_beginnings_for_each_zstd(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, "begun", 3000)
    async with opened(host) as remote:
        await remote.put_archive(name, store.path(name))
        assert await remote.beginning(name, "1.5.6") is None
        await remote.put_beginning(name, "1.5.6", b"an earlier one's")
    async with opened(host) as remote:
        await remote.put_beginning(name, "1.5.7", b"a later one's")
        blob = await remote.find(name)
        assert blob is not None
        await remote.put_view(["begun"], Statement(said=b"{}"), [blob])
        with pytest.raises(RemoteError, match="cannot be a view's tag"):
            await remote.view(artifacts.beginnings_tag(name))
    for by_view in (False, True):
        async with opened(host) as remote:
            registry = remote.registry
            if by_view:  # which says it all
                await remote.view("begun")
                del remote.registry
            begun = [await remote.beginning(name, by) for by in ("1.5.6", "1.5.7", "1.6")]
            remote.registry = registry
            assert begun[2] is None
            for one, data in zip(begun, (b"an earlier one's", b"a later one's"), strict=False):
                assert one is not None
                assert b"".join([part async for part in remote.read(one, 0, one.size)]) == data


async def test_a_manifest_of_more_than_4_mib_is_refused(host: str) -> None:
    blob = Blob(name=f"{'x' * 150}.{'0' * 64}.tar.zst", size=1, address=artifacts.digest_of(b"x"))
    async with opened(host) as remote:
        with pytest.raises(RemoteError, match="4 MiB"):
            await remote.put_view(["big"], Statement(said=b"{}"), [blob] * 9000)


async def test_large_ones_go_in_chunks(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_registry, "CHUNK", 100_000)
    store = Store(tmp_path / "store")
    name = archive(store, "chunks", 1_000_000)
    told: list[int] = []
    async with opened(host) as remote:
        remote.sent = told.append
        await remote.put_archive(name, store.path(name))
        blob = await remote.find(name)
        assert blob is not None
        assert (sum(told), len([one for one in told if one]) > 9) == (blob.size, True)
        assert await read(remote, name, 0, blob.size) == store.path(name).read_bytes()


async def test_a_registry_that_is_started_anew_while_it_is_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_registry, "CHUNK", 100_000)
    store = Store(tmp_path / "store")
    name = archive(store, "anew", 1_000_000)
    running, port, told = contextlib.ExitStack(), servers.free_port(), list[int]()

    def start() -> None:
        running.enter_context(servers.registry(tmp_path / "registry", port=port))

    def sent(count: int) -> None:
        told.append(count)
        if len(told) == 4:
            running.close()
            start()

    with running:
        start()
        async with opened(f"127.0.0.1:{port}") as remote:
            remote.sent = sent
            assert await remote.put_archive(name, store.path(name))
            blob = await remote.find(name)
            assert blob is not None
            assert sum(told) == blob.size
            assert await read(remote, name, 0, blob.size) == store.path(name).read_bytes()


async def test_connections_that_break_while_it_is_sent(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_registry, "CHUNK", 200_000)
    store = Store(tmp_path / "store")
    name = archive(store, "breaks", 1_000_000)
    told: list[int] = []
    with servers.relay(host) as (through, relayed):
        relayed.cuts = [300_000, 900_000, 1_500_000]
        async with opened(through, "team/breaks") as remote:
            remote.sent = told.append
            assert await remote.put_archive(name, store.path(name))
            blob = await remote.find(name)
            assert blob is not None
            assert sum(told) == blob.size
            assert await read(remote, name, 0, blob.size) == store.path(name).read_bytes()
        assert len(relayed.cuts) < 3


async def test_tls_and_who_vouches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Callable[..., None]
) -> None:
    needs("docker-registry", "openssl")
    made, key = servers.certificate(tmp_path)
    store = Store(tmp_path / "store")
    name = archive(store, "tls", 3000)
    with servers.registry(tmp_path / "registry", tls=(made, key)) as host:
        async with opened(host) as remote:
            with pytest.raises(RemoteError, match="SSL_CERT_FILE"):
                await remote.put_archive(name, store.path(name))
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
        async with opened(host) as remote:
            assert await remote.put_archive(name, store.path(name))


async def test_what_a_neighbour_has_is_not_sent(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, "mounted", 30_000)
    async with opened(host) as remote:
        await remote.put_archive(name, store.path(name))
    async with opened(host, "team/other", beside=("team/env",)) as remote:
        sent: list[str] = []
        asked = remote.registry.asked

        async def told(method: str, url: str, *more: Any) -> Answer:  # noqa: ANN401 - as they are
            sent.append(method)
            return await asked(method, url, *more)

        monkeypatch.setattr(remote.registry, "asked", told)
        assert await remote.put_archive(name, store.path(name))
        # It, and the configuration, which the neighbour has, too.
        assert sent == ["POST", "POST"]
        blob = await remote.find(name)
        assert blob is not None
        assert await read(remote, name, 0, blob.size) == store.path(name).read_bytes()


async def test_many_at_once_send_one_archive(host: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, "many", 300_000)

    async def push() -> None:
        async with opened(host, "team/many") as remote:
            await remote.put_archive(name, store.path(name))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(push)
    async with opened(host, "team/many") as remote:
        blob = await remote.find(name)
        assert blob is not None
        assert await read(remote, name, 0, blob.size) == store.path(name).read_bytes()


async def test_skopeo_reads_and_copies_it(
    host: str, tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("skopeo")
    store = Store(tmp_path / "store")
    name = archive(store, "skopeo", 30_000)
    async with opened(host, "team/skopeo") as remote:
        await remote.put_archive(name, store.path(name))
        blob = await remote.find(name)
        assert blob is not None
        said = Derived(source="sha256-1", archive=name).to_bytes()
        await remote.put_derived("sha256-1", Statement(said=said))
        await remote.put_view(["main"], Statement(said=b"{}"), [blob])

    def skopeo(*arguments: str) -> str:
        command = ["skopeo", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    tags = [artifacts.archive_tag(name), artifacts.derived_tag("sha256-1"), "main"]
    for number, tag in enumerate(tags):
        at = f"docker://{host}/team/skopeo:{tag}"
        shown = json.loads(skopeo("inspect", "--tls-verify=false", at))
        assert blob.address in shown["Layers"]
        there = tmp_path / f"copy{number}"
        skopeo("copy", "--src-tls-verify=false", at, f"dir:{there}")
        file = there / blob.address.removeprefix("sha256:")
        assert file.read_bytes() == store.path(name).read_bytes()
        back = f"docker://{host}/team/back:{tag}"
        skopeo("copy", "--dest-tls-verify=false", f"dir:{there}", back)
    async with opened(host, "team/back") as remote:
        assert await remote.find(name) == blob
        assert (await remote.view("main")) == Statement(said=b"{}")


# -- who asks --------------------------------------------------------------------------------------


def logs_in(monkeypatch: pytest.MonkeyPatch, file: Path, fields: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(fields))
    monkeypatch.setenv("DOCKER_CONFIG", str(file.parent))


async def test_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Callable[..., None]
) -> None:
    needs("docker-registry", "openssl")
    store = Store(tmp_path / "store")
    names = [archive(store, f"token{number}", 30_000) for number in range(6)]

    async def push(host: str, names: Sequence[str]) -> None:
        async with opened(host) as remote, trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(remote.put_archive, name, store.path(name))

    with (
        servers.token_server(tmp_path / "tokens") as tokens,
        servers.registry(tmp_path / "registry", tokens.auth) as host,
    ):
        # Nobody in particular may read only.
        with pytest.RaisesGroup(pytest.RaisesExc(RemoteError, match="answers 401")):
            await push(host, names[:1])
        assert set(tokens.authorizations) == {""}
        fields = {"auths": {f"https://{host}": {"auth": servers.both()}}}
        logs_in(monkeypatch, tmp_path / "docker/config.json", fields)
        tokens.asked.clear()
        await push(host, names)
        # One to look whether they are there, one to send.
        assert tokens.asked == [["repository:team/env:pull"], ["repository:team/env:pull,push"]]
        monkeypatch.delenv("DOCKER_CONFIG")
        async with opened(host) as remote:
            blob = await remote.find(names[0])
            assert blob is not None
            whole = store.path(names[0]).read_bytes()
            assert await read(remote, names[0], 0, blob.size) == whole


@pytest.mark.parametrize("way", ["helper", "store", "podman", "netrc", "wrong", "gone", "broken"])
async def test_where_a_password_is_kept(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    host = guarded
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-test"
    known = {"ServerURL": host, "Username": servers.USER, "Secret": servers.PASSWORD}
    script = f"""#!/bin/sh
read host
[ "$1 $host" = "get {host}" ] && echo '{json.dumps(known)}' && exit
echo credentials not found in native keychain; exit 1
"""
    helper.write_text("#!/bin/sh\necho geheim; exit 3\n" if way == "broken" else script)
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    file, refused = tmp_path / "docker/config.json", ""
    match way:
        case "helper":
            logs_in(monkeypatch, file, {"credHelpers": {host: "test"}})
        case "store" | "broken":
            logs_in(monkeypatch, file, {"credsStore": "test", "auths": {host: {}}})
            refused = "ends with status 3" if way == "broken" else ""
        case "podman":
            monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
            wrong = base64.b64encode(b"team:wrong").decode()
            auths = {host: {"auth": wrong}, f"{host}/team": {"auth": servers.both()}}
            (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
        case "netrc":
            netrc = f"machine 127.0.0.1 login {servers.USER} password {servers.PASSWORD}\n"
            (tmp_path / "netrc").write_text(netrc)
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        case "wrong":
            wrong = base64.b64encode(b"team:geheim-wrong").decode()
            logs_in(monkeypatch, file, {"auths": {host: {"auth": wrong}}})
            refused = "what is known does not do"
        case "gone":
            logs_in(monkeypatch, file, {"credHelpers": {host: "nowhere"}})
            refused = "docker-credential-nowhere, which .* names, cannot be asked"
    store = Store(tmp_path / "store")
    name = archive(store, f"kept-{way}", 3000)
    async with opened(host) as remote:
        if not refused:
            assert await remote.put_archive(name, store.path(name))
            return
        with pytest.raises(PkgviewError) as caught:
            await remote.put_archive(name, store.path(name))
    assert re.search(refused, str(caught.value))
    chain = "".join(traceback.format_exception(caught.value))
    assert "geheim" not in chain
