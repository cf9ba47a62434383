from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.python.requirements import logical_lines, physical_lines, requirement_files

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


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        # What uv (0.13.9) reads. pip splits at all that `str.splitlines` does: another requirement.
        ("six # a\fidna\n", ["six"]),
        ("# a\u2028idna\nsix\n", ["six"]),
        ("six # a\x0b\x1c\x1d\x1e\x85\u2029idna\n", ["six"]),
        ("# a\rsix\ridna", ["six", "idna"]),
        ("six\r\n\r\nidna\r\n", ["six", "idna"]),
        # In a comment nothing is continued; pip joins first, and has one requirement.
        ("six # a \\\nidna\n", ["six", "idna"]),
        ("# a \\\nidna\n", ["idna"]),
        ("six \\\n  # a\nidna\n", ["six", "idna"]),
        ("six \\\n ==1.17\n", ["six   ==1.17"]),
        ("six @ https://host/a#b\n", ["six @ https://host/a#b"]),
    ],
)
def test_where_lines_end(text: str, lines: list[str]) -> None:
    assert [line for _, line in logical_lines(text)] == lines
    assert "".join(physical_lines(text)) == text


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf16_with_a_byte_order_mark(tree: Tree, mark: bytes) -> None:
    """As PowerShell's `pip freeze > requirements.txt` has it."""
    start = tree.write("requirements.txt", "")
    encoding = "utf-16-le" if mark[0] == 0xFF else "utf-16-be"
    start.write_bytes(mark + "six\r\n-r b.txt\r\n".encode(encoding))
    tree.write("b.txt", "idna\n")
    assert len(requirement_files(start).files) == 2
    start.write_bytes(mark + b"s")
    with pytest.raises(PkgviewError, match="line 1: not UTF-16 text"):
        requirement_files(start)
