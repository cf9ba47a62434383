"""node_modules as a directory that `run` and `shell` mount the view on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.node.conftest import tree

if TYPE_CHECKING:
    from tests.mounted.node.conftest import Workshop

pytestmark = pytest.mark.fuse

WRITABLE = (".cache", ".vite", ".vite-temp", ".vitest", ".prisma")
MAIN = "import sys, unionfs.cli; sys.exit(unionfs.cli.main())"
REAL = "console.log(require('fs').realpathSync(process.argv[1]))"


def workspace(workshop: Workshop, **manifest: Any) -> Path:  # noqa: ANN401 - JSON
    publish = workshop.registry.publish
    publish("inner", "1.0.0")
    publish("inner", "2.0.0")
    tool = ("#!/usr/bin/env node\nconsole.log(require.resolve('inner'))\n", 0o755)
    publish("outer", "1.0.0", {"o.js": tool}, dependencies={"inner": "2"}, bin={"outer": "o.js"})
    publish("@scope/one", "1.0.0")
    project = workshop.project(
        dependencies={"outer": "1", "@scope/one": "1"}, workspaces=["packages/*"], **manifest
    )
    workshop.write(project / "packages/member", {"dependencies": {"inner": "1"}})
    return project


def node(workshop: Workshop, project: Path, *words: str, inside: bool = False) -> str:
    if inside:
        return workshop.pkgview("run", "-q", "--", "node", *words, cwd=project).strip()
    return workshop.run("node", *words, cwd=project).strip()


def test_mounted(workshop: Workshop) -> None:
    project = workspace(workshop)
    modules, member = project / "node_modules", project / "packages/member/node_modules"
    workshop.pkgview("up", cwd=project)
    link = os.readlink(modules)
    (modules / ".cache/kept").write_text("kept")
    said = workshop.pkgview("up", "--mount-modules", cwd=project)
    assert f"Made {modules}: " in said
    for path in (modules, member):
        assert path.is_dir()
        assert not path.is_symlink()
        assert link.partition("/views/")[0] in os.readlink(path / ".pkgview")
    # Who looks without the mount finds all where it was with a link.
    view = os.readlink(modules / ".pkgview")
    names = [name for name in os.listdir(view) if name not in WRITABLE]
    for name in names:
        assert os.path.realpath(modules / name) == os.path.realpath(f"{view}/{name}")
    outer = node(workshop, project, "node_modules/.bin/outer")
    assert outer == f"{view}/inner/index.js"
    assert (modules / ".cache/kept").read_text() == "kept"
    assert node(workshop, member.parent, "-p", "require('inner')") == "inner@1.0.0"
    # With it all is in the project, and as npm has it.
    assert node(workshop, project, "node_modules/.bin/outer", inside=True) == (
        f"{modules}/inner/index.js"
    )
    named = workshop.pkgview("run", "-q", "--", "printenv", "PKGVIEW_NODE_VIEW", cwd=project)
    assert named.strip() == Path(view).parent.name
    inner = node(workshop, project, "-e", REAL, f"{member}/inner/index.js", inside=True)
    assert inner == f"{member}/inner/index.js"
    walk = "node_modules packages/member/node_modules"
    words = ("sh", "-c", f"find {walk} ! -type d ! -type l | sort | xargs sha256sum")
    by_npm = workshop.by_npm(project)
    seen = workshop.pkgview("run", "-q", "--", *words, cwd=project).splitlines()
    assert [one for one in seen if "/.cache/" not in one] == (
        workshop.run(*words, cwd=by_npm).splitlines()
    )
    line = (
        "cd node_modules && touch .cache/new .vite/new && realpath .cache/kept && "
        "! touch new 2> /dev/null"
    )
    written = workshop.pkgview("run", "-q", "--", "sh", "-c", line, cwd=project)
    assert written.splitlines()[0] == f"{modules}/.cache/kept"
    assert (modules / ".vite/new").exists()
    shown = workshop.pkgview("tree", cwd=project)
    assert "UNMET" not in shown
    assert shown == workshop.pkgview("run", "-q", "--", "pkgview", "tree", cwd=project)


def test_an_ordinary_user(workshop: Workshop, ordinary: dict[str, Any]) -> None:
    """In a user namespace, where the user is who it was and may no more than before."""
    project = Path(ordinary["env"]["HOME"]) / "shop"
    made = workspace(workshop)
    workshop.run("npm", "install", "--package-lock-only", "--ignore-scripts", cwd=made)
    shutil.copytree(made, project)
    for path in (project, *project.rglob("*")):
        os.chown(path, 65534, 65534)
    options = {**ordinary, "cwd": project}
    options["env"] |= {"npm_config_registry": workshop.registry.url}

    def run(*words: str) -> str:
        done = subprocess.run(
            ["/usr/bin/python3", "-c", MAIN, *words],
            capture_output=True, text=True, check=False, timeout=120, **options,
        )  # fmt: skip
        if "No module named" in done.stderr:
            pytest.skip("/usr/bin/python3 cannot run pkgview")
        assert done.returncode == 0, done
        return str(done.stdout)

    run("up", "--mount-modules")
    line = (
        "id -u; node_modules/.bin/outer; touch node_modules/.cache/x packages/member/new; "
        "grep CapEff /proc/self/status; ls -n packages/member/new | cut -d' ' -f 3"
    )
    assert run("run", "--", "sh", "-c", line).split() == [
        "65534", f"{project}/node_modules/inner/index.js", "CapEff:", "0000000000000000", "65534",
    ]  # fmt: skip
    # Who may look is decided by the uid; who asks is known there as elsewhere.
    assert "outer@1.0.0" in run("run", "--", "npm", "ls")


def test_within(workshop: Workshop) -> None:
    """What goes on while commands run on the mount."""
    project = workspace(workshop)
    modules, member = project / "node_modules", project / "packages/member/node_modules"
    workshop.pkgview("up", "--mount-modules", cwd=project)
    assert "Nothing to do" in workshop.pkgview("up", cwd=project)
    said = workshop.pkgview("run", "--", "npm", "ci", cwd=project, status=226)
    assert "EROFS" in said
    said = workshop.pkgview("run", "--", "pkgview", "up", "--force", cwd=project, status=1)
    assert f"{modules} is mounted for the command that this is a part of" in said
    assert said == workshop.pkgview("run", "--", "pkgview", "down", cwd=project, status=1)
    contrary = workshop.pkgview("up", "--no-link", "--mount-modules", cwd=project, status=2)
    assert "name one of --no-link and --mount-modules" in contrary
    assert "not pkgview's" not in workshop.pkgview("run", "--", "pkgview", "projects", cwd=project)
    assert workshop.pkgview("run", "-q", "--", "pkgview", "run", "outer", cwd=project) == (
        f"{modules}/inner/index.js\n"
    )
    # Names come and go with the view; who runs keeps the one it has.
    workshop.registry.publish("more", "1.0.0")
    with subprocess.Popen(
        ["pkgview", "run", "--", "sh", "-c", "echo; read -r _; ls node_modules"],
        cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        running.stdout.readline()
        workshop.pkgview("add", "more", cwd=project)
        workshop.pkgview("remove", "@scope/one", cwd=project)
        workshop.pkgview("gc", cwd=project)
        assert sorted(running.communicate("\n")[0].split()) == [
            "@scope",
            "inner",
            "member",
            "outer",
        ]
    names = sorted(name for name in os.listdir(modules) if not name.startswith("."))
    assert names == ["inner", "member", "more", "outer"]
    assert node(workshop, project, "-p", "require('more')", inside=True) == "more@1.0.0"
    workshop.pkgview("down", cwd=project)
    assert not os.path.lexists(modules)
    assert not os.path.lexists(member)
    workshop.pkgview("up", cwd=project)
    assert modules.is_symlink()
    # Several at once.
    together = [
        subprocess.Popen(["pkgview", "up", "-q", "--mount-modules"], cwd=project) for _ in range(4)
    ]
    assert [one.wait() for one in together] == [0] * 4
    assert not list(project.glob("node_modules?*"))
    assert node(workshop, project, "-p", "require('more')", inside=True) == "more@1.0.0"


def test_npm_in_its_place(workshop: Workshop) -> None:
    """It replaces what is ours by its own, as it does with a link; nothing else is lost."""
    project = workspace(workshop, pkgview={"mount-modules": True})
    modules = project / "node_modules"
    said = workshop.pkgview(
        "run", "-q", "--", "node", "-p", "require.resolve('inner')", cwd=project
    )
    assert said == f"{modules}/inner/index.js\n"
    view = Path(os.readlink(modules / ".pkgview"))
    before = tree(view)
    (modules / ".cache/kept").write_text("kept")
    workshop.run("npm", "ci", cwd=project)
    assert tree(view) == before
    assert not (modules / "outer").is_symlink()
    said = workshop.pkgview("up", cwd=project, status=1)
    assert f"{modules} was a link to the view, and " in said
    said = workshop.pkgview("up", "--force", cwd=project)
    assert f"What was at node_modules is now at {modules}.before-pkgview/node_modules" in said
    assert (modules / ".cache/kept").read_text() == "kept"
    # What somebody put there besides is left where it is.
    (modules / ".own").mkdir()
    workshop.pkgview("up", cwd=project)
    workshop.pkgview("down", cwd=project)
    assert os.listdir(modules) == [".own"]
    workshop.write(project, {"pkgview": {"mount-modules": "yes"}, "dependencies": {"inner": "1"}})
    said = workshop.pkgview("up", "--force", cwd=project, status=1)
    assert "pkgview.mount-modules is 'yes'" in said
    assert "is for projects of Node's" in workshop.pkgview(
        "run", "--mount-modules", "true", cwd=workshop.home, status=2
    )
