"""Places on this machine that a project's packages come from, as its files and settings name them.

Local wheels and source archives, directories of `find-links` with what lies in them, indexes that
are directories, and a Python by its path. Who may write there decides what the project gets, so
whose they are is asked as of its inputs.

What is not understood here, uv may; a lock's places are not among them, since a lock has hashes.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from resolver import looks
from resolver.python.layers.listed import directories_of, files_of
from resolver.python.requirements import local_places
from resolver.python.uv.around import settings_in
from resolver.python.uv.workspace import members
from resolver.toml import every_text, table_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from resolver.python.layers.listed import HandLayer
    from resolver.python.requirements import RequirementFiles

MOST = 5000
"""Places of one kind that are looked at; and files of one directory."""

_PACKAGES = (".whl", ".egg", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")

_LISTS = (
    "dev-dependencies",
    "constraint-dependencies",
    "override-dependencies",
    "build-constraint-dependencies",
)
_OF_BUILDS = "extra-build-dependencies"
_LINKS = ("find-links", "index-url", "extra-index-url")


class Places(NamedTuple):
    """As in `Project`."""

    archives: tuple[Path, ...]
    places: tuple[Path, ...]


def places_of(  # noqa: PLR0913, PLR0917 - all that may name one
    directory: Path,
    document: Mapping[str, Any],
    named: RequirementFiles,
    settings: Iterable[Path],
    python: str | None,
    layers: Sequence[HandLayer] = (),
) -> Places:
    """Those that are there. `document` is a pyproject.toml, or a script's block.

    `settings` are the files that uv takes settings from, `python` is what is said of a Python,
    `layers` are those by hand.
    """
    project = table_of(document, "project")
    lines = [*texts_of(project.get("dependencies")), *texts_of(document.get("dependencies"))]
    lines += texts_of(project.get("optional-dependencies"))
    lines += texts_of(document.get("dependency-groups"))
    archives = [*named.archives, *_listed(lines, directory), *files_of(layers)]
    links = [*named.places, *directories_of(layers)]
    tables = [(table_of(document, "tool", "uv"), directory)]
    tables += [(settings_in(path), path.parent) for path in settings]
    for table, base in tables:
        archives += _of_sources(table_of(table, "sources"), base)
        for one in (table, table_of(table, "pip")):
            archives += _listed([text for key in _LISTS for text in texts_of(one.get(key))], base)
            archives += _listed(every_text(table_of(one, _OF_BUILDS)), base)
            links += _of_indexes(one, base)
    held = [place for place in dict.fromkeys(links[:MOST]) if looks.is_directory(place)]
    files = [file for place in held for file in _packages_in(place)]
    return Places(
        archives=tuple(filter(looks.is_file, dict.fromkeys(archives[:MOST]))),
        places=tuple(dict.fromkeys((*held, *files, *_pythons(directory, python)))),
    )


def _listed(lines: Iterable[str], directory: Path) -> Iterator[Path]:
    """Places that requirements name (PEP 508: `x @ file:///…`)."""
    for line in lines:
        if line.strip():
            yield from local_places(line.strip(), directory)


def member_files(settings: Iterable[Path]) -> Iterator[Path]:
    """The pyproject.toml of each member of the workspaces that these files have."""
    for path in settings:
        document = {"tool": {"uv": settings_in(path)}} if path.name == "pyproject.toml" else {}
        yield from (one / "pyproject.toml" for one in members(path.parent, document))


def source_trees(sources: Mapping[str, Any], directory: Path) -> Iterator[Path]:
    """Directories that `[tool.uv.sources]` names by path."""
    yield from filter(looks.is_directory, _of_sources(sources, directory))


def _of_sources(sources: Mapping[str, Any], base: Path) -> Iterator[Path]:
    for source in sources.values():
        for one in source if isinstance(source, list) else [source]:
            path = one.get("path") if isinstance(one, dict) else None
            if isinstance(path, str) and "\0" not in path:
                yield Path(os.path.normpath(base / path))


def _of_indexes(table: Mapping[str, Any], base: Path) -> Iterator[Path]:
    """Those of its `find-links` and indexes that may be directories."""
    said = [table[key] for key in _LINKS if key in table]
    index = table.get("index")
    for one in index if isinstance(index, list) else []:
        said += [one.get("url")] if isinstance(one, dict) else []
    for value in said:
        for text in [value] if isinstance(value, str) else texts_of(value):
            target = unquote(urlsplit(text).path) if text.startswith("file:") else text
            if "://" not in target and "\0" not in target:
                yield Path(os.path.normpath(base / target))


def _packages_in(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            for entry in islice(entries, MOST):
                if entry.name.endswith(_PACKAGES):
                    yield Path(entry.path)
    except OSError:
        return  # uv cannot read it either


def _pythons(directory: Path, python: str | None) -> Iterator[Path]:
    if python is None or "/" not in python or "\0" in python:
        return
    path = directory / Path(python).expanduser()
    inside = (path, path / "bin/python3", path / "bin/python")
    yield from (Path(os.path.normpath(one)) for one in inside if looks.is_file(one))
