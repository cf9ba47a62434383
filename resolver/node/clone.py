"""What a project of Node's came to, as far as it is the same in every clone of it.

A view leads to its project's own place, by one layer of links (`unionfs.formats.node.placed`); all
else follows from bytes. So what the first clone came to is kept for all (`resolver.remembered`,
under a key without a place), with that layer's links as they are seen from the project.

Where more counts than files at fixed names (members of a workspace), what is kept for the bytes of
those says only where else to look, and the rest is kept for the bytes of all.

`pkgview up` imports this as it starts: it loads nothing that takes time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FURTHER, _PLACED = "further", "placed"


class Pattern:
    """What a clone does anew, and what is said of it.

    `archive` is the layer of links; `links` are these: where in the view, and where below the
    project they lead. `writable` are the directories for tools, below the project's own for that.
    """

    __slots__ = ("archive", "links", "remark", "writable")

    def __init__(
        self, archive: str, remark: str, writable: Sequence[str], links: Mapping[str, str]
    ) -> None:
        self.archive = archive
        self.remark = remark
        self.writable = list(writable)
        self.links = dict(links)

    def to_text(self) -> str:
        """One line, unless a path has a line's end."""
        pairs = [text for pair in self.links.items() for text in pair]
        said = (_PLACED, self.archive, self.remark, str(len(self.writable)))
        return "\0".join((*said, *self.writable, *pairs))


def pattern_in(text: str) -> Pattern | None:
    """What `to_text` wrote; None for anything else."""
    kind, *parts = text.split("\0")
    if kind != _PLACED:
        return None
    archive, remark, count, *rest = parts
    pairs = rest[int(count) :]
    links = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return Pattern(archive, remark, rest[: int(count)], links)


def further_text(lines: Sequence[str]) -> str:
    """What says where else to look: lines as `resolver.remembered.further_line` has them."""
    return "\0".join((_FURTHER, *lines))


def further_in(text: str) -> list[str]:
    """These lines; [] of anything else."""
    kind, *lines = text.split("\0")
    return lines if kind == _FURTHER else []
