"""A toy kind: a project is a directory with a `texts.lock`, a package a text file.

NAME VERSION SHA256 PATH          a line for each; paths are relative to the lock
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.fetch.wanted import Download
from resolver.inputs import read_text
from resolver.project.package import Package
from resolver.project.project import Project

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "texts.lock"
GRAFTS = (("text", "texts"), ("own", ""))
_LINE = re.compile(r"([a-z]+) ([0-9.]+) ([0-9a-f]{64}) (\S+\.txt)")


def project_at(directory: Path) -> Project | None:
    lock = directory / LOCK
    return Project(root=directory, origin=LOCK, inputs=(lock,)) if lock.is_file() else None


def packages(project: Project) -> list[Package]:
    found = []
    for number, line in enumerate(read_text(project.root / LOCK).splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise PkgviewError(
                f"{project.root / LOCK}, line {number}: {line!r} names no text",
                remedy="Write NAME VERSION SHA256 PATH.",
            )
        name, version, sha256, path = match.groups()
        download = Download(
            url=str(project.root / path),
            filename=f"{name}-{version}.txt",
            hashes={"sha256": sha256},
        )
        found.append(
            Package(
                name=name,
                version=version,
                grafts=GRAFTS,
                key=f"text-{sha256}-{name}-{version}",
                download=download,
            )
        )
    return found
