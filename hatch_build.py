"""Stops the building of pkgview's wheel where pyfuse3's could not be built after it.

pyfuse3 comes as source. Where pkg-config, libfuse's headers, a compiler or Python's headers are
missing, its build ends in words that name no package to install, and pip and uv show those. They
build ours first, so the sentence can stand here.

The wheel gets the docs, too, for `pkgview help PAGE`.

Nothing is asked for an sdist, nor where pyfuse3 is in the environment already. A build that has it
from elsewhere, or makes a wheel for another machine, sets `PKGVIEW_BUILD_ANYWHERE`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ANYWHERE = "PKGVIEW_BUILD_ANYWHERE"


class Prerequisites(BuildHookInterface[BuilderConfig]):
    """Run by hatchling before it makes a wheel, also an editable one."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """End the build with a sentence where something is missing; add the pages of the docs."""
        if version != "editable":  # which finds them in the checkout
            build_data["force_include"]["docs"] = "unionfs/docs"
        if os.environ.get(ANYWHERE) or _has_pyfuse3():
            return
        if packages := missing_packages():
            # No traceback: what a user has to read is this.
            sys.exit(
                "error: pkgview needs pyfuse3, which is compiled where it is installed, and "
                f"something for that is missing. On Debian or Ubuntu:\n"
                f"    sudo apt install {' '.join(packages)}\n"
                f"(If pyfuse3 does not have to be compiled here, set {ANYWHERE}=1.)"
            )


def _has_pyfuse3() -> bool:
    # pip builds apart from what is installed, but with the Python of the environment that will
    # get the result: its own directories are looked into, whatever sys.path is.
    paths = [*sys.path, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return any(distributions(name="pyfuse3", path=paths))


def missing_packages() -> list[str]:
    """Debian's names of what pyfuse3's build would not find; as `scripts/bootstrap` has them."""
    missing = []
    if not shutil.which("pkg-config"):
        missing += ["pkg-config", "libfuse3-dev"]
    elif not _succeeds("pkg-config", "--exists", "fuse3 >= 3.2"):
        missing.append("libfuse3-dev")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if not shutil.which(compiler[0]):
        missing.append("clang" if "clang" in compiler[0] else "gcc")
    if not _succeeds(*compiler, "-E", "-include", "stdlib.h", "-x", "c", os.devnull):
        missing.append("libc6-dev")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append(f"python{sysconfig.get_python_version()}-dev")
    return missing


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
