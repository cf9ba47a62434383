"""The requests that every process which serves a mount answers: ping, serves, status, stop."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from resolver.manifest import FORMAT
from unionfs.control.server import ControlServer
from unionfs.environment.skeleton import own_version
from unionfs.mounting import mounts

if TYPE_CHECKING:
    import socket
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from unionfs.control.request import Operation, Request
    from unionfs.daemon.service import Service
    from unionfs.daemon.worker_protocol import WorkerLinks

logger = logging.getLogger(__name__)


class MountRequests:
    """The control socket of one mount, in the process that serves it.

    `device`: the mount's, once it is there. `life`: what `status` says of the processes; its `pid`
    is the one that commands know the daemon by. `let_go` gives up lock and socket, `stop` ends all.
    `others`: the workers beside this process.
    """

    def __init__(  # noqa: PLR0913 - what a conversation is about, each by its name
        self,
        service: Service,
        mountpoint: Path,
        *,
        device: Callable[[], tuple[int, int] | None],
        life: Callable[[], Mapping[str, Any]],
        requests: Counter[str],
        let_go: Callable[[], None],
        stop: Callable[[], None],
        operations: Mapping[str, Operation] | None = None,
        others: WorkerLinks | None = None,
    ) -> None:
        self._service = service
        self._mountpoint = mountpoint
        self._device = device
        self._life = life
        self._requests = requests
        self._let_go = let_go
        self._stop = stop
        self._operations = operations or {}
        self._others = others
        self._version = own_version()  # as it was when this began, whatever is installed later

    async def hold(self, listener: socket.socket, leaving: trio.Event | None = None) -> None:
        """Serve the control socket until cancelled or, soon after, `leaving`; it harms no mount."""
        server = ControlServer(
            operations={
                "ping": self._ping,
                "serves": self._serves,
                "status": self._status,
                "stop": self._asked_to_stop,
                **self._operations,
                **self._service.operations,
            }
        )
        while leaving is None or not leaving.is_set():
            try:
                await server.serve(listener, leaving)
            except Exception:
                logger.exception("the control socket failed")
                await trio.sleep(1)

    def _is_mounted(self) -> bool:
        """Whether it still is; else what can be given up is."""
        mount = mounts.mounted_at(self._mountpoint)
        mounted = mount is not None and mount.device == self._device()
        if not mounted:
            logger.info("%s was unmounted: serving what is open", self._mountpoint)
            self._let_go()
        return mounted

    async def _ping(self, _: Request) -> dict[str, Any]:
        mounted = self._is_mounted()
        return {
            "pid": self._life()["pid"],
            "version": self._version,
            "manifests": FORMAT,
            "places": self._service.places,
            "mounted": mounted,
            **self._service.greet(),
        }

    async def _serves(self, request: Request) -> bool:
        """Whether it is mounted and knows the view; a question that nearly every `up` asks.

        No, too, where who asks names other places than those that are served: that is for `up`.
        `used`: who asks is about to use it.
        """
        given = request.arguments
        view = given.get("view")
        same = all(given.get(name, path) == path for name, path in self._service.places.items())
        if not isinstance(view, str) or not same or not self._is_mounted():
            return False
        return self._service.knows(view) and (
            given.get("used") is not True or self._service.use(view)
        )

    async def _status(self, _: Request) -> dict[str, Any]:
        requests, memory = self._requests, _memory()
        if self._others is not None:
            requests = requests + await self._others.counted()
            memory += sum(map(memory_alone, self._others.pids))
        found = {
            "version": self._version,
            "mountpoint": os.fspath(self._mountpoint),
            "places": self._service.places,
            "transport": self._service.transport,
            "memory": memory,
            "requests": dict(sorted(requests.items())),
            **self._life(),
            **self._service.gauges(),
        }
        if self._others is not None and "remote" in found:
            found["remote"] = _together([found["remote"], *self._others.remote])
        return found

    async def _asked_to_stop(self, _: Request) -> None:
        logger.info("ending: asked to stop")
        self._stop()


_READS = ("here", "waiting", "answered", "failed")


def _together(said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several processes say of reads that waited for the network."""
    numbers = {name: sum(one[name] for one in said) for name in _READS}
    return {**numbers, "last": next((one["last"] for one in said if one["last"]), "")}


def _memory() -> int:
    """Resident set of this process, bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_alone(pid: int) -> int:
    """What a process has in memory that no other has, bytes; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))
