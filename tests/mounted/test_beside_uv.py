"""uv and pkgview in one project, by turns: what either did, the other finds done."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

BACKEND = """\
import base64, hashlib, tomllib, zipfile
from pathlib import Path

def _wheel(directory, files):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    stem = f"{project['name']}-{project['version']}"
    metadata = f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n"
    metadata += "".join(f"Requires-Dist: {one}\\n" for one in project.get("dependencies", []))
    files[f"{stem}.dist-info/METADATA"] = metadata
    files[f"{stem}.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    lines = "".join(f"{name} = {call}\\n" for name, call in project.get("scripts", {}).items())
    files[f"{stem}.dist-info/entry_points.txt"] = "[console_scripts]\\n" + lines
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\\n"
    files[f"{stem}.dist-info/RECORD"] = record + f"{stem}.dist-info/RECORD,,\\n"
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, name), "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return name

def build_wheel(directory, settings=None, metadata=None):
    return _wheel(directory, {path.name: path.read_text() for path in Path("src").glob("*.py")})

def build_editable(directory, settings=None, metadata=None):
    name = Path.cwd().name
    return _wheel(directory, {f"_{name}.pth": f"{Path('src').absolute()}\\n"})
"""
"""A build back end that needs nothing."""

SAY = """\
import importlib.metadata as m, json
print(json.dumps(sorted((one.name, one.version) for one in m.distributions())))
"""

STEPS = int(os.environ.get("PKGVIEW_TURNS", "6"))
SEEDS = range(int(os.environ.get("PKGVIEW_TURNS_SEEDS", "1")))
"""More of both: `PKGVIEW_TURNS=20 PKGVIEW_TURNS_SEEDS=50 pytest … -k turns`."""

PAGE = Path(__file__).parents[2] / "docs/beside-uv.md"

READ_ONLY = "Read-only file system"


def package(directory: Path, requires: Iterable[str] = (), more: str = "") -> Path:
    """A project that is a package with a src layout, and has no dependency to be built."""
    (directory / "src").mkdir(parents=True)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{directory.name}"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {list(requires)}\n"
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n' + more
    )
    (directory / "backend.py").write_text(BACKEND)
    (directory / f"src/{directory.name}.py").write_text("value = 1\n")
    return directory


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def checked(shop: Site, directory: Path) -> None:
    """`uv sync` finds nothing to do, and neither does `uv run`."""
    assert "Checked" in shop.uv("sync", cwd=directory).stderr
    shop.uv("run", "python", "-c", "import app, lib, tool, alpha, beta", cwd=directory)


def with_function(shop: Site, *arguments: str, cwd: Path, code: int = 2) -> str:
    """What uv says in a shell with the function that the page has."""
    (function,) = re.findall(r"```sh\n(uv\(\).*?\n)```", PAGE.read_text(), re.DOTALL)
    path = os.pathsep.join((os.fspath(Path(uv_binary()).parent), shop.environ["PATH"]))
    return shop.run(
        "bash", "-c", f'{function}uv "$@"', "-", *arguments,
        cwd=cwd, code=code, environ={"PATH": path},
    ).stderr  # fmt: skip


def test_uv_has_nothing_to_do_where_the_view_is_up_to_date(shop: Site, index: Index) -> None:
    """A package, a member of its workspace, a path dependency, a wheel by its path."""
    index.wheel("alpha")
    app = package(
        shop.home / "app", ["alpha", "lib", "tool", "beta"],
        '[tool.uv]\ncache-keys = ["pyproject.toml", "data/*.txt"]\n'
        '[tool.uv.workspace]\nmembers = ["lib"]\n[tool.uv.sources]\nlib = { workspace = true }\n'
        'tool = { path = "tool" }\nbeta = { path = "beta-1.0-py3-none-any.whl" }\n',
    )  # fmt: skip
    lib, tool = package(app / "lib", ["alpha"]), package(app / "tool")
    wheel = shutil.move(index.wheel("beta"), app / "beta-1.0-py3-none-any.whl")
    shop.uv("lock", cwd=app)
    shop.up(app)
    checked(shop, app)

    # Times say nothing of content.
    (app / "data").mkdir()
    for path in (app, lib, tool):
        os.utime(path / "pyproject.toml")
        append(path / f"src/{path.name}.py", "value = 2\n")
        (path / "src").rename(path / "kept")
        shutil.copytree(path / "kept", path / "src")
    os.utime(wheel)
    checked(shop, app)

    # Content does: there is something to do, for both.
    (app / "data/new.txt").write_text("")
    shop.uv("sync", cwd=app, code=2)
    shop.up(app)
    checked(shop, app)
    append(tool / "pyproject.toml", '[project.scripts]\nshow = "tool:show"\n')
    said = with_function(shop, "sync", cwd=lib)
    assert READ_ONLY in said
    assert f"{app}/.venv is pkgview's and read-only: run `pkgview up`\n" in said
    shop.up(app)
    checked(shop, app)
    assert (app / ".venv/bin/show").exists()
    assert "pkgview" not in with_function(shop, "run", "false", cwd=app, code=1)
    said = with_function(shop, "add", "alpha<1", cwd=app, code=1)
    assert said.endswith('If it is a "Read-only file system": `pkgview add`\n')
    shop.pkgview("umount", cwd=shop.home)  # as after a reboot
    said = with_function(shop, "run", "true", cwd=lib)
    assert "File exists (os error 17)" in said
    assert said.endswith(f"{app}/.venv leads nowhere: run `pkgview mount`\n")


class Turns:
    """A repository in which uv and pkgview are used by turns."""

    def __init__(self, shop: Site, seed: int) -> None:
        self.shop = shop
        self.chance = random.Random(seed)  # noqa: S311 - which step comes next, no secret
        self.app = package(shop.home / "app")
        self.other = shop.home / "other"
        self.listed: dict[str, set[str]] = {"main": set()}
        self.branch = "main"
        self.git("init", "--quiet", "--initial-branch=main")
        (self.app / ".gitignore").write_text(".venv\n__pycache__\n")
        shop.uv("lock", cwd=self.app)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=main")

    def git(self, *arguments: str) -> None:
        named = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        self.shop.run("git", *named, *arguments, cwd=self.app)

    def either(self, uv: tuple[str, ...], ours: tuple[str, ...], *arguments: str) -> None:
        """Have one of them do it."""
        if self.chance.random() < 0.5:
            self.shop.uv(*uv, *arguments, cwd=self.app)
        else:
            self.shop.pkgview(*ours, *arguments, cwd=self.app)

    def add(self) -> None:
        name = self.chance.choice(("alpha", "beta", "gamma"))
        wanted = self.chance.choice((name, f"{name}==1.0", f"{name}>=1.0"))
        self.either(("add", "--no-sync"), ("add",), wanted)
        self.listed[self.branch].add(name)

    def remove(self) -> None:
        if names := sorted(self.listed[self.branch]):
            name = self.chance.choice(names)
            self.either(("remove", "--no-sync"), ("remove",), name)
            self.listed[self.branch].remove(name)

    def lock(self) -> None:
        self.shop.uv("lock", *self.chance.choice(((), ("--upgrade",))), cwd=self.app)

    def up(self) -> None:
        self.shop.pkgview("up", cwd=self.app)
        self.either(("sync",), ("up",))

    def run(self) -> None:
        self.either(("run", "--no-sync"), ("run", "--"), "python", "-c", "pass")

    def touch(self) -> None:
        append(self.app / "pyproject.toml", self.chance.choice(("", "# a comment\n")))

    def switch(self) -> None:
        self.git("commit", "--quiet", "--all", "--allow-empty", "--message=more")
        others = sorted(self.listed.keys() - {self.branch})
        if others and self.chance.random() < 0.7:
            branch = self.chance.choice(others)
            self.git("switch", "--quiet", branch)
        else:
            branch = f"branch{len(self.listed)}"
            self.listed[branch] = set(self.listed[self.branch])
            self.git("switch", "--quiet", "--create", branch)
        self.branch = branch

    def check(self, done: list[str]) -> None:
        """The view has what uv installs elsewhere, and uv finds nothing to do in it."""
        self.shop.pkgview("up", cwd=self.app)
        assert "Checked" in self.shop.uv("sync", cwd=self.app).stderr, done
        there = {"UV_PROJECT_ENVIRONMENT": os.fspath(self.other)}
        self.shop.run(uv_binary(), "sync", cwd=self.app, environ=there)
        view, uvs = (
            json.loads(self.shop.run(at / "bin/python", "-c", SAY, cwd=self.app).stdout)
            for at in (self.app / ".venv", self.other)
        )
        assert view == uvs, done
        assert {name for name, _ in view} >= self.listed[self.branch] | {"app"}, done


@pytest.mark.parametrize("seed", SEEDS)
def test_turns(shop: Site, index: Index, seed: int) -> None:
    """Whatever either did, both say the same of what is there."""
    for name, version, requires in (
        ("alpha", "1.0", ()), ("alpha", "2.0", ()), ("beta", "1.0", ()),
        ("gamma", "1.0", ("alpha<2",)), ("gamma", "2.0", ("alpha", "beta")),
    ):  # fmt: skip
        index.wheel(name, version, requires=requires)
    turns = Turns(shop, seed)
    steps = (turns.add, turns.remove, turns.lock, turns.up, turns.run, turns.touch, turns.switch)
    # All of them, before any comes again.
    order = [step for _ in range(STEPS) for step in turns.chance.sample(steps, len(steps))]
    done: list[str] = []
    for step in [turns.add, *order][:STEPS]:
        done.append(step.__name__)
        step()
        turns.check(done)


def shown(shop: Site, directory: Path) -> set[str]:
    """The distributions of a project's view."""
    said = shop.run(directory / ".venv/bin/python", "-c", SAY, cwd=directory).stdout
    return {name for name, _ in json.loads(said)}


