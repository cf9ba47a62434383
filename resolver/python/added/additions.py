"""What `--with` adds to a project for one run: a requirement, or the place of a distribution.

A place is a directory, which is taken as it is edited, or a wheel or sdist; it is written as in uv
and pip (`resolver.local`). What is no place is a requirement (PEP 508).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.local import named_place
from resolver.python.project import project_at
from resolver.python.requirements import normalised

_ADDRESSES = ("git+", "https://", "http://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """One of them. `line` is what uv is told, on a line of its own.

    At most one of `path`, absolute, and `requirement` is set: neither says more than an address.
    """

    line: str
    path: Path | None = None
    requirement: Requirement | None = None

    @property
    def name(self) -> str | None:
        """The distribution's, normalised, where the addition or what lies there says it."""
        if self.requirement is not None:
            return normalised(self.requirement.name)
        if self.path is None:
            return None
        if self.path.is_dir():
            found = project_at(os.fspath(self.path))
            return None if found is None else found.name
        return normalised(self.path.name.partition("-")[0]) if "-" in self.path.name else None

    @property
    def as_built(self) -> str:
        """The line for what is made of a directory once, and does not follow it."""
        return self.line.removeprefix("-e ")

    def is_met_by(self, version: str | None) -> bool:
        """Whether that version of the distribution is all that was asked for."""
        asked = self.requirement
        if asked is None or asked.url or asked.extras:
            return False
        if version is None:
            return not asked.specifier
        return asked.specifier.contains(version, prereleases=True)


def addition(text: str) -> Addition:
    """Read one; `PkgviewError` for what is none, or a place where nothing is."""
    said = text.strip()
    place = named_place(said)
    if len(said.splitlines()) != 1 or (said.startswith("-") and place is None):
        raise _none(text)
    if said.startswith(_ADDRESSES):
        return Addition(line=said)
    if place is None:
        try:
            return Addition(line=said, requirement=Requirement(said))
        except InvalidRequirement as error:
            raise _none(text) from error
    path, extras = Path(place[0]), place[1]
    if not path.exists():
        raise PkgviewError(
            f"--with names {masked(said)}, and there is no {masked(str(path))}",
            remedy="Name a directory that holds a distribution, a wheel or an sdist.",
        )
    # An address, since a path may have blanks in it.
    line = f"{path.as_uri()}{extras}"
    return Addition(line=f"-e {line}" if path.is_dir() else line, path=path)


def _none(text: str) -> PkgviewError:
    return PkgviewError(
        f"{masked(text)!r} is no requirement",
        remedy="Give --with one requirement, such as --with 'rich>=14', or the path of a "
        "distribution, such as --with ../lib.",
    )
