"""Editable projects: a directory that stays where it is becomes a tree to be packed as a layer."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.project.resolved import identity_text
from resolver.python.build import BuiltFor, build_with_uv
from resolver.python.directurl import of_directory
from resolver.python.index import uv_environment
from resolver.python.layers.trees import code_of
from resolver.python.requirements import normalised
from resolver.python.uv.cache import forget_editable
from resolver.python.uv.cachekeys import made_of
from resolver.python.uv.settings import build_settings
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject
    from resolver.python.target import Schemes

_NOT_THE_DISTRIBUTION = frozenset({"uv_cache.json", "uv_build.json"})


async def build_editable(  # noqa: PLR0913 - all but what and whither by name
    directory: Path,
    interpreter: Interpreter,
    into: Path,
    *,
    name: str = "",
    built_for: BuiltFor | None = None,
    offline: bool = False,
    within: Path | None = None,
) -> Path:
    """Install `directory` editable (PEP 660) and make of it a tree in the shape of a wheel.

    The result, `into`, holds `purelib/` (the `.pth` or finder, and `.dist-info`) and, where the
    distribution brings them, `platlib/`, `headers/`, `data/` and `scripts/`. Scripts of entry
    points are left out: whoever makes a view writes them, for its own interpreter. RECORD, written
    anew, is that of `purelib/` alone. `name` is the distribution's; `built_for` and `within` are as
    for `build_wheel`, and by itself a directory is built for itself.
    """
    built_for = built_for or BuiltFor(place=directory)
    with tempfile.TemporaryDirectory(prefix="pkgview-build-", dir=within) as made:
        prefix, began = Path(made) / "prefix", time.time()
        schemes = interpreter.python.schemes
        # Else a link as in a virtual environment takes it: data may go there.
        (prefix / "lib").mkdir(parents=True)
        if not schemes.platlib.startswith("lib64/"):
            (prefix / "lib64").symlink_to("lib")
        await build_with_uv(
            [
                *("pip", "install", "--no-deps"),
                f"--prefix={prefix}",
                "--link-mode=copy",
                "--reinstall",
                "--editable",
                _plain(directory, Path(made)),
            ],
            built_for.settings(name or directory.name),
            built_for,
            interpreter,
            scratch=Path(made),
            what=f"cannot build {directory} for editing",
            offline=offline,
        )
        added = uv_environment(directory) | built_for.chosen.cache(interpreter.executable)
        await forget_editable(began, cwd=directory, added=added)
        await trio.to_thread.run_sync(_shape, prefix, into, schemes, directory)
    return into


def _plain(directory: Path, scratch: Path) -> str:
    """How uv is told of a directory, and reads in its name nothing else.

    `#`, `[…]` and ` ;` would end it, and a name like a wheel's makes it a file: then it is told a
    link (a build is where its directory really is).
    """
    if directory.suffix != ".whl" and not re.search(r"[#?;\[\]]", str(directory)):
        return str(directory)
    (scratch / "project").symlink_to(directory)
    return str(scratch / "project")


def static_editable(project: PythonProject, into: Path) -> Path:
    """The same tree as `build_editable` makes, from what pyproject.toml says, running no code.

    For use without activation, which may not build. What only the back end knows is missing:
    dynamic metadata (a version then reads 0), generated modules, compiled ones, mapped names.
    Where the code is taken to lie `code_of` says.
    """
    table = parse(read_input(project.root / "pyproject.toml").decode("utf-8-sig"))
    fields = table.get("project", {})
    name, version = project.name or normalised(project.root.name), project.version or "0"
    stem = name.replace("-", "_")
    code = code_of(project.root)
    _refuse_line_break(str(code))
    purelib = into / "purelib"
    info = purelib / f"{stem}-{re.sub(r'[^A-Za-z0-9.+!]+', '_', version)}.dist-info"
    info.mkdir(parents=True)
    (purelib / f"__editable__.{stem}.pth").write_text(f"{code}\n")
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if project.requires_python:
        metadata.append(f"Requires-Python: {project.requires_python}")
    metadata += [f"Requires-Dist: {one}" for one in _texts(fields.get("dependencies"))]
    metadata += _extras(fields.get("optional-dependencies"))
    (info / "METADATA").write_text("".join(f"{_one_line(line)}\n" for line in metadata))
    (info / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: pkgview\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if points := "".join(_entry_points(fields)):
        (info / "entry_points.txt").write_text(points)
    (info / "INSTALLER").write_text("pkgview")
    (info / "direct_url.json").write_bytes(of_directory(project.root, editable=True))
    _write_record(purelib, info)
    return into


def editable_key(directory: Path, interpreter: Interpreter, settings: str | None = None) -> str:
    """What an editable build follows from: its build files, the interpreter's tag, settings.

    And which directory it is: another one in its place is built anew, whatever its files say.
    `settings` is `BuiltFor.key`; None: it is built for itself.
    """
    found = build_settings(directory) if settings is None else settings
    where = (str(directory), identity_text(directory))
    parts = ("editable 4", *where, interpreter.tag, interpreter.own, found, made_of(directory))
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()


def _shape(prefix: Path, into: Path, schemes: Schemes, directory: Path) -> None:
    """Sort what uv put below `prefix` into the schemes, and write RECORD anew."""
    libraries = dict.fromkeys((schemes.purelib, schemes.platlib))
    infos = [info for one in libraries for info in prefix.glob(f"{one}/*.dist-info")]
    if len(infos) != 1:
        raise PkgviewError(
            f"an editable build made {len(infos)} distributions, not one",
            remedy="Tell the authors of its build back end.",
        )
    for unwanted in _NOT_THE_DISTRIBUTION:
        (infos[0] / unwanted).unlink(missing_ok=True)
    (infos[0] / "INSTALLER").write_text("pkgview")
    (infos[0] / "direct_url.json").write_bytes(of_directory(directory, editable=True))
    (prefix / ".lock").unlink(missing_ok=True)
    if (prefix / "lib64").is_symlink():
        (prefix / "lib64").unlink()
    generated = set(_script_names(infos[0] / "entry_points.txt"))
    _write_record(infos[0].parent, infos[0])
    into.mkdir(parents=True, exist_ok=True)
    for scheme in ("purelib", "platlib", "headers", "scripts"):
        place = prefix / getattr(schemes, scheme)
        if place.is_dir():  # a second name of what has been moved is not there any more
            shutil.move(place, into / scheme)
        for above in place.relative_to(prefix).parents:
            with suppress(OSError):  # it has data, or is not there
                (prefix / above).rmdir()
    for script in filter(Path.is_file, (into / "scripts").glob("*")):
        if script.name in generated:
            script.unlink()
        else:
            _make_relocatable(script)
    if prefix.is_dir():
        shutil.move(prefix, into / "data")


def _make_relocatable(script: Path) -> None:
    """Give a Python script the shebang that wheels have, for the view to fill in."""
    data = script.read_bytes()
    first, newline, rest = data.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        script.write_bytes(b"#!python" + newline + rest)


def _script_names(entry_points: Path) -> Iterator[str]:
    """The names of console and GUI scripts."""
    if not entry_points.is_file():
        return
    section = ""
    for line in entry_points.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif section in {"console_scripts", "gui_scripts"} and "=" in line:
            yield line.partition("=")[0].strip()


def _entry_points(fields: dict[str, object]) -> Iterator[str]:
    """`[project.scripts]` and its kin as the lines of entry_points.txt."""
    groups = {"console_scripts": fields.get("scripts"), "gui_scripts": fields.get("gui-scripts")}
    further = fields.get("entry-points")
    groups |= further if isinstance(further, dict) else {}
    for group, entries in groups.items():
        if isinstance(entries, dict) and entries:
            yield f"[{_one_line(group)}]\n"
            yield from (f"{_one_line(key)} = {_one_line(str(v))}\n" for key, v in entries.items())


def _extras(table: object) -> Iterator[str]:
    """`[project.optional-dependencies]` as the lines of METADATA."""
    for extra, requirements in (table if isinstance(table, dict) else {}).items():
        yield f"Provides-Extra: {normalised(extra)}"
        for one in _texts(requirements):
            what, _, marker = one.partition(";")
            both = f"({marker.strip()}) and " if marker else ""
            yield f'Requires-Dist: {what.strip()} ; {both}extra == "{normalised(extra)}"'


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _refuse_line_break(path: str) -> None:
    if "\n" in path or "\r" in path:
        raise PkgviewError(
            f"{path!r} cannot be used: its name has a line break",
            remedy="Give the directory another name.",
        )


def _write_record(purelib: Path, info: Path) -> None:
    """RECORD as the specification of installed projects wants it, paths relative to purelib."""
    record = info / "RECORD"
    record.unlink(missing_ok=True)
    lines = []
    for path in sorted(path for path in purelib.rglob("*") if path.is_file()):
        data = path.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        name = str(path.relative_to(purelib))
        quoted = '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name
        lines.append(f"{quoted},sha256={digest},{len(data)}\n")
    lines.append(f"{info.name}/RECORD,,\n")
    record.write_text("".join(lines))
