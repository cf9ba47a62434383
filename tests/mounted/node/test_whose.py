"""What is one project's stays its own: its members' links, what tools write there, its views."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs.kinds import MEMBERS
from unionfs.upkeep import collect
from unionfs.upkeep.inuse import NOTHING, Survey, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mounted.node.conftest import Workshop

pytestmark = pytest.mark.fuse


def locked(
    workshop: Workshop, name: str, *members: str, a: str = "2.0.0", **manifest: object
) -> Path:
    """A project with `a`, whose lock has 1.0.0 for each of these members besides."""
    project = workshop.project(name, dependencies={"a": a}, **manifest)
    found: dict[str, object] = {
        "": json.loads((project / "package.json").read_text()),
        "node_modules/a": of_registry(workshop, a),
    }
    for member in members:
        found[f"packages/{member}"] = {"version": "1.0.0", "dependencies": {"a": "1.0.0"}}
        found[f"packages/{member}/node_modules/a"] = of_registry(workshop, "1.0.0")
        found[f"node_modules/{member}"] = {"resolved": f"packages/{member}", "link": True}
    lock = {"name": project.name, "lockfileVersion": 3, "requires": True, "packages": found}
    (project / "package-lock.json").write_text(json.dumps(lock))
    return project


def of_registry(workshop: Workshop, version: str) -> dict[str, str]:
    dist = workshop.registry.packages["a"][version]["dist"]
    said = {"resolved": dist["tarball"], "integrity": dist["integrity"]}
    return {"version": version, **said}


@pytest.fixture
def stocked(workshop: Workshop) -> Workshop:
    for version in ("1.0.0", "2.0.0"):
        own = f"module.exports = '{version}'\n"
        files = {"index.js": "exports.later = () => require('./later')\n", "later.js": own}
        files["server.js"] = SERVER.replace("require('a')", "require('./index.js')")
        workshop.registry.publish("a", version, files)
    return workshop


def test_a_lock_speaks_for_its_own_project(stocked: Workshop) -> None:
    """A clone's lock has packages for what links there lead to, and for a project inside of it."""
    shop = locked(stocked, "shop")
    below = locked(stocked, "clone/packages/below")
    for project in (shop, below):
        stocked.pkgview("up", cwd=project)
    kept = {path / "node_modules": os.readlink(path / "node_modules") for path in (shop, below)}
    names = ("below", "home", "inside", "plain", "shop")
    clone = locked(stocked, "clone", *names, workspaces=["packages/*"])
    (clone / "packages/shop").symlink_to("../../shop")
    (clone / "packages/home").symlink_to("../..")
    (clone / "packages/inside").symlink_to("../other")
    for name in ("other", "packages/plain", ".."):
        stocked.write(clone / name, {"dependencies": {"a": "1.0.0"}})
    plain = clone / "packages/plain/node_modules"
    said = stocked.pkgview("up", "--frozen", cwd=clone)
    for name in ("shop", "home", "inside"):
        assert f"{clone}/packages/{name}/node_modules is not made" in said
    assert f"{below}/node_modules is not pkgview's" in said
    assert not os.path.lexists(stocked.home / "node_modules")
    assert not os.path.lexists(clone / "other/node_modules")
    assert (plain / "a/later.js").read_text() == "module.exports = '1.0.0'\n"
    # Nothing is taken away there, either, whoever made it.
    (stocked.home / "node_modules").symlink_to(kept[shop / "node_modules"])
    kept[stocked.home / "node_modules"] = kept[shop / "node_modules"]
    for words in (("down",), ("up", "--frozen"), ("run", "--frozen", "true"), ("forget",)):
        stocked.pkgview(*words, cwd=clone)
        assert os.path.lexists(plain) == (words[0] in {"up", "run"})
        assert {path: os.readlink(path) for path in kept} == kept
    # Who insists has what is in the project's own tree.
    stocked.pkgview("up", "--frozen", "--force", cwd=clone)
    now = {path for path in kept if os.readlink(path) != kept[path]}
    assert now == {below / "node_modules"}


