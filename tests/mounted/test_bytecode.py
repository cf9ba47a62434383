"""Bytecode of views, seen by unmodified interpreters: made once, never made by a program."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.python.interpreter import inspect
from unionfs.bytecode import compilers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

MODULES = 20
FROM = re.compile(r"^# code object from '?(.*?)'?$", re.MULTILINE)
"""What `python -v` says of where a module's code is from."""


@pytest.fixture
def demo(index: Index) -> None:
    """Two distributions: a package with a namespace package, and a single module."""
    files = {f"demo/m{number}.py": f"x = {number}\n" for number in range(MODULES)}
    files["demo/__init__.py"] = "".join(f"from demo import m{n}\n" for n in range(MODULES))
    files |= {"space/demo.py": "", "demo/broken.py": "def"}
    index.wheel("demo", files={path: text.encode() for path, text in files.items()})
    index.wheel("single", requires=["demo"])


def project(shop: Site, name: str) -> Path:
    directory = shop.project(name)
    (directory / "requirements.txt").write_text("demo\nsingle\n")
    return directory


IMPORT = "import demo, single, space.demo, _pkgview_pin"
WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


def loaded(shop: Site, directory: Path) -> list[str]:
    """From which files of the view a fresh interpreter loads its modules."""
    python = directory / ".venv/bin/python"
    said = shop.run(python, "-v", "-c", IMPORT, cwd=shop.home, environ=WITH_BYTECODE).stderr
    link = directory / ".venv"
    return [
        path
        for path in FROM.findall(said)
        # The pin is found through the link, all else after it.
        if Path(path).is_relative_to(link) or Path(path).resolve().is_relative_to(link.resolve())
    ]


def store(shop: Site) -> dict[str, int]:
    shop.pkgview("store", "verify", cwd=shop.home)
    said = json.loads(shop.pkgview("store", "--json", cwd=shop.home).stdout)
    return {one["archive"]: one["views"] for one in said["archives"]}


def test_a_copy_with_bytecode_is_replaced_with_all_that_it_has(
    shop: Site, index: Index, needs: Callable[..., None]
) -> None:
    """As docs/differences.md says: what is left of it Python runs beside newer sources."""
    needs("rsync")
    directory, copy = shop.project("p"), shop.home / "copy"
    said = []
    for number, compiling, options in (
        ("1", ["--compile"], []),
        ("2", [], []),
        ("2", [], ["--delete"]),
        ("3", ["--compile"], ["--delete"]),
        ("4", [], ["--delete"]),
    ):
        index.wheel("thing", number)
        (directory / "requirements.txt").write_text(f"thing=={number}\n")
        shop.up(directory, *compiling)
        site = f"{directory}/.venv/site-packages/"
        shop.run("rsync", "-aL", *options, site, copy, cwd=directory)
        show = f"import sys; sys.path.insert(0, {str(copy)!r}); import thing; print(thing.version)"
        said += shop.run(shop.python, "-Ic", show, cwd=shop.home).stdout.split()
    assert said == ["1", "1", "2", "3", "4"]


@pytest.mark.usefixtures("demo")
def test_nothing_is_compiled_by_a_program(shop: Site) -> None:
    first = project(shop, "first")
    plain = shop.up(first)
    assert plain["compiled"] == 0
    assert {path.endswith(".py") for path in loaded(shop, first)} == {True}

    made = shop.up(first, "--compile")
    assert made["compiled"] == 3  # the view's own files, too
    assert made["changed"]
    assert made["view"] != plain["view"]
    seen = loaded(shop, first)
    assert len(seen) == MODULES + 4
    assert [path for path in seen if not path.endswith(".pyc")] == []

    said = json.loads(shop.pkgview("view", "--json", cwd=first).stdout)
    (single,) = (layer for layer in said["layers"] if layer["name"] == "single")
    path = (
        f"site-packages/__pycache__/single.{inspect(shop.python, shop.places.state).cache_tag}.pyc"
    )
    why = json.loads(shop.pkgview("why", "--json", path, cwd=first).stdout)
    (giver,) = why["given_by"]
    assert (giver["name"], giver["archive"]) == ("single", single["bytecode"])

    again = shop.up(first, "--compile")
    assert (again["view"], again["compiled"], again["changed"]) == (made["view"], 0, False)
    assert shop.up(first)["view"] == made["view"]


@pytest.mark.usefixtures("demo")
def test_a_fresh_clone_has_it_at_once_and_reads_it_no_more(shop: Site) -> None:
    """What one view has read, the kernel has for all: the same bytecode is the same inode."""
    first = project(shop, "first")
    shop.up(first, "--compile")
    loaded(shop, first)
    before = requests(shop)
    clone = project(shop, "clone")
    (clone / "requirements.txt").write_text("demo\nsingle==1.0\n# another view\n")
    made = shop.up(clone, "--python", os.fspath(shop.python))
    assert made["compiled"] == 0
    assert all(path.endswith(".pyc") for path in loaded(shop, clone))
    assert requests(shop).get("READ", 0) - before.get("READ", 0) == 0
    used = store(shop)
    assert len([name for name in used if ".pyc." in name]) == 3


