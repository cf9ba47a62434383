"""What the daemon answers to whoever collects: which views are in use (held, survey); gone.

It alone can ask the kernel about its mount, and it may see processes that the asker does not, who
may be in a pid namespace below.

Concurrency: views are looked up in the trio thread; the kernel is asked in another one, since the
answer may wait for a LOOKUP that the trio thread has to answer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.kernel.holding import forget_name, is_held
from unionfs.kernel.session import descriptors_of
from unionfs.view import nodeid
from unionfs.view.attributes import Attributes
from unionfs.view.catalog import VIEW_ID
from unionfs.view.nodeid import Fixed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from unionfs.control.request import Request
    from unionfs.view.filesystem import Filesystem
    from unionfs.view.nodeid import NodeId

_VIEWS = nodeid.fixed(Fixed.VIEWS)


class UseRequests:
    """The control operations on who uses one mount."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem

    @property
    def table(self) -> Mapping[str, Callable[[Request], Awaitable[Any]]]:
        """Name -> operation."""
        return {"held": self.held, "survey": self.survey, "gone": self.gone}

    async def held(self, request: Request) -> dict[str, Any]:
        """Those of the `views` that somebody holds, and where they are mounted.

        The kernel forgets the names of all that are asked about: the asker is to look up again, by
        that mount point, those that are held.
        """
        asked = request.arguments.get("views")
        if not isinstance(asked, list) or not all(
            isinstance(view, str) and VIEW_ID.fullmatch(view) for view in asked
        ):
            raise PkgviewError("it is not said which views are meant")
        nodes = {}
        for view in map(ViewId, asked):
            found = self._filesystem.lookup(_VIEWS, view.encode())
            if isinstance(found, Attributes):
                nodes[view] = found.node
        (device,) = descriptors_of("/dev/fuse")
        held = await trio.to_thread.run_sync(_held, device, nodes, abandon_on_cancel=True)
        return {"views": held, "mountpoint": os.fspath(self._filesystem.catalog.places.mount)}

    async def gone(self, request: Request) -> dict[str, Any]:
        """Have the kernel forget `views` and `packages` that were removed, by their names.

        Somebody may have looked one up since it was asked who holds it. Should it come back, it is
        under another number.
        """
        names = [
            (nodeid.fixed(parent), name.encode())
            for key, parent in (("views", Fixed.VIEWS), ("packages", Fixed.PACKAGES))
            for name in request.arguments.get(key, ())
            if isinstance(name, str) and "\0" not in name
        ]
        (device,) = descriptors_of("/dev/fuse")
        await trio.to_thread.run_sync(_forget, device, names, abandon_on_cancel=True)
        return {}

    async def survey(self, request: Request) -> dict[str, Any]:
        """Which views the /proc of this process speaks of; `inuse.as_json`.

        Nothing where that is the same as the asker's, who said which `pid_namespace` is his.
        """
        from unionfs.upkeep import inuse  # noqa: PLC0415 - few ask

        if request.arguments.get("pid_namespace") == inuse.pid_namespace():
            return inuse.as_json(inuse.NOTHING)
        return await trio.to_thread.run_sync(lambda: inuse.as_json(inuse.look_around()))


def _held(device: int, nodes: Mapping[ViewId, NodeId]) -> list[ViewId]:
    return [view for view, node in nodes.items() if is_held(device, _VIEWS, view.encode(), node)]


def _forget(device: int, names: Sequence[tuple[NodeId, bytes]]) -> None:
    for parent, name in names:
        forget_name(device, parent, name)
