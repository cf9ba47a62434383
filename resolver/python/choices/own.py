"""What a project asks for by its own choosing, beyond packages of the indexes its user uses anyway.

A lock or a list of requirements that names packages of these indexes chooses nothing that its
user has not chosen. All else does: another index, an address, a file, a Python by its path, a
variable of the environment, a setting of uv. None of that happens without activation until the user
has said yes to it (`resolver.project.trust`), so each is a phrase that a person can judge, and that
is equal to itself the next time.

What is allowed without a word is listed here; whatever is not understood counts as a choice.

Reads a project's files, its lock among them (a large one takes a tenth of a second to parse): not
for the way of a program that starts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.fetch.addresses import without_userinfo
from resolver.inputs import read_text
from resolver.project.phrase import phrase
from resolver.python.choices.phrases import Wanted, written
from resolver.python.choices.settings import (
    requirements_of,
    settings,
    settings_around,
    tables_in,
    toml,
    tree,
)
from resolver.python.layers.listed import What
from resolver.python.layers.trees import eggs_in, top_of
from resolver.python.project import Origin
from resolver.python.requirements import logical_lines, requirement_files, requirement_text
from resolver.toml import inline_block, table_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.python.layers.listed import HandLayer
    from resolver.python.project import PythonProject

_HARMLESS_OPTIONS = frozenset(
    ("--pre", "--prefer-binary", "--require-hashes", "--only-binary", "--no-binary", "--no-index")
)
_FILE_OPTIONS = frozenset(("-r", "-c", "--requirement", "--constraint"))
_INDEX_OPTIONS = frozenset(("-i", "--index-url", "--extra-index-url"))

_HASH = re.compile(r"(--hash=)?\w+:\w+")

_ODD = re.compile(r"[^\S \t\r\n]|[\x00-\x08\x0e-\x1f\x7f-\x9f]|\r(?!\n)|(?m:^[^#\n]*#.*\\\r?$)")
"""What ends or joins lines of a requirements file for some readers, and for others does not."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./-]+")

_DIRECTORY = re.compile(
    r"(?:-e\s+|--editable[=\s]\s*|(?=\.))([A-Za-z0-9_./-]+)"
    r"(?:\[[A-Za-z0-9._,\s-]*\])?(?:\s*;.*)?"
)
"""A line that names a directory, read alike by everybody: `-e lib`, `./lib[extra]`."""

_LOCK_KEYS = frozenset(
    (
        *("version", "revision", "requires-python", "resolution-markers", "supported-markers"),
        *("required-markers", "conflicts", "options", "manifest", "package"),
    )
)
"""Of a uv.lock. uv has other names for some, e.g. `distribution` for `package`."""

_WHICH = ("commit-id", "requested-revision", "subdirectory")
"""What a pylock.toml takes of an archive or a repository (PEP 751)."""

_PACKAGE_KEYS = frozenset(
    (
        *("name", "version", "source", "resolution-markers", "dependencies", "sdist", "wheels"),
        *("optional-dependencies", "dev-dependencies", "dependency-groups", "metadata"),
    )
)
"""Of a package there."""


def own_choices(
    project: PythonProject, indexes: frozenset[str], named: Mapping[str, str] | None = None
) -> frozenset[str]:
    """What it wants to do by its own choosing, each as an infinitive; empty for most projects.

    `indexes` are the user's own, as `resolver.fetch.addresses.canonical` has them, `named` the
    addresses of those that have a name, by `variable_part` of it. (None: not known; what depends on
    it is listed.) Whatever is not understood here, and uv might understand (TOML of a later
    version, several options on a line), is a choice by itself. `OSError` and `PkgviewError` where
    an input cannot be read.
    """
    wanted = Wanted(project, indexes, named)
    for path in project.inputs:
        if path in project.around and not path.is_relative_to(project.directory):
            continue  # what it sets comes below
        text = read_text(path, wide=project.origin is Origin.REQUIREMENTS)
        wanted.variables(text)
        _input(project, path, text, wanted)
    if project.origin is Origin.REQUIREMENTS:
        for path in requirement_files(project.root / Origin.REQUIREMENTS).files:
            _requirement_file(path, requirement_text(path), wanted, project.root)
    settings_around(project.directory, wanted)
    for layer in project.settings.layers:
        _layer(layer, project.directory, wanted)
    _refuse_named(project, wanted, Wanted(project, indexes, named))
    return frozenset(wanted.found) | python_choices(project)