def test_a_clone_with_directories_like_ours(stocked: Workshop) -> None:
    """Whatever it brings of such names, nothing is written, mounted or removed where it leads."""
    home = stocked.home
    (home / "papers").mkdir(parents=True)
    (home / "papers/thesis").write_text("")
    clone = locked(
        stocked, "brought", "m", workspaces=["packages/*"], pkgview={"mount-modules": True}
    )
    stocked.write(clone / "packages/m", {"dependencies": {"a": "1.0.0"}})
    modules, member = clone / "node_modules", clone / "packages/m/node_modules"
    for end in ("directory", "new"):
        (clone / f"node_modules.pkgview-{end}").symlink_to("../papers")
    # With a member's of its own that is not ours, and one that pretends to be.
    view = str(stocked.places.mount / f"views/none/{MEMBERS}/packages/m/node_modules")
    for leads in ("../../../../papers", view):
        member.mkdir(parents=True)
        (member / ".pkgview").symlink_to(leads)
        (member / "a").symlink_to(".pkgview/../../../../papers")
        (member / ".cache").symlink_to("../../../../papers")
        said = stocked.pkgview("up", "--frozen", cwd=clone)
        assert f"{member} is not pkgview's and stays as it is" in said
        line = f"grep -c ' {member} ' /proc/self/mountinfo; ls node_modules/a; rm -r {member}"
        said = stocked.pkgview("run", "-q", "--frozen", "--", "sh", "-c", line, cwd=clone)
        assert said.split()[:2] == ["0", "index.js"]
        assert os.listdir(home / "papers") == ["thesis"]
    # What only tools' names are of is made ours.
    member.mkdir()
    (member / ".pkgview").symlink_to(view)
    (member / ".cache").symlink_to("../../../../papers")
    (member / ".vite").symlink_to(".pkgview/../../../papers")
    stocked.pkgview("up", "--frozen", cwd=clone)
    own = stocked.places.cache.resolve() / "writable"
    line = f"rm -rf {member}/.cache {member}/.vite; touch {member}/.cache/x; echo done"
    for inside in (False, True):
        assert (member / ".cache").resolve().is_relative_to(own)
        words = ("sh", "-c", f"({line}) 2> /dev/null")
        if inside:
            stocked.pkgview("run", "-q", "--frozen", "--", *words, cwd=clone)
        assert os.listdir(home / "papers") == ["thesis"]
    assert os.readlink(clone / "node_modules.pkgview-directory") == "../papers"
    assert not modules.is_symlink()
    # A first one that is refused leaves nothing.
    stocked.pkgview("down", cwd=clone)
    (clone / "package-lock.json").write_text("{")
    stocked.pkgview("up", "--frozen", cwd=clone, status=1)
    assert not os.path.lexists(modules)
    # And what it had set aside is where it was, with nothing beside it.
    modules.mkdir()
    (modules / "own.js").write_text("")
    beside = set(os.listdir(clone))
    stocked.pkgview("up", "--frozen", "--force", cwd=clone, status=1)
    assert os.listdir(modules) == ["own.js"]
    assert set(os.listdir(clone)) == beside


