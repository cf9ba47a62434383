"""Commands in projects of Node's, and in those that are Python's, too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mounted.node.conftest import File, Registry, Workshop

pytestmark = pytest.mark.fuse

COMMAND = ("#!/usr/bin/env node\nconsole.log('run')\n", 0o755)


def small(workshop: Workshop, name: str = "project") -> Path:
    publish = workshop.registry.publish
    publish("inner", "1.0.0")
    publish("inner", "2.0.0")
    publish("outer", "1.0.0", {"o.js": COMMAND}, dependencies={"inner": "1"}, bin={"outer": "o.js"})
    return workshop.project(name, dependencies={"outer": "*", "inner": "2"})


def test_what_is_npms_own_is_never_lost(workshop: Workshop) -> None:
    project = small(workshop)
    modules = project / "node_modules"
    aside = project / "node_modules.before-pkgview/node_modules"
    workshop.run("git", "init", "-q", cwd=project)
    workshop.run("npm", "install", cwd=project)
    said = workshop.pkgview("up", cwd=project, status=1)
    assert f"{modules} is there already and is not pkgview's" in said
    assert modules.is_dir()
    assert not modules.is_symlink()
    workshop.pkgview("up", "--no-link", cwd=project)
    assert not modules.is_symlink()
    said = workshop.pkgview("up", "--force", cwd=project)
    assert f"What was at node_modules is now at {aside}." in said
    assert modules.is_symlink()
    assert (aside / "inner/index.js").is_file()
    assert workshop.run("git", "status", "--porcelain", cwd=project).split() == [
        "??", "package-lock.json", "??", "package.json",
    ]  # fmt: skip

    # npm ci does nothing; npm install puts its own in the link's place, and removes it if it fails.
    target = os.readlink(modules)
    workshop.run("npm", "ci", cwd=project, status=226)
    assert os.readlink(modules) == target
    assert workshop.run("node", "-p", "require('inner')", cwd=project) == "inner@2.0.0\n"
    workshop.registry.publish("more", "1.0.0")
    workshop.run("npm", "install", "more", cwd=project)
    assert not modules.is_symlink()
    assert Path(target, "inner/index.js").is_file()
    said = workshop.pkgview("up", cwd=project, status=1)
    assert f"{modules} was a link to the view, and what is there now is not pkgview's" in said
    said = workshop.pkgview("run", "--", "outer", cwd=project)
    assert said.endswith("run\n")
    assert "is not pkgview's any more: its own commands are used" in said
    said = workshop.pkgview("up", "--force", cwd=project)
    assert f"is now at {modules}.before-pkgview.1/node_modules." in said
    workshop.run("npm", "install", "nowhere-to-be-had", cwd=project, status=1)
    workshop.pkgview("up", cwd=project)
    assert modules.is_symlink()
    assert f"{aside.parent} is what was there before" in workshop.pkgview("forget", cwd=project)


def test_why_and_lists(
    workshop: Workshop,
    new_registry: Callable[[], Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = small(workshop)
    workshop.pkgview("up", cwd=project)
    said = workshop.pkgview("why", "inner", cwd=project)
    assert "given by  inner 2.0.0" in said
    assert "needed by  project 1.0.0 (2)" in said or "needed by  project" in said
    said = workshop.pkgview("why", "node_modules/outer/node_modules/inner/index.js", cwd=project)
    assert "given by  inner 1.0.0" in said
    assert "needed by  outer 1.0.0 (1)" in said
    assert "instead of inner 2.0.0 (node_modules/inner)" in said
    listed = json.loads(workshop.pkgview("list", "--json", cwd=project))
    assert [(one["name"], one["version"]) for one in listed] == [
        ("inner", "1.0.0"), ("inner", "2.0.0"), ("outer", "1.0.0"),
    ]  # fmt: skip
    assert "inner@1.0.0" in workshop.pkgview("tree", cwd=project)
    graph = json.loads(workshop.pkgview("tree", "--json", cwd=project))
    assert graph["dependencies"]["outer"]["dependencies"]["inner"]["version"] == "1.0.0"
    assert "node_modules/outer" in workshop.pkgview(
        "tree", "--invert", "--package", "inner", cwd=project
    )
    workshop.registry.publish("outer", "2.0.0")
    assert "2.0.0" in workshop.pkgview("outdated", cwd=project)
    # To look is no yes to the settings that came with a pull, nor are their places used.
    stranger, marker = new_registry(), workshop.home / "marker"
    (project / ".npmrc").write_text(
        f"registry={stranger.url}\n//{stranger.url.partition('//')[2]}:_authToken=${{HOME}}\n"
        f"cache={marker}\nlogs-dir={marker}\nuserconfig={marker}\nglobalconfig={marker}\n"
    )
    monkeypatch.delenv("npm_config_registry")
    for words in (("outdated",), ("list", "--outdated")):
        said = workshop.pkgview(*words, cwd=project, status=1)
        assert f"you have not allowed {project} to" in said
        assert f"use the registry {stranger.url} (registry)" in said
    assert "inner@1.0.0" in workshop.pkgview("tree", cwd=project)
    workshop.pkgview("tree", "--invert", "--package", "inner", cwd=project)
    assert not stranger.asked
    assert not marker.exists()
    workshop.pkgview("trust", ".", cwd=project)
    workshop.pkgview("outdated", cwd=project)
    assert {path for path, said in stranger.asked if said} == {"/inner", "/outer"}
    assert not marker.exists()
    shown = json.loads(workshop.pkgview("view", "--json", cwd=project))
    assert shown["kind"] == "node"
    assert shown["target"]["os"] == "linux"
    assert {layer["name"] for layer in shown["layers"]} == {"", "inner", "outer"}
    assert shown["conflicts"] == []


def test_why_as_it_is_found_from_there(workshop: Workshop) -> None:
    """A member's own, what is bundled, a member, a command."""
    workshop.registry.publish("inner", "1.0.0")
    workshop.registry.publish("inner", "2.0.0")
    held: dict[str, File] = {
            "node_modules/held/package.json": '{"name": "held", "version": "0.1.0", "bin": "h.js"}',
            "node_modules/held/h.js": COMMAND}  # fmt: skip
    bundled = {"dependencies": {"held": "0.1.0"}, "bundleDependencies": ["held"]}
    workshop.registry.publish("bundler", "1.0.0", held, bin="node_modules/held/h.js", **bundled)
    root = workshop.project("root", dependencies={"inner": "2", "bundler": "1"}, workspaces=["m"])
    workshop.write(root / "m", {"dependencies": {"inner": "1"}})
    workshop.pkgview("up", cwd=root)
    assert "given by  inner 2.0.0" in workshop.pkgview("why", "inner", cwd=root)
    said = workshop.pkgview("why", "inner", cwd=root / "m")
    assert "given by  inner 1.0.0" in said
    assert "instead of inner 2.0.0 (node_modules/inner)" in said
    for name in ("held", "bundler", ".bin/bundler"):
        said = workshop.pkgview("why", name, cwd=root)
        assert "given by  bundler 1.0.0" in said
        assert "pkgview itself" not in said
    assert "leads to   m 1.0.0 (m)" in workshop.pkgview("why", "m", cwd=root)
    assert "nothing in the view" in workshop.pkgview("why", "nowhere", cwd=root, status=1)


