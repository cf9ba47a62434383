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

import hashlib
import os
import re
import tomllib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from resolver.inputs import read_text
from resolver.python.project import Origin, inline_block
from resolver.python.requirements import logical_lines, normalised, requirement_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject

EVERYBODYS = frozenset({"https://pypi.org/", "https://files.pythonhosted.org/"})
"""Below which everybody's packages are: the index that pip and uv use unless told otherwise."""

LONGEST = 160
"""Characters of a phrase; what is longer is cut, and ends in a digest of the whole."""

_PLAIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?"
    r"\s*\(?(?:\s*,?\s*(?:===?|~=|!=|<=?|>=?)\s*[A-Za-z0-9.*+!_-]+)*\s*\)?"
)
"""A requirement by name and version (PEP 508), without its marker."""

_NAMED = re.compile(r' with what your environment has for "([^"]*)"$')
"""How the phrase for an index ends that has a name."""

_FILE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+)$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([^}\s]*)\}")
_OWN_VARIABLE = "PROJECT_ROOT"
"""uv's name for the directory that it runs in."""

_HARMLESS_OPTIONS = frozenset(
    ("--pre", "--prefer-binary", "--require-hashes", "--only-binary", "--no-binary", "--no-index")
)
_FILE_OPTIONS = frozenset(("-r", "-c", "--requirement", "--constraint"))
_INDEX_OPTIONS = frozenset(("-i", "--index-url", "--extra-index-url"))

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

_HASHES = re.compile(r"(?:\s+--hash[=\s]\s*\w+:\w+)+\s*$")

