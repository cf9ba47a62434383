"""Programs that see by a file's time that it has changed, after a view has moved on.

Each of them works at version A of a distribution, then at B, then at A again, as they do with what
an installer left; and those that go by what is newer also at C, which has the files of A again, at
A once more, where they begin anew, and at D, which has those of B. All have files of the same
sizes: nothing but the time tells.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.conftest import Index, Site, a_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.fuse

TOOLS = Path(sys.executable).parent


def version(letter: str) -> dict[str, bytes]:
    """The files of a version, of the same sizes in all."""
    return {
        "thing/__init__.py": f'"""Of version {letter}."""\nversion = {letter!r}\n'.encode(),
        "thing/typed.py": b"def take(x: %s) -> None: ...\n" % {"A": b"int", "B": b"str"}[letter],
        f"thing/only_{letter.lower()}.py": b"",
        "thing/static/admin/base.css": f"/* {letter} */\n".encode(),
        "thing/templates/page.mako": f"page {letter}\n".encode(),
        "thing/include/thing.h": f"{letter}\n".encode(),
    }


@dataclass(eq=False, slots=True, kw_only=True)
class Moving:
    """A project whose `.venv` leads to one version after the other."""

    site: Site
    project: Path
    index: Index
    environ: dict[str, str]
    online: Path | None = None
    ended: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    running: subprocess.Popen[str] | None = None

    def up(self, letter: str) -> None:
        number = "ABCD".index(letter) + 1
        (wheel,) = self.index.directory.glob(f"thing-{number}-*.whl")
        (self.project / "requirements.txt").write_text(f"thing @ {wheel.as_uri()}\n")
        self.site.up(self.project)

    @property
    def packages(self) -> Path:
        """By the path that never changes."""
        return self.project / ".venv/site-packages"

    def work(self, name: str) -> Path:
        """A directory of one program's own."""
        directory = self.site.home / "work" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def run(self, *command: str | Path, environ: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            command, cwd=self.work(Path(command[0]).name), env=self.environ | dict(environ or {}),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def python(self, *arguments: str | Path, environ: Mapping[str, str] | None = None) -> str:
        """Run the one that has programs from the index; these are compiled once."""
        assert self.online is not None
        compiling = {**(environ or {}), "PYTHONDONTWRITEBYTECODE": ""}
        return self.run(self.online / "bin/python", *arguments, environ=compiling)


# What each program delivers: the letter of a version


def rsync(moving: Moving) -> str:
    target = moving.work("rsync") / "deployed"
    moving.run("rsync", "-a", f"{moving.packages}/thing", target)
    return (target / "thing/static/admin/base.css").read_text()[3]


def cp_update(moving: Moving) -> str:
    target = moving.work("cp") / "deployed"
    moving.run("cp", "-ru", f"{moving.packages}/thing/.", target)
    return (target / "static/admin/base.css").read_text()[3]


def runs_from_copy(moving: Moving) -> str:
    """What was compiled beside a copy is not run for the next one, though nothing removed it."""
    target = moving.work("deployed")
    without = ("--exclude=__pycache__", f"{moving.packages}/thing", target / "rsync")
    moving.run("rsync", "-aL", *without)
    (target / "cp").mkdir(exist_ok=True)
    moving.run("cp", "-aT", f"{moving.packages}/thing", target / "cp/thing")
    said = {
        moving.run(
            moving.site.python, "-Pc", "import thing; print(thing.version)",
            environ={"PYTHONPATH": os.fspath(target / way), "PYTHONDONTWRITEBYTECODE": ""},
        ).strip()
        for way in ("rsync", "cp")
    }  # fmt: skip
    assert len(list(target.glob("*/thing/__pycache__/__init__.*.pyc"))) == len(("rsync", "cp"))
    return said.pop() if len(said) == 1 else str(said)


def make(moving: Moving) -> str:
    target = moving.work("make")
    header = moving.packages / "thing/include/thing.h"
    (target / "Makefile").write_text(f"out: {header}\n\tcp $< $@\n")
    moving.run("make", "-s", "out")
    return (target / "out").read_text().strip()


def ninja(moving: Moving) -> str:
    target = moving.work("ninja")
    header = moving.packages / "thing/include/thing.h"
    (target / "build.ninja").write_text(
        f"rule copy\n  command = cp $in $out\nbuild out: copy {header}\n"
    )
    moving.run("ninja")
    return (target / "out").read_text().strip()


def cached_bytecode(moving: Moving) -> str:
    environ = {
        "PYTHONPATH": os.fspath(moving.packages),
        "PYTHONPYCACHEPREFIX": os.fspath(moving.work("cache")),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    program = "import thing; print(thing.version)"
    said = moving.run(sys.executable, "-S", "-c", program, environ=environ)
    assert list(moving.work("cache").rglob("*.pyc"))
    return said.strip()


def mypy(moving: Moving) -> str:
    target = moving.work("mypy")
    (target / "uses.py").write_text("from thing.typed import take\n\ntake(1)\n")
    said = subprocess.run(
        [TOOLS / "mypy", "--cache-dir", target / "cache", "uses.py"],
        cwd=target, env=moving.environ | {"MYPYPATH": os.fspath(moving.packages)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode in {0, 1}, said.stderr
    return "A" if "Success" in said.stdout else "B"


RUNNING = """
import importlib, importlib.metadata, sys
sys.path.insert(0, sys.argv[1])
import thing
print("ready", flush=True)
for line in sys.stdin:
    found = []
    for letter in "ab":
        try:
            importlib.import_module(f"thing.only_{letter}")
            found.append(letter.upper())
            del sys.modules[f"thing.only_{letter}"]
        except ImportError:
            pass
    number = int(importlib.metadata.version("thing"))
    assert found == ["AB"[number - 1]], (found, number)
    print(*found, flush=True)
"""


def running_program(moving: Moving) -> str:
    """It imports by a path that leads elsewhere meanwhile; importers look at the directory."""
    if moving.running is None:
        moving.running = moving.ended.enter_context(
            subprocess.Popen(
                [sys.executable, "-S", "-c", RUNNING, moving.packages],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=moving.environ,
            )
        )  # fmt: skip
        moving.ended.callback(moving.running.kill)
        assert moving.running.stdout is not None
        assert moving.running.stdout.readline() == "ready\n"
    assert moving.running.stdin is not None
    assert moving.running.stdout is not None
    moving.running.stdin.write("\n")
    moving.running.stdin.flush()
    return moving.running.stdout.readline().strip()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def http_client(moving: Moving) -> str:
    """It keeps what it got, and asks whether there is something newer, as curl -z does."""
    kept, since = moving.work("http") / "kept", moving.work("http") / "since"
    serve = functools.partial(_Quiet, directory=os.fspath(moving.packages / "thing/static"))
    with http.server.HTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/admin/base.css"
        request = urllib.request.Request(url)
        if since.exists():
            request.add_header("If-Modified-Since", since.read_text())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
                kept.write_bytes(answer.read())
                since.write_text(answer.headers["Last-Modified"])
        except urllib.error.HTTPError as error:
            assert error.code == 304  # noqa: PT017 - or there is no error
        finally:
            server.shutdown()
            thread.join()
    return kept.read_text()[3]


SETTINGS = """
import os
SECRET_KEY = "none"
INSTALLED_APPS = ["django.contrib.staticfiles", "thing"]
STATIC_URL = "static/"
STATIC_ROOT = os.environ["STATIC_ROOT"]
"""

MAKO = """
import sys
from mako.lookup import TemplateLookup
lookup = TemplateLookup([sys.argv[1]], module_directory=sys.argv[2])
print(lookup.get_template("page.mako").render())
"""


def collectstatic(moving: Moving) -> str:
    target = moving.work("django")
    (target / "settings.py").write_text(SETTINGS)
    moving.python(
        "-m", "django", "collectstatic", "--no-input",
        environ={
            "DJANGO_SETTINGS_MODULE": "settings", "STATIC_ROOT": os.fspath(target / "root"),
            "PYTHONPATH": os.pathsep.join(map(os.fspath, (target, moving.packages))),
        },
    )  # fmt: skip
    return (target / "root/admin/base.css").read_text()[3]


def mako(moving: Moving) -> str:
    templates = moving.packages / "thing/templates"
    return moving.python("-c", MAKO, templates, moving.work("mako")).strip()[-1]


def sphinx(moving: Moving) -> str:
    source = moving.work("sphinx") / "source"
    source.mkdir(exist_ok=True)
    if not (source / "conf.py").exists():
        (source / "conf.py").write_text("extensions = ['sphinx.ext.autodoc']\n")
        (source / "index.rst").write_text("Thing\n=====\n\n.. automodule:: thing\n")
    moving.python(
        "-m", "sphinx", "-q", "-b", "text", source, source / "built",
        environ={"PYTHONPATH": os.fspath(moving.packages)},
    )  # fmt: skip
    return (source / "built/index.txt").read_text().split("Of version ")[1][0]


HERE = (
    rsync,
    runs_from_copy,
    cp_update,
    make,
    ninja,
    cached_bytecode,
    mypy,
    running_program,
    http_client,
)
ONLINE = (collectstatic, mako, sphinx)
ONLY_NEWER = {cp_update, make, ninja, http_client, collectstatic, mako, sphinx}
"""They ask whether a file is newer: back at A, which was there before, they keep B, wherever an
installer took A from its cache."""

ALL_DONE, LAST_BACK = 3, 4
"""How many of the steps all programs take, and where those that go on begin anew."""

Delivered = dict[str, list[str]]


def delivered_by(
    programs: tuple[Callable[[Moving], str], ...], online: tuple[str, ...] = ()
) -> Iterator[Delivered]:
    """What each program delivers at A, at B, back at A, at C, again at A and at D, or why not."""
    with a_home() as site, contextlib.ExitStack() as ended:
        index = Index(directory=site.home / "wheels")
        index.directory.mkdir()
        environ = dict(site.environ)
        for number, letter in enumerate("ABAB", 1):
            index.wheel("thing", str(number), version(letter))
        moving = Moving(
            site=site, project=site.project("project"), index=index, environ=environ, ended=ended
        )
        if online:
            moving.online = site.home / "online"
            site.uv("venv", "--python", site.python, moving.online, cwd=site.home)
            site.uv("pip", "install", "--python", moving.online, *online, cwd=site.home)
        delivered: Delivered = {}
        for place, letter in enumerate("ABACAD"):
            moving.up(letter)
            if place == LAST_BACK:
                shutil.rmtree(moving.site.home / "work")
            for program in programs if place < ALL_DONE else ONLY_NEWER.intersection(programs):
                try:
                    found = program(moving)
                except Exception as error:  # noqa: BLE001 - it is the test of that program that fails
                    found = repr(error)
                delivered.setdefault(program.__name__, []).append(found)
            # Nobody installs twice within a tick of the clocks that some programs go by.
            time.sleep(1.1)
        yield delivered


@pytest.fixture(scope="module")
def delivered(fuse: None, needs: Callable[..., None]) -> Iterator[Delivered]:  # noqa: ARG001 - its refusal counts
    needs("rsync", "make", "ninja")
    yield from delivered_by(HERE)


@pytest.fixture(scope="module")
def delivered_online(fuse: None) -> Iterator[Delivered]:  # noqa: ARG001 - its refusal counts
    yield from delivered_by(ONLINE, ("django==5.2.8", "mako==1.3.10", "sphinx==8.2.3"))


@pytest.mark.parametrize("program", HERE)
def test_a_program_sees_that_a_file_is_another(
    delivered: Delivered, program: Callable[[Moving], str]
) -> None:
    since = ["B", "A", "A", "B"] if program in ONLY_NEWER else ["A"]
    assert delivered[program.__name__] == ["A", "B", *since]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("program", ONLINE)
def test_a_program_from_the_index_sees_it(
    delivered_online: Delivered, program: Callable[[Moving], str]
) -> None:
    assert delivered_online[program.__name__] == ["A", "B", "B", "A", "A", "B"]


ARCHIVED = """
import os, shutil, sys, zipapp, zipfile
package, target = sys.argv[1:]
shutil.make_archive(target + "/made", "zip", package)
zipapp.create_archive(package, target + "/app.pyz", main="thing:version")
with zipfile.ZipFile(target + "/all.zip", "w") as file:
    mount = os.path.join(os.environ["HOME"], ".pkgview")
    for name in (".", "views", "packages", "current", "bin", "pyvenv.cfg"):
        file.write(os.path.join(mount, name), name)
"""


def test_what_lies_in_a_view_can_be_zipped_everywhere(
    shop: Site, index: Index, tmp_path: Path
) -> None:
    index.wheel("thing", "1", version("A"))
    project = shop.project("project")
    (project / "requirements.txt").write_text("thing\n")
    shop.up(project)
    package = project / ".venv/site-packages/thing"
    for zone in ("Pacific/Pago_Pago", "UTC", "Pacific/Kiritimati"):
        command = (sys.executable, "-c", ARCHIVED, package, tmp_path)
        shop.run(*command, cwd=project, environ={"TZ": zone})
        with zipfile.ZipFile(tmp_path / "made.zip") as file:
            years = {one.date_time[0] for one in file.infolist()}
        now = time.gmtime().tm_year
        assert years <= {now - 1, now, now + 1}
