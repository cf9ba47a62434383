"""What a layer's metadata say: which distributions it is, and their console scripts."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from installer.utils import parse_metadata_file
from packaging.utils import canonicalize_name

from resolver.errors import PkgviewError
from resolver.manifest import BY_HAND
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.formats.wheel import scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SITE: Final = "purelib"
"""The top-level directory of what goes to site-packages."""

INFO = re.compile(r"EGG-INFO|[^/]+\.(?:dist|egg)-info")
"""A directory of metadata."""

METADATA = ("METADATA", "PKG-INFO")
POINTS = "entry_points.txt"

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One, by the directory `info` of the layer; `points` are its scripts."""

    info: str
    name: str
    version: str
    points: tuple[scripts.EntryPoint, ...] = ()

    @property
    def key(self) -> str:
        """Its name as every tool compares it."""
        return canonicalize_name(self.name)

    @property
    def egg_info(self) -> str:
        """What EGG-INFO is called where `importlib.metadata` looks for it."""
        name = re.sub(r"[-_.]+", "_", self.name)
        return f"{name}-{re.sub(r'[^A-Za-z0-9.+!]+', '_', self.version)}.egg-info"


def distribution(info: str, metadata: str, points: str, *, called: str, of: str) -> Distribution:
    """From the texts of its files; where they name none, it is `called` like its file.

    `of` is the layer, for errors. `PkgviewError` where its scripts are none.
    """
    fields = parse_metadata_file(metadata)
    name, version = str(fields["Name"] or ""), str(fields["Version"] or "")
    if not _PLAIN.fullmatch(name):
        name, _, rest = called.removesuffix(".egg").partition("-")
        name, version = name if _PLAIN.fullmatch(name) else "layer", rest.partition("-")[0]
    try:
        found = scripts.entry_points(points)
    except scripts.InvalidEntryPointsError as error:
        raise PkgviewError(
            f"the entry points of {of} cannot be used: {error}", remedy="Take that layer out."
        ) from error
    return Distribution(info=info, name=name, version=version or "0", points=found)


def meta_of(found: Iterable[Distribution], called: str, origin: str = "") -> Meta:
    """The archive's, named by its distribution if it is of one; else by what was laid."""
    every = list(found)
    if len(every) == 1:
        one = every[0]
        stem = _stem(f"{one.name}-{one.version}-layer")
        return Meta(
            kind="distribution", name=one.name, version=one.version, stem=stem, origin=origin
        )
    stem = _stem(f"{BY_HAND}{called}")
    return Meta(kind="skeleton", name="", version="", stem=stem.replace("-", "_"), origin=origin)


def script_members(found: Iterable[Distribution]) -> Iterator[Member]:
    """The console scripts of all."""
    points = {point.name: point for one in found for point in reversed(one.points)}
    for name, point in points.items():
        if not scripts.is_of_activation(name):
            yield written(f"scripts/{name}", point.script(), executable=True)


def script_of(name: str, content: bytes) -> Member | None:
    """A script that an egg has as a file, with its interpreter found at run time."""
    if any(scripts.name_faults(name)) or scripts.is_of_activation(name):
        return None
    first, newline, rest = content.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        content = scripts.fill_placeholder(b"#!python" + newline + rest)
    return written(f"scripts/{name}", content, executable=True)


def written(path: str, content: bytes, *, executable: bool = False) -> Member:
    """A member of bytes."""
    return Member(
        path=os.fsencode(path),
        executable=executable,
        size=len(content),
        open=partial(io.BytesIO, content),
    )


def _stem(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+!-]+", "_", text)
