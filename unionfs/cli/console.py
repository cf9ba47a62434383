"""How words, errors, tables and JSON reach the person (or program) that asked.

Answers go to stdout, everything about how they came to be to stderr. What comes from outside
(paths, names of processes, messages of an index) may hold control characters, which a terminal
would obey: it is made visible first.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resolver.errors import PkgviewError


def printable(text: str, *, keep: str = "") -> str:
    """`text` with what a terminal would obey spelled out as in Python source, but for `keep`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else _spelled(character)
        for character in text
    )


def _spelled(character: str) -> str:
    """One character as Python would write it; a byte that is no UTF-8 as that byte."""
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def report(error: PkgviewError) -> None:
    """Say what failed and what to do about it, on stderr."""
    explain(error.what, error.remedy)


def explain(what: str, remedy: str = "") -> None:
    """`pkgview: WHAT`, and the remedy below it, indented."""
    lines = [f"pkgview: {printable(what, keep=chr(10))}"]
    lines += [f"  {line}" for line in printable(remedy, keep="\n").splitlines()]
    _write(sys.stderr, "\n".join(lines) + "\n")


def note(sentence: str) -> None:
    """Say what was done, on stderr: it is no answer that a script would read."""
    _write(sys.stderr, printable(sentence) + "\n")


def answer(text: str) -> None:
    """A line of the answer, on stdout."""
    _write(sys.stdout, printable(text) + "\n")


def as_json(value: object) -> None:
    """The answer as one JSON document, on stdout."""
    import json  # noqa: PLC0415 - only where it was asked for

    _write(sys.stdout, json.dumps(value, indent=2) + "\n")


def table(rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), right: str = "") -> None:
    """Columns aligned on stdout; `right` holds "r" at the place of each right-aligned column.

    Plain text on purpose: it reads the same in a terminal, a pipe and a bug report.
    """
    cells = [[printable(cell) for cell in row] for row in ([header] if header else [])]
    cells += [[printable(cell) for cell in row] for row in rows]
    if not cells:
        return
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            cell.rjust(width) if right[place : place + 1] == "r" else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        _write(sys.stdout, "  ".join(padded).rstrip() + "\n")


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


def _write(stream: TextIO, text: str) -> None:
    """Write what the stream's encoding may not know: under LANG=C, names still come out."""
    encoding = stream.encoding or "ascii"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
