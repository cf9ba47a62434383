"""The manifest: what one view is made of. Immutable, and named by its own digest.

A manifest is canonical JSON (sorted keys, no white space, ASCII), so equal manifests are equal
bytes, and the view's id, the first 128 bits of their SHA-256, says all that the view contains:
every layer is an archive whose name is the digest of its contents.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, NewType

from resolver.errors import PkgviewError
from resolver.naming import manifest_digest

ViewId = NewType("ViewId", str)
"""32 lower-case hexadecimal digits."""

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemes:
    """Where the parts of a wheel lie in a view, relative to its root ("" is the root itself).

    The words are those of `sysconfig`; the values are what the interpreter's own `venv` scheme
    says, e.g. purelib "lib/python3.11/site-packages". They become names in a directory, so a path
    that is absolute, or has an empty name, "." or ".." in it, is refused.
    """

    purelib: str
    platlib: str
    scripts: str
    headers: str
    data: str

    def __post_init__(self) -> None:
        for scheme, path in asdict(self).items():
            names = path.split("/") if path else []
            if "\0" in path or {"", ".", ".."} & set(names):
                raise PkgviewError(
                    f"the interpreter puts {scheme} at {path!r}, which is no place in a view",
                    remedy="Choose another interpreter with `pkgview up --python PATH`.",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The interpreter a view is for: `version` is "3.11" or, free-threaded, "3.13t"."""

    version: str
    executable: str
    schemes: Schemes


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """One layer: `archive` is the archive's file name; name and version are its distribution's.

    Layers that pkgview makes itself (a view's skeleton) have no distribution: "". `bytecode` is the
    archive with what the layer's sources were compiled to; "": there is none.
    """

    archive: str
    name: str = ""
    version: str = ""
    bytecode: str = ""

    @property
    def archives(self) -> tuple[str, ...]:
        """All that it needs."""
        return (self.archive, self.bytecode) if self.bytecode else (self.archive,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An interpreter and its layers, first match wins."""

    python: Python
    layers: tuple[LayerSpec, ...]

    @property
    def archives(self) -> tuple[str, ...]:
        """Every archive that the view needs, bytecode included."""
        return tuple(name for layer in self.layers for name in layer.archives)

    def to_bytes(self) -> bytes:
        """Canonical JSON; the view's id is taken from these bytes."""
        fields = {"format": FORMAT, **asdict(self), "layers": [*map(_fields, self.layers)]}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")

    @property
    def id(self) -> ViewId:
        """The name of the view."""
        return view_id(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, *, expected: ViewId) -> Manifest:
        """Read what `to_bytes` wrote; refuses bytes whose digest is not `expected`."""
        if view_id(data) != expected:
            raise PkgviewError(
                f"manifest {expected} is damaged: its digest is {view_id(data)}",
                remedy="Run `pkgview up` in the project again: it writes the manifest anew.",
            )
        try:
            fields: dict[str, Any] = json.loads(data)
            found = fields["format"]
            if found == FORMAT:
                return cls(
                    python=_python(fields["python"]),
                    layers=tuple(LayerSpec(**_texts(layer)) for layer in fields["layers"]),
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # Whoever writes a manifest also names it, so the right digest says nothing of its form.
            raise PkgviewError(
                f"manifest {expected} is no manifest: {error!r}",
                remedy="Run `pkgview up` in the project again.",
            ) from error
        raise PkgviewError(
            f"manifest {expected} has format {found}, this pkgview reads {FORMAT}",
            remedy="Run `pkgview up` in the project again, or use the pkgview that wrote it.",
        )


def _fields(layer: LayerSpec) -> dict[str, str]:
    """Without `bytecode` where there is none: manifests were written before there was any."""
    return {key: value for key, value in asdict(layer).items() if value or key != "bytecode"}


def _python(fields: dict[str, Any]) -> Python:
    schemes = Schemes(**_texts(fields["schemes"]))
    return Python(
        **_texts({key: value for key, value in fields.items() if key != "schemes"}), schemes=schemes
    )


def _texts(fields: dict[str, Any]) -> dict[str, str]:
    """The same fields, each of which must be text that can stand in a path."""
    for key, value in fields.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
        os.fsencode(value)
    return fields


def view_id(manifest: bytes) -> ViewId:
    """The first 128 bits of the SHA-256: no two manifests by accident, no second one by design."""
    return ViewId(manifest_digest(manifest))
