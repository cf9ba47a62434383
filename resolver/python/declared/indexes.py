"""Indexes that requirement files name, as settings of uv.

`uv pip compile` takes them from the files that it reads; a build is by another command, which gets
the same from here: its back end has to come from where the project has its packages from.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.python.constraints.named import named_lines
from resolver.python.project import Origin
from resolver.python.requirements import requirement_files, with_variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.python.project import PythonProject
    from resolver.python.requirements import Line

_OPTION = re.compile(
    r"(?:^|\s)(?:(--no-index)(?!\S)"
    r"|(-[if]|--index-url|--extra-index-url|--find-links)(?:\s*=\s*|\s+)(\S+))"
)
_SHORT = {"-i": "index-url", "-f": "find-links"}


def named_indexes(project: PythonProject) -> dict[str, Any]:
    """`index-url`, `extra-index-url`, `find-links`, `no-index` of a project's requirement files.

    Those that it is locked by, or was, and those that variables name; with users and passwords. As
    for uv the first `--index-url` counts, what a file names by `-c` says nothing of indexes, and
    `--find-links` is beside the file that has it.
    """
    path = project.root / Origin.REQUIREMENTS
    by_files = project.origin is Origin.REQUIREMENTS or (
        # What a lock beside them was made from.
        project.origin is Origin.PYLOCK and project.name is None and path in project.inputs
    )
    found: dict[str, Any] = {}
    with suppress(PkgviewError):  # a lock does without
        own = requirement_files(path).lines if by_files else ()
        for line in (*sorted(own, key=lambda one: one.at), *named_lines(project).lines):
            for key, value in _options(line, project.root):
                if isinstance(value, bool) or key == "index-url":
                    found.setdefault(key, value)
                else:
                    found.setdefault(key, []).append(value)
    return found


def _options(line: Line, root: Path) -> Iterator[tuple[str, str | bool]]:
    if line.constraint or not line.text.startswith("-"):
        return
    for flag, option, value in _OPTION.findall(line.text):
        if flag:
            yield "no-index", True
            continue
        key = _SHORT.get(option, option.removeprefix("--"))
        said = with_variables(value.strip("\"'"))
        is_path = "://" not in said and not said.startswith("file:")
        base = line.path.parent if key == "find-links" else root
        yield key, os.path.normpath(base / said) if is_path else said
