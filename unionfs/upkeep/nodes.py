"""Programs of Node's, as far as /proc tells which views they may read from.

Node holds nothing of what it has loaded, and looks a package up through its project's link at any
later moment: so whoever runs in a project may use each view that this project has had. Where a
program runs its working directory tells, the paths among its arguments, and variables that shells
and npm set. A project is known by its place or as the directory that it is, wherever that was
moved (`resolver.naming.directory_names`).

What does not tell where its script lies may use any view: it has gone elsewhere, its script is
gone, or it has another title.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from resolver.naming import directory_names
from resolver.ownership import identity, parents
from unionfs.upkeep.began import began
from unionfs.upkeep.proc import has_ended

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from resolver.caller.procfs import Stat

_NODE = re.compile(r"(node|nodejs|bun|deno)[\d.]*( \(deleted\))?")
_MAPPED = re.compile(rb"/libnode[-.\d]*\.so[.\d]*( \(deleted\))?$", re.MULTILINE)
_AS_NODE = b"ELECTRON_RUN_AS_NODE"
_NPM = "npm "
"""What npm's title begins with; it goes nowhere else."""

_VALUED = frozenset({
    "-C", "-r", "--conditions", "--env-file", "--experimental-loader", "--import", "--loader",
    "--require", "--title",
})  # fmt: skip
"""Options of node's before the script that may have their value as the next word."""

_CODE: Final = frozenset({"-e", "--eval", "-p", "--print", "-pe", "-i", "--interactive"})

_FILE_URL = re.compile(r"file:(//[^/]*)?(?=/)")
_BETWEEN = re.compile(r"""[\s:;,=|&<>()\[\]{}'"`]+""")
_QUOTED = re.compile(r"""(['"`])(.*?)\1""")
_MOST_PATHS = 5_000
"""Of one program; one that names more may use any view."""
_MOST_LINKS = 40
"""That one path leads through, as for the kernel."""

