"""npm's own commands in a project whose node_modules is a view."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.node.conftest import tree

if TYPE_CHECKING:
    from tests.mounted.node.conftest import Workshop

pytestmark = pytest.mark.fuse

COMMAND = ("#!/usr/bin/env node\nconsole.log('run', ...process.argv.slice(2))\n", 0o755)


def made(workshop: Workshop) -> Path:
    publish = workshop.registry.publish
    publish("inner", "1.0.0")
    publish("outer", "1.0.0", {"o.js": COMMAND}, dependencies={"inner": "1"}, bin={"outer": "o.js"})
    project = workshop.project(
        dependencies={"outer": "^1.0.0"}, scripts={"test": "outer test", "other": "outer other"}
    )
    workshop.pkgview("up", cwd=project)
    return project


def test_what_only_reads(workshop: Workshop) -> None:
    project = made(workshop)
    before = os.readlink(project / "node_modules"), tree(project / "node_modules")
    assert "run test" in workshop.run("npm", "test", cwd=project)
    assert "run other x" in workshop.run("npm", "run", "other", "--", "x", cwd=project)
    assert workshop.run("npx", "--no", "outer", "y", cwd=project) == "run y\n"
    assert workshop.run("npm", "exec", "--no", "--", "outer", "z", cwd=project) == "run z\n"
    listed = json.loads(workshop.run("npm", "ls", "--all", "--json", cwd=project))
    assert "problems" not in listed
    assert listed["dependencies"]["outer"]["dependencies"]["inner"]["version"] == "1.0.0"
    assert "outer@1.0.0" in workshop.run("npm", "explain", "inner", cwd=project)
    assert "found 0 vulnerabilities" in workshop.run("npm", "audit", cwd=project)
    assert workshop.run("npm", "outdated", cwd=project) == ""
    workshop.registry.publish("outer", "2.0.0")
    assert "2.0.0" in workshop.run("npm", "outdated", cwd=project, status=1)
    assert "inner" in workshop.run("npm", "query", "*", cwd=project)
    workshop.run("npm", "pack", "--dry-run", cwd=project)
    assert before == (os.readlink(project / "node_modules"), tree(project / "node_modules"))


@pytest.mark.parametrize(
    "words",
    [
        ("ci",),
        ("install",),
        ("install", "more"),
        ("install", "nowhere-to-be-had"),
        ("install", "--package-lock-only"),
        ("uninstall", "outer"),
        ("update",),
        ("prune",),
        ("dedupe",),
        ("rebuild",),
        ("link", "outer"),
    ],
    ids=" ".join,
)
def test_what_writes(words: tuple[str, ...], workshop: Workshop) -> None:
    """Whatever it does to the link: nothing of the view is lost, and the next `up` says so."""
    project = made(workshop)
    modules = project / "node_modules"
    target = Path(os.readlink(modules))
    view = tree(target)
    writable = modules / ".cache/kept"
    writable.write_text("kept")
    kept = writable.resolve()
    workshop.registry.publish("more", "1.0.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("npm_config_prefix", str(workshop.home / "global"))
        (workshop.home / "global/lib/node_modules").mkdir(parents=True)
        try:
            workshop.run("npm", *words, cwd=project)
        except AssertionError as error:
            assert "npm" in str(error)  # noqa: PT017 - whether it fails is npm's matter
    assert tree(target) == view
    assert kept.read_text() == "kept"
    if modules.is_symlink():
        workshop.pkgview("up", cwd=project)
    elif modules.exists():
        assert "its node_modules is not pkgview's" in workshop.pkgview("projects", cwd=project)
        said = workshop.pkgview("up", cwd=project, status=1)
        assert f"{modules} was a link to the view, and what is there now is not pkgview's" in said
        assert "`pkgview up --force` sets it aside" in said
        assert modules.is_dir()
        workshop.pkgview("up", "--force", cwd=project)
    else:
        assert f"Linked {modules}" in workshop.pkgview("up", cwd=project)
    assert (modules / ".cache/kept").read_text() == "kept"
    if words[0] != "uninstall":
        assert workshop.run("npx", "--no", "outer", cwd=project) == "run\n"
