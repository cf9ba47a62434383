"""Whose subordinate numbers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.caller.owners import Owners

if TYPE_CHECKING:
    from pathlib import Path


def test_a_range_is_one_user(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text("b:165536:65536\na:100000:65536\n# x\nbroken\n7:x:1\n:300000:\n9:400000:1\n")
    owners = Owners(path)
    assert {owners.of(uid) for uid in (100000, 100001, 165535)} == {100000}
    assert {owners.of(uid) for uid in (165536, 231071)} == {165536}
    for uid in (-1, 0, 1000, 99999, 231072, 300000, 400001, 4294967294):
        assert owners.of(uid) == uid
    assert owners.of(400000) == 400000


def test_the_file_may_change_or_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    owners = Owners(path)
    assert owners.of(100007) == 100007
    path.write_text("a:100000:65536\n")
    assert owners.of(100007) == 100000
    path.unlink()
    assert owners.of(100007) == 100007
