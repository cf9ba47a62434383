"""Locks of npm's: used as they are, made, renewed, converted, refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from resolver.node.project import WRITABLE
from tests.mounted.node.conftest import tree, without_npm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.node.conftest import Registry, Workshop

pytestmark = pytest.mark.fuse


def version(project: Path, name: str) -> str:
    return str(json.loads((project / f"node_modules/{name}/package.json").read_text())["version"])


def test_what_nothing_asks_for_is_left_out(workshop: Workshop) -> None:
    """With a lock that has more than the files ask for, as `npm ci` leaves it out."""
    publish = workshop.registry.publish
    publish("below", "1.0.0")
    publish("peer", "1.0.0")
    publish("held", "1.0.0")
    publish("kept", "1.0.0", dependencies={"below": "1"}, peerDependencies={"peer": "1"})
    publish("gone", "1.0.0", dependencies={"only": "1", "below": "1"}, bin={"gone": "index.js"})
    publish("only", "1.0.0")
    held = {"held": "1"}
    project = workshop.project(
        dependencies={"kept": "1", "gone": "1"}, optionalDependencies=held,
        workspaces=["packages/*"],
    )  # fmt: skip
    for name in ("one", "two"):
        workshop.write(project / "packages" / name, {"dependencies": {"only": "1"}})
    workshop.pkgview("up", cwd=project)
    lists = {"dependencies": {"kept": "1"}, "optionalDependencies": held}
    workshop.write(project, {**lists, "workspaces": ["packages/one"]})
    workshop.write(project / "packages/one", {})
    lock = project / "package-lock.json"
    before = lock.read_bytes()
    said = workshop.pkgview("up", "--frozen", cwd=project)
    assert " - gone\n" in said
    assert lock.read_bytes() == before
    copy = workshop.by_npm(project)
    own = {k: v for k, v in tree(project / "node_modules").items() if k not in WRITABLE}
    others = tree(copy / "node_modules")
    hidden = (
        ".package-lock.json"  # of a member it says what the lock does, and not its package.json
    )
    assert own.pop(hidden) != others.pop(hidden)
    assert own == others
    assert {path.partition("/")[0] for path in own} == {"kept", "below", "peer", "held", "one"}
    listed = [
        [*json.loads((top / "node_modules" / hidden).read_text())["packages"]]
        for top in (project, copy)
    ]
    assert listed[0] == listed[1]
    # Who does not say so has the lock made anew.
    assert "In the lock: - gone, - only" in workshop.pkgview("up", cwd=project)
    assert lock.read_bytes() != before


def test_it_is_made_and_renewed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish = workshop.registry.publish
    publish("a", "1.0.0")
    publish("b", "1.0.0")
    project = workshop.project(dependencies={"a": "^1.0.0"})
    lock = project / "package-lock.json"
    for option in ("--frozen", "--locked"):
        assert "has no lock" in workshop.pkgview("up", option, cwd=project, status=1)
    workshop.pkgview("up", cwd=project)
    before = lock.read_bytes()
    assert "Nothing to do: 1 distribution, Node" in workshop.pkgview("up", cwd=project)

    # What is newer is taken when that is asked for; what the files ask for, at once.
    publish("a", "1.1.0")
    workshop.write(project, {"dependencies": {"a": "^1.0.0"}, "description": "new"})
    workshop.pkgview("up", cwd=project)
    assert lock.read_bytes() == before
    said = workshop.pkgview("up", "--upgrade-package", "a", cwd=project)
    assert " ~ a 1.0.0 \N{RIGHTWARDS ARROW} 1.1.0" in said
    assert f"{project} has no nothere, which is to be upgraded" in workshop.pkgview(
        "up", "-P", "nothere", "-P", "a", cwd=project, status=1
    )
    assert version(project, "a") == "1.1.0"
    workshop.write(project, {"dependencies": {"a": "^1.0.0", "b": "1.0.0"}})
    before = lock.read_bytes()
    said = workshop.pkgview("up", "--locked", cwd=project, status=1)
    assert "is outdated: it has no b, which package.json lists" in said
    workshop.pkgview("up", "--frozen", cwd=project)
    assert not (project / "node_modules/b").exists()
    assert lock.read_bytes() == before
    assert " + b 1.0.0" in workshop.pkgview("up", cwd=project)
    assert version(project, "b") == "1.0.0"
    workshop.pkgview("up", "--locked", cwd=project)
    # A range that what is locked satisfies changes nothing, as for `npm ci`.
    workshop.write(project, {"dependencies": {"a": ">=1.0.5", "b": "1.0.0"}})
    before = lock.read_bytes()
    workshop.pkgview("up", "--locked", cwd=project)
    assert lock.read_bytes() == before
    workshop.write(project, {"dependencies": {"a": ">=2", "b": "1.0.0"}})
    said = workshop.pkgview("up", cwd=project, status=1)
    assert "npm: ETARGET" in said
    assert lock.read_bytes() == before
    assert list((workshop.places.cache / "builds").iterdir()) == []

    # Lists that are none are said by name, whatever npm makes of them.
    before_it = (project / "package.json").read_bytes()
    for listed in ("a", ["a"], {"a": 5}):
        workshop.write(project, {"dependencies": listed})
        said = workshop.pkgview("up", cwd=project, status=1)
        assert f"{project}/package.json: dependencies is no object of names" in said
    (project / "package.json").write_bytes(before_it)

    # npm is for making locks only.
    without_npm(monkeypatch, tmp_path)
    words = r"npm does that, and is not on PATH\b[^~]*: its a is not known to be >=2, which"
    assert re.search(words, workshop.pkgview("up", cwd=project, status=1))
    workshop.write(project, {"dependencies": {"a": ">=1.0.5", "b": "1.0.0"}})
    (clone := workshop.home / "clone").mkdir()
    for name in ("package.json", "package-lock.json"):
        (clone / name).write_bytes((project / name).read_bytes())
    workshop.pkgview("up", cwd=clone)
    assert version(clone, "a") == "1.1.0"


def test_overrides_are_asked_of_npm(workshop: Workshop) -> None:
    publish = workshop.registry.publish
    publish("deep", "1.0.0")
    publish("deep", "2.0.0")
    publish("a", "1.0.0", dependencies={"deep": "^1.0.0"})
    project = workshop.project(dependencies={"a": "*"})
    workshop.pkgview("up", cwd=project)
    assert version(project, "deep") == "1.0.0"
    workshop.write(project, {"dependencies": {"a": "*"}, "overrides": {"deep": "2.0.0"}})
    workshop.pkgview("up", cwd=project)
    assert version(project, "deep") == "2.0.0"
    lock = (project / "package-lock.json").read_bytes()
    workshop.pkgview("up", "--locked", cwd=project)
    assert (project / "package-lock.json").read_bytes() == lock


def test_members_that_are_gone_or_renamed(workshop: Workshop) -> None:
    for name in ("a", "b"):
        workshop.registry.publish(f"of-{name}", "1.0.0")
    project = workshop.project(workspaces=["packages/*"])
    command = project / "packages/a/cli.js"
    fields = {"bin": {"cli": "cli.js"}, "dependencies": {"of-a": "*"}}
    workshop.write(command.parent, {"name": "@m/a", **fields})
    command.write_text("#!/usr/bin/env node\nconsole.log('cli')\n")
    outside = workshop.home / "outside.js"
    outside.write_text("")
    (command.parent / "out.js").symlink_to(outside)
    workshop.write(project / "packages/b", {"name": "@m/b", "dependencies": {"of-b": "*"},
                                            "bin": {"out": "../a/out.js"}})  # fmt: skip
    workshop.pkgview("up", cwd=project)
    # As npm does it: a member's command can be run.
    assert workshop.run("npx", "cli", cwd=project) == "cli\n"
    assert outside.stat().st_mode & 0o777 == 0o644
    workshop.write(command.parent, {"name": "@m/renamed", **fields})
    said = workshop.pkgview("up", "--locked", cwd=project, status=1)
    assert "package-lock.json is outdated: packages/a is not in it as @m/renamed" in said
    workshop.pkgview("up", cwd=project)
    assert os.listdir(project / "node_modules/@m") == ["b", "renamed"]
    # What a member asks for in another range now, which npm does not notice where it is its own.
    workshop.registry.publish("of-b", "2.0.0")
    workshop.write(project / "packages/c", {"name": "@m/c", "dependencies": {"of-b": "1"}})
    workshop.write(project / "packages/b", {"name": "@m/b", "dependencies": {"of-b": "2"}})
    workshop.pkgview("up", "--upgrade", cwd=project)
    nested = next(project.glob("packages/*/node_modules")).parent
    name, other = ("c", "2") if nested.name == "c" else ("b", "1")
    workshop.write(nested, {"name": f"@m/{name}", "dependencies": {"of-b": other}})
    said = workshop.pkgview("up", "--locked", cwd=project, status=1)
    assert f"its of-b is not known to be {other}, which packages/{name}/package.json lists" in said
    workshop.pkgview("up", cwd=project)
    found = workshop.run("node", "-p", "require('of-b')", cwd=nested)
    assert found == f"of-b@{other}.0.0\n"
    assert not (nested / "node_modules").exists()
    workshop.pkgview("up", "--locked", cwd=project)
    shutil.rmtree(project / "packages/c")
    shutil.rmtree(project / "packages/b")
    said = workshop.pkgview("up", "--locked", cwd=project, status=1)
    assert "it has @m/b, and packages/b is no member" in said
    workshop.pkgview("up", cwd=project)
    assert os.listdir(project / "node_modules/@m") == ["renamed"]
    assert not (project / "node_modules/of-b").exists()
    workshop.pkgview("up", "--locked", cwd=project)


def test_other_forms(workshop: Workshop) -> None:
    publish = workshop.registry.publish
    publish("b", "1.0.0")
    publish("a", "1.0.0", dependencies={"b": "*"})
    project = workshop.project(dependencies={"a": "*"})
    lock = project / "package-lock.json"
    for form in ("1", "2"):
        workshop.pkgview("down", cwd=project)  # or npm fails after it has written it
        lock.unlink(missing_ok=True)
        workshop.run("npm", "install", "--package-lock-only", "--lockfile-version", form,
                     cwd=project)  # fmt: skip
        before = lock.read_bytes()
        assert json.loads(before)["lockfileVersion"] == int(form)
        if form == "1":
            said = workshop.pkgview("up", "--frozen", cwd=project, status=1)
            assert "has lockfileVersion 1" in said
        workshop.pkgview("up", cwd=project)
        assert version(project, "b") == "1.0.0"
        assert lock.read_bytes() == before
        workshop.pkgview("up", "--frozen", cwd=project)
    # An npm-shrinkwrap.json goes before it.
    publish("b", "1.1.0")
    workshop.run("npm", "shrinkwrap", cwd=project)
    assert not lock.exists()
    lock.write_text("broken")
    workshop.pkgview("up", cwd=project)
    assert version(project, "b") == "1.0.0"

    (project / "npm-shrinkwrap.json").unlink()
    assert "package-lock.json is no JSON" in workshop.pkgview("up", cwd=project, status=1)


def test_a_tarball_that_is_another(workshop: Workshop) -> None:
    publish = workshop.registry.publish
    publish("a", "1.0.0")
    project = workshop.project(dependencies={"a": "*"})
    workshop.run("npm", "install", "--package-lock-only", cwd=project)
    publish("a", "1.0.0", {"index.js": "module.exports = 'evil'\n"})
    said = workshop.pkgview("up", cwd=project, status=1)
    assert "is not the locked file: its sha512 is" in said
    assert not os.path.lexists(project / "node_modules")


def test_each_registry_has_its_own_token_only(
    workshop: Workshop,
    new_registry: Callable[[], Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    private, other = new_registry(), new_registry()
    private.token = "s3cret"  # noqa: S105 - a test's
    private.publish("@team/a", "1.0.0")
    private.publish("@team/moved", "1.0.0")
    workshop.registry.publish("b", "1.0.0")
    # What a registry has moved elsewhere is fetched there, without what is for this one.
    path = "/@team/moved/-/moved-1.0.0.tgz"
    other.tarballs["/moved.tgz"] = private.tarballs[path]
    private.elsewhere[path] = f"{other.url}moved.tgz"
    project = workshop.project(dependencies={"@team/a": "*", "@team/moved": "*", "b": "*"})
    host = private.url.removeprefix("http:")
    (project / ".npmrc").write_text(
        f"@team:registry={private.url}\n{host}:_authToken=${{TEAM_TOKEN}}\n"
    )
    said = workshop.pkgview("up", cwd=project, status=1)
    assert "npm: E401" in said
    assert "s3cret" not in said
    monkeypatch.setenv("TEAM_TOKEN", private.token)
    workshop.pkgview("up", cwd=project)
    assert version(project, "@team/a") == "1.0.0"
    fetched = [said for path, said in private.asked if path.endswith("/a-1.0.0.tgz")]
    assert fetched[-1] == "Bearer s3cret"
    assert {said for _, said in (*workshop.registry.asked, *other.asked)} == {""}
    trusted = "".join(path.read_text() for path in (workshop.places.state / "trusted").iterdir())
    assert "put the variable TEAM_TOKEN of your environment into settings of npm's" in trusted
    assert f"use the registry {private.url}" in trusted
