"""What else decides a project's packages than files at fixed names, for who looks at bytes only.

`resolver.remembered` reads the same few names in every project. What more counts only the project's
files say: members of its uv workspace, the workspace's own lock, requirement files that others
name. Whoever has understood them lists it here, what is not there (yet) included, so that the next
start looks at the same places without understanding anything. Where a list could not tell that
something has come, there is none, and every start understands the project.
"""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.python.constraints.named import named_lines
from resolver.python.project import Origin
from resolver.python.requirements import dynamic_files
from resolver.python.uv.cachekeys import cache_keys
from resolver.python.uv.settings import read_toml
from resolver.python.uv.workspace import member_patterns
from resolver.remembered import MOST_LISTED, READ, further_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.python.project import PythonProject

_ABOVE = ("uv.lock", "pyproject.toml", "uv.toml", ".python-version")
"""What decides between a member and its workspace's root, and there."""

_GLOB = frozenset("*?[")


def situation_of(
    project: PythonProject,
    extras: Sequence[str],
    groups: Sequence[str],
    requirements: Sequence[str],
    state: Path,
) -> remembered.Situation | None:
    """What a start that looks at bytes alone would find; None where it would not do."""
    # `places` need not: whose they are is asked when something is taken from there.
    if project.source_trees or cache_keys(project.root) is not None:
        return None  # more counts than can be listed
    root = str(project.root)
    try:
        archives = remembered.archives_now(map(str, project.archives))
        remembered.note_further(str(state), root, _lines(project))
        found = remembered.situation(
            root, str(state), extras, groups, os.environ, added=requirements
        )
    except (OSError, PkgviewError, _UnknownError):
        return None
    if found is None or found.directory != root:
        return None  # a script, for one
    found.archives = archives
    return found if set(map(str, project.inputs)) <= set(found.files) else None


class _UnknownError(Exception):
    """No list would do."""


def _lines(project: PythonProject) -> list[str]:
    """All that counts beside `READ`, sorted."""
    root = project.root
    if project.origin is Origin.SCRIPT:
        raise _UnknownError
    files = [path for path in project.inputs if path not in project.around]
    if project.dynamic:
        files += dynamic_files(read_toml(root / "pyproject.toml"), root)
    listed: list[Path] = []
    # Also beside a pylock.toml, which is compared with all of it.
    for workspace in (path.parent for path in project.inputs if path.name == Origin.UV):
        # One in between would be the nearer one.
        between = root.relative_to(workspace).parts
        above = [workspace.joinpath(*between[:depth]) for depth in range(len(between))]
        files += [place / name for place in above for name in _ABOVE]
        for pattern in member_patterns(workspace):
            _members(workspace, pattern, files, listed)
    for path in project.inputs:
        if path.suffix not in {".lock", ".toml"} and "${" in read_text(path):
            raise _UnknownError  # a variable says which file is meant
    files += named_lines(project).files
    own = {root / name for name in READ}
    lines = {further_line(str(root), str(path)) for path in files if path not in own}
    lines |= {further_line(str(root), str(path), what="d") for path in listed}
    if len(lines) > MOST_LISTED or any("\n" in line for line in lines):
        raise _UnknownError
    return sorted(lines)


def _members(root: Path, pattern: str, files: list[Path], listed: list[Path]) -> None:
    """Where members of that pattern are, or may come."""
    *fixed, last = Path(pattern).parts or (".",)
    if any(_GLOB & set(part) for part in fixed) or pattern.startswith("/"):
        raise _UnknownError
    place = root.joinpath(*fixed)
    names = [last]
    if _GLOB & set(last):
        listed.append(place)
        names = [name for name in os.listdir(place) if fnmatch(name, last)]
    files += [place / name / "pyproject.toml" for name in names]
