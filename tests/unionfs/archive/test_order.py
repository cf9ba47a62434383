from __future__ import annotations

import random

from unionfs.archive.order import NEAR, SURE, Order


def steps(order: Order, requests: list[tuple[int, int]]) -> list[bool]:
    """Which of them were in order."""
    return [order.told(*request) is not None for request in requests]


def test_the_next_frame_is_in_order_and_another_is_not() -> None:
    order = Order()
    assert steps(order, [(4, 4), (5, 5), (6, 7), (8, 8)]) == [False, True, True, True]
    assert steps(order, [(100, 100), (50, 50), (5, 5)]) == [False, False, False]


def test_two_frames_of_one_request_are_no_order() -> None:
    order = Order()
    assert steps(order, [(4, 5), (90, 91), (60, 61)]) == [False, False, False]
    # Who reads on where he ended, in the middle of a frame, comes to one new frame each time.
    assert steps(order, [(61, 62), (62, 63)]) == [True, True]


def test_what_comes_to_no_new_frame_is_no_step() -> None:
    order = Order()
    assert steps(order, [(4, 4), (4, 4), (5, 5), (5, 5), (6, 6)]) == [
        False, False, True, False, True,
    ]  # fmt: skip


def test_readers_side_by_side_are_told_apart() -> None:
    order = Order()
    both = [(first + step, first + step) for step in range(8) for first in (10, 500)]
    assert steps(order, both) == [False] * 4 + [True] * 12
    run = order.told(18, 18)
    assert run is not None
    assert (run.began, run.last, run.steps) == (10, 18, 8)


def test_who_is_known_may_come_out_of_order() -> None:
    order = Order()
    begin = [(number, number) for number in range(SURE)]
    assert all(steps(order, begin)[1:])
    assert steps(order, [(SURE + 2, SURE + 2), (SURE, SURE), (SURE + 1, SURE + 1)])[1:] == [
        False, False,
    ]  # fmt: skip
    assert order.told(SURE + 3, SURE + 3) is not None
    assert order.told(SURE + 3 + NEAR + 1, SURE + 3 + NEAR + 1) is None


def test_who_sees_every_third_request_still_finds_the_order() -> None:
    order = Order()
    found = steps(order, [(number, number) for number in range(0, 60, 3)])
    assert not any(found[:SURE])
    assert all(found[SURE:])


def test_chance_is_seldom_taken_for_order() -> None:
    dice, order = random.Random(4), Order()  # noqa: S311 - the same each time
    touched = [dice.randrange(9_999) for _ in range(2_000)]
    assert sum(steps(order, [(frame, frame + 1) for frame in touched])) < 10
