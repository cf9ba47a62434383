"""Time that hostile text may take: it grows as the text does, not by its square."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.python.choices.own import own_choices, without_hashes
from resolver.python.choices.settings import MOST_TREES
from resolver.python.declared.files import declared
from resolver.python.outdated.compare import _requirement
from resolver.python.project import PythonProject, find_project, project_of_script
from resolver.python.requirements import _joined, local_places, requirement_files
from resolver.python.uv import workspace
from resolver.toml import inline_block, parse, unclosed_block

if TYPE_CHECKING:
    Tree = Any

LONG = 50_000
"""Characters. By their square each of these takes 3 s and more."""

MOST = 1.0
"""Seconds of processor time; each takes some hundredths."""

LINES = {
    "brackets": "./" + "[" * LONG,
    "closed brackets": "./" + "[]" * (LONG // 2) + "x",
    "variables": "six @ " + "${" * LONG,
    "spaces": "six" + " " * LONG + "!",
    "hashes": "six" + " --hash=a:b" * (LONG // 10) + " x",
    "comments": "six" + "#" * LONG,
    "options": "-r" + " " * LONG + "nowhere",
    "includes": "-c constraint.txt\n" * (LONG // 10),
    "one name": "".join(f"six --hash=md5:{number:08x}\n" for number in range(LONG // 10)),
    "continued": "\\\n" * LONG + "six",
    "address": "six @ " + "://" * LONG,
    "a long name": "./" + "a" * LONG,
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_takes_no_longer_than_it_is(tree: Tree, line: str) -> None:
    tree.write("constraint.txt", "")
    tree.write("nowhere", "")
    tree.write("requirements.txt", f"{line}\n")
    began = time.process_time()
    project = find_project(tree.root)
    assert project is not None
    own_choices(project, frozenset())
    assert time.process_time() - began < MOST


def test_manylocal_places_are_refused(tree: Tree) -> None:
    tree.write("requirements.txt", "".join(f"./{number}\n" for number in range(6000)))
    with pytest.raises(PkgviewError, match="more than 5000 local places"):
        requirement_files(tree.root / "requirements.txt")


def groups(includes: dict[str, list[str]]) -> str:
    """A pyproject.toml whose groups include these, and where each needs its own Python."""
    several = (
        f"{name} = [{''.join(f'{{include-group = {one!r}}}, ' for one in names)}'six']\n"
        for name, names in includes.items()
    )
    return (
        f"[project]\nname = 'x'\nversion = '1'\n[dependency-groups]\n{''.join(several)}"
        "[tool.uv.dependency-groups]\na0 = {requires-python = '>=3'}\n"
    )


@pytest.mark.parametrize(
    "includes",
    [
        {f"a{number}": [f"A{number + 1}"] * 3 for number in range(14)},
        {f"a{number}": [f"a{number + 1}"] for number in range(2000)},
        {f"a{one}": [f"a{other}" for other in range(20)] for one in range(20)},
    ],
    ids=["thrice", "a chain", "all others"],
)
def test_groups_that_include_too_many(tree: Tree, includes: dict[str, list[str]]) -> None:
    tree.write("pyproject.toml", groups(includes))
    began = time.process_time()
    with pytest.raises(PkgviewError, match="more than 100000 entries, with what each includes"):
        find_project(tree.root)
    assert time.process_time() - began < MOST


TREE = "[project]\nname = 'm'\nversion = '1'\n"
MEMBER = "[tool.uv.workspace]\nmembers = ['m']\n"
PLACE = "[tool.uv.sources]\nm = {path = 'm'}\n"


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": f"{TREE}{MEMBER}"},
        {"pyproject.toml": f"{TREE}{PLACE}"},
        {"pyproject.toml": f"{TREE}dependencies = ['m @ file://${{PROJECT_ROOT}}/m']\n"},
        {"requirements.txt": "-e ./m\n"},
        {"requirements.txt": "m @ file://${PROJECT_ROOT}/m\n"},
        {
            "requirements.txt": "-e ./n\n",
            "n/pyproject.toml": PLACE.replace("'m'", "'../m'"),
        },
        {
            "requirements.txt": "-e ../n\n",
            "../n/pyproject.toml": PLACE.replace("'m'", "'{root}/m'"),
        },
        {
            "pyproject.toml": f"{TREE}[tool.uv.workspace]\nmembers = ['x/*', 'm']\n",
            **{f"x/{number}/pyproject.toml": TREE for number in range(MOST_TREES)},
        },
    ],
    ids=["member", "source", "address", "editable", "line", "further", "outside", "many"],
)
def test_groups_of_what_uv_reads_besides(tree: Tree, files: dict[str, str]) -> None:
    """A command asks what a project chooses before it starts uv."""
    tree.write("m/pyproject.toml", groups({f"a{one}": [f"a{one + 1}"] * 3 for one in range(14)}))
    for path, text in files.items():
        tree.write(path, text.replace("{root}", str(tree.root)))
    with pytest.raises(PkgviewError, match=r"m/pyproject\.toml.* more than 100000 entries"):
        own_choices(found(tree.root), frozenset())


def test_groups_of_what_a_script_names(tree: Tree) -> None:
    tree.write("m/pyproject.toml", groups({f"a{one}": [f"a{one + 1}"] * 3 for one in range(14)}))
    block = "".join(f"# {line}\n" for line in ("dependencies = ['m']", *PLACE.splitlines()))
    tree.write("s.py", f"# /// script\n{block}# ///\n")
    project = project_of_script(tree.root / "s.py")
    assert project is not None
    with pytest.raises(PkgviewError, match=r"m/pyproject\.toml.* more than 100000 entries"):
        own_choices(project, frozenset())


def found(root: Path) -> PythonProject:
    project = find_project(root)
    assert project is not None
    return project


def test_groups_are_written_out_once(tree: Tree) -> None:
    tree.write("pyproject.toml", groups({f"a{one}": [f"a{one + 1}"] * 2 for one in range(14)}))
    began = time.process_time()
    project = find_project(tree.root)
    assert project is not None
    assert declared(tree.root).groups["a0"] == ("six",) * 14
    assert time.process_time() - began < MOST
    tree.write("pyproject.toml", groups({"a0": ["a1"], "a1": ["a0"], "a2": []}))
    assert set(declared(tree.root).groups.values()) == {("six", "six"), ("six",)}


@pytest.mark.parametrize(
    "text",
    ["# /// script\n" + "# x\n" * (LONG // 4), "# /// script\n" * (LONG // 13)],
    ids=["one beginning", "beginnings"],
)
def test_a_block_without_an_end_is_none(tmp_path: Path, text: str) -> None:
    began = time.process_time()
    assert inline_block(text, tmp_path) is None
    assert unclosed_block(text) == 1
    assert time.process_time() - began < MOST


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("# /// script,# x,# ///", None),
        ("# /// script,# ///", None),
        ("x,# /// script,# x,,# ///", 2),
        ("# /// script,# x", 1),
        ("# /// other,# x", None),
    ],
)
def test_a_beginning_without_an_end_is_found(lines: str, line: int | None) -> None:
    assert unclosed_block(lines.replace(",", "\r\n")) == line


def test_a_requirement_nested_too_deeply_is_none() -> None:
    assert _requirement("six; " + "(" * 5000 + "python_version > '3'") is None


_REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_LINES = ["# /// script", "# ///", "#", "# x", "", "x = 1", "# /// other", "#x", "# /// "]


@given(st.lists(st.sampled_from(_LINES), max_size=14), st.sampled_from(["", "\n"]))
def test_blocks_are_those_of_the_reference_expression(lines: list[str], end: str) -> None:
    text = "\n".join(lines) + end
    found = [one for one in _REFERENCE.finditer(text) if one["type"] == "script"]
    if len(found) > 1:
        line = text[: found[1].start()].count("\n") + 1
        with pytest.raises(PkgviewError, match=f"line {line}: a second"):
            inline_block(text, Path("x.py"))
        return
    content = found[0]["content"].removesuffix("\n").split("\n") if found else []
    said = "\n".join(one.removeprefix("# ") if one != "#" else "" for one in content) + "\n"
    assert inline_block(text, Path("x.py")) == (said if found else None)


_WORDS = ["six", " ", "  ", "--hash", "--hash=", "--hash=a:b", "a:b", "\t", "x"]
_HASHES = re.compile(r"(?:\s+--hash[=\s]\s*\w+:\w+)+\s*$")


@given(st.lists(st.sampled_from(_WORDS), max_size=12).map("".join).map(str.strip))
def test_hashes_are_taken_off_as_by_one_expression(line: str) -> None:
    assert without_hashes(line) == _HASHES.sub("", line).strip()


_EXTRAS = re.compile(r"(\[[^\]]*\]|#.*)$")


@given(st.text("a[]#/", max_size=12))
def test_ends_are_taken_off_as_by_one_expression(tail: str) -> None:
    target = f"./{tail}"
    assert list(local_places(target, Path("/d"))) == [_joined(Path("/d"), _EXTRAS.sub("", target))]


DOCUMENTS = {
    "a dotted key": "a." * LONG + "a = 1",
    "quoted parts": '"a".' * LONG + "a = 1",
    "a long header": "[" + "a." * LONG + "a]\n" + "".join(f"b{n} = 1\n" for n in range(5000)),
    "behind strings": 'x = [\n"""\n\' """, {' + "a." * LONG + 'a = 1}, "\'"]',
    "a long number": "a = " + "1" * LONG,
    "open strings": '"""' * (LONG // 3),
    "depth": "a = " + "[" * LONG,
}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_takes_no_longer_than_it_is(tree: Tree, text: str) -> None:
    tree.write("pyproject.toml", text)
    began = time.process_time()
    with pytest.raises(PkgviewError, match="not valid TOML"):
        find_project(tree.root)
    assert time.process_time() - began < MOST


