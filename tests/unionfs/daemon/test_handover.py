from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from unionfs.daemon.handover import Handover
from unionfs.view.nodeid import BEFORE, PACKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places


@pytest.fixture
def held(isolated_places: Places) -> Iterator[Handover]:
    descriptor = os.memfd_create("held")
    yield Handover(
        places=isolated_places,
        device=(0, 7),
        terms="{}",
        mount=descriptor,
        listener=descriptor,
        lock=descriptor,
        supervisor_lock=descriptor,
        supervisors=descriptor,
        servers=descriptor,
        told=descriptor,
        packing=PACKING.number,
    )
    os.close(descriptor)


def test_what_is_handed_over_is_what_was_held(held: Handover) -> None:
    assert Handover.from_json(held.to_json()) == held
    before = replace(held, packing=BEFORE.number)
    found = Handover.from_json(before.to_json())
    assert replace(found, told=held.told) == before
    assert os.fstat(found.told).st_size == 0
    os.close(found.told)


def test_a_version_that_knows_of_no_packing_began_and_goes_on_with_the_one_before(
    held: Handover,
) -> None:
    told = replace(held, packing=BEFORE.number).to_json()
    assert "packing" not in json.loads(told)
    found = Handover.from_json(told)
    assert found.packing == BEFORE.number
    os.close(found.told)


def test_what_a_later_version_began_is_left_to_it(held: Handover) -> None:
    with pytest.raises(ValueError, match="packing 3"):
        Handover.from_json(replace(held, packing=3).to_json())
