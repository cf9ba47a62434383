from __future__ import annotations

import os

import pytest

from unionfs.archive.layer import LayerError
from unionfs.view.told import Meaning, Sort, Telling, Told, begin, what_is


def test_what_one_process_told_all_others_know() -> None:
    descriptor = begin()
    one, other = Told(descriptor), Told(descriptor)
    one.tell(Sort.VIEWS, [Telling(7, b"\1" * 16, 70, "view 1")])
    assert other.get(Sort.VIEWS, 7) == Meaning(b"\1" * 16, 70)
    assert other.get(Sort.ARCHIVES, 7) is None
    # Both at once: the first holds for both.
    two = Told(os.dup(descriptor))
    one.note(Sort.ARCHIVES, {2**25: Meaning(what_is("a"), 1), 3: Meaning(what_is("b"), 2)})
    two.note(Sort.ARCHIVES, {3: Meaning(what_is("c"), 3)})
    for each in (one, two, other, Told(descriptor)):
        assert each.get(Sort.ARCHIVES, 3) == Meaning(what_is("b"), 2)
        assert each.highest == {"archives": 2**25, "views": 7, "projects": 0}
        assert each.refused == 0
    os.close(descriptor)


def test_another_meaning_is_refused_and_remembered() -> None:
    told = Told()
    told.tell(Sort.PROJECTS, [Telling(2**50 - 1, what_is("a"), 0, "project a")])
    told.tell(Sort.PROJECTS, [Telling(2**50 - 1, what_is("a"), 9, "project a")])
    for _ in range(2):
        with pytest.raises(LayerError, match=r"project b has number .* was replaced under a live"):
            told.tell(Sort.PROJECTS, [Telling(2**50 - 1, what_is("b"), 0, "project b")])
    assert told.refused == 1


def test_without_room_a_process_knows_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()

    def write(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "write", write)
    told.note(Sort.VIEWS, {1: Meaning(b"\0" * 16, 5)})
    assert told.get(Sort.VIEWS, 1) == Meaning(b"\0" * 16, 5)
    assert told.highest["views"] == 1
