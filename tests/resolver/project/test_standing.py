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


def test_a_path_is_found_wherever_it_is_named(tmp_path: Path) -> None:
    text = (
        b"python\0--data=/s/at/0123456789.1/lib/x:/t/at/0123456789.12\0PATH=/u v/at/abcdefabcd.2"
        b"\0/at/0123456789\0/at/0123456789a.1\0" + b"/long" * 10**6
    )
    assert standing.named(text) == {
        ("/s", "0123456789.1"), ("/t", "0123456789.12"), ("v", "abcdefabcd.2"),
    }  # fmt: skip
    (tmp_path / "at").mkdir()
    (tmp_path / "at/0123456789.1").symlink_to("/mount/views/x")
    (tmp_path / "at/of").symlink_to("/elsewhere")
    names = ("0123456789.1", "abcdefabcd.2", "of", "../at/0123456789.1")
    assert list(standing.led_to(tmp_path, names)) == ["/mount/views/x"]
