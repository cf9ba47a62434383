"""Where the files of a tarball go, as npm has it.

The first component is dropped, whatever it is: most packages have `package/`, those of
DefinitelyTyped and what GitHub packs have other names. What npm would leave out with a warning, or
put elsewhere than it says, is a fault here.
"""

from __future__ import annotations

import re
from typing import Final

from unionfs.archive.meta import NAME_LIMIT

PATH_LIMIT: Final = 2048
"""Bytes of a path: room is left for what it will lie below."""

_PLAIN = re.compile(r"[^/.][^/]*(?:/[^/.\\:?][^/\\:]*)+")
"""What nothing is odd about; most paths."""

_ROOT = re.compile(r"[A-Za-z]:|\\|//\?/")
"""What Windows takes for the root of a path: npm cuts it off everywhere."""


def installed(path: str) -> tuple[str, str]:
    """The component that is dropped, and where the file is then; "": it is left out.

    `ValueError` says what is wrong with the path.
    """
    top, _, below = path.partition("/")
    if not _PLAIN.fullmatch(path):
        if not top or top == "..":
            raise ValueError("climbs out with '..'" if top else "is absolute")
        if _ROOT.match(below.lstrip("/") if not below.startswith("//?/") else below):
            raise ValueError("names a drive or the root of one")
        names = [name for name in below.split("/") if name not in {"", "."}]
        if ".." in "/".join(names).replace("\\", "/").split("/"):
            raise ValueError("climbs out with '..'")
        below = "/".join(names)
    if not path.isascii() or len(path) > NAME_LIMIT:
        if len(below.encode()) > PATH_LIMIT:
            raise ValueError(f"has more than {PATH_LIMIT} bytes")
        if any(len(name.encode()) > NAME_LIMIT for name in below.split("/")):
            raise ValueError(f"has a name of more than {NAME_LIMIT} bytes")
    return top, below
