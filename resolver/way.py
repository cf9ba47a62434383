"""Who could lead a path elsewhere: by a directory on the way to it, or by a link.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

from resolver.ownership import on_the_way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from resolver.ownership import Fault


def way_faults(path: str, uid: int, mounted: Container[str] = ()) -> Iterator[Fault]:
    """`on_the_way` to where something is mounted, or will be.

    In a user namespace root outside and strangers look the same, and their ownership passes.
    """
    for fault in on_the_way(path, uid, mounted):
        if fault.kind != "owner" or not _is_unmapped(fault.who):
            yield fault


def _is_unmapped(uid: int) -> bool:
    """Whether that is whom a user namespace calls everybody else, root outside of it included."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            nobody = int(file.read())
        with open("/proc/self/uid_map", encoding="ascii") as file:
            everybody = file.read().split() == ["0", "0", str(2**32 - 1)]
    except (OSError, ValueError):
        return False
    return uid == nobody and not everybody
