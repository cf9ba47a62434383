"""Fetching, against a real server on the loopback with faults of every kind."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from resolver.errors import PkgviewError
from resolver.fetch.client import FetchSettings, Patience
from resolver.fetch.files import fetch
from resolver.fetch.transfer import Fetched
from resolver.fetch.wanted import Download, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODY = os.urandom(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.2, connect=2.0, stall=0.5)


@dataclass
class Server:
    """A server whose answers a test gives, and that remembers what it was asked."""

    answer: Callable[[Request], None]
    requests: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def url(self, path: str = "pkg.whl", userinfo: str = "") -> str:
        return f"http://{userinfo}127.0.0.1:{self.port}/{path}"

    @property
    def ranges(self) -> list[str]:
        return [asked.get("range", "") for asked in self.requests]


class Request(http.server.BaseHTTPRequestHandler):
    """One request; the methods are the answers that tests are made of."""

    protocol_version = "HTTP/1.1"
    server_state: Server

    def setup(self) -> None:
        super().setup()
        self.server_state.connections += 1

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server_state.requests.append({"path": self.path, **headers})
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.server_state.answer(self)

    do_CONNECT = do_GET  # noqa: N815 - the name that http.server looks for

    def tunnel(self) -> None:
        """Bytes to where a CONNECT wants them, and back, until one side ends."""
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def first_byte(self) -> int | None:
        asked = self.headers.get("Range")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked else None

    def plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def whole(self, body: bytes = BODY, *, etag: str = "", cut: int | None = None) -> None:
        """All of it; `cut` bytes and then the end of the connection."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def ranged(self, body: bytes = BODY) -> None:
        """What a good server does."""
        first = self.first_byte
        if first is None:
            self.whole(body)
        elif first >= len(body):
            self.plain(416, Content_Range=f"bytes */{len(body)}")
        else:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            self.wfile.write(body[first:])


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a hanging answer must not hold the test


