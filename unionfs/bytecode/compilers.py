"""Compiler processes: sources go in, bytecode comes out, and a hostile source loses only itself.

`environment/compiler.py` runs in the interpreter that will read the bytecode, one process for the
sources of one archive, which it answers one by one. Where it dies, the source that it had last
is to blame, and the next goes to another process; after `MOST_CRASHES` of them the rest is left
uncompiled. A process that somebody else ended (the kernel, short of memory, or the user) is given
the same source once more before it is blamed.

The limits are of processor time and memory, not of hours: a source must not be given up because the
machine is busy.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from resolver.python.interpreter import Interpreter

COMPILER = Path(__file__).parents[1] / "environment" / "compiler.py"

SECONDS = 20
"""Processor seconds for one source. 12 MB of numbers take 3, 6 MB of functions 5."""

TOTAL_SECONDS = 900
"""Processor seconds for one process."""

MEMORY = 2 << 30
"""Bytes of address space. A compiler needs 120 to 180 times the size of its source."""

LONGEST_SOURCE = 64 << 20
LONGEST_ANSWER = 256 << 20

MOST_CRASHES = 20

SILENT = 1200.0
"""Seconds without an answer after which something is wrong that no source did."""

UNCHECKED = struct.pack("<I", 1)
"""Flags of bytecode whose source is never looked at (PEP 552)."""

_LENGTH = struct.Struct("<I")
_REQUEST = struct.Struct("<II")
_ANSWER = struct.Struct("<BI")
_PART = 1 << 20
_TO_DIE = 30.0

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Compiled(NamedTuple):
    """What became of a source: its bytecode, or None and the reason."""

    bytecode: bytes | None
    why: str = ""


class _DiedError(Exception):
    """The process is gone; `by_itself` unless somebody ended it."""

    def __init__(self, why: str, *, by_itself: bool) -> None:
        super().__init__(why)
        self.by_itself = by_itself


class Compilers:
    """One process after another, as they are needed; a context that leaves none behind.

    `idle`: they run only while nobody else wants the processor.
    """

    def __init__(self, interpreter: Interpreter, *, idle: bool) -> None:
        self._interpreter = interpreter
        self._idle = idle
        self._process: _Process | None = None
        self._crashes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def compile(self, name: bytes, source: bytes) -> Compiled:
        """What becomes of a source; `name` is what its code objects say they come from.

        `PkgviewError` if the interpreter does not work at all.
        """
        if len(source) > LONGEST_SOURCE:
            return Compiled(None, f"longer than {LONGEST_SOURCE} bytes")
        for last in (False, True):
            if self._crashes >= MOST_CRASHES:
                return Compiled(None, f"left out after {MOST_CRASHES} crashes of the compiler")
            try:
                self._process = self._process or _Process(self._interpreter, idle=self._idle)
                return self._process.compile(name, source)
            except _DiedError as death:
                self._end()
                if death.by_itself or last:
                    self._crashes += 1
                    return Compiled(None, str(death))
        raise AssertionError  # the last turn returns

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """One compiler process that waits for sources."""

    def __init__(self, interpreter: Interpreter, *, idle: bool) -> None:
        self._executable = interpreter.executable
        limits = (SECONDS, TOTAL_SECONDS, MEMORY, int(idle))
        options = ("-I", "-S", "-B", "-W", "ignore")
        try:
            self._popen = subprocess.Popen(
                [self._executable, *options, os.fspath(COMPILER), *map(str, limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError as error:
            raise self._useless(error.strerror or str(error)) from error
        self._head = bytes.fromhex(interpreter.magic) + UNCHECKED
        try:
            self._greet(f"{interpreter.cache_tag} {interpreter.magic}")
        except BaseException:
            self.end()
            raise

    def _greet(self, wanted: str) -> None:
        """Hear what bytecode it writes."""
        try:
            told = self._read(*_LENGTH.unpack(self._read(_LENGTH.size))).decode("utf-8", "replace")
        except _DiedError as death:
            raise self._useless(str(death)) from death
        if told != wanted:
            raise self._useless(f"it writes {told}, and was said to read {wanted}")

    def _useless(self, why: str) -> PkgviewError:
        return PkgviewError(
            f"{self._executable} cannot compile: {why}",
            remedy="Programs compile for themselves meanwhile. If that Python was replaced, "
            "`pkgview up` looks at it again.",
        )

    def compile(self, name: bytes, source: bytes) -> Compiled:
        """One source; `_DiedError` if that ended the process."""
        self._write(_REQUEST.pack(len(name), len(source)) + name + source)
        status, size = _ANSWER.unpack(self._read(_ANSWER.size))
        if size > LONGEST_ANSWER:
            raise _DiedError("the compiler went mad", by_itself=True)
        answer = self._read(size)
        if status:
            return Compiled(None, answer.decode("utf-8", "replace"))
        if not answer.startswith(self._head):
            raise _DiedError("the compiler went mad", by_itself=True)
        return Compiled(answer)

    def end(self) -> None:
        """Kill it, if it lives."""
        self._popen.kill()
        with self._popen:  # which closes the pipes and waits
            pass

    def _write(self, data: bytes) -> None:
        assert self._popen.stdin is not None  # noqa: S101 - it was started with both
        view = memoryview(data)
        try:
            while view:
                view = view[self._popen.stdin.write(view) or 0 :]
        except BrokenPipeError:
            raise self._died() from None

    def _read(self, size: int) -> bytes:
        assert self._popen.stdout is not None  # noqa: S101 - the same
        descriptor = self._popen.stdout.fileno()
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        received = bytearray()
        while len(received) < size:
            if not waiting.poll(SILENT * 1000):
                self.end()
                raise self._useless(f"it said nothing for {SILENT:.0f} s")
            part = os.read(descriptor, min(size - len(received), _PART))
            if not part:
                raise self._died()
            received += part
        return bytes(received)

    def _died(self) -> _DiedError:
        """Its output ended, so it has, too, or will when its input does."""
        assert self._popen.stdin is not None  # noqa: S101 - the same
        self._popen.stdin.close()
        try:
            status = self._popen.wait(_TO_DIE)
        except subprocess.TimeoutExpired:
            return _DiedError("the compiler went mad", by_itself=True)
        if status >= 0:
            return _DiedError(f"the compiler ended with status {status}", by_itself=True)
        number = signal.Signals(-status)
        return _DiedError(
            f"the compiler was ended by {number.name}", by_itself=number not in _FROM_OUTSIDE
        )
