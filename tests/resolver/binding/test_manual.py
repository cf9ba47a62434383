"""The table of bindings by hand: who is covered, by what, and what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.binding.manual import ManualBinding, ManualTable, Said
from resolver.binding.rules import Binding, Bound, Rule, decide
from resolver.binding.table import Bindings
from resolver.caller.process import Ancestor, Caller, Identity
from resolver.caller.procfs import Cgroup, Image, Pid, StartTime
from resolver.manifest import ViewId

if TYPE_CHECKING:
    from resolver.binding.rules import BindingState, Candidate

A, B, DEFAULT = (ViewId(letter * 32) for letter in "abd")
SHOP = "/shop"


def process(pid: int, start: int = 7) -> Ancestor:
    return Ancestor(Pid(pid), StartTime(start))


def cgroup(path: str, controllers: str = "") -> Cgroup:
    return Cgroup(controllers=controllers, path=path)


def caller(
    pid: int,
    *above: int,
    inside: tuple[Cgroup, ...] = (),
    start: int = 7,
    **fields: Any,  # noqa: ANN401
) -> Caller:
    return Caller(
        identity=Identity(tgid=Pid(pid), start_time=StartTime(start), image=Image(1, 2, 3)),
        ancestors=tuple(process(one) for one in above),
        cgroups=inside,
        **{"uid": 5, **fields},
    )


def hand(**fields: Any) -> ManualBinding:  # noqa: ANN401
    return ManualBinding(**{"uid": 5, "said": Said.BIND, "view": A, **fields})


def table(*hands: ManualBinding) -> ManualTable:
    made = ManualTable()
    for one in hands:
        made = made.with_hand(one)
    return made


def number(hands: ManualTable, who: Caller) -> int:
    """Which binding covers it, counted from 1; 0 for none."""
    found = hands.covering(who)
    return found.number if found else 0


def test_a_process_is_covered_with_all_that_descend_from_it() -> None:
    hands = table(hand(process=process(10)))
    assert number(hands, caller(10)) == 1
    assert number(hands, caller(12, 11, 10, 9)) == 1
    assert number(hands, caller(9)) == 0
    assert number(hands, caller(12, 11)) == 0


def test_another_process_with_its_pid_is_not() -> None:
    hands = table(hand(process=process(10, start=7)))
    assert number(hands, caller(10, start=8)) == 0
    later = replace(caller(11), ancestors=(process(10, start=8),))
    assert number(hands, later) == 0


def test_a_cgroup_is_covered_with_those_inside_and_no_namesake() -> None:
    hands = table(hand(cgroup=cgroup("/web")))
    for path, expected in {
        "/web": 1, "/web/a/b": 1, "/webs": 0, "/": 0, "/a/web": 0, "/../web": 0,
    }.items():  # fmt: skip
        assert number(hands, caller(10, inside=(cgroup(path),))) == expected, path
    assert number(hands, caller(10, inside=(cgroup("/web", "pids"),))) == 0
    assert number(hands, caller(10)) == 0


@pytest.mark.parametrize(
    ("hands", "who", "expected"),
    [
        # The nearest process.
        ([hand(process=process(1)), hand(process=process(2))], caller(3, 2, 1), 2),
        ([hand(process=process(2)), hand(process=process(1))], caller(3, 2, 1), 1),
        # The deepest cgroup, whichever was bound last.
        (
            [hand(cgroup=cgroup("/a/b")), hand(cgroup=cgroup("/a"))],
            caller(3, inside=(cgroup("/a/b/c"),)),
            1,
        ),
        # In different hierarchies none is deeper than the other.
        (
            [hand(cgroup=cgroup("/a/b/c")), hand(cgroup=cgroup("/x", "pids"))],
            caller(3, inside=(cgroup("/a/b/c"), cgroup("/x", "pids"))),
            2,
        ),
        # A process bound in the cgroup (or deeper) is further in than the cgroup, ...
        (
            [hand(process=process(2), within=(cgroup("/a/b"),)), hand(cgroup=cgroup("/a"))],
            caller(3, 2, inside=(cgroup("/a"),)),
            1,
        ),
        # ... one bound outside of it is further out: the cgroup was entered below it.
        (
            [hand(cgroup=cgroup("/a")), hand(process=process(2), within=(cgroup("/"),))],
            caller(3, 2, inside=(cgroup("/a"),)),
            1,
        ),
        # `exec pkgview run` in a bound shell: the same process, in a cgroup of its own since.
        (
            [
                hand(process=process(3), within=(cgroup("/"),)),
                hand(process=process(3), cgroup=cgroup("/run"), within=(cgroup("/run"),)),
            ],
            caller(4, 3, inside=(cgroup("/run"),)),
            2,
        ),
    ],
)
def test_the_innermost_holds(hands: list[ManualBinding], who: Caller, expected: int) -> None:
    assert number(table(*hands), who) == expected


def test_only_root_speaks_for_others() -> None:
    own, roots = table(hand(process=process(10))), table(hand(process=process(10), uid=0))
    for uid, covered in ((5, 1), (6, 0), (0, 0), (None, 0)):
        assert number(own, caller(10, uid=uid)) == covered
        assert number(roots, caller(10, uid=uid)) == 1
    # What may not be said does not hide what may.
    nested = table(hand(process=process(1), uid=6), hand(process=process(2)))
    assert number(nested, caller(3, 2, 1, uid=6)) == 1


def test_the_last_word_on_a_process_counts_and_can_be_taken_back() -> None:
    group = cgroup("/run")
    first = hand(process=process(10), cgroup=group, within=(group,), said=Said.RUN)
    hands = table(first, hand(process=process(10), within=(group,), view=B))
    inside, daemonised = caller(10, inside=(group,)), caller(20, inside=(group,))
    assert (number(hands, inside), number(hands, daemonised)) == (2, 1)
    assert [one.number for one in hands] == [1, 2]
    assert number(hands.without({2}), inside) == 1
    # What nothing leads to any more is not kept, and no number is given twice.
    again = hands.with_hand(hand(process=process(10)))
    assert [one.number for one in again] == [1, 3]
    assert [one.number for one in again.without({3}).with_hand(first)] == [4]


def test_what_has_ended_is_let_go() -> None:
    hands = table(
        hand(process=process(1)),
        hand(process=process(2), cgroup=cgroup("/a"), inode=4),
        hand(cgroup=cgroup("/b"), inode=5),
    )
    inodes = {cgroup("/a"): 4, cgroup("/b"): 5}
    assert hands.living(lambda _: True, inodes.get) is hands
    left = hands.living(lambda _: False, inodes.get)
    assert [(one.number, one.process) for one in left] == [(2, None), (3, None)]
    # Made again under the same name, it is another one.
    assert [one.number for one in left.living(lambda _: False, {cgroup("/a"): 9}.get)] == []
    assert number(left, caller(2)) == 0
    assert next(iter(left.with_hand(hand(process=process(1))).without({2, 3}))).number == 4


def test_which_view_a_python_gets() -> None:
    made = {(SHOP, "3.11"): A, (SHOP, "3.12"): B, (SHOP, None): B}

    def view_of(project: str, python: str | None) -> ViewId | None:
        return made.get((project, python))

    def told(one: ManualBinding, python: str | None) -> ViewId | None:
        binding = table(one).binding(caller(10, python=python), view_of)
        assert binding is not None
        assert (binding.rule, binding.project, binding.hand) == (Rule.BY_HAND, one.project, 1)
        return binding.view

    follows = hand(process=process(10), view=None, project=SHOP)
    assert [told(follows, one) for one in (None, "3.11", "3.12", "3.13")] == [B, A, B, None]
    pinned = hand(process=process(10), view=A, project=SHOP, python="3.11")
    assert [told(pinned, one) for one in (None, "", "3.11", "3.12", "3.13")] == [A, A, A, B, A]
    alone = hand(process=process(10), view=A)
    assert [told(alone, one) for one in (None, "3.12")] == [A, A]
    assert table(alone).binding(caller(11), view_of) is None


def test_it_says_by_which_way() -> None:
    group = cgroup("/x\n")
    hands = table(hand(process=process(10), cgroup=group, within=(group,), said=Said.RUN))

    def why(who: Caller) -> str:
        found = hands.binding(who, lambda *_: None)
        return found.why if found else ""

    assert why(caller(10)) == "`pkgview run` of this process"
    assert why(caller(11, 10)) == "`pkgview run` of process 10 above it"
    assert why(caller(12, inside=(group,))) == r"`pkgview run` of the cgroup '/x\n'"


# With the other rules


class State:
    """Projects' views may change; the table is what the test makes it."""

    def __init__(self, hands: ManualTable, view: ViewId) -> None:
        self.hands, self.view = hands, view

    def by_hand(self, who: Caller) -> Binding | None:
        return self.hands.binding(who, self.view_of)

    def knows(self, view: ViewId) -> bool:
        return view in {A, B}

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        del directory, uid
        return None

    script_project = project_of

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        del project, python
        return self.view

    def default_view(self, python: str | None) -> ViewId | None:
        del python
        return DEFAULT