def test_add_and_remove(workshop: Workshop) -> None:
    project = small(workshop)
    workshop.write(project / "packages/m", {})
    workshop.write(
        project, {"dependencies": {"outer": "*", "inner": "2"}, "workspaces": ["packages/*"]}
    )
    workshop.pkgview("up", "--omit", "optional", cwd=project)
    workshop.registry.publish("more", "1.2.0")
    before = (project / "package.json").read_bytes()
    (project / ".npmrc").write_text("omit=optional\n")
    assert "Without" not in workshop.pkgview("up", cwd=project)
    (project / ".npmrc").unlink()
    said = workshop.pkgview("add", "more", "-D", cwd=project)
    assert " + more 1.2.0" in said
    assert "Without" not in said
    manifest = json.loads((project / "package.json").read_text())
    assert manifest["devDependencies"] == {"more": "^1.2.0"}
    assert workshop.run("node", "-p", "require('more')", cwd=project) == "more@1.2.0\n"
    assert " - more" in workshop.pkgview("remove", "more", cwd=project)
    assert "does not list more" in workshop.pkgview("remove", "more", cwd=project, status=1)
    assert json.loads((project / "package.json").read_text()) == json.loads(before)
    workshop.pkgview("add", "more@1", cwd=project / "packages/m")
    member = json.loads((project / "packages/m/package.json").read_text())
    assert member["dependencies"] == {"more": "^1.2.0"}
    # A directory, from where it was typed; what fails changes nothing.
    workshop.write(workshop.home / "lib", {})
    (workshop.home / "lib/index.js").write_text("module.exports = 'lib'\n")
    workshop.pkgview("add", "../lib", cwd=project)
    assert workshop.run("node", "-p", "require('lib')", cwd=project) == "lib\n"
    files = {path: path.read_bytes() for path in project.glob("package*.json")}
    gone = workshop.pkgview("add", "../nothere", cwd=project, status=1)
    assert f"{workshop.home}/nothere is no package" in gone
    assert "name a requirement" in workshop.pkgview("add", "more", "", cwd=project, status=2)
    assert "npm: E404" in workshop.pkgview("add", "nowhere-to-be-had", cwd=project, status=1)
    workshop.registry.publish("broken", "1.0.0")
    path = "/broken/-/broken-1.0.0.tgz"
    workshop.registry.tarballs[path] = workshop.registry.tarballs[path][:-9]
    workshop.pkgview("add", "broken", cwd=project, status=1)
    assert {path: path.read_bytes() for path in files} == files
    assert (project / "node_modules").is_symlink()


