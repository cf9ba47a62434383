"""Bindings by hand as one mount's daemon keeps them: in memory, and in the state directory.

The file, `<state>/bindings/<mount>.json`, is what a daemon knows after a restart. It has a mount's
own name, since several daemons of one user share the state directory. It is replaced in one step,
but not forced to the disk: after a reboot all pids and cgroups mean something else, so it names the
boot it belongs to, and another one's is ignored.

A binding ends with its process and its cgroup (`prune`). Cgroups that `pkgview run` made are
removed when they are empty, also those of bindings taken back meanwhile.

Concurrency: `binding` may be called from any thread. All else is called by one thread at a time
(the caller has a lock), puts a new table in the old one's place, and may block on the disk.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.atomic import make_private
from resolver.binding.manual import ManualBinding, ManualTable, Said
from resolver.boot import boot_id
from resolver.caller.process import Ancestor, as_view
from resolver.caller.procfs import Absence, Cgroup, Pid, StartTime, read_stat
from resolver.errors import PkgviewError
from unionfs.bindings import cgroups
from unionfs.control.endpoint import endpoint_of

if TYPE_CHECKING:
    from resolver.binding.manual import ViewOf
    from resolver.binding.rules import Binding
    from resolver.caller.process import Caller
    from resolver.places import Places

logger = logging.getLogger(__name__)

MOST_HANDS = 10_000
"""Bindings by hand of one mount that are kept at once; far more than anybody makes."""


class ManualBindings:
    """The table of one mount, as its daemon last left it."""

    def __init__(self, places: Places) -> None:
        name = endpoint_of(places, places.mount).name
        self._path = places.state / "bindings" / f"{name}.json"
        self._directories: dict[Cgroup, Path | None] = {}
        self._made: set[Cgroup] = set()
        self._waiting: set[Ancestor] = set()
        self.hands = ManualTable()
        self._load()
        self.prune()

    def binding(self, caller: Caller, view_of: ViewOf) -> Binding | None:
        """What rule 1 says of a process."""
        hands = self.hands
        if not hands:
            return None
        found = hands.covering(caller)
        if found is not None and found.cgroup and self._inode(found.cgroup) != found.inode:
            # Removed since, and perhaps made again under its name for something else.
            hands = hands.living(lambda _: True, self._inode)
        return hands.binding(caller, view_of)

    def bind(self, hand: ManualBinding, *, waits: bool = False) -> ManualBinding:
        """Keep one more; returns it with its number. `PkgviewError` where it cannot be kept.

        `waits`: until `enclosed` says what came of it, it holds though its process has ended.
        """
        self.prune()
        if len(self.hands) >= MOST_HANDS:
            raise PkgviewError(
                f"{MOST_HANDS} bindings by hand are kept already",
                remedy="Take some back: `pkgview unbind --all`.",
            )
        hands = self.hands.with_hand(hand)
        made = {hand.cgroup} if hand.cgroup and cgroups.is_ours(hand.cgroup) else set()
        if waits and hand.process is not None:
            self._waiting.add(hand.process)
        self._save(hands, self._made | made)
        *_, kept = self.hands
        return kept

    def enclosed(self, hand: ManualBinding, cgroup: Cgroup | None) -> None:
        """What the process of a binding has started is in that cgroup now, which is bound, too.

        None: it is in none. Where the binding was taken back meanwhile, the cgroup is only removed
        when it is empty.
        """
        if hand.process is not None:
            self._waiting.discard(hand.process)
        inode = None if cgroup is None else self._inode(cgroup)
        if cgroup is not None and inode is not None:
            made = {cgroup} if cgroups.is_ours(cgroup) else set()
            self._save(self.hands.enclosed(hand.number, cgroup, inode), self._made | made)

    def unbind(self, *numbers: int) -> None:
        """Take bindings back."""
        self._save(self.hands.without(numbers), self._made)

    def prune(self) -> bool:
        """Let go of what has ended and remove empty cgroups of ours; whether anything was."""
        # Cgroups inside of others first.
        for cgroup in sorted(self._made, key=lambda one: one.path, reverse=True):
            if cgroups.remove(cgroup):
                logger.debug("removed the cgroup %s", cgroup.path)
        made = {cgroup for cgroup in self._made if self._inode(cgroup) is not None}
        hands = self.hands.living(self._holds, self._inode)
        if hands is self.hands and made == self._made:
            return False
        try:
            self._save(hands, made)
        except PkgviewError as error:
            logger.warning("%s", error)
        return True

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that could end."""
        return not self.hands and not self._made

    def _holds(self, process: Ancestor) -> bool:
        return process in self._waiting or _is_alive(process)

    def _inode(self, cgroup: Cgroup) -> int | None:
        directory = self._directories.get(cgroup)
        if directory is None:
            directory = self._directories[cgroup] = cgroups.directory_of(cgroup)
        try:
            return None if directory is None else directory.stat().st_ino
        except OSError:
            return None

    # On the disk

    def _save(self, hands: ManualTable, made: set[Cgroup]) -> None:
        """Write the file; the table in memory follows even where that fails."""
        self.hands, self._made = hands, made
        bound = {hand.cgroup for hand in hands if hand.cgroup} | made
        self._directories = {
            cgroup: directory for cgroup, directory in self._directories.items() if cgroup in bound
        }
        content = json.dumps(
            {
                "boot": boot_id(),
                "hands": [asdict(hand) for hand in hands],
                "made": [asdict(cgroup) for cgroup in made],
            }
        )
        try:
            make_private(self._path.parent)
            number, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".tmp-")
            try:
                with os.fdopen(number, "w", encoding="ascii") as file:
                    file.write(content)
                Path(temporary).replace(self._path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise PkgviewError(
                f"{self._path} cannot be written, so the binding ends with the daemon: "
                f"{error.strerror}",
                remedy="Make room there, or make it writable, and run the command again.",
            ) from error

    def _load(self) -> None:
        """What the last daemon of this mount knew, if it was since this boot."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["boot"] != boot_id():
                return
            self._made = {_cgroup(one) for one in kept["made"]}
            for fields in kept["hands"]:
                self.hands = self.hands.with_hand(_hand(fields))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.warning("%s is left aside: %r", self._path, error)


def _hand(fields: dict[str, Any]) -> ManualBinding:
    view = fields["view"]
    process = fields["process"]
    return ManualBinding(
        uid=int(fields["uid"]),
        said=Said(fields["said"]),
        process=None if process is None else Ancestor(Pid(process[0]), StartTime(process[1])),
        within=tuple(_cgroup(one) for one in fields["within"]),
        cgroup=None if fields["cgroup"] is None else _cgroup(fields["cgroup"]),
        inode=int(fields["inode"]),
        project=fields["project"],
        view=None if view is None else as_view(view),
        python=fields["python"],
        since=float(fields["since"]),
    )


def _cgroup(fields: dict[str, Any]) -> Cgroup:
    return Cgroup(controllers=str(fields["controllers"]), path=str(fields["path"]))


def _is_alive(process: Ancestor) -> bool:
    stat = read_stat(process.pid)
    return not isinstance(stat, Absence) and stat.start_time == process.start_time and not stat.dead
