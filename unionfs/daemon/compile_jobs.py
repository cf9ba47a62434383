"""Compiling in the background: views that are used get their bytecode without anybody waiting.

After the first look into a view, a job (`unionfs.publishing.precompile`) compiles the distributions
without bytecode, one after another, in processes that run only while nobody else wants the
processor. Then it gives the projects the view that has the bytecode. There is one job at a time;
views that come meanwhile wait for the next. If a job fails, the view is tried again when somebody
looks into it after the daemon's next start.

Concurrency: belongs to the trio thread.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from resolver.python.environment import for_project
from unionfs.control import jobs
from unionfs.control.jobs import Job
from unionfs.kinds import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.manifest import Manifest, ViewId
    from resolver.places import Places

logger = logging.getLogger(__name__)

VARIABLE = "PKGVIEW_COMPILE"
"""0 in the daemon's environment: nothing is compiled that nobody waits for."""

PATIENCE = float("inf")
"""Seconds a job may say nothing: how long it takes is for others' programs to decide."""


class CompileJobs:
    """Compiles what is missing. `replaced` is called when projects got another view."""

    def __init__(
        self, places: Places, replaced: Callable[[], None], *, command: Sequence[str] = ()
    ) -> None:
        self._places = places
        self._replaced = replaced
        self._command = command or jobs.command("unionfs.publishing.precompile")
        self._wanted: list[ViewId] = []
        self._more = trio.Event()
        self._under_way: Sequence[ViewId] = ()

    @property
    def pending(self) -> int:
        """Views that wait for their bytecode."""
        return len(self._wanted) + len(self._under_way)

    def consider(self, view: ViewId, manifest: Manifest) -> None:
        """Somebody looks into a view for the first time. Without distributions it is a notice."""
        if (
            manifest.kind == PYTHON
            and os.environ.get(VARIABLE) != "0"
            and any(layer.name and not layer.bytecode for layer in manifest.layers)
        ):
            self._wanted.append(view)
            self._more.set()

    async def tend(self) -> None:
        """Compile whatever is wanted; never returns, and lets no exception out."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            self._under_way, self._wanted = self._wanted, []
            try:
                await self._compile()
            except Exception:
                logger.exception("nothing was compiled")
            self._under_way = ()

    async def _compile(self) -> None:
        places = {name: os.fspath(path) for name, path in asdict(self._places).items()}
        request = {"places": places, "views": self._under_way}
        environ = for_project(os.environ, frozenset())
        async with Job(self._command, request, environ) as job:
            logger.info("compiling for %d views, pid %d", len(self._under_way), job.pid)
            async for message in job.messages(PATIENCE):
                if "new" in message:
                    logger.info("view %s with bytecode is %s", message["view"], message["new"])
                    self._replaced()
                else:
                    logger.warning("view %s: %s", message.get("view"), message.get("what"))
