"""Which distributions may be wheels, and which may be built: uv's `no-binary` and `no-build`.

A lock lists all files there are. `uv sync` decides at installation, and so do we; where
`uv pip compile` has made the lock it has left out what is not wanted, and this finds nothing more.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from resolver.python.uv.settings import effective, truth
from resolver.toml import table_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALL = ":all:"
_NONE = ":none:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Names of distributions, normalised, or `ALL`."""

    no_binary: frozenset[str] = frozenset()
    no_build: frozenset[str] = frozenset()

    @property
    def options(self) -> list[str]:
        """As `uv pip compile` has them."""
        options = [f"--no-binary={name}" for name in sorted(self.no_binary)]
        return options + [f"--only-binary={name}" for name in sorted(self.no_build)]

    def is_to_be_built(self, name: str) -> bool:
        """Whether no wheel of an index, or any other, will do."""
        return ALL in self.no_binary or name in self.no_binary

    def is_not_to_be_built(self, name: str) -> bool:
        """Whether it has to be a wheel; what is named for the other counts more than "all"."""
        return name in self.no_build or (ALL in self.no_build and name not in self.no_binary)


def formats_of(
    place: Path,
    environ: Mapping[str, str] | None = None,
    *,
    pip: Mapping[str, str] | None = None,
) -> Formats:
    """Those of a project; `pip` are pip's settings, where it is installed as by pip or `uv pip`.

    Those of pip itself count where uv has none for the same.
    """
    env = os.environ if environ is None else environ
    settings = effective(env, place)
    found = {}
    for key in ("no-binary", "no-build"):
        variable = f"UV_{key.upper().replace('-', '_')}"
        said = truth(env.get(variable)) or (settings.get(key) is True and variable not in env)
        names = [
            *_names(settings.get(f"{key}-package")),
            *env.get(f"{variable}_PACKAGE", "").split(),
        ]
        found[key] = [*names, *([ALL] if said else [])]
    if pip is not None:
        table = table_of(settings, "pip")
        found["no-binary"] += _names(table.get("no-binary"))
        found["no-build"] += _names(table.get("only-binary"))
        found["no-build"] += [ALL] if table.get("no-build") is True else []
        for key, of_pip in (("no-binary", "no-binary"), ("no-build", "only-binary")):
            found[key] = found[key] or re.split(r"[\s,]+", pip.get(of_pip, "").strip())
    return Formats(no_binary=_set(found["no-binary"]), no_build=_set(found["no-build"]))


def _names(value: Any) -> list[str]:  # noqa: ANN401 - TOML's
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _set(names: list[str]) -> frozenset[str]:
    """As pip reads them: what stands before `:none:` counts no more."""
    kept: list[str] = []
    for name in filter(None, names):
        kept = [] if name == _NONE else [*kept, name]
    return frozenset(name if name == ALL else canonicalize_name(name) for name in kept)
