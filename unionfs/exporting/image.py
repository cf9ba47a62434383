"""A view as an image: a base, and a layer upon it for each distribution, so that images share them.

A layer has the files that its distribution shows in the view, at their places below the
environment's path, and the directories above them. It follows from the distribution, that path
and the Python's version alone, unless two distributions have one path. The first layer has what
makes it an environment, and the directories that several share.

The programs of it are first on the image's PATH; `VIRTUAL_ENV` names it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from unionfs.archive.layer import Entry, Kind
from unionfs.exporting.base import InRegistry
from unionfs.exporting.items import Item, mark
from unionfs.exporting.writing import Written, below, hashed, write_tar
from unionfs.store.remote.oci import image
from unionfs.store.remote.oci.artifacts import LAYER, MANIFEST, Layer, digest_of
from unionfs.store.remote.oci.registry import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from unionfs.exporting.base import Below
    from unionfs.store.remote.oci.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Its manifest, its configuration, and the files of the layers that are here.

    `own` are those of the view, by digest; `files` and `size` are what is in them.
    """

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    own: Mapping[str, Path]
    files: int
    size: int


def build(items: Iterable[Item], base: Below, at: str, scratch: Path, time: int) -> Image:
    """The image of an environment that lies at `at`; its layers are written into `scratch`."""
    grouped: dict[int, list[Item]] = {}
    for item in items:
        grouped.setdefault(item.layer, []).append(item)
    layers, ids, own = list(base.layers), [], {}
    files = size = 0
    for number, group in sorted(grouped.items()):
        path, done = scratch / f"layer-{number}", Written()
        with hashed(path, done, compressed=True) as out:
            counted = write_tar(below(group, os.fsencode(at.strip("/"))), out, time)
        layer = Layer(media=LAYER, digest=f"sha256:{done.digest}", size=done.size)
        layers.append(layer)
        ids.append(f"sha256:{done.content}")
        own[layer.digest] = path
        files, size = files + counted[0], size + counted[1]
    created = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = image.configured(
        {**base.config, "created": created}, ids, f"{at}/bin", {"VIRTUAL_ENV": at}
    )
    return Image(
        manifest=image.manifest_of(config, layers), config=config, layers=tuple(layers), own=own,
        files=files, size=size,
    )  # fmt: skip


async def push(made: Image, base: Below, registry: Registry, tag: str, scratch: Path) -> None:
    """Have it in a registry under that tag. What is there is not sent."""
    for layer in made.layers:
        if await registry.has_blob(layer.digest):
            continue
        other = base.registry if isinstance(base, InRegistry) else None
        if other and layer.digest not in made.own and await registry.mount(layer.digest, other):
            continue
        path = await _file(made, base, layer, scratch)
        await registry.put_blob(Source(digest=layer.digest, size=layer.size, data=path))
    await registry.put_blob(
        Source(digest=digest_of(made.config), size=len(made.config), data=made.config)
    )
    await registry.put_manifest(tag, made.manifest)


async def write_archive(made: Image, base: Below, out: Path, scratch: Path, time: int) -> str:
    """An image layout (OCI image specification) as a tar file; its SHA-256."""
    paths = {layer.digest: await _file(made, base, layer, scratch) for layer in made.layers}
    manifest = {
        "mediaType": MANIFEST, "digest": digest_of(made.manifest), "size": len(made.manifest),
    }  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": image.INDEX, "manifests": [manifest]}
    texts = {
        b"index.json": json.dumps(index, sort_keys=True).encode(),
        b"oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        _place(digest_of(made.manifest)): made.manifest,
        _place(digest_of(made.config)): made.config,
    }
    empty = Entry(Kind.FILE, 0, executable=False)
    items = [mark(), *(Item(path, empty).with_content(text) for path, text in texts.items())]
    items += [
        Item(
            _place(layer.digest),
            empty._replace(size=layer.size),
            pieces=_opener(paths[layer.digest]),
        )
        for layer in dict.fromkeys(made.layers)
    ]
    done = Written()
    with hashed(out, done, compressed=False) as file:
        write_tar(items, file, time)
    return done.digest


async def _file(made: Image, base: Below, layer: Layer, scratch: Path) -> Path:
    if layer.digest in made.own:
        return made.own[layer.digest]
    path = scratch / layer.digest.removeprefix("sha256:")
    if not path.exists():
        await base.fetch(layer, path)
    return path


def _opener(path: Path) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                yield piece

    return pieces


def _place(digest: str) -> bytes:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}".encode()
