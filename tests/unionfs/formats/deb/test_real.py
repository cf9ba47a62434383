"""Packages of Debian's, beside what dpkg-deb makes of them.

`PKGVIEW_DEBS` names a directory of packages to compare besides.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import Kind
from unionfs.archive.pack import pack
from unionfs.archive.reader import Archive
from unionfs.formats.deb.reader import CONTROL_TOP, open_deb

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("hello", "libblas3", "bzip2", "sudo", "perl-base")
"""Small ones: with links to alternatives, hard links, set-user-id."""

Found = dict[bytes, tuple[str, int, bytes]]


def by_dpkg(path: Path, within: Path) -> Found:
    """What dpkg-deb writes: kind, mode and digest or target; a directory's mode counts for none."""
    subprocess.run(["dpkg-deb", "-x", path, within / "data"], check=True)
    subprocess.run(["dpkg-deb", "-e", path, within / "data" / CONTROL_TOP], check=True)
    found: Found = {}
    top = os.fsencode(within / "data")
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            one = directory + b"/" + name
            status = os.lstat(one)
            if stat.S_ISLNK(status.st_mode):
                said = ("link", 0, os.readlink(one))
            elif stat.S_ISDIR(status.st_mode):
                said = ("directory", 0, b"")
            else:
                # Documented: of a mode only whether it is executable, and no set-user-id.
                content = Path(os.fsdecode(one)).read_bytes()
                executable = 0o755 if status.st_mode & 0o111 else 0o644
                said = ("file", executable, hashlib.sha256(content).digest())
            found[os.path.relpath(one, top)] = said
    return found


def by_us(path: Path, within: Path) -> Found:
    out = within / "archive"
    with open_deb(path) as opened, out.open("wb") as file:
        name = pack(opened.members(), opened.meta, file)
    archive = Archive.open(out, FrameCache(0), name=name)
    found: Found = {}
    for one, number in archive.walk():
        entry = archive.entry(number)
        if not one:
            continue
        if entry.kind is Kind.SYMLINK:
            found[one] = ("link", 0, archive.target(number))
        elif entry.kind is Kind.DIRECTORY:
            found[one] = ("directory", 0, b"")
        else:
            mode = 0o755 if entry.executable else 0o644
            found[one] = ("file", mode, archive.digest(number))
    return found


def compare(path: Path, within: Path) -> None:
    within.mkdir()
    ours, theirs = by_us(path, within), by_dpkg(path, within)
    control = f"{CONTROL_TOP}/".encode()
    for found in (ours, theirs):  # which scripts can be run is dpkg's to say
        for one in [one for one in found if one.startswith(control)]:
            found[one] = (*found[one][:1], 0, found[one][2])
    assert ours == theirs, path.name


@pytest.mark.network
def test_real_packages(needs: Callable[..., None], tmp_path: Path) -> None:
    needs("apt-get", "dpkg-deb")
    there = tmp_path / "debs"
    there.mkdir()
    done = subprocess.run(
        ["apt-get", "-q", "download", *NAMES], cwd=there, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("apt gives no packages")
    for path in there.glob("*.deb"):
        compare(path, tmp_path / path.stem)


def test_packages_at_hand(tmp_path: Path) -> None:
    given = os.environ.get("PKGVIEW_DEBS")
    if not given:
        pytest.skip("PKGVIEW_DEBS names no directory")
    for path in sorted(Path(given).glob("*.deb")):
        compare(path, tmp_path / path.stem)