def test_long_lines_that_are_no_long_keys_are_read() -> None:
    text = f"x = [{'1.5, ' * 99}]\ny = '{'a.' * 99}'  # {'a.' * 99}\nz = {{a.b = 1}}\n"
    assert parse(text) == tomllib.loads(text)


def test_members_are_looked_for_among_so_many_names(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = "[tool.uv.workspace]\nmembers = ['*/*']\n"
    tree.write("pyproject.toml", f"[project]\nname = 'a'\nversion = '1'\n{members}")
    for number in range(5):
        tree.write(f"x/{number}/pyproject.toml", "[project]\nname = 'b'\nversion = '1'\n")
    monkeypatch.setattr(workspace, "MOST_NAMES", 4)
    document = tomllib.loads((tree.root / "pyproject.toml").read_text("utf-8"))
    assert len(workspace.members(tree.root, document)) < 5
    project = find_project(tree.root)
    assert project is not None
    # uv would see the others, and what they ask for is not known.
    wanted = own_choices(project, frozenset())
    assert f"follow {tree.root}, which pkgview cannot read" in wanted


def test_members_behind_links_in_a_circle(tmp_path: Path) -> None:
    """Every pattern's part would lead to all of them again."""
    for number in range(20):
        (tmp_path / f"link{number}").symlink_to(".")
    document = {"tool": {"uv": {"workspace": {"members": ["/".join("*" * 12)]}}}}
    began = time.process_time()
    assert workspace.members(tmp_path, document) == ()
    assert time.process_time() - began < MOST
