"""A Python view as an ordinary virtual environment, or as one flat directory of packages.

What is of the view and not of its distributions is left out, but for what makes a virtual
environment: `pyvenv.cfg`, `bin/python…`, the activate scripts. Console scripts get the first line
that an installer gives them, which names the environment's own interpreter, and RECORD says so.
Where that line cannot hold the path (blanks, more than the kernel reads) they stay as they are,
and find `python` beside themselves.

Bytecode is *checked* by hash (PEP 552), not unchecked as in a view: there nobody can edit a source,
here anybody can, and the times of a copy are worth nothing. So it is taken whatever became of the
times, and not where a source has changed. The path in it is the one below site-packages; importlib
puts the real one in its place.
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import re
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from resolver.python.target import python_of
from unionfs.archive.layer import Kind
from unionfs.exporting.items import items_below
from unionfs.formats.wheel import record
from unionfs.formats.wheel.scripts import SHELL, with_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unionfs.exporting.items import Item
    from unionfs.view.opened import OpenedView

_CHECKED: Final = (3).to_bytes(4, "little")
"""Flags of a hash-based .pyc whose source is compared with its hash (PEP 552)."""

_FIRST_LINE: Final = 127
"""Bytes of a first line that every kernel reads."""

_OWN = re.compile(rb"bin/(?:python[0-9.]*t?|activate(?:\.fish|\.csh)?)|pyvenv\.cfg|lib64")
_RECORD = re.compile(rb"[^/]+\.dist-info/RECORD")
_DIRECT_URL = re.compile(rb"[^/]+\.dist-info/direct_url\.json")
_NOTE = re.compile(rb"[^/]+\.dist-info/uv_cache\.json")


def environment(opened: OpenedView, at: str, interpreter: str) -> Iterator[Item]:
    """A virtual environment that will lie at `at`, of the interpreter with that path there."""
    schemes = python_of(opened.manifest).schemes
    scripts = os.fsencode(schemes.scripts)
    written = _scripts(opened, schemes.scripts, _first_line(f"{at}/{schemes.scripts}/python"))
    packages = tuple({os.fsencode(one) + b"/" for one in (schemes.purelib, schemes.platlib)})
    for item in items_below(opened, ""):
        if not opened.manifest.layers[item.layer].name and item.entry.kind is not Kind.DIRECTORY:
            if not _OWN.fullmatch(item.path):
                continue
            yield _own(item, scripts, interpreter)
            continue
        if item.path in written:
            yield item.with_content(written[item.path])
            continue
        packaged = next((one for one in packages if item.path.startswith(one)), None)
        if packaged is None:
            yield item
            continue
        inner = item.path[len(packaged) :]
        if _RECORD.fullmatch(inner):
            yield item.with_content(_listed(item.content(), packaged, written))
        elif not _is_note(item, inner):
            yield _compiled(item)


def flat(opened: OpenedView) -> Iterator[Item]:
    """What is in site-packages, for `PYTHONPATH`: no programs, and no data."""
    schemes = python_of(opened.manifest).schemes
    seen: set[bytes] = set()
    for top in dict.fromkeys((schemes.purelib, schemes.platlib)):
        for item in items_below(opened, top):
            directory = item.entry.kind is Kind.DIRECTORY
            own = not opened.manifest.layers[item.layer].name and not directory
            if own or item.path in seen or _is_note(item, item.path):
                continue
            seen.add(item.path)
            if _RECORD.fullmatch(item.path):
                yield item.with_content(_listed(item.content(), b"", None))
            else:
                yield _compiled(item)


def elsewhere(opened: OpenedView) -> list[str]:
    """What of it is not in it: a sentence for each distribution or .pth file that leads out."""
    found = {}
    schemes = python_of(opened.manifest).schemes
    for top in dict.fromkeys((schemes.purelib, schemes.platlib)):
        for item in items_below(opened, top):
            spec = opened.manifest.layers[item.layer]
            if not spec.name or item.entry.kind is not Kind.FILE:
                continue
            if _DIRECT_URL.fullmatch(item.path):
                place = _editable(item.content())
                if place:
                    found[spec.name] = f"{spec.name} is editable: it stays in {place}"
            elif item.path.endswith(b".pth") and b"/" not in item.path:
                places = [
                    line for line in item.content().decode("utf-8", "replace").splitlines()
                    if line.startswith("/")
                ]  # fmt: skip
                if places:
                    found.setdefault(
                        spec.name,
                        f"{spec.name} leads to {', '.join(places)} ({os.fsdecode(item.path)})",
                    )
    return [found[name] for name in sorted(found)]


def _editable(text: bytes) -> str:
    try:
        said = json.loads(text)
        return str(said["url"]) if said["dir_info"]["editable"] is True else ""
    except (ValueError, LookupError, TypeError):
        return ""


def _first_line(python: str) -> bytes | None:
    """What an installer writes; None where the kernel would not understand it."""
    line = os.fsencode(python)
    long = len(line) + len(b"#!\n") > _FIRST_LINE
    return None if long or len(line.split()) != 1 or line.split()[0] != line else line


def _scripts(opened: OpenedView, top: str, python: bytes | None) -> Mapping[bytes, bytes]:
    """The scripts that get another text, by their paths in the view."""
    found = {}
    for item in items_below(opened, top) if python else ():
        if item.entry.kind is Kind.FILE and opened.manifest.layers[item.layer].name:
            # Programs may be large, and are no scripts of ours.
            ours = next(item.pieces(), b"").startswith(SHELL)
            text = with_interpreter(item.content(), python or b"") if ours else None
            if text is not None:
                found[os.fsencode(top) + b"/" + item.path] = text
    return found


def _own(item: Item, scripts: bytes, interpreter: str) -> Item:
    """A file of the view's own, for that interpreter."""
    if item.path == scripts + b"/python":
        return item.with_target(os.fsencode(interpreter))
    if item.path == b"pyvenv.cfg":
        home = b"home = " + os.fsencode(posixpath.dirname(interpreter))
        lines = item.content().splitlines()
        said = [home if line.startswith(b"home = ") else line for line in lines]
        return item.with_content(b"\n".join([*said, b""]))
    return item


