"""A project's record: its views, their kinds and targets, and the inputs they were made from.

One JSON file a project, in `<state>/projects/`, replaced atomically. It is what makes
`pkgview up` with nothing to do cheap, and where a binding finds a project's view.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from resolver import naming
from resolver.atomic import Alone, write_atomically
from resolver.naming import project_key, project_record
from resolver.ownership import identity
from resolver.project import standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resolver.manifest import ViewId

PYTHON = "python"
"""The kind of most views, and of all that were recorded before there were others."""

_VIEW = re.compile(r"[0-9a-f]{32}")

FORGOTTEN = ".forgotten"
"""How the records end of projects that nobody wants to hear of any more."""

FORMAT = 1
"""Of a view's part of a record. Those before it do not say (0), and may hold archives that the
store took by a project's word: they are made anew."""


UNCHECKED = "unchecked "
"""What a fingerprint begins with where the lock was not compared with the project's files, or is
known not to hold what they ask for: the next `up` looks again."""


DECIDED = "-"
"""What a fingerprint has before what counts only for `up`, which decides by it."""


def decided(fingerprint: str, by: str) -> str:
    """A fingerprint that says what was decided by; "" for nothing."""
    plain = fingerprint.partition(DECIDED)[0]
    return f"{plain}{DECIDED}{by}" if by else plain


def is_same(recorded: str, fingerprint: str, *, decides: bool) -> bool:
    """Whether a view that has the one is made of what the other says."""
    if decides:
        return recorded == fingerprint
    return recorded.partition(DECIDED)[0] == fingerprint.partition(DECIDED)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedView:
    """One view of a project: of which `kind` and which `variant` of those ("3.11", for Python).

    `fingerprint` is that of all it follows from; `inputs` that of the project's inputs alone ("":
    not known), which tells whether they have changed since; `extras` and `groups` are those that
    were asked for besides, `asked` is the target that was ("": what the project's files say).
    `beside`: it is only for programs that chose that variant themselves, and not what the project
    shows to others.
    `unbuilt`: the project itself is in it as its files say, because nothing could be built.
    `format`: what was known of its archives when it was made. `word_of` says which directory's own
    store is believed in it ("": none), as `identity_text` does: another one in its place has said
    nothing of the kind.
    `choices` are those that its user had agreed to when it was made (`trust.counts`); None: it is
    of an earlier version, which did not say.
    """

    kind: str
    variant: str
    view: ViewId
    fingerprint: str
    inputs: str = ""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    unbuilt: bool = False
    format: int = FORMAT
    word_of: str = ""
    asked: str = ""
    beside: bool = False
    choices: tuple[str, ...] | None = ()

    def __post_init__(self) -> None:
        """`ValueError` for what no `up` has written: the fields come from a file."""
        fields = (
            *(self.kind, self.variant, self.view, self.fingerprint, self.inputs, self.word_of),
            *(self.asked, *self.extras, *self.groups, *(self.choices or ())),
        )
        texts = all(isinstance(text, str) for text in fields) and type(self.format) is int
        if not texts or not isinstance(self.beside, bool) or not _VIEW.fullmatch(self.view):
            raise ValueError(f"{fields} is no view of a project")


def identity_text(directory: str | Path) -> str:
    """Which directory that is now (`ownership.identity`), "" where there is none any more."""
    try:
        return naming.identity_text(identity(directory))
    except OSError:
        return ""


