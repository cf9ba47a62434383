"""The command's end of the control socket (`unionfs.control.request`)."""

from __future__ import annotations

import errno
import json
import os
import socket
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from unionfs.control.endpoint import DaemonAbsentError, DaemonSilentError
from unionfs.control.request import peer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from unionfs.control.endpoint import Endpoint

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of one reply line that a client takes."""

ASK_SECONDS = 5.0
"""How long a command waits for the daemon unless it says otherwise."""

REPEATABLE = frozenset(
    {
        "ping",
        "status",
        "serves",
        "refresh",
        "resolve",
        "ps",
        "explain",
        "bind",
        "upgrade",
        "held",
        "survey",
    }
)
"""Operations that change nothing, or nothing more when they are done twice."""


def ask(
    endpoint: Endpoint, operation: str, *, seconds: float = ASK_SECONDS, **arguments: object
) -> Any:  # noqa: ANN401 - as wide as JSON
    """Ask the daemon and return its result.

    What may be asked again is, where a server dies or is replaced before it has answered.
    `DaemonAbsentError` where none listens, `DaemonSilentError` where it does not answer within
    `seconds`, `PkgviewError` where it says no.
    """
    deadline = monotonic() + seconds
    line = json.dumps({"op": operation, **arguments}).encode() + b"\n"
    while True:
        try:
            answer = _exchange(endpoint, line, lambda: deadline - monotonic())
            break
        except (TimeoutError, BlockingIOError) as error:
            raise silent(endpoint, seconds) from error
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
                f"no daemon listens at {endpoint.socket}: {error.strerror}",
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


def _exchange(endpoint: Endpoint, line: bytes, left: Callable[[], float]) -> bytes:
    """Send a request and receive the reply, on a connection of its own."""
    with (
        endpoint.opened() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client,
    ):
        client.settimeout(max(left(), 0.001))
        client.connect(f"/proc/self/fd/{directory}/{endpoint.socket.name}")
        if peer_of(client).uid not in {os.geteuid(), 0}:
            raise PkgviewError(f"{endpoint.socket} is served by another user")
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


def silent(endpoint: Endpoint, seconds: float) -> DaemonSilentError:
    """The error for a daemon that holds its lock and says nothing."""
    pid = endpoint.pid()
    what = (
        f"the daemon{f' (pid {pid})' if pid else ''} does not answer within {seconds:.0f} seconds"
    )
    if trouble := endpoint.said_trouble():
        return DaemonSilentError(
            f"{what}: each server that it starts ends at once: {trouble}",
            remedy="It goes on trying; `pkgview status` says where its log is.",
        )
    return DaemonSilentError(
        what, remedy="Run `pkgview umount --force` to end it, and `pkgview mount` again."
    )
