"""Servers as they are, and worse: right bytes or a named error, and never a hang."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

from resolver.fetch.client import Patience
from unionfs.store.remote import wire
from unionfs.store.remote.addresses import address
from unionfs.store.remote.oci import artifacts
from unionfs.store.remote.statement import Derived
from unionfs.store.remote.static import layout
from unionfs.store.remote.stores import transport
from unionfs.store.remote.transport import Blob, RemoteError, Statement, Transient
from unionfs.store.remote.web import exchange, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from unionfs.store.remote.oci.repository import OciTransport
    from unionfs.store.remote.static.http import HttpTransport
    from unionfs.store.remote.static.s3 import S3Transport

ONCE = Patience(attempts=1, first_wait=0.01, longest_wait=0.1, connect=1.0, stall=0.4)
TWICE = Patience(attempts=2, first_wait=0.01, longest_wait=0.5, connect=1.0, stall=0.4)

BODY = bytes(range(200))
NAME = f"six-1.{'a' * 64}.tar.zst"
BLOB = Blob(name=NAME, size=len(BODY), address=layout.archive(NAME))
OCI_BLOB = Blob(name=NAME, size=len(BODY), address=artifacts.digest_of(BODY))
SAID = Statement(said=Derived(source="sha256-1", archive=NAME).to_bytes(), signatures=("signed",))


@dataclass
class Asked:
    """One request: its first line, its headers by their names in small letters."""

    line: str
    headers: dict[str, str]


Reply = bytes | list[bytes]
"""What is sent; of a list, piece by piece with a pause of 0.1 s between."""


@dataclass
class Server:
    """Sends what `answer` says, byte for byte, and closes the connection."""

    answer: Callable[[Asked], Reply]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def static(self) -> str:
        return f"http://127.0.0.1:{self.port}/env/"

    @property
    def oci(self) -> str:
        return f"oci://127.0.0.1:{self.port}/team/env"


@contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Server]:
    server, ended = Server(answer), threading.Event()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(1 << 16)
                if not more or more[0] == 0x16:  # TLS, which it does not speak
                    return
                head += more
            first, *lines = head.decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines if line)
            asked = Asked(first, {name.lower(): value.strip() for name, _, value in pairs})
            server.asked.append(asked)
            reply = server.answer(asked)
            for piece in [reply] if isinstance(reply, bytes) else reply:
                connection.sendall(piece)
                if piece is not reply:
                    ended.wait(0.1)

    def listen() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            thread.join()


def reply(status: int = 200, body: bytes = b"", *, sized: bool = True, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if sized and "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def ranged(start: int, end: int, **headers: str) -> bytes:
    said = f"bytes {start}-{end - 1}/{len(BODY)}"
    return reply(206, BODY[start:end], sized=True, **{"Content_Range": said, **headers})


async def read(
    remote: HttpTransport | OciTransport | S3Transport, start: int, end: int, blob: Blob = BLOB
) -> bytes:
    """What came, within five seconds; the failure has it as its note."""
    came = b""
    with trio.fail_after(5):
        async with aclosing(remote.read(blob, start, end)) as pieces:
            try:
                async for piece in pieces:
                    came += piece
            except (Transient, RemoteError) as error:
                error.add_note(came.hex())
                raise
    return came


def static(server: Server, patience: Patience = ONCE) -> HttpTransport:
    found = transport(address(server.static), patience=patience)
    assert not hasattr(found, "_registry")
    return found  # type: ignore[return-value]


def oci(server: Server, patience: Patience = ONCE) -> OciTransport:
    return transport(address(server.oci), patience=patience)  # type: ignore[return-value]


async def test_a_connection_that_is_cut_at_every_byte_of_a_range() -> None:
    whole, cut = ranged(10, 110), 0

    with serving(lambda _: whole[:cut]) as server:
        async with static(server) as remote:
            for cut in range(len(whole)):  # noqa: B007 - the server looks at it
                with pytest.raises(Transient) as caught:
                    await read(remote, 10, 110)
                came = bytes.fromhex(caught.value.__notes__[0])
                assert BODY[10:110].startswith(came)
            cut = len(whole)
            assert await read(remote, 10, 110) == BODY[10:110]


@pytest.mark.parametrize("sized", [True, False])
async def test_and_of_a_statement(*, sized: bool) -> None:
    text = wire.to_bytes([SAID])
    static_whole = reply(200, text, sized=sized)
    manifest = artifacts.of_derived("sha256-1", [SAID], []).to_bytes()
    told = artifacts.digest_of(manifest)
    oci_whole = reply(200, manifest, sized=sized, Docker_Content_Digest=told)
    cut = 0

    def answer(asked: Asked) -> bytes:
        return (static_whole if "/env/said/" in asked.line else oci_whole)[:cut]

    with serving(answer) as server:
        async with static(server) as remote:
            for cut in range(len(static_whole)):  # noqa: B007 - the server looks at it
                with pytest.raises(RemoteError):
                    await remote.derived("sha256-1")
            cut = len(static_whole)
            assert await remote.derived("sha256-1") == (SAID,)
        async with oci(server) as registry:
            registry.registry.exchange._scheme = "http"
            for cut in range(0, len(oci_whole), 7):  # noqa: B007 - the server looks at it
                with pytest.raises(RemoteError):
                    await registry.derived("sha256-1")
            cut = len(oci_whole)
            assert await registry.derived("sha256-1") == (SAID,)


ODD_RANGES = {
    "ignores ranges": (reply(200, BODY), None),
    "ignores ranges, no length": (reply(200, BODY, sized=False), None),
    "ignores ranges, another file": (reply(200, BODY + b"x"), RemoteError),
    "ends before": (reply(200, BODY[:50], sized=False), Transient),
    "sends less": (ranged(10, 60), Transient),
    "sends more": (ranged(10, 150), None),
    "another part": (ranged(20, 110), Transient),
    "no part is named": (reply(206, BODY[10:110]), Transient),
    "several parts": (reply(206, b"--x\r\n", Content_Type="multipart/byteranges"), Transient),
    "total not known": (ranged(10, 110, Content_Range="bytes 10-109/*"), None),
    "another total": (ranged(10, 110, Content_Range="bytes 10-109/999"), RemoteError),
    "416 with a whole blob's length": (
        reply(416, b"requested range not satisfiable\n", Content_Length="200"), RemoteError,
    ),
    "encoded": (ranged(10, 110, Content_Encoding="gzip"), RemoteError),
    "nothing there": (reply(404), RemoteError),
    "busy": (reply(503, Retry_After="0"), Transient),
    "no HTTP": (b"\x00\x01\x02 what?\r\n\r\n", Transient),
    "two lengths": (ranged(10, 110, Content_Length="5, 6"), Transient),
    "endless header": (b"HTTP/1.1 200 Said\r\nX: " + b"x" * (1 << 20), Transient),
    "in a circle": (reply(302, Location="/env/"), RemoteError),
    "to a file": (reply(302, Location="file:///etc/passwd"), RemoteError),
    "to elsewhere without TLS": (reply(302, Location="http://192.0.2.1/x"), RemoteError),
    "to no address": (reply(302, Location="http://[::1"), RemoteError),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD_RANGES)
async def test_odd_answers_to_a_range(odd: str) -> None:
    answer, refused = ODD_RANGES[odd]
    with serving(lambda _: answer) as server:
        async with static(server) as remote:
            if refused is None:
                assert await read(remote, 10, 110) == BODY[10:110]
            else:
                with pytest.raises(refused) as caught:
                    await read(remote, 10, 110)
                assert BODY[10:110].startswith(bytes.fromhex(caught.value.__notes__[0]))
        assert len(server.asked) <= exchange.MOST_REDIRECTS


async def test_a_server_that_gives_a_byte_now_and_then() -> None:
    whole = ranged(10, 110)
    for head in (0, len(whole) - 90):
        drip = [whole[:head], *(bytes([one]) for one in whole[head:])]
        with serving(lambda _, drip=drip: drip) as server:  # type: ignore[misc]
            began = time.monotonic()
            async with static(server) as remote:
                with pytest.raises(Transient, match=r"slowly|not answer"):
                    await read(remote, 10, 110)
            assert time.monotonic() - began < 3


async def test_what_its_reader_does_meanwhile_is_not_the_servers_fault() -> None:
    with serving(lambda _: [ranged(10, 110)[:-50], ranged(10, 110)[-50:]]) as server:
        async with static(server) as remote, aclosing(remote.read(BLOB, 10, 110)) as pieces:
            came = await anext(pieces)
            await trio.sleep(1)
            assert came + b"".join([piece async for piece in pieces]) == BODY[10:110]


async def test_a_busy_server_is_left_alone_for_as_long_as_it_says() -> None:
    moments: list[float] = []

    def answer(_: Asked) -> bytes:
        moments.append(time.monotonic())
        busy = len(moments) == 1
        return reply(429, Retry_After="1") if busy else reply(200, wire.to_bytes([SAID]))

    patient = Patience(attempts=3, first_wait=0.01, longest_wait=2.0, connect=1.0, stall=5.0)
    with serving(answer) as server:
        async with static(server, patient) as remote, trio.open_nursery() as nursery:
            nursery.start_soon(remote.derived, "sha256-1")
            await trio.sleep(0.3)
            nursery.start_soon(remote.derived, "sha256-2")
    assert len(moments) == 3
    assert moments[1] - moments[0] >= 0.95


async def test_one_that_stays_busy_is_named() -> None:
    with serving(lambda _: reply(429, Retry_After="3600")) as server:
        async with static(server, TWICE) as remote:
            with pytest.raises(RemoteError, match=f"127.0.0.1:{server.port}.*429"):
                await remote.derived("sha256-1")
        assert len(server.asked) == 2


async def test_nobody_elsewhere_is_told_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    netrc = "machine 127.0.0.1 login u password geheim\ndefault login u password geheim\n"
    (tmp_path / "netrc").write_text(netrc)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    with serving(lambda _: ranged(10, 110)) as elsewhere:

        def answer(asked: Asked) -> bytes:
            if "authorization" not in asked.headers:
                return reply(401, WWW_Authenticate='Basic realm="x"')
            there = f"http://127.0.0.1:{elsewhere.port}/blob?signature=abc"
            return reply(307, Location=there)

        with serving(answer) as server:
            async with static(server) as remote:
                for _ in range(2):  # by the redirect, and by the memory of it
                    assert await read(remote, 10, 110) == BODY[10:110]
        assert [one.headers.get("authorization") is None for one in server.asked] == [True, False]
        assert len(elsewhere.asked) == 2
        for asked in elsewhere.asked:
            assert "authorization" not in asked.headers
            assert asked.headers["range"] == "bytes=10-109"

        # Nor is one wanted there that the store's user has.
        elsewhere.answer = lambda _: reply(401, WWW_Authenticate='Basic realm="y"')
        with serving(answer) as server:
            async with static(server) as remote:
                with pytest.raises(RemoteError, match="401") as caught:
                    await read(remote, 10, 110)
        assert "geheim" not in str(caught.value)
        assert "abc" not in str(caught.value)
        assert "abc" not in caplog.text
        assert "authorization" not in elsewhere.asked[-1].headers


async def test_where_a_redirect_led_is_asked_at_once_the_next_time() -> None:
    with serving(lambda _: ranged(10, 110)) as elsewhere:
        there = f"http://127.0.0.1:{elsewhere.port}/blob"
        with serving(lambda _: reply(307, Location=there)) as server:
            async with static(server) as remote:
                for _ in range(3):
                    assert await read(remote, 10, 110) == BODY[10:110]
                assert (len(server.asked), len(elsewhere.asked)) == (1, 3)
                # That address is good no longer.
                answers = [ranged(10, 110), reply(403)]
                elsewhere.answer = lambda _: answers.pop()
                assert await read(remote, 10, 110) == BODY[10:110]
                assert (len(server.asked), len(elsewhere.asked)) == (2, 5)


ODD_TOKENS = {
    "no token": b'{"tokens": 1}',
    "a token that is none": b'{"token": "a\\nb"}',
    "a number": b'{"token": 17}',
    "no JSON": b"<html>",
    "deep": b"[" * 100_000,
    "long": json.dumps({"token": "x" * (1 << 17)}).encode(),
    "too long": b" " * (2 << 20),
    "never": b'{"token": "x", "expires_in": 1e999}',
    "not for long": b'{"token": "x", "expires_in": -5}',
}


@pytest.mark.parametrize("odd", ODD_TOKENS)
async def test_odd_tokens(odd: str) -> None:
    def answer(asked: Asked) -> bytes:
        if "/token" in asked.line:
            return reply(200, ODD_TOKENS[odd])
        realm = f"http://127.0.0.1:{server.port}/token"
        return reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')

    with serving(answer) as server:
        async with oci(server) as remote:
            remote.registry.exchange._scheme = "http"
            with trio.fail_after(5), pytest.raises(RemoteError):
                await remote.find(NAME)
        assert len(server.asked) < 8


@pytest.mark.parametrize("realm", ["http://192.0.2.1/token", "file:///etc/passwd", "", "http://["])
async def test_a_realm_where_nobody_goes(realm: str) -> None:
    challenge = f'Bearer realm="{realm}"'
    with serving(lambda _: reply(401, WWW_Authenticate=challenge)) as server:
        async with oci(server) as remote:
            remote.registry.exchange._scheme = "http"
            with trio.fail_after(5), pytest.raises(RemoteError):
                await remote.find(NAME)


ODD_MANIFESTS = [
    b"", b"{}", b"[]", b"null", b'{"artifactType": 1, "layers": 7}', b"[" * 100_000,
    artifacts.of_view(wire.to_bytes([SAID]), []).to_bytes(),
    artifacts.of_archive(OCI_BLOB, {}).to_bytes().replace(b"sha256:", b"md5:"),
    artifacts.of_archive(OCI_BLOB, {}).to_bytes().replace(b'"size":200', b'"size":-1'),
    artifacts.of_archive(OCI_BLOB, {}).to_bytes().replace(b"a" * 64, b"../" * 21 + b"a"),
    b" " * (5 << 20),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ODD_MANIFESTS)))
async def test_odd_manifests(number: int) -> None:
    with serving(lambda _: reply(200, ODD_MANIFESTS[number])) as server:
        async with oci(server) as remote:
            remote.registry.exchange._scheme = "http"
            with pytest.raises(RemoteError):
                await remote.find(NAME)


async def test_a_manifest_that_did_not_arrive_as_it_was_sent() -> None:
    text = artifacts.of_archive(OCI_BLOB, {}).to_bytes()
    wrong, right = text.replace(b'"size":200', b'"size":201'), [text]

    def answer(_: Asked) -> bytes:
        body = right.pop() if len(server.asked) > 1 else wrong
        return reply(200, body, Docker_Content_Digest=artifacts.digest_of(text))

    with serving(answer) as server:
        async with oci(server, TWICE) as remote:
            remote.registry.exchange._scheme = "http"
            assert await remote.find(NAME) == OCI_BLOB


async def test_sizes_where_head_is_of_no_use() -> None:
    for head in (reply(405), reply(200, sized=False), reply(501)):

        def answer(asked: Asked, head: bytes = head) -> bytes:
            if asked.line.startswith("HEAD"):
                return head
            assert asked.headers["range"] == "bytes=0-0"
            return ranged(0, 1)

        with serving(answer) as server:
            async with static(server) as remote:
                assert await remote.find(NAME) == BLOB
    with serving(lambda _: reply(404)) as server:
        async with static(server) as remote:
            assert await remote.find(NAME) is None
            assert await remote.view("main") is None
            assert await remote.derived("sha256-1") == ()


async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = Server(lambda _: b"", port)
    for remote in (static(server), oci(server)):
        async with remote:
            with pytest.raises(RemoteError, match="refused"):
                await remote.find(NAME)


@pytest.mark.parametrize(
    ("here", "there", "leads"),
    [
        ("https://a/x", "/y", "https://a/y"),
        ("https://a/x", "http://a/y", "https://a/y"),
        ("https://a/x", "http://b/y", None),
        ("https://a/x", "https://u:p@b/y", "https://b/y"),
        ("https://a/x", "http://127.0.0.1/y", None),
        ("http://127.0.0.1/x", "http://127.0.0.1:5/y", "http://127.0.0.1:5/y"),
        ("http://127.0.0.1/x", "http://b/y", None),
        ("https://a/x", "https://b\\@c/y", None),
        ("https://a/x", "ftp://a/y", None),
        ("https://a/x", "https:///y", "https://a/y"),
        ("https://a/x", "https://a:0/y", None),
    ],
)
async def test_where_addresses_lead(here: str, there: str, leads: str | None) -> None:
    remote = transport(address("oci://a/x"), patience=ONCE).registry  # type: ignore[union-attr]
    if leads is None:
        with pytest.raises(RemoteError):
            remote.exchange.joined(here, there)
    else:
        assert remote.exchange.joined(here, there) == leads


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('Basic realm="x"', {"basic": {"realm": "x"}}),
        ('Bearer realm="a,b\\"c",service=s', {"bearer": {"realm": 'a,b"c', "service": "s"}}),
        (
            'Negotiate, BEARER realm="r", scope="repository:x:pull,push"',
            {"negotiate": {}, "bearer": {"realm": "r", "scope": "repository:x:pull,push"}},
        ),
        ("", {}),
        ('Bearer realm="' + "x" * 100_000, None),
    ],
)
def test_challenges(said: str, found: object) -> None:
    assert found is None or guard.parsed([said]) == found
    assert isinstance(guard.parsed([said]), dict)
