"""uv's own settings, as far as they matter to us: where they stand, and what changes a build.

A *place* is where settings are looked for: a directory, or a script with an inline block, whose
`[tool.uv]` goes before those of its directory. docs/locking.md has a row for each setting.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.buildenv import RESOLVING, build_variables
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.python.uv.above import refuse_anothers
from resolver.python.uv.inline import script_text
from resolver.python.uv.once import once
from resolver.python.uv.workspace import counts, member_patterns, members
from resolver.toml import inline_block, parse, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FILES = ("UV_CONSTRAINT", "UV_EXCLUDE", "UV_OVERRIDE")
"""Variables that name files with requirements."""

TRUE = {"1", "true", "yes", "on", "y", "t"}
"""What uv and pip take for yes, in lower case."""


def truth(text: str | None) -> bool:
    """Whether a variable says yes."""
    return (text or "").lower() in TRUE


BUILD_SETTINGS = (
    "build-constraint-dependencies", "config-settings", "config-settings-package", "exclude-newer",
    "exclude-newer-package", "extra-build-dependencies", "extra-build-variables",
    "no-build-isolation", "no-build-isolation-package", "no-sources", "no-sources-package",
    "prerelease", "resolution",
)  # fmt: skip
"""What uv is set to that changes what it builds, at the top of its settings or in `[pip]`."""


_ALSO_OF_PIP = (
    "config-settings", "config-settings-package", "dependency-metadata", "exclude-newer",
    "exclude-newer-package", "extra-build-dependencies", "extra-build-variables",
    "extra-index-url", "find-links", "fork-strategy", "index-strategy", "index-url",
    "keyring-provider", "no-build-isolation", "no-build-isolation-package", "no-index",
    "no-sources", "no-sources-package", "prerelease", "resolution", "torch-backend",
)  # fmt: skip
"""What `[pip]` has as the top of the settings has it."""

_RESOLVING_SETTINGS = (
    "constraint-dependencies", "dependency-metadata", "environments", "exclude-dependencies",
    "exclude-newer", "exclude-newer-package", "extra-index-url", "find-links", "fork-strategy",
    "index", "index-strategy", "index-url", "minimum-libc-version", "no-binary",
    "no-binary-package", "no-build", "no-build-package", "no-index", "no-sources",
    "no-sources-package", "override-dependencies", "pip", "prerelease", "prerelease-package",
    "required-environments", "resolution", "torch-backend",
)  # fmt: skip
"""What changes what a resolution comes to."""


def resolving_settings(place: Path, environ: Mapping[str, str] | None = None) -> str:
    """A digest of all that changes what a resolution for `place` comes to; "" where nothing is set.

    Of whose files and variables it may be: what a project's own say is in its fingerprint already.
    """
    env = os.environ if environ is None else environ
    said: list[object] = [[name, env[name]] for name in sorted(RESOLVING) if env.get(name)]
    for word in " ".join(env.get(one, "") for one in _FILES).split():
        with suppress(OSError, PkgviewError):  # uv will have to complain of it
            said.append(read_text(Path(word)))
    whole = effective(env, place)
    said += [[key, whole[key]] for key in _RESOLVING_SETTINGS if key in whole]
    if not said:
        return ""
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def build_settings(place: Path | None, environ: Mapping[str, str] | None = None) -> str:
    """A digest of all settings that change what is built for `place`; "" where nothing is set.

    None: somewhere that has no settings of its own.
    """
    env = os.environ if environ is None else environ
    said: list[object] = list(build_variables(env))
    for word in env.get("UV_BUILD_CONSTRAINT", "").split():
        with suppress(OSError, PkgviewError):  # uv will have to complain of it
            said.append(read_text(Path(word)))
    for table in uv_tables(env, place):
        for where in (table, table_of(table, "pip")):
            said += [[key, where[key]] for key in BUILD_SETTINGS if key in where]
    if not said:
        return ""
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


_WHERE = ("HOME", "UV_CONFIG_FILE", "UV_NO_CONFIG", "UV_NO_SYSTEM_CONFIG", "XDG_CONFIG_HOME")
"""Variables that say which files have settings."""


def uv_tables(env: Mapping[str, str], place: Path | None) -> Sequence[dict[str, Any]]:
    """Settings of uv: system, user, then the nearest of the project's, last a script's own."""
    key = ("uv", place, *map(env.get, _WHERE))
    return once(key, lambda: tuple(_uv_tables(env, place)))


def _uv_tables(env: Mapping[str, str], place: Path | None) -> Iterator[dict[str, Any]]:
    home = Path(env.get("HOME") or Path.home())
    script = place if place is not None and place.is_file() else None
    beside = script.parent if script else place
    directory = once(("root", beside), lambda: _settings_root(beside))
    if named := env.get("UV_CONFIG_FILE"):
        yield _absolute_in(Path(named))
    elif not truth(env.get("UV_NO_CONFIG")):
        if not truth(env.get("UV_NO_SYSTEM_CONFIG")):
            yield _absolute_in(Path("/etc/uv/uv.toml"))
        yield _absolute_in(Path(env.get("XDG_CONFIG_HOME") or home / ".config", "uv/uv.toml"))
        for parent in (directory, *directory.parents) if directory else ():
            if (parent / "uv.toml").is_file():
                refuse_anothers(f"{parent}/uv.toml")
                yield _absolute_in(parent / "uv.toml")
                break
            uv = table_of(_above(parent), "tool", "uv")
            if uv:
                yield absolute(uv, parent)
                break
    if script is not None:
        yield absolute(table_of(script_document(script), "tool", "uv"), script.parent)


def is_virtual(place: Path, path: Path | None) -> bool:
    """Whether a directory that a project depends on is no package, by its word or the project's.

    uv installs what it depends on, and not itself; `uv pip compile` does not know that.
    """
    if path is None or not path.is_dir():
        return False
    own = table_of(read_toml(path / "pyproject.toml"), "tool", "uv")
    document = read_toml(place / "pyproject.toml")  # of a script uv itself has left it out
    sources = absolute(table_of(document, "tool", "uv"), place).get("sources")
    for source in sources.values() if isinstance(sources, dict) else ():
        if isinstance(source, dict) and source.get("path") == str(path) and "package" in source:
            return source["package"] is False
    return own.get("package") is False


def _settings_root(directory: Path | None) -> Path | None:
    """From where on upwards uv looks for settings: a project's are those of its workspace."""
    for parent in (directory, *directory.parents) if directory else ():
        document = read_toml(parent / "pyproject.toml")
        if not document and not (parent / "pyproject.toml").is_file():
            continue
        if "project" not in document:
            break
        with suppress(PkgviewError):  # uv will have to complain of it
            above = (root for root in (parent, *parent.parents) if member_patterns(root))
            root = next(above, parent)
            return root if root != parent and counts(root, parent) else parent
    return directory


