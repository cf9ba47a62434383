"""The control socket: how a command asks the running daemon.

One request a line, one reply a line, each a JSON object, over a stream socket that only its owner
may reach:

    {"op": "status"}                 ->  {"ok": true, "result": {…}}
    {"op": "nonsense"}               ->  {"ok": false, "what": "…", "remedy": "…"}

What takes long may be preceded by any number of lines that say how far it is:

    {"op": "resolve", …}             ->  {"progress": {…}}

Who may ask: the kernel names the peer (SO_PEERCRED, unix(7)), and it must be the daemon's user or
root. What a client may cost: a line of `MAX_REQUEST` bytes, `LINE_SECONDS` to send it,
`REPLY_SECONDS` to take a line of the reply, and one of `MAX_CLIENTS` places; a newcomer takes the
place of whoever has been silent longest, so idle or hostile clients lock nobody out. Who is told
how far something is waits elsewhere, in one of `MAX_WAITING` places. Nothing that
happens here may end the mount: every failure stays in the connection that caused it.

The socket's path may be longer than the 107 bytes of `sun_path`, so both ends reach it through
`/proc/self/fd/<directory>`; that also pins the directory whose owner and mode were checked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from unionfs.control.rendezvous import DaemonAbsentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import trio

    from unionfs.control.rendezvous import Rendezvous

    Operation = Callable[["Request"], Awaitable[Any]]
    """Answers a request with what JSON can say; a `PkgviewError` reaches the asker as it is."""
    Tell = Callable[[Any], Awaitable[None]]

logger = logging.getLogger(__name__)

MAX_REQUEST = 64 * 1024
"""Bytes of one request line."""

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of one reply line that a client takes."""

MAX_CLIENTS = 64
"""Connections served at once."""

MAX_WAITING = 1024
"""Connections whose answer takes long; a descriptor and some kilobytes each."""

LINE_SECONDS = 5.0
REPLY_SECONDS = 10.0

ASK_SECONDS = 5.0
"""How long a command waits for the daemon unless it says otherwise."""

LEAVE_SECONDS = 0.5
"""How long those who are connected may take when a successor comes."""

REPEATABLE = frozenset(
    {"ping", "status", "serves", "refresh", "resolve", "ps", "explain", "bind", "upgrade"}
)
"""Operations that change nothing, or nothing more when they are done twice."""

_CREDENTIALS = struct.Struct("3i")


class DaemonSilentError(PkgviewError):
    """A daemon is there, and does not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


async def _unheard(progress: Any) -> None:  # noqa: ANN401 - as wide as JSON
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: its operation, its other members, and who asks.

    An operation that takes long awaits `tell` with what JSON can say, now and then: that is how the
    asker knows that it is alive, and how it is known here that the asker is.
    """

    operation: str
    arguments: Mapping[str, Any]
    peer: Peer
    tell: Tell = _unheard


# The command's end


