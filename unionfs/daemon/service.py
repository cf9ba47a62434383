"""A service: the file system and the requests of one mount, whatever process serves them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from resolver.manifest import ViewId
    from unionfs.control.request import Operation
    from unionfs.kernel.session import Terms
    from unionfs.kernel.siblings import Siblings
    from unionfs.kernel.slots import Slots


TRANSPORTS = ("devfuse", "libfuse")
"""How the kernel is talked to: by our own loop, the default; by pyfuse3's, the portable one."""

SUPERVISED = TRANSPORTS[0]
"""The one whose servers a supervisor can replace under a live mount."""

TRANSPORT_VARIABLE = "PKGVIEW_TRANSPORT"
"""The environment variable that names the transport of the mounts which are made."""

WORKERS_VARIABLE = "PKGVIEW_WORKERS"
"""The one that says how many processes serve them."""

MOST_WORKERS = 64
"""Processes of one mount; each has its own memory for what it has decompressed."""


def workers_named(text: str) -> int:
    """A number of workers as a person writes it; `PkgviewError` for what is none."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= MOST_WORKERS:
        raise PkgviewError(
            f"{text!r} is no number of workers",
            remedy=f"Name one from 1 to {MOST_WORKERS}, with --workers or {WORKERS_VARIABLE}.",
        )
    return number


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

    async def __call__(  # noqa: PLR0913 - what makes a live mount, each by its name
        self,
        descriptor: int,
        terms: Terms,
        slots: Slots,
        *,
        requests: Counter[str],
        draining: trio.Event | None = None,
        siblings: Siblings | None = None,
    ) -> None:
        """Count every request in `requests`, by opcode. `siblings`: who answers beside this one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a daemon serves. `gauges` adds to `status`, `operations` to the control socket.

    One of two is there: `answer`, where a supervisor holds the mount and servers may be replaced
    under it; `serve`, where one process does it all: libfuse, which owns what it has mounted.

    `places`: which directories it is served from (`served_from`).

    `greet` is called for each command that begins, before it gives numbers, and adds to its answer.
    `knows` says whether there is a view of that name; `use` does so, too, and that it is somebody's
    now. `alongside` runs while it is mounted,
    in tasks that never return and let no exception out. For workers that ask: `view_of` says which
    view is a thread's, `look_into` opens one.
    """

    transport: str
    gauges: Callable[[], Mapping[str, Any]]
    operations: Mapping[str, Operation]
    places: Mapping[str, str] = field(default_factory=dict)
    greet: Callable[[], Mapping[str, Any]] = dict
    knows: Callable[[str], bool] = lambda _: False
    use: Callable[[str], bool] = lambda _: False
    alongside: Sequence[Callable[[], Awaitable[None]]] = ()
    serve: Serve | None = None
    answer: Answer | None = None
    view_of: Callable[[int], Awaitable[ViewId]] | None = None
    look_into: Callable[[ViewId], None] = lambda _: None
