from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.project import freshness
from resolver.project.freshness import Freshness
from resolver.project.project import fingerprint
from resolver.project.resolved import ResolvedView

if TYPE_CHECKING:
    from tests.resolver.conftest import Tree


def made_from(inputs: str) -> ResolvedView:
    return ResolvedView(
        kind="python", variant="3.11", view=ViewId("0" * 32), fingerprint="", inputs=inputs
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read; and everything was written a minute ago."""
    seen: list[str] = []

    def counted(project: object) -> str:
        seen.append("read")
        return fingerprint(project)  # type: ignore[arg-type]

    now = time.time_ns()
    monkeypatch.setattr(freshness, "fingerprint", counted)
    monkeypatch.setattr(time, "time_ns", lambda: now + 60 * 10**9)
    return seen


def test_unchanged_inputs_are_read_once(tree: Tree, reads: list[str]) -> None:
    tree.write("requirements.txt", "a\n")
    fresh, view = Freshness(), made_from(fingerprint(tree.project()))
    for _ in range(3):
        assert not fresh.is_stale(tree.project(), view)
    assert reads == ["read"]


def test_every_edit_is_seen(tree: Tree, reads: list[str]) -> None:
    path = tree.write("requirements.txt", "a\n")
    fresh, view = Freshness(), made_from(fingerprint(tree.project()))
    assert not fresh.is_stale(tree.project(), view)
    times = path.stat()
    path.write_text("b\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the time of change betrays it
    assert fresh.is_stale(tree.project(), view)
    path.write_text("a\n")
    assert not fresh.is_stale(tree.project(), view)
    tree.write("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n')
    assert fresh.is_stale(tree.project(), view)
    assert len(reads) == 4


def test_what_was_just_written_is_read_again(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within the clock's grain leave equal times."""
    tree.write("requirements.txt", "a\n")
    fresh = Freshness()
    reads: list[str] = []

    def counted(project: object) -> str:
        reads.append("read")
        return fingerprint(project)  # type: ignore[arg-type]

    monkeypatch.setattr(freshness, "fingerprint", counted)
    for _ in range(3):
        fresh.fingerprint(tree.project())
    assert len(reads) == 3


def test_what_is_not_known_is_not_stale(tree: Tree, reads: list[str]) -> None:
    tree.write("requirements.txt", "a\n")
    assert not Freshness().is_stale(tree.project(), made_from(""))
    assert reads == []


def test_an_input_that_is_gone(tree: Tree) -> None:
    path = tree.write("requirements.txt", "a\n")
    project = tree.project()
    path.unlink()
    with pytest.raises(PkgviewError):
        Freshness().is_stale(project, made_from("x"))


def test_it_does_not_grow_without_end(
    tree: Tree, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "MOST_KEPT", 3)
    fresh = Freshness()
    for number in range(10):
        tree.write(f"{number}/requirements.txt", "a\n")
        fresh.fingerprint(tree.project(str(number)))
    assert len(reads) == 10
    assert len(fresh._kept) <= 3
