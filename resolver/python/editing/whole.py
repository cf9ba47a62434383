"""A change of several files that happens wholly or not at all, one after the other.

Two edits at once would each write what they have read before the other wrote, and what one of them
takes back might be the other's. Those of one uv workspace have one lock, so they wait, too.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import Alone
from resolver.naming import project_key
from resolver.python.lockfile import WAIT_LIMIT
from resolver.python.project import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.project import PythonProject

_FILES = ("pyproject.toml", "uv.lock", "pylock.toml", "requirements.txt")


@contextmanager
def all_or_nothing(project: PythonProject, state: Path) -> Iterator[None]:
    """If this ends with any exception, every file that an edit touches is as it was before.

    The locks in the state too: what the failed resolution has found shall not be preferred later.
    Waits while another one edits the project; `PkgviewError` if that takes too long.
    """
    if project.origin is Origin.SCRIPT:
        roots = [project.root]
        files = [project.root, Path(f"{project.root}.lock")]
    else:
        roots = [path.parent for path in project.inputs if path.name == "uv.lock"]
        roots = list(dict.fromkeys((project.directory, *roots)))
        files = [root / name for root in roots for name in _FILES]
    with Alone(state / "locks" / project_key(str(roots[-1])) / "editing", WAIT_LIMIT):
        yield from _all_or_nothing(files, state / "locks" / project_key(str(project.root)))


def _all_or_nothing(files: list[Path], locks: Path) -> Iterator[None]:
    with suppress(OSError):
        files += [path for path in locks.iterdir() if path.is_file()]
    before = {path: path.read_bytes() if path.is_file() else None for path in files}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                if path.exists():  # else nothing is asked of a directory that may be read-only
                    path.unlink()
            elif not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)  # in its place: mode, owner and links stay
        raise