def test_both_kinds(workshop: Workshop) -> None:
    project = small(workshop)
    (project / "requirements.txt").write_text("")
    assert "Linked" in workshop.pkgview("up", cwd=project)
    said = workshop.pkgview("up", "--kind", "node", cwd=project)
    assert f"Linked {project}/node_modules." in said
    assert "2 distributions, Node" not in said  # two of them are of one name
    assert "3 distributions, Node" in said
    both = "import subprocess, sys; print(sys.prefix, flush=True); subprocess.run(['outer'])"
    said = workshop.pkgview("run", "--", "python", "-c", both, cwd=project)
    assert said == f"{os.readlink(project / '.venv')}\nrun\n"
    assert "given by  outer 1.0.0" in workshop.pkgview("why", "outer", cwd=project)
    assert {view["kind"] for one in json.loads(workshop.pkgview("projects", "--json", cwd=project))
            for view in one["views"]} == {"python", "node"}  # fmt: skip
    answer = json.loads(workshop.pkgview("up", "--json", cwd=project))
    assert [answer["kind"], answer["others"][0]["kind"]] == ["python", "node"]
    workshop.pkgview("gc", cwd=project)
    assert workshop.run("node", "-p", "require('outer/package.json').version", cwd=project)
    workshop.pkgview("down", "--kind", "node", cwd=project)
    assert not os.path.lexists(project / "node_modules")
    assert os.path.lexists(project / ".venv")
    workshop.pkgview("up", cwd=project)
    workshop.pkgview("store", "verify", cwd=project)
    said = workshop.pkgview("down", cwd=project)
    assert "node_modules" in said
    assert ".venv" in said
    workshop.pkgview("forget", cwd=project)
    workshop.pkgview("gc", cwd=project)


