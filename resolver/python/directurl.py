"""direct_url.json: that a distribution came from an address of its own, not from an index.

Formats: PEP 610, "direct URL data structure" (packaging.python.org). The bytes are those that uv
writes. `pip freeze` and `uv pip freeze` read the file, and so do the tools that compare an
environment with a lock.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from resolver.python.selection import Source

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.selection import Choice

_PATH = "/!$&'()*+,;=:@[]|^"
"""What stands for itself in a URL's path (RFC 3986, pchar), besides letters, digits and -._~; and
what uv leaves as it is."""

_SECRET = re.compile(r"(?<=://)(?!git@[^@/?#\\]*(?:[/?#\\]|$)|(?:\$\{\w+\}:?){1,2}@)[^/?#\\]*@")
"""User and password: the specification wants them left out, but for `git@` and `${VARIABLES}`."""


def direct_url(choice: Choice) -> bytes | None:
    """What the file says of a choice; None for what an index offered, which must not have one."""
    if not choice.direct:
        return None
    if choice.kind is Source.DIRECTORY and choice.path is not None:
        return of_directory(choice.path, editable=choice.editable, subdirectory=choice.subdirectory)
    url = _file_url(choice.path) if choice.path is not None else choice.url or ""
    url = _SECRET.sub("", url.removeprefix("git+"))
    if choice.kind is not Source.VCS:
        return _written(url, "archive_info", {}, choice.subdirectory)
    told: dict[str, object] = {"vcs": "git", "commit_id": choice.commit}
    if choice.revision is not None:
        told["requested_revision"] = choice.revision
    if choice.lfs:
        told["git_lfs"] = True  # uv's
    return _written(url, "vcs_info", told, choice.subdirectory)


def of_directory(path: Path, *, editable: bool | None, subdirectory: str | None = None) -> bytes:
    """What the file says of a directory (absolute) on this machine.

    uv tells apart what its lock says (false) and what nobody has said.
    """
    told: dict[str, object] = {} if editable is None else {"editable": editable}
    return _written(_file_url(path), "dir_info", told, subdirectory)


def _written(url: str, kind: str, told: dict[str, object], subdirectory: str | None) -> bytes:
    fields = {"url": url, kind: told}
    if subdirectory:
        fields["subdirectory"] = subdirectory
    return json.dumps(fields, separators=(",", ":")).encode()


def _file_url(path: Path) -> str:
    return "file://" + quote(os.fsencode(path), safe=_PATH)
