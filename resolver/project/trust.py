"""What a user has said of projects: that one may be used, and what it may do by its own choosing.

A directory that somebody cloned is a stranger's, though its files belong to the user. Two things
are asked of it, and each is said once, by `pkgview trust`, or by any command that is for that
project (`up`, `run`, `shell`, `lock`, `bind`), since who types it means it:

* **Whose files are they.** `trust_faults` says what speaks against a project: files of other users,
  or that others may write to. Such a project never counts by itself; only `pkgview trust` writes
  down that it may. Two things end that: it is not the same directory any more, or *more* speaks
  against it than then. What was known is the kind of fault and who, not the file: a shared
  checkout gets new files all the time.
* **Whose idea was it** (`is_agreed`, `not_agreed`). Before a yes, a project's directory decides
  nothing for a program that merely starts in it, and nothing is done that the project has chosen
  itself (`resolver.python.choices`). What was agreed to is that list: when it grows, the question
  comes again. A yes to a workspace is one to its members.

Kept as `<state>/trusted/<project>.json`, which only its user can write, so it says something about
that user's processes and nobody else's. A directory is known by its inode, the inode's generation
(numbers come round again at once where something is removed) and its owner. Not by its device: on
btrfs, on NFS and behind LVM that is another number after the next boot.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from resolver.atomic import Alone, write_atomically
from resolver.errors import PkgviewError
from resolver.naming import identity_text, project_key, trust_record
from resolver.ownership import accept, identity
from resolver.project import resolved
from resolver.project.project import fingerprint, trust_faults

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from resolver.ownership import Fault
    from resolver.project.project import Project
    from resolver.project.resolved import Resolved, ResolvedView

STORE: Final = "have its own store say what its packages became"
"""The one choice that a command for a project says no yes to: only `pkgview trust` does. No digest
proves it, so without that word the packages are had from where the lock says, and derived again."""

_FORGIVABLE = frozenset({"owner", "group", "everybody"})
"""What cannot even be looked at is nothing that anybody could have agreed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What was said of one project: which directory it was, and what of it is known and agreed to.

    `root` is the project's, a directory or a script; `directory` is its directory's `identity`.
    `faults` are (kind, who), as in `Fault`, `choices` as in `own_choices`. Not `agreed`: it was
    taken back, or is from a version that asked for the faults only.
    """

    root: str
    directory: tuple[int, int, int]
    faults: frozenset[tuple[str, int]] = frozenset()
    choices: frozenset[str] = frozenset()
    agreed: bool = True

    def __post_init__(self) -> None:
        """`TypeError` for what was never written: the fields come from a file."""
        numbers = (*self.directory, *(who for _, who in self.faults))
        texts = (self.root, *(kind for kind, _ in self.faults), *self.choices)
        right = len(self.directory) == 3 and type(self.agreed) is bool  # noqa: PLR2004 - as declared
        if (
            not right
            or not all(type(number) is int for number in numbers)
            or not all(isinstance(text, str) for text in texts)
        ):
            raise TypeError(f"{self} is no trusted project")


def problem(project: Project, uid: int, state: Path) -> str | None:
    """Why a process of user `uid` must not act on this project, or None: whose files they are.

    `state` is that of this process's user, whose word counts for this user's processes only.
    """
    faults = list(trust_faults(project, uid))
    if not faults:
        return None
    if uid != os.geteuid():
        return faults[0].said
    trusted = of(str(project.root), state)
    if trusted is None or not trusted.faults:
        return faults[0].said
    against = objection(project, trusted, faults)
    if against is None:
        accept(project.inputs)
    return against


def objection(project: Project, trusted: Trusted, faults: Iterable[Fault]) -> str | None:
    """Why what was said of a project once does not hold any more, or None."""
    try:
        found = identity(project.directory)
    except OSError as error:
        return f"{project.directory} cannot be examined: {error.strerror}"
    if found[2] != trusted.directory[2]:
        return (
            f"{project.directory} belonged to user {trusted.directory[2]} when it was trusted, "
            f"now to user {found[2]}"
        )
    if found != trusted.directory:
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


def is_agreed(project: Project, state: Path, *, itself: bool = False) -> bool:
    """Whether the user of that state has said yes to what is at this place now.

    `itself`: to the project, not to the workspace that it is a member of.
    """
    return (_own if itself else _agreed)(project, state) is not None


def shows(record: Resolved, state: Path) -> bool:
    """Whether those who do not look at a project themselves may see what it was made.

    Its user has said yes to the very directory that the views were made of. The directory itself
    is not looked at.
    """
    trusted = of(record.root, state)
    if trusted is None:
        return any(view.format == 0 for view in record.views)
    return trusted.agreed and record.directory in {"", identity_text(trusted.directory)}


def stands(root: str, state: Path) -> bool:
    """Whether at a project's place there is what its user said yes to, or nothing at all."""
    now = resolved.identity_text(resolved.directory_of(root))
    return shows(replace(resolved.load(state / "projects", root), directory=now), state)


