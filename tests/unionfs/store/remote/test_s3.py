"""A store in a bucket of a server that speaks S3, and what is wrong with buckets."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from resolver.errors import PkgviewError
from resolver.fetch.client import Patience
from tests.unionfs.store.remote import servers
from tests.unionfs.store.remote.test_faults import (
    BLOB,
    BODY,
    ONCE,
    ranged,
    read,
    reply,
    serving,
)
from unionfs.archive.frames import ZSTD
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.store.remote.addresses import address
from unionfs.store.remote.statement import Derived
from unionfs.store.remote.static import aws
from unionfs.store.remote.static.s3 import PART, S3Transport
from unionfs.store.remote.stores import transport
from unionfs.store.remote.transport import RemoteError, Statement, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unionfs.store.remote.test_faults import Asked, Reply

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "geheim-8fJ2"}
PATIENT = Patience(attempts=2, first_wait=0.01, longest_wait=0.5, connect=5.0, stall=20.0)
READS = ("s3:GetObject", "s3:ListBucket")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]
) -> Iterator[servers.S3]:
    needs(modules=servers.S3_MODULES)
    with servers.s3(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Callable[..., None]) -> Path:
    """Nothing of who runs the tests; keys of nobody in particular."""
    needs(modules=servers.S3_MODULES)
    for name in [name for name in os.environ if name.startswith(("AWS_", "SSL_CERT_FILE"))]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.aws").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def there(server: servers.S3, monkeypatch: pytest.MonkeyPatch) -> servers.S3:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    return server


def bucket(path: str = "env", patience: Patience = PATIENT, name: str = "team") -> S3Transport:
    made = transport(address(f"s3://{name}/{path}"), patience=patience)
    assert isinstance(made, S3Transport)
    return made


def archive(store: Store, size: int, seed: int = 1) -> str:
    content = random.Random(seed).randbytes(size)  # noqa: S311 - content, no secret
    members = [Member(path=b"purelib/a.bin", size=size, open=partial(io.BytesIO, content))]
    meta = Meta(kind="distribution", name="a", version=f"1+{seed}", stem=f"a-1+{seed}-py3")
    return store.add(members, meta)


@pytest.mark.usefixtures("there")
async def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sent: list[int] = []
    small, large = archive(store, 1000, 1), archive(store, PART + (3 << 20), 2)
    async with bucket() as remote, bucket() as other:
        remote.sent = sent.append
        assert await remote.find(large) is None
        for name in (small, large):
            assert await remote.put_archive(name, store.path(name))
        await trio.testing.wait_all_tasks_blocked()
        assert sum(sent) == sum(store.path(name).stat().st_size for name in (small, large))
        for name in (small, large):
            content = store.path(name).read_bytes()
            assert not await other.put_archive(name, store.path(name))
            blob = await other.find(name)
            assert blob is not None
            assert blob.size == len(content)
            for start, end in [(0, 1), (0, blob.size), (77, 999), (blob.size - 5, blob.size + 9)]:
                pieces = [piece async for piece in other.read(blob, start, end)]
                assert b"".join(pieces) == content[start:end]
            assert [piece async for piece in other.read(blob, blob.size, blob.size + 1)] == []
        await remote.put_beginning(small, ZSTD, b"begun")
        await remote.put_beginning(small, "9.9", b"otherwise")
        blobs = [blob for name in (small, large) if (blob := await remote.find(name))]
        statement = Statement(said=b"{}", signatures=("signed",))
        await remote.put_view(["0" * 32, "main"], statement, blobs)
    async with bucket() as fresh:
        assert await fresh.view("other") is None
        assert await fresh.view("main") == await fresh.view("0" * 32) == statement
        assert [await fresh.find(blob.name) for blob in blobs] == blobs
        begun = await fresh.beginning(small, "9.9")
        assert begun is not None
        assert begun.size == len(b"otherwise")
        assert await fresh.beginning(large, ZSTD) is None
    async with bucket("") as above:
        assert await above.find(small) is None


@pytest.mark.usefixtures("there")
async def test_a_damaged_archive_is_not_sent(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = archive(store, 100_000)
    path = tmp_path / name
    content = bytearray(store.path(name).read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    async with bucket("damaged") as remote:
        with pytest.raises(LayerError):
            await remote.put_archive(name, path)
        assert await remote.find(name) is None
        assert await remote.put_archive(name, store.path(name))


@pytest.mark.parametrize("conditions", ["etag", "disabled"])
@pytest.mark.usefixtures("there")
async def test_several_add_to_what_is_said(
    conditions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", conditions)
    name = archive(Store(tmp_path / "store"), 10)
    said = Derived(source="sha256-" + "1" * 64, archive=name)
    every = [Statement(said=said.to_bytes(), signatures=(f"by {n}",)) for n in range(8)]
    async with bucket(conditions) as remote, bucket(conditions) as other:
        if conditions == "etag":
            async with trio.open_nursery() as nursery:
                for n, one in enumerate(every):
                    where = remote if n % 2 else other
                    nursery.start_soon(where.put_derived, said.source, one)
        else:
            for one in every:
                await remote.put_derived(said.source, one)
        (found,) = await other.derived(said.source)
    assert sorted(found.signatures) == [f"by {n}" for n in range(8)]


async def test_what_is_refused_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.s3(tmp_path / "strict") as server:
        reader, writer = (
            server.user("reader", *READS),
            server.user("writer", *READS, "s3:PutObject"),
        )
        server.strict()
        name = archive(store := Store(tmp_path / "store"), 1000)

        async def fails(environ: dict[str, str], which: str = "team") -> str:
            for key, value in environ.items():
                monkeypatch.setenv(key, value)
            async with bucket(name=which) as remote:
                with pytest.raises(RemoteError) as caught:
                    await remote.put_archive(name, store.path(name))
            assert environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
            assert "\n" not in caught.value.what
            return str(caught.value)

        assert "(403 InvalidAccessKeyId)" in await fails({**writer, "AWS_ACCESS_KEY_ID": "other"})
        assert "(403 SignatureDoesNotMatch)" in await fails(
            {**reader, "AWS_SECRET_ACCESS_KEY": "geheim"}
        )
        refused = await fails(reader)
        assert f"archives/{name} cannot be sent there: it refuses (403 AccessDenied)" in refused
        assert "s3:PutObject" in refused
        async with bucket() as remote:
            for key, value in writer.items():
                monkeypatch.setenv(key, value)
            async with bucket() as another:
                assert await another.put_archive(name, store.path(name))
            assert await remote.find(name)


@pytest.mark.usefixtures("there")
async def test_a_bucket_that_is_not_there() -> None:
    async with bucket(name="nobody") as remote:
        for asked in (
            remote.find(BLOB.name),
            remote.view("main"),
            remote.derived("sha256-" + "1" * 64),
        ):
            with pytest.raises(RemoteError, match="there is no bucket nobody"):
                await asked
        with pytest.raises(RemoteError, match="there is no bucket nobody"):
            await remote.put_beginning(BLOB.name, ZSTD, b"begun")


REGION = b"""<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is \
malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>\
<Region>eu-west-1</Region></Error>"""
MOVED = b"<Error><Code>PermanentRedirect</Code><Endpoint>team.s3.amazonaws.com</Endpoint></Error>"
EXPIRED = b"<Error><Code>ExpiredToken</Code></Error>"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (reply(400, REGION), RemoteError, "is in eu-west-1"),
        (reply(301, MOVED), RemoteError, "another region"),
        (reply(301), RemoteError, "another region"),
        (reply(400, EXPIRED), RemoteError, r"refuses \(400 ExpiredToken\)"),
        (reply(418, b"tea"), RemoteError, "answers 418"),
        (reply(404), RemoteError, "it is gone"),
        (reply(503, b"<Error><Code>SlowDown</Code></Error>"), Transient, "answers 503 SlowDown"),
        (reply(206, BODY[:9], Content_Range="bytes 0-8/200"), Transient, "got 0..9"),
        (reply(206, BODY, Content_Range="bytes 0-199/201"), RemoteError, "has 201 bytes now"),
        (reply(200, BODY), Transient, "."),
        (b"", Transient, "."),
        ([ranged(0, 200)[:-100]] + [b""] * 30, Transient, "."),
        ([b"H"] + [b""] * 30, Transient, "does not answer"),
    ],
)  # fmt: skip
async def test_answers_as_they_are(
    answer: Reply, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(asked: Asked) -> Reply:
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(asked)
        return answer

    with serving(answers) as wrong, trio.fail_after(10):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{wrong.port}")
        async with bucket(patience=ONCE) as remote:
            with pytest.raises(error, match=said):
                await read(remote, 0, BLOB.size)


async def test_who_waits_is_cancelled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: [b"H"] + [b""] * 20) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.port}")
        async with bucket() as remote:
            before = trio.current_time()
            with trio.move_on_after(0.05):
                await remote.view("main")
            assert trio.current_time() < before + 1


async def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"http://127.0.0.1:{servers.free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nowhere)
    async with bucket() as remote:
        with pytest.raises(RemoteError, match="Connection refused"):
            await remote.view("main")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(PkgviewError, match="Missing AccessKeyId"):
        bucket()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", nowhere)
    async with bucket() as remote:
        with pytest.raises(RemoteError, match="there are no keys"):
            await remote.view("main")


async def test_a_certificate_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = servers.certificate(tmp_path / "tls")
    with servers.s3(tmp_path / "s3", "-c", str(made), "-k", str(key)) as secure:
        monkeypatch.setenv("AWS_ENDPOINT_URL", secure.url.replace("http:", "https:"))
        async with bucket() as remote:
            with pytest.raises(RemoteError, match=r"certificate does not count \(UnknownIssuer\)"):
                await remote.view("main")
        for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(made))
                async with bucket() as remote:
                    with pytest.raises(RemoteError, match="there is no bucket team"):
                        await remote.view("main")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(PkgviewError, match=r"none\.pem cannot be read"):
        bucket()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_plain_http_is_for_this_machine_and_who_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://minio.example.org:9000")
    at = address("s3://team/env")
    with pytest.raises(PkgviewError, match="without TLS"):
        transport(at)
    transport(at, insecure=True)


def test_it_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(PkgviewError, match="obstore is not installed") as caught:
        transport(address("s3://team/env"))
    assert "pip install 'pkgview[s3]'" in caught.value.remedy


def test_who_has_no_bucket_does_not_load_it() -> None:
    code = """
