"""package.json edited by npm: what is added, in which range, and the lock that follows.

It is done in a copy (`resolver.node.scratch`); who asked writes the files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.node import scratch as copies
from resolver.node.locked import COPIES, LOCK
from resolver.node.npm import run_npm
from resolver.node.project import MANIFEST, SORTS, read_manifest
from resolver.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.node.project import NodeProject
    from resolver.places import Places


async def edit(  # noqa: PLR0913 - what is asked for, by name
    project: NodeProject,
    names: Sequence[str],
    *,
    removed: bool,
    dev: bool,
    inside: str,
    places: Places,
    offline: bool,
) -> dict[Path, bytes]:
    """The files that are otherwise then; `inside` is the member whose list it is, or "".

    A name may also be a directory's or a tarball's absolute path.
    """
    if removed:
        _refuse_unlisted(project, inside, names)
    else:
        _refuse_no_packages(names)
    with scratch(places.cache / "builds", COPIES) as within:
        root = copies.copy(project, within, [project.root / one for one in names if one[:1] == "/"])
        words = ["uninstall" if removed else "install", "--package-lock-only", "--ignore-scripts"]
        words += [] if removed else ["--save-dev" if dev else "--save"]
        words += [f"--workspace={inside}"] if inside else []
        asked = [_relative(one, project.root) if one[:1] == "/" else one for one in names]
        await run_npm(
            [*words, "--", *asked],
            cwd=root,
            doing=f"cannot edit {project.root / inside / MANIFEST}",
            offline=offline,
        )
        lock = project.lock.name if project.lock else LOCK
        files = [f"{inside}/{MANIFEST}" if inside else MANIFEST, lock]
        found = {project.root / one: read_input(root / one) for one in files}
        if any(bytes(within) in text for text in found.values()):
            raise PkgviewError("what npm made names places of its copy")
    return found


def _refuse_unlisted(project: NodeProject, inside: str, names: Sequence[str]) -> None:
    path = project.root / inside / MANIFEST
    manifest = read_manifest(path)
    listed = {name for sort in SORTS for name in manifest.get(sort) or ()}
    if missing := [name for name in names if name not in listed]:
        raise PkgviewError(
            f"{path} does not list {', '.join(missing)}",
            remedy="`pkgview why NAME` says who needs it.",
        )


def _refuse_no_packages(names: Sequence[str]) -> None:
    for one in names:
        if one[:1] == "/" and not (Path(one).is_file() or Path(one, MANIFEST).is_file()):
            raise PkgviewError(
                f"{os.path.normpath(one)} is no package",
                remedy=f"Name a directory with a {MANIFEST} in it, or a tarball.",
            )


def _relative(path: str, root: Path) -> str:
    return f"./{os.path.relpath(path, root)}"
