"""What a requirement file adds for one run, as `uv run --with-requirements` reads it.

Files that it names by `-r` count, and none of its options: they are for what installs it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.python.requirements import requirement_files

if TYPE_CHECKING:
    from pathlib import Path

_PASSED_OVER = re.compile(
    r"-[if]|--(?:index-url|extra-index-url|find-links|no-index|no-binary|only-binary"
    r"|pre|prefer-binary|trusted-host|use-feature)(?![a-z-])"
)


def requirements_in(path: Path) -> tuple[list[str], str]:
    """Its requirements, and a sentence on options that are passed over, without their values."""
    lines: list[str] = []
    options: dict[str, None] = {}
    for line in requirement_files(path).lines:
        if line.constraint:
            raise PkgviewError(
                f"{path} names constraints, which --with-requirements does not read",
                remedy="Give the versions that are meant in the requirements.",
            )
        if found := _PASSED_OVER.match(line.text):
            options[found[0]] = None
        else:
            lines.append(line.text)
    remark = (
        f"Passed over in {path}: {', '.join(options)} (set them for the project, or in uv.toml)."
    )
    return lines, remark if options else ""