def not_agreed(project: Project, state: Path, choices: frozenset[str]) -> frozenset[str]:
    """Those of a project's own choices that its user has not said yes to."""
    if not choices:
        return choices
    trusted = _agreed(project, state)
    if trusted is None:
        return choices
    if trusted is _OF_BEFORE:
        # By what it was when the user last had its view made.
        record = resolved.load(state / "projects", str(project.root))
        now = fingerprint(project)
        return frozenset() if any(view.inputs == now for view in record.views) else choices
    return choices - trusted.choices


def _agreed(project: Project, state: Path) -> Trusted | None:
    """What was said of it, else what was said of its workspace as far as that means a member, too.

    A member's own choices are asked about unless the workspace's hold the same one, and it is the
    same for both: what may name a place by a relative path is none of those.
    """
    own = _own(project, state)
    if own is not None or of(str(project.root), state) is not None:
        return own
    return _of_workspace(project, state)


def _own(project: Project, state: Path) -> Trusted | None:
    root = str(project.root)
    trusted = of(root, state)
    if trusted is not None:
        try:
            same = identity(project.directory) == trusted.directory
        except OSError:
            return None
        return trusted if same and trusted.agreed else None
    # Whoever ran `up` before there was this question has answered it.
    record = resolved.load(state / "projects", root)
    return _OF_BEFORE if any(view.format == 0 for view in record.views) else None


def _of_workspace(project: Project, state: Path) -> Trusted | None:
    try:
        root = project.workspace
        trusted = None if root is None else of(str(root), state)
        if root is None or trusted is None or identity(root) != trusted.directory:
            return None
    except (OSError, PkgviewError):
        return None
    choices = frozenset(filter(_ANYWHERE.match, trusted.choices))
    return replace(trusted, choices=choices, faults=frozenset()) if trusted.agreed else None


_ANYWHERE = re.compile(r"(?:use the index|fetch packages from) https?://")
"""Choices that are the same whichever directory says so."""

_OF_BEFORE = Trusted(root="", directory=(0, 0, 0))
"""Stands for a word that was given before words were kept."""


def agreed_choices(project: Project, state: Path) -> frozenset[str]:
    """What its user has said yes to."""
    trusted = _agreed(project, state)
    return frozenset() if trusted is None else trusted.choices


def counts(view: ResolvedView, root: str, state: Path, project: Project | None = None) -> bool:
    """Whether a look may have that view of the project at `root`, as far as its choices go.

    Its user still says yes to all that was agreed to when it was made. Without the `project` what
    was said of a workspace is not seen.
    """
    needed = {*(view.choices or ()), *([STORE] if view.word_of else [])}
    if not needed and view.choices is not None:
        return True
    trusted = of(root, state) if project is None else _agreed(project, state)
    return trusted is not None and trusted.agreed and needed <= trusted.choices


def believes_store(project: Project, state: Path) -> bool:
    """Whether its user has said that the word of the project's own store counts."""
    return STORE in agreed_choices(project, state)


def agree(project: Project, state: Path, choices: frozenset[str]) -> Trusted:
    """Say yes to a project and to these choices; of its faults and its store it stays as it was.

    `PkgviewError` where it cannot be written down, `OSError` where the directory is gone.
    """
    root = str(project.root)
    given = Trusted(root=root, directory=identity(project.directory), choices=choices)
    with Alone(state):
        before = of(root, state)
        if before is not None and before.directory == given.directory:
            kept = before.choices & {STORE}
            given = replace(given, faults=before.faults, choices=choices | kept)
        if given != before:
            _save(state, given)
    return given


