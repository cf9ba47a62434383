"""A view beside what `uv pip install` makes of the same lock: equal but for docs/differences.md.

The differences are constants here. Each says what has to hold in place of equality, each has to
be met with, and those of the document are the same.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.mounted.conftest import Large, Site

pytestmark = [pytest.mark.fuse, pytest.mark.network, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"

Tree = dict[str, "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A file (`content` is its SHA-256), a directory ("") or a link (its target)."""

    mode: int
    content: str


def tree(root: Path) -> Tree:
    """All below `root`, by path from there; links are not followed."""
    return dict(_walk(os.fspath(root), ""))


def _walk(root: str, prefix: str) -> Iterator[tuple[str, Node]]:
    for entry in os.scandir(root):
        path = prefix + entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.is_symlink():
            yield path, Node(mode, os.readlink(entry.path))
        elif entry.is_dir():
            yield path, Node(mode, "")
            yield from _walk(entry.path, path + "/")
        else:
            assert stat.S_ISREG(mode), path
            with Path(entry.path).open("rb") as file:
                yield path, Node(mode, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both environments: `view` is ours."""

    view: Path
    uvs: Path
    ours: Tree
    theirs: Tree

    def paths(self) -> list[str]:
        """What differs in any way."""
        return sorted(
            path
            for path in {*self.ours, *self.theirs}
            if self.ours.get(path) != self.theirs.get(path)
        )

    def both(self, path: str) -> tuple[bytes, bytes]:
        """The bytes of a file that is on both sides, with the same mode."""
        assert self.ours[path].mode == self.theirs[path].mode, path
        return (self.view / path).read_bytes(), (self.uvs / path).read_bytes()


def only_in_view(sides: Sides, path: str) -> None:
    assert path not in sides.theirs


def only_uvs(sides: Sides, path: str) -> None:
    assert path not in sides.ours


def pips_or_the_readers(sides: Sides, path: str) -> None:
    """A view without pip has commands that uv's environment has not; else they are pip's."""
    if has_pip(sides):
        finds_python_itself(sides, path)
    else:
        only_in_view(sides, path)


def uvs_or_the_readers(sides: Sides, path: str) -> None:
    (only_uvs if has_pip(sides) else only_in_view)(sides, path)


def has_pip(sides: Sides) -> bool:
    return any("/site-packages/pip/__main__.py" in path for path in sides.ours)


def only_without_pip(sides: Sides, path: str) -> None:
    assert not has_pip(sides)
    only_in_view(sides, path)


def same_note(sides: Sides, path: str) -> None:
    """Through a link; nobody compares a commit with what lies on this machine."""
    if path not in sides.ours:
        assert "below-" in path
        return
    assert stat.S_ISLNK(sides.ours[path].mode)
    mine, uvs = (json.loads((side / path).read_bytes()) for side in (sides.view, sides.uvs))
    assert mine == uvs | {"pkgview": mine["pkgview"]}


def says_pkgview(sides: Sides, path: str) -> None:
    assert sides.both(path) == (b"pkgview", b"uv")


def other_activation(sides: Sides, path: str) -> None:
    mine, uvs = sides.both(path)
    assert b"VIRTUAL_ENV" in mine
    assert os.fsencode(sides.uvs) in uvs  # ours finds its place itself
    assert os.fsencode(sides.view) not in mine


def other_maker(sides: Sides, path: str) -> None:
    mine, uvs = (
        dict(line.split(" = ", 1) for line in side.decode().splitlines())
        for side in sides.both(path)
    )
    assert mine.pop("pkgview")
    assert uvs.pop("uv")
    assert mine == uvs


FIND_PYTHON = re.compile(rb'[^\n]*\bexec [^\n]*/python" "\$0" "\$@"[^\n]*\n')


def finds_python_itself(sides: Sides, path: str) -> None:
    """uv has `#!` and the interpreter's path; we have `#!/bin/sh`, and one line more."""
    mine, uvs = sides.both(path)
    assert uvs.startswith(b"#!" + os.fsencode(sides.uvs / "bin/python") + b"\n"), path
    assert mine.startswith(b"#!/bin/sh\n"), path
    rest, replaced = FIND_PYTHON.subn(b"", mine)
    assert replaced == 1, path
    assert rest.partition(b"\n")[2] == uvs.partition(b"\n")[2], path


def row(path: str, content: bytes) -> list[str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return [path, f"sha256={digest}", str(len(content))]


def has_other_lines(sides: Sides, path: str) -> None:
    """RECORD is uv's, byte for byte, with the lines of the files that differ as they are here."""
    mine, uvs = sides.both(path)
    base = Path(path).parent.parent
    expected = io.StringIO()
    writer = csv.writer(expected, lineterminator="\n")
    for listed in csv.reader(io.StringIO(uvs.decode())):
        place = os.path.normpath(base / listed[0])
        if place not in sides.ours or stat.S_ISLNK(sides.ours[place].mode):
            continue  # what changes has no digest
        same = place == path or sides.ours[place] == sides.theirs[place]
        writer.writerow(listed if same else row(listed[0], (sides.view / place).read_bytes()))
    assert mine == expected.getvalue().encode(), path


DIFFERENCES: Mapping[str, Callable[[Sides, str], None]] = {
    # Of a distribution
    "site-packages/*.dist-info/INSTALLER": says_pkgview,
    "site-packages/*.dist-info/RECORD": has_other_lines,
    "bin/*": finds_python_itself,
    "bin/pip*": pips_or_the_readers,
    "bin/pipX.Y": uvs_or_the_readers,
    "site-packages/*.dist-info/uv_build.json": only_uvs,
    "site-packages/*.dist-info/uv_cache.json": same_note,
    # Of the environment
    "pyvenv.cfg": other_maker,
    "bin/activate": other_activation,
    "bin/activate.csh": other_activation,
    "bin/activate.fish": other_activation,
    "bin/activate.nu": only_uvs,
    "bin/activate.ps1": only_uvs,
    "bin/activate.xsh": only_uvs,
    "bin/activate_this.py": only_uvs,
    "bin/*.bat": only_uvs,
    ".gitignore": only_uvs,
    ".lock": only_uvs,
    "CACHEDIR.TAG": only_uvs,
    "site-packages": only_in_view,
    "lib/pythonX.Y/EXTERNALLY-MANAGED": only_in_view,
    "site-packages/_pkgview_pin.py": only_in_view,
    "site-packages/_pkgview_pip.py": only_in_view,
    "site-packages/_pkgview_pip_reader.py": only_without_pip,
    "site-packages/zzz_pkgview.pth": only_in_view,
}
"""Path as docs/differences.md has it -> what has to hold instead."""


def named(path: str, version: str) -> str | None:
    """Which difference a path falls under: the longest that fits; None is one too many."""
    short = path.removeprefix(f"lib/python{version}/") if "/site-packages/" in path else path
    short = re.sub(rf"(python|pip){re.escape(version)}", r"\1X.Y", short)
    fitting = [pattern for pattern in DIFFERENCES if fnmatchcase(short, pattern)]
    return max(fitting, key=len, default=None)


@pytest.fixture(scope="module")
def sides(large: Large, by_uv: Path) -> Sides:
    return Sides(view=large.view, uvs=by_uv, ours=tree(large.view), theirs=tree(by_uv))


@pytest.fixture(scope="module")
def direct(site: Site) -> Sides:
    """What no index offers: a wheel, an archive and a directory by path, editable, a commit."""
    directory = site.project("direct directory")
    for name in ("wheel", "archive", "tree", "editable", "commit/below"):
        module = Path(name).name
        source = directory / name
        (source / module).mkdir(parents=True)
        (source / module / "__init__.py").write_text(f'"""It."""\n\ndef main(): print("{name}")\n')
        (source / "pyproject.toml").write_text(
            f'[project]\nname = "{module}"\nversion = "1.0"\ndescription = "It"\n'
            'requires-python = ">=3.11"\n'
            f'[project.scripts]\nsay-{module} = "{module}:main"\n'
            '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
        )
    site.uv("build", "--wheel", "-o", directory / "files", "wheel", cwd=directory)
    site.uv("build", "--sdist", "-o", directory / "files", "archive", cwd=directory)
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "It"), ("tag", "v1")):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        site.run("git", *identity, *arguments, cwd=directory / "commit")
    (directory / "requirements.txt").write_text(
        "./files/wheel-1.0-py3-none-any.whl\n./files/archive-1.0.tar.gz\n./tree\n-e ./editable\n"
        f"below @ git+{(directory / 'commit').as_uri()}@v1#subdirectory=below\n"
    )
    site.pkgview("lock", "--python", site.python, cwd=directory)
    site.up(directory)
    uvs = site.uv_environment(directory, site.home / "direct-by-uv")
    view = (directory / ".venv").resolve()
    return Sides(view=view, uvs=uvs, ours=tree(view), theirs=tree(uvs))


