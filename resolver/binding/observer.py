"""Who looks at a process on the binder's behalf: the daemon itself, or somebody that it asks.

A look gives what is to be seen of the process, and whom the rules ask about the projects that they
come to. For the daemon's own user that is `observe` and the state directory; for the processes of
other users, on a mount that lets them in, see `unionfs.deputies.client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from resolver.caller.process import Caller, Identity, mount_names, observe
from resolver.caller.procfs import PROC, Absence, Tid

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.binding.rules import BindingState
    from resolver.caller.procfs import Status

TIME_LIMIT = 1.0
"""Seconds that a request waits for its caller to be looked at. A look takes 0.3 ms where nothing
is wrong; a second is still a pause and not yet a hang."""


class Seen(NamedTuple):
    """What a look found, and what answers the rules' questions about it."""

    caller: Caller
    state: BindingState


class Observer(Protocol):
    """Called by the binder."""

    def see(self, tid: Tid, who: Identity) -> Seen | Absence:
        """Look at the process that thread `tid` belongs to. In a thread; may block."""
        ...

    def patience(self, uid: int) -> float:
        """Seconds that a request of that user's waits for a look. Never blocks."""
        ...


class OwnEyes:
    """Looks at whatever the daemon may look at."""

    def __init__(
        self, state: BindingState, mount: Path, *, limit: float = TIME_LIMIT, root: Path = PROC
    ) -> None:
        self.state = state
        self.mount = mount_names(mount)
        self._limit = limit
        self._root = root

    def see(self, tid: Tid, who: Identity, status: Status | None = None) -> Seen | Absence:
        """As `observe` does."""
        caller = observe(tid, self.mount, self._root, known=who, status=status)
        return caller if isinstance(caller, Absence) else Seen(caller, self.state)

    def patience(self, uid: int) -> float:
        """The same for everybody."""
        del uid
        return self._limit
