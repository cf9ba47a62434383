"""Standing paths: what is kept by the path of a distribution is found when another has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.upkeep import collect
from unionfs.upkeep.inuse import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

SAY = "import alpha; print(alpha.__file__)"

RUNNING = """
import alpha, os, sys
ALSO
print(alpha.__file__, flush=True)
sys.stdin.readline()
import beta
with open(os.path.dirname(alpha.__file__) + "/beta.py") as file:
    print(beta.version, file.readline().strip(), beta.__file__, flush=True)
"""

SPAWN = """
import multiprocessing, os, sys

def child(_):
    import beta
    return beta.version, os.path.dirname(beta.__file__)

if __name__ == "__main__":
    print("begun", flush=True)
    sys.stdin.readline()
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(*pool.map(child, [0])[0], flush=True)
"""


HANDS_ON = f"""
import os, sys
python = sys._base_executable
environ = {{**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}}
os.execve(python, [python, "-c", {RUNNING.replace("ALSO", "")!r}], environ)
"""
"""A program that becomes one which is none of the view's, but has its modules."""

TELLS = """
import alpha, os
script = 'echo "$0"/alpha.py; read go; head -n 1 "$0"/beta.py'
os.execv("/bin/sh", ["sh", "-c", script, os.path.dirname(alpha.__file__)])
"""


def up_with(shop: Site, directory: Path, beta: str) -> dict[str, Any]:
    (directory / "requirements.txt").write_text(f"alpha==1.0\nbeta=={beta}\n")
    return shop.up(directory)


@contextmanager
def running(shop: Site, directory: Path, source: str) -> Iterator[subprocess.Popen[str]]:
    """A program that has begun, and goes on when it is told to."""
    script = directory / f"program-{len(list(directory.iterdir()))}.py"
    script.write_text(source)
    with subprocess.Popen(
        [directory / ".venv/bin/python", script], env=dict(shop.environ), text=True, cwd=directory,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as program:  # fmt: skip
        yield program


def said_first(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()


def said_then(program: subprocess.Popen[str]) -> list[str]:
    said, _ = program.communicate("\n", timeout=60)
    return said.splitlines()


def stays_while(shop: Site, view: str, program: subprocess.Popen[str]) -> None:
    """What a program has handed on keeps the view, though that program has become another one."""
    assert view in survey(shop.places).named
    assert collect.collect(shop.places, collect.Limits()) is not None
    assert "version = '4.0'" in said_then(program)[0]
    assert view not in survey(shop.places).named


def test_a_distribution_that_stays_keeps_its_path(
    shop: Site, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.wheel("alpha")
    for version in ("1.0", "2.0", "3.0", "4.0"):
        index.wheel("beta", version)
    directory = shop.project("web")
    first = up_with(shop, directory, "1.0")

    def path(*start: str | Path, cwd: Path = directory) -> str:
        command = start or (directory / ".venv/bin/python",)
        return shop.run(*command, "-c", SAY, cwd=cwd).stdout.strip()

    here = path()
    assert os.path.realpath(here).startswith(f"{first['path']}/")
    # A compiler that may name a header by its real path does so where that is shorter.
    assert len(here) < len(os.path.realpath(here))
    # However it is started.
    assert path(shop.places.mount / "bin/python") == here
    assert path(Path(first["path"], "bin/python"), cwd=shop.home) == here
    assert shop.pkgview("run", "--", "python", "-c", SAY, cwd=directory).stdout.strip() == here
    # Nor is it there twice, by two names.
    own = f"{first['path']}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    twice = "import sys; print(*[one for one in sys.path if one.endswith('site-packages')])"
    command = (directory / ".venv/bin/python", "-c", twice)
    seen = shop.run(*command, cwd=directory, environ={"PYTHONPATH": own}).stdout.split()
    assert seen == [str(Path(here).parent)]

    # Another distribution has changed while a program runs: that keeps all that it had, by its
    # paths, too, and so do those that it starts; nobody else gets its path before it has ended.
    closes = RUNNING.replace("ALSO", "os.closerange(3, 1024)")
    with (
        running(shop, directory, RUNNING.replace("ALSO", "")) as program,
        running(shop, directory, closes) as careless,
        running(shop, directory, SPAWN) as parent,
    ):
        assert said_first(program) == said_first(careless) == here
        assert said_first(parent) == "begun"
        second = up_with(shop, directory, "2.0")
        other = path()
        assert other != here
        assert os.path.realpath(other).startswith(f"{second['path']}/")
        third = up_with(shop, directory, "3.0")
        assert path() == other  # since nobody uses it now
        site = Path(here).parent
        old = [f"1.0 version = '1.0' {site}/beta.py"]
        assert said_then(program) == old
        assert path() == other
        assert said_then(careless) == old
        forked, spawned, served = said_then(parent)
        assert forked == f"1.0 {site}"
        assert spawned == served == forked
    assert path() == other  # which leads there
    assert os.path.realpath(other).startswith(f"{third['path']}/")

    monkeypatch.setattr(collect, "ON_ITS_WAY", 0.0)
    for source in (TELLS, HANDS_ON):
        fourth = up_with(shop, directory, "4.0")["view"]
        assert path() == here  # nobody goes by it now
        with running(shop, directory, source) as program:
            assert said_first(program) == here
            last = up_with(shop, directory, "1.0")["path"]
            assert path() == other
            stays_while(shop, fourth, program)

    # Where the state is not to be had, a program has its view's own path.
    for environ in ({"XDG_STATE_HOME": "/nowhere"}, {"XDG_STATE_HOME": "", "HOME": "/nowhere"}):
        command = (directory / ".venv/bin/python", "-c", SAY)
        said = shop.run(*command, cwd=directory, environ=environ).stdout
        assert said.startswith(f"{last}/")


KERNEL = b"""
from numba import njit

@njit(cache=True)
def plus(number):
    return number + 1
"""

BUILD = """
import sys, kernel, numpy
kernel.plus(1)
with open("build.ninja", "w") as file:
    file.write(
        "rule cc\\n depfile = $out.d\\n deps = gcc\\n"
        f" command = gcc -MMD -MF $out.d -isystem {numpy.get_include()}"
        f" -isystem {sys.argv[1]} -fPIC -c $in -o $out\\n"
        "build here.o: cc here.c\\n"
    )
stats = kernel.plus.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.mark.network
def test_what_is_made_by_path_is_made_once(
    site: Site, index: Index, needs: Callable[..., None]
) -> None:
    """Numba's cache of a function that a distribution brings, and what ninja knows of headers."""
    needs("ninja", "gcc")
    wheel = index.wheel("kernel", files={"kernel.py": KERNEL})
    directory = site.project("model")
    (directory / "here.c").write_text("#include <Python.h>\n#include <numpy/arrayobject.h>\n")
    include = site.run(
        site.python, "-c", "import sysconfig; print(sysconfig.get_path('include'))", cwd=directory
    ).stdout.strip()

    def made(fqdn: str) -> tuple[str, str]:
        wanted = f"kernel @ {wheel.as_uri()}\nnumba\nnumpy\nfqdn=={fqdn}\n"
        (directory / "requirements.txt").write_text(wanted)
        site.up(directory)
        python = directory / ".venv/bin/python"
        counted = site.run(python, "-c", BUILD, include, cwd=directory).stdout.strip()
        return counted, site.run("ninja", cwd=directory).stdout

    counted, said = made("1.5.1")
    assert counted == "0 1"
    assert "no work to do" not in said
    counted, said = made("1.5.0")
    assert counted == "1 0"
    assert "no work to do" in said