_ODD = re.compile(r"[^\S \t\r\n]|[\x00-\x08\x0e-\x1f\x7f-\x9f]|\r(?!\n)|(?m:#.*\\\r?$)")
"""What ends or joins lines of a requirements file for some readers, and for others does not."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./-]+")

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
        *("no-deps", "extra", "all-extras", "group", "no-strip-extras", "no-strip-markers"),
    )
)
"""Settings of uv that change neither where packages come from nor what is run. Those with a meaning
that is looked at here are among them."""


def own_choices(project: PythonProject, indexes: frozenset[str]) -> frozenset[str]:
    """What it wants to do by its own choosing, each as an infinitive; empty for most projects.

    `indexes` are the prefixes of addresses that belong to the user's own indexes. Whatever is not
    understood here, and uv might understand (TOML of a later version, several options on a line),
    is a choice by itself. `OSError` and `PkgviewError` where an input cannot be read.
    """
    wanted = _Wanted(indexes | EVERYBODYS)
    for path in project.inputs:
        text = read_text(path)
        wanted.variables(text)
        _input(project, path, text, wanted)
    if project.origin is Origin.REQUIREMENTS:
        for path in requirement_files(project.root / Origin.REQUIREMENTS).files:
            _requirement_file(path, read_text(path), wanted)
    for table in _uv_tables(project, wanted):
        _settings(table, wanted)
    return frozenset(wanted.found) | python_choices(project)


def python_choices(project: PythonProject) -> frozenset[str]:
    """The phrase for a Python that it names by its path, if it does."""
    asked = (project.settings.python, project.python_pin)
    return frozenset(_phrase(f"run the Python at {one}") for one in asked if one and "/" in one)


def variable_choice(name: str) -> str:
    """The phrase for a variable of the environment."""
    return _phrase(f"put the variable {name} of your environment into addresses")


def index_choice(url: str, name: str = "") -> str:
    """The phrase for an index; a name is what uv looks its password up by."""
    said = f"use the index {_without_credentials(url)}"
    return _phrase(f'{said} with what your environment has for "{name}"' if name else said)


def belongs(url: str, prefixes: Iterable[str]) -> bool:
    """Whether an address lies below one of these, and says nothing besides."""
    try:
        parts = urlsplit(url)
        odd = parts.username or parts.password or "%2e" in url.lower() or "\\" in url
        if odd or ".." in parts.path.split("/") or not parts.hostname:
            return False
        plain = parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower()).geturl()
    except ValueError:
        return False
    return any(plain.startswith(prefix) for prefix in prefixes)


def index_names(choices: Iterable[str]) -> frozenset[str]:
    """The names of indexes among these phrases."""
    found = (_NAMED.search(choice) for choice in choices)
    return frozenset(match[1] for match in found if match)


class _Wanted:
    """The phrases so far."""

    def __init__(self, prefixes: frozenset[str]) -> None:
        self.found: set[str] = set()
        self._prefixes = prefixes

    def add(self, text: str) -> None:
        self.found.add(_phrase(text))

    def variables(self, text: str) -> None:
        for name in _VARIABLE.findall(text):
            if name != _OWN_VARIABLE:
                self.found.add(variable_choice(name))

    def requirements(self, texts: Iterable[str]) -> None:
        for text in texts:
            plain = _PLAIN.fullmatch(text.partition(";")[0].strip())
            if plain is None or _FILE.search(plain["name"]):
                self.add(f"take a package by the address or path {_without_credentials(text)}")

    def index(self, url: str, name: str = "") -> None:
        if not belongs(url.rstrip("/") + "/", self._prefixes):
            self.found.add(index_choice(url, name))

    def address(self, url: str) -> None:
        """Where a lock says that a file is. By host: a lock has hundreds."""
        if not belongs(url, self._prefixes):
            try:
                parts = urlsplit(url)
                host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            except ValueError:
                host = url
            self.add(f"fetch packages from {host}")

    def unread(self, path: Path) -> None:
        """A file of which uv may understand more than is understood here."""
        self.add(f"follow {path}, which pkgview cannot read")

    def place(self, name: str, what: str) -> None:
        self.add(f"take {name} from {_without_credentials(what)}")


def _phrase(text: str) -> str:
    shown = text if text.isprintable() else ascii(text)
    if len(shown) <= LONGEST:
        return shown
    return (
        f"{shown[:LONGEST]}… ({hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]})"
    )


def _without_credentials(text: str) -> str:
    return re.sub(r"://[^/\s@]+@", "://", text)


def _parsed(project: PythonProject, path: Path, text: str, wanted: _Wanted) -> dict[str, Any]:
    if project.origin is Origin.SCRIPT:
        text = inline_block(text, path) or ""
    elif path.suffix not in {".toml", ".lock"}:
        return {}
    return _toml(text, path, wanted)


def _toml(text: str, path: Path, wanted: _Wanted) -> dict[str, Any]:
    """Of what is no TOML 1.0 uv, which reads 1.1, may take more than nothing."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        wanted.unread(path)
        return {}


