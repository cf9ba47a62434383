"""What a store keeps in a registry: manifests as bytes, and read again as hostile input.

All are image manifests of OCI, told apart by `artifactType`. Their configuration is that of an
image of nothing, for a machine of no kind: what is no image at all ("empty", as the specification
has it) is refused by older registries, and by `skopeo inspect`.

* `ARCHIVE`, tagged `archive-<digest in its name>`: its layer is the archive's file, and says whose
  by the annotation `pkgview.archive`.
* `DERIVED`, tagged `derived-<SHA-256 of the key>`: what is said of a key, in the annotation
  `pkgview.statements`; its layers are the files of the archives that this names, if they are there.
* `BEGINNINGS`, tagged `beginning-<digest in the archive's name>`: its layers are the archive's
  beginnings (`unionfs.store.remote.lazy.beginning`), and say by `pkgview.begins` which.
* `VIEW`, tagged with the view's id, and names: its first layer is its statement, which the manifest
  holds, too, unless it is long; the others are the files of its archives, and their beginnings.

A layer that is an archive has the media type of an image's, since it is one (`tar --zstd`). Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from unionfs.archive.meta import digest_of_name
from unionfs.store.remote import wire
from unionfs.store.remote.transport import Blob
from unionfs.store.remote.wire import LARGEST_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unionfs.store.remote.transport import Statement

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
ARCHIVE: Final = "application/vnd.pkgview.archive.v1"
DERIVED: Final = "application/vnd.pkgview.derived.v1"
VIEW: Final = "application/vnd.pkgview.view.v1"
BEGINNINGS: Final = "application/vnd.pkgview.beginnings.v1"
STATEMENTS: Final = "application/vnd.pkgview.statements.v1+json"
BEGINNING: Final = "application/vnd.pkgview.beginning.v1+zstd"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+zstd"

NAME: Final = "pkgview.archive"
BEGINS: Final = "pkgview.begins"
KEY: Final = "pkgview.key"
SAID: Final = "pkgview.statements"

EMBEDDED: Final = 512 << 10
"""Bytes of statements that a view's manifest holds itself ("data" of a descriptor)."""

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


CONFIG: Final = json.dumps({
    "architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []},
}).encode()  # fmt: skip
"""The configuration of what is not meant to be run."""

_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What a manifest refers to. `name`: the archive that it is the file of, or "".

    `begins`: whose beginning it is, as `begins` has it, or "".
    """

    media: str
    digest: str
    size: int
    name: str = ""
    data: bytes = b""
    begins: str = ""

    @property
    def blob(self) -> Blob | None:
        """As an archive's file; None if it is none."""
        return Blob(name=self.name, size=self.size, address=self.digest) if self.name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One manifest of ours."""

    kind: str
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical: equal artifacts are equal bytes."""
        fields = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.kind,
            "config": _descriptor(_config()),
            "layers": [_descriptor(layer) for layer in self.layers],
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, text: bytes, kind: str) -> Artifact:
        """`ValueError` for what is none of that kind."""
        try:
            fields = json.loads(text)
            layers = tuple(map(_layer, fields["layers"]))
            found = cls(
                kind=fields["artifactType"], layers=layers, annotations=_annotations(fields)
            )
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"this is no artifact of pkgview's: {error}") from error
        if found.kind != kind or not layers:
            raise ValueError(f"this is no {kind}")
        return found


def of_archive(blob: Blob, more: Mapping[str, str]) -> Artifact:
    """An archive's. `more` is said beside, for people."""
    return Artifact(kind=ARCHIVE, layers=(_of_blob(blob),), annotations=more)


def of_beginnings(beginnings: Iterable[Blob]) -> Artifact:
    """The beginnings of an archive, by whichever zstd."""
    return Artifact(kind=BEGINNINGS, layers=tuple(map(_of_beginning, beginnings)))


def of_derived(key: str, statements: Iterable[Statement], archives: Iterable[Blob]) -> Artifact:
    """What is said of a key; the archives' files stay as long as it is there."""
    said = wire.to_bytes(statements).decode()
    # A manifest without a layer is refused by some.
    layers = tuple(map(_of_blob, archives)) or (_config(),)
    return Artifact(kind=DERIVED, layers=layers, annotations={KEY: key, SAID: said})


def of_view(
    statements: bytes, archives: Sequence[Blob], beginnings: Iterable[Blob] = ()
) -> Artifact:
    """A view's; `statements` as `wire` has them."""
    first = Layer(
        media=STATEMENTS, digest=digest_of(statements), size=len(statements),
        data=statements if len(statements) <= EMBEDDED else b"",
    )  # fmt: skip
    return Artifact(
        kind=VIEW, layers=(first, *map(_of_blob, archives), *map(_of_beginning, beginnings))
    )


def archive_tag(name: str) -> str:
    """The tag of an archive; `PkgviewError` for what is no archive's name."""
    return f"archive-{_hex(name)}"


def beginnings_tag(name: str) -> str:
    """The tag of its beginnings."""
    return f"beginning-{_hex(name)}"


def _hex(name: str) -> str:
    digest = digest_of_name(name)
    if digest is None:
        raise PkgviewError(f"{name!a} is no archive's name")
    return digest.hex()


def derived_tag(key: str) -> str:
    """The tag of what is said of a key, which may have characters that no tag has."""
    return f"derived-{hashlib.sha256(key.encode()).hexdigest()}"


def _config() -> Layer:
    return Layer(media=_CONFIG_TYPE, digest=digest_of(CONFIG), size=len(CONFIG))


def _of_blob(blob: Blob) -> Layer:
    return Layer(media=LAYER, digest=blob.address, size=blob.size, name=blob.name)


def _of_beginning(blob: Blob) -> Layer:
    return Layer(media=BEGINNING, digest=blob.address, size=blob.size, begins=blob.name)


def _descriptor(layer: Layer) -> dict[str, Any]:
    titled = {NAME: layer.name, "org.opencontainers.image.title": layer.name}
    return {
        "mediaType": layer.media,
        "digest": layer.digest,
        "size": layer.size,
        **({"annotations": titled} if layer.name else {}),
        **({"annotations": {BEGINS: layer.begins}} if layer.begins else {}),
        **({"data": base64.b64encode(layer.data).decode()} if layer.data else {}),
    }


def _layer(fields: Any) -> Layer:  # noqa: ANN401 - from a registry
    media, digest, size = fields["mediaType"], fields["digest"], fields["size"]
    if not isinstance(media, str) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise TypeError("a layer has no digest")
    if type(size) is not int or not 0 <= size <= LARGEST_FILE:
        raise TypeError("a layer has no size")
    told = _annotations(fields)
    name = told.get(NAME, "")
    if name and (digest_of_name(name) is None or not size):
        raise TypeError(f"{name!a} is no archive's name")
    try:
        data = base64.b64decode(fields.get("data", ""), validate=True)
    except binascii.Error:
        data = b""
    # What a manifest embeds counts if it is what the descriptor says.
    if data and (len(data) != size or digest_of(data) != digest):
        data = b""
    begins = told.get(BEGINS, "")
    return Layer(media=media, digest=digest, size=size, name=name, data=data, begins=begins)


def _annotations(fields: Any) -> dict[str, str]:  # noqa: ANN401 - from a registry
    found = fields.get("annotations") or {}
    if not all(isinstance(value, str) for value in found.values()):
        raise TypeError("an annotation is no text")
    return dict(found)
