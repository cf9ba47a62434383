from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.python.requirements import requirement_files

if TYPE_CHECKING:
    Tree = Any


def test_includes_and_constraints_are_followed_in_every_spelling(tree: Tree) -> None:
    start = tree.write(
        "requirements.txt",
        "-r a.txt\n-rb.txt\n--requirement=sub/c.txt\n--constraint d.txt\n  -c  'e.txt' # why\n",
    )
    for name in ("a.txt", "b.txt", "d.txt", "e.txt"):
        tree.write(name, "six\n")
    tree.write("sub/c.txt", "-r f.txt\n")
    tree.write("sub/f.txt", "six\n")
    found = requirement_files(start)
    assert {path.relative_to(tree.root).as_posix() for path in found.files} == {
        *("requirements.txt", "a.txt", "b.txt", "sub/c.txt", "d.txt", "e.txt", "sub/f.txt")
    }


def test_cycles_end(tree: Tree) -> None:
    start = tree.write("requirements.txt", "-r other.txt\n-r requirements.txt\n")
    tree.write("other.txt", "-r ./sub/../requirements.txt\nsix\n")
    assert len(requirement_files(start).files) == 2


def test_missing_file_names_the_line(tree: Tree) -> None:
    start = tree.write("requirements.txt", "six\n\n-r nowhere.txt\n")
    with pytest.raises(PkgviewError, match=r"requirements\.txt, line 3 names .*nowhere\.txt"):
        requirement_files(start)


def test_endless_includes_are_refused(tree: Tree) -> None:
    for number in range(600):
        tree.write(f"{number}.txt", f"-r {number + 1}.txt\n")
    with pytest.raises(PkgviewError, match="more than 500"):
        requirement_files(tree.root / "0.txt")


def test_variables(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    start = tree.write("requirements.txt", "-r ${WHICH}.txt\n")
    tree.write("base.txt", "six\n")
    monkeypatch.setenv("WHICH", "base")
    assert len(requirement_files(start).files) == 2
    monkeypatch.delenv("WHICH")
    with pytest.raises(PkgviewError, match="no variable WHICH"):
        requirement_files(start)


def test_lines_are_continued_and_without_comments(tree: Tree) -> None:
    start = tree.write(
        "requirements.txt",
        "six \\\n    --hash=sha256:AB12\n# six --hash=sha256:ff\\\nattrs\n-e ./lib\n"
        "-c limits.txt\n",
    )
    tree.write("limits.txt", "six==1 # as ever\n")
    found = requirement_files(start)
    said = [(one.text, one.constraint) for one in found.lines]
    hashed = ("six      --hash=sha256:AB12", False)
    assert said == [hashed, ("attrs", False), ("-e ./lib", False), ("six==1", True)]
    assert found.requirements == ("six     ", "attrs")


def test_not_utf8(tree: Tree) -> None:
    start = tree.root / "requirements.txt"
    start.write_bytes(b"six\n\xff\n")
    with pytest.raises(PkgviewError, match=r"line 2: not UTF-8"):
        requirement_files(start)


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    start = tmp_path_factory.mktemp("any") / "requirements.txt"
    start.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert start in requirement_files(start).files
    except PkgviewError as error:
        assert error.remedy  # noqa: PT017 - either outcome is right
