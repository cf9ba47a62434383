"""Ending what waits, in trio's tasks, by an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio


async def cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel `scope` once `event` is set; a task of its own, which ends with that."""
    await event.wait()
    scope.cancel()
