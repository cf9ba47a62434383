"""Settings that `uv pip compile` has to be told of, since it finds them nowhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from resolver.python.project import Origin
from resolver.python.uv.building import configuration
from resolver.python.uv.formats import formats_of
from resolver.python.uv.pips import pip_settings
from resolver.python.uv.settings import effective

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.resolution import Resolution


def compile_options(resolution: Resolution, file: Path) -> list[str]:
    """Which formats will do; of a script, its own settings, which are written to `file`."""
    project, options = resolution.project, []
    if project.is_script:
        file.write_text(configuration(effective(os.environ, project.root)))
        options = [f"--config-file={file}"]
    elif not resolution.no_build:
        # uv pip compile reads no variables for that.
        by_pip = project.origin is Origin.REQUIREMENTS
        options = formats_of(project.root, pip=pip_settings() if by_pip else None).options
    return options