def _listed(
    text: bytes, packages: bytes, written: Mapping[bytes, bytes] | None
) -> bytes:  # fmt: skip
    """RECORD with what scripts are now; where there are none, without what lies elsewhere."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    for row in csv.reader(io.StringIO(text.decode(), newline="")):
        path = row[0] if row else ""
        if written is None:
            if path.startswith("../"):
                continue
        else:
            place = os.fsencode(posixpath.normpath(posixpath.join(os.fsdecode(packages), path)))
            content = written.get(place)
            if content is not None:
                now = record.row_of(path, content)
                row = [path, f"{now.algorithm}={now.value}", str(now.size)]  # noqa: PLW2901 - what is written
        writer.writerow(row)
    return out.getvalue().encode()


def _is_note(item: Item, path: bytes) -> bool:
    """The note of uv's about a directory that was built: a link into pkgview's state."""
    return item.entry.kind is Kind.SYMLINK and _NOTE.fullmatch(path) is not None


def _compiled(item: Item) -> Item:
    """Bytecode of pkgview's with the flags of one that is compared with its source."""
    if not item.compiled or item.entry.kind is not Kind.FILE:
        return item

    def pieces() -> Iterator[bytes]:
        first = True
        for piece in item.pieces():
            yield piece[:4] + _CHECKED + piece[8:] if first else piece
            first = False

    return item._replace(pieces=pieces)


def refuse_bad_path(path: str, what: str) -> None:
    """It becomes a line of `pyvenv.cfg`, and of scripts."""
    if not path.startswith("/") or not path.isprintable() or path != path.strip():
        raise PkgviewError(
            f"{what} {path!a} has to be an absolute path on one line",
            remedy="Name one such as /opt/venv, or /usr/bin/python3.",
        )
