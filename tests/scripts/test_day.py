"""`scripts/day`, as a user runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DAY = Path(__file__).resolve().parents[2] / "scripts/day"


@pytest.mark.fuse
@pytest.mark.network
def test_the_day_goes_well_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run([str(DAY)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Each of its lines was typed and checked, to the last.
    assert "$ pkgview umount" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Everything held")
    assert "pkgview-day-" not in Path("/proc/self/mounts").read_text()
