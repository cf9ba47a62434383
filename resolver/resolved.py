"""What is known of a project: which view it has for which Python, and from which inputs.

One JSON file a project, in `<state>/projects/`, replaced atomically. It is what makes
`pkgview up` with nothing to do cheap, and where a binding finds a project's view.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.scratch import claim_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from resolver.manifest import ViewId

_VIEW = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedView:
    """One view of a project: for which `python`, and the `fingerprint` of all it follows from.

    `inputs` is the fingerprint of the project's inputs alone ("": not known), which tells whether
    they have changed since; `extras` and `groups` are those that were asked for besides. `unbuilt`:
    the project itself is in it as its files say, because nothing could be built.
    """

    python: str
    view: ViewId
    fingerprint: str
    inputs: str = ""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    unbuilt: bool = False

    def __post_init__(self) -> None:
        """`ValueError` for what no `up` has written: the fields come from a file."""
        fields = (
            *(self.python, self.view, self.fingerprint, self.inputs),
            *(*self.extras, *self.groups),
        )
        if not all(isinstance(text, str) for text in fields) or not _VIEW.fullmatch(self.view):
            raise ValueError(f"{fields} is no view of a project")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """All views of a project, the newest last. `root` is a directory, or a script's own path."""

    root: str
    views: tuple[ResolvedView, ...] = field(default=())

    @property
    def key(self) -> str:
        """The project's name under `projects/`: readable first, unambiguous last."""
        return project_key(self.root)

    def view_for(self, python: str | None) -> ResolvedView | None:
        """The view for that Python, else the newest, else None."""
        return self.exactly(python) or (self.views[-1] if self.views else None)

    def exactly(self, python: str | None) -> ResolvedView | None:
        """The view for that Python, or None."""
        return next((view for view in reversed(self.views) if view.python == python), None)

    def with_view(self, view: ResolvedView) -> Resolved:
        """The same project after `up`: one view a Python, the new one last."""
        others = tuple(old for old in self.views if old.python != view.python)
        return replace(self, views=(*others, view))


def project_key(root: str) -> str:
    """`<name>-<hash>`: the directory's (or script's) name and 40 bits of its path's SHA-256."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(root.rstrip("/"))) or "root"  # noqa: PTH119 - a string of another process, perhaps of no file here
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()
    return f"{name[:100]}-{digest[:10]}"


def load(projects: Path, root: str) -> Resolved:
    """What is known of the project at `root`; without any view where nothing is."""
    found = load_key(projects, project_key(root))
    return found if found is not None and found.root == root else Resolved(root=root)


def load_key(projects: Path, key: str) -> Resolved | None:
    """What is known of the project of that key; None where nothing is.

    A damaged file counts as none: nothing is lost by it, the next `up` writes it anew.
    """
    try:
        fields = json.loads((projects / f"{key}.json").read_bytes())
        root = fields["root"]
        views = tuple(_view(**view) for view in fields["views"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return Resolved(root=root, views=views) if isinstance(root, str) else None


def _view(*, extras: Sequence[str] = (), groups: Sequence[str] = (), **fields: Any) -> ResolvedView:  # noqa: ANN401 - from a file
    return ResolvedView(extras=tuple(extras), groups=tuple(groups), **fields)


def save(projects: Path, resolved: Resolved) -> None:
    """Replace the project's file in one step."""
    write_atomically(projects / f"{resolved.key}.json", json.dumps(asdict(resolved)).encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Temporary file in the same directory, fsync, rename, fsync of the directory.

    Temporaries that killed processes left there are removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, descriptor = claim_file(path.parent, ".tmp-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)  # still locked: nobody takes it for abandoned
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise PkgviewError(
            f"cannot write {path}: {error.strerror}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One process at a time below `directory`: two would each forget what the other wrote."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PkgviewError(
            f"cannot use {directory}: {error.strerror}",
            remedy="Make it writable, or set XDG_STATE_HOME to a directory that is.",
        ) from error
    try:
        with suppress(OSError):  # no locks on this file system: the file is still replaced whole
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
