"""A project, whatever its kind: the files that decide its packages, and whose they are.

It imports nothing that takes time: it is asked as programs start.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.inputs import read_input
from resolver.ownership import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.ownership import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project of one kind; each kind has its own class of it, which knows more.

    `root` is its directory, or a script that is a project of its own; absolute and resolved.
    `origin` is what its lock comes from, such as "uv.lock". `inputs` are the files whose bytes
    decide its packages.
    """

    root: Path
    origin: str
    inputs: tuple[Path, ...]

    @property
    def directory(self) -> Path:
        """The directory that relative paths are relative to."""
        return self.root

    @property
    def prefer(self) -> tuple[str, ...]:
        """Distributions whose files win where several have one, the most preferred first."""
        return ()

    def content(self, path: Path) -> bytes:
        """What counts of an input; `PkgviewError` where it cannot be read."""
        return read_input(path)


def fingerprint(project: Project, *options: str) -> str:
    """SHA-256 over every input's path and what counts of it, and over the options, in hexadecimal.

    Paths count as they are seen from the project, so that a clone of it has the same.
    """
    digest = hashlib.sha256()

    def add(part: bytes) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    add(project.origin.encode())
    for path in project.inputs:
        add(os.fsencode(os.path.relpath(path, project.directory)))
        add(project.content(path))
    add(b"options")
    for option in options:
        add(option.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def trust_problem(project: Project, uid: int) -> str | None:
    """Why a process of user `uid` must not act on this project, or None."""
    fault = next(trust_faults(project, uid), None)
    return None if fault is None else fault.said


def trust_faults(project: Project, uid: int) -> Iterator[Fault]:
    """All that speaks against a process of user `uid` acting on it: `ownership.faults`."""
    holding = {path.parent for path in project.inputs} | {project.directory}
    return faults(holding, uid, project.inputs)