@contextlib.contextmanager
def serving(
    answer: Callable[[Request], None], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    state = Server(answer)
    handler = type("Bound", (Request,), {"server_state": state})
    with _Listener(("127.0.0.1", 0), handler) as listener:
        state.port = listener.server_address[1]
        if tls is not None:
            listener.socket = tls.wrap_socket(listener.socket, server_side=True)
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            listener.shutdown()
            thread.join()


class Told:
    """A progress that adds up."""

    def __init__(self) -> None:
        self.total: tuple[int, int | None] | None = None
        self.bytes: dict[str, int] = {}
        self.done: list[str] = []

    def started(self, total_files: int, total_bytes: int | None) -> None:
        assert self.total is None
        self.total = (total_files, total_bytes)

    def advanced(self, filename: str, count: int) -> None:
        self.bytes[filename] = self.bytes.get(filename, 0) + count

    def finished(self, filename: str) -> None:
        self.done.append(filename)


def wanted(url: str, body: bytes = BODY, name: str = "pkg-1.0-py3-none-any.whl") -> Download:
    return Download(
        url=url, filename=name, size=len(body), hashes={"sha256": hashlib.sha256(body).hexdigest()}
    )


@pytest.fixture(autouse=True)
def own_environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


async def get(
    *files: Download,
    cache: Path,
    told: Told | None = None,
    **options: Any,  # noqa: ANN401 - what `fetch` takes
) -> dict[str, bytes]:
    """Fetch and discard, as an installer does; the bytes by file name."""
    options = {"settings": FetchSettings(), "patience": QUICK, **options}
    found = {}
    async with fetch(files, cache=cache, progress=told or Told(), **options) as arrivals:
        async for fetched in arrivals:
            assert fetched.path.name == fetched.download.filename
            found[fetched.download.filename] = fetched.path.read_bytes()
            fetched.discard()
    return found


def left(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


async def refused(*files: Download, cache: Path, **options: Any) -> PkgviewError:  # noqa: ANN401
    with pytest.raises(PkgviewError) as raised:
        await get(*files, cache=cache, **options)
    assert raised.value.remedy
    return raised.value


async def test_many_files_come_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    bodies = {f"f{n}.whl": os.urandom(1000 * n) for n in range(20)}
    together = 0
    most = 0
    lock = threading.Lock()

    def answer(request: Request) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.02)
        with lock:
            together -= 1
        request.whole(bodies[request.path[1:]])

    told = Told()
    with serving(answer) as server:
        files = [wanted(server.url(name), body, name) for name, body in bodies.items()]
        assert await get(*files, *files, cache=tmp_path, told=told, limit=4) == bodies
    assert len(server.requests) == 20
    assert 2 <= most <= 4
    assert told.total == (20, sum(map(len, bodies.values())))
    assert told.bytes == {name: len(body) for name, body in bodies.items() if body}
    assert sorted(told.done) == sorted(bodies)
    assert not list((tmp_path / "downloads").iterdir())


async def test_arrives_while_others_are_under_way(tmp_path: Path) -> None:
    gate = threading.Event()

    def answer(request: Request) -> None:
        if request.path == "/slow":
            gate.wait(5)
        request.whole()

    with serving(answer) as server:
        slow = wanted(server.url("slow"), name="slow.whl")
        fast = wanted(server.url("fast"), name="fast.whl")
        # The same content would be one part; these are two files.
        fast = Download(url=fast.url, filename="fast.whl", size=fast.size)
        order = []
        async with fetch(
            [slow, fast],
            cache=tmp_path, settings=FetchSettings(), progress=Told(), patience=QUICK,
        ) as arrivals:  # fmt: skip
            async for fetched in arrivals:
                order.append(fetched.download.filename)
                gate.set()
    assert order == ["fast.whl", "slow.whl"]


async def test_cut_in_the_middle_goes_on_from_there(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if request.first_byte is None:
            request.whole(etag='"one"', cut=100_000)
        else:
            request.ranged()

    told = Told()
    with serving(answer) as server:
        assert (await get(wanted(server.url()), cache=tmp_path, told=told)).popitem()[1] == BODY
    assert server.ranges == ["", "bytes=100000-"]
    assert server.requests[1]["if-range"] == '"one"'
    assert told.bytes.popitem()[1] == len(BODY)


async def test_a_server_that_ignores_ranges_starts_over(tmp_path: Path) -> None:
    cuts = iter([100_000, 200_000, None])
    told = Told()
    with serving(lambda request: request.whole(cut=next(cuts))) as server:
        assert (await get(wanted(server.url()), cache=tmp_path, told=told)).popitem()[1] == BODY
    assert server.ranges == ["", "bytes=100000-", "bytes=200000-"]
    assert told.bytes.popitem()[1] == len(BODY)


async def test_unhashed_is_resumed_only_with_a_strong_etag(tmp_path: Path) -> None:
    for etag, expected in (('"a"', "bytes=1000-"), ('W/"a"', ""), ("", "")):
        cuts = iter([1000])

        def answer(request: Request, cuts: Iterator[int] = cuts, etag: str = etag) -> None:
            cut = next(cuts, None)
            request.whole(etag=etag, cut=cut) if cut else request.ranged()

        with serving(answer) as server:
            url = server.url()
            got = await get(Download(url=url, filename="a.tar.gz"), cache=tmp_path)
        assert got == {"a.tar.gz": BODY}
        assert server.ranges == ["", expected]


@pytest.mark.parametrize(
    "leftover", [BODY[:150_000], BODY, BODY + b"more", b"x" * 5000, b"x" * len(BODY)]
)
@pytest.mark.parametrize("sized", [True, False])
async def test_whatever_was_left_behind(tmp_path: Path, leftover: bytes, *, sized: bool) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / f"{SHA}.part").write_bytes(leftover)
    with serving(Request.ranged) as server:
        file = wanted(server.url())
        if not sized:
            file = Download(url=file.url, filename=file.filename, hashes=file.hashes)
        assert (await get(file, cache=tmp_path)).popitem()[1] == BODY
    assert len(server.requests) == (0 if leftover == BODY else len(server.requests))
    if leftover == BODY[:150_000]:
        assert server.ranges == ["bytes=150000-"]
    assert left(tmp_path) == []


async def test_a_file_that_changed_since_is_fetched_whole(tmp_path: Path) -> None:
    """The leftover's bytes are of another file; the server only notices when we do."""
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{SHA}.part").write_bytes(b"y" * 1000)
    with serving(Request.ranged) as server:
        assert (await get(wanted(server.url()), cache=tmp_path)).popitem()[1] == BODY
    assert server.ranges == ["bytes=1000-", ""]


async def test_another_range_than_asked_for(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{SHA}.part").write_bytes(BODY[:1000])

    def answer(request: Request) -> None:
        if request.first_byte is None:
            request.whole()
        else:
            request.plain(206, Content_Range="bytes 5-10/300000")

    with serving(answer) as server:
        assert (await get(wanted(server.url()), cache=tmp_path)).popitem()[1] == BODY
    assert server.ranges == ["bytes=1000-", ""]


async def test_wrong_bytes_name_file_and_both_hashes(tmp_path: Path) -> None:
    wrong = bytes(len(BODY))
    with serving(lambda request: request.whole(wrong)) as server:
        error = await refused(wanted(server.url()), cache=tmp_path)
    assert "pkg-1.0-py3-none-any.whl" in error.what
    assert SHA in error.what
    assert hashlib.sha256(wrong).hexdigest() in error.what
    assert len(server.requests) == 1
    assert left(tmp_path) == []


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"x"])
async def test_size_that_disagrees_with_the_lock(tmp_path: Path, body: bytes) -> None:
    with serving(lambda request: request.whole(body)) as server:
        error = await refused(wanted(server.url()), cache=tmp_path)
    assert f"{len(body)} bytes" in error.what
    assert str(len(BODY)) in error.what
    assert left(tmp_path) == []


