"""Where npm makes a lock: a copy of what it reads, so that nothing of the project is half written.

The copy has the places of the real files below a directory of its own, so that `file:../lib` leads
to the copy of that. Of the settings npm gets those that say how a lock is made and from where; what
names programs, or places of npm's own, is a stranger's to say and is left out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.inputs import read_input, read_text
from resolver.node import npmrc
from resolver.node.lock import NAMES
from resolver.node.project import MANIFEST, SORTS, read_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from resolver.node.project import NodeProject

_COUNTS = re.compile(
    r"//|@[^:]+:registry$|registry$|replace-registry-host$|omit-lockfile-registry-resolved$"
    r"|(ca|cafile|cert|key|strict-ssl|proxy|https-proxy|noproxy|no-proxy|local-address)(\[\])?$"
    r"|(legacy-peer-deps|strict-peer-deps|install-strategy|install-links|prefer-dedupe)$"
    r"|(legacy-bundling|global-style|lockfile-version|engine-strict|before|min-release-age)$"
    r"|(force|workspaces|fetch-.*|maxsockets|allow-(file|directory|git|remote))(\[\])?$"
)


def copy(project: NodeProject, within: Path, more: Sequence[Path] = ()) -> Path:
    """Copy what npm reads, and `more` directories or tarballs; the directory where it is to run."""
    root = _at(within, project.root)
    for inside in ("", *project.members):
        source = project.root / inside
        target = _at(within, source)
        target.mkdir(parents=True, exist_ok=True)
        (target / MANIFEST).write_bytes(read_input(source / MANIFEST))
        _link_tarballs(read_manifest(source / MANIFEST), source, target)
    for path in more:
        target = _at(within, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.symlink_to(path)
        elif (path / MANIFEST).is_file():
            target.mkdir(exist_ok=True)
            (target / MANIFEST).write_bytes(read_input(path / MANIFEST))
    for name in NAMES:
        if (project.root / name).is_file():
            (root / name).write_bytes(read_input(project.root / name))
    settings = project.root / npmrc.NAME
    if settings.is_file():
        (root / npmrc.NAME).write_text("".join(_counting(settings)))
    return root


def take_out(lock: Path, places: Collection[str]) -> None:
    """Take what a copied lock has at these places out of it, and what lies below."""
    data = json.loads(read_input(lock).decode("utf-8-sig"))
    data["packages"] = {
        place: entry
        for place, entry in data["packages"].items()
        if not any(f"{place}/".startswith(f"{one}/") for one in places)
    }
    lock.write_text(json.dumps(data, indent=2))


def _at(within: Path, path: Path) -> Path:
    """Where the copy of a place is."""
    return within.joinpath(*path.resolve().parts[1:])


def _link_tarballs(manifest: Mapping[str, Any], source: Path, target: Path) -> None:
    for sort in SORTS:
        listed = manifest.get(sort)
        for wanted in listed.values() if isinstance(listed, dict) else ():
            if not isinstance(wanted, str) or not wanted.startswith("file:"):
                continue
            named = wanted.removeprefix("file:")
            if named.startswith(("/", "~")):
                raise PkgviewError(
                    f"{source / MANIFEST} names {wanted}: a copy's lock would lead elsewhere",
                    remedy="Name it by a relative path, or make the lock yourself: `npm install "
                    "--package-lock-only`.",
                )
            real, place = (source / named).resolve(), (target / named)
            if real.is_file() and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(real)


def counts(key: str) -> bool:
    """Whether npm gets to know that setting of a project."""
    return _COUNTS.match(key) is not None


def _counting(settings: Path) -> Iterator[str]:
    for key, value in npmrc.lines(read_text(settings)):
        if counts(key):
            yield f"{key}={_absolute(key, value, settings.parent)}\n"


def _absolute(key: str, value: str, directory: Path) -> str:
    """A file that is named relative to the project is found from the copy, too."""
    if key == "cafile" and value and not value.startswith(("/", "~", "$")):
        return str(directory / value)
    return value
