"""A lock compared with what the project's files ask for now. Pure.

A `pylock.toml` does not say what it was made from: what counts is whether it holds a version that
will do for each requirement. A `uv.lock` does say it, for each member of its workspace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from resolver.python.requirements import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from resolver.python.declared.files import Declared

_ELSEWHERE = ("editable", "virtual", "directory", "path", "git", "url")
"""What uv writes of a requirement that no index is asked for, instead of a specifier."""


def versions(document: Mapping[str, Any]) -> dict[str, str]:
    """The versions that a pylock.toml has; of several of one name, the last."""
    return {
        normalised(str(one["name"])): str(one.get("version") or "?")
        for one in _packages(document, "packages")
        if "name" in one
    }


def locked_versions(document: Mapping[str, Any]) -> dict[str, set[str]]:
    """The versions that a uv.lock has of each name; of what only its files know there is none."""
    found: dict[str, set[str]] = {}
    for one in _packages(document, "package"):
        if "version" in one:
            found.setdefault(normalised(str(one.get("name", ""))), set()).add(str(one["version"]))
    return found


def lacking(
    document: Mapping[str, Any], wanted: Declared, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """What a pylock.toml does not have of what is wanted here, each such as "rich>=14".

    Of extras and groups those count that the lock says it has.
    """
    held: dict[str, list[str]] = {}
    for package in _packages(document, "packages"):
        name = normalised(str(package.get("name", "")))
        held.setdefault(name, []).append(str(package.get("version") or ""))
    offered = {key: _names(document.get(key)) for key in ("extras", "dependency-groups")}
    asked = list(wanted.dependencies)
    asked += (one for name in offered["extras"] for one in wanted.extras.get(name, ()))
    asked += (one for name in offered["dependency-groups"] for one in wanted.groups.get(name, ()))
    return tuple(
        dict.fromkeys(
            f"{one.name}{one.specifier}"
            for one in map(_requirement, asked)
            if one is not None
            and (one.marker is None or one.marker.evaluate({**environment, "extra": ""}))
            and not any(_fits(one, version) for version in held.get(normalised(one.name), ()))
        )
    )


def recorded(document: Mapping[str, Any], directory: str) -> frozenset[_Asked] | None:
    """What a uv.lock says that it was made from, of the member at that relative directory."""
    for package in _packages(document, "package"):
        source, metadata = package.get("source"), package.get("metadata")
        if not isinstance(source, dict) or directory not in source.values():
            continue
        if not isinstance(metadata, dict):
            return frozenset()
        groups = metadata.get("requires-dev")
        listed = [metadata.get("requires-dist")]
        listed += groups.values() if isinstance(groups, dict) else ()
        return frozenset(_as_recorded(one) for several in listed for one in _tables(several))
    return None


def recorded_of_script(document: Mapping[str, Any]) -> frozenset[_Asked]:
    """The same of the lock of a script (`uv lock --script`)."""
    manifest = document.get("manifest")
    listed = manifest.get("requirements") if isinstance(manifest, dict) else None
    return frozenset(_as_recorded(one) for one in _tables(listed))


def differing(wanted: Declared, made_from: frozenset[_Asked]) -> tuple[str, ...]:
    """What is asked for otherwise than a uv.lock was made from: "rich>=14", "six no more"."""
    asked = {
        _Asked(normalised(one.name), "" if one.url else str(one.specifier))
        for one in map(_requirement, wanted.all)
        if one is not None
    }
    # A source from somewhere else takes the place of what the specifier says.
    elsewhere = {one.name for one in made_from if one.specifier is None}
    asked = {one for one in asked if one.name not in elsewhere} | {
        _Asked(one.name, None) for one in asked if one.name in elsewhere
    }
    new = sorted(f"{one.name}{one.specifier or ''}" for one in asked - made_from)
    gone = {one.name for one in made_from} - {one.name for one in asked}
    return (*new, *(f"{name} no more" for name in sorted(gone)))


class _Asked(NamedTuple):
    """One requirement; the specifier is None where it is from no index."""

    name: str
    specifier: str | None


def _as_recorded(entry: Mapping[str, Any]) -> _Asked:
    name = normalised(str(entry.get("name", "")))
    if any(key in entry for key in _ELSEWHERE):
        return _Asked(name, None)
    try:
        return _Asked(name, str(SpecifierSet(str(entry.get("specifier", "")))))
    except InvalidSpecifier:
        return _Asked(name, str(entry.get("specifier")))


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except (InvalidRequirement, RecursionError):
        return None  # a path, say: which distribution that is only its own files tell


def _fits(requirement: Requirement, version: str) -> bool:
    if requirement.url or not version:
        return True
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _packages(document: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    return _tables(document.get(key))


def _tables(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _names(value: object) -> Iterable[str]:
    listed = value if isinstance(value, list) else ()
    return [normalised(one) for one in listed if isinstance(one, str)]