def directory_of(root: str) -> str:
    """The directory of the project at `root`, which may be a script; of what is gone, itself."""
    is_script = os.path.exists(root) and not os.path.isdir(root)  # noqa: PTH110, PTH112 - as programs start
    return os.path.dirname(root) if is_script else root  # noqa: PTH120 - the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """All views of a project, the newest last. `root` is a directory, or a script's own path.

    `directory` says which directory it was when they were made, as `identity_text` does; "" where
    that is not known.
    """

    root: str
    directory: str = ""
    views: tuple[ResolvedView, ...] = field(default=())

    @property
    def key(self) -> str:
        """The project's name under `projects/`: readable first, unambiguous last."""
        return project_key(self.root)

    @property
    def newest(self) -> ResolvedView | None:
        """The project's own view: of Python's where it has one, else of any kind."""
        return self.view_for(None) or (self.views[-1] if self.views else None)

    def own(self, kind: str = PYTHON) -> ResolvedView | None:
        """The newest of that kind that is not `beside` it."""
        found = (one for one in reversed(self.views) if one.kind == kind and not one.beside)
        return next(found, None)

    def view_for(self, variant: str | None, kind: str = PYTHON) -> ResolvedView | None:
        """The view of that kind and variant, else the project's own, else the newest, else None."""
        of_kind = [view for view in self.views if view.kind == kind]
        return self.exactly(variant, kind) or self.own(kind) or (of_kind[-1] if of_kind else None)

    def exactly(self, variant: str | None, kind: str = PYTHON) -> ResolvedView | None:
        """The view of that kind and variant, or None."""
        same = (kind, variant)
        found = (one for one in reversed(self.views) if (one.kind, one.variant) == same)
        return next(found, None)

    def with_view(self, view: ResolvedView) -> Resolved:
        """The same project after `up`: one view of each kind and variant, the new one last."""
        same = (view.kind, view.variant)
        others = tuple(old for old in self.views if (old.kind, old.variant) != same)
        return replace(self, views=(*others, view))


def load(projects: Path, root: str) -> Resolved:
    """What is known of the project at `root`; without any view where nothing is.

    Nor where another directory has taken its place: what was made of that one says nothing of it.
    """
    found = load_key(projects, project_key(root))
    if found is None or found.root != root:
        return Resolved(root=root)
    if found.directory and identity_text(directory_of(root)) not in {"", found.directory}:
        return Resolved(root=root)
    return found


def load_key(projects: Path, key: str) -> Resolved | None:
    """What is known of the project of that key; None where nothing is.

    A damaged file counts as none: nothing is lost by it, the next `up` writes it anew.
    """
    return _read(projects / f"{key}.json")


def forget(projects: Path, root: str) -> bool:
    """Have a project no more, whether it is there or not; whether it was known.

    What was its view may be that of a program which says nothing (`forgotten`): so its record is
    set aside, until the view is collected.
    """
    path = projects / f"{project_key(root)}.json"
    with Alone(projects):
        record = load_key(projects, project_key(root))
        known = record is not None and record.root == root and bool(record.views)
        if known:
            path.replace(path.with_suffix(f".{os.urandom(4).hex()}{FORGOTTEN}"))
    return known


def forgotten(projects: Path) -> dict[Path, Resolved]:
    """What was known of projects that were forgotten, by the files that still say so."""
    found = ((path, _read(path)) for path in projects.glob(f"*{FORGOTTEN}"))
    return {path: known for path, known in found if known is not None}


def _read(path: Path) -> Resolved | None:
    try:
        fields = json.loads(path.read_bytes())
        root, directory = fields["root"], fields.get("directory", "")
        views = tuple(_view(**view) for view in fields["views"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(root, str) or not isinstance(directory, str):
        return None
    return Resolved(root=root, directory=directory, views=views)


def _view(
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    format: int = 0,  # noqa: A002 - the field's name
    choices: Sequence[str] | None = None,
    **fields: Any,  # noqa: ANN401 - from a file
) -> ResolvedView:
    if "python" in fields:  # as it was written before there were other kinds
        fields = {"kind": PYTHON, "variant": fields.pop("python"), **fields}
    return ResolvedView(
        extras=tuple(extras),
        groups=tuple(groups),
        format=format,
        choices=None if choices is None else tuple(choices),
        **fields,
    )


def save(projects: Path, resolved: Resolved) -> None:
    """Replace the project's file in one step."""
    views = map(to_json, resolved.views)
    data = project_record(json.dumps(resolved.root), resolved.directory, views)
    write_atomically(projects / f"{resolved.key}.json", data)
    of_python = (view.view for view in resolved.views if view.kind == PYTHON)
    standing.tell(projects.parent, resolved.key, of_python)


def to_json(view: ResolvedView) -> str:
    """One view as it stands in the file."""
    fields = asdict(view)
    if not view.beside:
        del fields["beside"]  # as it is without, so that what is compared with it stays the same
    return json.dumps(fields)
