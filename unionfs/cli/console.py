"""Words, errors, tables and JSON for the person (or program) that asked.

Answers go to stdout, everything about how they came to be to stderr. What comes from outside
(paths, names of processes, messages of an index) may hold control characters, which a terminal
would obey: it is made visible first.
"""

from __future__ import annotations

import os
import sys

from resolver.errors import PkgviewError
from resolver.naming import spelled, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO


INTERRUPTED = 130
"""The status of what was interrupted: 128 + SIGINT, as shells have it."""


def report(error: PkgviewError) -> None:
    """Say what failed and what to do about it, on stderr."""
    explain(error.what, error.remedy)


def explain(what: str, remedy: str = "") -> None:
    """`pkgview: WHAT`, and the remedy below it, indented."""
    for path in (_here(), *sys.argv[1:]):  # where somebody else may have chosen the name
        what, remedy = visible(what, path), visible(remedy, path)
    lines = [f"pkgview: {spelled(what, keep=chr(10))}"]
    lines += [f"  {line}" for line in spelled(remedy, keep="\n").splitlines()]
    _say("\n".join(lines) + "\n")


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - no pathlib for that
    except OSError:
        return ""  # it is gone


_quiet = False

QUIET = ("-q", "--quiet")
"""The option by which one asks for that."""


def hush(*, quiet: bool) -> None:
    """Say no more what was done, only answers and what failed; or say it again."""
    global _quiet  # noqa: PLW0603 - of the whole process, which does one command
    _quiet = quiet


def is_quiet() -> bool:
    """Whether nothing is to be said of what is done."""
    return _quiet


def note(sentence: str) -> None:
    """Say what was done, on stderr: it is no answer that a script would read."""
    if not _quiet:
        _say(spelled(sentence) + "\n")


def answer(text: str) -> None:
    """A line of the answer, on stdout."""
    _answer(spelled(text) + "\n")


def text(pages: str) -> None:
    """Lines of the answer, on stdout."""
    _answer(spelled(pages, keep="\n") + "\n")


def as_json(value: object) -> None:
    """The answer as one JSON document, on stdout."""
    import json  # noqa: PLC0415 - only where it was asked for

    _answer(json.dumps(value, indent=2) + "\n")


def table(
    rows: Iterable[Sequence[str]],
    *,
    header: Sequence[str] = (),
    right: str = "",
    empty: str = "There is nothing to show.",
) -> None:
    """Columns aligned on stdout; `right` holds "r" at the place of each right-aligned column.

    Plain text on purpose: it reads the same in a terminal, a pipe and a bug report. The sentence
    `empty` stands in the place of a header with nothing below.
    """
    cells = [[spelled(cell) for cell in row] for row in rows]
    if not cells:
        if header:
            answer(empty)
        return
    if header:
        cells.insert(0, [spelled(cell) for cell in header])
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            cell.rjust(width) if right[place : place + 1] == "r" else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        _answer("  ".join(padded).rstrip() + "\n")


def count(number: int, thing: str, things: str = "") -> str:
    """`1 archive`, `1,200 archives`; `things` where that is not just an s more."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def size(count: float) -> str:
    """Bytes for people: `999 B`, `1.5 KB`, `120 MB` (powers of 1000, as disks are sold)."""
    unit = "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if count < 999.5:  # noqa: PLR2004 - what rounds to 1000 belongs to the next unit
            break
        count, unit = count / 1000, larger
    digits = 1 if unit != "B" and count < 9.95 else 0  # noqa: PLR2004 - two digits, no more
    return f"{count:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `42 s`, `3 min`, `5 h 10 min`, `2 d 3 h`."""
    if seconds < 9.95:  # noqa: PLR2004 - two digits, no more
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def _say(text: str) -> None:
    """Write to stderr. Where that is closed or full there is nobody left to tell."""
    if sys.stderr is not None:
        try:
            _write(sys.stderr, text)
        except OSError:
            return


def _answer(text: str) -> None:
    """Write to stdout; an answer that nobody gets is a failure.

    `BrokenPipeError` where the reader (`| head`) has what it wanted.
    """
    if sys.stdout is None:  # closed before we started
        raise _unheard("it is closed")
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        raise _unheard(error.strerror or str(error)) from error


def discard_stdout() -> None:
    """Let what could not be written go nowhere: Python tries it once more at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _unheard(why: str) -> PkgviewError:
    return PkgviewError(
        f"the answer cannot be written to standard output: {why}",
        remedy="Let it go to a terminal, a pipe, or a file where there is room.",
    )


def _write(stream: TextIO, text: str) -> None:
    """Write what the stream's encoding may not know: under LANG=C, names still come out."""
    encoding = stream.encoding or "ascii"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
