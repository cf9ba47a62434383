"""The image below an exported one: in a registry, in an OCI archive, or none."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from resolver.errors import PkgviewError
from unionfs.store.remote.oci import image
from unionfs.store.remote.oci.artifacts import DIGEST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unionfs.store.remote.oci.artifacts import Layer
    from unionfs.store.remote.oci.registry import Registry

_REMEDY: Final = "Name a file that `skopeo copy docker://… oci-archive:FILE` wrote."


class Below(Protocol):
    """An image: its layers, and its configuration as the OCI image specification has it."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The lowest first."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """Its `rootfs` has a digest for each layer."""
        ...

    async def fetch(self, layer: Layer, into: Path) -> None:
        """Write a layer's file. `PkgviewError` where it cannot be had as it is named."""
        ...


class Nothing:
    """No image: what is exported are layers alone."""

    layers: tuple[Layer, ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        """For this machine's kind of processor."""
        system, processor = image.machine()
        rootfs = {"type": "layers", "diff_ids": []}
        return {"architecture": processor, "os": system, "rootfs": rootfs}

    async def fetch(self, layer: Layer, into: Path) -> None:
        """There is none."""
        raise LookupError(layer.digest, into)


class InRegistry:
    """One that a registry has."""

    def __init__(self, found: image.Base) -> None:
        self.registry: Registry = found.registry
        self.layers, self.config = found.layers, found.config

    async def fetch(self, layer: Layer, into: Path) -> None:
        """Download it."""
        digest = hashlib.sha256()
        async with await trio.open_file(into, "wb") as file:
            async for piece in self.registry.read(layer.digest, layer.size, 0, layer.size):
                digest.update(piece)
                await file.write(piece)
        if f"sha256:{digest.hexdigest()}" != layer.digest:
            raise self.registry.exchange.error(f"{layer.digest} is there with other bytes")


class InArchive:
    """One in a tar file, as `skopeo copy … oci-archive:FILE` writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.open(path) as tar:
                fields = json.loads(self._read(tar, "index.json"))
                for _ in range(3):
                    if not isinstance(fields.get("manifests"), list):
                        break
                    fields = json.loads(self._blob(tar, _chosen(fields["manifests"])))
                self.layers = tuple(map(image.layer_of, fields["layers"]))
                found = image.layer_of(fields["config"])
                self.config: Mapping[str, Any] = json.loads(self._blob(tar, found.digest))
                fits = len(self.config["rootfs"]["diff_ids"]) == len(self.layers)
        except OSError as error:
            raise PkgviewError(f"{path} cannot be read: {error.strerror or error}") from error
        except (tarfile.TarError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise PkgviewError(
                f"{path} is no image for {'/'.join(image.machine())}: {error}",
                remedy=_REMEDY,
            ) from error
        if not fits:
            raise PkgviewError(f"{path} is no image: its layers do not fit", remedy=_REMEDY)

    async def fetch(self, layer: Layer, into: Path) -> None:
        """Copy it."""
        await trio.to_thread.run_sync(self._copy, layer, into)

    def _copy(self, layer: Layer, into: Path) -> None:
        digest, size = hashlib.sha256(), 0
        with tarfile.open(self._path) as tar, into.open("wb") as file:
            member = tar.extractfile(_place(layer.digest))
            while member and size <= layer.size and (piece := member.read(1 << 20)):
                digest.update(piece)
                size += file.write(piece)
        if f"sha256:{digest.hexdigest()}" != layer.digest:
            raise PkgviewError(f"{self._path}: {layer.digest} is there with other bytes")

    def _blob(self, tar: tarfile.TarFile, digest: str) -> bytes:
        found = self._read(tar, _place(digest))
        if f"sha256:{hashlib.sha256(found).hexdigest()}" != digest:
            raise ValueError(f"{digest} has other bytes")
        return found

    @staticmethod
    def _read(tar: tarfile.TarFile, name: str) -> bytes:
        member = tar.extractfile(name)
        text = b"" if member is None else member.read(image.LARGEST_CONFIG + 1)
        if not 0 < len(text) <= image.LARGEST_CONFIG:
            raise ValueError(f"{name} is no file, or too large")
        return text


def _place(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!a} is no digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _chosen(manifests: list[Any]) -> str:
    """The one for this machine; of one alone nobody says what for."""
    if len(manifests) == 1:
        return str(manifests[0]["digest"])
    wanted = image.machine()
    for one in manifests:
        said = one.get("platform", {})
        if (said.get("os"), said.get("architecture")) == wanted:
            return str(one["digest"])
    raise LookupError("none of its images is")
