"""The directories that pkgview uses: XDG directories and the mount point, and nothing else.

| place | default | holds |
|---|---|---|
| store | `~/.local/share/pkgview/store` | archives; can be fetched again |
| state | `~/.local/state/pkgview` | manifests, locks, projects, the registry of numbers, the log |
| cache | `~/.cache/pkgview` | downloads under way |
| runtime | `$XDG_RUNTIME_DIR/pkgview`, else `<state>/run` | control sockets and their locks |
| config | `~/.config/pkgview` | `config.toml` |
| mount | `~/.pkgview`, or `$PKGVIEW_MOUNT` | the mount point |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.where import where

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Absolute paths of everything pkgview writes; none of them need exist yet."""

    store: Path
    state: Path
    cache: Path
    runtime: Path
    config: Path
    mount: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Places:
        """Follow the XDG base directory specification; relative values are ignored, as it says."""
        found = where(os.environ if environ is None else environ)
        return cls(**{name: Path(path) for name, path in found.items()})
