from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.places import Places
from unionfs.mounting.mountpoints import mountpoints, remember

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_crash_left_is_no_mount_point(tmp_path: Path) -> None:
    places = Places.from_environ({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)})
    places.state.mkdir(parents=True)
    (places.state / "mountpoints").write_bytes(b"\0" * 40 + b"\n/srv/m\0nt\n/srv/mount\nhome\n")
    remember(places)
    assert mountpoints(places) == {"/srv/mount", str(places.mount)}
