"""Uploads to a registry that keeps what it has of one that broke off, as Debian's does not."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from resolver.fetch.client import Patience
from unionfs.store.remote.addresses import address
from unionfs.store.remote.oci import registry
from unionfs.store.remote.oci.registry import Source
from unionfs.store.remote.stores import repository
from unionfs.store.remote.transport import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.1, connect=2.0, stall=2.0)
DATA = bytes(range(256)) * 40


class Kept:
    """What it holds of one upload, and what it was asked; it breaks off at these PATCHes."""

    def __init__(self) -> None:
        self.held = b""
        self.whole: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks = {2, 4}
        self.forgets = False
        self.appended: list[str] = []
        self.refusals: list[str] = []
        """Codes of errors that the next manifests meet."""


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept: Kept

    def say(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def refuse(self, code: str) -> None:
        body = json.dumps({"errors": [{"code": code}]}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def say_state(self, status: int) -> None:
        state = f"/v2/x/blobs/uploads/1?_state={len(self.kept.asked)}"
        self.say(status, Location=state, Range=f"0-{max(0, len(self.kept.held) - 1)}")

    def answer(self) -> None:
        kept = self.kept
        kept.asked.append(self.command)
        length = int(self.headers.get("Content-Length") or 0)
        match self.command:
            case "HEAD":
                self.say(404)
            case "POST":
                kept.held = b""
                self.say_state(202)
            case "PATCH" if kept.asked.count("PATCH") in kept.breaks:
                kept.held += self.rfile.read(length // 2)
                self.close_connection = True
            case "PATCH":
                kept.appended.append(self.headers["Content-Range"])
                kept.held += self.rfile.read(length)
                self.say_state(202)
            case "GET":
                self.say(404) if kept.forgets else self.say_state(204)
            case "PUT" if "/manifests/" in self.path:
                self.rfile.read(length)
                self.refuse(kept.refusals.pop(0)) if kept.refusals else self.say(201)
            case "PUT":
                kept.held += self.rfile.read(length)
                (digest,) = parse_qs(urlsplit(self.path).query)["digest"]
                right = digest == f"sha256:{hashlib.sha256(kept.held).hexdigest()}"
                kept.whole[digest] = kept.held
                self.say(201 if right else 400)

    do_HEAD = do_POST = do_PATCH = do_GET = do_PUT = answer  # noqa: N815 - as http.server has it

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def keeping() -> Iterator[tuple[str, Kept]]:
    handler = type("Bound", (Answers,), {"kept": (kept := Kept())})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{listener.server_address[1]}", kept
        finally:
            listener.shutdown()
            thread.join()


@pytest.mark.parametrize("forgets", [False, True])
async def test_it_goes_on_from_what_is_there(
    monkeypatch: pytest.MonkeyPatch, *, forgets: bool
) -> None:
    monkeypatch.setattr(registry, "CHUNK", 1024)
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    told: list[int] = []
    with keeping() as (host, kept):
        kept.forgets = forgets
        async with repository(address(f"oci://{host}/x"), patience=QUICK) as remote:
            remote.registry.exchange._scheme = "http"
            source = Source(digest=digest, size=len(DATA), data=DATA)
            assert await remote.registry.put_blob(source, told.append)
    assert kept.whole == {digest: DATA}
    assert sum(told) == len(DATA)
    assert kept.asked.count("GET") == 2
    assert kept.asked.count("POST") == (3 if forgets else 1)
    starts = [int(re.split("[ -]", said)[0]) for said in kept.appended]
    if not forgets:
        assert starts[:3] == [0, 1024 + 512, 1024 + 512 + 1024 + 512]


async def test_a_manifest_that_is_refused_for_a_moment() -> None:
    with keeping() as (host, kept):
        async with repository(address(f"oci://{host}/x"), patience=QUICK) as remote:
            remote.registry.exchange._scheme = "http"
            # As Debian's does, while another sends the same.
            kept.refusals = ["DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"]
            await remote.registry.put_manifest("main", b"{}")
            assert kept.asked == ["PUT"] * 3
            kept.refusals = ["MANIFEST_INVALID"]
            with pytest.raises(RemoteError, match="MANIFEST_INVALID"):
                await remote.registry.put_manifest("main", b"{}")
            assert kept.asked == ["PUT"] * 4
