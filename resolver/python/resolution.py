"""A resolution: all that one run of uv's resolver follows from, and its command line. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.python.project import Origin

if TYPE_CHECKING:
    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

FORMAT = "lock 1"
"""Part of every fingerprint: raised where the same inputs shall be locked anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Everything one resolution follows from.

    `constraints`, where not None, say that `with_requirements` alone are resolved, and which
    versions are taken already.
    """

    project: PythonProject
    interpreter: Interpreter
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    with_requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] | None = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    offline: bool = False
    no_build: bool = False
    python_version: str | None = None

    @property
    def renews(self) -> bool:
        """Whether newer versions are asked for, so that a lock that is there does not do."""
        return self.upgrade or bool(self.upgrade_packages)

    @property
    def options(self) -> tuple[str, ...]:
        """What, beside the project's inputs, decides which lock it is."""
        chosen = (self.extras, self.groups, self.with_requirements, self.constraints)
        return (
            FORMAT,
            f"{self.interpreter.implementation} {self.interpreter.minor}",
            *map(json.dumps, chosen),
        )


def uv_arguments(resolution: Resolution, output: Path, constraints: Path) -> list[str]:
    """The command line for uv; `with_requirements` come through its standard input.

    `constraints` is the file that the resolution's constraints are written to, if it has any.
    """
    project, interpreter = resolution.project, resolution.interpreter
    shared = ["--format=pylock.toml", "--quiet", "--no-header"]
    shared += ["--python", interpreter.executable, "--output-file", str(output)]
    named = [f"--extra={extra}" for extra in resolution.extras]
    named += [f"--group={group}" for group in resolution.groups]
    if resolution.constraints is not None:
        constraints.write_text("\n".join(resolution.constraints))
        sources, named = ["-"], [f"--constraints={constraints}"]
    elif project.origin is Origin.UV:
        return ["export", "--frozen", "--no-default-groups", *named, *shared]
    elif project.origin is Origin.PYPROJECT:
        sources = [str(project.root / "pyproject.toml")]
    elif project.origin is Origin.SCRIPT:
        sources, named = [str(project.root)], []
    else:
        sources, named = _requirement_sources(resolution)
    if resolution.with_requirements and "-" not in sources:
        sources = [*sources, "-"]
    options = ["--universal"]
    options += ["--upgrade"] if resolution.upgrade else []
    options += [f"--upgrade-package={name}" for name in resolution.upgrade_packages]
    options += ["--no-build"] if resolution.no_build else []
    if resolution.python_version:
        options += ["--python-version", resolution.python_version]
    return ["pip", "compile", *sources, *options, *named, *shared]


def _requirement_sources(resolution: Resolution) -> tuple[list[str], list[str]]:
    """A requirements.txt has no extras; groups it has where a pyproject.toml lies beside."""
    project = resolution.project
    if resolution.extras:
        raise PkgviewError(
            f"{project.root} has no extra {resolution.extras[0]!r}: requirements.txt has none",
            remedy="Leave the extra out, or describe the project in pyproject.toml.",
        )
    groups = [f"--group={group}" for group in resolution.groups]
    return [str(project.root / "requirements.txt")], groups


def absolute_requirement(requirement: str) -> str:
    """A path that `--with` names, made independent of where uv runs; refuses a second line."""
    if "\n" in requirement or "\r" in requirement or requirement.lstrip().startswith("-"):
        raise PkgviewError(
            f"{requirement!r} is no requirement",
            remedy="Give --with one requirement, such as --with 'rich>=14'.",
        )
    if requirement.startswith(("./", "../")) or requirement in {".", ".."}:
        return str(Path.cwd() / requirement)
    return requirement


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
