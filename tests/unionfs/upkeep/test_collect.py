"""What is collected without a mount: leftovers of downloads."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from unionfs.upkeep.collect import ON_ITS_WAY, Limits, collect

if TYPE_CHECKING:
    from resolver.places import Places


def test_downloads_that_nobody_goes_on_with_are_removed(isolated_places: Places) -> None:
    downloads = isolated_places.cache / "downloads"
    downloads.mkdir(parents=True)
    for name, age in (("left", ON_ITS_WAY + 1), ("fetched", ON_ITS_WAY + 1), ("young", 1)):
        (downloads / f"{name}.part").write_bytes(b"x")
        then = time.time() - age
        os.utime(downloads / f"{name}.part", (then, then))
    with (downloads / "fetched.part").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        collect(isolated_places, Limits(max_age=2 * ON_ITS_WAY))
        assert len(os.listdir(downloads)) == 3
        collect(isolated_places, Limits())
        assert sorted(os.listdir(downloads)) == ["fetched.part", "young.part"]
