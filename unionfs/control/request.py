"""The control socket: how a command asks the running daemon, and what a request is.

One request a line, one reply a line, each a JSON object, over a stream socket that only its owner
may reach:

    {"op": "status"}                 ->  {"ok": true, "result": {…}}
    {"op": "nonsense"}               ->  {"ok": false, "what": "…", "remedy": "…"}

Any number of lines with progress may come before the reply:

    {"op": "resolve", …}             ->  {"progress": {…}}

Who may ask: the kernel names the peer (SO_PEERCRED, unix(7)), and it must be the daemon's user or
root; a command, too, believes nobody else.

The socket's path may be longer than the 107 bytes of `sun_path`, so both ends reach it through
`/proc/self/fd/<directory>`; that also pins the directory whose owner and mode were checked.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import trio

    Operation = Callable[["Request"], Awaitable[Any]]
    """Answers a request with what JSON can say; a `PkgviewError` reaches the asker as it is."""
    Tell = Callable[[Any], Awaitable[None]]

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


async def _tell_nobody(progress: Any) -> None:  # noqa: ANN401 - as wide as JSON
    """Nobody is there who would wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: its operation, its other members, and who asks.

    An operation that takes long awaits `tell` with what JSON can say, now and then: that is how the
    asker knows that it is alive, and how it is known here that the asker is.
    """

    operation: str
    arguments: Mapping[str, Any]
    peer: Peer
    tell: Tell = _tell_nobody


def peer_of(connected: socket.socket | trio.socket.SocketType) -> Peer:
    """The process at the other end when it connected (or listened), unix(7)."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid=pid, uid=uid, gid=gid)
