from __future__ import annotations

import marshal
import signal
import sys
from dataclasses import replace
from importlib.util import source_hash
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.interpreter import Interpreter, inspect
from unionfs.bytecode import compilers
from unionfs.bytecode.compilers import COMPILER, Compiled, Compilers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return inspect(Path(sys.executable).resolve(), tmp_path_factory.mktemp("state"))


@pytest.fixture
def running(interpreter: Interpreter) -> Iterator[Compilers]:
    with Compilers(interpreter, idle=False) as started:
        yield started


def is_compiled(found: Compiled) -> bool:
    return found.bytecode is not None


def test_bytecode_is_what_importlib_would_write(running: Compilers) -> None:
    source = b"'''Doc.'''\nx = 40 + 2\nassert x\n"
    found = running.compile(b"pkg/mod.py", source).bytecode
    assert found is not None
    assert found[8:16] == source_hash(source)
    code = marshal.loads(found[16:])  # noqa: S302 - it was compiled a moment ago
    assert code == compile(source, "pkg/mod.py", "exec", dont_inherit=True)
    assert code.co_filename == "pkg/mod.py"
    seen: dict[str, object] = {}
    exec(code, seen)  # noqa: S102 - the same
    assert seen["x"] == 42


def test_the_same_source_gives_the_same_bytes(interpreter: Interpreter) -> None:
    def compiled() -> list[Compiled]:
        with Compilers(interpreter, idle=True) as process:
            return [
                process.compile(b"a.py", b"a = (1, 'b', {2: 3})"),
                process.compile(b"b.py", b""),
            ]

    assert compiled() == compiled()
    assert all(map(is_compiled, compiled()))


HOSTILE = {
    "no syntax": b"def",
    "Python 2": b"print 'hello'",
    "a NUL": b"x = 1\0",
    "another encoding": "x = 'ä'".encode("latin-1"),
    "an unknown encoding": b"# coding: no-such\n",
    "a codec that is none": b"# coding: hex\n",
    "a surrogate": b"x = '\xed\xa0\x80'",
    "deep brackets": b"(" * 100_000,
    "deep lists": b"[" * 5_000 + b"]" * 5_000,
    "deep unary": b"x = " + b"-" * 200_000 + b"1",
    "a long sum": b"x = " + b"+".join([b"1"] * 200_000),
    "a long chain": b"x = a" + b".b" * 200_000,
    "deep calls": b"x = " + b"f(" * 20_000 + b")" * 20_000,
    "deep lambdas": b"x = " + b"lambda: " * 50_000 + b"1",
    "deep blocks": b"".join(b" " * depth + b"if 1:\n" for depth in range(200)),
    "a long number": b"x = " + b"9" * 100_000,
    "open quotes": b"x = '''" + b"\n" * 100_000,
    "only a backslash": b"\\",
    "endless indents": b"if 1:\n\t \tx\n \t x",
}
"""None of these shall matter to the next source; some compile, in some Pythons."""


def test_hostile_sources_lose_nothing_but_themselves(
    running: Compilers, interpreter: Interpreter
) -> None:
    """In their order, with one process for as long as it lives."""
    for name, source in HOSTILE.items():
        found = running.compile(name.encode(), source)
        assert is_compiled(found) or found.why, name
        assert is_compiled(running.compile(b"next.py", b"x = 1")), name
    refused = [name for name, source in HOSTILE.items() if not _compiles(source, interpreter)]
    assert len(refused) >= 10


def _compiles(source: bytes, interpreter: Interpreter) -> bool:
    with Compilers(interpreter, idle=False) as own:
        return is_compiled(own.compile(b"x.py", source))


def test_a_source_that_is_too_long_is_not_even_sent(
    running: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "LONGEST_SOURCE", 10)
    assert running.compile(b"a.py", b"x = 1      ").why == "longer than 10 bytes"
    assert is_compiled(running.compile(b"b.py", b"x = 1"))


