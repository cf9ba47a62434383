"""Where pkgview keeps its things: XDG directories and the mount point, and nothing else.

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

from resolver.errors import PkgviewError

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
        env = os.environ if environ is None else environ
        home = _home(env)

        def xdg(variable: str, default: Path) -> Path:
            value = env.get(variable, "")
            return (Path(value) if value.startswith("/") else default) / "pkgview"

        state = xdg("XDG_STATE_HOME", home / ".local/state")
        runtime = env.get("XDG_RUNTIME_DIR", "")
        mount = env.get("PKGVIEW_MOUNT")
        return cls(
            store=xdg("XDG_DATA_HOME", home / ".local/share") / "store",
            state=state,
            cache=xdg("XDG_CACHE_HOME", home / ".cache"),
            runtime=Path(runtime) / "pkgview" if runtime.startswith("/") else state / "run",
            config=xdg("XDG_CONFIG_HOME", home / ".config"),
            mount=Path(os.path.abspath(mount)) if mount else home / ".pkgview",  # noqa: PTH100 - a stale mount point must not be resolved
        )


def _home(env: Mapping[str, str]) -> Path:
    """HOME, else what the user database says; it has to be absolute."""
    named = env.get("HOME")
    try:
        home = Path(named) if named else Path.home()
    except RuntimeError as error:
        raise PkgviewError(
            f"there is no home directory: HOME is not set, and user {os.getuid()} has no entry",
            remedy="Set HOME to a directory of your own.",
        ) from error
    if not home.is_absolute():
        raise PkgviewError(
            f"HOME is {str(home)!r}, which is no absolute path",
            remedy="Set HOME to the absolute path of a directory of your own.",
        )
    return home
