"""Whether a mount has anybody at its other end, as the kernel says.

A lock that nobody holds says that no daemon was found, which depends on where one looked. The
kernel knows: it answers ENOTCONN itself as soon as nobody has `/dev/fuse` of that mount open. Here
alone a mount point is touched that may not answer, so another process does it: one that waits for
a daemon that does nothing may be one that cannot be ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_SECONDS = 2.0
"""How long is waited for an answer; that of the kernel itself takes no time."""

_DEAD = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED})
_ASK = "import os, sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as e: os._exit(e.errno)"


def is_connected(path: Path) -> bool:
    """Whether the FUSE file system that is mounted at `path` still has a daemon.

    True, too, for one that does not answer, and where the kernel does not let us in.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _ASK, os.fspath(path)],
        stdin=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    try:
        return process.wait(ANSWER_SECONDS) not in _DEAD
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ANSWER_SECONDS)
        return True
