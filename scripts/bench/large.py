"""Views of many distributions and files: made, and listed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import zipfile
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from resolver.places import Places
from scripts.bench.measure import Sheet, turns
from scripts.bench.work import PKGVIEW, SITE, Work
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.catalog import read_manifest
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.manifest import Manifest, ViewId
    from scripts.bench.bench import Bench

FILES = 300
"""In each distribution."""

SIZES = (50, 500)

_FEW = 5
"""Where little is to be measured: files, and what sizes are divided by."""


def make_wheel(directory: Path, name: str, count: int) -> None:
    """A wheel of one package of so many files, RECORD and all."""
    info = f"{name}-1.0.dist-info"
    files = {f"{name}/__init__.py": f"NAME = {name!r}\n"}
    files |= {f"{name}/d{n % 10}/{n}.txt": f"{name} {n}\n" for n in range(count - 4)}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    rows = [row_of(path, text) for path, text in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def row(name: str, digest: bytes, size: int) -> str:
    """A file's line in RECORD, by its SHA-256."""
    return f"{name},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{size}\n"


def row_of(name: str, text: str) -> str:
    """The same of a short one, in ASCII."""
    return row(name, hashlib.sha256(text.encode()).digest(), len(text))


def project(work: Work, size: int, files: int) -> Path:
    """A project of `size` distributions of `files` files each, made here."""

    def make(path: Path) -> None:
        wheels = path / "wheels"
        wheels.mkdir(parents=True)
        names = [f"bench_{files}_{number:04}" for number in range(size)]
        for name in names:
            make_wheel(wheels, name, files)
        pins = "".join(f"{name.replace('_', '-')}==1.0\n" for name in names)
        text = f"--no-index\n--find-links {wheels}\n{pins}"
        (path / "requirements.txt").write_text(text, "utf-8")

    return work.once(f"made-{size}-{files}", "3", make)


class Publisher:
    """Views that were never there before, of a project that was set up."""

    def __init__(self, work: Work, root: Path, env: Mapping[str, str]) -> None:
        told = work.run([PKGVIEW, "up", root, "--no-link", "--compile", "--json"], env=env)
        self._places = Places.from_environ(env)
        self._manifest: Manifest = read_manifest(self._places, json.loads(told)["view"])
        self._without = 0

    @property
    def layers(self) -> int:
        """How many the project has."""
        return len(self._manifest.layers)

    def new(self) -> tuple[ViewId, float]:
        """A view without one more of the layers, and the seconds that took from its manifest on."""
        self._without += 1
        layers = list(self._manifest.layers)
        del layers[-self._without]
        manifest = replace(self._manifest, layers=tuple(layers))
        began = time.perf_counter()
        store = Store(self._places.store)
        with closing(Registry(self._places.state / "registry.sqlite3")) as registry:
            view = publish(self._places, manifest, store, registry)
        return view, time.perf_counter() - began


def growth(bench: Bench, sheet: Sheet) -> None:
    """A view of 50 and one of 500 distributions, in a warm store: made, and listed at first."""
    work = bench.work
    few = _FEW if bench.quick else 1
    sizes = [size // few for size in SIZES]
    files = FILES // few
    mountpoint = work.root / "mnt/large"
    # The archives are kept for the next run; what an earlier one published must not be known.
    env = work.home(work.root / "large", mount=mountpoint)
    env["XDG_STATE_HOME"] = str(work.scratch / "large")
    publishers = {size: Publisher(work, project(work, size, files), env) for size in sizes}
    try:
        for _, size in turns(sizes, bench.rounds(7), seconds=60):
            what = f"of {size} distributions, {size * files:,} files"
            _view(sheet, f"a view {what}", publishers[size], mountpoint)
            work.run([PKGVIEW, "umount", "--lazy"], env=env)
            work.run([PKGVIEW, "mount"], env=env)
            os.lstat(mountpoint)
            _view(sheet, f"a view {what}, fresh daemon", publishers[size], mountpoint)
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)
    sheet.note(
        "Made: from its manifest to a view that the mount has opened, as `pkgview up` leaves it, "
        "all archives being in the store and known. Listed: the first listing of its "
        "site-packages, by name, through the mount; a fresh daemon has to open it before."
    )


def _view(sheet: Sheet, what: str, publisher: Publisher, mountpoint: Path) -> None:
    view, took = publisher.new()
    site = mountpoint / "views" / view / SITE
    began = time.perf_counter()
    if "fresh" not in what:
        (mountpoint / "views" / view / "pyvenv.cfg").stat()  # the last thing that `up` does
        sheet.add(f"{what}: made", "pkgview", took + time.perf_counter() - began)
        began = time.perf_counter()
    count = len(os.listdir(site))
    listed = time.perf_counter() - began
    if count < publisher.layers - 1:
        raise AssertionError(f"{site} lists {count} names for {publisher.layers} layers")
    sheet.add(f"{what}: listed", "pkgview", listed)
