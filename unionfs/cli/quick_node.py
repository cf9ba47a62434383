"""Node's part of `unionfs.cli.quick` and `unionfs.cli.quick_run`: what is as it should be.

A view of Node's leads to its project's own place, so a clone's is another one and has to be made:
what of it is known is found here (`resolver.node.clone`).
"""

from __future__ import annotations

import os

from resolver import remembered
from resolver.inputs import read_input
from resolver.naming import project_key
from resolver.node.clone import further_in, pattern_in
from resolver.node.start import MANIFEST, is_surely
from resolver.node.start import may_be as may_be  # noqa: PLC0414 - others have it from here
from resolver.node.start import situation as situation  # noqa: PLC0414 - the same
from resolver.ownership import faults, is_in_tree, parents
from unionfs.kinds import MEMBERS, NODE, UP, link_of, links, shown_of

TYPE_CHECKING = False
VARIABLE = "PKGVIEW_NODE_VIEW"
"""What names the view that `pkgview run` has for Node."""

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from resolver.node.clone import Pattern


def left_alone(root: str, places: dict[str, str]) -> str:
    """What is said of a node_modules of npm's own in a project of several kinds; "" of none."""
    path = f"{root}/{link_of(NODE)}"
    if os.path.islink(path) or not os.path.lexists(path) or not is_surely(root):
        return ""
    return "" if has_view(root, places) else stays(path, NODE)


def stays(path: object, kind: str) -> str:
    """What `up` says of a link's place that is not pkgview's, and that nobody asked for."""
    return (
        f"{path} is not pkgview's and stays as it is: `pkgview up --kind {kind} --force` sets it "
        "aside and links the view in its place."
    )


def has_view(root: str, places: dict[str, str]) -> bool:
    """Whether the project's record has a view of Node's."""
    path = f"{places['state']}/projects/{project_key(root)}.json"
    return os.path.lexists(path) and f'"kind": "{NODE}"'.encode() in read_input(path)


def is_below(root: str) -> bool:
    """Whether it may be a member of a project above."""
    return any(os.path.lexists(f"{at}/{MANIFEST}") for at in parents(root))


class Clone:
    """What is known of a clone that nobody has seen: what another one came to.

    `remark` is what `up` says of every one.
    """

    __slots__ = ("_found", "_further", "_pattern", "entry", "remark")

    def __init__(
        self,
        found: remembered.Situation,
        entry: remembered.Entry,
        pattern: Pattern,
        further: Sequence[str],
    ) -> None:
        self.entry = entry
        self.remark = pattern.remark
        self._found = found
        self._further = further
        self._pattern = pattern

    def made(self, places: dict[str, str]) -> remembered.Entry:
        """Its own view, and what is remembered of it; to be called as `publishing.clone.made`."""
        from unionfs.publishing.clone import made  # noqa: PLC0415 - nothing to do needs none of it

        return made(places, self._found, self.entry, self._pattern, self._further)


def clone(found: remembered.Situation, state: str, environ: Mapping[str, str]) -> Clone | None:
    """What is known of the bytes that were `found`; None where that is nothing."""
    root = found.directory
    entry = remembered.recall(state, found.anywhere)
    lines = further_in(entry.more) if entry is not None else []
    if lines:
        again = situation(root, state, environ, (), lines)
        if again is None or any(faults(again.holding, os.geteuid(), again.files)):
            return None
        found, entry = again, remembered.recall(state, again.anywhere)
    pattern = pattern_in(entry.more) if entry is not None else None
    if entry is None or pattern is None:
        return None
    return Clone(found, entry, pattern, lines or remembered.further(state, root, NODE))


def environment(commands: str, environ: Mapping[str, str]) -> dict[str, str]:
    """With the directory of a project's commands on PATH, and its view by name.

    By the name it is seen that it is in use, whatever the link leads to by then.
    """
    path = os.pathsep.join((commands, environ.get("PATH", os.defpath)))
    modules, named = os.path.dirname(commands), ""
    for link in (modules, f"{modules}/.pkgview"):  # neither is one in npm's own
        if os.path.islink(link):
            named = os.readlink(link).split("/views/")[-1].partition("/")[0]
            break
    return {**environ, "PATH": path, **({VARIABLE: named} if named else {})}


def is_linked(root: str, view: str, places: dict[str, str]) -> bool:
    """Whether all links of the project lead to that view, as they should."""
    return all(
        os.path.islink(path) and os.readlink(path) == f"{places['mount']}/views/{shown}"
        for path, shown in links_of(root, view, places).items()
    )


def links_of(root: str, view: str, places: dict[str, str]) -> dict[str, str]:
    """Where a link has to be, and what of `views` it shows (`unionfs.publishing.members`)."""
    manifest = read_input(f"{places['state']}/manifests/{view}.json")
    found = {}
    for path, shown in _links(root, manifest):
        directory = os.path.dirname(path)
        if os.path.isdir(directory):
            if directory != root and not _is_members(root, directory, places):
                raise ValueError(path)  # who makes members' links has something to say of it
            found[path] = f"{view}/{shown}"
    return found


def _is_members(root: str, directory: str, places: dict[str, str]) -> bool:
    """Whether it is in the project's tree, and in no other project there."""
    between = (directory, *parents(directory))
    between = between[: between.index(root)] if root in between else ()
    return is_in_tree(root, directory) and not any(has_view(one, places) for one in between)


def _links(root: str, manifest: bytes) -> Iterator[tuple[str, str]]:
    """Where a link has to be, and what of the view it shows (`unionfs.publishing.members`)."""
    yield f"{root}/{link_of(NODE)}", shown_of(link_of(NODE))
    called = links()
    for part in manifest.split(f'"{MEMBERS}/'.encode())[1:]:
        text = part.partition(b'"')[0].decode()
        if "\\" in text:
            raise ValueError(text)  # who reads JSON knows what it is
        names = text.split("/")
        end = next((at for at, name in enumerate(names) if name in called), len(names) - 1)
        inside = names[: end + 1]
        above = "/".join(".." if name == UP else name for name in inside)
        yield os.path.normpath(f"{root}/{above}"), f"{MEMBERS}/{'/'.join(inside)}"
