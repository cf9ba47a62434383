"""package.json, as far as an installer needs it: whose it is, and which files are commands.

Read as npm reads it (`@npmcli/package-json`, the steps `bin` and `binDir`). Everything in it is a
stranger's: any value may be of any type.
"""

from __future__ import annotations

import json
import posixpath
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZE_LIMIT: Final = 16 * 2**20
"""Most bytes that are read as JSON."""

_WORD = r"[^/@\s.\x00-\x1f][^/@\s\x00-\x1f]*"
_NAME = re.compile(rf"(@{_WORD}/)?{_WORD}")
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


def parse(content: bytes, files: Sequence[str] = (), top: str = "") -> PackageJson:
    """Read a package.json; `ValueError`: it is none.

    `files` are the paths of all files of the tarball, sorted, of which those that begin with `top`
    are the package's: which files a `directories.bin` means depends on what is there.
    """
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"it has more than {SIZE_LIMIT} bytes")
    try:
        text = content.decode("utf-8", "replace").removeprefix("\ufeff")
        data = json.loads(text, parse_constant=_no_constant)
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
        bin=_commands(data, name, files, top),
        bundles=any(data.get(key) for key in ("bundleDependencies", "bundledDependencies")),
        data=data,
    )


def _no_constant(text: str) -> NoReturn:
    """Only Python takes NaN and Infinity for JSON."""
    raise ValueError(text)


def _commands(data: dict[str, Any], name: str, files: Sequence[str], top: str) -> dict[str, str]:
    said = data.get("bin")
    directories = data.get("directories")
    if not said and isinstance(directories, dict) and isinstance(directories.get("bin"), str):
        said = _all_in(_inside(directories["bin"]), files, top)
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


def _all_in(directory: str, files: Sequence[str], top: str) -> dict[str, str]:
    """The files below a directory of the package, without hidden ones, by their names."""
    prefix = f"{top}{directory}/"
    behind = f"{prefix[:-1]}0"  # "0" follows "/"
    begin, end = bisect_left(files, prefix), bisect_left(files, behind)
    found = (path.removeprefix(prefix) for path in files[begin:end]) if directory else ()
    shown = [path for path in found if not path.startswith(".") and "/." not in path]
    return {posixpath.basename(path): f"{directory}/{path}" for path in shown}


def _inside(path: str) -> str:
    """A path as one below the package, whatever it says; "" for the package itself."""
    rooted = posixpath.normpath("/" + re.sub(r"[\\:]", "/", path))
    return rooted.lstrip("/")
