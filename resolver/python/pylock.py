"""Reading a `pylock.toml` (PEP 751), whoever wrote it, so that packaging can select from it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import (
    Package,
    PackageWheel,
    Pylock,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.python.requirements import locked_name, plain_wheel_name
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from resolver.python.interpreter import Interpreter

_FILES = ("vcs", "directory", "archive", "sdist", "wheels")
"""What says where a package of a lock is from: at least one of these."""

_OTHER_SDISTS = (
    *(".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.lzma", ".tlz", ".tar.zst", ".tar"),
)
"""Endings of source archives that installers read besides those of PEP 625."""


def read_pylock(
    path: Path, interpreter: Interpreter, extras: Collection[str], groups: Collection[str]
) -> tuple[Pylock, Mapping[str, tuple[str, ...]]]:
    """A lock as it is meant for that interpreter, with these extras and groups.

    Second: by a package's name, files that are passed over since their names are not understood.
    `PkgviewError` where it is no lock, or lacks what is wanted.
    """
    pylock, odd = _read(path, interpreter, extras, groups)
    return _highest_builds_first(pylock), odd


def _read(
    path: Path, interpreter: Interpreter, extras: Collection[str], groups: Collection[str]
) -> tuple[Pylock, Mapping[str, tuple[str, ...]]]:
    try:
        document = parse(read_text(path))
        if document.get("environments") == []:
            del document["environments"]  # as pipenv (2026.10) writes it: for any
        environment: dict[str, Any] = {
            **interpreter.environment,
            "extras": frozenset(extras),
            "dependency_groups": frozenset(groups),
        }
        _drop_fileless(path, document, environment, {})
        try:
            return Pylock.from_dict(document), {}
        except PylockValidationError:
            # One name that packaging (26.4) does not understand has it refuse all of the lock.
            sdists, odd = _fit_names(document)
            _drop_fileless(path, document, environment, odd)
            return _with_sdists(Pylock.from_dict(document), sdists), odd
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
    environment: dict[str, Any],
    odd: Mapping[str, tuple[str, ...]],
) -> None:
    """Leave out packages that have no file and are for other machines.

    uv (0.13.9) writes such a one where an index has files of it for some platforms only. PEP 751
    knows none; the rest of the lock is right. One that is for this machine is missing.
    """
    packages = document.get("packages")
    if not isinstance(packages, list):
        return
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
            passed = ", ".join(odd.get(str(package.get("name")), ()))
            raise PkgviewError(
                f"{path}: {named} has no file for this Python and platform"
                + (f", only what is not understood: {passed}" if passed else ""),
                remedy="Use an index that has one, or leave the requirement out where it is not "
                "needed (`; sys_platform == …`).",
            )
    document["packages"] = kept


def _fit_names(document: dict[str, Any]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Give files names that packaging understands, and leave out those that have none.

    So wheel variants (PEP 817, a draft) are left out, as uv leaves them out unless told otherwise.
    Returns the names that sdists had, by those that they have now, and what is left out, by the
    package's name.
    """
    sdists: dict[str, str] = {}
    odd: dict[str, tuple[str, ...]] = {}
    packages = document.get("packages")
    for package in packages if isinstance(packages, list) else ():
        if not isinstance(package, dict):
            continue
        listed = package.get("wheels")
        wheels = listed if isinstance(listed, list) else []
        for wheel in list(wheels):
            name = _filename(wheel)
            if _is_understood(plain_wheel_name(name)):
                wheel["name"] = plain_wheel_name(name)
            elif name:
                wheels.remove(wheel)
                odd[str(package.get("name"))] = (*odd.get(str(package.get("name")), ()), name)
        sdist = package.get("sdist")
        name = _filename(sdist)
        if isinstance(sdist, dict) and (ending := next(filter(name.endswith, _OTHER_SDISTS), "")):
            sdist["name"] = name.removesuffix(ending) + ".tar.gz"
            sdists[sdist["name"]] = name
    return sdists, odd


def _filename(file: object) -> str:
    """As packaging takes it from a wheel or sdist of a lock; "" where there is none."""
    if not isinstance(file, dict):
        return ""
    texts = (file.get("name"), file.get("path"), file.get("url"))
    name, path, url = (one if isinstance(one, str) else "" for one in texts)
    try:
        of_url = unquote(urlsplit(url).path).rpartition("/")[2]
    except ValueError:  # no URL, which packaging says
        of_url = ""
    return name or re.split(r"[/\\]", path)[-1] or of_url


def _is_understood(wheel: str) -> bool:
    try:
        parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return False
    return True


def _with_sdists(pylock: Pylock, names: Mapping[str, str]) -> Pylock:
    """With the names that they have: what reads them goes by these."""
    packages = [
        replace(one, sdist=replace(one.sdist, name=names[one.sdist.filename]))
        if one.sdist is not None and one.sdist.filename in names
        else one
        for one in pylock.packages
    ]
    return replace(pylock, packages=packages)


def version_of(filename: str) -> str | None:
    """The version that a wheel's or sdist's file name has; None where it is no such name."""
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(plain_wheel_name(filename))[1])
        ending = next(filter(filename.endswith, _OTHER_SDISTS), "")
        named = filename.removesuffix(ending) + ".tar.gz" if ending else filename
        return str(parse_sdist_filename(named)[1])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


_WITH_BUILD = 5
"""Hyphens in the name of a wheel that has a build number."""


def _highest_builds_first(pylock: Pylock) -> Pylock:
    """With each package's wheels by their build number, as pip and uv choose them at an index.

    Of wheels that differ in nothing else `Pylock.select` (packaging 26.4) takes the first, and uv
    writes them in ascending order: it would be the oldest build.
    """

    def build(wheel: PackageWheel) -> tuple[()] | tuple[int, str]:
        return parse_wheel_filename(wheel.filename)[2]

    def has_builds(package: Package) -> bool:
        return any(locked_name(one).count("-") == _WITH_BUILD for one in package.wheels or ())

    return replace(
        pylock,
        packages=[
            replace(package, wheels=sorted(package.wheels, key=build, reverse=True))
            if package.wheels
            and any(locked_name(one).count("-") >= _WITH_BUILD for one in package.wheels)
            else package
            for package in pylock.packages
        ],
    )
