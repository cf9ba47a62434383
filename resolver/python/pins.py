"""Hashes pinned in requirement files, and a lock held to them.

`uv pip compile` reads `--hash` and then locks every file the index has. Here the lock is narrowed
to the pinned files, with pip's rule that one pinned requirement means all have to be
(https://pip.pypa.io/en/stable/topics/secure-installs/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.python.requirements import normalised
from resolver.toml import key_text, parse, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.python.project import PythonProject


def narrowed(data: bytes, project: PythonProject) -> bytes:
    """A pylock.toml with only those files that the project's requirement files pin.

    All that is not pinned, or pinned to other files, is collected and raised at once.
    """
    document = parse(data.decode())
    faults = []
    for package in document.get("packages", []):
        name = normalised(package["name"])
        allowed = project.hashes.get(name)
        if allowed is None:
            faults.append(f"{name} {package.get('version', '')}".strip() + " has no --hash")
        elif not _narrow(package, allowed):
            pinned = ", ".join(sorted(allowed))
            faults.append(f"no file of {name} {package.get('version', '')} has a hash of {pinned}")
    if faults:
        raise PkgviewError(
            f"{project.root} pins hashes, and " + "; ".join(faults),
            remedy="Pin every requirement with the SHA-256 of its files: "
            "`uv pip compile --generate-hashes` writes them.",
        )
    return to_toml(document).encode()


def _narrow(package: dict[str, Any], allowed: frozenset[str]) -> bool:
    """Drop what is not allowed; False if nothing is left, or nothing there has hashes."""

    def is_pinned(file: Mapping[str, Any]) -> bool:
        return any(f"{kind}:{value}".lower() in allowed for kind, value in file["hashes"].items())

    if "archive" in package:
        return is_pinned(package["archive"])
    wheels = [wheel for wheel in package.pop("wheels", []) if is_pinned(wheel)]
    if "sdist" in package and not is_pinned(package["sdist"]):
        del package["sdist"]
    if wheels:
        package["wheels"] = wheels
    return bool(wheels) or "sdist" in package


def to_toml(document: Mapping[str, Any]) -> str:
    """A lock as TOML: plain values first, then `[[packages]]`, all that is inside them inline."""
    lines = [
        f"{key_text(key)} = {value_text(value)}\n"
        for key, value in document.items()
        if key != "packages"
    ]
    if not document.get("packages"):
        lines.append("packages = []\n")
    for package in document.get("packages", []):
        lines.append("\n[[packages]]\n")
        lines += [f"{key_text(key)} = {value_text(value)}\n" for key, value in package.items()]
    return "".join(lines)
