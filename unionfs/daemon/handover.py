"""A live mount as a value: the descriptors and facts that one process hands to another.

Whoever has the descriptors below can serve the mount, for ever: the file system is a pure function
of node ids. What their numbers were told to mean is remembered besides, in case somebody replaces
the registry. They are inherited across execve(2) by number.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from resolver.places import Places
from unionfs.daemon.launch import COMMAND
from unionfs.view.nodeid import BEFORE, PACKINGS
from unionfs.view.told import begin

_NAMES = {"supervisor_lock": "seat", "worker_slots": "crew", "worker_channel": "questions"}
"""Of fields, as JSON has them: the versions before this one write and read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A live mount: descriptors by their numbers in this process, and what they mean.

    `mount`: of /dev/fuse. `terms`: what INIT agreed on. `device`: how the kernel's table of mounts
    names it. `supervisor_lock`: a memfd that the supervisor has locked, fcntl(2), as long as it
    lives, so that there is one. `told`: what numbers mean to its kernel (`unionfs.view.told`),
    empty where a version before this one began. `supervisors`, `servers`: the ends of the channel
    on which servers speak to it. `running`: the servers there are, each with the memfd of its
    requests in flight.
    `worker_slots`: for each worker its pid, 0 if it is not known, and the memfd of its requests,
    the same for the mount's life. `worker_channel`: the two ends of the channel through which
    workers and servers find each other; nothing where there are no workers.
    `holding`: the lock and the socket are still this mount's. `born`: on the monotonic clock.
    `packing`: the number of that of its node ids; a version that knows of none began with `BEFORE`.
    """

    places: Places
    device: tuple[int, int]
    terms: str
    mount: int
    listener: int
    lock: int
    supervisor_lock: int
    supervisors: int
    servers: int
    told: int
    running: tuple[tuple[int, int], ...] = ()
    worker_slots: tuple[tuple[int, int], ...] = ()
    worker_channel: tuple[int, ...] = ()
    restarts: int = 0
    upgrades: int = 0
    holding: bool = True
    background: bool = True
    born: float = 0.0
    packing: int = BEFORE.number

    def command(self, executable: str = COMMAND[0]) -> list[str]:
        """How a supervisor is started that goes on with the mount; `descriptors` must stay open."""
        return [executable, *COMMAND[1:], f"--held={self.to_json()}"]

    @property
    def workers(self) -> int:
        """How many processes answer the kernel, as `--workers` counts them."""
        return 1 + len(self.worker_slots)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (
            self.mount, self.listener, self.lock, self.supervisor_lock,
            self.supervisors, self.servers, self.told,
            *self.worker_channel, *(slots for _, slots in (*self.running, *self.worker_slots)),
        )  # fmt: skip

    def to_json(self) -> str:
        """For the command line of who goes on."""
        content = {_NAMES.get(name, name): value for name, value in asdict(self).items()}
        content["places"] = {
            place.name: os.fspath(getattr(self.places, place.name)) for place in fields(Places)
        }
        # Where there are no workers a version goes on that knows of none; and one that knows of no
        # packing, where it knows the node ids. Where it does not it fails, and this one goes on.
        known = {
            name: it for name, it in content.items() if it or name not in {"crew", "questions"}
        }
        if self.packing == BEFORE.number:
            del known["packing"], known["told"]
        return json.dumps(known)

    @classmethod
    def from_json(cls, text: str) -> Handover:
        """What `to_json` wrote; the descriptors stay with this process from now on.

        `ValueError` or `TypeError` for what this version does not know: who handed it over goes on.
        """
        content = json.loads(text)
        places = {name: Path(path) for name, path in content.pop("places").items()}
        major, minor = content.pop("device")
        for pairs in ("running", "crew"):
            content[pairs] = tuple((pid, slots) for pid, slots in content.get(pairs, ()))
        content["questions"] = tuple(content.get("questions", ()))
        content |= {name: content.pop(known) for name, known in _NAMES.items()}
        if "told" not in content:
            content["told"] = begin()
        held = cls(places=Places(**places), device=(major, minor), **content)
        if held.packing not in PACKINGS:
            raise ValueError(f"node ids of packing {held.packing} are not known here")
        for number in held.descriptors:
            os.set_inheritable(number, False)  # noqa: FBT003 - positional only
        return held
