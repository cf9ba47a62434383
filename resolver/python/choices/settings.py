"""What a project chooses by settings of uv, and by the source trees to which they lead.

Of settings those count that are not known to be harmless, in whichever file uv may look for them.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver import looks
from resolver.inputs import read_text
from resolver.python.choices.phrases import written
from resolver.python.requirements import normalised
from resolver.python.unbuilt import members
from resolver.python.uv.workspace import LONGEST, counter, directories
from resolver.toml import TooManyError, invalid, parse, table_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resolver.python.choices.phrases import Wanted

_LISTS = (
    "dev-dependencies",
    "constraint-dependencies",
    "override-dependencies",
    "build-constraint-dependencies",
)
"""Keys of `[tool.uv]` that hold requirements."""

_INDEX_KEYS = ("index-url", "extra-index-url")

_PLACES = ("git", "url", "path", "workspace")
"""Keys of a source (`[tool.uv.sources]`) that lead away from indexes."""

_HARMLESS_IN_SOURCES = frozenset(("marker", "extra", "group", "editable", "package"))

_KNOWN_IN_INDEXES = frozenset(
    (
        *("name", "url", "explicit", "default", "format", "publish-url", "authenticate"),
        *("ignore-error-codes", "cache-control", "exclude-newer"),
    )
)

_HARMLESS_KEYS = frozenset(
    (
        *(*_LISTS, "index", *_INDEX_KEYS, "sources", "pip", "exclude-dependencies"),
        *("package", "managed", "workspace", "default-groups", "dependency-groups", "conflicts"),
        *("environments", "required-environments", "required-version", "resolution", "prerelease"),
        *("exclude-newer", "exclude-newer-package", "fork-strategy", "no-build", "no-binary"),
        *("no-build-package", "no-binary-package", "link-mode", "compile-bytecode", "add-bounds"),
        *("python-preference", "python-downloads", "offline", "preview", "preview-features"),
        *("concurrent-downloads", "concurrent-builds", "concurrent-installs", "build-backend"),
        *("universal", "strict", "upgrade", "generate-hashes", "python-version"),
        *("annotation-style", "no-annotate", "no-header", "custom-compile-command"),
        *("emit-index-url", "no-index", "publish-url", "check-url", "trusted-publishing"),
        *("no-deps", "extra", "all-extras", "no-strip-extras", "no-strip-markers", "no-extra"),
        *("prerelease-package", "minimum-libc-version", "require-build-hashes", "upgrade-package"),
        *("reinstall", "reinstall-package", "allow-empty-requirements", "only-binary"),
    )
)
"""Settings of uv that change neither where packages come from nor what is run. Those with a meaning
that is looked at here are among them."""


MOST_TREES = 200
"""Local source trees, of one project, that are looked into."""


def toml(text: str, path: Path, wanted: Wanted) -> dict[str, Any]:
    """Of what is no TOML 1.0 uv, which reads 1.1, may take more than nothing."""
    try:
        return parse(text)
    except TooManyError as error:  # uv would take it, and all memory for it
        raise invalid(str(path), error) from error
    except (tomllib.TOMLDecodeError, RecursionError):
        wanted.unread(path)
        return {}


def tables_in(value: object) -> list[dict[str, Any]]:
    """Those in a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def requirements_of(document: Mapping[str, Any], wanted: Wanted) -> None:
    """Those that a pyproject.toml lists."""
    project = table_of(document, "project")
    for value in (
        project.get("dependencies"),
        project.get("optional-dependencies"),
        document.get("dependency-groups"),
    ):
        wanted.requirements(texts_of(value))


def settings_around(directory: Path, wanted: Wanted) -> None:
    """Settings of uv that do not come from its user or root.

    uv takes them from the nearest directory upwards that has some, and sources and indexes from
    the workspace's. Which that is need not be found out: what lies above may be of the same clone.
    """
    for place in (directory, *directory.parents):
        if place in wanted.around:
            continue
        wanted.around.add(place)
        settings(_toml_at(place / "uv.toml", wanted), wanted, place)
        document = _toml_at(place / "pyproject.toml", wanted)
        settings(table_of(document, "tool", "uv"), wanted, place)


