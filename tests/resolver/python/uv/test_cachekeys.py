"""Patterns of `cache-keys`: what they match, and that they come to an end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from resolver.python.uv.cachekeys import _files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.txt", ["a.txt"]),
        ("*.txt", ["a.txt", "b/a.txt", "b/c/d.txt"]),  # without a slash at any depth
        ("b/*.txt", ["b/a.txt"]),
        ("b/**/*.txt", ["b/a.txt", "b/c/d.txt"]),
        ("**/c/**/d.txt", ["b/c/d.txt"]),
        ("**/a.*", ["a.txt", "b/a.txt"]),
        ("*/c/[a-d].txt", ["b/c/d.txt"]),
        ("b/**", ["b/a.txt", "b/c/d.txt", "b/other"]),
        ("../*.txt", []),
    ],
)
def test_what_a_pattern_matches(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    (tmp_path / "b/c").mkdir(parents=True)
    for name in ("a.txt", "b/a.txt", "b/c/d.txt", "b/other"):
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in _files(tmp_path, pattern)]
    assert found == expected


def test_links_in_a_circle_are_not_followed(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"l{number}").symlink_to(".")
    (tmp_path / "a.txt").touch()
    began = time.process_time()
    assert list(_files(tmp_path, "/".join(["*"] * 12))) == []
    assert list(_files(tmp_path, "**/" * 30 + "*.txt")) == [tmp_path / "a.txt"]
    assert time.process_time() - began < 0.5
