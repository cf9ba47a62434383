"""What the user asked for, of a project of Node's."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from resolver.node.start import FORMAT
from resolver.node.unpinned import unpinned_state
from resolver.project.project import fingerprint
from unionfs.formats.kind import Wish

if TYPE_CHECKING:
    from resolver.node.machine import Machine
    from resolver.node.project import NodeProject
    from resolver.project.resolved import ResolvedView


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWish(Wish):
    """`omit`: sorts of dependencies that are left out ("dev", "optional", "peer").

    None: those that npm's settings leave out.
    """

    project: NodeProject
    omit: tuple[str, ...] | None = None

    def fingerprint(
        self, machine: Machine, omitted: frozenset[str], scripts: tuple[object, ...] = ("", False)
    ) -> str:
        """Equal as long as the same view would come out, newer releases aside.

        `scripts`: what npm's settings say of install scripts, and what these are run with.
        """
        return fingerprint(
            self.project,
            FORMAT,
            machine.os,
            machine.cpu,
            machine.libc,
            machine.node,
            *sorted(omitted),
            *map(str, scripts),
            *(["mounted"] if self.project.mounted else []),
            *unpinned_state(self.project),
        )


def again(project: NodeProject, view: ResolvedView) -> NodeWish:
    """The wish from which a view was made: with the same left out."""
    omit = tuple(one.removeprefix("-") for one in view.groups)
    return NodeWish(project=project, omit=omit or None)


def of_node(wish: Wish, **wishes: Any) -> NodeWish:  # noqa: ANN401 - as `NodeWish` has them
    """A plain wish, with those that only Node has."""
    common = {one.name: getattr(wish, one.name) for one in fields(Wish)}
    return NodeWish(**common, **wishes)