async def test_more_bytes_than_the_lock_says_without_a_length(tmp_path: Path) -> None:
    def endless(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        request.close_connection = True
        for _ in range(200):
            request.wfile.write(BODY)

    with serving(endless) as server:
        error = await refused(wanted(server.url()), cache=tmp_path)
    assert "more bytes" in error.what
    assert left(tmp_path) == []


async def test_503_twice_and_429_are_waited_out(tmp_path: Path) -> None:
    answers = iter([503, 429])

    def answer(request: Request) -> None:
        status = next(answers, 200)
        request.whole() if status == 200 else request.plain(status, Retry_After="1")

    with serving(answer) as server:
        start = time.monotonic()
        patience = Patience(attempts=3, first_wait=0.01, longest_wait=0.1)
        await get(wanted(server.url()), cache=tmp_path, patience=patience)
    assert len(server.requests) == 3
    assert time.monotonic() - start >= 0.2  # Retry-After, as far as we let a server decide


async def test_a_hanging_server_is_given_up(tmp_path: Path) -> None:
    gate = threading.Event()
    patience = Patience(attempts=2, first_wait=0.01, stall=0.2)

    def answer(_: Request) -> None:
        gate.wait(10)

    with serving(answer) as server:
        start = time.monotonic()
        error = await refused(wanted(server.url()), cache=tmp_path, patience=patience)
        gate.set()
    assert time.monotonic() - start < 5
    assert f"127.0.0.1:{server.port}" in error.what
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "says"), [(404, "is not at"), (410, "is not at"), (401, "let us have"), (418, "418")]
)
async def test_what_no_retry_mends(tmp_path: Path, status: int, says: str) -> None:
    with serving(lambda request: request.plain(status)) as server:
        error = await refused(wanted(server.url("a?token=secret", "me:hush@")), cache=tmp_path)
    assert says in error.what
    assert len(server.requests) == 1
    assert "hush" not in str(error)
    assert "secret" not in str(error)


async def test_no_network_names_the_host(tmp_path: Path) -> None:
    with serving(Request.whole) as server:
        pass
    error = await refused(wanted(server.url(userinfo="me:hush@")), cache=tmp_path)
    assert f"127.0.0.1:{server.port}" in error.what
    assert "hush" not in str(error)
    nowhere = await refused(wanted("http://no.such.host.invalid/a.whl"), cache=tmp_path)
    assert "no.such.host.invalid" in nowhere.what


async def test_offline_names_the_files_and_serves_local_ones(tmp_path: Path) -> None:
    local = tmp_path / "a.whl"
    local.write_bytes(BODY)
    here = wanted(local.as_uri(), name="a.whl")
    error = await refused(here, wanted("http://h/b.whl"), cache=tmp_path, offline=True)
    assert "pkg-1.0-py3-none-any.whl" in error.what
    assert "--offline" in error.remedy
    assert await get(here, cache=tmp_path, offline=True) == {"a.whl": BODY}


