"""Every process sees what its own project lists, through one path, whatever the others do."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PROJECTS = ("red", "green", "blue")
EACH = 50 if os.environ.get("PKGVIEW_TEST_ALL") == "1" else 15
LATE = 6

WORKER = r'''
"""Import early and late, in threads, children and other directories; say what was wrong."""
import importlib, json, multiprocessing, os, subprocess, sys, threading

MOUNT, EXPECTED, ELSEWHERE, FOREIGN, STYLE = sys.argv[1:6]
wrong = []


def check(name, where, pinned=STYLE != "path"):
    module = importlib.import_module(name)
    if module.version != EXPECTED:
        wrong.append(f"{where}: {name} is {module.version}")
    if pinned and not os.path.realpath(module.__file__).startswith(f"{MOUNT}/views/{view}/"):
        wrong.append(f"{where}: {name} is from {module.__file__}")


def refuse(name, where):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return
    wrong.append(f"{where}: {name} can be imported")


def link(where):
    found = os.path.basename(os.readlink(f"{MOUNT}/current"))
    if found != view:
        wrong.append(f"{where}: current leads to {found}")


def in_thread(number):
    os.chdir(ELSEWHERE)
    link(f"thread {number}")
    check(f"shared.late{number}", f"thread {number}")


def in_child(queue):
    os.chdir(ELSEWHERE)
    check("shared", "child")
    check("shared.late4", "child")
    refuse(FOREIGN, "child")
    link("child")
    queue.put(wrong)


def started(start):
    context = multiprocessing.get_context(start)
    queue = context.SimpleQueue()
    process = context.Process(target=in_child, args=(queue,))
    process.start()
    wrong.extend(queue.get())
    process.join()


def executed():
    said = subprocess.run(
        [sys.executable, "-c", "import shared.late5; print(shared.late5.version)"],
        cwd=ELSEWHERE, capture_output=True, text=True,
    )
    if said.stdout.strip() != EXPECTED or said.stderr:
        wrong.append(f"executed: {said.stdout} {said.stderr}")


view = os.path.basename(os.readlink(f"{MOUNT}/current"))
if __name__ == "__main__":
    check("shared", "start")
    print("ready", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=in_thread, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in (FOREIGN, "stored"):
        refuse(name, "main")
    if STYLE == "spawn":
        started("spawn")
    elif STYLE == "fork" or STYLE == "path":
        started("fork")
    else:
        executed()
    link("end")
    print(json.dumps(wrong), flush=True)
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Three projects with another version of `shared` each, and one distribution of their own."""

    site: Site
    index: Index
    worker: Path

    @property
    def mount(self) -> Path:
        return self.site.places.mount

    def directory(self, name: str) -> Path:
        return self.site.home / name

    def up(self, name: str, *requirements: str) -> str:
        """(Re)write a project's requirements; its view's id after `pkgview up`."""
        directory = self.directory(name)
        directory.mkdir(exist_ok=True)
        (directory / "requirements.txt").write_text("\n".join(requirements))
        view: str = self.site.up(directory)["view"]
        return view

    def key(self, name: str) -> str:
        """The name of a project's link in `projects/`."""
        (found,) = (self.mount / "projects").glob(f"{name}-*")
        return found.name

    def archives(self) -> list[str]:
        """The store's archives, as `pkgview store` lists them."""
        said = self.site.pkgview("store", "--json", cwd=self.site.home)
        return [found["archive"] for found in json.loads(said.stdout)["archives"]]


@pytest.fixture
def world(shop: Site, index: Index) -> World:
    for version in "123":
        text = f"version = {version!r}\n".encode()
        files = {"shared/__init__.py": text}
        files |= {f"shared/late{number}.py": text for number in range(LATE)}
        index.wheel("shared", version, files)
    for name in (*PROJECTS, "stored"):
        index.wheel(f"{name}_only" if name in PROJECTS else name, "1.0")
    worker = shop.home / "worker.py"
    worker.write_text(WORKER)
    return World(site=shop, index=index, worker=worker)


@pytest.fixture
def three(world: World) -> World:
    for version, name in enumerate(PROJECTS, 1):
        world.up(name, f"shared=={version}", f"{name}_only==1.0")
    world.up("other", "stored==1.0")
    return world


