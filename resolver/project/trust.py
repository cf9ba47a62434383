"""Projects that a user trusts although they are not the user's alone.

`trust_faults` says what speaks against a project: files of other users, or that others may write
to. Such a project never counts by itself; `pkgview trust` writes down that it may, with what is
known of it then. Two things end that: it is not the same directory any more, or *more* speaks
against it than then (another owner, a directory that everybody may write to). What was
known is the kind of fault and who, not the file: a shared checkout gets new files all the time.

Kept in `<state>/trusted.json`, which only its user can write, so it says something about that
user's processes and nobody else's.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from resolver.atomic import Alone, write_atomically
from resolver.errors import PkgviewError
from resolver.project.project import trust_faults

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from resolver.ownership import Fault
    from resolver.project.project import Project

FORMAT = 1

_FORGIVABLE = frozenset({"owner", "group", "everybody"})
"""What cannot even be looked at is nothing that anybody could have agreed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """One project that may be used: which directory it was, and what spoke against it.

    `root` is the project's, a directory or a script; `device`, `inode` and `owner` are those of its
    directory. `faults` are (kind, who), as in `Fault`.
    """

    root: str
    device: int
    inode: int
    owner: int
    faults: frozenset[tuple[str, int]]

    def __post_init__(self) -> None:
        """`TypeError` for what `allow` has not written: the fields come from a file."""
        numbers = (self.device, self.inode, self.owner, *(who for _, who in self.faults))
        texts = (self.root, *(kind for kind, _ in self.faults))
        if not all(type(number) is int for number in numbers) or not all(
            isinstance(text, str) for text in texts
        ):
            raise TypeError(f"{self} is no trusted project")


def problem(project: Project, uid: int, state: Path) -> str | None:
    """Why a process of user `uid` must not act on this project, or None.

    `state` is that of this process's user, whose word counts for this user's processes only.
    """
    faults = list(trust_faults(project, uid))
    if not faults:
        return None
    if uid != os.geteuid():
        return faults[0].said
    trusted = load(state).get(str(project.root))
    if trusted is None:
        return faults[0].said
    return objection(project, trusted, faults)


def objection(project: Project, trusted: Trusted, faults: Iterable[Fault]) -> str | None:
    """Why what was said of a project once does not hold any more, or None."""
    try:
        found = project.directory.stat()
    except OSError as error:
        return f"{project.directory} cannot be examined: {error.strerror}"
    if found.st_uid != trusted.owner:
        return (
            f"{project.directory} belonged to user {trusted.owner} when it was trusted, "
            f"now to user {found.st_uid}"
        )
    if (found.st_dev, found.st_ino) != (trusted.device, trusted.inode):
        return f"{project.directory} is not the directory any more that was trusted"
    known = trusted.faults
    # A group is no more than everybody.
    worse = (
        fault.said
        for fault in faults
        if (fault.kind, fault.who) not in known
        and not (fault.kind == "group" and ("everybody", -1) in known)
    )
    return next(worse, None)


def allow(project: Project, uid: int, state: Path) -> Trusted | None:
    """Trust a project from now on; None where nothing speaks against it, and nothing is kept.

    `PkgviewError` where it cannot be examined or written down.
    """
    faults = list(trust_faults(project, uid))
    unseen = next((fault for fault in faults if fault.kind not in _FORGIVABLE), None)
    if unseen is not None:
        raise PkgviewError(unseen.said, remedy="Trust only what you can look at.")
    if not faults:
        return None
    found = project.directory.stat()
    trusted = Trusted(
        root=str(project.root),
        device=found.st_dev,
        inode=found.st_ino,
        owner=found.st_uid,
        faults=frozenset((fault.kind, fault.who) for fault in faults),
    )
    with Alone(state):
        _save(state, {**load(state), trusted.root: trusted})
    return trusted


def revoke(root: str, state: Path) -> bool:
    """Trust a project no longer; whether it was."""
    with Alone(state):
        known = load(state)
        if root not in known:
            return False
        del known[root]
        _save(state, known)
    return True


def load(state: Path) -> dict[str, Trusted]:
    """All that is trusted, by root. A damaged file trusts nobody, and is written anew."""
    try:
        fields = json.loads((state / "trusted.json").read_bytes())
        if fields["format"] != FORMAT:
            return {}
        found = map(_read, fields["projects"])
        return {one.root: one for one in found}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _read(entry: Any) -> Trusted:  # noqa: ANN401 - from a file
    fields = dict(entry)
    faults = frozenset((kind, who) for kind, who in fields.pop("faults"))
    return Trusted(faults=faults, **fields)


def _save(state: Path, known: dict[str, Trusted]) -> None:
    projects = [{**asdict(one), "faults": sorted(one.faults)} for one in known.values()]
    data = json.dumps({"format": FORMAT, "projects": projects}, indent=1).encode()
    write_atomically(state / "trusted.json", data)
