"""Under what is known what an install script made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from resolver.node.allowed import allowed
from resolver.node.lock import read
from resolver.node.machine import Machine
from resolver.node.npmrc import REGISTRY, Settings
from resolver.node.selection import select
from unionfs.formats.node.scripted import Scripted, scripted
from unionfs.kinds import NODE

MACHINE = Machine(os="linux", cpu="x64", libc="glibc", node="20.1.0")
SETTINGS = Settings(registries={"": REGISTRY})
HASH = "sha512-" + "A" * 86 + "=="


def entry(version: str = "1.0.0", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"version": version, "integrity": HASH, **more}


def found(
    packages: dict[str, Any], *, machine: Machine = MACHINE, settings: tuple[str, ...] = ()
) -> dict[str, Scripted]:
    placed = {
        key if key.startswith("packages/") else f"node_modules/{key}": one
        for key, one in packages.items()
    }
    whole = {"": {"name": NODE}, **placed}
    text = json.dumps({"lockfileVersion": 3, "packages": whole}).encode()
    lock = read(Path("/project/package-lock.json"), text)
    said = allowed({"allowScripts": {"native": True, "tool": True}}, SETTINGS, Path("/p"))
    return scripted(lock, select(lock, machine, (), SETTINGS), said, machine, settings)


def key(packages: dict[str, Any], *, machine: Machine = MACHINE) -> str | None:
    return found(packages, machine=machine)["node_modules/native"].key


NATIVE = entry(hasInstallScript=True, dependencies={"a": "*"}, optionalDependencies={"b": "*"})
WHOLE = {"native": NATIVE, "a": entry(), "b": entry(), "other": entry(hasInstallScript=True)}


def test_what_the_key_says() -> None:
    one = found(WHOLE)
    assert list(one) == ["node_modules/native"]
    assert one["node_modules/native"].needs == ("node_modules/a", "node_modules/b")
    same = key(WHOLE)
    assert same is not None
    # Neither where things lie, nor what is not needed.
    nested = {"native": NATIVE, "native/node_modules/a": entry(), "b": entry(), "a": entry("3.0.0")}
    assert key(nested) == same
    others = [
        {**WHOLE, "native": {**NATIVE, "version": "1.0.1"}},
        {**WHOLE, "a": entry("1.0.1")},
        {**WHOLE, "a": entry(dependencies={"b": "*"})},
        {**WHOLE, "a": entry(bin={"cc": "c.js"})},
        {**WHOLE, "a": entry(name="b"), "b": entry(name="a")},
        {"native": NATIVE, "a": entry()},
    ]
    assert found(WHOLE, settings=("CFLAGS=-O9",))["node_modules/native"].key != same
    machines = [replace(MACHINE, **{name: "arm64"}) for name in ("cpu", "libc", "node")]
    keys = [key(one) for one in others] + [key(WHOLE, machine=one) for one in machines]
    assert len({same, *keys}) == len(keys) + 1
    # What no hash says is not kept.
    assert key({**WHOLE, "a": {"version": "1.0.0", "resolved": "file:a.tgz"}}) is None


def test_what_one_needs_comes_first() -> None:
    tool = entry(hasInstallScript=True)
    native = entry(hasInstallScript=True, dependencies={"tool": "*"})
    both = found({"native": native, "tool": tool})
    assert list(both) == ["node_modules/tool", "node_modules/native"]
    # A circle has an order, too.
    tool["dependencies"] = {"native": "*"}
    assert len(found({"native": native, "tool": tool})) == 2


def test_what_it_needs_of_the_projects_own() -> None:
    link = {"resolved": "packages/b", "link": True}
    packages = {"native": NATIVE, "a": entry(), "b": link, "packages/b": {"version": "1.0.0"}}
    one = found(packages)["node_modules/native"]
    assert (one.needs, one.unseen) == (("node_modules/a",), ("b",))
    assert found(WHOLE)["node_modules/native"].unseen == ()
