"""`list`, `tree` and `outdated` of a project of Node's: npm answers, as uv does for Python's.

npm reads the lock of what is in node_modules, which the view has, and looks at nothing else. To
look is no yes to what a project sets: `list` and `tree` ask nobody and use no settings of anybody's
that name an address or a place, and `outdated` asks only with those that its user agreed to.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.node.choices import own_choices
from resolver.node.npm import npm, plain_environ
from resolver.node.start import PREFIX, settings_files
from resolver.places import Places
from resolver.project import trust
from resolver.running.session import run_session
from unionfs.cli import console
from unionfs.cli.asked import refuse_untrusted
from unionfs.cli.commands.making import mount_now
from unionfs.cli.inside import inside
from unionfs.kinds import NODE, link_of
from unionfs.publishing import link, mountable
from unionfs.publishing.members import mounts_of
from unionfs.view.opened import load_manifest, project_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.node.project import NodeProject
    from unionfs.namespaces.private import Bind


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
    _answer(project, words, as_json=as_json, accepted=(0, 1), offline=True)


def invert(project: NodeProject, packages: Sequence[str], *, as_json: bool) -> None:
    """What needs a package, as `npm explain` has it."""
    _answer(project, ["explain", *packages], as_json=as_json, accepted=(0,), offline=True)


def outdated(project: NodeProject, *, as_json: bool, offline: bool) -> None:
    """As `npm outdated` has it, which asks the registry; `PkgviewError` for one not agreed to."""
    refuse_untrusted(project, trust=False)
    if new := sorted(trust.not_agreed(project, Places.from_environ().state, own_choices(project))):
        named = "".join(f"\n  {one}" for one in new)
        raise PkgviewError(
            f"you have not allowed {project.root} to{named}",
            remedy=f"To allow it: `pkgview trust {shell_word(project.root)}`.",
        )
    _answer(project, ["outdated"], as_json=as_json, accepted=(0, 1), offline=offline)


def _answer(
    project: NodeProject,
    words: Sequence[str],
    *,
    as_json: bool,
    accepted: Sequence[int],
    offline: bool,
) -> None:
    places = Places.from_environ()
    path = project.root / link_of(NODE)
    if not link.is_of(path, places):
        raise PkgviewError(
            f"{path} does not lead to a view",
            remedy=f"Run `pkgview up {shell_word(project.root)}`.",
        )
    mount_now(places)
    # npm takes packages that are reached through links for projects of their own.
    mounts: tuple[Bind, ...] = ()
    if mountable.is_mountable(path):
        manifest = load_manifest(places, project_view(places, project, kind=NODE))
        mounts = mounts_of(project.root, places, manifest)
    program = npm(f"cannot list the packages of {project.root}")
    command = inside(mounts, [program, *words, *(["--json"] if as_json else [])])
    environ = _environ(places, settings="outdated" in words[:1], offline=offline)
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


def _environ(places: Places, *, settings: bool, offline: bool) -> dict[str, str]:
    """Variables, which count more than a project's files: where npm reads and writes is not theirs.

    Without `settings` not even the user's own are read.
    """
    user, *installed = settings_files(os.environ)
    cache = str(places.cache / "npm")
    said = {
        "update_notifier": "false",
        "color": "false",
        "ignore_scripts": "true",
        "global": "false",
        "location": "project",
        "git": "git",
        "cache": cache,
        "logs_dir": f"{cache}/_logs",
        "logs_max": "0",
        "userconfig": user if settings else f"{cache}/none",
        "globalconfig": next(filter(os.path.isfile, installed if settings else ()), os.devnull),
        "offline": "true" if offline else "false",
    }
    names = {f"{PREFIX}{name}" for name in said}
    environ = {
        name: value
        for name, value in plain_environ().items()
        if name.lower() not in names and (settings or not name.lower().startswith(PREFIX))
    }
    return environ | {f"{PREFIX}{name}": value for name, value in said.items()}