def test_memory_is_bounded(running: Compilers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "MEMORY", 128 << 20)
    many = b"x = [" + b",".join(b"%d" % number for number in range(1_000_000)) + b"]"
    found = running.compile(b"many.py", many)
    assert not is_compiled(found)
    assert "MemoryError" in found.why or "ended by SIG" in found.why
    assert is_compiled(running.compile(b"next.py", b"x = 1"))


# A compiler that dies, which no source brings about in every Python

DYING = """
import os, runpy, signal, sys
marks = {b"#segv": signal.SIGSEGV, b"#abort": signal.SIGABRT, b"#kill": signal.SIGKILL}
real = compile
def dying(source, name, mode, **options):
    if not isinstance(source, bytes):
        return real(source, name, mode, **options)
    for mark, number in marks.items():
        if source.startswith(mark):
            os.kill(os.getpid(), number)
    if source.startswith(b"#once"):
        try:
            os.mkdir(source[6:].strip())
        except FileExistsError:
            return real(source, name, mode, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    if source.startswith(b"#loop"):
        while True:
            pass
    if source.startswith(b"#exit"):
        os._exit(3)
    if source.startswith(b"#mad"):
        os.write(1, b"x" * 100)
        for descriptor in range(3, 10):
            try:
                os.write(descriptor, b"\\xff" * 100)
            except OSError:
                pass
    return real(source, name, mode, **options)
import builtins
builtins.compile = dying
sys.argv[0] = REAL
runpy.run_path(REAL, run_name="__main__")
"""


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dying.py"
    script.write_text(f"REAL = {str(COMPILER)!r}\n{DYING}")
    monkeypatch.setattr(compilers, "COMPILER", script)


@pytest.mark.usefixtures("dying")
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (b"#segv", "ended by SIGSEGV"),
        (b"#abort", "ended by SIGABRT"),
        (b"#kill", "ended by SIGKILL"),
        (b"#exit", "ended with status 3"),
        (b"#loop", "ended by SIGXCPU"),
        (b"#mad", "went mad"),
    ],
)
def test_a_crash_loses_one_file(
    running: Compilers, source: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "SECONDS", 1)
    assert is_compiled(running.compile(b"before.py", b"x = 1"))
    found = running.compile(b"crash.py", source)
    assert not is_compiled(found)
    assert why in found.why
    assert is_compiled(running.compile(b"after.py", b"x = 1"))


@pytest.mark.usefixtures("dying")
def test_what_was_ended_from_outside_is_tried_again(running: Compilers, tmp_path: Path) -> None:
    source = b"#once " + str(tmp_path / "been here").encode() + b"\n"
    assert is_compiled(running.compile(b"a.py", source))


@pytest.mark.usefixtures("dying")
def test_crashes_have_an_end(running: Compilers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "MOST_CRASHES", 3)
    found = [running.compile(b"crash.py", b"#segv").why for _ in range(5)]
    assert [why.startswith("left out") for why in found] == [False] * 3 + [True] * 2
    assert not is_compiled(running.compile(b"after.py", b"x = 1"))


# Interpreters that are none


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"executable": "/no/such/python"}, "/no/such/python cannot compile: No such file"),
        ({"executable": "/bin/true"}, "/bin/true cannot compile: the compiler ended"),
        ({"magic": "00000d0a"}, r"was said to read .* 00000d0a"),
    ],
    ids=["gone", "no Python", "replaced"],
)
def test_an_interpreter_that_is_none(
    interpreter: Interpreter, changed: dict[str, str], said: str
) -> None:
    other = replace(interpreter, **changed)  # type: ignore[arg-type]
    with Compilers(other, idle=False) as process, pytest.raises(PkgviewError, match=said):
        process.compile(b"a.py", b"")


def test_nothing_is_left_running(interpreter: Interpreter) -> None:
    with Compilers(interpreter, idle=False) as process:
        assert is_compiled(process.compile(b"a.py", b""))
        assert process._process is not None
        popen = process._process._popen
    assert popen.returncode == -signal.SIGKILL
