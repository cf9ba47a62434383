"""The mount after a reboot: a service of the user's systemd, else an autostart entry of a desktop.

Why the service does not serve itself, but runs `pkgview mount`: a mount may be there already, a
supervisor may be replaced under it, and neither is a failure. So the unit is `oneshot`, and stays
active for as long as its processes may live.

A unit gets little of a login's environment. What decides where things are is written down in it,
as it is when the unit is made; never what may be a secret.

Formats: systemd.service(5), systemd.syntax(7), and the desktop entry specification (1.5).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import make_private, write_atomically
from resolver.errors import PkgviewError
from unionfs.cli.enabling import made

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.places import Places

UNIT = "pkgview.service"
SYSTEMCTL_SECONDS = 60.0
RUNNING = Path("/run/systemd/system")
"""There while systemd is the system's first process (sd_booted(3))."""
LINGERING = Path("/var/lib/systemd/linger")

KEPT = (
    "PATH", "PKGVIEW_MOUNT", "PKGVIEW_TRANSPORT", "PKGVIEW_WORKERS",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
)  # fmt: skip
"""Variables that a unit is given: where things are, and how they are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What starts the mount: a file, links to it, and whether it is systemd's."""

    path: Path
    links: tuple[Path, ...]
    systemd: bool


def own_command() -> str:
    """The path of `pkgview` by which a later day will find it: as it was called."""
    typed = os.path.abspath(sys.argv[0])  # noqa: PTH100 - the link of an installer stays one
    if Path(typed).name == "pkgview" and os.access(typed, os.X_OK):
        return typed
    return shutil.which("pkgview") or os.fspath(Path(sys.executable).with_name("pkgview"))


def entries(environ: Mapping[str, str]) -> tuple[Entry, Entry]:
    """The two that there may be, systemd's first."""
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ["HOME"], ".config"))
    units = config / "systemd/user"
    return (
        Entry(path=units / UNIT, links=(units / "default.target.wants" / UNIT,), systemd=True),
        Entry(path=config / "autostart/pkgview.desktop", links=(), systemd=False),
    )


def install(places: Places, environ: Mapping[str, str], *, systemd: bool) -> Entry:
    """Write the one that this machine will read; begins nothing."""
    entry = entries(environ)[0 if systemd else 1]
    command = own_command()
    text = unit(command, environ) if systemd else desktop_entry(command, environ)
    for path in (entry.path, *entry.links):
        made.remember(places, path)
    _write(entry.path, text)
    for link in entry.links:  # as `systemctl --user enable` does, which needs a bus for it
        make_private(link.parent)
        if not link.is_symlink():
            link.symlink_to(entry.path)
    return entry


def remove(environ: Mapping[str, str]) -> list[Path]:
    """Take both away; what is mounted stays. What was there."""
    gone = []
    for entry in entries(environ):
        for path in (*entry.links, entry.path):
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise PkgviewError(
                    f"{path} cannot be removed: {error.strerror}", remedy="Remove it by hand."
                ) from error
            if path == entry.path:
                gone.append(path)
    if gone:
        tell_systemd("daemon-reload")
    return gone


def tell_systemd(*arguments: str) -> str:
    """Ask the user's systemd for something: "" or why it cannot be had."""
    if shutil.which("systemctl") is None or not RUNNING.is_dir():
        return "systemd does not run here"
    try:
        said = subprocess.run(
            ["systemctl", "--user", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SYSTEMCTL_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return said.stderr.strip() if said.returncode else ""


def lingers() -> bool:
    """Whether this user's services begin at boot and outlive the last logout."""
    try:
        return (LINGERING / pwd.getpwuid(os.geteuid()).pw_name).exists()
    except KeyError:
        return False


def unit(command: str, environ: Mapping[str, str]) -> str:
    """The unit's text."""
    given = ((name, environ.get(name, "")) for name in KEPT)
    lines = "".join(
        f"Environment={_unit_word(f'{name}={value}')}\n" for name, value in given if value
    )
    # systemd takes a path with a quote or a backslash as an argument only.
    word = "/usr/bin/env " + _unit_word(command).replace("$", "$$")
    return (
        "[Unit]\n"
        "Description=pkgview: every process sees its project's packages\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        f"{lines}"
        f"ExecStart={word} mount\n"
        f"ExecStop=-{word} umount\n"
        # A package manager's job that takes too much must not take the mount with it.
        "OOMPolicy=continue\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def desktop_entry(command: str, environ: Mapping[str, str]) -> str:
    """The entry's text; the session's environment is the user's own."""
    mount = environ.get("PKGVIEW_MOUNT")
    words = [command, "mount", *([mount] if mount else [])]
    return (
        "[Desktop Entry]\n"
        "Type=Application\n"
        "Name=pkgview\n"
        "Comment=Every process sees its project's packages\n"
        f"Exec={' '.join(map(_desktop_word, words))}\n"
        "NoDisplay=true\n"
        "Terminal=false\n"
    )


def _unit_word(text: str) -> str:
    """One word for systemd, where `%` begins a specifier."""
    _refuse_lines(text)
    quoted = re.sub(r'(["\\])', r"\\\1", text).replace("%", "%%")
    return f'"{quoted}"'


def _desktop_word(text: str) -> str:
    """One word of Exec: quoted, then escaped as every string of such a file."""
    _refuse_lines(text)
    quoted = re.sub(r'(["`$\\])', r"\\\1", text).replace("\\", "\\\\").replace("%", "%%")
    return f'"{quoted}"'


def _refuse_lines(text: str) -> None:
    if not text.isprintable():
        raise PkgviewError(
            f"{text!a} cannot stand in a service's file",
            remedy="Give it a name without control characters.",
        )


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
