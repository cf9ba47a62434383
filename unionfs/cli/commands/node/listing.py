"""`list`, `tree` and `outdated` of a project of Node's: npm answers, as uv does for Python's.

npm reads the lock of what is in node_modules, which the view has, and looks at nothing else.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.node.npm import npm
from resolver.places import Places
from resolver.running.session import run_session
from unionfs.cli import console
from unionfs.cli.commands.making import mount_now
from unionfs.kinds import NODE, link_of
from unionfs.publishing import link
from unionfs.view.opened import load_manifest, project_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.node.project import NodeProject


def listed(project: NodeProject, form: str) -> None:
    """Every version of every package that is in the view, as `list` has Python's."""
    places = Places.from_environ()
    manifest = load_manifest(places, project_view(places, project, kind=NODE))
    found = sorted({(layer.name, layer.version) for layer in manifest.layers if layer.name})
    if form == "json":
        console.as_json([{"name": name, "version": version} for name, version in found])
    elif form == "freeze":
        for name, version in found:
            console.answer(f"{name}@{version}")
    else:
        console.table(found, header=("Package", "Version"))


def tree(
    project: NodeProject, packages: Sequence[str], *, depth: int | None, as_json: bool
) -> None:
    """As `npm ls` has it."""
    words = ["ls", *packages]
    words += ["--all"] if depth is None else [f"--depth={depth}"]
    _answer(project, words, as_json=as_json, accepted=(0, 1))


def invert(project: NodeProject, packages: Sequence[str], *, as_json: bool) -> None:
    """What needs a package, as `npm explain` has it."""
    _answer(project, ["explain", *packages], as_json=as_json, accepted=(0,))


def outdated(project: NodeProject, *, as_json: bool) -> None:
    """As `npm outdated` has it, which asks the registry."""
    _answer(project, ["outdated"], as_json=as_json, accepted=(0, 1))


def _answer(
    project: NodeProject, words: Sequence[str], *, as_json: bool, accepted: Sequence[int]
) -> None:
    places = Places.from_environ()
    path = project.root / link_of(NODE)
    if not link.is_of(path, places):
        raise PkgviewError(
            f"{path} does not lead to a view",
            remedy=f"Run `pkgview up {shell_word(project.root)}`.",
        )
    mount_now(places)
    command = [npm(), *words, *(["--json"] if as_json else [])]
    environ = {**os.environ, "npm_config_update_notifier": "false", "npm_config_color": "false"}
    run = partial(run_session, command, cwd=project.root, environ=environ)
    code, stdout, stderr = trio.run(run)
    if code not in accepted or not stdout.strip():
        if code == 0:
            return
        raise PkgviewError(f"npm: {stderr.strip() or f'it exited with code {code}'}")
    if as_json:
        found: Any = json.loads(stdout)
        console.as_json(found)
        return
    for line in stdout.rstrip("\n").splitlines():
        console.answer(line)
