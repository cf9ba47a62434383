from __future__ import annotations

import gzip
import lzma
import os
import re
from typing import TYPE_CHECKING

import pytest
import zstandard

from resolver.errors import PkgviewError
from tests.unionfs.formats.deb.debs import (
    CONTROL,
    FIRST,
    archive,
    control,
    data,
    deb,
    member,
    packed,
    write,
)
from tests.unionfs.formats.npm.tarballs import BLOCK, header, part, pax, record, stream
from unionfs.archive.layer import Kind
from unionfs.formats.deb import files, unpacked
from unionfs.formats.deb.reader import open_deb
from unionfs.formats.tar import unpacked as tar_unpacked
from unionfs.formats.tar.fault import PackageRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unionfs.archive.pack import Member
    from unionfs.formats.deb.reader import Deb

FILE = part("./usr/bin/demo", b"x", mode=0o755)
PLAIN = stream((FILE,))
XZ = lzma.compress(PLAIN)
ZST = zstandard.compress(PLAIN)


def wide() -> bytes:
    """A stream that wants a window of 256 MiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(PLAIN) + packer.flush()


def link(path: str, target: bytes, kind: bytes = b"2") -> bytes:
    return header(path, 0, kind=kind, target=target)


def of_data(name: str, content: bytes) -> bytes:
    return archive(FIRST, control(), member(name, content))


HOSTILE = {
    # ar
    "nothing": (b"", "no ar archive"),
    "another magic": (archive(FIRST, magic=b"!<thin>\n"), "no ar archive"),
    "no members": (archive(), "first member is not debian-binary"),
    "another first member": (archive(control(), FIRST, data(FILE)), "first member is not"),
    "another format": (archive(member("debian-binary", b"3.0\n")), "format other than 2"),
    "no control part": (archive(FIRST, data(FILE)), "data where control and data have to be"),
    "no data part": (archive(FIRST, control()), "control where control and data have to be"),
    "the parts turned round": (archive(FIRST, data(FILE), control()), "data and control where"),
    "two data parts": (archive(FIRST, control(), data(FILE), data(FILE)), "data and data where"),
    "a member more": (archive(FIRST, control(), data(FILE), member("x", b"")), "has a member 'x'"),
    "a cut header": (deb(FILE) + b"x", "ends within a member's header"),
    "an end within a part": (deb(FILE)[:-20], "ends within data.tar.gz"),
    "a size that lies": (
        archive(FIRST, member("control.tar.gz", b"", size=b"99999999")), "ends within control",
    ),
    "a size that is too small": (
        archive(FIRST, member("control.tar.gz", packed(part("control", CONTROL)), size=b"10")),
        "no member's header",
    ),
    "a negative size": (archive(FIRST, member("control.tar", b"", size=b"-1")), "number that is n"),
    "no end of the header": (archive(FIRST, member("control.tar", b"", end=b"xx")), "no member's "),
    "a name with a slash": (archive(member("../debian-binary", b"2.0\n")), "no plain name"),
    "an extended name": (archive(FIRST, member("//", b"")), "no plain name"),
    "padding that is none": (
        archive(FIRST, member("_x", b"a")[:-1] + b"b", control(), data(FILE)), "not padded",
    ),
    # compressions
    "bzip2": (of_data("data.tar.bz2", b""), "data.tar.bz2 is compressed in a way"),
    "lzma": (of_data("data.tar.lzma", b""), "data.tar.lzma is compressed in a way"),
    "no gzip": (of_data("data.tar.gz", PLAIN), "gz stream is none"),
    "damaged xz": (of_data("data.tar.xz", XZ[:40] + b"xx" + XZ[42:]), "xz stream is damaged"),
    "xz that ends early": (of_data("data.tar.xz", XZ[:-8]), "xz stream ends early"),
    "zst that ends early": (of_data("data.tar.zst", ZST[:-3]), "zst stream ends early"),
    "damaged zst": (of_data("data.tar.zst", b"xx" + ZST), "zst stream is damaged"),
    "a window of 256 MiB": (of_data("data.tar.zst", wide()), "window too large"),
    "two gz streams": (of_data("data.tar.gz", gzip.compress(PLAIN) * 2), "behind its gz stream"),
    "two xz streams": (of_data("data.tar.xz", XZ * 2), "data behind its xz stream"),
    "two zst streams": (of_data("data.tar.zst", ZST * 2), "data behind its zst stream"),
    "a bomb of xz": (
        of_data("data.tar.xz", lzma.compress(bytes(65 * 2**20), preset=0)), "decompression bomb",
    ),
    "a bomb of zst": (
        of_data("data.tar.zst", zstandard.compress(bytes(65 * 2**20))), "decompression bomb",
    ),
    # tar
    "a wrong checksum": (deb(header("a", 0, checksum=b"0000000\0")), "wrong checksum"),
    "an end within a file": (deb(header("a", 9999)), "ends within 'a'"),
    "something behind the end": (
        of_data("data.tar", PLAIN + b"x" * BLOCK), "data behind the zeros",
    ),
    "a block device": (deb(header("./dev/sda", 0, kind=b"4")), "'./dev/sda' is a device"),
    "a character device": (deb(header("./dev/null", 0, kind=b"3")), "is a device"),
    "a named pipe": (deb(header("./run/pipe", 0, kind=b"6")), "is a named pipe"),
    "a sparse file": (deb(part("a", b"x", kind=b"S")), "is a sparse file"),
    "an unknown type": (deb(part("a", b"x", kind=b"Z")), "of the unknown type"),
    "two sizes": (deb(pax(record("size", "5")), part("a", b"x")), "'a' has two sizes"),
    # paths
    "an absolute path": (deb(part("/etc/passwd", b"x")), "is absolute"),
    "a path that climbs": (deb(part("./usr/../../x", b"x")), "climbs out with '..'"),
    "an empty name": (deb(part("./usr//x", b"x")), "empty name"),
    "a line's end": (deb(part("./usr/a\nb", b"x")), "line's end"),
    "a name that is too long": (
        deb(pax(record("path", "n" * 256)), part("a", b"x")), "255 in a name",
    ),
    "a root that is a file": (deb(part("./.", b"x")), "empty name"),
    "a file twice": (deb(FILE, FILE), "is there twice"),
    "a file and a link": (deb(FILE, link("usr/bin/demo", b"/etc/passwd")), "is there twice"),
    "a file below a link": (deb(link("./x", b"/etc"), part("./x/passwd", b"x")), "lies below 'x'"),
    "a file below a link that comes later": (
        deb(part("./x/y/passwd", b"x"), link("./x/y", b"/etc")), "lies below 'x/y'",
    ),
    "a file below a file": (deb(part("./x", b"x"), part("./x/y", b"x")), "lies below"),
    "a link out of the tree": (deb(link("./usr/x", b"../../etc/passwd")), "link out of the tree"),
    "a hard link out of the tree": (
        deb(link("./x", b"../etc/passwd", b"1")), "hard link to what climbs out",
    ),
    "a hard link to the host's": (deb(link("./x", b"/etc/passwd", b"1")), "to what is absolute"),
    "a hard link to nothing": (deb(link("./x", b"./y", b"1")), "hard link to no file before it"),
    "a hard link to a link": (
        deb(link("./y", b"/etc/passwd"), link("./x", b"./y", b"1")), "to no file before it",
    ),
    "files of the control part": (deb(part("./DEBIAN/postinst", b"x")), "DEBIAN of its own"),
    # control
    "no control file": (
        archive(FIRST, member("control.tar", stream((part("./x", b""),))), data(FILE)),
        "no file control",
    ),
    "a link for a control file": (
        archive(FIRST, member("control.tar", stream((link("control", b"/etc/passwd"),))), data()),
        "which is no file of it",
    ),
    "a directory in the control part": (
        archive(FIRST, control(CONTROL, part("./a/b", b"")), data(FILE)), "which is no file of it",
    ),
    "no version": (archive(FIRST, control(b"Package: a\nArchitecture: all\n"), data(FILE)),
                   "no Version"),
    "a name that is a path": (
        archive(FIRST, control(CONTROL.replace(b"demo", b"../demo")), data(FILE)), "no Package",
    ),
    "a field twice": (archive(FIRST, control(CONTROL + b"package: b\n"), data(FILE)), "twice"),
    "no fields": (archive(FIRST, control(b"nonsense\n"), data(FILE)), "cannot be read"),
    "bytes for text": (archive(FIRST, control(b"Package: \xff\n"), data(FILE)), "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("which", HOSTILE)
def test_a_hostile_package_is_refused(which: str, tmp_path: Path) -> None:
    content, reason = HOSTILE[which]
    with pytest.raises(PackageRefused, match=re.escape(reason)) as caught:
        open_deb(write(tmp_path / "demo.deb", content))
    assert caught.value.what.startswith("the package demo.deb is refused: ")


def read(opened: Deb) -> dict[str, Member]:
    return {os.fsdecode(one.path): one for one in opened.members()}


def content_of(one: Member) -> bytes:
    assert one.open is not None
    with one.open() as file:
        return file.read()


ENTRIES = (
    header("./", 0, kind=b"5", mode=0o1777),
    header("./usr/share/empty/", 0, kind=b"5", mode=0o2775),
    FILE,
    part("./usr/bin/sudo", b"root", mode=0o4755, uid=b"0000777\0"),
    link("./usr/bin/also", b"./usr/bin/demo", b"1"),
    link("./usr/lib/x.so", b"../share/x"),
    link("./usr/lib/blas.so", b"/etc/alternatives/blas.so"),
)


@pytest.mark.parametrize("packing", ["", ".gz", ".xz", ".zst"])
def test_what_is_read(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = stream(ENTRIES)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress,
    }  # fmt: skip
    path = tmp_path / "demo.deb"
    path.write_bytes(
        archive(
            FIRST, member("_gpgorigin", b"x"), control(CONTROL, part("postinst", b"#!/bin/sh\n")),
            member(f"data.tar{packing}/", packers[packing](plain)),
        )
    )  # fmt: skip
    for limit in (tar_unpacked.MEMORY_LIMIT, 0):
        monkeypatch.setattr(tar_unpacked, "MEMORY_LIMIT", limit)
        with open_deb(path, expected=("demo", "1:1.0-1", "all"), origin="sha256:0") as opened:
            assert opened.meta.stem == "demo-1_1.0-1-all"
            assert opened.control.fields["Description"] == "one\n more"
            found = read(opened)
            assert content_of(found["DEBIAN/postinst"]) == b"#!/bin/sh\n"
            assert found["usr/share/empty"].kind is Kind.DIRECTORY
            assert content_of(found["usr/bin/sudo"]) == b"root"
            assert content_of(found["usr/bin/also"]) == b"x"
            assert found["usr/bin/also"].executable
            assert found["usr/lib/x.so"].target == b"../share/x"
            assert found["usr/lib/blas.so"].target == b"/etc/alternatives/blas.so"
            assert opened.odd == ("set-user-id and set-group-id are dropped of usr/bin/sudo",)
    with pytest.raises(PackageRefused, match=r"is demo 1:1\.0-1 all, and should be x 1 all"):
        open_deb(path, expected=("x", "1", "all"))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackageRefused, match="no regular file"):
        open_deb(tmp_path / "pipe")
    with pytest.raises(PkgviewError, match="No such file"):
        open_deb(tmp_path / "missing.deb")


def test_there_are_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.deb", deb(*(part(str(one), b"x") for one in range(20))))
    monkeypatch.setattr(files, "ENTRY_LIMIT", 19)
    with pytest.raises(PackageRefused, match="more than 19 entries"):
        open_deb(path)
    monkeypatch.setattr(unpacked.unpacked, "__defaults__", (2**10,))
    with pytest.raises(PackageRefused, match="more than 1024 bytes unpacked"):
        open_deb(path)
