"""A change of several files that happens wholly or not at all."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from resolver.naming import project_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.python.project import PythonProject

_FILES = ("pyproject.toml", "uv.lock", "pylock.toml", "requirements.txt")


@contextmanager
def all_or_nothing(project: PythonProject, state: Path) -> Iterator[None]:
    """If this ends with any exception, every file that an edit touches is as it was before.

    The locks in the state too: what the failed resolution has found shall not be preferred later.
    """
    roots = (project.directory, *(path.parent for path in project.inputs if path.name == "uv.lock"))
    files = [root / name for root in dict.fromkeys(roots) for name in _FILES]
    locks = state / "locks" / project_key(str(project.root))
    with suppress(OSError):
        files += [path for path in locks.iterdir() if path.is_file()]
    before = {path: path.read_bytes() if path.is_file() else None for path in files}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)  # in its place: mode, owner and links stay
        raise
