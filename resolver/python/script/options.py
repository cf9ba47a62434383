"""Settings that `uv pip compile` has to be told of, since it finds them nowhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from resolver.python.project import Origin
from resolver.python.uv.building import configuration
from resolver.python.uv.formats import formats_of
from resolver.python.uv.pips import pip_settings
from resolver.python.uv.settings import effective, other_lists
from resolver.toml import value_text

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.resolution import Resolution


def compile_options(resolution: Resolution, file: Path) -> list[str]:
    """Which formats will do, and settings that are not where uv would look, written to `file`.

    Of a script its own; for what is added to nothing, as for `uv run --with`, no `[pip]` and no
    constraints; of a pyproject.toml the requirements that `uv lock` takes of that alone.
    """
    project, options = resolution.project, []
    if not (project.is_script or resolution.no_build):
        # uv pip compile reads no variables for that.
        by_pip = project.origin in {Origin.REQUIREMENTS, Origin.NOTHING}
        options = formats_of(project.root, pip=pip_settings() if by_pip else None).options
    if project.origin in {Origin.SCRIPT, Origin.NOTHING}:
        file.write_text(configuration(effective(os.environ, project.root)))
        options = [*options, f"--config-file={file}"]
    if project.origin is Origin.PYPROJECT and (own := other_lists(project.root)):
        settings = effective(os.environ, project.root)
        more = {**own, "pip": settings.get("pip", {})}
        lines = (f"{key} = {value_text(value)}\n" for key, value in more.items())
        file.write_text(configuration(settings) + "".join(lines))
        options = [*options, f"--config-file={file}"]
    return options
