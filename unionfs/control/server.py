"""The daemon's end of the control socket (`unionfs.control.request`).

What a client may cost: a line of `MAX_REQUEST` bytes, `LINE_SECONDS` to send it, `REPLY_SECONDS` to
take a line of the reply, and one of `MAX_CLIENTS` places; a newcomer takes the place of whoever has
been silent longest, so idle or hostile clients lock nobody out. Who is told how far something is
waits elsewhere, in one of `MAX_WAITING` places. Nothing that happens here may end the mount: every
failure stays in the connection that caused it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from resolver.errors import PkgviewError
from unionfs.cancelling import cancel_when
from unionfs.control.request import Request, peer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unionfs.control.endpoint import Endpoint
    from unionfs.control.request import Operation, Peer, Tell

logger = logging.getLogger(__name__)

MAX_REQUEST = 64 * 1024
"""Bytes of one request line."""

MAX_CLIENTS = 64
"""Connections served at once."""

MAX_WAITING = 1024
"""Connections whose answer takes long; a descriptor and some kilobytes each."""

LINE_SECONDS = 5.0
REPLY_SECONDS = 10.0

LEAVE_SECONDS = 0.5
"""How long those who are connected may take when a successor comes."""

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""What it is called when a client leaves, or does not take what it asked for."""


def listen(endpoint: Endpoint) -> socket.socket:
    """Bind the socket, replacing one that a dead daemon left; the caller holds the lock.

    Who connects before `serve` accepts waits: that is how a second `pkgview mount` waits for the
    first.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with endpoint.opened(create=True) as directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(endpoint.socket.name, dir_fd=directory)
            listener.bind(f"/proc/self/fd/{directory}/{endpoint.socket.name}")
            os.chmod(endpoint.socket.name, 0o600, dir_fd=directory)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PkgviewError(
            f"{endpoint.socket} cannot be made: {error.strerror}",
            remedy="Set XDG_RUNTIME_DIR to a directory on a local file system.",
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


@dataclass(slots=True, eq=False)
class _Client:
    scope: trio.CancelScope
    answered: bool = False
    """Whether its request is being answered now; else it is silent, or still sending."""


@dataclass(slots=True, kw_only=True)
class ControlServer:
    """Serves `operations` on a listening socket until cancelled.

    Concurrency: one task accepts, one per connection reads, runs and replies; they share only
    `_clients`, in order of arrival, and `_waiting`, touched without an await between look and
    change.
    """

    operations: Mapping[str, Operation]
    _clients: dict[_Client, None] = field(default_factory=dict)
    _waiting: set[_Client] = field(default_factory=set)

    async def serve(self, listener: socket.socket, leaving: trio.Event | None = None) -> None:
        """Accept until cancelled, or `leaving` is set; the listener stays the caller's.

        Who is connected when `leaving` is set is answered still, if that takes no time.
        """
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as accepting:
                if leaving is not None:
                    nursery.start_soon(cancel_when, leaving, accepting)
                await self._accept(trio.socket.from_stdlib_socket(listener), nursery)
            nursery.cancel_scope.deadline = trio.current_time() + LEAVE_SECONDS

    async def _accept(self, accepting: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                connected, _ = await accepting.accept()
            except OSError as error:
                # Out of descriptors or memory: what is connected may end meanwhile.
                logger.warning("cannot accept a connection: %s", error)
                await trio.sleep(0.1)
                continue
            self._make_room()
            client = _Client(trio.CancelScope())
            self._clients[client] = None
            nursery.start_soon(self._attend, trio.SocketStream(connected), client)

    def _make_room(self) -> None:
        """Cancel whoever is silent longest; where all are being answered, whoever came first."""
        if len(self._clients) >= MAX_CLIENTS:
            silent = (client for client in self._clients if not client.answered)
            client = next(silent, None) or next(iter(self._clients))
            del self._clients[client]
            client.scope.cancel()

    async def _attend(self, stream: trio.SocketStream, client: _Client) -> None:
        try:
            with client.scope:
                async with stream:
                    peer = peer_of(stream.socket)
                    if peer.uid not in {os.geteuid(), 0}:
                        logger.warning("uid %d (pid %d) was turned away", peer.uid, peer.pid)
                        return
                    await self._converse(stream, peer, client)
        except _GONE:
            pass
        except Exception:
            logger.exception("a control connection failed")
        finally:
            self._clients.pop(client, None)
            self._waiting.discard(client)

    async def _converse(self, stream: trio.SocketStream, peer: Peer, client: _Client) -> None:
        received = bytearray()
        while (line := await _request_line(stream, received)) is not None:
            client.answered = True

            async def tell(progress: Any) -> None:  # noqa: ANN401 - as wide as JSON
                self._let_wait(client)
                await _send(stream, json.dumps({"progress": progress}).encode())

            reply = await self._answer(line, peer, tell)
            await _send(stream, reply)
            client.answered = False

    def _let_wait(self, client: _Client) -> None:
        """Have it wait where it is in nobody's way."""
        if client in self._waiting:
            return
        if len(self._waiting) >= MAX_WAITING:
            raise PkgviewError(
                f"{MAX_WAITING} programs wait for the daemon already", remedy="Try again later."
            )
        self._waiting.add(client)
        self._clients.pop(client, None)

    async def _answer(self, line: bytes, peer: Peer, tell: Tell) -> bytes:
        """Run what a line asks for: the reply, whatever the line holds."""
        try:
            message = json.loads(line)
            name = message.pop("op")
            run = self.operations.get(name)
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return _refusal('a request is one line of JSON: {"op": NAME, ...}')
        if run is None:
            known = ", ".join(sorted(self.operations))
            return _refusal(
                f"the daemon does not know {str(name)[:40]!r}, only: {known}",
                "It may be of another version: run `pkgview umount` and `pkgview mount`.",
            )
        try:
            result = await run(Request(operation=name, arguments=message, peer=peer, tell=tell))
            return json.dumps({"ok": True, "result": result}).encode()
        except PkgviewError as error:
            return _refusal(error.what, error.remedy)
        except _GONE:
            raise  # while it was told how far it is
        except Exception:
            logger.exception("the operation %s failed", name)
            return _refusal(f"the daemon failed in {name!r}", "Its log says more.")


async def _request_line(stream: trio.SocketStream, received: bytearray) -> bytes | None:
    """Take one line out of `received`, filling it first; None where the client is done."""
    with trio.fail_after(LINE_SECONDS):
        while (end := received.find(b"\n")) < 0:
            if len(received) > MAX_REQUEST:
                await _send(stream, _refusal(f"a request is longer than {MAX_REQUEST} bytes"))
                return None
            part = await stream.receive_some(16 * 1024)
            if not part:
                return None
            received += part
    line = bytes(received[:end])
    del received[: end + 1]
    return line


async def _send(stream: trio.SocketStream, reply: bytes) -> None:
    with trio.fail_after(REPLY_SECONDS):
        await stream.send_all(reply + b"\n")


def _refusal(what: str, remedy: str = "") -> bytes:
    return json.dumps({"ok": False, "what": what, "remedy": remedy}).encode()
