"""What a start finds of a project of Node's: bytes, compared by digest (`resolver.remembered`).

Nothing is understood here. A package.json without a lock of npm's makes a project only where it
lists something, so a text that has none of those words, and nothing that could spell them
otherwise, makes none.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os

from resolver.buildenv import build_variables
from resolver.inputs import read_input
from resolver.naming import sha256
from resolver.onpath import is_shims, may_run
from resolver.ownership import parents
from resolver.remembered import FORMAT as OF_ALL
from resolver.remembered import READ, Situation, counted, further

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KIND = "node"
FORMAT = "2"
"""Raised where the same bytes shall become another view."""

MANIFEST = "package.json"
LOCKS = ("npm-shrinkwrap.json", "package-lock.json")
"""npm's locks, the one that counts first."""

OTHERS = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "Yarn",
    "bun.lock": "Bun",
    "bun.lockb": "Bun",
}
"""Locks of other package managers."""

SETTINGS = ".npmrc"
PREFIX = "npm_config_"
"""How the variables begin that are settings of npm's."""

_LISTS = (b"ependencies", b"workspaces")
_C_LIBRARY = "/usr/bin/ldd"


def may_be(directory: str) -> bool:
    """Whether the directory may be a project of Node's. `PkgviewError` for what cannot be read."""
    manifest = f"{directory}/{MANIFEST}"
    if not os.path.isfile(manifest):
        return False
    if any(os.path.isfile(f"{directory}/{name}") for name in LOCKS):
        return True
    if any(os.path.isfile(f"{directory}/{name}") for name in OTHERS):
        return False
    data = read_input(manifest)
    return b"\\" in data or b"\0" in data or any(word in data for word in _LISTS)


_OF_GYP = ("NODE_GYP_FORCE_PYTHON", "PYTHON")


def is_surely(directory: str) -> bool:
    """Whether it is one, if its files can be read: it has a lock, and is no member of another."""
    return (
        may_be(directory)
        and any(os.path.isfile(f"{directory}/{name}") for name in LOCKS)
        and not any(os.path.isfile(f"{above}/{MANIFEST}") for above in parents(directory))
    )


def situation(
    root: str,
    state: str,
    environ: Mapping[str, str],
    omit: Sequence[str] = (),
    lines: Sequence[str] | None = None,
) -> Situation | None:
    """What there is at `root` (resolved); None: not for here.

    `omit` is what a command leaves out. `lines`: what counts further; None: what was noted of the
    project. `OSError` and `PkgviewError` where something cannot be
    read.
    """
    node = first_node(environ)
    if node is None or "node_modules" in root.split("/"):
        return None
    chosen, content = sha256(OF_ALL.encode()), sha256(OF_ALL.encode())

    def add(part: bytes) -> None:
        content.update(b"%d:" % len(part))
        content.update(part)

    machine = (KIND, FORMAT, node, _state(node), os.uname().machine, _state(_C_LIBRARY), *omit)
    chosen.update(os.fsencode("\0".join(machine)))
    for counts in _settings(root, environ):
        add(counts)
    noted = further(state, root, KIND) if lines is None else lines
    inputs = (*(f"f {name}" for name in READ), *noted)
    files = [file for line in inputs if (file := counted(root, line, add))]
    above = []
    for at in parents(root):  # whose member this may be
        path = f"{at.rstrip('/')}/{MANIFEST}"
        if os.path.isfile(path):
            add(os.fsencode(os.path.relpath(path, root)))
            add(read_input(path))
            above.append(path)
    return Situation(root, files, above, chosen.digest(), content.digest())


def first_node(environ: Mapping[str, str]) -> str | None:
    """The first `node` on PATH, "" where there is none; None where only running it would tell.

    So it is where a program picks one by the working directory.
    """
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        if not directory.startswith("/"):
            return None
        if may_run(path := os.path.join(directory, "node")):
            real = os.path.basename(os.path.realpath(path))
            return path if real in {"node", "nodejs"} and not is_shims(directory) else None
    return ""


def _state(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def script_variables(environ: Mapping[str, str]) -> list[str]:
    """`NAME=value` of those that change what an install script makes, npm's settings aside."""
    found = [one for one in build_variables(environ) if not one.startswith("UV_")]
    return found + [f"{name}={environ[name]}" for name in _OF_GYP if environ.get(name)]


def _settings(root: str, environ: Mapping[str, str]) -> Iterator[bytes]:
    """All settings of npm's, what they name of the environment, and `script_variables`."""
    yield from map(os.fsencode, script_variables(environ))
    for name in sorted(environ):
        if name == "NODE_ENV" or name.lower().startswith(PREFIX):
            yield os.fsencode(f"{name}={environ[name]}")
    for path in (f"{root}/{SETTINGS}", *settings_files(environ)):
        if os.path.isfile(path):
            data = read_input(path)
            yield data
            for part in data.split(b"${")[1:]:
                name = os.fsdecode(part.partition(b"}")[0]).rstrip("?")
                yield os.fsencode(f"{name}={environ.get(name, '')}")


def settings_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Where npm's settings may be beside the project's own, the most special first."""
    own = {
        name[len(PREFIX) :].lower(): value
        for name, value in environ.items()
        if name.lower().startswith(PREFIX) and value
    }
    home = environ.get("HOME") or os.path.expanduser("~")
    yield own.get("userconfig") or f"{home}/{SETTINGS}"
    if "globalconfig" in own:
        yield own["globalconfig"]
    elif "prefix" in own:
        yield f"{own['prefix']}/etc/npmrc"
    else:
        yield from ("/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc")
