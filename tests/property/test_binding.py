"""The rules against a model so small that it is plainly right, over random worlds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resolver.binding.rules import Binding, Bound, Candidate, Rule, decide
from resolver.binding.table import Bindings
from resolver.caller.process import Ancestor, Caller, Identity, as_view
from resolver.caller.procfs import Image, Pid, StartTime
from resolver.manifest import ViewId

VIEWS = [ViewId(letter * 32) for letter in "0123"]
PATHS = ["/p0", "/p1", "/p2", "/p3"]
IMAGES = [Image(0, 0, 0), Image(1, 1, 1), Image(2, 2, 2)]


class World:
    """Project n is /pN, refused or not, with a view or not; only the first views are known."""

    def __init__(self, known: int, views: list[int | None], refused: list[bool]) -> None:
        self.known = VIEWS[:known]
        self.views = [None if number is None else VIEWS[number] for number in views]
        self.refused = refused
        self.hands: dict[int, Binding] = {}

    def by_hand(self, caller: Caller) -> Binding | None:
        return self.hands.get(caller.identity.tgid)

    def knows(self, view: ViewId) -> bool:
        return view in self.known

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        del uid
        if directory not in PATHS[:3]:
            return None
        return Candidate(directory, "no" if self.refused[PATHS.index(directory)] else "")

    script_project = project_of

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        del python
        return self.views[PATHS.index(project)]

    def default_view(self, python: str | None) -> ViewId | None:
        del python
        return VIEWS[3]


worlds = st.builds(
    World,
    st.integers(0, 4),
    st.lists(st.none() | st.integers(0, 3), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
identities = st.builds(
    Identity,
    tgid=st.integers(2, 4).map(Pid),
    start_time=st.integers(1, 2).map(StartTime),
    image=st.sampled_from(IMAGES),
)
callers = st.builds(
    Caller,
    identity=identities,
    uid=st.none() | st.integers(0, 1),
    exe=st.sampled_from(["/x", "/y"]),
    is_interpreter=st.booleans(),
    python=st.just("3.11"),
    script=st.none() | st.sampled_from(PATHS),
    command=st.sampled_from([b"1", b"2"]),
    runs_from=st.none() | st.sampled_from(VIEWS),
    cwd=st.none() | st.sampled_from(PATHS),
    view=st.none() | st.sampled_from([*VIEWS, "nonsense"]),
    project=st.none() | st.sampled_from([*PATHS, "p0"]),
    ancestors=st.lists(
        st.builds(Ancestor, st.integers(2, 4).map(Pid), st.integers(1, 2).map(StartTime)),
        max_size=3,
    ).map(tuple),
)


def model(  # noqa: C901, PLR0911 - the rules of the design, one after the other
    caller: Caller, world: World, before: dict[int, Bound]
) -> tuple[Rule, ViewId | None, str | None]:
    def entry(pid: int, start: int) -> Bound | None:
        bound = before.get(pid)
        return bound if bound and bound.identity.start_time == start and bound.lasting else None

    own = entry(caller.identity.tgid, caller.identity.start_time)
    if caller.is_interpreter:
        if own and own.identity.image == caller.identity.image:
            return Rule.EARLIER, own.binding.view, own.binding.project
        for pid, start in caller.ancestors:
            above = entry(pid, start)
            if above and (
                (above.identity.image, above.exe, above.command, above.uid)
                == (caller.identity.image, caller.exe, caller.command, caller.uid)
                or (pid == caller.identity.tgid and above.identity.image == caller.identity.image)
            ):
                return Rule.EARLIER, above.binding.view, above.binding.project
    if caller.view and as_view(caller.view) in world.known:
        return Rule.ENVIRONMENT, ViewId(caller.view), None

    def project(path: str | None) -> int | None:
        if path not in PATHS[:3] or caller.uid is None or world.refused[PATHS.index(path)]:
            return None
        return PATHS.index(path)

    if (number := project(caller.project)) is not None:
        return Rule.ENVIRONMENT, world.views[number], PATHS[number]
    if caller.runs_from in world.known:
        return Rule.SCRIPT, caller.runs_from, None
    if (number := project(caller.script)) is not None:
        return Rule.SCRIPT, world.views[number], PATHS[number]
    if (number := project(caller.cwd)) is not None:
        return Rule.DIRECTORY, world.views[number], PATHS[number]
    for pid, start in caller.ancestors:
        above = entry(pid, start)
        if above and above.uid == caller.uid and above.binding.rule is not Rule.DEFAULT:
            return Rule.ANCESTOR, above.binding.view, above.binding.project
    return Rule.DEFAULT, VIEWS[3], None


@given(worlds, st.lists(callers, max_size=8))
def test_decide_is_the_model(world: World, history: list[Caller]) -> None:
    """Each caller in turn, with what those before it were bound to."""
    table = Bindings(lambda *_: True)
    before: dict[int, Bound] = {}
    for caller in history:
        got = decide(caller, world, table)
        assert (got.rule, got.view, got.project) == model(caller, world, before)
        assert got.why
        bound = Bound.of(caller, got, cwd=caller.cwd, since=0.0)
        table.put(bound)
        before[caller.identity.tgid] = bound


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=300),
    st.integers(1, 30),
)
def test_the_table_is_a_dictionary_that_may_forget(
    steps: list[tuple[int, bool]], most: int
) -> None:
    """It never answers with anything but the last that was put, and never outgrows its limit."""
    living: set[int] = set()
    table = Bindings(lambda pid, _: pid in living, most=most)
    last: dict[int, Bound] = {}
    for pid, lives in steps:
        (living.add if lives else living.discard)(pid)
        identity = Identity(tgid=Pid(pid), start_time=StartTime(pid), image=IMAGES[1])
        binding = Binding(rule=Rule.DIRECTORY, view=VIEWS[0], project=None, why="w")
        bound = Bound(identity=identity, binding=binding, lasting=True)
        table.put(bound)
        last[pid] = bound
        assert len(table) <= most
        assert table.of(Pid(pid), StartTime(pid)) is bound
        for known in table:
            assert last[known.identity.tgid] is known
