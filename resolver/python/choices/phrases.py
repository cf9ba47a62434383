"""What a project wants, as phrases that a person can judge.

Each is equal to itself the next time: what was said yes to is kept as these.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from resolver import looks
from resolver.errors import PkgviewError
from resolver.fetch.addresses import belongs, canonical, file_places, without_userinfo
from resolver.inputs import read_input
from resolver.ownership import faults
from resolver.project.phrase import phrase
from resolver.python.requirements import local_directories, with_variables
from resolver.python.unbuilt import is_inside, own_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from resolver.python.project import PythonProject

_PLAIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?"
    r"\s*\(?(?:\s*,?\s*(?:===?|~=|!=|<=?|>=?)\s*[A-Za-z0-9.*+!_-]+)*\s*\)?"
)
"""A requirement by name and version (PEP 508), without its marker, and with no two spaces in a row:
they would be tried in every division."""

_LEADING = re.compile(r"[@/\\:]|^\.")
"""What an address or a path has in it, and a slip of the keyboard has not."""

_NAMED = re.compile(r' with what your environment has for "([^"]*)"$')
"""How the phrase for an index ends that has a name."""

_FILE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+)$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([^}\s]*)(\}?)")
"""Without its end, too: or each `${` of a long row of them would be looked for anew."""
_OWN_VARIABLE = "PROJECT_ROOT"
"""uv's name for the directory that it runs in."""

_SPLIT_USER = re.compile(r"(?<=://)[^\s/?#@:]*:[^\s/?#@]*(?: [^\s/?#@]*)+@")
"""User and password over the end of a line that `\\` continues: uv refuses that, pip takes it."""


def variable_choice(name: str) -> str:
    """The phrase for a variable of the environment."""
    return phrase(f"put the variable {name} of your environment into addresses")


def index_choice(url: str, name: str = "") -> str:
    """The phrase for an index; a name is what uv looks its password up by."""
    said = f"use the index {without_userinfo(url)}"
    return phrase(f'{said} with what your environment has for "{name}"' if name else said)


def variable_part(name: str) -> str:
    """As uv writes an index's name in a variable's."""
    return "".join(one if one.isalnum() else "_" for one in name.upper())


def index_names(choices: Iterable[str]) -> frozenset[str]:
    """The names of indexes among these phrases."""
    found = (_NAMED.search(choice) for choice in choices)
    return frozenset(match[1] for match in found if match)


class Wanted:
    """The phrases so far."""

    def __init__(
        self, project: PythonProject, indexes: frozenset[str], named: Mapping[str, str] | None
    ) -> None:
        self.found: set[str] = set()
        self.trees: set[Path] = set()
        self.around: set[Path] = set()
        self.named: dict[Path, None] = {}
        self._root, self._directory = project.root, project.directory
        self._own = own_tree(project)
        self._indexes = indexes
        self._places = frozenset(chain.from_iterable(map(file_places, self._indexes)))
        self._named = named

    def add(self, text: str) -> None:
        """One in words of its own."""
        self.found.add(phrase(_SPLIT_USER.sub("", text)))

    def variables(self, text: str) -> None:
        """Those of the environment that a file's text names."""
        for name, end in _VARIABLE.findall(text):
            if end and name != _OWN_VARIABLE:
                self.found.add(variable_choice(name))

    def requirements(self, texts: Iterable[str]) -> None:
        """Requirements (PEP 508), of which those by name and version are nothing to ask about."""
        for text in texts:
            plain = _PLAIN.fullmatch(" ".join(text.partition(";")[0].split()))
            if plain is not None and not _FILE.search(plain["name"]):
                continue
            self._lead(text)
            leads = plain is not None or _LEADING.search(text)
            what = (
                "take a package by the address or path" if leads else "use what is no requirement,"
            )
            self.add(f"{what} {without_userinfo(text)}")

    def _lead(self, text: str) -> None:
        """Source trees that a requirement names, by whichever path: uv reads what lies there."""
        own = {_OWN_VARIABLE: str(self._directory)}
        names = {name for name, _ in _VARIABLE.findall(text)} - own.keys()
        if not all(looks.knows(self._root, name) for name in names):
            return
        with suppress(PkgviewError):  # no path
            found = local_directories(with_variables(text.strip(), own), self._directory)
            self.named.update(dict.fromkeys(found))

    def index(self, url: str, name: str = "") -> None:
        """By its name it gets the password of the user's own index that is called so."""
        place = url.rstrip("/")
        known = self._named if self._named is None else self._named.get(variable_part(name), place)
        borrowed = bool(name) and (known is None or known.rstrip("/") != place)
        if borrowed or canonical(url) not in self._indexes:
            self.found.add(index_choice(url, name))

    def address(self, url: str) -> None:
        """Where a lock says that a file is. By host, or directory: a lock has hundreds."""
        if not belongs(url, self._places):
            plain = place = without_userinfo(url)
            with suppress(ValueError):
                parts = urlsplit(plain)
                if not {"@", "\\"} & set(parts.netloc):
                    place = f"{parts.scheme}://{parts.netloc or parts.path.rpartition('/')[0]}"
            self.add(f"fetch packages from {place}")

    def unread(self, path: Path) -> None:
        """A file of which uv may understand more than is understood here: as it is now."""
        which = ""
        if looks.is_file(path):
            which = f" ({hashlib.sha256(read_input(path)).hexdigest()[:16]})"
        self.add(f"follow {path}, which pkgview cannot read{which}")

    def is_own(self, directory: Path) -> bool:
        """Whether it is a directory of the project's own tree, which is no choice.

        Where others may write they could say something else a moment later: that is one.
        """
        if not looks.is_directory(directory):
            return False
        real = Path(os.path.realpath(directory))
        own = is_inside(self._own, real)
        return own and next(faults({real}, os.geteuid()), None) is None

    def directory(self, name: str, what: str, base: Path) -> None:
        """A package by its directory, which may be relative to `base`."""
        if "\0" in what or not self.is_own(base / what):
            self.place(name, what, base)

    def place(self, name: str, what: str, base: Path | None = None, **more: object) -> None:
        """A package that is not from an index; `more` says which revision, say, and which part."""
        which = f" ({written(more)})" if more else ""
        where = "" if "://" in what or what.startswith("/") else self.beside(base)
        self.add(f"take {name} from {without_userinfo(what)}{which}{where}")

    def set(self, key: str, value: object, base: Path | None = None) -> None:
        """A setting of uv, by its value: another one is another choice."""
        self.add(f"set uv's {key} to {written(value)}{self.beside(base)}")

    def beside(self, base: Path | None) -> str:
        """Which directory's file says so, where it is not the project's own: for relative paths."""
        return "" if base in {None, self._directory} else f", as {base} says"


def written(value: object) -> str:
    """A value of TOML, without passwords; equal for equal ones, and for no others."""
    try:
        return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, default=repr)
    except RecursionError as error:
        raise PkgviewError(
            "a setting has tables or lists within each other that nobody can read",
            remedy="Write it with fewer levels.",
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return without_userinfo(value) if isinstance(value, str) else value
