"""The target of a Python view: an interpreter, and the paths of its scheme."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from resolver.manifest import LayerSpec, Manifest, check_grafts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.manifest import Grafts

KIND: Final = "python"
"""The name of this kind of namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemes:
    """Where the parts of a wheel lie in a view, relative to its root ("" is the root itself).

    The words are those of `sysconfig`; the values are what the interpreter's own `venv` scheme
    says, e.g. purelib "lib/python3.11/site-packages". `PkgviewError` for a path that leaves it.
    """

    purelib: str
    platlib: str
    scripts: str
    headers: str
    data: str

    def __post_init__(self) -> None:
        check_grafts(self.grafts)

    @property
    def grafts(self) -> Grafts:
        """The same for a manifest: an archive's top-level directories are the schemes."""
        return tuple(asdict(self).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The interpreter a view is for: `version` is "3.11" or, free-threaded, "3.13t"."""

    version: str
    executable: str
    schemes: Schemes

    def layer(
        self, archive: str, *, name: str = "", version: str = "", bytecode: str = ""
    ) -> LayerSpec:
        """A layer for it: an archive whose top-level directories are the schemes."""
        return LayerSpec(
            archive=archive,
            grafts=self.schemes.grafts,
            name=name,
            version=version,
            bytecode=bytecode,
        )

    def manifest(self, layers: Sequence[LayerSpec]) -> Manifest:
        """A view for it; of its places the layers tell."""
        target = {"version": self.version, "executable": self.executable}
        return Manifest(kind=KIND, target=target, layers=tuple(layers))


def python_of(manifest: Manifest) -> Python:
    """The interpreter that a view is for; `PkgviewError` where it is a view for none."""
    try:
        if manifest.kind == KIND:
            schemes = Schemes(**dict(manifest.layers[0].grafts))
            return Python(schemes=schemes, **manifest.target)
    except (TypeError, IndexError) as error:
        raise PkgviewError(f"a view of Python's does not say what it is for: {error}") from error
    raise PkgviewError(
        f"this is a view for {manifest.kind}, and no Python environment",
        remedy="Name a project of Python's.",
    )
