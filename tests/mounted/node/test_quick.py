"""`up` and `run` of Node's projects, and of Python's beside them, where nothing has to be made."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.node.conftest import tarball, tree
from tests.mounted.test_run import MODULES as OF_RUN
from tests.mounted.test_run import is_quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mounted.node.conftest import Workshop

pytestmark = pytest.mark.fuse

OF_UP = """\
import json, os, sys
def shown(status):
    sys.stdout.flush()
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(status or 0)
sys.exit = shown
from unionfs.cli import main
main(sys.argv[1:])
"""
"""What is loaded when the command ends; one that is forked is none of these."""


def loaded(workshop: Workshop, directory: Path, *words: str) -> set[str]:
    code = OF_RUN if words[0] == "run" else OF_UP
    said = workshop.run(sys.executable, "-c", code, *words, cwd=directory)
    return set(json.loads(said.splitlines()[-1])) if said.endswith("]\n") else {"click"}


def stocked(workshop: Workshop) -> Path:
    workshop.registry.publish("inner", "1.0.0")
    workshop.registry.publish("inner", "2.0.0")
    tool = ("#!/usr/bin/env node\nconsole.log('tool')\n", 0o755)
    workshop.registry.publish("tool", "1.0.0", {"t.js": tool}, bin={"tool": "t.js"})
    project = workshop.project(
        dependencies={"inner": "1.0.0", "tool": "*"}, workspaces=["packages/*"]
    )
    workshop.write(project / "packages/one", {"dependencies": {"inner": "2.0.0"}})
    return project


def test_nothing_to_do(workshop: Workshop) -> None:
    project = stocked(workshop)
    workshop.pkgview("up", cwd=project)
    assert is_quick(loaded(workshop, project, "up"))
    member = project / "packages/one/node_modules"
    shows = os.readlink(member)
    manifest = project / "packages/one/package.json"
    (project / ".npmrc").write_text("")
    more = project / "packages/two/package.json"

    def edited(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.read_text() if path.exists() else ''}\n")

    changed = (
        (project / "package.json", edited),
        (project / "package-lock.json", edited),
        (project / ".npmrc", edited),
        (workshop.places.state.parents[2] / ".npmrc", edited),
        (manifest, edited),
        (project / "node_modules/.cache", lambda path: shutil.rmtree(path.resolve())),
        (more, lambda path: workshop.write(path.parent, {})),
    )
    for path, change in changed:
        change(path)  # type: ignore[arg-type, operator, unused-ignore]
        assert not is_quick(loaded(workshop, project, "up")), path
        workshop.pkgview("up", cwd=project)
        assert is_quick(loaded(workshop, project, "up")), path
        assert os.path.lexists(member)
    for link in (member, project / "node_modules"):
        link.unlink()
        assert "click" not in loaded(workshop, project, "up")
        assert link.is_symlink()
    assert os.readlink(member).endswith(shows.partition("/views/")[2].partition("/")[2])
    assert (project / "node_modules/.cache").is_dir()
    assert (project / "node_modules/two").is_dir()
    # Another Node, by its place; what is run is found by its view.
    assert is_quick(loaded(workshop, project, "run", "--", "tool"))
    assert workshop.pkgview("run", "--", "tool", cwd=project) == "tool\n"
    assert not is_quick(loaded(workshop, project, "up", "--omit", "dev"))
    assert not is_quick(loaded(workshop, project, "up"))


def cloned(project: Path, name: str) -> Path:
    """A copy beside it, without what git would leave out."""
    ignored = shutil.ignore_patterns("node_modules*", ".venv")
    return Path(shutil.copytree(project, project.with_name(name), ignore=ignored))


def view(workshop: Workshop, directory: Path) -> str:
    return str(json.loads(workshop.pkgview("view", "--json", cwd=directory))["view"])


def test_a_second_clone(workshop: Workshop) -> None:
    """Its view is the one that `up` makes of it, and is made of what is known."""
    project = stocked(workshop)
    workshop.registry.publish("script", "1.0.0", scripts={"postinstall": "false"})
    workshop.write(
        project,
        {"dependencies": {"inner": "1.0.0", "tool": "*", "script": "*"},
         "workspaces": ["packages/*"]},
    )  # fmt: skip
    run = ("#!/usr/bin/env node\nconsole.log('two')\n", "two.js")
    workshop.write(project / "packages/two", {"bin": run[1]})
    (project / "packages/two" / run[1]).write_text(run[0])
    (project / "packages/two" / run[1]).chmod(0o755)
    first = workshop.pkgview("up", cwd=project)
    # All that there is otherwise of one that nobody understands.
    quick = {"click", "trio", "resolver.node.lock", "resolver.node.project"}

    clone = cloned(project, "clone")
    assert not quick & loaded(workshop, clone, "up", "--offline", "--trust")
    own = view(workshop, clone)
    assert is_quick(loaded(workshop, clone, "up"))
    assert workshop.pkgview("run", "--", "tool", cwd=clone) == "tool\n"
    assert workshop.run("npx", "--no", "two", cwd=clone) == "two\n"
    assert tree(clone / "node_modules") == tree(project / "node_modules")
    assert os.path.realpath(clone / "node_modules/two") == str(clone / "packages/two")
    assert (clone / "packages/one/node_modules/inner/package.json").is_file()
    (clone / "node_modules/.cache/own").write_text("")
    (clone / "packages/one/node_modules/.vite/own").write_text("")
    assert list((project / "node_modules/.cache").iterdir()) == []
    # The same is said, and the same comes out where it is understood.
    other = cloned(project, "other")
    said = workshop.pkgview("up", cwd=other)
    assert "Install scripts were not run: script 1.0.0." in said
    assert [one.partition(" (")[0].partition(": ")[2] for one in said.splitlines()[-1:]] == [
        one.partition(", fetched")[0].partition(": ")[2] for one in first.splitlines()[-1:]
    ]
    workshop.pkgview("forget", cwd=clone)
    shutil.rmtree(workshop.places.state / "remembered")
    workshop.pkgview("up", cwd=clone)
    assert view(workshop, clone) == own
    # What is otherwise in one is looked at.
    changes: list[tuple[str, Callable[[Path], object]]] = [
        ("packages/two/two.js", lambda path: path.chmod(0o644)),
        ("packages/two/two.js", lambda path: path.unlink()),
        ("packages/one/package.json", lambda path: path.write_text(f"{path.read_text()}\n")),
        ("packages/three", lambda path: workshop.write(path, {})),
        (".npmrc", lambda path: path.write_text("omit=optional\n")),
        ("packages/one/node_modules", lambda path: path.mkdir()),
    ]
    for number, (where, change) in enumerate(changes):
        another = cloned(project, f"another-{number}")
        change(another / where)
        assert "click" in loaded(workshop, another, "up"), where
    foreign = cloned(project, "foreign")
    (foreign / "node_modules").mkdir()
    assert "is not pkgview's" in workshop.pkgview("up", cwd=foreign, status=1)
    # What another one's was is collected with it, and then known no more; nothing is half there.
    workshop.pkgview("gc", cwd=project)
    last = cloned(project, "last")
    assert not quick & loaded(workshop, last, "up")
    assert (last / "node_modules/tool/package.json").is_file()
    workshop.pkgview("store", "verify", cwd=project)


def test_what_no_bytes_tell(workshop: Workshop) -> None:
    """What is packed is looked at each time, in a clone, too; and what the lock has no hash of."""
    workshop.registry.publish("inner", "1.0.0")
    project = workshop.project(
        dependencies={"inner": "1.0.0", "near": "file:near", "packed": "file:packed.tgz"}
    )
    (project / ".npmrc").write_text("install-links=true\n")

    def change(directory: Path, to: int) -> None:
        workshop.write(directory / "near", {})
        (directory / "near/index.js").write_text(f"module.exports = {to}\n")
        files = {"index.js": f"module.exports = {to}\n"}
        (directory / "packed.tgz").write_bytes(
            tarball({"name": "packed", "version": "1.0.0"}, files)
        )

    def now(directory: Path) -> str:
        return workshop.run(
            "node", "-p", "require('near') + ' ' + require('packed')", cwd=directory
        )

    change(project, 1)
    workshop.pkgview("up", cwd=project)
    lock = project / "package-lock.json"
    said = json.loads(lock.read_text())
    said["packages"]["node_modules/packed"].pop("integrity", None)  # not each npm notes one
    lock.write_text(json.dumps(said))
    workshop.pkgview("up", cwd=project)
    clone = cloned(project, "clone")
    for to, command in enumerate((["up"], ["up"], ["up", "--frozen"], ["run", "true"]), 2):
        change(clone, to)
        workshop.pkgview(*command, cwd=clone)
        assert now(clone) == f"{to} {to}\n"
    assert now(project) == "1 1\n"
    assert "Nothing to do" in workshop.pkgview("up", cwd=project)


def test_beside_python(workshop: Workshop) -> None:
    """What lies beside a project of Python's takes nothing from it."""
    project = workshop.home / "python"
    workshop.write(project, {"scripts": {"lint": "true"}, "type": "module"})
    (project / "requirements.txt").write_text("")
    workshop.pkgview("up", cwd=project)
    assert is_quick(loaded(workshop, project, "up"))
    assert is_quick(loaded(workshop, project, "run", "--", "true"))
    # Another manager's.
    workshop.registry.publish("inner", "1.0.0")
    workshop.write(project, {"dependencies": {"inner": "*"}})
    (project / "pnpm-lock.yaml").write_text("lockfileVersion: '9.0'\n")
    workshop.pkgview("up", cwd=project)
    assert is_quick(loaded(workshop, project, "up"))
    assert is_quick(loaded(workshop, project, "run", "--", "true"))
    (project / "pnpm-lock.yaml").unlink()
    # npm's, with its own node_modules: said each time.
    workshop.run("npm", "install", cwd=project)
    said = workshop.pkgview("up", cwd=project)
    assert "node_modules is not pkgview's and stays" in said
    assert is_quick(loaded(workshop, project, "up"))
    again = workshop.pkgview("up", cwd=project)
    assert again.splitlines()[0] == said.splitlines()[0]
    assert is_quick(loaded(workshop, project, "run", "--", "true"))
    # A view of each.
    workshop.pkgview("up", "--kind", "node", "--force", cwd=project)
    workshop.pkgview("up", cwd=project)
    assert is_quick(loaded(workshop, project, "up"))
    said = workshop.pkgview("up", cwd=project)
    assert [line.partition(":")[0] for line in said.splitlines()] == ["python", "node"]
    assert is_quick(loaded(workshop, project, "run", "--", "true"))
    path = workshop.pkgview("run", "--", "sh", "-c", "echo $PATH", cwd=project).split(":")
    assert path[0].startswith(str(workshop.places.mount))
    assert path[1] == f"{project}/node_modules/.bin"
    workshop.pkgview("lock", cwd=project)
    workshop.pkgview("up", cwd=project)
    clone = cloned(project, "clone")
    assert "click" not in loaded(workshop, clone, "up")
    assert (clone / ".venv/bin/python").exists()
    assert (clone / "node_modules/inner/package.json").is_file()
    assert is_quick(loaded(workshop, clone, "up"))
    # A project of Node's inside, and one that Python's is inside of.
    inside = project / "web"
    workshop.write(inside, {"dependencies": {"inner": "*"}})
    workshop.pkgview("up", cwd=inside)
    assert (inside / "node_modules/inner").is_dir()
    assert is_quick(loaded(workshop, inside, "up"))
    below = project / "service"
    below.mkdir()
    (below / "requirements.txt").write_text("")
    workshop.pkgview("up", cwd=below)
    assert is_quick(loaded(workshop, below, "up"))
    for directory, commands in ((inside, inside), (below, project)):
        assert is_quick(loaded(workshop, directory, "run", "--", "true"))
        said = workshop.run("pkgview", "run", "--", "sh", "-c", "echo $PATH", cwd=directory)
        assert said.split(":")[1] == f"{commands}/node_modules/.bin"
