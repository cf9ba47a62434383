"""`pkgview bind` and `pkgview unbind`; and how other commands tell the daemon about bindings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.caller.procfs import Absence, read_stat
from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.bindings import cgroups
from unionfs.bindings.tag import put_on
from unionfs.cli import console
from unionfs.cli.asked import OFFLINE, TRUST, json_of, process_number, trusted_project_at
from unionfs.control import client
from unionfs.control.endpoint import DaemonAbsentError, endpoint_of
from unionfs.daemon import launch
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.binding.manual import Said

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

BOUND = "{pid, cgroup, hierarchy, by, uid, project, view, since}"
"""What JSON says of a binding by hand."""

PID = click.option(
    "--pid",
    callback=process_number,
    metavar="PID",
    help="A process, with all that it starts.",
)
CGROUP = click.option(
    "--cgroup", metavar="PATH", help="A cgroup, with every process inside: its directory or path."
)
CONTAINER = click.option(
    "--container", metavar="NAME|ID", help="A running container of podman or docker."
)


@click.command(
    epilog="""\b
Examples:
  pkgview bind --pid 4711                            to the project here
  pkgview bind --container web --project ~/shop
  pkgview bind --cgroup /system.slice/shop.service --project /srv/shop

A process that is bound to a project sees the project's newest view; a program that runs already
keeps the view that it was shown by the same binding. --view is for good.
"""
)
@PID
@CGROUP
@CONTAINER
@click.option(
    "--project",
    "directory",
    type=click.Path(path_type=Path),
    help="The project's directory or script; default: the one here.",
)
@click.option("--view", "view_id", metavar="ID", help="This view, whatever the project does.")
@OFFLINE
@TRUST
@json_of(BOUND)
def bind(  # noqa: PLR0913 - one parameter an option
    *,
    pid: int | None,
    cgroup: str | None,
    container: str | None,
    directory: Path | None,
    view_id: str | None,
    offline: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Bind processes that run already, or will run in a cgroup or container, to a project."""
    places = Places.from_environ()
    if view_id is not None and directory is not None:
        raise click.UsageError("name one of --project and --view")
    whom = named(pid, cgroup, container)
    launch.check_mountable(places)
    if view_id is not None:
        what: dict[str, Any] = {"view": view_id}
    else:
        from unionfs.cli.commands.making import ensured  # noqa: PLC0415 - not for --view
        from unionfs.formats.python.kind import KIND  # noqa: PLC0415 - not for --view
        from unionfs.formats.python.wish import PythonWish  # noqa: PLC0415 - not for --view
        from unionfs.publishing.repeat import repeated  # noqa: PLC0415 - the same

        project = trusted_project_at(directory or Path(), trust=trust)
        wish = repeated(places, PythonWish(project=project, offline=offline))
        ensured(places, KIND, wish, quiet=as_json)
        what = {"project": str(project.root)}
    launch.ensure_mounted(places)
    bound = tell(places, "bind", said="bind", **whom, **what)
    if as_json:
        console.as_json(bound)
        return
    console.note(f"Bound {whom_of(bound)} to {what_of(bound)}.")


@click.command(
    epilog="""\b
Examples:
  pkgview unbind --pid 4711
  pkgview unbind --container web
  pkgview unbind --all
"""
)
@PID
@CGROUP
@CONTAINER
@click.option("--all", "everything", is_flag=True, help="All that is bound by hand.")
@json_of(f"[{BOUND}]")
def unbind(
    *, pid: int | None, cgroup: str | None, container: str | None, everything: bool, as_json: bool
) -> None:
    """Take a binding by hand back: what it covered is looked at afresh."""
    places = Places.from_environ()
    if everything and (pid, cgroup, container) != (None, None, None):
        raise click.UsageError("--all goes with nothing else")
    whom = {"all": True} if everything else named(pid, cgroup, container)
    taken = tell(places, "unbind", **whom)
    if as_json:
        console.as_json(taken)
        return
    for bound in taken:
        console.note(f"Took back that {whom_of(bound)} was bound to {what_of(bound)}.")
    if not taken:
        console.note("Nothing is bound by hand.")


def named(pid: int | None, cgroup: str | None, container: str | None) -> dict[str, Any]:
    """Whom a command means, as the daemon wants to be told."""
    if (pid is not None) + (cgroup is not None) + (container is not None) != 1:
        raise click.UsageError("name one of --pid, --cgroup and --container")
    if pid is not None:
        stat = read_stat(pid)
        if isinstance(stat, Absence):
            raise PkgviewError(f"there is no process {pid}", remedy="`ps` shows those that run.")
        return {"process": [pid, stat.start_time]}
    if cgroup is not None:
        found = cgroups.named(cgroup)
    else:
        from unionfs.bindings.containers import cgroup_of  # noqa: PLC0415 - only for --container

        found = cgroup_of(container or "")
    return {"cgroup": [found.controllers, found.path]}


def tell(places: Places, operation: str, **arguments: Any) -> Any:  # noqa: ANN401 - as wide as JSON
    """Ask the daemon of the user's mount."""
    path = mounts.canonical(places.mount)
    live = launch.running(places, endpoint_of(places, path))
    if live is None:
        raise DaemonAbsentError(f"nothing is mounted at {path}", remedy="Run `pkgview mount`.")
    return client.ask(live, operation, **arguments)


def bind_self(
    places: Places, said: Said, *, project: str | None, view: str | None, python: str | None
) -> None:
    """Bind this process, whatever it becomes, and all that it starts.

    In a cgroup of its own where one can be made. Where the daemon does not go along (one of an
    earlier version, say), the environment alone has to do, and a note says so.
    """
    put_on()
    try:
        tell(
            places, "bind", process="self", enclose=True, said=said.value,
            project=project, view=view, python=python,
        )  # fmt: skip
    except PkgviewError as error:
        console.note(f"pkgview: bound by its environment only: {error.what}")


def whom_of(bound: dict[str, Any]) -> str:
    """Whom a binding covers, in words."""
    named = []
    if bound["pid"] is not None:
        named.append(f"process {bound['pid']}")
    if bound["cgroup"] is not None:
        named.append(f"the cgroup {bound['cgroup']}")
    return " and ".join(named) or "a process that has ended"


def what_of(bound: dict[str, Any]) -> str:
    """To what, in words."""
    view = f"view {bound['view'][:12]}" if bound["view"] else ""
    return " in ".join(filter(None, (bound["project"], view))) or "nothing"


def home_as_tilde(path: str) -> str:
    """A path as people write it."""
    home = os.path.expanduser("~")  # noqa: PTH111 - compared as text
    return f"~{path[len(home) :]}" if path.startswith(f"{home}/") else path
