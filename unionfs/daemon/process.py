"""The process of one mount's daemon: what it is told, where it logs, and which kind it becomes.

`launch` says how a command starts one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import resource
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.control.daemons import write_down
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon import mount, supervised
from unionfs.daemon.alone import Daemon
from unionfs.daemon.handover import Handover
from unionfs.daemon.launch import Claim, Mounted, claim
from unionfs.daemon.logfile import MAX_LOG, log_path, open_log
from unionfs.daemon.service import SUPERVISED
from unionfs.daemon.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unionfs.daemon.service import Service

logger = logging.getLogger(__name__)

ONE_PROJECT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PKGVIEW_PROJECT",
               "PKGVIEW_VIEW", "PKGVIEW_NODE_VIEW")  # fmt: skip
"""Variables of whoever happened to start the daemon, which serves all projects."""


class BoundedLog(logging.StreamHandler[Any]):
    """Writes to stderr, and turns the log under it, libfuse's words included, once it is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(sys.stderr)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        super().emit(record)
        if os.fstat(2).st_size > MAX_LOG:
            with contextlib.suppress(OSError, PkgviewError):
                log = open_log(self._path)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)


def _settle(mountpoint: Path) -> None:
    """Become independent of whoever started us."""
    os.chdir("/")
    os.umask(0o077)
    faulthandler.enable()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for variable in ONE_PROJECT:
        os.environ.pop(variable, None)

    def outside(entry: str) -> bool:
        return not Path(os.path.realpath(entry)).is_relative_to(mountpoint)

    # An import through our own mount would wait for ourselves, and so might a command that we run.
    sys.path[:] = filter(outside, sys.path)
    commands = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(filter(outside, commands))


def serve(
    claimed: Claim,
    places: Places,
    *,
    assemble: Callable[[Places], Service] | None = None,
    announce: Callable[[Mapping[str, Any]], None] = lambda _: None,
    background: bool = False,
) -> None:
    """Serve a claimed mount point until it is unmounted; releases the claim.

    By supervised servers where the transport allows it; all in this process where it does not, or
    where something else than packages is served (`assemble`).
    """
    written = None
    try:
        _settle(claimed.mountpoint)
        here = replace(places, mount=claimed.mountpoint)
        transport = "" if assemble else mount.chosen_transport(claimed.transport)
        workers = 1 if assemble else mount.chosen_workers(transport, claimed.workers)
        if transport == SUPERVISED:
            supervised.mount(claimed, here, announce, background=background, workers=workers)
        else:
            service = assemble(here) if assemble else mount.assemble(here, transport)
            written = write_down(here, claimed.lock)
            trio.run(Daemon(claimed, service, announce).run)
    finally:
        os.close(claimed.lock)
        if written is not None:
            os.close(written)


def serve_here(places: Places, *, shared: bool = False) -> None:
    """Serve in the foreground until unmounted or interrupted; `shared`: with `allow_other`."""
    claimed = claim(places, shared=shared)
    if isinstance(claimed, Mounted):
        raise PkgviewError(
            f"{claimed.mountpoint} is mounted already, by pid {claimed.pid}",
            remedy="Run `pkgview umount` first.",
        )
    _log_through(logging.StreamHandler())
    serve(claimed, places)


def _go_on(held: Handover) -> int:
    """Supervise a mount that is live, after an upgrade or another supervisor's death."""
    path = log_path(held.places)
    _log_through(BoundedLog(path) if held.background else logging.StreamHandler())
    _settle(held.places.mount)
    try:
        Supervisor(held).run()
    except PkgviewError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return error.status
    return 0


def _log_through(stream: logging.Handler) -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
        handlers=[stream],
    )


def _arguments(argv: Sequence[str] | None) -> dict[str, Any]:
    """What `launch` and `Handover` write, `--name=value` each: nobody else starts a daemon.

    `lock`, `ready`: descriptors of the held lock, and to say the outcome on. `background`: leave
    the parent process. `allow-other`: let other users in. `transport`, `workers`: how the mount was
    made that is mended. `held`: the live mount to go on with. And the places.
    """
    places = Places.from_environ()
    given: dict[str, Any] = {
        "lock": None,
        "ready": None,
        "background": False,
        "allow-other": False,
        "transport": "",
        "workers": 1,
        "held": None,
        **{place.name: getattr(places, place.name) for place in fields(places)},
    }
    read: dict[str, Callable[[str], object]] = {
        "lock": int,
        "ready": int,
        "background": lambda _: True,
        "allow-other": lambda _: True,
        "transport": str,
        "workers": int,
        "held": Handover.from_json,
    }
    for word in sys.argv[1:] if argv is None else argv:
        name, _, value = word.removeprefix("--").partition("=")
        if name not in given:
            raise SystemExit(f"there is no {word!r}")
        given[name] = read.get(name, Path)(value)
    return given


def main(
    argv: Sequence[str] | None = None,
    *,
    assemble: Callable[[Places], Service] | None = None,
) -> int:
    """`python -m unionfs.daemon`: the exit status. What is not given follows the environment."""
    given = _arguments(argv)
    places = Places(**{place.name: given[place.name] for place in fields(Places)})
    if given["held"] is not None:
        return _go_on(given["held"])
    for inherited in (given["lock"], given["ready"]):
        if inherited is not None:
            os.set_inheritable(inherited, False)  # noqa: FBT003 - positional only
    if given["background"] and os.fork():
        os._exit(0)
    _log_through(BoundedLog(log_path(places)) if given["background"] else logging.StreamHandler())

    def announce(message: Mapping[str, Any]) -> None:
        number, given["ready"] = given["ready"], None
        if number is not None:
            with contextlib.suppress(BrokenPipeError):  # the command was ended meanwhile
                os.write(number, json.dumps(message).encode())
            os.close(number)

    try:
        claimed = (
            claim(places, shared=given["allow-other"])
            if given["lock"] is None
            else Claim(
                mountpoint=places.mount,
                endpoint=endpoint_of(places, places.mount),
                lock=given["lock"],
                mended=False,
                shared=given["allow-other"],
                transport=given["transport"],
                workers=given["workers"],
            )
        )
        if isinstance(claimed, Mounted):
            logger.info("%s is mounted already, by pid %d", claimed.mountpoint, claimed.pid)
            announce({"pid": claimed.pid})
        else:
            serve(
                claimed, places, assemble=assemble, announce=announce,
                background=given["background"],
            )  # fmt: skip
    except PkgviewError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        announce({"what": error.what, "remedy": error.remedy})
        return error.status
    except Exception as error:
        logger.exception("the daemon failed")
        announce(
            {
                "what": f"the daemon failed: {error!r}",
                "remedy": f"Its log says more: {log_path(places)}",
            }
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
