"""What `pkgview up` says of a view's packages: their install scripts, and which Node they want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.node.project import MANIFEST, read_manifest
from resolver.node.tree import others_node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from resolver.node.allowed import Allowed
    from resolver.node.machine import Machine
    from resolver.node.npmrc import Settings
    from resolver.node.project import NodeProject
    from resolver.node.selection import Selection

_NAMED = 8
"""Packages that are named."""


_OWN = ("preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare")
"""Scripts of a project's own that npm runs after it has installed (npm-scripts(7))."""


def said_of_scripts(project: NodeProject, selection: Selection, policy: Allowed) -> str:
    """Whose were not run, and what to do where that was not wanted; "" where there are none."""
    titles = {
        entry.title: entry.bundled
        for entry in selection.kept.values()
        if entry.has_script and not entry.link and (policy.never or policy.of(entry) is None)
    }
    said = []
    if policy.entries and (odd := policy.passed_over):
        said.append(
            f"No version of a package: {', '.join(odd)} in allowScripts; it allows nothing."
        )
    if titles:
        said.append(f"Install scripts were not run: {_named(titles)}.")
        if policy.never:
            said.append("npm's setting ignore-scripts is on.")
        elif not all(titles.values()):
            said.append(
                "Where one is needed: `npm approve-scripts NAME` (allowScripts in package.json), "
                "and `pkgview up`."
            )
    said += _said_of_own(project, selection)
    return " ".join(said)


def _said_of_own(project: NodeProject, selection: Selection) -> Iterator[str]:
    """The same of the project's scripts, and those of directories that it has links to."""
    if found := _own_scripts(project.manifest):
        runs = " && ".join(f"npm run {name}" for name in found)
        yield f"The project's own {', '.join(found)} was not run: `{runs}`."
    linked = {one.resolved.removeprefix("./") for one in selection.kept.values() if one.link}
    members = {
        one: found
        for one in sorted(linked.intersection(project.members))
        if (found := _own_scripts(read_manifest(project.root / one / MANIFEST)))
    }
    for member, names in list(members.items())[:1]:
        runs = f"npm run {names[0]} --prefix {shell_word(member)}"
        yield f"Own scripts of {_named(members)} were not run, such as `{runs}`."


def _own_scripts(manifest: Mapping[str, Any]) -> list[str]:
    own = manifest.get("scripts")
    return [name for name in _OWN if isinstance(own, dict) and own.get(name)]


def said_of_engines(selection: Selection, machine: Machine, settings: Settings) -> str:
    """Which packages are for another Node; `PkgviewError` where that is not to be."""
    others = others_node(selection.kept.values(), machine)
    if not others:
        return ""
    said = f"For another Node than {machine.node}: {_named(set(others))}"
    if settings.says("engine-strict"):
        raise PkgviewError(said, remedy="Use that Node, or do without npm's engine-strict.")
    return f"{said}."


def _named(titles: Collection[str]) -> str:
    named = sorted(titles)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more
