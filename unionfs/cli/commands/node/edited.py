"""`add` and `remove` in a project of Node's: npm edits, and what fails changes nothing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from resolver.atomic import write_atomically
from resolver.failures import single_failure
from resolver.node.editing import edit
from unionfs.cli.asked import agree, refuse_untrusted
from unionfs.cli.progress import Display
from unionfs.kinds import NODE, link_of
from unionfs.publishing import link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from resolver.node.project import NodeProject
    from resolver.places import Places


@contextmanager
def edited(  # noqa: PLR0913 - what is asked for, by name
    places: Places,
    project: NodeProject,
    names: Sequence[str],
    *,
    removed: bool,
    dev: bool,
    here: Path,
    offline: bool,
    trust: bool,
    quiet: bool,
) -> Iterator[None]:
    """With the files edited; what fails within it brings them back.

    `here`: of which member, if it is below one's directory.
    """
    refuse_untrusted(project, trust=trust)
    agree(project, places.state)
    link.refuse_foreign(project.root / link_of(NODE), places)
    inside = next((one for one in project.members if here.is_relative_to(project.root / one)), "")
    with Display(quiet=quiet) as display, single_failure():
        display.locking(str(project.root))
        asked = partial(edit, removed=removed, dev=dev, inside=inside, places=places)
        found = trio.run(partial(asked, project, names, offline=offline))
    before = {path: path.read_bytes() if path.exists() else None for path in found}
    try:
        _write(found)
        yield
    except BaseException:
        _write({path: text for path, text in before.items() if text is not None})
        for path, text in before.items():
            if text is None:
                path.unlink(missing_ok=True)
        raise


def _write(files: Mapping[Path, bytes]) -> None:
    for path, text in files.items():
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        write_atomically(path, text)
        os.chmod(path, mode)  # noqa: PTH101 - as text
