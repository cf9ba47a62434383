"""The two transports serve one file system: equal trees, errno by errno."""

# The system calls themselves are asked:
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH116, PTH211

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import io
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.interpreter import inspect
from unionfs.archive.layer import Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon import launch
from unionfs.formats.python.generated import skeleton_layer
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places
    from tests.mounted.conftest import Site

pytestmark = pytest.mark.fuse

TRANSPORTS = ("devfuse", "libfuse")
LARGE = hashlib.shake_128(b"large").digest(700_000)

Roots = dict[str, Path]


@pytest.fixture
def roots(shop: Site, monkeypatch: pytest.MonkeyPatch) -> Roots:
    """One state, mounted twice: by each transport, with one view of a few files."""
    store = Store(shop.places.store)
    found = inspect(shop.python, shop.places.state)
    contents = {"one.py": b"n = 1\n", "empty": b"", "large": LARGE, "program": b"#!/bin/sh\n"}
    contents |= {f"many/{number:04}": b"%d" % number for number in range(1500)}
    members = [
        Member(path=f"data/{path}".encode(), size=len(content), executable=path == "program",
               open=partial(io.BytesIO, content))
        for path, content in contents.items()
    ]  # fmt: skip
    members += [
        Member(path=b"data/link", kind=Kind.SYMLINK, target=b"one.py"),
        Member(path=b"data/loop", kind=Kind.SYMLINK, target=b"loop"),
        Member(path=b"data/nowhere", kind=Kind.SYMLINK, target=b"no"),
    ]
    archive = store.add(members, Meta(kind="distribution", name="a", version="1", stem="a-1"))
    layers = (skeleton_layer(store, found), found.python.layer(archive))
    registry = Registry(shop.places.state / "registry.sqlite3")
    view = publish(shop.places, found.python.manifest(layers), store, registry)
    registry.close()
    made = {}
    for transport in TRANSPORTS:
        monkeypatch.setenv("PKGVIEW_TRANSPORT", transport)
        places = replace(shop.places, mount=shop.home / transport)
        launch.ensure_mounted(places)
        assert client.ask(endpoint_of(places, places.mount), "status")["transport"] == transport
        made[transport] = places.mount
    (shop.home / "view").symlink_to(view)
    return made


def described(path: Path) -> object:
    """All that a program can learn of a file."""
    found = path.lstat()
    fields = tuple(
        getattr(found, name)
        for name in ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size",
                     "st_blksize", "st_blocks", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")
    )  # fmt: skip
    if path.is_symlink():
        return fields, "current" if path.name == "current" else os.readlink(path)
    return fields, sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()


class Dirent(ctypes.Structure):
    """readdir(3): a `struct dirent` with 64-bit offsets."""

    _fields_ = (("inode", ctypes.c_uint64), ("offset", ctypes.c_int64),
                ("size", ctypes.c_ushort), ("kind", ctypes.c_ubyte),
                ("name", ctypes.c_char * 256))  # fmt: skip


def entries(path: Path) -> list[tuple[str, int, int]]:
    """All names of a directory with inode and offset; Python's own reader leaves out two."""
    libc = ctypes.CDLL(None)
    libc.opendir.restype, libc.readdir64.restype = ctypes.c_void_p, ctypes.POINTER(Dirent)
    opened = ctypes.c_void_p(libc.opendir(os.fsencode(path)))
    found = []
    while entry := libc.readdir64(opened):
        found.append((os.fsdecode(entry[0].name), entry[0].inode, entry[0].offset))
    libc.closedir(opened)
    return found


def check_listing(root: Path, path: Path) -> None:
    """It begins with `.` and `..`; all inodes are right, and no offset is there twice."""
    names, inodes, offsets = zip(*entries(path), strict=True)
    assert names == (".", "..", *os.listdir(path))
    assert inodes == tuple(
        os.lstat(path if path == root and name == ".." else path / name).st_ino for name in names
    )
    assert len({*offsets, 0}) == len(names) + 1


