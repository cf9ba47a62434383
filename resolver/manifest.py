"""The manifest: what one view is made of. Immutable, and named by its own digest.

A manifest says which kind of namespace the view is, what it is made for, and its layers: which
archive, and where in the view that archive's top-level directories go. It knows nothing of any
kind: what `target` and the directories' names mean is the kind's own (`resolver.python.target`).

It is canonical JSON (sorted keys, no white space, ASCII), so equal manifests are equal bytes, and
the view's id, the first 128 bits of their SHA-256, says all that the view contains: every layer is
an archive whose name is the digest of its contents. Layers of most kinds go to the same places, so
these are written once and layers refer to them by number:

    {"format": 2, "kind": "python", "target": {"executable": …, "version": "3.11"},
     "grafts": [[["purelib", "lib/python3.11/site-packages"], …]],
     "layers": [{"archive": …, "grafts": 0, "name": "six", "version": "1.17.0"}, …]}

Format 1 had Python's places as fields of its own. Its views go on being served.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NewType

from resolver.errors import PkgviewError
from resolver.naming import manifest_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

ViewId = NewType("ViewId", str)
"""32 lower-case hexadecimal digits."""

Grafts = tuple[tuple[str, str], ...]
"""Where an archive's top-level directories go in the view: (directory, path), "" for the view's
root. Where two of them meet the earlier wins; a directory that is not listed is not shown."""

BY_HAND = "layer_"
"""How the archives are called of layers by hand that are no distribution."""

FORMAT = 2
_FORMAT_1 = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """One layer: `archive` is the archive's file name; name and version are its distribution's.

    Layers that pkgview makes itself (a view's own files) have no distribution: "". `bytecode` is
    the archive with what the layer's sources were compiled to; "": there is none.
    `PkgviewError` where `grafts` leave the view.
    """

    archive: str
    grafts: Grafts
    name: str = ""
    version: str = ""
    bytecode: str = ""

    def __post_init__(self) -> None:
        check_grafts(self.grafts)

    @property
    def called(self) -> str:
        """Its distribution; else whose it is, for people."""
        return self.name or ("a layer by hand" if self.archive.startswith(BY_HAND) else "")

    @property
    def archives(self) -> tuple[str, ...]:
        """All that it needs."""
        return (self.archive, self.bytecode) if self.bytecode else (self.archive,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A view's kind, what it is for in that kind's own words, and its layers: first match wins."""

    kind: str
    target: Mapping[str, str]
    layers: tuple[LayerSpec, ...]

    @property
    def archives(self) -> tuple[str, ...]:
        """Every archive that the view needs, bytecode included."""
        return tuple(name for layer in self.layers for name in layer.archives)

    @property
    def places(self) -> list[str]:
        """Where in the view each layer is by itself, as packages of Node's are; "" for others."""
        users: dict[Grafts, int] = {}
        for layer in self.layers:
            users[layer.grafts] = users.get(layer.grafts, 0) + 1
        return [
            layer.grafts[0][1] if len(layer.grafts) == 1 == users[layer.grafts] else ""
            for layer in self.layers
        ]

    @property
    def distributions(self) -> int:
        """How many there are, each version by itself, at however many places."""
        return len({(layer.name, layer.version) for layer in self.layers if layer.name})

    def to_bytes(self) -> bytes:
        """Canonical JSON; the view's id is taken from these bytes."""
        numbers: dict[Grafts, int] = {}
        layers = [
            {
                "archive": layer.archive,
                "grafts": numbers.setdefault(layer.grafts, len(numbers)),
                "name": layer.name,
                "version": layer.version,
                **({"bytecode": layer.bytecode} if layer.bytecode else {}),
            }
            for layer in self.layers
        ]
        fields = {
            "format": FORMAT,
            "kind": self.kind,
            "target": dict(self.target),
            "grafts": list(numbers),
            "layers": layers,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")

    @property
    def id(self) -> ViewId:
        """The name of the view that is published from it."""
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
                return _read(fields)
            if found == _FORMAT_1:
                return _read_format_1(fields)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            # Whoever writes a manifest also names it, so the right digest says nothing of its form.
            raise PkgviewError(
                f"manifest {expected} is no manifest: {error!r}",
                remedy="Run `pkgview up` in the project again.",
            ) from error
        raise PkgviewError(
            f"manifest {expected} has format {found}, this pkgview reads {FORMAT}",
            remedy="Run `pkgview up` in the project again, or use the pkgview that wrote it.",
        )


def check_grafts(grafts: Grafts) -> None:
    """They become names in a directory: no absolute path, no empty name, "." or ".." in it."""
    for directory, path in grafts:
        names = path.split("/") if path else []
        if "\0" in path or {"", ".", ".."} & set(names):
            raise PkgviewError(
                f"{directory} would go to {path!r}, which is no place in a view",
                remedy="Make the view for another target, e.g. another interpreter (--python).",
            )


def view_id(manifest: bytes) -> ViewId:
    """The first 128 bits of the SHA-256: no two manifests by accident, no second one by design."""
    return ViewId(manifest_digest(manifest))


def _read(fields: dict[str, Any]) -> Manifest:
    grafts = [_grafts(one) for one in fields["grafts"]]
    return Manifest(
        kind=_text(fields["kind"]),
        target=_texts(fields["target"]),
        layers=tuple(_layer(one, grafts[_number(one["grafts"])]) for one in fields["layers"]),
    )


def _read_format_1(fields: dict[str, Any]) -> Manifest:
    python = dict(fields["python"])
    schemes = _texts(python.pop("schemes"))
    grafts = _grafts(
        [name, schemes[name]] for name in ("purelib", "platlib", "scripts", "headers", "data")
    )
    return Manifest(
        kind="python",
        target=_texts(python),
        layers=tuple(_layer(one, grafts) for one in fields["layers"]),
    )


def _layer(fields: dict[str, Any], grafts: Grafts) -> LayerSpec:
    texts = {key: value for key, value in fields.items() if key != "grafts"}
    return LayerSpec(grafts=grafts, **_texts(texts))


def _grafts(pairs: Any) -> Grafts:  # noqa: ANN401 - from a file
    return tuple((_text(directory), _text(path)) for directory, path in pairs)


def _number(value: Any) -> int:  # noqa: ANN401 - from a file
    if type(value) is not int or value < 0:
        raise TypeError("grafts is no number")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - from a file
    """Text that can stand in a path."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    os.fsencode(value)
    return value


def _texts(fields: dict[str, Any]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in fields.items()}
