from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from resolver.boot import boot_id, since_boot

SAY = "from resolver.boot import boot_id, since_boot; print(boot_id(), since_boot())"


def test_everybody_agrees_on_when_that_was() -> None:
    """A time namespace moves the clock that starts with the boot."""
    before = since_boot()
    said = subprocess.run(
        ["unshare", "-rT", "--boottime", "100000", sys.executable, "-c", SAY],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        pytest.skip(f"no time namespace can be made here: {said.stderr}")
    boot, there = said.stdout.split()
    assert boot == boot_id()
    assert before <= float(there) <= since_boot()
