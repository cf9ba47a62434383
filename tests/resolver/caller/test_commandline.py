"""Python's command line against Python itself; interpreters by their files' names."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver.caller.commandline import Command, Runs, interpreter_of, parse_command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Command(Runs.STDIN)),
        ("-", Command(Runs.STDIN)),
        ("- x.py", Command(Runs.STDIN)),
        ("x.py -c 1", Command(Runs.SCRIPT, b"x.py")),
        ("-c code x.py", Command(Runs.CODE, b"code")),
        ("-ccode", Command(Runs.CODE, b"code")),
        ("-Bum pkg.mod x", Command(Runs.MODULE, b"pkg.mod")),
        ("-mpkg", Command(Runs.MODULE, b"pkg")),
        ("-m", Command(Runs.NOTHING)),
        ("-W error x.py", Command(Runs.SCRIPT, b"x.py")),
        ("-Werror x.py", Command(Runs.SCRIPT, b"x.py")),
        ("-X dev -X utf8 x.py", Command(Runs.SCRIPT, b"x.py")),
        ("-BX dev x.py", Command(Runs.SCRIPT, b"x.py")),
        ("-BXdev x.py", Command(Runs.SCRIPT, b"x.py")),
        ("--check-hash-based-pycs never x.py", Command(Runs.SCRIPT, b"x.py")),
        ("-B-check-hash-based-pycs never x.py", Command(Runs.SCRIPT, b"x.py")),
        ("-- -x.py", Command(Runs.SCRIPT, b"-x.py")),
        ("-i -- -", Command(Runs.STDIN)),
        ("-V x.py", Command(Runs.NOTHING)),
        ("-Bh x.py", Command(Runs.NOTHING)),
        ("--version x.py", Command(Runs.NOTHING)),
        ("--help-all x.py", Command(Runs.NOTHING)),
        ("--nonsense x.py", Command(Runs.NOTHING)),
        ("-J x.py", Command(Runs.NOTHING)),
        ("-Z x.py", Command(Runs.NOTHING)),
        ("-W", Command(Runs.NOTHING)),
    ],
)
def test_command_lines(words: str, expected: Command) -> None:
    assert parse_command([b"python", *words.encode().split()]) == expected
    assert parse_command([]) == Command(Runs.STDIN)


REPORT = """
import sys
if __name__ == "__main__":
    print("module" if __spec__ else "script", *sys.argv, sep="\\0")
"""


@pytest.mark.parametrize("words", ["-P -c 1", "-Im x", "-BI", "-uP -", "-W x -P s.py", "-IBs s.py"])
def test_who_does_not_import_from_where_it_is(words: str) -> None:
    assert parse_command([b"python", *words.encode().split()]).safe_path
    plain = words.replace("P", "B").replace("I", "B")
    assert not parse_command([b"python", *plain.encode().split()]).safe_path


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("scripts")
    for name in ("x.py", "-x.py", "dev"):
        (directory / name).write_text(REPORT)
    (directory / "amodule.py").write_text("print('module', sep='\\0')")
    return directory


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    words=st.lists(
        st.sampled_from(
            ["-B", "-Bu", "-q", "-I", "-W", "-Wignore", "-X", "-Xdev", "dev", "-Esu", "-x", "--",
             "-", "x.py", "-x.py", "-m", "-mamodule", "amodule", "-c", "print('code')", "-BWignore",
             "--check-hash-based-pycs", "always", "-V", "-Bm", "-OO", "-P", "-Z", "--help-env"]
        ),
        max_size=5,
    )
)  # fmt: skip
def test_command_lines_as_python_itself_reads_them(scripts: Path, words: list[str]) -> None:
    mine = parse_command([b"python", *(word.encode() for word in words)])
    # -S spares the site's start, and changes nothing in how the rest is read.
    ran = subprocess.run(
        [sys.executable, "-S", *words],
        cwd=scripts, input="print('stdin')", capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(scripts), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    kind = ran.stdout.split("\0")[0].strip()
    if kind == "script":
        assert mine[:2] == (Runs.SCRIPT, ran.stdout.strip().split("\0")[1].encode())
    elif kind in {"module", "code", "stdin"}:
        assert mine.kind is Runs[kind.upper()]
    elif mine.kind is Runs.SCRIPT:  # Python could not: no such file, or its first line was skipped
        assert mine.value.decode() in ran.stderr or "-x" in words
    elif mine.kind is Runs.NOTHING:
        assert "print" not in ran.stdout or "--help-env" in words or "usage" in ran.stdout


@pytest.mark.parametrize(
    ("exe", "version"),
    [
        ("/usr/bin/python3.11", "3.11"),
        ("/usr/bin/python3.13t", "3.13t"),
        ("/usr/bin/python3.12d", "3.12"),
        ("/usr/bin/python3.12-dbg", "3.12"),
        ("/usr/bin/python3.11 (deleted)", "3.11"),
        ("/h/.pyenv/versions/3.12.1/bin/python3", "3.12"),
        ("/h/uv/python/cpython-3.13.2+freethreaded-linux/bin/python", "3.13"),
        ("/h/uv/python/cpython-3.13.2-linux-x86_64-gnu/bin/python", "3.13"),
        ("/opt/python3.12/bin/python", "3.12"),
        ("/opt/pypy3.10-v7.3/bin/pypy3.10", "pypy3.10"),
        ("/opt/bin/pypy3.10-c", "pypy3.10"),
        ("/opt/bin/python", ""),
        ("/usr/bin/python3-config", None),
        ("/usr/bin/ipython", None),
        ("/usr/bin/bash", None),
        ("/opt/python3.11/bin/bash", None),
    ],
)
def test_interpreters(exe: str, version: str | None) -> None:
    if "freethreaded" in exe:
        version = "3.13t"
    assert interpreter_of(exe) == version