def commands(world: World, number: int) -> tuple[list[str | Path], Path, dict[str, str]]:
    """The command, directory and environment of one of them."""
    project = number % len(PROJECTS)
    name, neighbour = PROJECTS[project], PROJECTS[(project + 1) % len(PROJECTS)]
    own, elsewhere = world.directory(name), world.directory(neighbour)
    style = ("spawn", "fork", "execute", "path", "cwd")[number // len(PROJECTS) % 5]
    environ = {"PYTHONPATH": os.fspath(world.mount / "site-packages")} if style == "path" else {}
    python = world.site.python if style == "path" else world.mount / "bin/python"
    # By the working directory, there being no script; or by the script, in another's directory.
    by_directory = style in {"cwd", "path"}
    run = f"exec(open({os.fspath(world.worker)!r}).read())"
    script = ["-c", run] if by_directory else [own / "worker.py"]
    arguments = (world.mount, str(project + 1), elsewhere, f"{neighbour}_only", style)
    return [python, *script, *map(str, arguments)], own if by_directory else elsewhere, environ


def test_many_processes_of_three_projects_at_once(three: World) -> None:
    for name in PROJECTS:
        (three.directory(name) / "worker.py").write_text(WORKER)
    with ExitStack() as stack:
        running = []
        for number in range(EACH * len(PROJECTS)):
            command, cwd, environ = commands(three, number)
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=cwd,
                    env={**three.site.environ, **environ},
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            stack.callback(process.kill)
            running.append(process)
        answers = []
        for process in running:
            assert process.stdout is not None
            answers.append(process.stdout.readline())
        # Now all of them are there at once; let them go.
        assert [process.poll() for process in running] == [None] * len(running)
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=120) for process in running]
    wrong = {
        number: (answer, out, err)
        for number, (answer, (out, err)) in enumerate(zip(answers, said, strict=True))
        if (answer, out.strip(), err) != ("ready\n", "[]", "")
    }
    assert not wrong, f"{len(wrong)} of {len(running)}: {list(wrong.items())[:3]}"
    assert "Traceback" not in (three.site.places.state / "daemon.log").read_text()


def test_what_a_project_does_not_list_cannot_be_imported(three: World) -> None:
    names = [f"{name}_only" for name in PROJECTS] + ["stored", "shared"]
    program = f"""
import importlib.util, importlib.metadata
for name in {names}:
    if importlib.util.find_spec(name):
        print(name, importlib.metadata.version(name))
print(sorted(found.name for found in importlib.metadata.distributions()))
"""
    kept = {archive.split("-")[0] for archive in three.archives()}
    assert set(names) <= kept  # in the store they are, all of them
    for version, name in enumerate(PROJECTS, 1):
        own = f"{name}_only"
        for python in (three.mount / "bin/python", three.directory(name) / ".venv/bin/python"):
            said = three.site.run(python, "-c", program, cwd=three.directory(name))
            assert said.stdout == (f"{own} 1.0\nshared {version}\n['{own}', 'shared']\n")
            refused = three.site.run(
                python, "-c", "import stored", cwd=three.directory(name), code=1
            )
            assert "ModuleNotFoundError: No module named 'stored'" in refused.stderr


def test_one_path_and_three_answers_without_python(three: World) -> None:
    def listed(name: str) -> set[str]:
        path = three.mount / "site-packages/"
        return set(three.site.run("ls", f"{path}/", cwd=three.directory(name)).stdout.split())

    found = {name: listed(name) for name in PROJECTS}
    for version, name in enumerate(PROJECTS, 1):
        assert f"shared-{version}.dist-info" in found[name]
        assert [other for other in PROJECTS if f"{other}_only.py" in found[name]] == [name]


# `up` while programs run

PATIENT = """
import importlib, sys
import shared
print(shared.version, flush=True)
for line in sys.stdin:
    name = line.strip()
    importlib.invalidate_caches()
    print(importlib.import_module(f"shared.{name}").version, flush=True)
"""


