"""A lock held to the hashes that its project states.

`uv pip compile` reads `--hash` and then locks every file the index has, mostly by SHA-256. Here the
lock is narrowed to the stated files, with pip's rule that one `--hash` means that all have to have
one. Where it knows nothing of the digests that are stated, it keeps them beside its own, and the
file is held to both when it comes (`resolver.fetch.wanted.Download.stated`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.python.hashes.stated import place_of
from resolver.python.requirements import normalised
from resolver.toml import key_text, parse, value_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from resolver.python.hashes.stated import Stated


def held(data: bytes, said: Stated, base: Path) -> tuple[bytes, list[str]]:
    """A pylock.toml with only those files that are stated, and what of it cannot be had at all.

    `base` is the directory that its paths are relative to. Where no file is known by the algorithms
    that are stated, or there is none of these hashes, the package says what is to be compared when
    it is chosen (`kept`): that may be on another machine, or never.
    """
    if not said.facts:
        return data, []
    document, faults = parse(data.decode()), []
    for package in document.get("packages", []):
        name = normalised(package["name"])
        archive = package.get("archive")
        place = "" if archive is None else str(archive.get("path") or archive.get("url") or "")
        stated = said.of(name, place and place_of(place, base))
        if stated is None and not said.required:
            continue
        hashes = sorted(stated or ())
        if not _narrow(package, frozenset(hashes)):
            package["tool"] = {**package.get("tool", {}), "pkgview": {"hashes": hashes}}
            if not _may_fit(package, hashes):
                named = f"{name} {package.get('version', '')}".strip()
                faults.append(fault(named, hashes, has_file="directory" not in package))
    return to_toml(document).encode(), faults


def refused(named: object, faults: Iterable[str]) -> PkgviewError:
    """The error for all that cannot be had of a project with hashes."""
    return PkgviewError(
        f"{named} pins hashes, and " + "; ".join(faults),
        remedy="Pin every requirement with the SHA-256 of its files: "
        "`uv pip compile --generate-hashes` writes them.",
    )


def fault(named: str, hashes: Collection[str], *, has_file: bool = True) -> str:
    """Why one distribution cannot be had."""
    if not has_file:
        return f"{named} is a directory, which has no hash"
    if not hashes:
        return f"{named} has no --hash"
    return f"no file of {named} has a hash of {', '.join(hashes)}"


def kept(tool: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...] | None:
    """Which hashes, (algorithm, hexadecimal), of which a package's file has to have one; None: any.

    `tool` is the package's table of that name. `ValueError` for what `held` has not written.
    """
    own = (tool or {}).get("pkgview")
    hashes = own.get("hashes") if isinstance(own, dict) else None
    if hashes is None:
        return None
    if not isinstance(hashes, list) or not all(isinstance(one, str) for one in hashes):
        raise ValueError(f"{hashes!r} are no hashes")
    return tuple((algorithm, digest) for algorithm, _, digest in (x.partition(":") for x in hashes))


def still_open(
    stated: Iterable[tuple[str, str]], known: Mapping[str, str]
) -> tuple[tuple[str, str], ...] | None:
    """Of the stated hashes, those that only the file itself can tell; None: it is another file.

    `known` are those that a lock has of it, in lower case; nothing is open where one is equal.
    """
    unknown = [(algorithm, digest) for algorithm, digest in stated if algorithm not in known]
    if any(known.get(algorithm) == digest for algorithm, digest in stated):
        return ()
    return tuple(unknown) or None


def _files(package: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    one = [package[key] for key in ("archive", "sdist") if key in package]
    return [*package.get("wheels", []), *one]


def _known(file: Mapping[str, Any]) -> dict[str, str]:
    return {kind: str(value).lower() for kind, value in file.get("hashes", {}).items()}


def _may_fit(package: Mapping[str, Any], hashes: Iterable[str]) -> bool:
    pairs = [(one.partition(":")[0], one.partition(":")[2]) for one in hashes]
    return any(still_open(pairs, _known(file)) for file in _files(package))


def _narrow(package: dict[str, Any], stated: frozenset[str]) -> bool:
    """Drop all but what has one of these hashes; False, and all stays, where nothing has."""

    def is_stated(file: Mapping[str, Any]) -> bool:
        return any(f"{kind}:{value}" in stated for kind, value in _known(file).items())

    if not any(map(is_stated, _files(package))):
        return False
    wheels = [wheel for wheel in package.pop("wheels", []) if is_stated(wheel)]
    if "sdist" in package and not is_stated(package["sdist"]):
        del package["sdist"]
    if wheels:
        package["wheels"] = wheels
    return True


def to_toml(document: Mapping[str, Any]) -> str:
    """A lock as TOML: plain values first, then `[[packages]]`, all that is inside them inline."""
    lines = [
        f"{key_text(key)} = {value_text(value)}\n"
        for key, value in document.items()
        if key != "packages"
    ]
    if not document.get("packages"):
        lines.append("packages = []\n")
    for package in document.get("packages", []):
        lines.append("\n[[packages]]\n")
        lines += [f"{key_text(key)} = {value_text(value)}\n" for key, value in package.items()]
    return "".join(lines)
