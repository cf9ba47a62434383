"""Bindings by hand, rule 1: what `pkgview run`, `bind` and `shell` said, and of whom.

A binding by hand covers a process with all that descends from it, or a cgroup with every process
inside, or both (a command that `pkgview run` gave a cgroup of its own). It says either a view, or a
project, which then means the project's newest view for the Python that asks.

Where several cover one process, the *innermost* holds:

* of processes, the nearest in its line of ancestors;
* of cgroups, the deepest; in different hierarchies, the one bound last;
* of the two, the process, unless it was outside of that cgroup when it was bound: then the cgroup
  was entered below it.

Whoever is not root binds processes of their own only: a binding covers those whose file system
uid is that of whoever made it. A program that changes its user (`sudo`) leaves it.

All of this is pure, and a table never changes: the next one takes its place in one step, so
threads may ask one while another is made.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resolver.binding.rules import Binding, Rule
from resolver.caller.process import Ancestor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from resolver.caller.process import Caller
    from resolver.caller.procfs import Cgroup
    from resolver.manifest import ViewId

    ViewOf = Callable[[str, str | None], ViewId | None]
    """The view of a project's root for a Python ("3.11"), as `BindingState.view_of`."""


class Said(enum.StrEnum):
    """The command that made a binding."""

    RUN = "run"
    BIND = "bind"
    SHELL = "shell"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualBinding:
    """One binding by hand, by user `uid`.

    Whom: `process`, `cgroup` or both; `within` are the cgroups that the process was in when it was
    bound, `inode` the number of the cgroup's directory, which tells it from a later one of its
    name. To what: `view`, made for `python`, or else the newest of `project`; with both, the view
    counts for that Python, and the project for others. `since` is in seconds since 1970. `number`
    is given by the table.
    """

    uid: int
    said: Said
    process: Ancestor | None = None
    within: tuple[Cgroup, ...] = ()
    cgroup: Cgroup | None = None
    inode: int = 0
    project: str | None = None
    view: ViewId | None = None
    python: str | None = None
    since: float = 0.0
    number: int = 0

    def reaches(self, uid: int | None) -> bool:
        """Whether it may say anything to a process of that user; root's may to all."""
        return self.uid in {0, uid}

    def view_for(self, python: str | None, view_of: ViewOf) -> ViewId | None:
        """The view it means for that Python; None while the project has none."""
        if self.view is not None and (not python or python == self.python):
            return self.view
        found = view_of(self.project, python) if self.project else None
        return found or self.view


