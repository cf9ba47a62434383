"""The skeleton layer: a virtual environment's own files, for one interpreter.

A function of the interpreter and of pkgview's version only, never of project or mount point, so
that all views of one interpreter share one skeleton archive (and those that list pip another).
Paths begin with a scheme, as in every archive (`scripts/…`, `data/…`, `purelib/…`); where these lie
in a view is the manifest's.

| path | what |
|---|---|
| `scripts/python` | link to the base interpreter; `python3`, `python3.11` link to it |
| `scripts/activate{,.fish,.csh}` | relocatable: they find the environment from their own path |
| `data/pyvenv.cfg` | what `site` and `getpath` read (PEP 405); keys as venv and uv write them |
| `data/site-packages` | shortcut to purelib |
| `data/lib64` | link to `lib` on 64-bit machines, as venv makes it |
| `data/<stdlib>/EXTERNALLY-MANAGED` | what pip says when asked to change the view |
| `purelib/_pkgview_pin.py` and the file that starts it | see `pin.py` |
| `purelib/_pkgview_pip.py` | see `pip_guard.py` |
| `scripts/pip`, `pip3`, `pip3.11` | what a view without pip has for one |
| `purelib/_pkgview_pip_reader.py` | what these run: see `pip_reader.py` |
"""

from __future__ import annotations

import functools
import os
import posixpath
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.store.generated import GeneratedFile

if TYPE_CHECKING:
    from resolver.python.target import Python

PIN_FILE = "zzz_pkgview"
"""Name, without its suffix, of the file that starts the pin.

`site` reads such files in the order of their names: the pin must see what the others have added.
"""

_PTH = "import sys; exec({!r})\n".format(
    "try:\n"
    " import os\n"
    " pkgview = os.open(sitedir, os.O_PATH | os.O_CLOEXEC)\n"
    " try: at = os.readlink(f'/proc/self/fd/{pkgview}')\n"
    " except OSError: at = sitedir\n"
    " finally: os.close(pkgview)\n"
    " if not os.path.isdir(at): at = sitedir\n"
    " sys.path.insert(0, at)\n"
    " try: import _pkgview_pin as pkgview\n"
    " finally: sys.path.remove(at)\n"
    " pkgview.pin()\n"
    "except Exception:\n"
    " if sys.flags.verbose: raise"
)
"""One line that `site` executes, where `sitedir` is known. A .pth file that raises prints a
traceback at every start. `site` may have come through the mount's magic link, which the kernel
asks about on every walk: /proc tells where that led, and from there an import asks nothing."""

_START = "_pkgview_pin:pin\n"
"""PEP 829, Python 3.15: an entry point instead of a line that is executed."""

_START_SINCE = (3, 15)

_PIP = b"""\
#!/bin/sh
p=$0
[ -h "$p" ] && p=$(readlink -f -- "$p")
exec "${p%/*}/python" OPTION -m pip "$@"
"""
"""The real pip calls itself by its console script; this is the same as naming the Python.

But who types `pip` has not named that: the option says that nothing of the working directory is
meant, so that a clone there needs a yes first (docs/bindings.md, rule 5).
"""

_SAFE_PATH_SINCE = (3, 11)
"""Python's `-P`; before that only `-I` leaves the working directory out."""

_EXTERNALLY_MANAGED = """\
[externally-managed]
Error=This environment is a pkgview view: it is read-only, and shows exactly
 what its project lists.

 To have a package here, add it to that list (`pkgview remove` takes it out):

     pkgview add PACKAGE

 Or edit pyproject.toml or requirements.txt, then run `pkgview up`.
 To try one without adding it:

     pkgview run --with PACKAGE -- python
"""