def test_another_directory_in_a_projects_place(
    stocked: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets nothing of what the former one's tools wrote, which goes with that one's view."""
    monkeypatch.setattr(collect, "ON_ITS_WAY", 0.0)
    monkeypatch.setattr(collect, "survey", lambda _: NOTHING)
    top = stocked.places.cache / "writable"
    project, other = locked(stocked, "project"), locked(stocked, "other")
    for one in (project, other):
        stocked.pkgview("up", cwd=one)
        (one / "node_modules/.cache/deps.js").write_text("")
    moved = project.rename(stocked.home / "moved")
    locked(stocked, "project")
    said = stocked.pkgview("up", cwd=project)
    assert "View " in said
    assert list((project / "node_modules/.cache").iterdir()) == []
    assert (moved / "node_modules/.cache/deps.js").exists()
    assert len(list(top.iterdir())) == 3
    shutil.rmtree(moved)
    assert collect.collect(stocked.places, collect.Limits()) is not None
    assert len(list(top.iterdir())) == 2
    assert (other / "node_modules/.cache/deps.js").exists()
    shutil.rmtree(other)
    assert collect.collect(stocked.places, collect.Limits()) is not None
    assert [one.name.startswith("project-") for one in top.iterdir()] == [True]


SERVER = """
if (process.argv[2]) process.chdir(process.argv[2])
if (process.argv[3]) process.title = process.argv[3]
const a = require('a')
console.log('ready')
process.stdin.on('data', () => { console.log(a.later()); process.exit() })
"""


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs that wait for a line."""
    found: list[subprocess.Popen[str]] = []

    def start(*words: object, cwd: Path) -> subprocess.Popen[str]:
        command = list(map(str, words))
        pipe = subprocess.PIPE
        found.append(subprocess.Popen(command, cwd=cwd, stdin=pipe, stdout=pipe, text=True))
        return found[-1]

    yield start
    for one in found:
        one.kill()
        one.communicate()


def test_a_program_keeps_its_view(
    stocked: Workshop,
    started: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Node holds nothing of it, and reads from it whenever it likes."""
    monkeypatch.setattr(collect, "ON_ITS_WAY", 0.0)
    project, other = locked(stocked, "project"), locked(stocked, "other")
    views = {}
    for one in (other, project):
        (one / "server.js").write_text(SERVER)
        stocked.pkgview("up", cwd=one)
        views[one] = Path(os.readlink(one / "node_modules")).parent.name
    server, home, modules = project / "server.js", stocked.home, project / "node_modules"
    away, before, tool = home / "away.js", project / "a b.js", home / "tool"
    away.write_text(SERVER.replace("require('a')", "globalThis.found || require('a')"))
    before.write_text("globalThis.found = require('a')\n")
    data = f"data:text/javascript,import '{before.as_uri()}'"
    tool.symlink_to(modules / "a/server.js")
    pkgview = Path(sys.executable).with_name("pkgview")
    # What tells where it runs, and what does not: then it may be anywhere.
    telling = [
        started("node", "server.js", cwd=project),
        started("env", "-i", shutil.which("node"), server, "/", cwd=home),
        started("env", f"PWD={project}", "node", "-e", SERVER, cwd=project),
        # They have gone elsewhere, and name it.
        started("env", f"NODE_PATH=/nowhere:{modules}", "node", away, "/", cwd=home),
        started("env", f'NODE_OPTIONS=--require "{before}"', "node", away, "/", cwd=home),
        started("node", f"--import={before.as_uri()}", away, "/", cwd=home),
        started("node", "--import", data, away, cwd=home),
        started("node", tool, "/", cwd=home),
    ]
    silent = [
        started("node", "server.js", "/", cwd=project),
        started("node", server, "/", "a server", cwd=home),
    ]
    named = started(
        pkgview, "run", "--", "node", "server.js", "/", "one that is bound", cwd=project
    )
    programs = [*telling, *silent, named]
    assert [one.stdout.readline() for one in programs if one.stdout] == ["ready\n"] * len(programs)
    for one in (other, project):
        locked(stocked, one.name, a="1.0.0")
        stocked.pkgview("up", cwd=one)
    seen = survey(stocked.places)
    assert views[project] in seen.named
    found = {one.pid: one for one in seen.nodes}

    def gone(*programs: subprocess.Popen[str]) -> set[Path]:
        alone = Survey(
            named=frozenset(), programs=(), nodes=tuple(found[one.pid] for one in programs)
        )
        planned = collect.plan(stocked.places, alone, collect.Limits()).views
        return {one for one, view in views.items() if view in planned}

    assert gone() == {project, other}
    assert [gone(one) for one in telling] == [{other}] * len(telling)
    assert [gone(one) for one in silent] == [set()] * len(silent)
    # Wherever the project is by now.
    moved = project.rename(home / "moved")
    found = {one.pid: one for one in survey(stocked.places).nodes}
    assert gone(telling[0]) == {other}
    moved.rename(project)
    assert collect.collect(stocked.places, collect.Limits()) is not None
    for program in programs:
        assert program.communicate("\n", timeout=20)[0] == "2.0.0\n"
