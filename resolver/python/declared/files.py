"""What a project's files ask for, read without running anything.

A lock is compared with it. It is also what a lock that `pkgview lock` writes is known by: the
digest of all that decides one, so that an edit of anything else does not outdate it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.inputs import read_input, read_text
from resolver.python.requirements import (
    dynamic_files,
    logical_lines,
    normalised,
    requirement_files,
    requirement_text,
)
from resolver.toml import inline_block, parse, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject

_DECIDES = ("dependencies", "optional-dependencies", "requires-python", "dynamic")
"""What counts of `[project]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Requirements as they are written (PEP 508): of the project, its extras, its groups.

    `whole`: there are no others, which only a build back end could tell.
    """

    dependencies: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    whole: bool = True

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of them."""
        more = (*self.extras.values(), *self.groups.values())
        return (*self.dependencies, *(one for several in more for one in several))


def declared(directory: Path) -> Declared:
    """What a directory's pyproject.toml asks for; where that has no `[project]`, requirements.txt.

    What is not of the form that the specifications have is left out: whoever locks will complain.
    """
    document = document_at(directory / "pyproject.toml")
    project = table_of(document, "project")
    dependencies, whole = texts(project.get("dependencies")), True
    if not project and (directory / "requirements.txt").is_file():
        dependencies = requirement_files(directory / "requirements.txt").requirements
    dynamic = project.get("dynamic")
    if isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & {
        one for one in dynamic if isinstance(one, str)
    }:
        files = [path for path in dynamic_files(document, directory) if path.is_file()]
        whole = bool(files)
        dependencies += tuple(
            line for path in files for _, line in logical_lines(requirement_text(path))
        )
    extras = table_of(project, "optional-dependencies")
    uv = table_of(document, "tool", "uv")
    groups = {
        normalised(name): several
        for name, several in table_of(document, "dependency-groups").items()
    }
    of_groups = {name: tuple(_group(groups, name, set())) for name in groups}
    legacy = texts(uv.get("dev-dependencies"))
    if legacy:
        of_groups["dev"] = (*of_groups.get("dev", ()), *legacy)
    return Declared(
        dependencies=dependencies,
        extras={normalised(name): texts(several) for name, several in extras.items()},
        groups=of_groups,
        whole=whole,
    )


def of_script(script: Path) -> Declared:
    """What the inline block of a script asks for (PEP 723)."""
    document = parse(inline_block(read_text(script), script) or "")
    return Declared(dependencies=texts(document.get("dependencies")), extras={}, groups={})


def digest(project: PythonProject) -> str:
    """SHA-256, in hexadecimal, of all in a project's files that decides its lock.

    `project` is as it is without a lock of its own.
    """
    said: list[object] = [project.origin, project.settings.extras, project.default_groups]
    for path in project.inputs:
        if path.name == ".python-version":
            continue  # which of the Pythons the lock is for, not what it holds
        if path in project.around and not path.is_relative_to(project.directory):
            continue  # the lock is for other machines, too
        said.append([os.path.relpath(path, project.directory), _meaning(path)])
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _meaning(path: Path) -> object:
    if path.name == "pyproject.toml":
        document = document_at(path)
        fields = table_of(document, "project")
        uv = table_of(document, "tool", "uv")
        return [{key: fields.get(key) for key in _DECIDES}, document.get("dependency-groups"), uv]
    if path.name == "uv.toml":
        return document_at(path)
    if path.name.startswith("setup."):
        return read_input(path).decode("utf-8", "replace")
    return [line for _, line in logical_lines(requirement_text(path))]


def _group(groups: Mapping[str, Any], wanted: str, seen: set[str]) -> Iterator[str]:
    """A dependency group's requirements with those that it includes (PEP 735), each group once."""
    several = groups.get(wanted)
    if wanted in seen or not isinstance(several, list):
        return
    seen.add(wanted)
    for one in several:
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict) and isinstance(included := one.get("include-group"), str):
            yield from _group(groups, normalised(included), seen)


def document_at(path: Path) -> dict[str, Any]:
    """A file of TOML; empty where it is not there. `PkgviewError` where it is none."""
    if not path.is_file():
        return {}
    try:
        return parse(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PkgviewError(
            f"{path} is not valid TOML: {error}", remedy="Mend the file at that place."
        ) from error


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list; none of what is no list."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
