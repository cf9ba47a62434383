"""The manifest: what one view is made of. Immutable, and named by its own digest.

A manifest is canonical JSON (sorted keys, no white space, ASCII), so equal manifests are equal
bytes, and the view's id, the first 128 bits of their SHA-256, says all that the view contains:
every layer is an archive whose name is the digest of its contents.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, NewType

from resolver.errors import PkgviewError

ViewId = NewType("ViewId", str)
"""32 lower-case hexadecimal digits."""

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemes:
    """Where the parts of a wheel lie in a view, relative to its root ("" is the root itself).

    The words are those of `sysconfig`; the values are what the interpreter's own `venv` scheme
    says, e.g. purelib "lib/python3.11/site-packages".
    """

    purelib: str
    platlib: str
    scripts: str
    headers: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The interpreter a view is for: `version` is "3.11" or, free-threaded, "3.13t"."""

    version: str
    executable: str
    schemes: Schemes


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """One layer: `archive` is the archive's file name; name and version are its distribution's.

    Layers that pkgview makes itself (a view's skeleton, bytecode) have no distribution: "".
    """

    archive: str
    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An interpreter and its layers, first match wins."""

    python: Python
    layers: tuple[LayerSpec, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON; the view's id is taken from these bytes."""
        return json.dumps(
            {"format": FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":")
        ).encode("ascii")

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
        fields: dict[str, Any] = json.loads(data)
        if fields.get("format") != FORMAT:
            raise PkgviewError(
                f"manifest {expected} has format {fields.get('format')}, "
                f"this pkgview reads {FORMAT}",
                remedy="Run `pkgview up` in the project again, or use the pkgview that wrote it.",
            )
        python = fields["python"]
        return cls(
            python=Python(
                version=python["version"],
                executable=python["executable"],
                schemes=Schemes(**python["schemes"]),
            ),
            layers=tuple(LayerSpec(**layer) for layer in fields["layers"]),
        )


def view_id(manifest: bytes) -> ViewId:
    """The first 128 bits of the SHA-256: no two manifests by accident, no second one by design."""
    return ViewId(hashlib.sha256(manifest).hexdigest()[:32])
