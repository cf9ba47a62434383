"""Which packages' install scripts a project allows, in the words of the package managers.

The first of these that says anything counts:

* `allowScripts` of package.json, npm's (npm-approve-scripts(1)): packages to true or false. A name
  stands for all versions, `name@1.0.0` and `name@1.0.0 || 1.0.1` for those, an address for what
  comes from there. false wins. Ranges and tags count for nothing, as for npm.
* `allow-scripts` of npm's settings: a list of the same.
* `pnpm.onlyBuiltDependencies` (and `ignoredBuiltDependencies`, `neverBuiltDependencies`), pnpm's,
  and `trustedDependencies`, Bun's, of package.json: lists of the same.

Who a package is the lock says, by the address in its registry: what a tarball says of itself would
let any package pass for another. What comes bundled in another is never run, as by npm.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from resolver.fetch.addresses import belongs, canonical
from resolver.node.npmrc import REGISTRY
from resolver.node.semver import satisfies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.node.lock import Entry
    from resolver.node.npmrc import Settings

_NAMED = re.compile(r"((?:@[^/@\s]+/)?[^/@:\s]+)(?:@([^/:]*))?")
_EXACT = re.compile(r"[v=\s]*\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?\s*")
_PART = r"[^/@?#;%\\\s]+"
_TARBALL = re.compile(
    rf"https?://[^/?#\\]+/((?:[^@?#;%\\\s]*/)?)((?:@{_PART}/)?({_PART}))/-/({_PART})\.(?:tgz|tar\.gz)"
)
"""Of the path alone, and of one that all servers read alike: what comes after `?` or `;`, or is
escaped twice, makes another address to some."""
_STEPS = {".", "..", "-"}
"""What no registry's own path has: `-` is before a tarball's name."""

_GITHUB = re.compile(r"(?:github:)?([A-Za-z0-9-]+/[\w.-]+)(#[0-9a-f]+)?")

_LISTS = (
    ("onlyBuiltDependencies", True),
    ("ignoredBuiltDependencies", False),
    ("neverBuiltDependencies", False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What is allowed (True) and denied, each as it is written. `passed_over`: what says nothing.

    `never`: npm's setting `ignore-scripts` is on, and nothing is run.
    """

    entries: Mapping[str, bool]
    settings: Settings
    never: bool = False

    @property
    def asked_for(self) -> list[str]:
        """What is allowed, sorted."""
        return sorted(key for key, value in self.entries.items() if value)

    @property
    def passed_over(self) -> list[str]:
        """What says nothing: ranges, tags."""
        return sorted(
            key for key in self.entries if not _is_address(key) and _versions(key) is None
        )

    def of(self, entry: Entry) -> bool | None:
        """Whether what lies there may run its scripts; None where nobody said."""
        if self.never or entry.bundled or entry.link:
            return False if self.never else None
        said = {value for key, value in self.entries.items() if self._means(key, entry)}
        return False if False in said else True if said else None

    def _means(self, key: str, entry: Entry) -> bool:
        if _is_address(key):
            return _is_at(entry.resolved, key)
        versions, who = _versions(key), self.who(entry)
        if versions is None or who is None or who[0] != versions[0]:
            return False
        return not versions[1] or any(satisfies(who[1], one) for one in versions[1])

    def who(self, entry: Entry) -> tuple[str, str] | None:
        """Name and version in a registry of the user's; None for what comes from elsewhere."""
        if not entry.resolved:
            return entry.package, entry.version
        found = _TARBALL.fullmatch(unquote(entry.resolved.partition("#")[0]))
        if found is None or not found[4].startswith(f"{found[3]}-"):
            return None
        if not _STEPS.isdisjoint(found[1].split("/")):
            return None
        places = {canonical(self.settings.registry_of(found[2])), canonical(REGISTRY)}
        if not belongs(entry.resolved, places):
            return None
        return found[2], found[4].removeprefix(f"{found[3]}-")


def allowed(manifest: Mapping[str, Any], settings: Settings, root: Path) -> Allowed:
    """Of the project at `root`, with that package.json."""
    said = _said(manifest, settings)
    return Allowed(
        entries={_as_in_lock(key, root): value for key, value in said.items()}, settings=settings,
        never=settings.says("ignore-scripts"),
    )  # fmt: skip


def _said(manifest: Mapping[str, Any], settings: Settings) -> dict[str, bool]:
    own = manifest.get("allowScripts")
    if isinstance(own, dict) and own:
        return {key: value for key, value in own.items() if isinstance(value, bool)}
    if listed := settings.values.get("allow-scripts", "").replace(",", " ").split():
        return dict.fromkeys(listed, True)
    found = dict.fromkeys(_texts(manifest.get("trustedDependencies")), True)
    pnpm = manifest.get("pnpm")
    pnpm = pnpm if isinstance(pnpm, dict) else {}
    for name, value in _LISTS:
        found |= dict.fromkeys(_texts(pnpm.get(name)), value)
    return found


def _as_in_lock(key: str, root: Path) -> str:
    """A file's key as the lock names it, from the root. `npm approve-scripts` has it whole."""
    if not key.startswith("file:"):
        return key
    return f"file:{os.path.relpath(root / key.removeprefix('file:'), root)}"


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - from a file
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _is_address(key: str) -> bool:
    return ":" in key or _NAMED.fullmatch(key) is None


def _versions(key: str) -> tuple[str, list[str]] | None:
    """A name and the versions, [] for all; None for what is neither."""
    found = _NAMED.fullmatch(key)
    if found is None:
        return None
    if (found[2] or "*").strip() == "*":
        return found[1], []
    versions = [one.strip() for one in found[2].split("||")]
    return (found[1], versions) if all(map(_EXACT.fullmatch, versions)) else None


def _is_at(resolved: str, key: str) -> bool:
    """Whether an address of the lock is what a key names: that commit, or any of a repository."""
    github = _GITHUB.fullmatch(key)
    if github is not None:
        key = f"git+ssh://git@github.com/{github[1].removesuffix('.git')}.git{github[2] or ''}"
    place, _, commit = key.partition("#")
    there, _, at = resolved.partition("#")
    if there.startswith("git"):
        return place in {there, f"git+{there}"} and at.startswith(commit)
    return bool(resolved) and key == resolved
