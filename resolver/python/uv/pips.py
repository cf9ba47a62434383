"""pip's settings, for the uv that takes pip's place, and what of either changes nothing here."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.buildenv import pip_files
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.python.uv.once import once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOT_FOLLOWED = (
    "UV_MALWARE_CHECK", "UV_PYTHON_SEARCH_PATH",
    "UV_NO_DEFAULT_GROUPS", "UV_NO_DEV", "UV_NO_EDITABLE", "UV_NO_GROUP", "UV_NO_INSTALL_LOCAL",
    "UV_NO_INSTALL_PROJECT", "UV_NO_INSTALL_WORKSPACE", "UV_ONLY_INSTALL_LOCAL",
    "UV_ONLY_INSTALL_PROJECT", "UV_ONLY_INSTALL_WORKSPACE",
)  # fmt: skip
_PIP_NOT_FOLLOWED = (
    "all-releases", "config-setting", "config-settings", "ignore-requires-python",
    "no-build-isolation", "no-deps", "no-proxy-env", "only-deps", "only-final", "prefer-binary",
    "requirements-from-script", "upgrade-strategy",
)  # fmt: skip
"""What would make another environment of a project, and is said to do nothing here."""

_NO = {"", "0", "false", "no", "off", "n", "f"}


def pip_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What pip is set to, as `pip config list` merges them: long option names to their text.

    Global files, user files, `PIP_CONFIG_FILE`, then `PIP_*`; in each file `[global]` and then
    what concerns downloads, `[download]` and `[install]`. A file that cannot be read or parsed is
    an error, as it is for pip.
    """
    env = os.environ if environ is None else environ
    paths = tuple(pip_files(env))
    merged = dict(once(("pip", *paths), lambda: _in_files(paths)))
    for name, value in env.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            merged[_pip_key(name.removeprefix("PIP_"))] = value
    return merged


def _in_files(paths: Sequence[str]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for path in map(Path, paths):
        if not path.is_file():
            continue
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(read_text(path), source=str(path))
        except configparser.Error as error:
            raise PkgviewError(
                f"pip's settings file cannot be read: {' '.join(str(error).split())}",
                remedy=f"Mend {path}; `pip config debug` shows what pip makes of it.",
            ) from error
        for section in ("global", "download", "install"):
            if parser.has_section(section):
                merged |= {_pip_key(key): value or "" for key, value in parser.items(section)}
    return merged


def not_followed(environ: Mapping[str, str] | None = None, *, pip: bool = False) -> str:
    """A sentence that names what is set and changes nothing here, though it would elsewhere.

    `pip`: the project is one that pip could install.
    """
    env = os.environ if environ is None else environ
    named = [name for name in _NOT_FOLLOWED if env.get(name)]
    settings = pip_settings(env) if pip else {}
    named += [
        f"pip's {key}" for key in _PIP_NOT_FOLLOWED if settings.get(key, "").lower() not in _NO
    ]
    return f"Not followed: {', '.join(named)}." if named else ""


def _pip_key(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")
