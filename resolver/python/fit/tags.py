"""Wheels by their tags: those that an interpreter cannot use, and what is said then. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from resolver.errors import PkgviewError
from resolver.python.requirements import locked_name, plain_wheel_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from packaging.pylock import Package, Pylock, PylockSelectError

    from resolver.python.interpreter import Interpreter

_SHOWN_TAGS = 6
"""Platforms named in an error before "…"."""


def tags_among(interpreter: Interpreter, pylock: Pylock) -> list[Tag]:
    """Those of the interpreter's tags, best first, that any wheel of the lock may have.

    It has a thousand, of which a lock mentions a few.
    """
    mentioned: tuple[set[str], ...] = (set(), set(), set())
    for package in pylock.packages:
        for wheel in package.wheels or ():
            parts = locked_name(wheel).lower().removesuffix(".whl").split("-")[-3:]
            for known, part in zip(mentioned, parts, strict=False):
                known.update(part.split("."))
    split = (tag.split("-", 2) for tag in interpreter.tags)
    return [
        Tag(*parts)
        for parts in split
        if all(part in known for part, known in zip(parts, mentioned, strict=True))
    ]


def unfit(
    path: Path, pylock: Pylock, interpreter: Interpreter, error: PylockSelectError
) -> PkgviewError:
    """Say which distributions have nothing for this platform, if that is the reason."""
    tags = set(interpreter.tags)
    lacking = []
    for package in pylock.packages:
        wheels = package.wheels or ()
        if not wheels or package.sdist is not None or not _applies(package, interpreter):
            continue
        offered = [tag for wheel in wheels for tag in parse_wheel_filename(wheel.filename)[-1]]
        if not any(str(tag) in tags for tag in offered):
            version = f" {package.version}" if package.version else ""
            shown = _shown_tags(offered)
            lacking.append(f"{package.name}{version} has wheels only for {shown}, and no sdist")
    if "No wheel found" in str(error) and lacking:
        return PkgviewError(
            f"{path}: {'; '.join(lacking)}; this is {_platform(interpreter)}",
            remedy="Choose another Python with --python, or a version that has a wheel for it.",
        )
    if "Multiple packages" in str(error):
        return PkgviewError(
            f"{path} is ambiguous: {error}",
            remedy="Lock it again, for instance with `pkgview lock`.",
        )
    return PkgviewError(
        f"{path} does not fit {interpreter.executable}: {error}",
        remedy="Choose another Python with --python, or lock again for this one.",
    )


def refuse_others(filenames: Iterable[str], interpreter: Interpreter) -> None:
    """Refuse wheels that are named by path or address and are for another Python or platform.

    Of a file that is the only one of its package PEP 751 says nothing of that.
    """
    tags = set(interpreter.tags)
    for filename in filenames:
        try:
            own = parse_wheel_filename(plain_wheel_name(filename))[-1]
        except InvalidWheelFilename:
            continue  # reading it says so
        if tags.isdisjoint(map(str, own)):
            raise PkgviewError(
                f"{filename}, which is named by its place, is for {_shown_tags(own)}; this "
                f"is {_platform(interpreter)}",
                remedy="Name a wheel that is for this Python, or the sdist; or choose another "
                "Python with --python.",
            )


def _shown_tags(tags: Iterable[Tag]) -> str:
    places = sorted({f"{tag.interpreter} {tag.platform}" for tag in tags})
    return ", ".join(places[:_SHOWN_TAGS]) + (", …" if len(places) > _SHOWN_TAGS else "")


def _applies(package: Package, interpreter: Interpreter) -> bool:
    """Whether its marker may hold here; unknown extras and groups count as not asked for."""
    if package.marker is None:
        return True
    none: frozenset[str] = frozenset()
    environment: dict[str, Any] = {
        **interpreter.environment,
        "extras": none,
        "dependency_groups": none,
    }
    return package.marker.evaluate(environment, context="lock_file")


def _platform(interpreter: Interpreter) -> str:
    """Such as "cp311 manylinux_2_36_x86_64": the best tag that an index would have."""
    portable = (tag for tag in interpreter.tags if re.search(r"-(many|musl)linux_", tag))
    tag = next(portable, interpreter.tags[0]).split("-", 2)
    return f"{tag[0]} {tag[2]}"
