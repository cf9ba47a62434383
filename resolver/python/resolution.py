"""A resolution: all that one run of uv's resolver follows from, and its command line. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.python.project import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

FORMAT = "lock 1"
"""Part of every fingerprint: raised where the same inputs shall be locked anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Everything one resolution follows from.

    `requirements`, where not None, are resolved instead of what the project lists; of those
    that are `left_out` nothing is wanted, whoever asks for them. `decides`: a lock that was made
    from other indexes does not do (`resolver.python.locks.indexes`).
    """

    project: PythonProject
    interpreter: Interpreter
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    requirements: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    offline: bool = False
    no_build: bool = False
    python_version: str | None = None
    decides: bool = False

    @property
    def renews(self) -> bool:
        """Whether newer versions are asked for, so that a lock that is there does not do."""
        return self.upgrade or bool(self.upgrade_packages)

    @property
    def options(self) -> tuple[str, ...]:
        """What, beside the project's inputs, decides which lock it is."""
        chosen = (self.extras, self.groups, self.requirements or (), self.left_out or None)
        origin = {Origin.SCRIPT: " script 2", Origin.NOTHING: " nothing"}
        return (
            f"{FORMAT}{origin.get(self.project.origin, '')}",
            f"{self.interpreter.implementation} {self.interpreter.minor}",
            *map(json.dumps, chosen),
        )

    @property
    def named(self) -> str:
        """What is resolved, for a message."""
        if self.requirements:
            return ", ".join(self.requirements)
        root = self.project.root
        listed = self.project.origin is Origin.REQUIREMENTS
        return str(root / "requirements.txt" if listed else root)


def uv_arguments(
    resolution: Resolution, output: Path, overrides: Path, settings: Sequence[str] = ()
) -> list[str]:
    """The command line for uv; `requirements` come through its standard input.

    `overrides` is the file that says what is left out, if anything is, `settings` options for a
    resolution that no lock decides.
    """
    project, interpreter = resolution.project, resolution.interpreter
    shared = ["--format=pylock.toml", "--no-header"]
    shared += ["--python", interpreter.executable, "--output-file", str(output)]
    named = [f"--extra={extra}" for extra in resolution.extras]
    named += [f"--group={group}" for group in resolution.groups]
    if resolution.requirements is not None:
        # A marker that never holds: uv then asks nobody for it.
        lines = (f"{name} ; python_version < '0'\n" for name in resolution.left_out)
        overrides.write_text("".join(lines))
        sources, named = ["-"], [f"--overrides={overrides}"]
    elif project.origin is Origin.UV:
        return ["export", "--frozen", "--no-default-groups", *named, *shared]
    elif project.uv_lock is not None:
        return ["export", "--frozen", f"--script={project.root}", *shared]
    elif project.origin is Origin.PYPROJECT:
        sources = [str(project.root / "pyproject.toml")]
    else:
        sources, named = _requirement_sources(resolution)
    options = ["--universal", *renewal(resolution), *settings]
    if resolution.python_version:
        options += ["--python-version", resolution.python_version]
    return ["pip", "compile", *sources, *options, *named, *shared]


def renewal(resolution: Resolution) -> list[str]:
    """What newer versions are asked for, and whether a build may tell metadata."""
    options = ["--upgrade"] if resolution.upgrade else []
    options += [f"--upgrade-package={name}" for name in resolution.upgrade_packages]
    options += ["--no-build"] if resolution.no_build else []
    return options


def _requirement_sources(resolution: Resolution) -> tuple[list[str], list[str]]:
    """A requirements.txt has no extras; groups it has where a pyproject.toml lies beside."""
    project = resolution.project
    if resolution.extras:
        raise PkgviewError(
            f"{project.root} has no extra {resolution.extras[0]!r}: requirements.txt has none",
            remedy="Leave the extra out, or describe the project in pyproject.toml.",
        )
    groups = [f"--group={group}" for group in resolution.groups]
    groups += ["--prerelease=allow"] if project.prereleases else []
    return [str(project.root / "requirements.txt")], groups


def lowest_python(requires_python: str | None) -> str | None:
    """The lowest version that a specifier such as ">=3.9,<4" names."""
    if not requires_python:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - 10 ms, rarely used
    from packaging.version import Version  # noqa: PLC0415 - the same

    try:
        specifiers = list(SpecifierSet(requires_python))
    except InvalidSpecifier as error:
        raise PkgviewError(
            f"requires-python {requires_python!r} is no version specifier",
            remedy='Write it as in requires-python = ">=3.11".',
        ) from error
    bounds = [
        Version(one.version.removesuffix(".*"))
        for one in specifiers
        if one.operator in {">=", "~=", "==", ">"}
    ]
    return str(max(bounds)) if bounds else None
