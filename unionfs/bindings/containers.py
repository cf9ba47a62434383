"""Containers of podman and docker: in which cgroup one of them runs.

The engines say a container's id and the pid of its first process; the rest is the kernel's word.
The cgroup is the one around that process that bears the id in its name (`libpod-<id>`,
`docker-<id>.scope`, `/docker/<id>`): a container with an init system makes further ones inside,
and one that shares its cgroup with others has none of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.caller.procfs import Absence, Tid, read_cgroup
from resolver.errors import PkgviewError
from unionfs.bindings import cgroups

if TYPE_CHECKING:
    from resolver.caller.procfs import Cgroup

ENGINES = ("podman", "docker")

ENGINE_SECONDS = 20.0
"""How long an engine may take to say what it knows of one container; usually 50 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container: its whole id, and its first process as the host counts."""

    engine: str
    id: str
    pid: int


def cgroup_of(name: str) -> Cgroup:
    """The cgroup of the container of that name, id or beginning of an id, else `PkgviewError`."""
    found = running(name)
    seen = read_cgroup(Tid(found.pid))
    cgroup = None if isinstance(seen, Absence) else cgroups.holding(seen, found.id)
    if cgroup is None:
        raise PkgviewError(
            f"the container {name} has no cgroup of its own that is visible here",
            remedy=f"Bind its first process instead: `pkgview bind --pid {found.pid}`.",
        )
    return cgroup


def running(name: str) -> Container:
    """The one running container that this name means."""
    engines = [engine for engine in ENGINES if shutil.which(engine)]
    if not engines:
        raise PkgviewError(
            "neither podman nor docker is installed",
            remedy="Name the container's cgroup or first process: --cgroup PATH, --pid PID.",
        )
    faults: list[str] = []
    found: list[Container] = []
    for engine in engines:
        try:
            found.append(_inspect(engine, name))
        except PkgviewError as error:
            faults.append(f"{engine}: {error.what}")
    if not found:
        raise PkgviewError(
            f"there is no running container {name} ({'; '.join(faults)})",
            remedy="`podman ps` or `docker ps` shows those that run. Other users' are shown to "
            "root only.",
        )
    if len(found) > 1:
        raise PkgviewError(
            f"podman and docker both have a running container {name}",
            remedy=f"Name it by its id: {found[0].id[:12]} (podman) or {found[1].id[:12]} "
            "(docker).",
        )
    return found[0]


def _inspect(engine: str, name: str) -> Container:
    command = [engine, "container", "inspect", "--format", "{{.Id}} {{.State.Pid}}", "--", name]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace",
            timeout=ENGINE_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PkgviewError(f"no answer within {ENGINE_SECONDS:.0f} s") from error
    except OSError as error:
        raise PkgviewError(str(error.strerror)) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise PkgviewError(lines[-1] if lines else f"exit status {done.returncode}")
    match = re.fullmatch(r"([0-9a-f]{64}) ([0-9]{1,10})", done.stdout.strip())
    if match is None:
        raise PkgviewError("its answer makes no sense")
    if match[2] == "0":
        raise PkgviewError("it does not run")
    return Container(engine=engine, id=match[1], pid=int(match[2]))