def test_one_kind_does_not_take_the_other(workshop: Workshop) -> None:
    project = small(workshop)
    (project / "requirements.txt").write_text("")
    # Nobody has asked for Node's: no lock of npm's is there.
    (project / "package.json").rename(project / "kept.json")
    (project / "package.json").write_text("<<<<<<< ours\n")
    said = workshop.pkgview("up", cwd=project)
    assert f"Linked {project}/.venv." in said
    assert workshop.pkgview("run", "--", "python", "-c", "print(1)", cwd=project) == "1\n"
    (project / "kept.json").rename(project / "package.json")
    said = workshop.pkgview("up", cwd=project)
    assert not os.path.lexists(project / "package-lock.json")
    workshop.pkgview("up", "--kind", "node", cwd=project)
    # Which list is meant has to be said then.
    said = workshop.pkgview("add", "more", cwd=project, status=2)
    assert "--kind python and --kind node" in said
    workshop.registry.publish("more", "1.0.0")
    assert " + more 1.0.0" in workshop.pkgview("add", "--kind", "node", "more", cwd=project)
    assert (project / "requirements.txt").read_text() == ""
    assert " - more" in workshop.pkgview("remove", "--kind", "node", "more", cwd=project)
    # What is wrong with one does not take the other.
    manifest = (project / "package.json").read_bytes()
    workshop.write(project, {"dependencies": {"outer": "7", "inner": "2"}})
    for path in (project / ".venv", project / "node_modules"):
        path.unlink()
    said = workshop.pkgview("up", cwd=project, status=1)
    assert f"Linked {project}/.venv." in said
    assert "npm: ETARGET" in said
    (project / "package.json").write_text("<<<<<<< ours\n")
    said = workshop.pkgview("up", cwd=project, status=1)
    assert f"{project}/package.json is no JSON" in said
    for words in (("run", "--", "python", "-c", "pass"), ("list",), ("view",)):
        workshop.pkgview(*words, cwd=project)
    (project / "package.json").write_bytes(manifest)
    workshop.pkgview("up", cwd=project)
    assert "node: Nothing to do" in workshop.pkgview("up", cwd=project)


def test_nobody_asked_for_node(workshop: Workshop) -> None:
    """In a project of Python's whose node_modules is npm's, all goes on as before."""
    project = small(workshop)
    (project / "requirements.txt").write_text("")
    workshop.run("npm", "install", cwd=project)
    said = workshop.pkgview("up", cwd=project)
    assert f"{project}/node_modules is not pkgview's and stays as it is" in said
    assert f"Linked {project}/.venv." in said
    workshop.pkgview("run", "--", "python", "-c", "pass", cwd=project)
    workshop.pkgview("up", "--kind", "node", cwd=project, status=1)
    workshop.pkgview("up", "--kind", "node", "--force", cwd=project)
    assert (project / "node_modules").is_symlink()


def test_what_is_no_project_of_npms(workshop: Workshop) -> None:
    plain = workshop.project("plain")
    assert "lists no dependencies yet" in workshop.pkgview("up", cwd=plain, status=1)
    workshop.registry.publish("first", "1.0.0")
    assert " + first 1.0.0" in workshop.pkgview("add", "first", cwd=plain)
    other = workshop.project("other", dependencies={"a": "*"})
    (other / "pnpm-lock.yaml").write_text("lockfileVersion: '9.0'\n")
    said = workshop.pkgview("up", cwd=other, status=1)
    assert "pnpm-lock.yaml is a lock of pnpm's" in said
    assert said == workshop.pkgview("add", "first", cwd=other, status=1)
    (other / "requirements.txt").write_text("")
    said = workshop.pkgview("add", "--kind", "node", "first", cwd=other, status=1)
    assert "pnpm-lock.yaml is a lock of pnpm's" in said
    said = workshop.pkgview("up", "--omit", "dev", cwd=workshop.home, status=1)
    said = workshop.pkgview("lock", cwd=plain, status=1)
    assert "npm's lock is its lock" in said
    python = workshop.home / "python"
    python.mkdir()
    (python / "requirements.txt").write_text("")
    said = workshop.pkgview("up", "--omit", "dev", cwd=python, status=2)
    assert "--omit and --mount-modules are for projects of Node's" in said
    # A member is a part of what is above it.
    root = workshop.project("root", workspaces=["packages/*"])
    workshop.registry.publish("a", "1.0.0")
    workshop.write(root / "packages/m", {"dependencies": {"a": "1.0.0"}})
    workshop.pkgview("up", cwd=root / "packages/m")
    assert (root / "node_modules/a").is_dir()
    assert os.path.realpath(root / "node_modules/m") == str(root / "packages/m")