def met(sides: Sides) -> set[str]:
    """The differences between two sides; all of them are on the list, and as it says."""
    (packages,) = (sides.view / "lib").glob("python3.*/site-packages")
    version = packages.parent.name.removeprefix("python")
    found = set()
    for path in sides.paths():
        difference = named(path, version)
        assert difference is not None, f"{path}: {sides.ours.get(path)}, {sides.theirs.get(path)}"
        DIFFERENCES[difference](sides, path)
        found.add(difference)
    return found


def test_the_environment_is_what_the_issue_asks_for(large: Large, sides: Sides) -> None:
    assert large.first["distributions"] >= 40
    assert len(sides.ours) > 10_000
    paths = " ".join(sides.ours)
    for part in ("bin/jupyter-lab", "include/site/", "etc/jupyter/", "share/jupyter/lab/static/"):
        assert part in paths


def test_all_is_equal_but_for_the_list(sides: Sides) -> None:
    # Only what uv builds itself has its notes; and this has pip.
    notes = {f"site-packages/*.dist-info/uv_{name}.json" for name in ("build", "cache")}
    assert met(sides) == DIFFERENCES.keys() - notes - {"site-packages/_pkgview_pip_reader.py"}


def test_so_is_what_no_index_offered(direct: Sides, site: Site) -> None:
    assert met(direct) == DIFFERENCES.keys()
    notes = [path for path in direct.ours if path.endswith(".dist-info/direct_url.json")]
    assert len(notes) == 5
    (view, uvs) = (
        site.uv("pip", "freeze", "-p", environment, cwd=site.home).stdout
        for environment in (direct.view, direct.uvs)
    )
    assert view == uvs
    assert view.count("file:///") == 5
    for name in ("wheel", "archive", "tree", "editable", "below"):
        said = site.run(direct.view / "bin" / f"say-{name}", cwd=site.home).stdout
        assert name in said


