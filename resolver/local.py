"""Local places of distributions, as `--with` names them: which they are, and what of them counts.

`pkgview up` and `run` with nothing to do import this: it loads nothing that takes time.
"""

from __future__ import annotations

import os

from resolver.inputs import read_input

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    Name = str | Path

BUILD_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
"""Those of a source tree that decide what is made of it; an editable one has the rest as it is."""

_FILES = (".whl", ".tar.gz", ".zip")
_EDITABLE = ("--editable", "-e")


def named_place(said: str) -> tuple[str, str] | None:
    """The absolute path that a text names, and its extras ("[x]" or ""); None: a requirement.

    Places are `.`, `../b`, `/srv/b`, `~/b`, `b/c`, `b-1-py3-none-any.whl`, each perhaps with
    `[extras]` behind it; and whatever stands after `-e`.
    """
    editable, text = _without_option(said.strip())
    text, extras = _without_extras(text)
    if not text or "\0" in text:
        return None
    if not (editable or _is_place(text)):
        return None
    if text.startswith("file:"):
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - hardly ever

        text = unquote(urlsplit(text).path)
    return os.path.realpath(os.path.expanduser(text)), extras


def place_content(path: Name) -> bytes:
    """What decides what is made of a place: a tree's build files; of a file, that it is the same.

    `OSError` and `PkgviewError` where it cannot be read.
    """
    if not os.path.isdir(path):
        return file_state(path).encode()
    parts = []
    for name in BUILD_FILES:
        file = os.path.join(path, name)
        data = read_input(file) if os.path.isfile(file) else b""
        parts.append(b"%d:%s" % (len(data), data))
    return b"".join(parts)


def file_state(path: Name) -> str:
    """What tells a package file from another of its name: size, time of change (ns) and inode.

    Nobody sets a time of change, while an older file may take its place. `OSError` if it is gone.
    """
    found = os.stat(path)
    return f"{found.st_size} {found.st_ctime_ns} {found.st_ino}"


def _without_option(text: str) -> tuple[bool, str]:
    for option in _EDITABLE:
        rest = text.removeprefix(option)
        # Pip and uv need no blank after the short one.
        if rest != text and (rest[:1] in {" ", "\t", "="} or (rest and option == "-e")):
            return True, rest.removeprefix("=").strip().strip("\"'")
    return False, text


def _without_extras(text: str) -> tuple[str, str]:
    place, bracket, extras = text.rpartition("[")
    return (place, f"[{extras}") if bracket and text.endswith("]") else (text, "")


def _is_place(text: str) -> bool:
    if text in {".", ".."} or text.startswith(("./", "../", "/", "~/", "file:")):
        return True
    if "@" in text or text.startswith("-"):
        return False  # a requirement with an address
    # In a requirement it could stand in a marker only.
    return text.endswith(_FILES) or ("/" in text and not {";", ":"} & set(text))
