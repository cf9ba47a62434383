"""Who a wheel says it is: in its file name, in its `.dist-info`, in METADATA and in WHEEL.

All of them have to say the same. Formats: the wheel specification (binary distribution format),
the core metadata specification, PEP 440 and PEP 503.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from installer.utils import parse_metadata_file
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from resolver.python.requirements import plain_wheel_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.tags import Tag

WHEEL_MAJOR: Final = 1
"""The wheel format that is read; a greater major version means: do not install."""

_DIST_INFO = ".dist-info"
_WHEEL_VERSION = re.compile(r"([0-9]{1,4})(\.[0-9]{1,4})*")
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a wheel's file name says. `stem` is the file name without ".whl"."""

    name: str
    version: Version
    tags: frozenset[Tag]
    stem: str


def identity(filename: str) -> Identity:
    """Read a wheel's file name; `ValueError` says what is wrong with it."""
    stem = filename.removesuffix(".whl")
    if not _STEM.fullmatch(stem):
        raise ValueError("its file name has characters that no wheel's has")
    try:
        name, version, _, tags = parse_wheel_filename(plain_wheel_name(filename))
    except InvalidWheelFilename as error:
        raise ValueError(f"its file name is no wheel's: {error}") from error
    return Identity(name=name, version=version, tags=tags, stem=stem)


def find_dist_info(top_level: Iterable[str]) -> str:
    """The stem of the one `<stem>.dist-info` among these names; else `ValueError`."""
    found = sorted({name for name in top_level if name.endswith(_DIST_INFO)})
    if not found:
        raise ValueError("it has no .dist-info directory")
    if len(found) > 1:
        raise ValueError(f"it has several .dist-info directories: {', '.join(found)}")
    return found[0].removesuffix(_DIST_INFO)


def stem_faults(stem: str, announced: Identity) -> Iterator[str]:
    """What the name `<stem>.dist-info` denies of the file name."""
    name, _, version = stem.rpartition("-")
    if canonicalize_name(name) != announced.name:
        yield f"its directory {stem}.dist-info names another distribution than its file name"
    # "-" stands between name and version, so a version's own is written "_".
    if _version(version.replace("_", "-")) != announced.version:
        yield f"its directory {stem}.dist-info names another version than its file name"


def metadata_faults(text: str, announced: Identity) -> Iterator[str]:
    """What METADATA denies of the file name."""
    headers = parse_metadata_file(text)
    # The same said again is one reading.
    names = list(dict.fromkeys(headers.get_all("Name", [])))
    versions = list(dict.fromkeys(headers.get_all("Version", [])))
    if len(names) != 1 or len(versions) != 1:
        yield f"METADATA has {len(names)} names and {len(versions)} versions, not one of each"
        return
    if canonicalize_name(str(names[0]).strip()) != announced.name:
        yield f"METADATA says it is {str(names[0])!r}, its file name says {announced.name!r}"
    if _version(str(versions[0]).strip()) != announced.version:
        yield (
            f"METADATA says its version is {str(versions[0])!r}, "
            f"its file name says {str(announced.version)!r}"
        )


def expectation_faults(
    announced: Identity, *, name: str | None, version: str | None
) -> Iterator[str]:
    """How the file name differs from what was asked for; None asks for nothing."""
    if name is not None and canonicalize_name(name) != announced.name:
        yield f"it is {announced.name!r}, and {name!r} was asked for"
    if version is not None and _version(version) != announced.version:
        yield f"it is version {announced.version}, and {version} was asked for"


def root_scheme(text: str) -> tuple[str, str]:
    """What WHEEL says, "purelib" or "platlib", and what is odd about it ("": nothing).

    Whatever is not "true" is taken for "false", as installers do. `ValueError` where it says what
    cannot be obeyed.
    """
    headers = parse_metadata_file(text)
    versions = list(dict.fromkeys(str(one).strip() for one in headers.get_all("Wheel-Version", [])))
    match = _WHEEL_VERSION.fullmatch(versions[0]) if versions else None
    if len(versions) != 1 or match is None:
        raise ValueError("WHEEL has no Wheel-Version")
    if int(match[1]) != WHEEL_MAJOR:
        raise ValueError(f"its Wheel-Version is {match[0]}, and {WHEEL_MAJOR} is what can be read")
    pure = {str(value).strip().lower() for value in headers.get_all("Root-Is-Purelib", [])}
    if len(pure) > 1:
        raise ValueError("WHEEL says of Root-Is-Purelib more than one thing")
    if not pure <= {"true", "false"} or not pure:
        return "platlib", "WHEEL does not say whether Root-Is-Purelib is true or false"
    return ("purelib" if pure == {"true"} else "platlib"), ""


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