def _refuse_named(project: PythonProject, wanted: Wanted, aside: Wanted) -> None:
    """Read the trees that are choices themselves: no more of these, but an error (`tree`) is one.

    And so are those to which they lead, one after the other.
    """
    aside.trees |= wanted.trees
    waiting = [*project.source_trees, *wanted.named]
    while waiting:
        tree(waiting.pop(), aside)
        waiting += (one for one in aside.named if one not in wanted.named)
        wanted.named.update(aside.named)


def python_choices(project: PythonProject) -> frozenset[str]:
    """The phrase for a Python that it names by its path, if it does."""
    asked = (project.settings.python, project.python_pin)
    return frozenset(phrase(f"run the Python at {one}") for one in asked if one and "/" in one)


def _layer(layer: HandLayer, directory: Path, wanted: Wanted) -> None:
    """A layer by hand, and where links of a project's own layer lead out of its tree."""
    if layer.what is What.FILE:
        wanted.place("a layer", layer.named, directory)
        return
    wanted.directory("a layer", layer.named, directory)
    for place in (*(egg.place for egg in eggs_in(layer)), *top_of(layer).values()):
        real = Path(os.path.realpath(place))
        if place.is_symlink() and not wanted.is_own(real if real.is_dir() else real.parent):
            wanted.place("a layer's part", f"{layer.named}/{place.name}", directory)


def _parsed(project: PythonProject, path: Path, text: str, wanted: Wanted) -> dict[str, Any]:
    if path == project.root:  # a script
        text = inline_block(text, path) or ""
    elif path.suffix not in {".toml", ".lock"}:
        return {}
    return toml(text, path, wanted)


def _input(project: PythonProject, path: Path, text: str, wanted: Wanted) -> None:
    """One of the files that decide its packages."""
    document = _parsed(project, path, text, wanted)
    match project.origin:
        case Origin.PYLOCK if path.name == Origin.PYLOCK:
            _pylock(document, project, wanted)
        case Origin.UV | Origin.SCRIPT if path == project.uv_lock:
            _uv_lock(document, wanted, path.parent)
        case Origin.PYPROJECT | Origin.UV | Origin.REQUIREMENTS if path.name == Origin.PYPROJECT:
            requirements_of(document, wanted)
        case Origin.SCRIPT if path == project.root:
            wanted.requirements(texts_of(document.get("dependencies")))
            settings(table_of(document, "tool", "uv"), wanted, project.directory)
        case _:
            pass


def _requirement_file(path: Path, text: str, wanted: Wanted, root: Path) -> None:
    if _ODD.search(text):
        wanted.unread(path)
    for _, line in logical_lines(text):
        plain = without_hashes(line)
        directory = _DIRECTORY.fullmatch(plain)
        if directory is not None and wanted.is_own(root / directory[1]):
            tree(Path(os.path.normpath(root / directory[1])), wanted)
            continue
        if plain.startswith("-"):
            _option_line(path, plain, wanted)
            continue
        wanted.requirements([plain])
        if re.search(r"\s-", plain):
            wanted.add(f"use the line {without_userinfo(plain)}")