async def test_local_files_stay_where_they_are(tmp_path: Path) -> None:
    local = tmp_path / "a b.whl"
    local.write_bytes(BODY)
    for url in (local.as_uri(), str(local)):
        assert await get(wanted(url, name="a b.whl"), cache=tmp_path / "c") == {"a b.whl": BODY}
    assert local.read_bytes() == BODY
    assert not (tmp_path / "c").exists()
    local.write_bytes(bytes(len(BODY)))
    assert SHA in (await refused(wanted(str(local)), cache=tmp_path)).what
    local.unlink()
    assert str(local) in (await refused(wanted(str(local)), cache=tmp_path)).what
    os.mkfifo(local)
    assert "no file" in (await refused(wanted(str(local)), cache=tmp_path)).what


@pytest.mark.parametrize(
    ("url", "name", "hashes"),
    [
        ("http://h/a", "../evil", {}),
        ("http://h/a", "", {}),
        ("http://h/a", "a\0b", {}),
        ("http://[h/a", "a.whl", {}),
        ("http://h:99999/a", "a.whl", {}),
        ("ftp://h/a", "a.whl", {}),
        ("gibberish", "a.whl", {}),
        ("http://h/a", "a.whl", {"md5": "00"}),
        ("http://h/a", "a.whl", {"sha256": "../../../evil"}),
    ],
)
async def test_hostile_locks(tmp_path: Path, url: str, name: str, hashes: dict[str, str]) -> None:
    await refused(Download(url=url, filename=name, hashes=hashes), cache=tmp_path / "c")
    assert left(tmp_path) == []


