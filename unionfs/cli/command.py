"""The command of `pkgview run`: what its words mean, and how this process becomes it.

`pkgview run` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os

from resolver.errors import PkgviewError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_SCRIPTS = (".py", ".pyw", ".pyc", ".pyz")
_OPENER = b"# /// script"
"""How an inline block (PEP 723) begins; only whoever reads it knows whether it is one."""

EDITABLE = ("-e", "--editable")
"""What may stand before a path after `--with`, as a word of its own."""

LARGEST_SCRIPT = 8 * 1024 * 1024
"""Bytes; a longer file is taken to have no inline block."""


def command_line(words: Sequence[str], *, module: bool = False, script: bool = False) -> list[str]:
    """The command that the words mean, as `uv run` takes them.

    A Python file, a directory or zip file with a `__main__.py`, and `-` (standard input) are run by
    `python`; so are a `module`, and a `script` whatever it is called.
    """
    first = words[0]
    if module:
        return ["python", "-m", *words]
    if script or first == "-" or _is_python(first):
        return ["python", *words]
    return list(words)


def several(text: str) -> list[str]:
    """The requirements of one `--with`, as in uv: `a,b` are two, `a>=1,<2` and `a[x,y]` are one."""
    parts: list[str] = []
    for piece in text.split(","):
        inside = bool(parts) and parts[-1].count("[") > parts[-1].count("]")
        if parts and (inside or piece.lstrip()[:1] in "<>=!~" or os.path.exists(text)):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def tool_requirement(said: str) -> tuple[str, str]:
    """What `pkgview tool` is to have for a command, and the command's name.

    As in uvx: `ruff`, `ruff@0.14.0`, `ruff@latest`, `ruff>=0.14`.
    """
    name, at, version = said.partition("@")
    if at and version and name == name.strip() and not {" ", "/", ":"} & set(version):
        return (f"{name}=={version}" if version != "latest" else name), _bare(name)
    return said, _bare(said)


def _bare(requirement: str) -> str:
    """A requirement's name: what comes before extras, versions and addresses."""
    end = next((at for at, one in enumerate(requirement) if one in " [<>=!~;@"), None)
    return requirement[:end]


def _is_python(word: str) -> bool:
    if word.lower().endswith(_SCRIPTS):
        return os.path.isfile(word)
    return bool(word) and os.path.isfile(os.path.join(word, "__main__.py"))


def runs_python(command: Sequence[str]) -> bool:
    """Whether it is `python …`, by whichever of its names."""
    name = os.path.basename(command[0])
    return name.rstrip("0123456789.t") in {"python", "pypy"}


def may_have_block(path: str) -> bool:
    """Whether the file may have an inline block; False for what is no such file, or too large."""
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size <= LARGEST_SCRIPT and _OPENER in file.read()
    except OSError:
        return False


def block_on_stdin() -> bytes:
    """What comes by standard input, if it may have an inline block; b"" else.

    It is there to be read again. Python reads a script to its end, too, before it runs any of it.
    """
    try:
        if os.isatty(0):
            return b""
        text = _again_from(0)
    except OSError:
        return b""
    return text if len(text) <= LARGEST_SCRIPT and _OPENER in text else b""


def _again_from(descriptor: int) -> bytes:
    """All that can be read from there, which reads the same once more."""
    kept = -1
    try:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:  # a pipe: what is read of it is gone
        at, kept = 0, os.memfd_create("stdin")
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
        left = memoryview(part)
        while kept >= 0 and left:
            left = left[os.write(kept, left) :]
    if kept >= 0:
        os.dup2(kept, descriptor)
        os.close(kept)
    os.lseek(descriptor, at, os.SEEK_SET)
    return b"".join(parts)


def environment(view: str, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What an activated environment would have, and the view's name for all that is started."""
    return {**on_path(view, environ), "VIRTUAL_ENV": view, "PKGVIEW_VIEW": name}


def on_path(view: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Only its commands, before all others: a tool works on the environment of its caller."""
    changed = {**environ, "PATH": os.pathsep.join((f"{view}/bin", environ.get("PATH", os.defpath)))}
    changed.pop("PYTHONHOME", None)
    return changed


def replace_by(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become the command, found on the PATH of `environ`."""
    program, *arguments = command
    if not program:
        raise NotFoundError("the command's name is empty", remedy="Name a command.")
    # `signal` itself takes longer to import than all else here.
    signals = __import__("_signal")
    # Python ignores these two, and what is ignored stays so in the program that comes.
    ignored = (signals.SIGPIPE, signals.SIGXFSZ)
    before = [signals.signal(number, signals.SIG_DFL) for number in ignored]
    try:
        os.execvpe(program, [program, *arguments], environ)  # noqa: S606 - the user's own command
    except FileNotFoundError as error:
        import shutil  # noqa: PLC0415 - only for the message

        found = shutil.which(program, path=environ["PATH"])
        if found is not None:
            raise NotRunnableError(
                f"{found} cannot be run: the interpreter that its first line names is missing",
                remedy="Install that, or mend the line.",
            ) from error
        raise missing(program) from error
    except OSError as error:
        if os.path.isdir(program):
            raise missing(program) from error
        raise NotRunnableError(
            f"{program} cannot be run: {error.strerror}",
            remedy="Name a program that you may execute; a script needs a first line like "
            "`#!/bin/sh`.",
        ) from error
    finally:  # here still: nothing was started
        for number, handler in zip(ignored, before, strict=True):
            signals.signal(number, handler)


def is_file(word: str) -> bool:
    """Whether a command is meant as a file, or an address, by the way it is written."""
    return "/" in word or word in {".", ".."} or word.lower().endswith(_SCRIPTS)


def missing(program: str) -> PkgviewError:
    """The error of a command that there is not."""
    if "://" in program:
        return NotFoundError(
            f"{program} is an address, and nothing is run that nobody has seen here",
            remedy="Fetch it first, e.g. with `curl -O`, look at it, and run the file.",
        )
    if os.path.isdir(program):
        return NotRunnableError(
            f"{program} is a directory that has no __main__.py",
            remedy="Name a script, or a directory that Python can run.",
        )
    if is_file(program):
        return NotFoundError(f"there is no file {program}", remedy="Name one that is there.")
    return NotFoundError(
        f"there is no command {program}",
        remedy="Name one that the view or PATH has: `pkgview run -- python …`.",
    )


class NotFoundError(PkgviewError):
    """The command does not exist; the status is that of shells and `env`."""

    status = 127


class NotRunnableError(PkgviewError):
    """The command exists and cannot be executed."""

    status = 126