def tree(directory: Path, wanted: Wanted) -> None:
    """What a source tree asks for that is taken from a path: its requirements count like others.

    And so do settings around it: it may be of a workspace of its own.
    """
    place = directory / "pyproject.toml"
    looks.refuse(directory)
    if directory in wanted.trees or not os.path.lexists(place):
        return
    if len(wanted.trees) >= MOST_TREES:
        wanted.unread(place)
        _toml_at(place, wanted)  # but refused like the others
        return
    wanted.trees.add(directory)
    document = _toml_at(place, wanted)
    if document:
        wanted.variables(read_text(place))
    requirements_of(document, wanted)
    settings_around(directory, wanted)


def _toml_at(path: Path, wanted: Wanted) -> dict[str, Any]:
    if looks.is_file(path):
        return toml(read_text(path), path, wanted)
    if os.path.lexists(path):
        wanted.unread(path)  # a pipe, say, which uv would wait for
    return {}


def settings(table: Mapping[str, Any], wanted: Wanted, directory: Path) -> None:
    """uv's, as they stand in a file of that directory."""
    for key in sorted(table.keys() - _HARMLESS_KEYS):
        wanted.set(key, table[key], directory)
    for key in _LISTS:
        value = table.get(key, [])
        wanted.requirements(texts_of(value))
        if not isinstance(value, list) or len(texts_of(value)) != len(value):
            wanted.set(key, value, directory)
    _indexes(table, wanted)
    for name, value in table_of(table, "sources").items():
        for source in tables_in(value) or [value]:
            _source(normalised(name), source, wanted, directory)
    names = counter()
    for pattern in texts_of(table_of(table, "workspace").get("members")):
        _members(directory, pattern, wanted, names)
    if "pip" in table:
        settings(table_of(table, "pip"), wanted, directory)


def _indexes(table: Mapping[str, Any], wanted: Wanted) -> None:
    indexes = table.get("index", [])
    if not isinstance(indexes, list) or len(tables_in(indexes)) != len(indexes):
        wanted.set("index", indexes)
    for index in tables_in(indexes):
        if index.keys() - _KNOWN_IN_INDEXES:
            wanted.set("index", index)
        named = index.get("name")
        wanted.index(str(index.get("url")), named if isinstance(named, str) else "")
    for key in _INDEX_KEYS:
        value = table.get(key)
        for url in [value] if isinstance(value, str) else texts_of(value):
            wanted.index(url)


def _source(name: str, source: object, wanted: Wanted, directory: Path) -> None:
    """Where one package comes from, by `[tool.uv.sources]`."""
    found = source if isinstance(source, dict) else {}
    away = {key: found[key] for key in _PLACES if key in found}
    if away == {"workspace": True}:
        member = next((one.root for one in members(directory) if one.name == name), None)
        if member is None or not wanted.is_own(member):
            wanted.place(name, "the workspace", directory)
    elif list(away) == ["path"]:
        wanted.directory(name, str(away["path"]), directory)
    elif away:
        key, what = next(iter(away.items()))
        more = {one: found[one] for one in found.keys() - _HARMLESS_IN_SOURCES - {key}}
        wanted.place(name, str(what), directory, **more)
    elif "index" not in found:
        wanted.add(f"take {name} from a place that pkgview does not know: {written(source)}")
    if isinstance(path := found.get("path"), str) and "\0" not in path:
        tree(Path(os.path.normpath(directory / path)), wanted)


def _members(directory: Path, pattern: str, wanted: Wanted, names: Iterator[int]) -> None:
    """Those of a workspace, whose requirements are taken with them."""
    odd = "**" in pattern or ".." in pattern or "\0" in pattern or len(pattern) > LONGEST
    if odd or os.path.isabs(pattern):  # noqa: PTH117 - text
        wanted.add(f"have the members {pattern} in its workspace{wanted.beside(directory)}")
        return
    for number, member in enumerate(directories(directory, [pattern], names)):
        if number == MOST_TREES:
            wanted.unread(member)
        if number >= MOST_TREES:
            _toml_at(member / "pyproject.toml", wanted)
            continue
        tree(Path(os.path.normpath(member)), wanted)
    if next(names, None) is None:
        wanted.unread(directory)  # not all of it: there are more files than are looked at