def seen(who: Caller, state: BindingState, earlier: Bindings) -> Binding:
    """What it gets, and from now on had before."""
    got = decide(who, state, earlier)
    earlier.put(Bound.of(who, got, cwd=None, since=0.0))
    return got


def test_a_running_program_keeps_the_view_of_the_same_binding() -> None:
    python = caller(10, is_interpreter=True, exe="/python", command=b"c")
    shell = caller(11)
    earlier = Bindings(lambda *_: True)
    state = State(ManualTable(), A)
    assert seen(python, state, earlier).rule is Rule.DEFAULT
    bound = [hand(process=process(pid), view=None, project=SHOP) for pid in (10, 11)]
    state.hands = table(*bound)
    # By hand comes before what it was shown earlier ...
    assert [seen(one, state, earlier).view for one in (python, shell)] == [A, A]
    state.view = B
    got = [seen(one, state, earlier) for one in (python, shell)]
    assert [(one.rule, one.view) for one in got] == [(Rule.BY_HAND, A), (Rule.BY_HAND, B)]
    # ... also in a fork; another program in the same process is a new one.
    fork = replace(python, identity=replace(python.identity, tgid=Pid(12)))
    fork = replace(fork, ancestors=(process(10),))
    assert seen(fork, state, earlier).view == A
    other = replace(python, identity=replace(python.identity, image=Image(9, 9, 9)))
    assert decide(other, state, earlier).view == B
    # Bound once more, it means what is said now.
    state.hands = state.hands.with_hand(bound[0])
    assert seen(python, state, earlier).view == B
    # A binding that has ended leaves what it gave; one that was taken back does not.
    last = state.hands.of_process(process(10))
    assert last is not None
    state.hands = ManualTable()
    assert seen(python, state, earlier).rule is Rule.EARLIER
    assert seen(python, state, earlier).view == B
    earlier.forget(last.number)
    assert seen(python, state, earlier).rule is Rule.DEFAULT