import sys, unionfs.cli.commands.store.push, unionfs.cli.commands.store.bundle
import unionfs.publishing.taken, unionfs.store.remote.lazy.fetcher
from unionfs.store.remote.stores import address, transport
transport(address("https://example.org/"))
assert "obstore" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


FILES = {
    "config": "[default]\nregion = eu-west-1\nendpoint_url = https://r2.example.org\n"
    "[profile team]\nregion = eu-north-1\naws_access_key_id = weaker\n"
    "[profile sso]\nsso_session = x\n[profile role]\nrole_arn = arn:aws:iam::1:role/x\n",
    "credentials": "[default]\naws_access_key_id = mine\naws_secret_access_key = a%b\n"
    "[team]\naws_access_key_id = ours\naws_secret_access_key = s\naws_session_token = t\n",
}
MINE = {"aws_access_key_id": "mine", "aws_secret_access_key": "a%b"}
OURS = {"aws_access_key_id": "ours", "aws_secret_access_key": "s", "aws_session_token": "t"}
R2 = {"endpoint": "https://r2.example.org"}


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, {"region": "eu-west-1", **R2, **MINE}),
        ({"AWS_PROFILE": "team"}, {"region": "eu-north-1", **OURS}),
        ({"AWS_REGION": "a", "AWS_ENDPOINT_URL": "b"}, {"region": "a", "endpoint": "b", **MINE}),
        ({"AWS_ACCESS_KEY_ID": "x"}, {"region": "eu-west-1", **R2}),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}, {"region": "eu-west-1", **R2}),
        ({"AWS_PROFILE": "sso", "AWS_ACCESS_KEY_ID": "x"}, {}),
        ({"AWS_CONFIG_FILE": "/nowhere/x"}, MINE),
    ],
)
def test_where_people_have_keys(home: Path, environ: dict[str, str], told: dict[str, str]) -> None:
    for name, text in FILES.items():
        (home / ".aws" / name).write_text(text)
    assert aws.settings({"HOME": str(home), **environ}) == told


def test_profiles_that_cannot_be_used(home: Path) -> None:
    for name, text in FILES.items():
        (home / ".aws" / name).write_text(text)
    for profile in ("sso", "role"):
        with pytest.raises(PkgviewError, match="in no file") as caught:
            aws.settings({"HOME": str(home), "AWS_PROFILE": profile})
        assert f"export-credentials --profile {profile} " in caught.value.remedy
    with pytest.raises(PkgviewError, match="no profile 'gone'"):
        aws.settings({"HOME": str(home), "AWS_PROFILE": "gone"})
    (home / ".aws/config").write_text("geheim-8fJ2\n")
    with pytest.raises(PkgviewError, match="no file of settings") as caught:
        aws.settings({"HOME": str(home)})
    assert "geheim" not in str(caught.value)
