"""`pkgview enable` and `pkgview disable`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.places import Places
from resolver.python.discovery import find_interpreter
from unionfs.cli import console, group
from unionfs.cli.asked import json_of
from unionfs.cli.completing import names_of, paths
from unionfs.cli.enabling import made, service, shells, usersite
from unionfs.environment import ENABLE_FILE, taught

if TYPE_CHECKING:
    from pathlib import Path

EXECUTABLE = click.option(
    "--python",
    "-p",
    metavar="EXE",
    shell_complete=paths,
    help="A version (3.12), a command's name or a path; default: python3.",
)


@click.command(
    epilog="""\b
Examples:
  pkgview enable                         plain `python3` sees its project's packages
  pkgview enable --python 3.12
  pkgview enable --shell bash            in a project its commands come first; completion
  pkgview enable --service               mounted after a reboot
  pkgview enable --shell >> ~/.profile   a line for any shell: the mount's commands come first
"""
)
@EXECUTABLE
@click.option(
    "--shell",
    is_flag=False,
    flag_value="",
    metavar="[bash|zsh|fish|direnv]",
    shell_complete=names_of(lambda _: shells.HOOKED),
    help="Have that shell follow the project you are in, and complete `pkgview`; "
    "without a name, print a line for a profile.",
)
@click.option("--service", "as_service", is_flag=True, help="Mount when you log in, or at boot.")
@json_of(
    "{executable, directory, files: [name]}; with --shell NAME: {shell, files: [path]}; "
    "with --service: {file, systemd, started, lingers}"
)
def enable(*, python: str | None, shell: str | None, as_service: bool, as_json: bool) -> None:
    """Let a Python that is installed anyway see the view of the project it is used in.

    One .pth file and two modules are put into your site directory for that version of Python;
    nothing of the installation is changed. Where there is no project it stays as it is, and so do
    virtual environments, programs started with -I, -E or -s, and tools that are installed for it.
    With --shell or --service only that is done.
    """
    places = Places.from_environ()
    if shell == "":
        console.answer(shells.line(places, os.environ))
    elif shell is not None:
        _enable_shell(places, shell, as_json=as_json)
    if as_service:
        _enable_service(places, as_json=as_json)
    if shell is None and not as_service:
        _enable_python(places, python, as_json=as_json)


def _enable_python(places: Places, python: str | None, *, as_json: bool) -> None:
    from unionfs.control.endpoint import (  # noqa: PLC0415 - `--shell` does without
        endpoint_of,
        standing_socket,
    )
    from unionfs.daemon import launch  # noqa: PLC0415 - `--shell` does without
    from unionfs.mounting import mounts  # noqa: PLC0415 - `--shell` does without

    interpreter = find_interpreter(None, python, places.state)
    site = usersite.user_site(interpreter)
    if not site.used:
        raise PkgviewError(
            f"{interpreter.executable} does not look into its user's site directory "
            f"({site.directory})",
            remedy="Unset PYTHONNOUSERSITE; or use ~/.pkgview/bin/python, which needs nothing.",
        )
    mountpoint = launch.ensure_mounted(places).mountpoint
    endpoint = endpoint_of(places, mounts.canonical(places.mount))
    live = launch.running(places, endpoint) or endpoint
    files = taught(
        interpreter.python.version,
        mount=os.fspath(mountpoint),
        socket=os.fspath(standing_socket(places, live)),
        bound=os.fspath(places.state / "bindings" / f"{endpoint.name}.json"),
    )
    usersite.install(places, interpreter, site.directory, files)
    if as_json:
        console.as_json(
            {
                "executable": interpreter.executable,
                "directory": os.fspath(site.directory),
                "files": list(files),
            }
        )
        return
    console.note(
        f"Enabled {interpreter.executable}: in a project it sees the project's packages "
        f"({site.directory / ENABLE_FILE}.pth)."
    )


def _refuse_way(places: Places) -> None:
    """What is run from the mount by itself from now on shall not be others' to replace."""
    from unionfs.mounting import mounts, prerequisites  # noqa: PLC0415 - as above

    prerequisites.refuse_way(places.mount, [one.path for one in mounts.table()])


def _enable_shell(places: Places, shell: str, *, as_json: bool) -> None:
    if shell not in shells.HOOKED:
        raise click.BadParameter(
            f"{shell!r} is none of {', '.join(shells.HOOKED)}", param_hint="--shell"
        )
    _refuse_way(places)
    written = shells.install(places, shell, os.environ, group.main)
    if as_json:
        console.as_json({"shell": shell, "files": [os.fspath(path) for path in written]})
        return
    for path in written:
        console.note(
            f"{'Added a line to' if path.name in shells.STARTED_WITH else 'Wrote'} {path}."
        )
    if shell == "direnv":
        console.note("A project's .envrc may say `use pkgview` now.")
    else:
        if shell == "zsh":
            console.note(
                "It completes `pkgview` where ~/.zshrc has `autoload -Uz compinit; compinit`."
            )
        console.note(f"Each {shell} that you start from now on follows the project you are in.")


def _enable_service(places: Places, *, as_json: bool) -> None:
    _refuse_way(places)
    systemd = service.RUNNING.is_dir()
    entry = service.install(places, os.environ, systemd=systemd)
    why = ""
    if systemd:
        why = service.tell_systemd("daemon-reload") or service.tell_systemd("start", service.UNIT)
    lingers = service.lingers()
    if as_json:
        console.as_json(
            {
                "file": os.fspath(entry.path),
                "systemd": systemd,
                "started": systemd and not why,
                "lingers": lingers,
            }
        )
        return
    console.note(f"Wrote {entry.path}.")
    if not systemd:
        console.note(
            "systemd does not run here: a desktop session mounts when it begins. Where there is "
            "none, `pkgview enable --shell` mounts when a shell begins, and a line of your crontab "
            f"at boot: @reboot {service.own_command()} mount"
        )
        return
    if why:
        console.note(f"It begins with your next login, since it could not be started now: {why}")
    if lingers:
        console.note("You are lingering: it is mounted from boot to shutdown.")
    else:
        console.note(
            "It is mounted from your first login to your last logout. For cron and services to "
            "find it at any time, let your services linger: `loginctl enable-linger`."
        )


@click.command(
    epilog="""\b
Examples:
  pkgview disable                        every Python that was enabled, shells, the service
  pkgview disable --python 3.12
"""
)
@EXECUTABLE
@json_of("[path]")
def disable(*, python: str | None, as_json: bool) -> None:
    """Undo `pkgview enable`: take its files and lines away; with --python, only of that Python.

    What is mounted stays mounted, and shells that run keep what they have read.
    """
    places = Places.from_environ()
    gone: list[Path] = []
    if python is None:
        directories = usersite.remembered(places)
        with suppress(PkgviewError):  # where there is no Python there is none enabled
            directories.append(
                usersite.user_site(find_interpreter(None, None, places.state)).directory
            )
        gone = [*shells.remove(places, os.environ), *service.remove(os.environ)]
    else:
        directories = [usersite.user_site(find_interpreter(None, python, places.state)).directory]
    changed = [one for one in dict.fromkeys(directories) if usersite.remove(one)]
    usersite.forget(places, directories)
    made.take_away(places)
    if as_json:
        console.as_json([os.fspath(path) for path in (*changed, *gone)])
        return
    for directory in changed:
        console.note(f"Removed {directory / ENABLE_FILE}.pth and what it starts.")
    for path in gone:
        console.note(f"Took the line out of {path}." if path.exists() else f"Removed {path}.")
    if not changed and not gone:
        console.note("Nothing was enabled.")