def _table(parent: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _texts_in(value: object) -> list[str]:
    """The texts of a list; of a table (PEP 735's groups, extras), those of its lists."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts_in(one)]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _input(project: PythonProject, path: Path, text: str, wanted: _Wanted) -> None:
    """One of the files that decide its packages."""
    document = _parsed(project, path, text, wanted)
    match project.origin:
        case Origin.PYLOCK if path.name == Origin.PYLOCK:
            _pylock(document, project, wanted)
        case Origin.UV if path.name == Origin.UV:
            _uv_lock(document, wanted)
        case Origin.PYPROJECT | Origin.UV | Origin.REQUIREMENTS if path.name == Origin.PYPROJECT:
            _requirements_of(document, wanted)
        case Origin.SCRIPT:
            wanted.requirements(_texts_in(document.get("dependencies")))
            _settings(_table(_table(document, "tool"), "uv"), wanted)
        case _:
            pass


def _requirements_of(document: Mapping[str, Any], wanted: _Wanted) -> None:
    project = _table(document, "project")
    for value in (
        project.get("dependencies"),
        project.get("optional-dependencies"),
        document.get("dependency-groups"),
    ):
        wanted.requirements(_texts_in(value))


def _requirement_file(path: Path, text: str, wanted: _Wanted) -> None:
    if _ODD.search(text):
        wanted.unread(path)
    for _, line in logical_lines(text):
        plain = _HASHES.sub("", line).strip()
        if plain.startswith("-"):
            _option_line(path, plain, wanted)
            continue
        wanted.requirements([plain])
        if re.search(r"\s-", plain):
            wanted.add(f"use the line {_without_credentials(plain)}")


def _option_line(path: Path, line: str, wanted: _Wanted) -> None:
    option, value = _option(line)
    if re.search(r"\s", value):  # more than one option, for some readers
        wanted.add(f"use the line {_without_credentials(line)}")
    if option in _INDEX_OPTIONS:
        wanted.index(value)
    elif option in _FILE_OPTIONS:
        if "://" in value and not value.startswith("file://"):
            wanted.add(f"read requirements from {_without_credentials(value)}")
        elif not _is_plain(path, value):
            wanted.add(f"use the line {_without_credentials(line)}")
    elif option not in _HARMLESS_OPTIONS:
        wanted.add(f"use the option {_without_credentials(line)}")


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


def _uv_tables(project: PythonProject, wanted: _Wanted) -> Iterator[dict[str, Any]]:
    """Settings of uv that do not come from its user or root.

    uv takes them from the nearest directory upwards that has some, and sources and indexes from
    the workspace's. Which that is need not be found out: what lies above may be of the same clone.
    """
    for directory in (project.directory, *project.directory.parents):
        for name in ("uv.toml", "pyproject.toml"):
            document = _toml_at(directory / name, wanted)
            yield document if name == "uv.toml" else _table(_table(document, "tool"), "uv")


def _toml_at(path: Path, wanted: _Wanted) -> dict[str, Any]:
    if path.is_file():
        return _toml(read_text(path), path, wanted)
    if os.path.lexists(path):
        wanted.unread(path)  # a pipe, say, which uv would wait for
    return {}


def _settings(table: Mapping[str, Any], wanted: _Wanted) -> None:
    for key in sorted(table.keys() - _HARMLESS_KEYS):
        wanted.add(f"set uv's {key}")
    for key in _LISTS:
        wanted.requirements(_texts_in(table.get(key)))
    indexes = table.get("index")
    for index in _tables(indexes):
        named = index.get("name")
        wanted.index(str(index.get("url")), named if isinstance(named, str) else "")
    for key in _INDEX_KEYS:
        value = table.get(key)
        for url in [value] if isinstance(value, str) else _texts_in(value):
            wanted.index(url)
    for name, value in _table(table, "sources").items():
        for source in _tables(value) or ([value] if isinstance(value, dict) else []):
            where = next((source[key] for key in _PLACES if key in source), None)
            if where is not None:
                wanted.place(normalised(name), "the workspace" if where is True else str(where))
    if "pip" in table:
        _settings(_table(table, "pip"), wanted)


def _pylock(document: Mapping[str, Any], project: PythonProject, wanted: _Wanted) -> None:
    for package in _tables(document.get("packages")):
        name = str(package.get("name"))
        for file in (*_tables(package.get("wheels")), _table(package, "sdist")):
            _file(file, name, wanted)
        for key in ("archive", "vcs", "directory"):
            source = _table(package, key)
            if not source:
                continue
            path = source.get("path")
            itself = key == "directory" and isinstance(path, str)
            if itself and (project.directory / str(path)).resolve() == project.directory:
                continue
            wanted.place(name, str(source.get("url") or path))


def _uv_lock(document: Mapping[str, Any], wanted: _Wanted) -> None:
    for package in _tables(document.get("package")):
        name = str(package.get("name"))
        for kind, where in _table(package, "source").items():
            if kind == "registry":
                wanted.index(str(where))
            elif where != "." and kind != "subdirectory":
                wanted.place(name, str(where))
        for file in (*_tables(package.get("wheels")), _table(package, "sdist")):
            _file(file, name, wanted)


def _file(file: Mapping[str, Any], name: str, wanted: _Wanted) -> None:
    # A lock may give both, and the path is taken where there is such a file.
    if "url" in file:
        wanted.address(str(file["url"]))
    if "path" in file:
        wanted.place(name, str(file["path"]))