def test_equal_trees(roots: Roots) -> None:
    seen: list[dict[str, object]] = []
    for root in roots.values():
        os.listdir(root / "current")  # which may make a view, for who belongs to no project
    for root in roots.values():
        tree = {"": described(root)}
        for top, directories, files in os.walk(root):
            check_listing(root, Path(top))
            for name in (*directories, *files):
                path = Path(top, name)
                tree[os.fspath(path.relative_to(root))] = described(path)
        seen.append(tree)
    assert len(seen[0]) > 1500
    assert seen[0] == seen[1]
    assert any(isinstance(what, tuple) and what[1] == LARGE for what in seen[0].values())
    statvfs = [os.statvfs(root) for root in roots.values()]
    assert statvfs[0][:8] == statvfs[1][:8]
    assert (statvfs[0].f_files, statvfs[0].f_ffree) == (1, 0)
    assert statvfs[0].f_namemax == statvfs[1].f_namemax
    for root in roots.values():  # as of a read-only medium: programs divide by the totals
        usage = shutil.disk_usage(root / "current")
        assert usage.total == usage.used > usage.free == 0


def mapped(path: Path) -> bytes:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        return bytes(memory[-100:])


def opened(path: Path, flags: int, then: Callable[[int], object] = lambda _: "ok") -> object:
    descriptor = os.open(path, flags)
    try:
        return then(descriptor)
    finally:
        os.close(descriptor)


def piece(view: Path, size: int, offset: int) -> object:
    return opened(view / "large", os.O_RDONLY, lambda number: os.pread(number, size, offset))


READ, WRITE = os.O_RDONLY, os.O_WRONLY