def requests(shop: Site) -> dict[str, int]:
    said: dict[str, Any] = json.loads(shop.pkgview("status", "--json", cwd=shop.home).stdout)
    found: dict[str, int] = said["requests"]
    return found


@pytest.mark.usefixtures("demo")
def test_it_is_what_uv_would_compile(shop: Site) -> None:
    directory = project(shop, "first")
    shop.pkgview("lock", "--python", shop.python, cwd=directory)
    view = Path(shop.up(directory, "--compile")["path"])
    other = shop.uv_environment(directory, shop.home / "by-uv")
    # uv ends with a failure where something cannot be compiled, having compiled the rest.
    shop.uv(
        *("pip", "install", "--reinstall", "--compile-bytecode", "--python", other, "single"),
        cwd=directory,
        code=None,
    )
    shop.run(
        other / "bin/python", "-m", "compileall", "-q", other / "lib", cwd=directory, code=None
    )

    def compiled(root: Path) -> set[str]:
        found = {os.fspath(path.relative_to(root)) for path in root.rglob("__pycache__/*")}
        return {path for path in found if "/_" not in path.replace("/__", "")}

    assert compiled(view) == compiled(other)
    assert len(compiled(view)) > MODULES


def other_pythons() -> list[Path]:
    """One interpreter of every other minor version of this machine that a view may be for."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found: dict[tuple[int, int], Path] = {}
    for path in (*root.glob("versions/3.*/bin/python3"), *Path("/usr/bin").glob("python3.*[0-9]")):
        said = subprocess.run(
            [path, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"],
            check=False, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        version = (int(said[0]), int(said[1]))
        if (3, 10) <= version != sys.version_info[:2]:
            found[version] = path
    return [found[version] for version in sorted(found)]


@pytest.mark.usefixtures("demo")
def test_pythons_beside_each_other(shop: Site) -> None:
    others = other_pythons()
    if not others:
        pytest.skip("one Python only")
    directory = project(shop, "first")
    views = {}
    for python in (shop.python, *others):
        tag = inspect(python, shop.places.state).cache_tag
        made = json.loads(
            shop.pkgview(
                "up", "--compile", "--json", "--python", python, cwd=directory
            ).stdout
        )  # fmt: skip
        assert made["compiled"] == 3
        seen = loaded(shop, directory)
        assert len(seen) == MODULES + 4
        assert all(path.endswith(f".{tag}.pyc") for path in seen), seen
        views[tag] = made["view"]
    assert len(set(views.values())) == len(views) == 1 + len(others)


BLOCKING = """
import builtins, os, runpy, sys, time
real = compile
def blocking(source, name, mode, **options):
    if name == "demo/m7.py":
        with open(HERE + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(HERE + ".new", HERE)
        time.sleep(600)
    return real(source, name, mode, **options)
sys.argv[0] = REAL
HERE = %(here)r
import resource
resource.setrlimit = lambda *_: None
builtins.compile = blocking
runpy.run_path(REAL, run_name="__main__")
"""


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("killed", ["up", "compiler"])
def test_killed_half_way(shop: Site, killed: str) -> None:
    """The store is whole, nothing is left behind, and the next run completes it."""
    directory = project(shop, "first")
    shop.up(directory)
    here, script = shop.home / "here", shop.home / "blocking.py"
    script.write_text(
        f"REAL = {os.fspath(compilers.COMPILER)!r}\n" + BLOCKING % {"here": str(here)}
    )
    code = (
        "from pathlib import Path\nfrom unionfs import cli\n"
        "from unionfs.bytecode import compilers\n"
        f"compilers.COMPILER = Path({os.fspath(script)!r})\ncli.main()"
    )
    environ = {**shop.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = ("up", "--compile", "--python", os.fspath(shop.python))
    command = [sys.executable, "-P", "-c", code, *arguments]
    with subprocess.Popen(command, cwd=directory, env=environ, stderr=subprocess.PIPE) as running:
        compiler = waited_for(here, running)
        os.kill(compiler if killed == "compiler" else running.pid, signal.SIGKILL)
        if killed == "compiler":
            # It is tried once more, and then that file is left out.
            deadline = time.monotonic() + 60
            while waited_for(here, running) == compiler:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(waited_for(here, running), signal.SIGKILL)
        running.communicate(timeout=60)
        if killed == "up":
            os.kill(compiler, signal.SIGKILL)  # it sleeps, and would notice later
    assert running.returncode == (0 if killed == "compiler" else -signal.SIGKILL)
    store(shop)
    compiled = shop.up(directory, "--compile")["compiled"]
    assert compiled == 0 if killed == "compiler" else compiled >= 1
    sources = [path for path in loaded(shop, directory) if path.endswith(".py")]
    assert [path.rpartition("/")[2] for path in sources] == (
        ["m7.py"] if killed == "compiler" else []
    )
    left = [path.name for path in shop.places.cache.rglob("compile-*")]
    assert left == []
    assert not [path for path in shop.places.store.rglob(".tmp-*") if path.is_file()]


def waited_for(here: Path, parent: subprocess.Popen[bytes]) -> int:
    """The pid of the compiler that has come to the file where it stops."""
    deadline = time.monotonic() + 60
    while not here.exists():
        assert parent.poll() is None, parent.stderr and parent.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(here.read_text())


# In the background


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def pending(shop: Site) -> int:
    said = json.loads(shop.pkgview("status", "--json", cwd=shop.home).stdout)
    return int(said["compiling"])


def by_itself(shop: Site, *, compiles: bool) -> Site:
    """The same home, for programs that start a daemon that does or does not."""
    return replace(shop, environ={**shop.environ, "PKGVIEW_COMPILE": str(int(compiles))})


RUNNING = """
import os, sys, demo.m0
print("begun", flush=True)
sys.stdin.readline()
import demo.m1, single
print(os.path.realpath(demo.m1.__file__), flush=True)
"""


@pytest.mark.usefixtures("demo")
def test_in_the_background(shop: Site) -> None:
    """Two projects with one view: new programs get the bytecode, running ones keep their view."""
    first, second = project(shop, "first"), project(shop, "second")
    plain = shop.up(first)
    assert shop.up(second)["view"] == plain["view"]
    links = {os.readlink(one / ".venv") for one in (first, second)}
    assert links == {plain["path"]}
    assert pending(shop) == 0
    shop.pkgview("umount", cwd=shop.home)

    busy = by_itself(shop, compiles=True)
    busy.pkgview("mount", cwd=shop.home)
    with subprocess.Popen(
        [first / ".venv/bin/python", "-c", RUNNING], env=dict(shop.environ), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        until(lambda: os.readlink(first / ".venv") not in links, "nothing is compiled")
        until(lambda: os.readlink(second / ".venv") not in links, "one project was forgotten")
        until(lambda: pending(shop) == 0, "it does not end")
        output, _ = program.communicate("\n", timeout=60)
    assert output.startswith(plain["path"])
    for one in (first, second):
        assert all(path.endswith(".pyc") for path in loaded(shop, one))
        again = shop.up(one)
        assert (again["path"], again["changed"]) == (os.readlink(one / ".venv"), False)
    store(shop)


@pytest.mark.usefixtures("demo")
def test_up_begins_it_and_does_not_wait(shop: Site) -> None:
    busy = by_itself(shop, compiles=True)
    directory = project(shop, "first")
    made = busy.up(directory)
    assert made["compiled"] == 0
    pinned = json.loads(shop.pkgview("store", "pin", "--json", cwd=directory).stdout)
    until(lambda: os.readlink(directory / ".venv") != made["path"], "nothing is compiled")
    assert all(path.endswith(".pyc") for path in loaded(shop, directory))
    through = busy.run(
        shop.places.mount / "bin/python",
        "-c",
        "import demo, os; print(os.path.realpath(demo.__file__))",
        cwd=directory,
    )
    assert through.stdout.startswith(os.readlink(directory / ".venv"))
    # It is the same view, to who has it kept.
    (listed,) = json.loads(shop.pkgview("store", "pin", "--list", "--json", cwd=shop.home).stdout)
    assert listed["projects"] == [str(directory)]
    assert listed["view"] == pinned["view"]
    shop.pkgview("store", "unpin", cwd=directory)
    assert shop.pkgview("store", "pin", "--list", "--json", cwd=shop.home).stdout == "[]\n"


@pytest.mark.usefixtures("demo")
def test_what_cannot_be_compiled_is_said_and_goes_on(shop: Site) -> None:
    directory = project(shop, "first")
    made = shop.up(directory)
    shop.pkgview("umount", cwd=shop.home)
    (damaged,) = (shop.places.store / "archives").glob("demo-*")
    damaged.chmod(0o644)
    content = bytearray(damaged.read_bytes())
    content[20:30] = bytes(10)
    damaged.write_bytes(content)
    by_itself(shop, compiles=True).pkgview("mount", cwd=shop.home)
    Path(made["path"], "pyvenv.cfg").stat()
    log = shop.places.state / "daemon.log"
    until(lambda: "nothing to compile: demo-" in log.read_text(), "nothing is said")
    until(lambda: pending(shop) == 0, "it does not end")
    assert os.readlink(directory / ".venv") == made["path"]
