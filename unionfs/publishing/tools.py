"""Tools: distributions that are installed for their commands, each with a view of its own.

A tool is a project in the user's data, `<data>/tools/<name>/`, whose requirements.txt lists the
distribution first and what is to be beside it after that. So it is locked, fetched, mounted and
kept as any other project is. Its commands are links in the user's own directory for programs, which
lead through the mount's `projects/<key>` to the tool's newest view, wherever they are called.
What is in that directory and is no such link belongs to somebody else.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import make_private, write_atomically
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.naming import project_key
from unionfs.archive.layer import ROOT, Kind
from unionfs.mounting import mountpoints
from unionfs.view.opened import open_view

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from resolver.manifest import ViewId
    from resolver.places import Places

_HEAD = "# Written by `pkgview tool install`: the tool, and what is to be beside it.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One of them, installed or about to be. `name` is its distribution's, normalised."""

    name: str
    directory: Path

    @property
    def is_installed(self) -> bool:
        """Whether it is."""
        return (self.directory / "requirements.txt").is_file()

    @property
    def requirements(self) -> list[str]:
        """The lines of its requirements.txt; [] where it is not installed."""
        if not self.is_installed:
            return []
        lines = read_text(self.directory / "requirements.txt").splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    def write(self, requirements: Sequence[str]) -> None:
        """Have it list these."""
        make_private(self.directory)
        text = _HEAD + "".join(f"{line}\n" for line in requirements)
        write_atomically(self.directory / "requirements.txt", text.encode())

    def remove(self) -> None:
        """Take its directory away; archives and views are gc's."""
        shutil.rmtree(self.directory, ignore_errors=True)


def tool_named(places: Places, name: str) -> Tool:
    """The tool of that distribution."""
    root = Path(os.path.realpath(places.store.parent)) / "tools"
    return Tool(name=name, directory=root / name)


def installed(places: Places) -> list[Tool]:
    """All that are, by name."""
    root = tool_named(places, "").directory
    names = sorted(os.listdir(root)) if root.is_dir() else []
    return [tool for tool in (tool_named(places, name) for name in names) if tool.is_installed]


def bin_directory(environ: Mapping[str, str]) -> Path:
    """Where the user's own programs are: XDG_BIN_HOME, else `~/.local/bin`."""
    named = environ.get("XDG_BIN_HOME", "")
    return Path(named) if named.startswith("/") else Path("~/.local/bin").expanduser()


def commands_of(places: Places, view: ViewId, name: str) -> list[str]:
    """The commands that a distribution brings to a view, sorted."""
    opened = open_view(places, view)
    for layer, archive in zip(opened.manifest.layers, opened.archives, strict=True):
        directory = archive.lookup(ROOT, b"scripts") if layer.name == name else None
        if directory is not None:
            found = archive.children(directory)
            return [os.fsdecode(one) for one, _, entry in found if entry.kind is not Kind.DIRECTORY]
    return []


def linked(places: Places, tool: Tool, bin_: Path) -> dict[str, str]:
    """The links that are the tool's commands, and where they lead; of any mount of this user's."""
    end = f"/projects/{project_key(str(tool.directory))}/bin"
    mounts = mountpoints.mountpoints(places) | {os.fspath(places.mount)}
    found = {}
    for name in os.listdir(bin_) if bin_.is_dir() else ():
        try:
            target = os.readlink(bin_ / name)
        except OSError:
            continue  # no link
        directory = os.path.dirname(target)  # noqa: PTH120 - as it is written
        if directory.endswith(end) and directory.removesuffix(end) in mounts:
            found[name] = target
    return found


def refuse_taken(places: Places, tool: Tool, commands: Collection[str], bin_: Path) -> None:
    """Say that one of these names is somebody else's there, before anything is changed."""
    ours = linked(places, tool, bin_)
    taken = [bin_ / name for name in commands if os.path.lexists(bin_ / name) and name not in ours]
    if taken:
        listed = ", ".join(map(str, taken))
        raise PkgviewError(
            f"{listed} {'is' if len(taken) == 1 else 'are'} there already and not of {tool.name}",
            remedy="Move what is there away, or uninstall it with what has installed it.",
        )


def link_commands(places: Places, tool: Tool, commands: Collection[str], bin_: Path) -> None:
    """Have exactly these commands of the tool in the directory for programs."""
    refuse_taken(places, tool, commands, bin_)
    target = places.mount / "projects" / project_key(str(tool.directory)) / "bin"
    try:
        before = linked(places, tool, bin_)
        make_private(bin_)  # it is on PATH, or will be: whatever the umask
        for name in before.keys() - set(commands):
            (bin_ / name).unlink(missing_ok=True)
        for name in commands:
            if before.get(name) != f"{target}/{name}":
                (bin_ / name).unlink(missing_ok=True)
                (bin_ / name).symlink_to(target / name)
    except OSError as error:
        raise PkgviewError(
            f"cannot link the commands of {tool.name} in {bin_}: {error.strerror}",
            remedy="Make it writable, or name another directory in XDG_BIN_HOME.",
        ) from error