class Patient:
    """A program that imports what it is told to, when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.first = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def imports(self, name: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return self._line()


def test_a_running_program_keeps_its_view(world: World) -> None:
    old = world.up("red", "shared==1")
    directory = world.directory("red")
    ways: list[tuple[Path, dict[str, str]]] = [
        (world.mount / "bin/python", {}),
        (directory / ".venv/bin/python", {}),
        (world.mount / "views" / old / "bin/python", {}),
        (world.mount / f"projects/{world.key('red')}/bin/python", {}),
        (world.site.python, {"PYTHONPATH": os.fspath(world.mount / "site-packages")}),
    ]
    with ExitStack() as stack:

        def start(python: Path, environ: dict[str, str]) -> Patient:
            process = stack.enter_context(
                subprocess.Popen(
                    [python, "-c", PATIENT],
                    cwd=directory,
                    env={**world.site.environ, **environ},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return Patient(process)

        running = [start(*way) for way in ways]
        assert [program.first for program in running] == ["1"] * len(ways)
        new = world.up("red", "shared==2")
        assert new != old
        assert [program.imports("late0") for program in running] == ["1"] * len(ways)
        # A new process gets the new view, but where the old one is named outright.
        fresh = [start(*way) for way in ways]
        assert [program.first for program in fresh] == ["2", "2", "1", "2", "2"]
        world.up("red", "shared==3")
        assert [program.imports("late1") for program in running] == ["1"] * len(ways)
        assert [program.imports("late0") for program in fresh] == ["2", "2", "1", "2", "2"]


def test_what_a_program_starts_keeps_its_view(world: World) -> None:
    world.up("red", "shared==1")
    world.up("green", "shared==2")
    # Started through the magic link, then gone to another project's directory.
    program = f"""
import os, subprocess, sys
import shared
os.chdir({os.fspath(world.directory("green"))!r})
code = "import shared; print(shared.version)"
again = {os.fspath(world.mount / "bin/python")!r}
for command in ([sys.executable], [sys.executable, "-I"], [again]):
    print(subprocess.run([*command, "-c", code], capture_output=True, text=True).stdout.strip())
"""
    said = world.site.run(world.mount / "bin/python", "-c", program, cwd=world.directory("red"))
    # Only the last one asks anew, by the name that means another view to each process.
    assert said.stdout.split() == ["1", "1", "2"]


# Projects without a view


def test_a_project_without_a_view_is_told_and_goes_on(world: World) -> None:
    world.up("red", "shared==1")
    bare = world.directory("a b'c")
    bare.mkdir()
    (bare / "requirements.txt").write_text("shared==9")  # nobody has that
    python = world.mount / "bin/python"
    for _ in range(2):
        said = world.site.run(python, "-c", "print('on')", cwd=bare)
        assert said.stdout == "on\n"
        assert said.stderr.startswith("pkgview: ")
        assert os.fspath(bare) in said.stderr
        # Though `site` may read the line twice.
        assert said.stderr.count("`pkgview up ") == 1
        assert shlex.quote(os.fspath(bare)) in said.stderr
    refused = world.site.run(python, "-c", "import shared", cwd=bare, code=1)
    assert "No module named 'shared'" in refused.stderr
    # The others are told nothing.
    version = "import shared; print(shared.version)"
    said = world.site.run(python, "-c", version, cwd=world.directory("red"))
    assert (said.stdout, said.stderr) == ("1\n", "")
    world.up("a b'c", "shared==2")
    said = world.site.run(python, "-c", version, cwd=bare)
    assert (said.stdout, said.stderr) == ("2\n", "")


def test_nowhere_in_particular_there_is_an_empty_environment(world: World) -> None:
    world.up("red", "shared==1")
    program = "import importlib.metadata as m; print([d.name for d in m.distributions()])"
    said = world.site.run(world.mount / "bin/python", "-c", program, cwd=world.site.home)
    assert (said.stdout, said.stderr) == ("[]\n", "")


def test_a_project_of_which_nothing_can_be_read_is_told_why(world: World) -> None:
    world.up("red", "shared==1")
    odd = world.directory("odd")
    odd.mkdir()
    (odd / "pyproject.toml").write_bytes(b"[project\n\x1b[31m\xff")
    said = world.site.run(world.mount / "bin/python", "-c", "print('on')", cwd=odd)
    assert said.stdout == "on\n"
    assert said.stderr.startswith("pkgview: ")
    assert os.fspath(odd) in said.stderr
    assert "\x1b" not in said.stderr
