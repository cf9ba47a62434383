r"""Scripts that work wherever their view is mounted: a wheel's entry points and `#!python` files.

An installer writes the interpreter's absolute path into the first line. An archive is shared by
all views, on any mount point, so its scripts have to find `python` beside themselves. They begin
with a line for the shell that Python does not see:

    #!/bin/sh
    # -*- coding: utf-8 -*-
    ''':';p=$0;case $p in */*);;*)p=./$p;;esac;[ -h "$p" ]&&p=$(readlink -f -- "$p");exec ... '''
    import sys
    ...

The shell replaces itself by `python` with the script's own "$0" and "$@"; it starts no other
process, except `readlink` where the script was called through a symbolic link (a link in
`~/.local/bin`: then `python` is not beside the link). The coding declaration stays on the second
line, where Python looks for it (PEP 263) and where the shell sees a comment.

To Python that line is a string. A file from `.data/scripts` may begin with a docstring, perhaps
with `from __future__` behind it, and neither may have a string before it. There the line begins
with a form feed and "#": to Python white space and a comment, to the shell a command by that name,
which does not exist, and whose complaint is not shown:

    \f# 2>/dev/null;p=$0;...

Why not that line for all: looking for the command costs a walk along PATH, and bash forks for it.
Why not `#!/usr/bin/env -S sh -c '...'`: busybox has no `env -S`, and `sh script` would not work.

Formats: the entry points specification (packaging.python.org), the wheel specification's
"recommended installer features" (`#!python`), and for the text of the scripts what uv writes.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT_SECTIONS: Final = ("console_scripts", "gui_scripts")

NAME_LIMIT: Final = 255

_FIND_AND_EXEC = (
    b"p=$0;case $p in */*);;*)p=./$p;;esac;"
    b'[ -h "$p" ]&&p=$(readlink -f -- "$p");'
    b'exec "${p%/*}/python" "$0" "$@"'
)
_AS_STRING = b"''':';" + _FIND_AND_EXEC + b" #'''\n"
_AS_COMMENT = b"\f# 2>/dev/null;" + _FIND_AND_EXEC + b"\n"
SHELL: Final = b"#!/bin/sh\n"
"""How each of them begins."""
_CODING = re.compile(rb"[ \t]*#.*?coding[:=][ \t]*[-\w.]+")
"""PEP 263, but for a form feed before the "#", which is no white space to a shell."""

_PLACEHOLDER = b"#!python"

_BODY = """\
import sys
from {module} import {first}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({attribute}())
"""

_TARGET = re.compile(
    r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[[\w\s,.-]*\]\s*)?", re.UNICODE
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTERPRETER = re.compile(r"(python|pypy)[0-9.]*[dtw]?", re.IGNORECASE)
_ACTIVATION = re.compile(r"(de)?activate(\.\w+)?|activate_this\.py", re.IGNORECASE)
"""What a virtual environment's own `bin` holds: a distribution may not put itself in its place."""


class InvalidEntryPointsError(ValueError):
    """An `entry_points.txt` whose scripts cannot be written: one clause a fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """One script: `name` in `bin`, which calls `module:attribute`."""

    name: str
    module: str
    attribute: str

    def script(self) -> bytes:
        """The whole file, a pure function of the entry point."""
        body = _BODY.format(
            module=self.module, first=self.attribute.partition(".")[0], attribute=self.attribute
        )
        return SHELL + b"# -*- coding: utf-8 -*-\n" + _AS_STRING + body.encode()


def entry_points(text: str) -> tuple[EntryPoint, ...]:
    """The scripts of an `entry_points.txt`, console and gui; other sections are not looked at.

    Raises `InvalidEntryPointsError` with all that is wrong: what is written into a script must
    be names and nothing else.
    """
    parser = configparser.ConfigParser(
        # No section is the one whose options all others inherit.
        default_section="\0",
        delimiters=("=",),
        interpolation=None,
    )
    # Names keep their case; this is how configparser's documentation has it done.
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        reason = str(error).splitlines()[0]
        raise InvalidEntryPointsError(f"it cannot be read: {reason}") from error
    found: dict[str, EntryPoint] = {}
    faults: list[str] = []
    for section in SCRIPT_SECTIONS:
        for name, value in parser.items(section) if parser.has_section(section) else ():
            faults.extend(f"the script name {name!r} {wrong}" for wrong in name_faults(name))
            match = _TARGET.fullmatch(value)
            if match is None or not _are_identifiers(match["module"], match["attribute"]):
                faults.append(f"the script {name!r} has the target {value!r}: no module:attribute")
                continue
            point = EntryPoint(name=name, module=match["module"], attribute=match["attribute"])
            if found.setdefault(name, point) != point:
                faults.append(f"the script {name!r} has two different targets")
    if faults:
        raise InvalidEntryPointsError(*faults)
    return tuple(found.values())


def name_faults(name: str) -> Iterator[str]:
    """Why a file in `bin` may not have that name."""
    if not name or name in {".", ".."} or "/" in name or "\\" in name or _CONTROL.search(name):
        yield "is no plain file name"
    if len(name.encode("utf-8", "surrogatepass")) > NAME_LIMIT:
        yield f"has more than {NAME_LIMIT} bytes"
    if _INTERPRETER.fullmatch(name):
        yield "is that of an interpreter"


def is_of_activation(name: str) -> bool:
    """Whether it is a script of the virtual environment itself: a distribution's is left out."""
    return _ACTIVATION.fullmatch(name) is not None


def has_placeholder(start: bytes) -> bool:
    """Whether a file that starts so asks for the interpreter's path (`#!python`, `#!pythonw`)."""
    return start.startswith(_PLACEHOLDER)


def fill_placeholder(script: bytes) -> bytes:
    """A `.data/scripts` file with its first line, all of it, replaced as `scripts` says."""
    _, _, rest = script.partition(b"\n")
    second, newline, body = rest.partition(b"\n")
    if _CODING.match(second):
        return SHELL + second + (newline or b"\n") + _AS_COMMENT + body
    return SHELL + _AS_COMMENT + rest


def with_interpreter(script: bytes, python: bytes) -> bytes | None:
    """A script as an installer writes it, which names its interpreter; None if it is not ours."""
    if not script.startswith(SHELL):
        return None
    rest = script[len(SHELL) :]
    for line in (_AS_STRING, _AS_COMMENT):
        before, found, after = rest.partition(line)
        # It is the second line, or the third after a coding declaration.
        if found and before.count(b"\n") == bool(before) and before[-1:] in {b"", b"\n"}:
            return b"#!" + python + b"\n" + before + after
    return None


def _are_identifiers(*dotted: str) -> bool:
    return all(part.isidentifier() for name in dotted for part in name.split("."))