def test_what_the_list_says_of_several_is_true_of_each(large: Large, sides: Sides) -> None:
    packages = large.packages(large.view)
    infos = list(packages.glob("*.dist-info"))
    assert len(infos) == large.first["distributions"]
    for info in infos:
        assert (info / "INSTALLER").read_text() == "pkgview"
        assert (info / "REQUESTED").read_bytes() == b""
    assert len(sides.paths()) < 2 * len(infos) + 100


def test_record_names_every_file_of_every_distribution(large: Large, sides: Sides) -> None:
    """Whole and true: all that lies in site-packages and is not pkgview's own, with its digest."""
    packages = large.packages(large.view)
    inside = packages.relative_to(large.view)
    listed = set()
    for record in packages.glob("*.dist-info/RECORD"):
        with record.open(newline="") as file:
            for path, digest, size in csv.reader(file):
                place = os.path.normpath(inside / path)
                listed.add(place)
                if digest:
                    found = base64.urlsafe_b64encode(bytes.fromhex(sides.ours[place].content))
                    assert digest == "sha256=" + found.decode().rstrip("="), place
                    assert int(size) == (large.view / place).stat().st_size
    own = {"_pkgview_pin.py", "_pkgview_pip.py", "zzz_pkgview.pth"}
    files = {
        path
        for path, node in sides.ours.items()
        if Path(path).is_relative_to(inside) and stat.S_ISREG(node.mode)
    }
    assert files - listed == {os.fspath(inside / name) for name in own}
    assert listed <= sides.ours.keys()


def test_the_document_lists_the_same_differences() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    # Nothing is compiled in this view; test_bytecode.py compares what is.
    assert sorted(rows) == sorted([*DIFFERENCES, "**/__pycache__/*.pyc"])
