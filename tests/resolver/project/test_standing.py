"""What is said of whose a view is, and what goes when there is none any more."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from resolver.project import standing

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_gone_goes_unless_a_program_goes_by_it(tmp_path: Path) -> None:
    at = tmp_path / "at"
    standing.tell(tmp_path, "web-0123456789", ("a" * 32, "b" * 32))
    standing.tell(tmp_path, "shop-abcdefabcd", ("b" * 32, "c" * 32))  # one is the first one's
    said = {link.name[0]: os.readlink(link) for link in (at / "of").iterdir()}
    assert said == {"a": "0123456789", "b": "0123456789", "c": "abcdefabcd"}
    for name in ("0123456789.1", "0123456789.2", "abcdefabcd.1"):
        (at / name).symlink_to("/nowhere")
        (at / f"{name}.lock").write_text("\n")
    with (at / "0123456789.2.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        standing.forget_gone(tmp_path, {"c" * 32})
        left = {"0123456789.2", "0123456789.2.lock", "abcdefabcd.1", "abcdefabcd.1.lock", "of"}
        assert {one.name for one in at.iterdir()} == left
        assert [link.name for link in (at / "of").iterdir()] == ["c" * 32]
    standing.forget_gone(tmp_path, ())
    assert [one.name for one in at.iterdir()] == ["of"]


def test_where_nothing_can_be_written_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "at").write_text("in the way")
    standing.tell(tmp_path, "web-0123456789", ("a" * 32,))
    standing.forget_gone(tmp_path / "none", ())
