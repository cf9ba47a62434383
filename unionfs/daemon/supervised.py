"""How a supervised mount begins: mounted, and handed to its supervisor, which is this process."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.control.server import listen
from unionfs.daemon import server
from unionfs.daemon.handover import Handover
from unionfs.daemon.service import SUPERVISED
from unionfs.daemon.supervisor import Supervisor
from unionfs.kernel import session, slots
from unionfs.mounting import mounts
from unionfs.view import told
from unionfs.view.nodeid import PACKING

if TYPE_CHECKING:
    from resolver.places import Places
    from unionfs.daemon.launch import Claim
    from unionfs.daemon.supervisor import Announce

logger = logging.getLogger(__name__)


def mount(
    claimed: Claim, places: Places, announce: Announce, *, background: bool, workers: int = 1
) -> None:
    """Mount what is claimed and supervise its servers until it is unmounted.

    `workers` processes answer; all but one of them do nothing else.

    `PkgviewError` if it cannot be mounted, or its first server cannot serve it.
    """
    lock = os.dup(claimed.lock)
    listener = listen(claimed.endpoint)
    try:
        options = (
            mounts.options(shared=claimed.shared)
            if workers == 1
            else mounts.options(SUPERVISED, shared=claimed.shared, workers=workers)
        )
        descriptor = session.mount(claimed.mountpoint, options)
    except RuntimeError as error:
        listener.close()
        claimed.endpoint.socket.unlink(missing_ok=True)
        raise PkgviewError(
            f"{claimed.mountpoint} cannot be mounted: {error}",
            remedy="A container needs `--device /dev/fuse --cap-add SYS_ADMIN`; "
            "elsewhere the log says more.",
        ) from error
    mounted = mounts.mounted_at(claimed.mountpoint)
    ours, theirs = server.channel()
    worker_slots = tuple((0, slots.create()) for _ in range(workers - 1))
    held = Handover(
        places=places,
        device=mounted.device if mounted else (0, 0),
        terms=session.negotiate(descriptor).to_json(),
        mount=descriptor,
        listener=listener.detach(),
        lock=lock,
        supervisor_lock=os.memfd_create("pkgview-seat", os.MFD_CLOEXEC),
        supervisors=ours.detach(),
        servers=theirs.detach(),
        told=told.begin(),
        worker_slots=worker_slots,
        worker_channel=tuple(end.detach() for end in server.channel()) if workers > 1 else (),
        background=background,
        born=time.monotonic(),
        packing=PACKING.number,
    )
    logger.info("mounted %s", claimed.mountpoint)
    Supervisor(held, announce).run()