def member_tables(place: Path | None) -> Iterator[dict[str, Any]]:
    """`[tool.uv]` of each member of the workspace: what their sources name is there."""
    root = _settings_root(place) if place is not None and place.is_dir() else None
    document = _above(root) if root else {}
    for member in members(root, document) if root else ():
        uv = table_of(read_toml(member / "pyproject.toml"), "tool", "uv")
        yield absolute(uv, member)


def effective(
    env: Mapping[str, str], place: Path | None, *, by_pip: bool = False
) -> dict[str, Any]:
    """All of these as one table, as uv combines them.

    Of a list what is said nearer comes first, of a table each key counts by itself. `by_pip`: for
    `uv pip`, to which `[pip]` says the same and is nearer than all others.
    """
    whole: dict[str, Any] = {}
    tables = uv_tables(env, place)
    for table in (*tables, *map(_of_pip, tables if by_pip else ())):
        for key, value in table.items():
            below = whole.get(key)
            if isinstance(value, list) and isinstance(below, list):
                whole[key] = [*value, *below]
            elif isinstance(value, dict) and isinstance(below, dict):
                whole[key] = below | value
            else:
                whole[key] = value
    return whole


def _of_pip(table: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `uv pip` that mean the same for other commands."""
    said = table_of(table, "pip")
    return {key: said[key] for key in _ALSO_OF_PIP if key in said}


_OF_PYPROJECT = ("constraint-dependencies", "exclude-dependencies", "override-dependencies")


def other_lists(place: Path, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `uv lock` and `uv sync` take of a project's pyproject.toml alone, whatever uv.toml says.

    {} where `uv pip compile`, which takes it from where all settings are, comes to the same.
    """
    whole = effective(os.environ if environ is None else environ, place)
    root = once(("root", place), lambda: _settings_root(place))
    document = read_toml((root or place) / "pyproject.toml")
    uv = table_of(document, "tool", "uv")
    own = {key: uv.get(key, []) for key in _OF_PYPROJECT}
    return {} if all(whole.get(key, []) == own[key] for key in own) else own


def absolute(table: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The same settings with absolute paths, for a file that lies elsewhere."""

    def located(value: object) -> object:
        if isinstance(value, list):
            return [located(one) for one in value]
        if isinstance(value, dict) and isinstance(value.get("url"), str):  # an index
            return {**value, "url": located(value["url"])}
        is_path = isinstance(value, str) and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|[$~]", value)
        return os.path.normpath(directory / value) if is_path and isinstance(value, str) else value

    moved = dict(table)
    for key in ("index", "index-url", "extra-index-url", "find-links"):
        if key in table:
            moved[key] = located(table[key])
    if isinstance(pip := table.get("pip"), dict):
        moved["pip"] = absolute(pip, directory)
    if isinstance(sources := table.get("sources"), dict):
        moved["sources"] = {name: _source(one, directory) for name, one in sources.items()}
    return moved


def _source(value: object, directory: Path) -> object:
    """Where one package comes from, by an absolute path if by one."""
    if isinstance(value, list):
        return [_source(one, directory) for one in value]
    if not isinstance(value, dict):
        return value
    keys = [key for key in ("path", "workspace") if isinstance(value.get(key), str)]
    # Of a repository it is a path inside.
    keys = [] if "git" in value else keys
    return value | {key: os.path.normpath(directory / value[key]) for key in keys}


def _absolute_in(path: Path) -> dict[str, Any]:
    return absolute(read_toml(path), path.parent)


def _above(directory: Path) -> dict[str, Any]:
    """The pyproject.toml of a directory that may be above a project."""
    place = directory / "pyproject.toml"
    if place.is_file():
        refuse_anothers(os.fspath(place))
    return read_toml(place)


def script_document(script: Path) -> dict[str, Any]:
    """The inline block of a script; {} where there is none, or nothing that is TOML."""
    with suppress(PkgviewError, tomllib.TOMLDecodeError, RecursionError):
        return parse(inline_block(script_text(script) or "", script) or "")
    return {}


def read_toml(path: Path) -> dict[str, Any]:
    """Its contents; {} where there is none or uv itself will have to complain of it."""
    with suppress(OSError, PkgviewError, tomllib.TOMLDecodeError, RecursionError):
        if path.is_file():
            return parse(read_text(path))
    return {}