_OF_A_VIEW = re.compile(r"/views/[0-9a-f]{32}(/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProgram:
    """`started` is seconds since boot, at the earliest (`unionfs.upkeep.began`).

    `directories` are names of all directories that it is in, each and those above it; None: any.
    """

    pid: int
    started: float
    directories: frozenset[str] | None

    def may_use(self, owners: frozenset[str]) -> bool:
        """Whether it runs in a project with one of these names; without any, which is not known."""
        return self.directories is None or not owners or not owners.isdisjoint(self.directories)


def looked(  # noqa: PLR0913 - what /proc says of one process
    pid: int, stat: Stat, base: str, *, exe: str, cwd: str, cmdline: bytes, environ: bytes,
    maps: bytes,
) -> Iterator[NodeProgram]:  # fmt: skip
    """The program of a process, if it is one; `base` is its directory in /proc."""
    if not is_node(exe, cmdline, environ, maps) or not (exe or maps or pid != 1):
        return  # the system's own init, which nobody may look at, is none
    places = directories(base, exe=exe, cwd=cwd, cmdline=cmdline, environ=environ)
    if places is not None or not has_ended(pid, stat):
        yield NodeProgram(pid=pid, started=began(stat), directories=places)


def is_node(exe: str, cmdline: bytes, environ: bytes, maps: bytes) -> bool:
    """Whether Node runs in a process, or one like it; also where nothing can be seen of it."""
    if not (exe or maps):
        return True
    first = os.fsdecode(cmdline.partition(b"\0")[0])
    return (
        any(_NODE.fullmatch(path.rpartition("/")[2]) for path in (exe, first))
        or _AS_NODE in (one.partition(b"=")[0] for one in environ.split(b"\0"))
        or _MAPPED.search(maps) is not None
    )


def directories(
    base: str, *, exe: str, cwd: str, cmdline: bytes, environ: bytes
) -> frozenset[str] | None:
    """The names of the directories that a program is in; `base` is its directory in /proc."""
    variables = dict(entry.partition(b"=")[::2] for entry in environ.split(b"\0"))
    words = [os.fsdecode(word) for word in cmdline.split(b"\0")]
    here = os.fsdecode(variables.get(b"PWD", b""))
    root = f"{base}/root"
    is_npm = words[0].startswith(_NPM)
    if not cwd.startswith("/") or cwd.endswith(" (deleted)"):
        return None
    if not is_npm and not _is_untitled(words[0], exe):
        return None
    script = None if is_npm else _script(words[1:])
    if script is None:  # code came with the command, or from a terminal; or it is npm
        if here != cwd:
            return None
    elif not os.path.isfile(f"{root}{_in(cwd, script)}"):  # noqa: PTH113 - thousands of them
        return None
    named = {cwd} if script is None else {cwd, _in(cwd, script)}
    for text in (*words[1:], *map(os.fsdecode, variables.values())):
        named.update(_in(cwd, path) for path in _paths(text))
        if len(named) > _MOST_PATHS:
            return None
    return frozenset(_names(root, named))


def _paths(text: str) -> Iterator[str]:
    """All that may be a path in an argument or a variable's value; much of it is none."""
    if "/" not in text:
        return
    plain = _FILE_URL.sub("", text)
    quoted = (found[2] for found in _QUOTED.finditer(plain))
    found = {plain, plain.partition("=")[2], *plain.split(":"), *_BETWEEN.split(plain), *quoted}
    for path in found:
        if "/" in path and "\0" not in path:
            yield path
            if "%" in path:
                yield unquote(path).replace("\0", "")


def _is_untitled(first: str, exe: str) -> bool:
    """Whether its arguments are those that it was started with."""
    name = first.rpartition("/")[2]
    own = exe.rpartition("/")[2].removesuffix(" (deleted)")
    return bool(name) and (name == own or _NODE.fullmatch(name) is not None)


def _script(words: list[str]) -> str | None:
    """The first word that is no option, nor one's value; None where code was given otherwise."""
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word in _CODE or word in {"-", ""}:
            return None
        elif word.startswith("-"):
            is_value = word in _VALUED
        else:
            return word
    return None


def _in(cwd: str, path: str) -> str:
    return os.path.normpath(f"{cwd}/{path}" if not path.startswith("/") else path)


def _names(root: str, places: Iterable[str]) -> Iterator[str]:
    """Of each place and all above, as the process sees them; and where links there lead to."""
    seen: set[str] = set()
    for place in places:
        for path in _ways(root, place):
            for directory in (path, *parents(path)):
                # What is in a view says which by itself.
                if directory in seen or _OF_A_VIEW.search(directory):
                    continue
                seen.add(directory)
                with suppress(OSError):
                    if os.path.isdir(f"{root}{directory}"):  # noqa: PTH112 - thousands of them
                        yield from directory_names(directory, identity(f"{root}{directory}"))


def _ways(root: str, place: str) -> Iterator[str]:
    """A path, and what it becomes as its links are followed: each may name another project."""
    yield place
    done, links = "", 0
    rest = place.split("/")[::-1]
    while rest:
        part = rest.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        try:
            target = os.readlink(f"{root}{done}/{part}")
        except OSError:
            done = f"{done}/{part}"
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        if target.startswith("/"):
            done = ""
        rest += target.split("/")[::-1]
        yield os.path.normpath("/".join(("", done, *rest[::-1])).replace("//", "/"))
    if links:
        yield done or "/"


def as_json(programs: Iterable[NodeProgram]) -> list[list[object]]:
    """For who asks a daemon."""
    return [
        [one.pid, one.started, None if one.directories is None else sorted(one.directories)]
        for one in programs
    ]


def from_json(said: Mapping[str, list[list[object]]]) -> Iterator[NodeProgram]:
    """What `as_json` said, where a daemon says it at all."""
    for pid, started, names in said.get("nodes", ()):
        assert isinstance(pid, int)  # noqa: S101 - our own words
        assert isinstance(started, (int, float))  # noqa: S101 - the same
        assert names is None or isinstance(names, list)  # noqa: S101 - the same
        yield NodeProgram(
            pid=pid, started=started, directories=None if names is None else frozenset(names)
        )