paths = st.sampled_from(["/a", "/a/b", "/d"])
pids = st.integers(1, 3)
selectors = st.one_of(
    st.builds(lambda pid: {"process": process(pid)}, pids),
    st.builds(lambda path: {"cgroup": cgroup(path)}, paths),
    st.builds(lambda pid, path: {"process": process(pid), "cgroup": cgroup(path)}, pids, paths),
)


@given(
    st.lists(st.tuples(selectors, st.sampled_from([0, 5, 6]), st.integers(0, 5)), max_size=5),
    st.lists(pids, min_size=1, max_size=4, unique=True),
    st.none() | paths,
)
def test_the_table_is_a_list_that_is_searched(
    steps: list[tuple[dict[str, Any], int, int]], line: list[int], path: str | None
) -> None:
    """Against a list of all that was said last and not taken back, looked through from its end."""
    hands, said = ManualTable(), list[ManualBinding]()
    for made, (fields, uid, taken) in enumerate(steps, start=1):
        hands = hands.with_hand(hand(uid=uid, **fields))
        new = hand(uid=uid, number=made, **fields)
        whom = {new.process, new.cgroup, None}
        said = [one for one in said if not {one.process, one.cgroup} <= whom]
        said.append(new)
        hands = hands.without({taken})
        said = [one for one in said if one.number != taken]
    who = caller(line[0], *line[1:], inside=(cgroup(path),) if path else ())

    def last(**fields: Any) -> ManualBinding | None:  # noqa: ANN401
        ((name, value),) = fields.items()
        found = [one for one in said if getattr(one, name) == value]
        return found[-1] if found and found[-1].uid in {0, 5} else None

    near = next(filter(None, (last(process=process(pid)) for pid in line)), None)
    above = [path[:end] for end in range(len(path), 0, -1) if path[end : end + 1] in {"", "/"}] \
        if path else []  # fmt: skip
    deep = next(filter(None, (last(cgroup=cgroup(one)) for one in above)), None)
    # No process was in a cgroup when it was bound here, so cgroups are further in.
    expected = deep or near
    assert number(hands, who) == (expected.number if expected else 0)
