"""`[tool.uv] environments`: a resolution for these alone has nothing for any other machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.python.uv.settings import effective

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.interpreter import Interpreter


def refuse_other_machines(place: Path, interpreter: Interpreter) -> None:
    """`PkgviewError` where the settings at `place` rule this interpreter out, as `uv sync` does."""
    said = effective(os.environ, place).get("environments")
    listed = [said] if isinstance(said, str) else said
    if not isinstance(listed, list) or not listed:
        return
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415 - hardly ever

    try:
        if any(Marker(str(one)).evaluate(dict(interpreter.environment)) for one in listed):
            return
    except InvalidMarker:
        return  # uv says so
    raise PkgviewError(
        f"{place} is for {' or '.join(map(str, listed))} only ([tool.uv] environments), and this "
        f"is {interpreter.environment.get('sys_platform')}, Python {interpreter.full}",
        remedy="Add this machine to `environments`, or choose another Python with --python.",
    )