def ask(
    meeting: Rendezvous, operation: str, *, seconds: float = ASK_SECONDS, **arguments: object
) -> Any:  # noqa: ANN401 - as wide as JSON
    """Ask the daemon and return its result.

    What may be asked again is, where a server dies or is replaced before it has answered.
    `DaemonAbsentError` where none listens, `DaemonSilentError` where it does not answer within
    `seconds`, `PkgviewError` where it says no.
    """
    from time import monotonic, sleep  # noqa: PLC0415 - beside its only use

    deadline = monotonic() + seconds
    line = json.dumps({"op": operation, **arguments}).encode() + b"\n"
    while True:
        try:
            answer = _exchange(meeting, line, lambda: deadline - monotonic())
            break
        except (TimeoutError, BlockingIOError) as error:
            raise silent(meeting, seconds) from error
        except OSError as error:
            lost = isinstance(error, ConnectionResetError | BrokenPipeError)
            if lost and operation in REPEATABLE and monotonic() < deadline:
                sleep(0.02)
                continue
            if lost:
                raise DaemonAbsentError(
                    f"the daemon ended, or was replaced, before it had answered {operation!r}",
                    remedy="Perhaps it was done: `pkgview status` and `pkgview ps` show what is.",
                ) from error
            raise DaemonAbsentError(
                f"no daemon listens at {meeting.socket}: {error.strerror}",
                remedy="Run `pkgview mount`.",
            ) from error
    try:
        reply = json.loads(answer)
        if reply["ok"]:
            return reply["result"]
        what, remedy = str(reply["what"]), str(reply["remedy"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PkgviewError(
            f"the daemon's reply to {operation!r} makes no sense",
            remedy="It may be of another version: run `pkgview umount` and `pkgview mount`.",
        ) from error
    raise PkgviewError(what, remedy=remedy)


def _exchange(meeting: Rendezvous, line: bytes, left: Callable[[], float]) -> bytes:
    """Send a request and receive the reply, on a connection of its own."""
    with meeting.opened() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(max(left(), 0.001))
        client.connect(f"/proc/self/fd/{directory}/{meeting.socket.name}")
        if peer_of(client).uid not in {os.geteuid(), 0}:
            raise PkgviewError(f"{meeting.socket} is served by another user")
        client.sendall(line)
        return _receive_line(client, left)


def _receive_line(client: socket.socket, left: Callable[[], float]) -> bytes:
    parts: list[bytes] = []
    size = 0
    while not (parts and parts[-1].endswith(b"\n")):
        remaining = left()
        if remaining <= 0:
            raise TimeoutError
        client.settimeout(remaining)
        part = client.recv(1 << 16)
        size += len(part)
        if not part or size > MAX_REPLY:
            raise ConnectionResetError(errno.ECONNRESET, "it closed the connection")
        parts.append(part)
    return b"".join(parts)


def silent(meeting: Rendezvous, seconds: float) -> DaemonSilentError:
    """The error for a daemon that holds its lock and says nothing."""
    pid = meeting.pid()
    what = (
        f"the daemon{f' (pid {pid})' if pid else ''} does not answer within {seconds:.0f} seconds"
    )
    if trouble := meeting.said_trouble():
        return DaemonSilentError(
            f"{what}: each server that it starts ends at once: {trouble}",
            remedy="It goes on trying; `pkgview status` says where its log is.",
        )
    return DaemonSilentError(
        what, remedy="Run `pkgview umount --force` to end it, and `pkgview mount` again."
    )


def peer_of(connected: socket.socket | trio.socket.SocketType) -> Peer:
    """The process at the other end when it connected (or listened), unix(7)."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid=pid, uid=uid, gid=gid)


# The daemon's end


def listen(meeting: Rendezvous) -> socket.socket:
    """Bind the socket, replacing one that a dead daemon left; the caller holds the lock.

    Who connects before `serve` accepts waits: that is how a second `pkgview mount` waits for the
    first.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with meeting.opened(create=True) as directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(meeting.socket.name, dir_fd=directory)
            listener.bind(f"/proc/self/fd/{directory}/{meeting.socket.name}")
            os.chmod(meeting.socket.name, 0o600, dir_fd=directory)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PkgviewError(
            f"{meeting.socket} cannot be made: {error.strerror}",
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
class Server:
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
        import trio  # noqa: PLC0415 - the command's end does without

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as accepting:
                if leaving is not None:
                    nursery.start_soon(_cancel_when, leaving, accepting)
                await self._accept(trio.socket.from_stdlib_socket(listener), nursery)
            nursery.cancel_scope.deadline = trio.current_time() + LEAVE_SECONDS

    async def _accept(self, accepting: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        import trio  # noqa: PLC0415 - the command's end does without

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
        except _gone():
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

    async def _answer(self, line: bytes, peer: Peer, tell: Tell = _unheard) -> bytes:
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
        except _gone():
            raise  # while it was told how far it is
        except Exception:
            logger.exception("the operation %s failed", name)
            return _refusal(f"the daemon failed in {name!r}", "Its log says more.")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _request_line(stream: trio.SocketStream, received: bytearray) -> bytes | None:
    """Take one line out of `received`, filling it first; None where the client is done."""
    import trio  # noqa: PLC0415 - the command's end does without

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
    import trio  # noqa: PLC0415 - the command's end does without

    with trio.fail_after(REPLY_SECONDS):
        await stream.send_all(reply + b"\n")


def _gone() -> tuple[type[Exception], ...]:
    """What it is called when a client leaves, or does not take what it asked for."""
    import trio  # noqa: PLC0415 - the command's end does without

    return trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError


def _refusal(what: str, remedy: str = "") -> bytes:
    return json.dumps({"ok": False, "what": what, "remedy": remedy}).encode()