async def test_credentials_go_to_their_own_host_only(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine localhost login net password rc\n")
    (tmp_path / "netrc").chmod(0o600)
    with serving(Request.whole) as other:
        there = f"http://localhost:{other.port}/x"

        def answer(request: Request) -> None:
            if request.path == "/here":
                request.whole()
            else:
                where = "/here" if request.path == "/own" else there
                request.plain(302, Location=where)

        with serving(answer) as server:
            own = wanted(server.url("own", "me:h%40sh@"), name="own.whl")
            await get(own, cache=tmp_path)
            await get(wanted(server.url("away", "me:hush@"), name="b.whl"), cache=tmp_path)
            given = FetchSettings(auth={server.url("away/"): ("set", "tings")})
            await get(wanted(server.url("away")), cache=tmp_path, settings=given)
            await get(wanted(server.url("here"), name="c.whl"), cache=tmp_path, settings=given)
    basic = [asked.get("authorization") for asked in server.requests]
    assert basic == [
        "Basic bWU6aEBzaA==",  # me:h@sh
        "Basic bWU6aEBzaA==",  # after a redirect to the same host
        "Basic bWU6aHVzaA==",  # me:hush
        "Basic c2V0OnRpbmdz",  # set:tings
        None,  # another path of that host
    ]
    # net:rc, which is that host's own, and neither of the two that it was sent from
    assert [asked["authorization"] for asked in other.requests] == ["Basic bmV0OnJj"] * 2
    assert "tings'" not in repr(given)


@pytest.mark.parametrize("there", ["file:///etc/passwd", "ftp://h/x", "http://[", "/again"])
async def test_redirects_that_are_not_followed(tmp_path: Path, there: str) -> None:
    with serving(lambda request: request.plain(302, Location=there)) as server:
        error = await refused(wanted(server.url()), cache=tmp_path)
    assert "redirected" in error.what
    assert len(server.requests) <= 10


async def test_what_had_come_before_the_failure_arrives(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if request.path == "/bad":
            time.sleep(0.3)
            request.plain(404)
        else:
            request.whole()

    with serving(answer) as server:
        files = [
            wanted(server.url("bad"), b"bad", "bad.whl"),
            wanted(server.url("good"), name="good.whl"),
        ]
        seen = []
        with pytest.raises(PkgviewError, match=r"bad\.whl"):  # noqa: PT012 - raised in its loop
            async with fetch(
                files, cache=tmp_path, settings=FetchSettings(), progress=Told(), patience=QUICK
            ) as arrivals:
                async for fetched in arrivals:
                    seen.append(fetched.path.read_bytes())
                    fetched.discard()
    assert seen == [BODY]
    assert left(tmp_path) == []


async def test_an_error_of_the_caller_comes_out_bare_and_work_is_kept(tmp_path: Path) -> None:
    with serving(Request.whole) as server:
        with pytest.raises(KeyError):  # noqa: PT012 - raised in its loop
            async with fetch(
                [wanted(server.url())],
                cache=tmp_path, settings=FetchSettings(), progress=Told(), patience=QUICK,
            ) as arrivals:  # fmt: skip
                async for _ in arrivals:
                    raise KeyError
        # Not discarded, so not packed: it need not be fetched again.
        assert (await get(wanted(server.url()), cache=tmp_path)).popitem()[1] == BODY
    assert len(server.requests) == 1


async def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with serving(Request.whole) as server:
        monkeypatch.setattr("os.pwrite", full)
        error = await refused(wanted(server.url()), cache=tmp_path)
    assert str(tmp_path / "downloads") in error.what
    assert "no room" in error.what


async def test_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("")
    error = await refused(wanted("http://h/a.whl"), cache=tmp_path / "c")
    assert str(tmp_path / "c") in error.what


async def test_without_hard_links_nothing_is_shared_but_all_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", unsupported)
    with serving(Request.whole) as server:
        assert (await get(wanted(server.url()), cache=tmp_path)).popitem()[1] == BODY
    assert not list((tmp_path / "downloads").iterdir())


async def test_old_leftovers_are_swept(tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    (downloads / "fetch-old/1").mkdir(parents=True)
    (downloads / "fetch-old/1/a.whl").write_bytes(b"x")
    (downloads / "0.part").write_bytes(b"x")
    (downloads / "1.part").write_bytes(b"x")
    for name in ("fetch-old", "0.part"):
        os.utime(downloads / name, (0, 0))
    with serving(Request.whole) as server:
        await get(wanted(server.url()), cache=tmp_path)
    assert left(tmp_path) == ["downloads/1.part"]


async def test_one_connection_carries_file_after_file(tmp_path: Path) -> None:
    bodies = {f"f{n}.whl": os.urandom(1000) for n in range(5)}
    with serving(lambda request: request.whole(bodies[request.path[1:]])) as server:
        files = [wanted(server.url(name), body, name) for name, body in bodies.items()]
        assert await get(*files, cache=tmp_path, limit=1) == bodies
    assert server.connections == 1


async def test_a_proxy_gets_its_own_password_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Request.whole) as proxy:
        at = f"http://pro:xy@127.0.0.1:{proxy.port}"
        file = wanted("http://me:hush@files.invalid/a.whl")
        assert await get(file, cache=tmp_path, settings=FetchSettings(proxy=at))
        monkeypatch.setenv("HTTP_PROXY", at)
        assert await get(file, cache=tmp_path)
    for asked in proxy.requests:
        assert asked["path"] == "http://files.invalid/a.whl"
        assert asked["proxy-authorization"] == "Basic cHJvOnh5"
        assert asked["authorization"] == "Basic bWU6aHVzaA=="


async def test_a_proxy_sees_nothing_of_what_goes_over_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serving(Request.whole, tls=context) as server, serving(Request.tunnel) as proxy:
        at = f"http://pro:xy@127.0.0.1:{proxy.port}"
        file = wanted(f"https://me:hush@localhost:{server.port}/a.whl")
        settings = FetchSettings(verify=cert, proxy=at)
        assert await get(file, cache=tmp_path / "c", settings=settings)
    (asked,) = proxy.requests
    assert asked["path"] == f"localhost:{server.port}"
    assert asked["proxy-authorization"] == "Basic cHJvOnh5"
    assert "authorization" not in asked
    (asked,) = server.requests
    assert asked["authorization"] == "Basic bWU6aHVzaA=="
    assert "proxy-authorization" not in asked


@pytest.mark.parametrize(
    "without", ["127.0.0.1", "127.0.0.0/8", "[::1]:80,127.0.0.1", "//,127.0.0.1"]
)
async def test_hosts_that_are_reached_without_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", without)
    with serving(Request.whole) as server:
        assert await get(wanted(server.url()), cache=tmp_path)


async def test_proxy_that_cannot_be_used_is_named_without_password(tmp_path: Path) -> None:
    settings = FetchSettings(proxy="socks9://me:hush@proxy.example:1/")
    error = await refused(wanted("http://h/a.whl"), cache=tmp_path, settings=settings)
    assert "proxy.example" in error.what
    assert "hush" not in str(error)


async def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        settings = FetchSettings(verify=tmp_path / name)
        error = await refused(wanted("https://h/a.whl"), cache=tmp_path, settings=settings)
        assert name in error.what


def certificate(directory: Path, host: str) -> tuple[Path, Path]:
    """One that vouches for itself, and its key."""
    key, cert = directory / f"{host}-key.pem", directory / f"{host}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-subj", f"/CN={host}",
         "-addext", f"subjectAltName=DNS:{host}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_a_server_nobody_vouches_for(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serving(Request.whole, tls=context) as server:
        file = wanted(f"https://localhost:{server.port}/a.whl")
        error = await refused(file, cache=tmp_path / "c")
        assert "cannot be trusted" in error.what
        trusting = FetchSettings(verify=cert)
        assert await get(file, cache=tmp_path / "c", settings=trusting)


async def test_a_server_that_asks_who_we_are(tmp_path: Path) -> None:
    theirs, ours = certificate(tmp_path, "localhost"), certificate(tmp_path, "us")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ours[0])
    context.load_cert_chain(*theirs)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(Request.whole, tls=context) as server:
        file = wanted(f"https://localhost:{server.port}/a.whl")
        await refused(file, cache=tmp_path / "c", settings=FetchSettings(verify=theirs[0]))
        known = ssl.create_default_context(cafile=theirs[0])
        known.load_cert_chain(*ours)
        assert await get(file, cache=tmp_path / "c", settings=FetchSettings(verify=known))


CHILD = """
import sys, trio
from pathlib import Path
from resolver.fetch.files import fetch
from resolver.fetch.wanted import Download
from resolver.fetch.client import FetchSettings
class Quiet:
    def started(self, *a): print("started", flush=True)
    def advanced(self, *a): print("advanced", flush=True)
    def finished(self, *a): pass
async def main():
    url, cache, sha, size = sys.argv[1:]
    file = Download(url=url, filename="a.whl", size=int(size), hashes={"sha256": sha})
    settings = FetchSettings()
    async with fetch([file], cache=Path(cache), settings=settings, progress=Quiet()) as arrivals:
        async for fetched in arrivals:
            assert len(fetched.path.read_bytes()) == int(size)
            fetched.discard()
            print("done", flush=True)
trio.run(main)
"""


def child(server: Server, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url(), str(cache), SHA, str(len(BODY))],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_two_processes_that_want_one_file_fetch_it_once(tmp_path: Path) -> None:
    gate = threading.Event()

    def answer(request: Request) -> None:
        gate.wait(20)
        request.whole()

    with serving(answer) as server:
        children = [child(server, tmp_path) for _ in range(3)]
        for one in children:
            assert one.stdout
            assert one.stdout.readline() == "started\n"
        deadline = time.monotonic() + 20
        # Each has its own name for the file once it stands in line.
        while len(list(tmp_path.glob("downloads/fetch-*/*/a.whl"))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        gate.set()
        for one in children:
            assert "done" in one.communicate(timeout=30)[0]
            assert one.returncode == 0
    assert len(server.requests) == 1
    assert left(tmp_path) == []


async def test_killed_in_the_middle_then_resumed(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if request.first_byte is not None:
            request.ranged()
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY)))
        request.end_headers()
        request.wfile.write(BODY[:200_000])
        request.wfile.flush()
        time.sleep(20)

    with serving(answer) as server:
        one = await trio.to_thread.run_sync(child, server, tmp_path)
        part = tmp_path / "downloads" / f"{SHA}.part"
        with trio.fail_after(20):
            while not part.exists() or part.stat().st_size < 200_000:  # noqa: ASYNC110
                await trio.sleep(0.01)
        one.send_signal(signal.SIGKILL)
        one.communicate()
        assert (await get(wanted(server.url()), cache=tmp_path)).popitem()[1] == BODY
    assert server.ranges == ["", "bytes=200000-"]


def test_messages_never_hold_secrets() -> None:
    assert shown("https://me:pw@h:8/a/b?sig=1#sha256=2") == "https://h:8/a/b"
    assert shown("https://h/\x1b[31m").isprintable()


async def test_discard_leaves_another_processes_file_alone(tmp_path: Path) -> None:
    part, own = tmp_path / "x.part", tmp_path / "fetch-1/1/a.whl"
    own.parent.mkdir(parents=True)
    part.write_bytes(b"theirs")
    own.write_bytes(b"mine")
    Fetched(download=wanted("http://h/a"), path=own, part=part).discard()
    assert part.exists()
    assert not own.parent.parent.exists()
