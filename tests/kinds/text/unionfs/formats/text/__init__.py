"""Texts, read as hostile input: UTF-8 without NUL, one member each."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.project.package import Package


def read(package: Package, path: Path) -> tuple[list[Member], Meta]:
    data = path.read_bytes()
    if b"\0" in data:
        raise PkgviewError(f"{path.name} is no text: it holds a NUL", remedy="Use another file.")
    member = Member(
        path=f"text/{package.name}.txt".encode(), size=len(data), open=partial(io.BytesIO, data)
    )
    stem = f"{package.name}-{package.version}"
    return [member], Meta(
        kind="distribution", name=package.name, version=package.version, stem=stem
    )