def files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_view_follows_what_is_added_and_removed(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    app, other = package(shop.home / "app", ["alpha"], "# why\n"), package(shop.home / "other")
    shop.run("git", "init", "--quiet", cwd=app)
    said = shop.pkgview("add", "--editable", "other", "--directory", app, cwd=shop.home).stderr
    assert f"Linked {app}/.venv, which git ignores here (info/exclude).\n" in said
    # Nobody has made a view of it before: all of it has come, with the versions that were built.
    assert re.findall(r"^ (.*)", said, re.MULTILINE) == ["+ alpha 1.0", "+ app 1.0", "+ other 1.0"]
    assert "# why\n" in (app / "pyproject.toml").read_text()
    assert shown(shop, app) == {"app", "alpha", "other"}
    append(other / "src/other.py", "value = 5\n")
    code = "import other; print(other.value)"
    assert shop.run(app / ".venv/bin/python", "-c", code, cwd=app).stdout == "5\n"
    shop.pkgview("remove", "alpha", cwd=app)
    assert shown(shop, app) == {"app", "other"}
    for _ in range(2):
        assert ".venv" not in shop.run("git", "status", "--porcelain", cwd=app).stdout
        shop.pkgview("down", cwd=app)
        assert ".venv" not in (app / ".git/info/exclude").read_text()
        assert "git ignores" in shop.pkgview("up", cwd=app).stderr

    # A build that fails comes after all edits: nothing is left of them.
    (package(shop.home / "broken") / "backend.py").write_text("raise SystemExit('no compiler')\n")
    before, view = files(app), os.readlink(app / ".venv")
    said = shop.pkgview("add", "alpha", "--editable", "../broken", cwd=app, code=1).stderr
    assert "no compiler" in said
    assert files(app) == before
    assert os.readlink(app / ".venv") == view
    said = shop.pkgview("add", "alpha", "--dev", "--optional", "x", cwd=app, code=2).stderr
    assert "exclude each other" in said
    (app / ".venv").unlink()
    (app / ".venv").mkdir()
    said = shop.pkgview("remove", "other", cwd=app, code=1).stderr
    assert "pkgview up --force" in said
    assert files(app) == before


def test_two_that_add_at_once_and_what_uv_advises(shop: Site, index: Index) -> None:
    for name in ("alpha", "beta", "gamma"):
        index.wheel(name)
    app = package(shop.home / "app", [], '[tool.uv.workspace]\nmembers = ["lib"]\n')
    lib = package(app / "lib")
    shop.uv("lock", cwd=app)
    asked = ((app, "alpha"), (app, "beta"), (lib, "gamma"))
    with ThreadPoolExecutor() as pool:  # one of a member that has the same lock, too
        list(pool.map(lambda one: shop.pkgview("add", "--dev", one[1], cwd=one[0]), asked))
    assert shown(shop, app) == {"app", "alpha", "beta"}
    assert shown(shop, lib) == {"lib", "gamma"}
    said = shop.pkgview("remove", "beta", cwd=app, code=1).stderr
    assert "(try: `pkgview remove beta --group dev`)" in said
    shop.uv("lock", "--check", cwd=app)


def test_a_script_s_block_is_edited(shop: Site, index: Index) -> None:
    """By uv, as `uv add --script` does it: comments stay."""
    index.wheel("alpha")
    index.wheel("beta", requires=["alpha"])
    script = shop.project("here") / "s.py"
    package(shop.home / "lib")
    script.write_text("# why\nimport alpha\nprint(alpha.version)\n")
    script.chmod(0o750)
    said = shop.pkgview("add", "--script", "here/s.py", "alpha", cwd=shop.home).stderr
    assert re.findall(r"^ (.*)", said, re.MULTILINE) == ["+ alpha 1.0"]
    text = script.read_text()
    assert '# dependencies = [\n#     "alpha>=1.0",\n# ]\n' in text
    assert text.endswith("# why\nimport alpha\nprint(alpha.version)\n")
    assert script.stat().st_mode & 0o777 == 0o750
    assert shop.pkgview("run", "s.py", cwd=script.parent).stdout == "1.0\n"
    shop.pkgview("add", "--script", "s.py", "beta", "--editable", "../lib", cwd=script.parent)
    assert 'path = "../lib", editable = true' in script.read_text()
    shop.pkgview("remove", "--script", "s.py", "lib", "alpha", cwd=script.parent)
    text = script.read_text()
    assert "lib" not in text
    assert '"beta>=1.0"' in text
    shop.uv("lock", "--script", "s.py", cwd=script.parent)
    before = files(script.parent)
    for wanted in ("nonesuch", "a b"):
        shop.pkgview("add", "--script", "s.py", wanted, cwd=script.parent, code=1)
    shop.pkgview("remove", "--script", "s.py", "alpha", cwd=script.parent, code=1)
    shop.pkgview("add", "--script", "s.py", "alpha", "--dev", cwd=script.parent, code=2)
    assert (
        "no script"
        in shop.pkgview("add", "--script", "t.py", "alpha", cwd=shop.home, code=1).stderr
    )
    assert files(script.parent) == before
    shop.pkgview("add", "--script", "s.py", "alpha==1.0", cwd=script.parent)
    shop.uv("lock", "--check", "--script", "s.py", cwd=script.parent)

    # The lock that uv made is the script's own: kept to, and noticed where it is outdated.
    index.wheel("beta", "2.0")
    shop.pkgview("up", "s.py", cwd=script.parent)
    code = "import beta; print(beta.version)"
    command = ("run", "--project", "s.py", "--", "python", "-c", code)
    assert shop.pkgview(*command, cwd=script.parent).stdout == "1.0\n"
    script.write_text(script.read_text().replace("beta>=1.0", "beta>=2.0"))
    said = shop.pkgview("up", "--locked", "s.py", cwd=script.parent, code=1).stderr
    assert "s.py.lock is outdated: the script asks for beta>=2.0" in said
    assert f"uv lock --script {script}" in said
    looked = shop.run(shop.places.mount / "bin/python", "s.py", cwd=script.parent)
    assert looked.stdout == "1.0\n"
    assert "s.py.lock is outdated (the script asks for beta>=2.0)" in looked.stderr
    shop.uv("lock", "--check", "--script", "s.py", cwd=script.parent, code=1)
    said = shop.pkgview("up", "s.py", cwd=script.parent).stderr
    # The view with it is there already, by who only looked.
    changed = "In the lock: ~ beta 1.0 \N{RIGHTWARDS ARROW} 2.0.\n"
    assert f"s.py.lock was outdated, and is refreshed.\n{changed}" in said
    shop.uv("lock", "--check", "--script", "s.py", cwd=script.parent)
