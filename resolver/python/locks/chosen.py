"""What a project has builds made with, beside what its user has, and the cache of uv's for these.

uv keeps what it builds from source, requirements of builds first of all, by where the source is
from. It does not ask from which indexes the requirements of that build were, nor by which Python
and under most of the settings it was: so what one project has had built so another one would get.
Who has such settings, or a Python of its own, therefore has a cache with those only that say the
same; all others have the user's.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resolver.atomic import make_private
from resolver.places import Places
from resolver.project.resolved import identity_text
from resolver.python.declared.indexes import named_indexes
from resolver.python.index import uv_environment
from resolver.python.installed import is_installed
from resolver.python.project import Origin
from resolver.python.uv.building import own_settings
from resolver.python.uv.settings import build_settings, effective, truth

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject

CACHES = "uv"
"""The directory of these caches, in the user's cache directory of ours."""

_BY_PIP = frozenset({Origin.PYLOCK, Origin.PYPROJECT, Origin.REQUIREMENTS})
"""Projects to which the settings of `uv pip` say something, as they are locked or installed."""


@dataclass(frozen=True, kw_only=True)  # without slots: what is read of files is kept
class Chosen:
    """By a project: `place` is its directory, or a script; None: none is known.

    `project` has what its requirement files say besides.
    """

    place: Path | None = None
    project: PythonProject | None = None

    @cached_property
    def general(self) -> str:
        """A digest of the settings that change what is built; "" where nothing is set."""
        return build_settings(self.place)

    @cached_property
    def effective(self) -> Mapping[str, Any]:
        """The settings of the project with its user's, those of its requirement files the last."""
        whole = effective(os.environ, self.place, by_pip=self._by_pip)
        named = {} if self.project is None else named_indexes(self.project)
        for key, value in named.items():
            if isinstance(value, list):
                whole[key] = [*whole.get(key, ()), *value]
            elif key == "no-index":
                whole[key] = value
            else:
                whole.setdefault(key, value)
        return whole

    @cached_property
    def own(self) -> tuple[str, ...]:
        """What the project alone has said of what is built for it, and no other gets.

        A path says little of what is there: it goes with the directory that said it.
        """
        users = effective(os.environ, None, by_pip=self._by_pip)
        said, is_local = own_settings(self.effective, users)
        return (said, *(self.whose if is_local else ())) if said else ()

    @property
    def whose(self) -> tuple[str, ...]:
        """Which directory it is."""
        place = self.place if self.place is None or self.place.is_dir() else self.place.parent
        return () if place is None else (f"{place} {identity_text(place)}",)

    def environment(self, python: str, *, indexes: bool = True) -> dict[str, str]:
        """The variables to add for uv (`index.uv_environment`), those of `cache` among them."""
        return uv_environment(self.place, indexes=indexes) | self.cache(python)

    def cache(self, python: str) -> dict[str, str]:
        """The variable for uv, where it runs for this project and builds with that Python.

        The directory is there, and was used now. Nothing where it is the user's cache.
        """
        said = list(self.own)
        if self.general != build_settings(None):
            said.append(self.general)
        if not is_installed(python, os.environ):
            said += [python, *self.whose]
        if not said or truth(os.environ.get("UV_NO_CACHE")):
            return {}
        name = hashlib.sha256(os.fsencode("\0".join(said))).hexdigest()[:32]
        cache = Places.from_environ().cache
        make_private(cache)
        directory = cache / CACHES / name
        directory.mkdir(parents=True, exist_ok=True)
        os.utime(directory)
        return {"UV_CACHE_DIR": os.fspath(directory)}

    @property
    def _by_pip(self) -> bool:
        return self.project is not None and self.project.origin in _BY_PIP