class ManualTable:
    """The table: immutable; looked up in as many steps as a process has ancestors and cgroups."""

    def __init__(self, hands: Iterable[ManualBinding] = (), *, numbered: int = 0) -> None:
        self._hands = tuple(hands)
        self._numbered = numbered
        self._processes = {hand.process: hand for hand in self._hands if hand.process}
        self._cgroups = {hand.cgroup: hand for hand in self._hands if hand.cgroup}

    def __iter__(self) -> Iterator[ManualBinding]:
        return iter(self._hands)

    def __len__(self) -> int:
        return len(self._hands)

    @property
    def has_cgroups(self) -> bool:
        """Whether a process may come under a binding by going somewhere."""
        return bool(self._cgroups)

    def with_hand(self, hand: ManualBinding) -> ManualTable:
        """One more, last. It hides whatever was said of the same process or cgroup before."""
        number = self._numbered + 1
        kept = (old for old in self._hands if not _hidden(old, hand))
        return ManualTable((*kept, replace(hand, number=number)), numbered=number)

    def enclosed(self, number: int, cgroup: Cgroup, inode: int) -> ManualTable:
        """The same, that one with the cgroup that its process was put into."""
        hands = (
            replace(hand, cgroup=cgroup, inode=inode, within=(*hand.within, cgroup))
            if hand.number == number
            else hand
            for hand in self._hands
        )
        return ManualTable(hands, numbered=self._numbered)

    def without(self, numbers: Collection[int]) -> ManualTable:
        """All but those."""
        kept = (hand for hand in self._hands if hand.number not in numbers)
        return ManualTable(kept, numbered=self._numbered)

    def living(
        self,
        is_alive: Callable[[Ancestor], bool],
        inode_of: Callable[[Cgroup], int | None],
    ) -> ManualTable:
        """Those whose process lives or whose cgroup is there; itself where that is all of them."""
        kept: list[ManualBinding] = []
        for hand in self._hands:
            left = hand
            if left.process is not None and not is_alive(left.process):
                left = replace(left, process=None, within=())
            if left.cgroup is not None and inode_of(left.cgroup) != left.inode:
                left = replace(left, cgroup=None, inode=0)
            if left.process is not None or left.cgroup is not None:
                kept.append(left)
        if tuple(kept) == self._hands:
            return self
        return ManualTable(kept, numbered=self._numbered)

    def of_process(self, process: Ancestor) -> ManualBinding | None:
        """What was said of exactly that process last."""
        return self._processes.get(process)

    def of_cgroup(self, cgroup: Cgroup) -> ManualBinding | None:
        """What was said of exactly that cgroup last."""
        return self._cgroups.get(cgroup)

    def covering(self, caller: Caller) -> ManualBinding | None:
        """The innermost that covers a process and may."""
        near = self._nearest(caller)
        deep = self._deepest(caller)
        if near is None or deep is None or near is deep:
            return near or deep
        return near if _holds(deep.cgroup, near.within) else deep

    def binding(self, caller: Caller, view_of: ViewOf) -> Binding | None:
        """What rule 1 says of a process."""
        hand = self.covering(caller)
        if hand is None:
            return None
        return Binding(
            rule=Rule.BY_HAND,
            view=hand.view_for(caller.python, view_of),
            project=hand.project,
            why=_why(hand, caller),
            hand=hand.number,
        )

    def _nearest(self, caller: Caller) -> ManualBinding | None:
        for one in _line(caller):
            hand = self._processes.get(one)
            if hand is not None and hand.reaches(caller.uid):
                return hand
        return None

    def _deepest(self, caller: Caller) -> ManualBinding | None:
        found: list[ManualBinding] = []
        for cgroup in caller.cgroups:
            for above in _upwards(cgroup):
                hand = self._cgroups.get(above)
                if hand is not None and hand.reaches(caller.uid):
                    found.append(hand)
                    break
        return max(found, key=lambda hand: hand.number, default=None)


def _line(caller: Caller) -> Iterator[Ancestor]:
    """The process itself, and all above it."""
    yield Ancestor(caller.identity.tgid, caller.identity.start_time)
    yield from caller.ancestors


def _upwards(cgroup: Cgroup) -> Iterator[Cgroup]:
    """The cgroup and those around it, without the hierarchy's root."""
    path = cgroup.path
    while path.strip("/"):
        yield replace(cgroup, path=path)
        path = path.rpartition("/")[0]


def _holds(outer: Cgroup | None, cgroups: Iterable[Cgroup]) -> bool:
    """Whether any of the cgroups is `outer` or inside it."""
    return any(outer == above for cgroup in cgroups for above in _upwards(cgroup))


def _hidden(old: ManualBinding, new: ManualBinding) -> bool:
    """Whether nothing is left that `old` could be found by."""
    same_process = old.process is None or old.process == new.process
    same_cgroup = old.cgroup is None or old.cgroup == new.cgroup
    return same_process and same_cgroup


def _why(hand: ManualBinding, caller: Caller) -> str:
    """How it came to cover the process; the nearest way first."""
    if hand.process is not None:
        itself, *above = _line(caller)
        if hand.process == itself:
            return f"`pkgview {hand.said}` of this process"
        if hand.process in above:
            return f"`pkgview {hand.said}` of process {hand.process.pid} above it"
    path = hand.cgroup.path if hand.cgroup else ""
    return f"`pkgview {hand.said}` of the cgroup {path if path.isprintable() else ascii(path)}"