QUESTIONS: dict[str, tuple[object, Callable[[Path], object]]] = {
    "absent": ("ENOENT", lambda v: os.stat(v / "no")),
    "below an absent one": ("ENOENT", lambda v: os.stat(v / "no/deeper")),
    "below a file": ("ENOTDIR", lambda v: os.stat(v / "one.py/x")),
    "a slash behind a file": ("ENOTDIR", lambda v: os.stat(f"{v}/one.py/")),
    "the longest name": ("ENOENT", lambda v: os.stat(v / ("x" * 255))),
    "a longer name": ("ENAMETOOLONG", lambda v: os.stat(v / ("x" * 256))),
    "a name that is no text": ("ENOENT", lambda v: os.stat(os.fsencode(v) + b"/\xff\xfe")),
    "a loop": ("ELOOP", lambda v: os.stat(v / "loop")),
    "a link to nowhere": ("ENOENT", lambda v: os.stat(v / "nowhere")),
    "a link of a link": ("one.py", lambda v: os.readlink(v / "link")),
    "a link of a file": ("EINVAL", lambda v: os.readlink(v / "one.py")),
    "a link of a directory": ("EINVAL", os.readlink),
    "list a file": ("ENOTDIR", lambda v: os.listdir(v / "one.py")),
    "list an absent one": ("ENOENT", lambda v: os.listdir(v / "no")),
    "open through a link": ("ok", lambda v: opened(v / "link", READ)),
    "open a link itself": ("ELOOP", lambda v: opened(v / "link", READ | os.O_NOFOLLOW)),
    "open a file as a directory": ("ENOTDIR", lambda v: opened(v / "one.py", os.O_DIRECTORY)),
    "open a directory": ("ok", lambda v: opened(v, READ)),
    "read a directory": ("EISDIR", lambda v: opened(v, READ, lambda d: os.read(d, 10))),
    "open to write": ("EROFS", lambda v: opened(v / "one.py", WRITE)),
    "open a directory to write": ("EISDIR", lambda v: opened(v, WRITE)),
    "truncate": ("EROFS", lambda v: os.truncate(v / "one.py", 0)),
    "create": ("EROFS", lambda v: opened(v / "new", WRITE | os.O_CREAT)),
    "create what is there": ("EEXIST", lambda v: opened(v / "one.py", os.O_CREAT | os.O_EXCL)),
    "make a directory": ("EROFS", lambda v: os.mkdir(v / "new")),
    "remove": ("EROFS", lambda v: os.unlink(v / "one.py")),
    "remove a directory": ("EROFS", lambda v: os.rmdir(v / "many")),
    "rename": ("EROFS", lambda v: os.rename(v / "one.py", v / "two.py")),
    "link": ("EROFS", lambda v: os.link(v / "one.py", v / "two.py")),
    "symlink": ("EROFS", lambda v: os.symlink("one.py", v / "two.py")),
    "chmod": ("EROFS", lambda v: os.chmod(v / "one.py", 0o600)),
    "chown": ("EROFS", lambda v: os.chown(v / "one.py", 0, 0)),
    "utime": ("EROFS", lambda v: os.utime(v / "one.py")),
    "a pipe": ("EROFS", lambda v: os.mkfifo(v / "pipe")),
    "an attribute": ("ENOTSUP", lambda v: os.getxattr(v / "one.py", "user.x")),
    "attributes": ("ENOTSUP", lambda v: os.listxattr(v / "one.py")),
    "set an attribute": ("EROFS", lambda v: os.setxattr(v / "one.py", "user.x", b"")),
    "read at the end": (b"", lambda v: piece(v, 9, 700_000)),
    "read past the end": (b"", lambda v: piece(v, 9, 1 << 40)),
    "read the empty one": (b"", lambda v: (v / "empty").read_bytes()),
    "read across a frame": (
        LARGE[130_000:270_000],
        lambda v: piece(v, 140_000, 130_000),
    ),
    "map": (LARGE[-100:], lambda v: mapped(v / "large")),
    "no terminal": (False, lambda v: opened(v / "one.py", READ, os.isatty)),
    "an unknown ioctl": ("ENOTTY", lambda v: opened(v / "one.py", READ,
                                                    lambda d: fcntl.ioctl(d, 0xABCD))),
    "seek data": (0, lambda v: opened(v / "one.py", READ, lambda d: os.lseek(d, 0, os.SEEK_DATA))),
    "seek hole": (6, lambda v: opened(v / "one.py", READ, lambda d: os.lseek(d, 0, os.SEEK_HOLE))),
    "sync": (None, lambda v: opened(v / "one.py", READ, os.fsync)),
    "lock": (None, lambda v: opened(v / "one.py", READ, lambda d: fcntl.flock(d, fcntl.LOCK_EX))),
    "run": ("EACCES", lambda v: subprocess.run([v / "one.py"], check=True)),
    "may be read": (True, lambda v: os.access(v / "one.py", os.R_OK)),
    "may be run": (False, lambda v: os.access(v / "one.py", os.X_OK)),
    "may be written": (False, lambda v: os.access(v / "one.py", os.W_OK)),
    "a view that is not": ("ENOENT", lambda v: os.stat(v.parent / ("0" * 32))),
    "a view of no id": ("ENOENT", lambda v: os.stat(v.parent / "x")),
    "a package that is not": ("ENOENT", lambda v: os.stat(v.parent.parent / "packages/no")),
    "a project that is not": ("ENOENT", lambda v: os.stat(v.parent.parent / "projects/no")),
}  # fmt: skip


def test_errno_by_errno(roots: Roots, shop: Site) -> None:
    view = os.readlink(shop.home / "view")
    for transport, root in roots.items():
        answers = {}
        for question, (_, ask) in QUESTIONS.items():
            try:
                answers[question] = ask(root / "views" / view)
            except OSError as error:
                answers[question] = errno.errorcode[error.errno or 0]
        expected = {question: answer for question, (answer, _) in QUESTIONS.items()}
        assert answers == expected, transport


def test_a_listing_of_what_grows_is_not_kept(roots: Roots, shop: Site) -> None:
    store = Store(shop.places.store)
    found = inspect(shop.python, shop.places.state)
    for number in range(3):
        member = Member(path=b"data/x", size=1, open=partial(io.BytesIO, b"%d" % number))
        meta = Meta(kind="distribution", name="new", version=str(number), stem=f"new-{number}")
        archive = store.add([member], meta)
        registry = Registry(shop.places.state / "registry.sqlite3")
        layers = (skeleton_layer(store, found), found.python.layer(archive))
        view = publish(shop.places, found.python.manifest(layers), store, registry)
        registry.close()
        for root in roots.values():
            assert view in os.listdir(root / "views")
            assert any(name.startswith(f"new-{number}-") for name in os.listdir(root / "packages"))


