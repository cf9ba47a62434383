from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from unionfs.mounting import unmounting

if TYPE_CHECKING:
    from pathlib import Path


def test_who_uses_a_directory_is_named(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as user:
        assert unmounting.users(tmp_path) == [(user.pid, "sleep")]
        assert unmounting.users(tmp_path.parent / tmp_path.name[:-1]) == []
        user.kill()
