"""Two paths in a view are two files to every program, whatever is in them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.conftest import Index, a_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.fuse

COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
static int count;
int next(void) { return ++count; }
const char *where(void) { Dl_info found; dladdr(&count, &found); return found.dli_fname; }
"""

TEST = b"def test_where(request):\n    assert request.path.exists()\n"

NAMES = ("left", "right")


@pytest.fixture(scope="module")
def twins(fuse: None, needs: Callable[..., None]) -> Iterator[Path]:  # noqa: ARG001 - its refusal counts
    """The site-packages of a view of two distributions whose files have the same bytes."""
    needs("gcc")
    with a_home() as site:
        library = site.home / "counter.so"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-o", library, "-x", "c", "-", "-ldl"],
            input=COUNTER.encode(), check=True,
        )  # fmt: skip
        index = Index(directory=site.home / "wheels")
        index.directory.mkdir()
        lines = []
        for name in NAMES:
            files = {f"{name}/counter.so": library.read_bytes(), f"{name}/test_it.py": TEST}
            files |= {f"{name}/d{n}/__init__.py": b"" for n in range(50)}
            lines.append(f"{name} @ {index.wheel(name, '1', files).as_uri()}\n")
        project = site.project("project")
        (project / "requirements.txt").write_text("".join(lines))
        site.up(project)
        (packages,) = (project / ".venv").resolve().glob("lib/python3*/site-packages")
        yield packages


def regular_files(root: Path) -> list[Path]:
    return [
        path
        for directory, _, names in os.walk(root)
        for path in (Path(directory, name) for name in names)
        if not path.is_symlink()
    ]


LOAD = """
import ctypes, sys
libraries = [ctypes.CDLL(path) for path in sys.argv[1:]]
for library in libraries:
    library.where.restype = ctypes.c_char_p
print([one.next() for one in libraries], [one.where().decode() for one in libraries])
"""


def test_two_libraries_with_the_same_bytes_are_two(twins: Path) -> None:
    paths = [os.fspath(twins / name / "counter.so") for name in NAMES]
    said = subprocess.run(
        [sys.executable, "-S", "-c", LOAD, *paths], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == f"[1, 1] {paths}"


def test_a_copy_has_no_hard_links(twins: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-aL", twins, tmp_path / "copy"], check=True)
    copied = regular_files(tmp_path / "copy")
    assert len(copied) > 100
    assert {path.stat().st_nlink for path in copied} == {1}
    subprocess.run(["tar", "-chf", tmp_path / "all.tar", "-C", twins, "."], check=True)
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert not [one.name for one in tar if one.islnk()]


def test_a_lock_on_one_is_none_on_another(twins: Path) -> None:
    empty = [twins / name / "d1/__init__.py" for name in NAMES] + [twins / "left/d2/__init__.py"]
    opened = [os.open(path, os.O_RDONLY) for path in empty]
    try:
        for descriptor in opened:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_pytest_says_of_them_what_it_says_of_copies(twins: Path, tmp_path: Path) -> None:
    said = []
    subprocess.run(["cp", "-r", *(twins / name for name in NAMES), tmp_path], check=True)
    for root in (twins, tmp_path):
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", root,
                "-c", os.devnull, *(root / name / "test_it.py" for name in NAMES),
            ],
            cwd=root, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        said.append((done.returncode, "import file mismatch" in done.stdout))
    assert said == [(2, True)] * 2


NODE = """
const fs = require('fs'), path = require('path');
const seen = new Map();
(function walk(directory) {
  for (const entry of fs.readdirSync(directory, {withFileTypes: true})) {
    const file = path.join(directory, entry.name);
    const ino = fs.lstatSync(file).ino;
    seen.set(ino, [...(seen.get(ino) || []), file]);
    if (entry.isDirectory()) walk(file);
  }
})(process.argv[1]);
console.log(JSON.stringify({
  twice: [...seen.values()].filter(files => files.length > 1),
  unsafe: [...seen.keys()].filter(ino => !Number.isSafeInteger(ino)),
  files: seen.size,
}));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
def test_node_tells_them_apart(twins: Path) -> None:
    done = subprocess.run(
        ["node", "-e", NODE, twins.parents[2]], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert (said["twice"], said["unsafe"]) == ([], [])
    assert said["files"] > 200
