"""package.json, as far as an installer needs it: whose it is, and which files are commands.

Read as npm reads it (`@npmcli/package-json`, the steps `bin` and `binDir`). Everything in it is a
stranger's: any value may be of any type.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SIZE_LIMIT: Final = 16 * 2**20
"""Most bytes that are read as JSON."""

_NAME = re.compile(r"(@[^/@\s\x00-\x1f]+/)?[^/@\s\x00-\x1f]+")
_VERSION = re.compile(r"[=v\s]*([0-9][0-9A-Za-z.+-]*)\s*")
_NAME_LIMIT = 214


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageJson:
    """What a package.json says; `name` and `version` are "" where it says nothing usable.

    `bin`: a command's name -> the path of its file in the package, never above it. `bundles`:
    packages come in the same tarball. `data` is all of it, as read.
    """

    name: str = ""
    version: str = ""
    bin: Mapping[str, str] = field(default_factory=dict)
    bundles: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


def parse(content: bytes, files: Iterable[str] = ()) -> PackageJson:
    """Read a package.json; `files` are the paths of the package's files. `ValueError`: it is none.

    Which files a `directories.bin` means depends on what is there.
    """
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"it has more than {SIZE_LIMIT} bytes")
    try:
        data = json.loads(content.decode("utf-8", "replace").removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(data, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - of JSON
    name, version = data.get("name"), data.get("version")
    name = name.strip() if isinstance(name, str) else ""
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    return PackageJson(
        name=name if _NAME.fullmatch(name) and len(name) <= _NAME_LIMIT else "",
        version=match[1] if match else "",
        bin=_commands(data, name, files),
        bundles=any(data.get(key) for key in ("bundleDependencies", "bundledDependencies")),
        data=data,
    )


def _commands(data: dict[str, Any], name: str, files: Iterable[str]) -> dict[str, str]:
    said = data.get("bin")
    directories = data.get("directories")
    if not said and isinstance(directories, dict) and isinstance(directories.get("bin"), str):
        top = _inside(directories["bin"])
        found = (path.removeprefix(f"{top}/") for path in files if path.startswith(f"{top}/"))
        shown = [path for path in found if not any(one[:1] == "." for one in path.split("/"))]
        said = {posixpath.basename(path): f"{top}/{path}" for path in sorted(shown)} if top else {}
    elif isinstance(said, str):
        said = {name: said} if name else {}
    elif isinstance(said, list):
        said = {posixpath.basename(one): one for one in said if isinstance(one, str)}
    if not isinstance(said, dict):
        return {}
    commands: dict[str, str] = {}
    for key, target in said.items():
        command = posixpath.basename(_inside(key))
        path = _inside(target) if isinstance(target, str) else ""
        if command and path:
            commands[command] = path
    return commands


def _inside(path: str) -> str:
    """A path as one below the package, whatever it says; "" for the package itself."""
    rooted = posixpath.normpath("/" + re.sub(r"[\\:]", "/", path))
    return rooted.lstrip("/")
