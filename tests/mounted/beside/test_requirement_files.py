"""Requirement files with odd bytes in them, and projects in directories with odd names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mounted.beside.test_git import source
from tests.mounted.test_environment_equal import Sides, met, tree

if TYPE_CHECKING:
    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]

NAMES = ("a#b", "a?b", "a[x]", "a ;b", "a #b", "a.whl", "a%20b", "a|^&b")


@pytest.fixture(scope="module", autouse=True)
def _wheels(beside: Beside) -> None:
    for name in ("first", "second"):
        beside.index.wheel(name)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\N{BYTE ORDER MARK}first\r\nsecond\r\n".encode("utf-16-le"), "first second"),
        ("\N{BYTE ORDER MARK}first\n".encode("utf-16-be"), "first"),
        ("\N{BYTE ORDER MARK}first\n".encode(), "first"),
        (b"first # a\x0csecond\n", "first"),
        ("first # a\u2028second\n".encode(), "first"),
        ("# a\u0085second\nfirst\n".encode(), "first"),
        (b"# a\rfirst\rsecond", "first second"),
        (b"first # a \\\nsecond\n", "first second"),
    ],
)
def test_lines(beside: Beside, content: bytes, expected: str) -> None:
    assert " ".join(beside.same({"requirements.txt": content}).distributions) == expected


def test_names_of_files(beside: Beside) -> None:
    """As words of a shell, but for blanks; `#` ends them."""
    named = {
        r"-r sub\ dir/a.txt # one": "sub dir/a.txt",
        r"-r sub dir/b.txt": "sub dir/b.txt",
        r'--requirement="sub dir"/c.txt': "sub dir/c.txt",
        r"-r 'sub\dir/d.txt'": r"sub\dir/d.txt",
        r'-r "sub\dir/e.txt"': r"sub\dir/e.txt",
        r"-r sub\\dir/f.txt#": r"sub\dir/f.txt",
        r"-r su\b/g.txt": "sub/g.txt",
        r"-r it\'s.txt": "it's.txt",
        r"-c it's": "it's",
        r"-r ${HOME_OF}\ dir/h.txt": "sub dir/h.txt",
    }
    wheels = [f"listed_{number}" for number in range(len(named))]
    for name in wheels:
        beside.index.wheel(name)
    files = {path: f"{name}\n" for path, name in zip(named.values(), wheels, strict=True)}
    listed = "".join(f"{line}\n" for line in named)
    made = beside.same({"requirements.txt": listed, **files}, environ={"HOME_OF": "sub"})
    assert len(made.distributions) == len(named) - 1  # one is a constraint
    for line in ('-r "a.txt', "-r a.txt x", r"-r sub\ dir/none.txt"):
        beside.refused({"requirements.txt": f"{line}\n", "a.txt": ""}, says="does not exist")


def test_bytes_that_are_no_text(beside: Beside) -> None:
    """For pip they are in the locale's encoding, whichever that is, or in one that a line names."""
    content = b"# -*- coding: latin-1 -*-\nfirst # \xe9\n"
    beside.refused({"requirements.txt": content}, says="line 2: not UTF-8 text")


def files(how: str) -> dict[str, str]:
    """Of a project that is to be installed itself; without any back end but its own."""
    made = source("app", 'version = "1"')
    editable = "def build_editable(*words):\n    return build_wheel(*words)\n"
    made["backend.py"] += editable
    if how == "project":
        made["pyproject.toml"] = made["pyproject.toml"].replace(
            'version = "1"', 'version = "1"\nrequires-python = ">=3.11"'
        )
        return made
    head, _, system = made["pyproject.toml"].partition("[build-system]")
    assert head
    return {
        "backend.py": made["backend.py"],
        "pyproject.toml": f"[build-system]{system}",
        "requirements.txt": f"{how}\n",
    }


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, "project") for name in NAMES]
    + [(name, how) for name in ("a#b", "a[x]", "a ;b", "a.whl") for how in ("-e .", ".")],
)
def test_names_of_directories(beside: Beside, name: str, how: str) -> None:
    """Of a project's own one. Named in a requirement uv reads them otherwise, and so do we."""
    within = beside.project({})
    directory = within / f"{within.name}-{name}"
    directory.mkdir()
    for path, content in files(how).items():
        (directory / path).write_text(content)
    ours, theirs = beside.pkgview(directory), beside.uv(directory)
    if name.endswith(".whl") and how != "project":  # a wheel, even so
        assert (ours.status, theirs.status) == (1, 1)
        assert "wheel filename" in ours.said
        return
    assert (ours.status, theirs.status) == (0, 0), ours.said + theirs.said
    met(Sides(view=ours.root.resolve(), uvs=theirs.root,
              ours=tree(ours.root.resolve()), theirs=tree(theirs.root)))  # fmt: skip
