"""Files that act before a program's first import: of views that wait, and of `pkgview enable`.

Each is a module of this folder, copied byte for byte with a line or two appended that say where to
ask, and the file that has `site` call it: a .pth file, and for Python 3.15 a .start file (PEP 829),
which then counts instead of the .pth file of its name.

`site` reads them in the order of their names. A view's waiting comes before all else in it; what an
enabled interpreter does comes last, when what stands in the user's site directory has been added
and can be taken away again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unionfs.store.generated import GeneratedFile

if TYPE_CHECKING:
    from resolver.python.target import Python

WAIT_FILE = "000_pkgview_wait"

ENABLE_FILE = "zzz_pkgview_enable"

_START_SINCE = (3, 15)

_WAIT = "import _pkgview_wait as w; w.wait()\n"

_ENABLE = "import sys; sys.prefix == sys.base_prefix and __import__('_pkgview_enable').enable()\n"
"""In a virtual environment that has the user's site directory, not even the module is imported."""


def waiting(python: Python, socket: str) -> list[GeneratedFile]:
    """What a view for `python` has besides while it waits; the daemon listens at `socket`."""
    files = [
        GeneratedFile(path="purelib/_pkgview_wait.py", content=_module("wait.py", SOCKET=socket)),
        GeneratedFile(path=f"purelib/{WAIT_FILE}.pth", content=_WAIT.encode()),
    ]
    if _reads_start_files(python.version):
        files.append(
            GeneratedFile(path=f"purelib/{WAIT_FILE}.start", content=b"_pkgview_wait:wait\n")
        )
    return files


def taught(version: str, *, mount: str, socket: str, bound: str) -> dict[str, bytes]:
    """Name and content of what `pkgview enable` writes for a Python of that version ("3.11").

    `bound` is the file in which the daemon of `mount` keeps bindings by hand.
    """
    files = {
        "_pkgview_wait.py": _module("wait.py"),
        "_pkgview_enable.py": _module("enable.py", MOUNT=mount, SOCKET=socket, BOUND=bound),
        # Last: an interpreter that starts meanwhile must find what it names.
        f"{ENABLE_FILE}.pth": _ENABLE.encode(),
    }
    if _reads_start_files(version):
        files[f"{ENABLE_FILE}.start"] = b"_pkgview_enable:enable\n"
    return files


def _reads_start_files(version: str) -> bool:
    return tuple(int(part) for part in version.rstrip("t").split(".")) >= _START_SINCE


def _module(name: str, **said: str) -> bytes:
    lines = "".join(f"{variable} = {value!a}\n" for variable, value in said.items())
    return Path(__file__).with_name(name).read_bytes() + lines.encode("ascii")
