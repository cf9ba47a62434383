"""What is fetched next, decided without a network."""

from __future__ import annotations

import random

import pytest

from unionfs.store.remote.lazy.plan import (
    BLOCK,
    GAP,
    LARGEST_BLOCK,
    SMALLEST_BLOCK,
    Order,
    Piece,
    Plan,
)

SIZE = 40_000
COUNT = 600


def planned(count: int = COUNT, size: int = SIZE) -> Plan:
    plan = Plan()
    plan.add("a", [number * size for number in range(count + 1)], range(count))
    return plan


def anything(_: str, __: Order) -> bool:
    return True


def following(plan: Plan) -> Piece:
    piece = plan.next(anything)
    assert piece is not None
    return piece


def test_a_frame_that_is_waited_for_comes_with_its_block() -> None:
    plan = planned()
    plan.want("a", [100], Order.ASKED)
    piece = following(plan)
    begin = 100 * SIZE // BLOCK * BLOCK
    assert piece.first * SIZE >= begin > (piece.first - 1) * SIZE
    assert (piece.last - 1) * SIZE < begin + BLOCK <= piece.last * SIZE
    assert (piece.start, piece.end) == (piece.first * SIZE, piece.last * SIZE)
    assert plan.next(anything) is None
    plan.want("a", [piece.first, 100], Order.ASKED)  # on their way
    assert plan.next(anything) is None
    plan.came("a", range(piece.first, piece.last))
    plan.want("a", [100], Order.ASKED)
    assert plan.next(anything) is None
    assert plan.is_idle("a")


def test_of_what_has_a_trace_little_else_is_expected() -> None:
    plan = Plan()
    plan.add("a", [number * SIZE for number in range(COUNT + 1)], range(COUNT), traced=True)
    sizes = []
    for frame in (500, 10, 300, 100, 200):
        plan.want("a", [frame], Order.ASKED)
        piece = following(plan)
        assert piece.first <= frame < piece.last
        sizes.append(piece.end - piece.start)
    blocks = [SMALLEST_BLOCK << step for step in range(3)] + [BLOCK] * 2
    assert all(abs(size - block) < 2 * SIZE for size, block in zip(sizes, blocks, strict=True))


def test_blocks_grow_for_who_reads_in_order_and_for_nobody_else() -> None:
    plan = planned()
    sizes = []
    frame = 0
    while frame < 400:
        plan.want("a", [frame], Order.ASKED)
        while piece := plan.next(anything):
            sizes.append(piece.end - piece.start)
            plan.came("a", range(piece.first, piece.last))
        frame = min(plan.lacking("a"))
    assert max(sizes) > LARGEST_BLOCK - 2 * SIZE
    assert len(sizes) < 12
    plan = planned()
    for frame in (500, 10, 300, 80, 420):
        plan.want("a", [frame], Order.ASKED)
        piece = following(plan)
        assert piece.end - piece.start <= BLOCK + SIZE
        assert plan.next(anything) is None
    # One read that needs the end of a block and the beginning of the next is no order.
    plan = planned()
    edge = BLOCK // SIZE
    plan.want("a", [edge, edge + 1], Order.ASKED)
    pieces = [following(plan), following(plan)]
    assert all(one.end - one.start <= BLOCK + SIZE for one in pieces)
    assert plan.next(anything) is None


def test_what_is_waited_for_comes_before_traces_and_these_before_the_rest() -> None:
    plan = planned()
    plan.want("a", range(COUNT), Order.REST)
    plan.want("a", [300, 301, 303, 400], Order.TRACED)
    plan.want("a", [10], Order.ASKED)
    assert [following(plan).order for _ in range(4)] == [
        Order.ASKED, Order.TRACED, Order.TRACED, Order.REST,
    ]  # fmt: skip


def test_a_trace_is_fetched_in_few_requests_and_without_what_lies_between() -> None:
    plan = planned()
    plan.want("a", [100, 101, 102, 104, 105, 200, 201], Order.TRACED)
    pieces = [following(plan), following(plan)]
    assert [(one.first, one.last) for one in pieces] == [(100, 106), (200, 202)]
    assert SIZE <= GAP < 2 * SIZE
    assert plan.next(anything) is None


def test_what_did_not_come_is_wanted_again() -> None:
    plan = planned()
    plan.want("a", [0, 5], Order.ASKED)
    piece = following(plan)
    plan.came("a", range(3))
    plan.failed(piece)
    again = following(plan)
    assert (again.first, again.last) == (3, piece.last)
    plan.failed(again)
    plan.asked_only("a", set())  # nobody waits any more
    assert plan.next(anything) is None
    assert plan.is_idle("a")


def test_a_frame_that_is_not_to_be_had_keeps_no_other_from_coming() -> None:
    plan = planned()
    plan.want("a", [5, 7], Order.ASKED)
    piece = following(plan)
    plan.bar("a", 6)
    plan.came("a", range(5))
    plan.failed(piece)
    pieces = [following(plan), following(plan)]
    assert [(one.first, one.last) for one in pieces] == [(5, 6), (7, piece.last)]
    plan.want("a", [6], Order.ASKED)
    assert plan.next(anything) is None
    plan.unbar("a", 6)
    plan.want("a", [6], Order.ASKED)
    assert following(plan)[1:3] == (6, 7)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_frame_is_on_its_way_once_and_all_come(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same each time
    plan = planned(200, dice.randrange(1000, 130_000))
    here: set[int] = set()
    asked: set[int] = set()
    flying: list[Piece] = []
    for _ in range(400):
        chosen = [dice.randrange(200) for _ in range(dice.randrange(4))]
        order = dice.choice(list(Order))
        plan.want("a", chosen, order)
        asked.update(chosen)
        if piece := plan.next(lambda *_: dice.random() < 0.9):
            own = set(range(piece.first, piece.last))
            assert not own & here
            assert not any(own & set(range(one.first, one.last)) for one in flying)
            assert piece.end - piece.start <= LARGEST_BLOCK + 130_000
            flying.append(piece)
        if flying and dice.random() < 0.7:
            piece = flying.pop(dice.randrange(len(flying)))
            reached = dice.randrange(piece.first, piece.last + 1)
            plan.came("a", range(piece.first, reached))
            here.update(range(piece.first, reached))
            plan.failed(piece)
    for piece in flying:
        plan.failed(piece)
    while piece := plan.next(anything):
        plan.came("a", range(piece.first, piece.last))
        here.update(range(piece.first, piece.last))
    assert asked <= here
    assert set(plan.lacking("a")) == set(range(200)) - here
    assert plan.is_idle("a")