READER = """
import os, sys
root = sys.argv[1]
while True:
    for top, _, files in os.walk(root):
        for name in files:
            with open(os.path.join(top, name), "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                file.read()
    os.readlink(os.path.join(root, "../../current"))
"""


def test_killed_and_stopped_callers_leave_nothing_behind(roots: Roots, shop: Site) -> None:
    """Whatever becomes of those who ask, the others are answered."""
    view = roots["devfuse"] / "views" / os.readlink(shop.home / "view")
    endpoint = endpoint_of(shop.places, roots["devfuse"])
    command = [sys.executable, "-I", "-c", READER, os.fspath(view)]
    before = len(os.listdir(f"/proc/{client.ask(endpoint, 'ping')['pid']}/fd"))
    with contextlib.ExitStack() as stack:
        for number in range(40):
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            (view / "many" / f"{number:04}").read_bytes()
            process.send_signal(signal.SIGSTOP if number % 8 == 0 else signal.SIGKILL)
            if number % 8:
                assert process.wait(30) == -signal.SIGKILL
        assert (view / "large").read_bytes() == LARGE
        said = client.ask(endpoint, "status")
        assert said["requests"]["READ"] > 0
    assert len(os.listdir(f"/proc/{said['pid']}/fd")) <= before + 2


@pytest.mark.usefixtures("supervised")
def test_a_mount_that_is_mended_keeps_its_transport(
    shop: Site, crash: Callable[[Places], None]
) -> None:
    def transport() -> str:
        said = json.loads(shop.pkgview("status", "--json", cwd=shop.home).stdout)
        return str(said["transport"])

    shop.pkgview("mount", "--transport", "libfuse", cwd=shop.home)
    refused = shop.pkgview("upgrade", cwd=shop.home, code=1)
    assert "`pkgview mount --transport libfuse`" in refused.stderr
    for _ in range(2):  # what was mended is mended again
        crash(shop.places)
        shop.pkgview("mount", cwd=shop.home)
        assert transport() == "libfuse"
    crash(shop.places)
    shop.pkgview("mount", "--transport", "devfuse", cwd=shop.home)
    assert transport() == "devfuse"
    crash(shop.places)
    shop.pkgview("mount", cwd=shop.home)
    assert transport() == "devfuse"
    shop.pkgview("umount", cwd=shop.home)
    shop.pkgview("mount", "--transport", "libfuse", cwd=shop.home)
    shop.pkgview("umount", cwd=shop.home)
    shop.pkgview("mount", cwd=shop.home)
    assert transport() == "devfuse"


@pytest.mark.usefixtures("supervised")
def test_which_transport(shop: Site) -> None:
    home = shop.home
    shop.pkgview("mount", "--transport", "libfuse", cwd=home)
    shop.pkgview("mount", "--transport", "libfuse", cwd=home)
    refused = shop.pkgview("mount", "--transport", "devfuse", cwd=home, code=1)
    assert "mounted already, through libfuse" in refused.stderr
    said = json.loads(shop.pkgview("status", "--json", cwd=home).stdout)
    assert (said["transport"], said["gains"]) == ("libfuse", {})
    shop.pkgview("umount", cwd=home)
    shop.pkgview("mount", cwd=home)
    said = json.loads(shop.pkgview("status", "--json", cwd=home).stdout)
    assert said["transport"] == "devfuse"
    assert set(said["gains"]) == {"OPEN", "OPENDIR"}
    assert "CVE-2025-68821" in shop.pkgview("status", cwd=home).stdout
    shop.pkgview("umount", cwd=home)
    wrong = shop.run(
        Path(sys.executable).with_name("pkgview"), "mount", cwd=home, code=1,
        environ={"PKGVIEW_TRANSPORT": "pigeon"},
    )  # fmt: skip
    assert "no transport 'pigeon'" in wrong.stderr
