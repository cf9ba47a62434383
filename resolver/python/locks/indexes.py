"""From which indexes a lock in the state was made, as far as variables and pip's settings say.

An index that the project's files or uv's name counts with these (`resolving_settings`). What one
shell has set another may not have, an editor's or the daemon's: so this counts for who decides,
which is `pkgview up`, and for `--with`, and nobody else has anything resolved anew for it.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from resolver.buildenv import index_variables
from resolver.python.index import uv_environment
from resolver.python.project import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject


def indexes_of(
    project: PythonProject, *, beside: bool = False, environ: Mapping[str, str] | None = None
) -> str:
    """A digest without users and passwords; "" where none is named, or a lock is the project's own.

    `beside`: of what is resolved besides that lock (`--with`).
    """
    if not beside and (project.origin is Origin.PYLOCK or project.uv_lock is not None):
        return ""
    env = os.environ if environ is None else environ
    said = index_variables({**env, **uv_environment(project.root, environ)}, "UV_")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] if said else ""


def made_from(lock: Path) -> str:
    """The same of a lock in the state, as the note beside it has it."""
    from resolver.python.lockfile import note_at  # noqa: PLC0415 - trio; a fingerprint needs none

    found = note_at(lock.with_suffix(".json")).get("indexes", "")
    return found if isinstance(found, str) else ""
