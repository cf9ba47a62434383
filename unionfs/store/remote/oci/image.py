"""A view as an image that container engines run: a base image, and the view's archives upon it.

The archives are layers as they are (`tar+zstd`), so they are in the registry once. An archive's
directories are its wheel's schemes, so they lie at the image's root: `/purelib`, `/platlib`, and
`/scripts` with programs that look for `python` beside themselves. A last, small layer has that
`python`, which is the base image's `python3`, and a `sitecustomize` that puts the two directories
in front of that Python's own, `.pth` files and all. Of two layers with one path the later wins in
an image, and the earlier in a view, so they are turned around.

What such an image is not: a virtual environment. What wheels put beside their modules (`data`) lies
in `/data`, headers in `/headers`, and `sys.prefix` is the base image's. The base image has to have
the Python that the view is for.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
import zstandard

from unionfs.store.remote.oci.artifacts import LAYER, MANIFEST, Layer, digest_of
from unionfs.store.remote.oci.registry import Source
from unionfs.store.remote.wire import LARGEST_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unionfs.store.remote.oci.registry import Registry
    from unionfs.store.remote.transport import Blob

INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER: Final = {
    "application/vnd.docker.distribution.manifest.v2+json": MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json": INDEX,
    "application/vnd.docker.container.image.v1+json": CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": (
        "application/vnd.oci.image.layer.v1.tar+gzip"
    ),
}
"""Docker's names for the same things, which OCI's replace."""

LARGEST_CONFIG: Final = 1 << 20
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of an image that names none."""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

_SITE: Final = """\
import site, sys
own = len(sys.path)
for directory in ("/platlib", "/purelib"):
    site.addsitedir(directory)
at = next((n for n, path in enumerate(sys.path) if path.endswith("-packages")), own)
if at < own:
    sys.path[at:] = sys.path[own:] + sys.path[at:own]
"""
_PYTHON: Final = '#!/bin/sh\nexec python3 "$@"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The image below: where it is, its layers, its configuration."""

    registry: Registry
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]


def machine() -> tuple[str, str]:
    """The system and the processor of this machine, as images name them."""
    return "linux", _MACHINES.get(platform.machine(), platform.machine())


async def read_base(registry: Registry, reference: str) -> Base:
    """An image for this machine's kind of processor. `RemoteError` for what is none."""
    wanted = machine()
    what = f"{reference} is no image for {'/'.join(wanted)}"
    for _ in range(2):
        text = await registry.manifest(reference, accepted=(MANIFEST, INDEX, *DOCKER))
        try:
            fields = json.loads(text or b"")
            if isinstance(fields.get("manifests"), list):
                reference = next(
                    str(one["digest"])
                    for one in fields["manifests"]
                    if (one["platform"]["os"], one["platform"]["architecture"]) == wanted
                )
                continue
            layers = tuple(map(layer_of, fields["layers"]))
            found = layer_of(fields["config"])
            config = json.loads(await registry.blob(found.digest, found.size, LARGEST_CONFIG))
            if len(config["rootfs"]["diff_ids"]) == len(layers):
                return Base(registry=registry, layers=layers, config=config)
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
            raise registry.exchange.error(what) from error
    raise registry.exchange.error(what)


async def push_image(
    registry: Registry, base: Base, archives: Sequence[tuple[Blob, Path]], references: Sequence[str]
) -> None:
    """Publish the image; the archives' files are there, and come in the order of a view."""
    for layer in base.layers:
        await _bring(registry, base.registry, layer)
    ids = [await trio.to_thread.run_sync(diff_id, path) for _, path in reversed(archives)]
    last, last_id = glue()
    await registry.put_blob(last)
    layers = (
        *base.layers,
        *(Layer(media=LAYER, digest=one.address, size=one.size) for one, _ in reversed(archives)),
        Layer(media=f"{LAYER.removesuffix('zstd')}gzip", digest=last.digest, size=last.size),
    )
    config = configured(base.config, [*ids, last_id], "/scripts", {"PYTHONPATH": "/pkgview"})
    await registry.put_blob(Source(digest=digest_of(config), size=len(config), data=config))
    text = manifest_of(config, layers)
    for reference in references:
        await registry.put_manifest(reference, text)


def manifest_of(config: bytes, layers: Sequence[Layer]) -> bytes:
    """An image's manifest."""
    fields = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [
            {"mediaType": layer.media, "digest": layer.digest, "size": layer.size}
            for layer in layers
        ],
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


def configured(
    base: Mapping[str, Any],
    diff_ids: Sequence[str],
    programs: str,
    variables: Mapping[str, str],
) -> bytes:
    """The base image's configuration with further layers, and where the view's things are."""
    inner = dict(base.get("config") or {})
    env = dict(one.partition("=")[::2] for one in inner.get("Env") or [])
    path = env.get("PATH") or PATH
    env |= {"PATH": f"{programs}:{path}", **variables}
    inner["Env"] = [f"{name}={value}" for name, value in env.items()]
    rootfs = {"type": "layers", "diff_ids": [*base["rootfs"]["diff_ids"], *diff_ids]}
    fields = {key: value for key, value in base.items() if key != "history"}
    return json.dumps({**fields, "config": inner, "rootfs": rootfs}, sort_keys=True).encode()


def diff_id(path: Path) -> str:
    """The digest of an archive's tar stream, as images name a layer (OCI image specification)."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        while piece := reader.read(1 << 20):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


def glue() -> tuple[Source, str]:
    """The last layer, always the same bytes, and its diff id."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name, text, mode in (
            ("pkgview/sitecustomize.py", _SITE, 0o644),
            ("scripts/python", _PYTHON, 0o755),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), mode
            out.addfile(info, io.BytesIO(text.encode()))
    packed = gzip.compress(tar.getvalue(), mtime=0)
    source = Source(digest=digest_of(packed), size=len(packed), data=packed)
    return source, digest_of(tar.getvalue())


async def _bring(registry: Registry, base: Registry, layer: Layer) -> None:
    """Have a layer of the base image in the view's repository."""
    if await registry.has_blob(layer.digest) or await registry.mount(layer.digest, base):
        return
    with tempfile.NamedTemporaryFile(prefix="pkgview-") as file:
        digest = hashlib.sha256()
        async for piece in base.read(layer.digest, layer.size, 0, layer.size):
            digest.update(piece)
            await trio.to_thread.run_sync(file.write, piece)
        file.flush()
        if f"sha256:{digest.hexdigest()}" != layer.digest:
            raise base.exchange.error(f"{layer.digest} is there with other bytes")
        await registry.put_blob(Source(digest=layer.digest, size=layer.size, data=Path(file.name)))


def layer_of(fields: Any) -> Layer:  # noqa: ANN401 - from a registry
    """A descriptor, with OCI's name for what it is; `LookupError`, `TypeError` for what is none."""
    media, digest, size = str(fields["mediaType"]), str(fields["digest"]), fields["size"]
    if type(size) is not int or not 0 <= size <= LARGEST_FILE:
        raise TypeError("a layer has no size")
    return Layer(media=DOCKER.get(media, media), digest=digest, size=size)
