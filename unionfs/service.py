"""What a daemon serves, and how it is told apart from how it lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from unionfs import control
    from unionfs.kernel.session import Terms
    from unionfs.kernel.slots import Slots


TRANSPORTS = ("devfuse", "libfuse")
"""How the kernel is talked to: by our own loop, the default; by pyfuse3's, the portable one."""

SUPERVISED = TRANSPORTS[0]
"""The one whose servers a supervisor can replace under a live mount."""

TRANSPORT_VARIABLE = "PKGVIEW_TRANSPORT"
"""The environment variable that names the transport of the mounts which are made."""


class Serve(Protocol):
    """Mounts, answers until unmounted or cancelled, and unmounts; calls `ready` once mounted."""

    async def __call__(
        self,
        mountpoint: Path,
        *,
        options: set[str],
        ready: Callable[[], None],
        requests: Counter[str],
    ) -> None:
        """Count every request in `requests`, by opcode."""
        ...


class Answer(Protocol):
    """Answers a mount that another process holds: its descriptor, what INIT agreed on, its slots.

    Returns when it was unmounted; once `draining` is set, when all that was read is answered.
    """

    async def __call__(
        self,
        descriptor: int,
        terms: Terms,
        slots: Slots,
        *,
        requests: Counter[str],
        draining: trio.Event | None = None,
    ) -> None:
        """Count every request in `requests`, by opcode."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a daemon serves. `gauges` adds to `status`, `operations` to the control socket.

    One of two is there: `answer`, where a supervisor holds the mount and servers may be replaced
    under it; `serve`, where one process does it all: libfuse, which owns what it has mounted.

    `knows` says whether there is a view of that name. `alongside` runs while it is mounted,
    in tasks that never return and let no exception out.
    """

    transport: str
    gauges: Callable[[], Mapping[str, Any]]
    operations: Mapping[str, control.Operation]
    knows: Callable[[str], bool] = lambda _: False
    alongside: Sequence[Callable[[], Awaitable[None]]] = ()
    serve: Serve | None = None
    answer: Answer | None = None