def skeleton(
    python: Python,
    *,
    full_version: str,
    implementation: str,
    pkgview_version: str = "",
    with_pip: bool = False,
) -> list[GeneratedFile]:
    """All files of the skeleton, sorted by path.

    `full_version` is "3.11.7", `implementation` "CPython" (`platform.python_implementation()`),
    `pkgview_version` this program's own ("": asked of the installed distribution); `with_pip`: the
    view has a pip of its own.
    Raises `PkgviewError` where the interpreter's name cannot stand in `pyvenv.cfg`.
    """
    schemes = python.schemes
    number = python.version.rstrip("t")
    files = [
        GeneratedFile(path="scripts/python", target=_interpreter(python)),
        GeneratedFile(path="scripts/python3", target="python"),
        GeneratedFile(path=f"scripts/python{python.version}", target="python"),
        GeneratedFile(path="scripts/activate", content=_content("activate.sh")),
        GeneratedFile(path="scripts/activate.fish", content=_content("activate.fish")),
        GeneratedFile(path="scripts/activate.csh", content=_content("activate.csh")),
        GeneratedFile(
            path="data/pyvenv.cfg",
            content=_configuration(
                python, full_version, implementation, pkgview_version or own_version()
            ),
        ),
        GeneratedFile(path="data/site-packages", target=schemes.purelib),
        GeneratedFile(
            path=f"data/{posixpath.dirname(schemes.purelib)}/EXTERNALLY-MANAGED",
            content=_EXTERNALLY_MANAGED.encode(),
        ),
        GeneratedFile(path="purelib/_pkgview_pin.py", content=_content("pin.py")),
        GeneratedFile(path="purelib/_pkgview_pip.py", content=_content("pip_guard.py")),
    ]
    since = tuple(int(part) for part in number.split("."))
    if not with_pip:
        pip = _PIP.replace(b"OPTION", b"-P" if since >= _SAFE_PATH_SINCE else b"-I")
        files.append(
            GeneratedFile(path="purelib/_pkgview_pip_reader.py", content=_content("pip_reader.py"))
        )
        files += [
            GeneratedFile(path=f"scripts/{name}", content=pip, executable=True)
            for name in ("pip", "pip3", f"pip{number}")
        ]
    if number != python.version:
        files.append(GeneratedFile(path=f"scripts/python{number}", target="python"))
    if sys.maxsize > 1 << 32 and not schemes.platlib.startswith("lib64/"):
        # Where platlib itself is below lib64 that is a directory, and no link.
        files.append(GeneratedFile(path="data/lib64", target="lib"))
    if since >= _START_SINCE:
        files.append(GeneratedFile(path=f"purelib/{PIN_FILE}.start", content=_START.encode()))
    else:
        files.append(GeneratedFile(path=f"purelib/{PIN_FILE}.pth", content=_PTH.encode()))
    return sorted(files, key=lambda file: file.path)


def _interpreter(python: Python) -> str:
    """The base interpreter's path; it becomes a link's target and a line of `pyvenv.cfg`."""
    path = python.executable
    if (
        not path.startswith("/")
        or "\0" in path
        or path.splitlines() != [path]
        or path != path.strip()
    ):
        raise PkgviewError(
            f"the interpreter {path!r} cannot be the base of an environment: "
            "its path must be absolute, on one line, and without blanks at its ends",
            remedy="Choose another one with `pkgview up --python PATH`.",
        )
    return path


def _configuration(
    python: Python, full_version: str, implementation: str, pkgview_version: str
) -> bytes:
    """`pyvenv.cfg`; its reader is `getpath`, which wants UTF-8 and one `key = value` a line."""
    return (
        f"home = {posixpath.dirname(python.executable)}\n"
        f"implementation = {implementation}\n"
        f"version_info = {full_version}\n"
        "include-system-site-packages = false\n"
        f"pkgview = {pkgview_version}\n"
    ).encode(errors="surrogateescape")


@functools.cache
def own_version() -> str:
    """The version of the installed pkgview.

    By the name of its `.dist-info`, where it is found at once: `importlib.metadata` takes 20 ms and
    1.4 MB, which a daemon would keep.
    """
    begin, end = "pkgview-", ".dist-info"
    for directory in sys.path:
        with suppress(OSError):
            for name in os.listdir(directory or "."):
                if name.startswith(begin) and name.endswith(end):
                    return name.removeprefix(begin).removesuffix(end)
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("pkgview")


def _content(name: str) -> bytes:
    """A file of this folder, byte for byte."""
    return Path(__file__).with_name(name).read_bytes()
