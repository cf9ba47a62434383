"""What a project chooses itself, beyond packages of the registry that its user has set.

Its own `.npmrc` may name other registries, tokens and variables of the environment; its lock may
name other addresses, git repositories, and directories outside. None of that is for a look: who
asks for the project by a command has said yes to what is listed here (`resolver.project.trust`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import belongs, canonical, without_userinfo
from resolver.inputs import read_input, read_text
from resolver.node import npmrc
from resolver.node.allowed import allowed
from resolver.node.lock import read
from resolver.node.scratch import counts
from resolver.project.phrase import phrase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.node.project import NodeProject


def own_choices(project: NodeProject) -> frozenset[str]:
    """Each as an infinitive; empty for most projects. `PkgviewError` where it cannot be read."""
    settings = project.root / npmrc.NAME
    found = set(_of_settings(settings)) if settings.is_file() else set()
    plain = npmrc.settings(project.root)
    found |= {
        f"run the install scripts of {one}"
        for one in allowed(project.manifest, plain, project.root).asked_for
    }
    if project.lock is not None:
        found |= set(_of_lock(project.lock))
    return frozenset(map(phrase, found))


def _of_settings(path: Path) -> Iterator[str]:
    text = read_text(path)
    for name in sorted(npmrc.variables(text)):
        yield f"put the variable {name} of your environment into settings of npm's"
    for key, value in npmrc.lines(text):
        if key == "registry" or key.endswith(":registry"):
            yield f"use the registry {without_userinfo(value)} ({key})"
        elif npmrc.is_secret(key):
            place = key.rpartition(":")[0]
            yield f"log in to {place} with what its .npmrc says"
        elif counts(key) and key not in _HARMLESS:
            yield f"have npm's setting {key} = {without_userinfo(value)}"


_HARMLESS = frozenset({
    "legacy-peer-deps", "strict-peer-deps", "install-strategy", "prefer-dedupe", "lockfile-version",
    "engine-strict", "fetch-retries", "fetch-timeout", "maxsockets",
})  # fmt: skip


def _of_lock(path: Path) -> Iterator[str]:
    """Addresses that belong to no registry of the user's own settings; places outside."""
    own = npmrc.settings(None)
    places = {canonical(one) for one in (*own.registries.values(), npmrc.REGISTRY)} - {""}
    with suppress(PkgviewError):  # who reads it to use it says what is wrong
        for entry in read(path, read_input(path)).entries.values():
            resolved = entry.resolved
            if resolved.startswith(("http:", "https:")):
                if not belongs(resolved, places):
                    parts = urlsplit(without_userinfo(resolved))
                    yield f"fetch packages from {parts.scheme}://{parts.netloc}/"
            elif resolved.startswith("git"):
                yield f"have git fetch {without_userinfo(resolved).partition('#')[0]}"
            elif resolved and _leads_outside(resolved):
                yield f"use what is at {resolved.removeprefix('file:')}"


def _leads_outside(resolved: str) -> bool:
    path = os.path.normpath(resolved.removeprefix("file:"))
    return path.startswith(("..", "/"))