def without_hashes(line: str) -> str:
    """A stripped line without the `--hash` options at its end.

    Word by word from the end: an expression for several would be tried at each of them.
    """
    words = list(re.finditer(r"\S+", line))
    while len(words) > 1 and (found := _HASH.fullmatch(words[-1][0])):
        option = 1 if found[1] else 2  # its name and its value are one word, or two
        if option == 2 and (len(words) == 2 or words[-2][0] not in {"--hash", "--hash="}):  # noqa: PLR2004 - words
            break
        del words[-option:]
    return line[: words[-1].end()] if words else ""


def _option_line(path: Path, line: str, wanted: Wanted) -> None:
    option, value = _option(line)
    if re.search(r"\s", value):  # more than one option, for some readers
        wanted.add(f"use the line {without_userinfo(line)}")
    if option in _INDEX_OPTIONS:
        wanted.index(value)
    elif option in _FILE_OPTIONS:
        if "://" in value and not value.startswith("file://"):
            wanted.add(f"read requirements from {without_userinfo(value)}")
        elif not _is_plain(path, value):
            wanted.add(f"use the line {without_userinfo(line)}")
    elif option not in _HARMLESS_OPTIONS:
        wanted.add(f"use the option {without_userinfo(line)}")


def _is_plain(path: Path, value: str) -> bool:
    """Whether a file's name is read alike by everybody, and leads through no link."""
    directory = os.path.realpath(path.parent)
    named = os.path.join(directory, value)  # noqa: PTH118 - as it is written
    return bool(_PLAIN_NAME.fullmatch(value)) and os.path.realpath(named) == os.path.normpath(named)


def _option(line: str) -> tuple[str, str]:
    """Both "--index-url=X" and "-i X" and "-iX"."""
    option, _, value = re.sub(r"[=\s]+", " ", line, count=1).partition(" ")
    if not option.startswith("--") and len(option) > 2:  # noqa: PLR2004 - a letter, and its value
        option, value = option[:2], option[2:] + (f" {value}" if value else "")
    return option, value.strip().strip("\"'")


def _pylock(document: Mapping[str, Any], project: PythonProject, wanted: Wanted) -> None:
    for package in tables_in(document.get("packages")):
        name = str(package.get("name"))
        for file in (*tables_in(package.get("wheels")), table_of(package, "sdist")):
            _file(file, name, wanted, project.directory)
        for key in ("archive", "vcs"):
            _source(table_of(package, key), name, wanted)
        if directory := table_of(package, "directory"):
            wanted.directory(name, str(directory.get("path")), project.directory)


def _uv_lock(document: Mapping[str, Any], wanted: Wanted, base: Path) -> None:
    for key in sorted(document.keys() - _LOCK_KEYS):
        wanted.add(
            f"have {key} in its uv.lock, which pkgview does not know: {written(document[key])}"
        )
    for package in tables_in(document.get("package")):
        name = str(package.get("name"))
        for key in sorted(package.keys() - _PACKAGE_KEYS):
            said = written(package[key])
            wanted.add(f"have {key} of {name} in its uv.lock, which pkgview does not know: {said}")
        for kind, where in table_of(package, "source").items():
            if kind == "registry":
                wanted.index(str(where))
            elif kind in {"editable", "directory", "virtual"}:
                wanted.directory(name, str(where), base)
            elif kind != "subdirectory":
                wanted.place(name, str(where), base)
        for file in (*tables_in(package.get("wheels")), table_of(package, "sdist")):
            _file(file, name, wanted, base)


def _source(source: Mapping[str, Any], name: str, wanted: Wanted) -> None:
    """An archive or a repository. Of both address and path, any may be taken."""
    more = {key: source[key] for key in _WHICH if key in source}
    for what in (source.get("url"), source.get("path")):
        if what is not None:
            wanted.place(name, str(what), **more)


def _file(file: Mapping[str, Any], name: str, wanted: Wanted, base: Path) -> None:
    # A lock may give both, and the path is taken where there is such a file.
    if "url" in file:
        wanted.address(str(file["url"]))
    if "path" in file:
        wanted.place(name, str(file["path"]), base)
