"""Reading a `pylock.toml` (PEP 751), whoever wrote it, so that packaging can select from it."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import (
    PackageWheel,
    Pylock,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.utils import parse_wheel_filename

from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from resolver.python.interpreter import Interpreter

_FILES = ("vcs", "directory", "archive", "sdist", "wheels")
"""What says where a package of a lock is from: at least one of these."""


def read_pylock(
    path: Path, interpreter: Interpreter, extras: Collection[str], groups: Collection[str]
) -> Pylock:
    """A lock as it is meant for that interpreter, with these extras and groups.

    `PkgviewError` where it is no lock, or lacks what is wanted.
    """
    return _highest_builds_first(_read(path, interpreter, extras, groups))


def _read(
    path: Path, interpreter: Interpreter, extras: Collection[str], groups: Collection[str]
) -> Pylock:
    try:
        document = parse(read_text(path))
        if document.get("environments") == []:
            del document["environments"]  # as pipenv (2026.10) writes it: for any
        _drop_fileless(path, document, interpreter, extras, groups)
        return Pylock.from_dict(document)
    except PylockUnsupportedVersionError as error:
        raise PkgviewError(
            f"{path}: {error}", remedy="Install a newer pkgview, or lock again with this one."
        ) from error
    except PylockValidationError as error:
        version = "is not supported" in str(error)
        raise PkgviewError(
            f"{path} is no valid lock (PEP 751): {error}",
            remedy="Install a newer pkgview." if version else "Write it anew with `pkgview lock`.",
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PkgviewError(
            f"{path} is not valid TOML: {error}", remedy="Write it anew with `pkgview lock`."
        ) from error


def _drop_fileless(
    path: Path,
    document: dict[str, Any],
    interpreter: Interpreter,
    extras: Collection[str],
    groups: Collection[str],
) -> None:
    """Leave out packages that have no file and are for other machines.

    uv (0.13.9) writes such a one where an index has files of it for some platforms only. PEP 751
    knows none; the rest of the lock is right. One that is for this machine is missing.
    """
    packages = document.get("packages")
    if not isinstance(packages, list):
        return
    environment: dict[str, Any] = {
        **interpreter.environment,
        "extras": frozenset(extras),
        "dependency_groups": frozenset(groups),
    }
    kept = []
    for package in packages:
        if not isinstance(package, dict) or any(package.get(key) for key in _FILES):
            kept.append(package)
            continue
        marker = package.get("marker")
        try:
            wanted = marker is None or Marker(str(marker)).evaluate(
                environment, context="lock_file"
            )
        except InvalidMarker:
            wanted = True
        if wanted:
            named = f"{package.get('name')} {package.get('version') or ''}".rstrip()
            raise PkgviewError(
                f"{path}: {named} has no file for this Python and platform",
                remedy="Use an index that has one, or leave the requirement out where it is not "
                "needed (`; sys_platform == …`).",
            )
    document["packages"] = kept


def _highest_builds_first(pylock: Pylock) -> Pylock:
    """With each package's wheels by their build number, as pip and uv choose them at an index.

    Of wheels that differ in nothing else `Pylock.select` (packaging 26.4) takes the first, and uv
    writes them in ascending order: it would be the oldest build.
    """

    def build(wheel: PackageWheel) -> tuple[()] | tuple[int, str]:
        return parse_wheel_filename(wheel.filename)[2]

    return replace(
        pylock,
        packages=[
            replace(package, wheels=sorted(package.wheels, key=build, reverse=True))
            if package.wheels and len(package.wheels) > 1
            else package
            for package in pylock.packages
        ],
    )
