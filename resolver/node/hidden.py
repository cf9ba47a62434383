"""The files that npm itself puts into node_modules: commands, and the lock of what is there.

`.package-lock.json` is what npm writes after an install, byte for byte: who has it need not look at
every package. It counts for npm only as long as no directory is newer (`assertNoNewer` of npm's
arborist).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resolver.node.lock import Entry, Lock

_FIRST = (
    *("name", "version", "lockfileVersion", "resolved", "integrity", "requires", "packages"),
    "dependencies",
)
"""Keys that come first in a lock, in this order."""

_KEYS = frozenset({
    "name", "version", "dependencies", "peerDependencies", "peerDependenciesMeta",
    "optionalDependencies", "bundleDependencies", "acceptDependencies", "funding", "engines", "os",
    "cpu", "libc", "license", "hasShrinkwrap", "hasInstallScript", "bin", "deprecated",
    "workspaces", "integrity", "inBundle", "resolved", "link", "extraneous", "peer", "dev",
    "optional", "devOptional", "devDependencies",
})  # fmt: skip
"""Keys of an entry that npm knows."""

_ORDER = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
"""How npm sorts (`localeCompare`, English): marks, digits, letters, the small one of each first."""

_RANKS = {ord(letter): rank for rank, letter in enumerate(_ORDER)}


def hidden_lock(lock: Lock, kept: Mapping[str, Entry]) -> bytes:
    """The content of `.package-lock.json`."""
    linked = {one.resolved.removeprefix("./") for one in kept.values() if one.link}
    packages = {
        place: {key: value for key, value in entry.raw.items() if key in _KEYS and _says(value)}
        for place, entry in lock.entries.items()
        if place in kept or (place in linked and not entry.is_package)
    }
    plain = {
        key: value for key, value in lock.raw.items() if key not in {"packages", "dependencies"}
    }
    whole = {**plain, "lockfileVersion": 3, "requires": True, "packages": packages}
    try:
        text = json.dumps(_sorted(whole), indent=lock.indent, ensure_ascii=False)
    except RecursionError as error:
        raise PkgviewError(
            f"{lock.path} holds lists within lists without an end", remedy="Mend it."
        ) from error
    return f"{text}\n".encode("utf-8", "surrogatepass")


def _says(value: Any) -> bool:  # noqa: ANN401 - as in the lock
    """Whether npm writes it down."""
    return bool(value)


def _sorted(value: Any) -> Any:  # noqa: ANN401 - JSON
    """As npm writes JSON: what is no object comes before what is one."""
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    if not isinstance(value, dict):
        return value

    def rank(item: tuple[str, Any]) -> tuple[Any, ...]:
        key, inner = item
        first = _FIRST.index(key) if key in _FIRST else len(_FIRST)
        return (isinstance(inner, dict), first, *collated(key))

    return {key: _sorted(inner) for key, inner in sorted(value.items(), key=rank)}


def collated(text: str) -> tuple[str, str]:
    """By which npm orders texts."""
    return text.lower().translate(_RANKS), text.swapcase()


def bins(kept: Mapping[str, Entry], lock: Lock) -> Iterator[tuple[str, str, str]]:
    """(what a node_modules lies below, command, place of its package), each command there once.

    Of several packages that bring a command the one that npm comes to first: the least deep, then
    by the names; links, which have the commands of what they lead to, last.
    """
    done: set[tuple[str, str]] = set()

    def order(place: str) -> tuple[Any, ...]:
        entry = kept[place]
        return (entry.link, place.count("node_modules/"), *collated(place))

    for place in sorted(kept, key=order):
        entry = kept[place]
        source = lock.entries.get(entry.resolved.removeprefix("./")) if entry.link else entry
        for command in source.bins if source is not None else ():
            if (entry.parent, command) not in done:
                done.add((entry.parent, command))
                yield entry.parent, command, place
