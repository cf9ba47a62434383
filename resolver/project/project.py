"""A project, whatever its kind: the files that decide its packages, and whose they are.

It imports nothing that takes time: it is asked as programs start.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.inputs import read_input
from resolver.local import file_state
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
    decide its packages. `archives` are local package files that it names, which count by their size
    and times, as uv compares them. `places` are what else its packages come from on this machine:
    whose they are counts, and nothing else.
    """

    root: Path
    origin: str
    inputs: tuple[Path, ...]
    archives: tuple[Path, ...] = ()
    places: tuple[Path, ...] = ()

    @property
    def directory(self) -> Path:
        """The directory that relative paths are relative to."""
        return self.root

    @property
    def workspace(self) -> Path | None:
        """The root of which this is a part, whose lock lists it; None: it stands for itself."""
        return None

    @property
    def prefer(self) -> tuple[str, ...]:
        """Distributions whose files win where several have one, the most preferred first."""
        return ()

    @property
    def is_live(self) -> bool:
        """Whether there is anything that `live` tells of."""
        return False

    @property
    def live(self) -> str:
        """What counts of directories that it shows as they are, besides their files; "": none."""
        return ""

    @property
    def holding(self) -> set[Path]:
        """Directories in which another file could outrank those that count."""
        return {path.parent for path in self.inputs} | {self.directory}

    def content(self, path: Path) -> bytes:
        """What counts of an input; `PkgviewError` where it cannot be read."""
        return read_input(path)


def fingerprint(project: Project, *options: str, live: bool = True) -> str:
    """SHA-256 over every input's path and what counts of it, and over the options, in hexadecimal.

    Also over when each local package file became what it is; and, if `live`, over `Project.live`.

    The inputs' paths count as they are seen from the project, so that a clone of it has the same; a
    package file is another one elsewhere.
    """
    digest = hashlib.sha256()

    def add(part: bytes) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    add(project.origin.encode())
    for path in project.inputs:
        add(os.fsencode(os.path.relpath(path, project.directory)))
        add(project.content(path))
    for path in project.archives:
        add(os.fsencode(path))
        with suppress(OSError):
            add(file_state(path).encode())
    if live and project.is_live:
        add(b"live")
        add(project.live.encode())
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
    return faults(project.holding, uid, (*project.inputs, *project.archives, *project.places))
