"""uv's own settings, as far as they matter to us: where they stand, and what changes a build."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.buildenv import build_variables
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TRUE = {"1", "true", "yes", "on", "y", "t"}
"""What uv and pip take for yes, in lower case."""

_BUILD_SETTINGS = (
    "build-constraint-dependencies", "config-settings", "config-settings-package", "exclude-newer",
    "exclude-newer-package", "extra-build-dependencies", "extra-build-variables",
    "no-build-isolation", "no-build-isolation-package", "no-sources", "no-sources-package",
    "prerelease", "resolution",
)  # fmt: skip
"""What uv is set to that changes what it builds, at the top of its settings or in `[pip]`."""


def build_settings(directory: Path | None, environ: Mapping[str, str] | None = None) -> str:
    """A digest of all settings that change what is built in `directory`; "" where nothing is set.

    `directory`: where uv runs, whose settings count too; None: somewhere that has none.
    """
    env = os.environ if environ is None else environ
    said: list[object] = list(build_variables(env))
    for word in env.get("UV_BUILD_CONSTRAINT", "").split():
        with suppress(OSError, PkgviewError):  # uv will have to complain of it
            said.append(read_text(Path(word)))
    for table in uv_tables(env, directory):
        for where in (table, table_of(table, "pip")):
            said += [[key, where[key]] for key in _BUILD_SETTINGS if key in where]
    if not said:
        return ""
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def uv_tables(env: Mapping[str, str], directory: Path | None) -> Iterator[dict[str, Any]]:
    """Settings of uv: system, user, then the nearest of the project's."""
    home = Path(env.get("HOME") or Path.home())
    if named := env.get("UV_CONFIG_FILE"):
        yield read_toml(Path(named))
        return
    if env.get("UV_NO_CONFIG", "").lower() not in TRUE:
        yield read_toml(Path("/etc/uv/uv.toml"))
        yield read_toml(Path(env.get("XDG_CONFIG_HOME") or home / ".config", "uv/uv.toml"))
        for parent in (directory, *directory.parents) if directory else ():
            if (parent / "uv.toml").is_file():
                yield read_toml(parent / "uv.toml")
                return
            uv = table_of(table_of(read_toml(parent / "pyproject.toml"), "tool"), "uv")
            if uv:
                yield uv
                return


def table_of(parent: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A table within a table; {} where there is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def read_toml(path: Path) -> dict[str, Any]:
    """Its contents; {} where there is none or uv itself will have to complain of it."""
    with suppress(OSError, PkgviewError, tomllib.TOMLDecodeError, RecursionError):
        if path.is_file():
            return parse(read_text(path))
    return {}
