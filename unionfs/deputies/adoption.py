"""Views of other users that root's mount takes over before it serves them.

`unionfs.deputies.adopt_job` does it, one process a view. A reader of `current` waits for it, within
a limit: what is copied once is there for good. What failed is not tried again for a while.

Concurrency: everything belongs to one trio run.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from resolver.errors import PkgviewError
from unionfs.deputies.client import Deputies, DeputyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.manifest import ViewId
    from resolver.places import Places

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "unionfs.deputies.adopt_job")

TIME_LIMIT = 120.0
"""Seconds for one view: several GiB."""

REMEMBERED = 10.0
"""Seconds that a failure counts."""

MOST_AT_ONCE = 4
MOST_REMEMBERED = 1024


class Adoption:
    """Takes views over, one at a time for each user."""

    def __init__(self, places: Places, deputies: Deputies) -> None:
        self._places = places
        self._deputies = deputies
        self._turns: defaultdict[int, trio.Lock] = defaultdict(trio.Lock)
        self._slots = trio.CapacityLimiter(MOST_AT_ONCE)
        self._failures: dict[tuple[int, ViewId], float] = {}

    async def adopt(self, uid: int, view: ViewId, shown: Callable[[ViewId], bool]) -> bool:
        """Whether the view is here now; `shown` asks for it. Never fails."""
        async with self._turns[uid]:
            if shown(view):
                return True
            failed = self._failures.get((uid, view))
            if failed is not None and trio.current_time() - failed < REMEMBERED:
                return False
            async with self._slots:
                fault = await self._run(uid, view)
            if not fault and shown(view):
                logger.info("view %s of user %d was taken over", view, uid)
                return True
            logger.warning("view %s of user %d was not taken over: %a", view, uid, fault)
            if len(self._failures) >= MOST_REMEMBERED:
                self._failures.clear()
            self._failures[uid, view] = trio.current_time()
            return False

    async def _run(self, uid: int, view: ViewId) -> str:
        """What went wrong; "" if nothing."""
        places = {name: os.fspath(path) for name, path in asdict(self._places).items()}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            try:
                self._deputies.hand(uid, view, theirs)
                with trio.fail_after(TIME_LIMIT):
                    done = await trio.run_process(
                        [*COMMAND, json.dumps(places), view],
                        stdin=ours.fileno(),
                        capture_stdout=True,
                        check=False,
                        cwd="/",
                        # Found as we are, however we were: the daemon has forgotten PYTHONPATH.
                        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    )
                said = json.loads(done.stdout)
            except (DeputyError, PkgviewError, OSError, trio.TooSlowError) as error:
                return str(error) or "it took too long"
            except ValueError:
                return f"it ended with status {done.returncode}"
        return str(said.get("what", ""))
