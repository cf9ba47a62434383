"""One virtual environment on each file system that it can lie on.

Each rival is a context: mounted inside, not there outside. All have the same files, bytecode and
all, and each can be begun anew, so that its own process remembers nothing ("cold").
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from scripts.bench.work import PKGVIEW, PYTHON, SITE, UV, Work, is_root, unmount
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

ZSTD = ("-comp", "zstd", "-Xcompression-level", "3", "-b", "128K")
"""Of mksquashfs: as archives are compressed."""

START_SECONDS = 20.0


class MissingError(Exception):
    """The rival cannot be had on this machine, or by this user; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """An environment below `root`. `restart` lets its server forget everything."""

    name: str
    root: Path
    restart: Callable[[], None]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / "bin/python"


LABELS = {
    "libfuse": "pkgview (libfuse)",
    "devfuse": "pkgview (devfuse)",
}
"""What a rival is called where people read it, if not by its name."""


ORDER = ("ext4", "npm", "pnpm", "squashfs", "squashfuse_ll", "overlayfs", "uv", "uv, compiling",
         "libfuse", "devfuse", "pkgview")  # fmt: skip
"""In which tables show them; what all are compared with comes first."""


def label(name: str) -> str:
    """What a rival is called where people read it."""
    return LABELS.get(name, name)


def _kernel_forgets() -> None:
    """There is no server: what `drop_caches` does is all there is to do."""


def environment(work: Work, key: str) -> Path:
    """The environment as uv makes it, with bytecode, below a directory of its own."""

    def make(path: Path) -> None:
        work.run([UV, "venv", "-q", "-p", PYTHON, path])
        command = work.sync(work.project, "--compile-bytecode", "--link-mode", "copy")
        work.run(command, env=work.env | {"UV_PROJECT_ENVIRONMENT": str(path)})

    return work.once("ext4", key, make)


@contextmanager
def ext4(work: Work, key: str) -> Iterator[Rival]:
    """The file system that the working directory is on, whatever it is, named as it is."""
    root = environment(work, key)
    fstype = work.run(["stat", "-f", "-c", "%T", root]).strip()
    if fstype not in {"ext2/ext3", "ext4"}:
        raise MissingError(f"{work.root} is on {fstype}; name a directory on ext4 with --work")
    yield Rival(name="ext4", root=root, restart=_kernel_forgets)


def _image(work: Work, key: str) -> Path:
    if shutil.which("mksquashfs") is None:
        raise MissingError("there is no mksquashfs: apt-get install squashfs-tools")
    source = environment(work, key)

    def make(path: Path) -> None:
        work.run(["mksquashfs", source, path, "-no-progress", "-quiet", *ZSTD])

    return work.once("environment.squashfs", key, make)


def _mount(work: Work, name: str, *arguments: str | Path, cwd: Path | None = None) -> Path:
    if not is_root():
        raise MissingError("only root can mount it")
    mountpoint = work.root / "mnt" / name
    mountpoint.mkdir(parents=True, exist_ok=True)
    work.run(["mount", *arguments, mountpoint], cwd=cwd)
    return mountpoint


@contextmanager
def squashfs(work: Work, key: str) -> Iterator[Rival]:
    """The kernel's squashfs, zstd."""
    root = _mount(work, "squashfs", "-t", "squashfs", "-o", "loop,ro", _image(work, key))
    try:
        yield Rival(name="squashfs", root=root, restart=_kernel_forgets)
    finally:
        unmount(root)


@contextmanager
def squashfuse(work: Work, key: str) -> Iterator[Rival]:
    """squashfuse_ll on the same image."""
    program = shutil.which("squashfuse_ll")
    if program is None:
        raise MissingError("there is no squashfuse_ll: apt-get install squashfuse")
    image = _image(work, key)
    root = work.root / "mnt/squashfuse_ll"
    root.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        unmount(root)
        while running:
            # It ends by itself only if no other mount namespace has a copy of the mount.
            running[-1].kill()
            running.pop().wait(START_SECONDS)

    def restart() -> None:
        stop()
        running.append(subprocess.Popen([program, "-f", "-o", "ro", image, root]))
        deadline = time.monotonic() + START_SECONDS
        while mounts.mounted_at(root) is None:
            if time.monotonic() > deadline or running[0].poll() is not None:
                raise MissingError("squashfuse_ll did not mount")
            time.sleep(0.02)

    try:
        restart()
        yield Rival(name="squashfuse_ll", root=root, restart=restart)
    finally:
        stop()


@contextmanager
def overlayfs(work: Work, key: str) -> Iterator[Rival]:
    """The kernel's overlayfs, one lower directory for each distribution, on the same ext4."""
    source = environment(work, key)
    layers = work.once("layers", key, partial(_split, source))
    # Relative names: the list of all has to fit into one page, mount(2).
    lower = ":".join(sorted(os.listdir(layers), key=int))
    root = _mount(work, "overlayfs", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}",
                  cwd=layers)  # fmt: skip
    try:
        yield Rival(name="overlayfs", root=root, restart=_kernel_forgets)
    finally:
        unmount(root)


def _split(environment: Path, layers: Path) -> None:
    """The environment, distribution by distribution, into directories 1, 2, …; 0 has the rest."""
    owner: dict[Path, int] = {}
    site = environment / SITE
    for number, record in enumerate(sorted(site.glob("*.dist-info/RECORD")), 1):
        for line in record.read_text("utf-8").splitlines():
            name = line.rsplit(",", 2)[0].strip('"')
            owner[Path(os.path.normpath(site / name))] = number
    for directory, _, names in os.walk(environment):
        for name in names:
            path = Path(directory, name)
            source = path
            if path.parent.name == "__pycache__":
                source = path.parent.parent / f"{name.partition('.')[0]}.py"
            copy = layers / str(owner.get(source, 0)) / path.relative_to(environment)
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, copy, follow_symlinks=False)


@contextmanager
def pkgview(transport: str, work: Work, key: str) -> Iterator[Rival]:
    """The project's view, served by one of our transports."""
    del key
    mountpoint = work.root / "mnt" / transport
    env = work.env | {"PKGVIEW_MOUNT": str(mountpoint), "PKGVIEW_TRANSPORT": transport}
    up = [PKGVIEW, "up", str(work.project), "--no-link", "--no-mount", "--compile", "--json"]
    view = json.loads(work.run(up, env=env))["view"]

    def stop() -> None:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)

    def restart() -> None:
        stop()
        work.run([PKGVIEW, "mount"], env=env)

    try:
        restart()
        serving = json.loads(work.run([PKGVIEW, "status", "--json"], env=env))["transport"]
        if serving != transport:
            raise MissingError(f"asked for {transport}, this pkgview serves with {serving}")
        yield Rival(name=transport, root=mountpoint / "views" / view, restart=restart)
    finally:
        with suppress(PkgviewError):
            stop()
        unmount(mountpoint)


RIVALS: dict[str, Callable[[Work, str], AbstractContextManager[Rival]]] = {
    "ext4": ext4,
    "squashfs": squashfs,
    "squashfuse_ll": squashfuse,
    "overlayfs": overlayfs,
    "libfuse": partial(pkgview, "libfuse"),
    "devfuse": partial(pkgview, "devfuse"),
}
"""All that there can be."""

BASE = "ext4"
OURS = "devfuse"