def allow(project: Project, uid: int, state: Path, choices: frozenset[str]) -> Trusted:
    """Say yes to a project, to these choices, and to what speaks against it now.

    `PkgviewError` where it cannot be examined or written down.
    """
    faults = list(trust_faults(project, uid))
    unseen = next((fault for fault in faults if fault.kind not in _FORGIVABLE), None)
    if unseen is not None:
        raise PkgviewError(unseen.said, remedy="Trust only what you can look at.")
    trusted = Trusted(
        root=str(project.root),
        directory=identity(project.directory),
        faults=frozenset((fault.kind, fault.who) for fault in faults),
        choices=choices,
    )
    with Alone(state):
        _save(state, trusted)
    return trusted


def revoke(root: str, state: Path, *, covered: bool = False) -> bool:
    """Take back what was said of a project; whether anything was.

    That it was taken back is kept: a view that an earlier version made would count as a yes, and
    so does that of its workspace, where it is `covered` by one.
    """
    with Alone(state):
        known = of(root, state)
        before = any(one.format == 0 for one in resolved.load(state / "projects", root).views)
        if known is None and not before and not covered:
            return False
        if known is not None and not known.agreed and not known.faults:
            return False
        _save(state, Trusted(root=root, directory=(0, 0, 0), agreed=False))
    return True


def forget_gone(state: Path) -> None:
    """Remove what was said of projects that are gone, with all that is known of them.

    What was taken back stays as long as a record of theirs does, which could count as a yes.
    """
    with Alone(state):
        for path in list((state / "trusted").glob("*.json")):
            known = _read(path)
            if known is None or os.path.lexists(state / "projects" / path.name):
                continue
            try:
                os.lstat(known.root)
            except (FileNotFoundError, NotADirectoryError):
                path.unlink(missing_ok=True)
            except OSError:
                pass  # who knows


def forget(root: str, state: Path) -> bool:
    """Know nothing of a project any more, neither yes nor no; whether anything was known.

    What is nowhere said is no. What an earlier version kept is taken back (`revoke`).
    """
    if root in _of_former(state):
        return revoke(root, state)
    with Alone(state):
        path = state / "trusted" / f"{project_key(root)}.json"
        known = _read(path) is not None
        path.unlink(missing_ok=True)
    return known


def load(state: Path) -> dict[str, Trusted]:
    """All that something was said of, by root. A damaged file says nothing."""
    found = (_read(path) for path in sorted((state / "trusted").glob("*.json")))
    kept = {one.root: one for one in found if one is not None}
    return {
        root: one for root, one in (_of_former(state) | kept).items() if one.agreed or one.faults
    }


def of(root: str, state: Path) -> Trusted | None:
    """What was said of the project at `root`; a few microseconds where nothing was."""
    path = state / "trusted" / f"{project_key(root)}.json"
    found = _read(path)
    if found is None and not os.path.lexists(path):
        return _of_former(state).get(root)
    return found if found is not None and found.root == root else None


def _read(path: Path) -> Trusted | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as programs start, and twice as fast
            fields: dict[str, Any] = json.loads(file.read())
        return Trusted(
            root=fields["root"],
            directory=tuple(fields["directory"]),
            faults=frozenset((kind, who) for kind, who in fields["faults"]),
            choices=frozenset(fields["choices"]),
            agreed=fields["agreed"],
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _of_former(state: Path) -> dict[str, Trusted]:
    """What earlier versions kept in one file. They knew devices, and no generations."""
    try:
        data = (state / "trusted.json").read_bytes()
    except OSError:
        return {}
    try:
        projects = json.loads(data)["projects"]
        found = {}
        for fields in projects:
            root = fields["root"]
            found[root] = Trusted(
                root=root,
                directory=(fields["inode"], _generation(root), fields["owner"]),
                faults=frozenset((kind, who) for kind, who in fields["faults"]),
            )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found


def _generation(root: str) -> int:
    for directory in (root, os.path.dirname(root)):  # noqa: PTH120 - a script's is its directory's
        with suppress(OSError):
            if os.path.isdir(directory):  # noqa: PTH112 - the same
                return identity(directory)[1]
    return 0


def _save(state: Path, one: Trusted) -> None:
    data = trust_record(
        json.dumps(one.root),
        one.directory,
        json.dumps(sorted(one.faults)),
        choices_json(one.choices),
        agreed=one.agreed,
    )
    write_atomically(state / "trusted" / f"{project_key(one.root)}.json", data)


def choices_json(choices: Iterable[str]) -> str:
    """As in the file, on one line."""
    return json.dumps(sorted(choices))
