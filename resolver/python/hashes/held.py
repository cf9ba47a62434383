"""A lock held to the hashes that its project states.

`uv pip compile` reads `--hash` and then locks every file the index has, mostly by SHA-256. Here the
lock is narrowed to the stated files, with pip's rule that one `--hash` means that all have to have
one. Where it knows nothing of the digests that are stated, it keeps them beside its own, and the
file is held to both when it comes (`resolver.fetch.wanted.Download.stated`).

Where markers decide which hashes count, the lock is narrowed to what counts anywhere, and the
package keeps the lines: who selects from it holds it to those of one interpreter (`held_for`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.python.hashes.lines import Rank, Some, counting, read, written
from resolver.python.hashes.stated import place_of
from resolver.python.requirements import normalised
from resolver.toml import key_text, parse, value_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from packaging.pylock import Package, PackageArchive, PackageSdist, PackageWheel

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
        lines = said.of(name, place and place_of(place, base))
        lines = tuple(one for one in lines if one.is_of(str(package.get("version", ""))))
        if not lines and not said.required:
            continue
        named = f"{name} {package.get('version', '')}".strip()
        has_file = "directory" not in package
        if not any(one.marker for one in lines):
            hashes = sorted(counting(lines, named) or ())
            if not _narrow(package, frozenset(hashes)):
                _note(package, hashes=hashes)
                if not _may_fit(package, hashes):
                    faults.append(fault(named, hashes, has_file=has_file))
            continue
        nearest = min(one.rank for one in lines)
        wrong = [one for one in lines if one.rank == nearest and not _may_fit(package, one.hashes)]
        faults += (fault(named, sorted(one.hashes), has_file=has_file) for one in wrong)
        # Who is bound by none here may have any file: then no other is dropped.
        if said.required or not all(one.marker for one in lines):
            _narrow(package, frozenset().union(*(one.hashes for one in lines)))
        if said.required:
            lines += (Some(hashes=frozenset(), rank=Rank.NONE),)
        _note(package, lines=written(lines))
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


def _note(package: dict[str, Any], **said: object) -> None:
    package["tool"] = {**package.get("tool", {}), "pkgview": said}


def kept(package: Package, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...] | None:
    """Which hashes, (algorithm, hexadecimal), of which a package's file has to have one; None: any.

    `environment` has the values of markers. `ValueError` for what `held` has not written,
    `PkgviewError` where no file will do.
    """
    own = (package.tool or {}).get("pkgview")
    own = own if isinstance(own, dict) else {}
    if "lines" in own:
        lines = (one for one in read(own["lines"]) if one.holds(environment))
        found = counting(lines, f"{package.name} {package.version or ''}".rstrip())
        return None if found is None else _pairs(sorted(found))
    if (hashes := own.get("hashes")) is None:
        return None
    if not isinstance(hashes, list) or not all(isinstance(one, str) for one in hashes):
        raise ValueError(f"{hashes!r} are no hashes")
    return _pairs(hashes)


def _pairs(hashes: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((kind, digest) for kind, _, digest in (one.partition(":") for one in hashes))


def held_for(package: Package, environment: Mapping[str, str]) -> Package:
    """The package with only those files that are stated for one interpreter, if any is one.

    Else as it is: what is wrong is said of what is chosen.
    """
    stated: tuple[tuple[str, str], ...] | None = None
    with suppress(ValueError, PkgviewError):
        stated = kept(package, environment)

    def is_stated(file: PackageArchive | PackageSdist | PackageWheel) -> bool:
        return still_open(stated or (), _lower(file.hashes)) == ()

    wheels = [one for one in package.wheels or () if is_stated(one)]
    sdist = package.sdist if package.sdist and is_stated(package.sdist) else None
    if not (wheels or sdist):
        return package
    return replace(package, wheels=wheels or None, sdist=sdist)


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
    return _lower(file.get("hashes", {}))


def _lower(hashes: Mapping[str, Any]) -> dict[str, str]:
    return {kind: str(value).lower() for kind, value in hashes.items()}


def _may_fit(package: Mapping[str, Any], hashes: Iterable[str]) -> bool:
    pairs = _pairs(hashes)
    return any(still_open(pairs, _known(file)) is not None for file in _files(package))


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
