# ruff: noqa: ANN401 - **fields, as dataclasses.replace has them
"""Zip files that could be read in two ways, or that are not what they say, are refused."""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.unionfs.conftest import zip64_end
from unionfs.formats.zip import check, directory
from unionfs.formats.zip.check import ZipFile
from unionfs.formats.zip.fault import UnsoundZipError
from unionfs.formats.zip.stream import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unionfs.conftest import Part, WheelMaker

    Build = Callable[[WheelMaker], Path]

CODE = "demo/__init__.py"
GIB = 2**30


def contents(path: Path) -> dict[str, bytes]:
    """Every member, read to its end."""
    with ZipFile(path) as file:
        found = {}
        for member in file.members:
            with file.stream(member) as stream:
                found[member.path] = stream.read()
        return found


def first(**changes: Any) -> Build:
    """The first member with other fields than it ought to have."""

    def build(maker: WheelMaker) -> Path:
        parts = maker.parts()
        parts[0] = dataclasses.replace(parts[0], **changes)
        return maker.write(maker.zip_bytes(parts))

    return build


def zipped(**options: Any) -> Build:
    """The Zip file written with other options than it ought to be."""
    return lambda maker: maker.write(maker.zip_bytes(maker.parts(), **options))


def named(*names: bytes, **changes: Any) -> Build:
    """One more member under each name."""

    def build(maker: WheelMaker) -> Path:
        parts = maker.parts()
        extra = [dataclasses.replace(parts[0], name=name, **changes) for name in names]
        return maker.write(maker.zip_bytes([*extra, *parts]))

    return build


def overlapping(maker: WheelMaker) -> Path:
    """Two members that share their bytes: the way to a small bomb."""
    maker.files["demo/twin.py"] = maker.files[CODE]
    parts = maker.parts()
    twin = dataclasses.replace(parts[0], name=b"demo/twin.py", local_name=parts[0].name, offset=0)
    return maker.write(maker.zip_bytes([parts[0], twin, *parts[2:]]))


def long_data(maker: WheelMaker) -> Path:
    """A member whose data reaches into the next."""
    parts = maker.parts()
    packed = len(maker.zip_bytes(parts[:1])) + 5
    parts[0] = dataclasses.replace(parts[0], packed=packed)
    return maker.write(maker.zip_bytes(parts))


def twice(maker: WheelMaker) -> Path:
    parts = maker.parts()
    return maker.write(maker.zip_bytes([parts[0], *parts]))


def nested(first_name: str, second_name: str) -> Build:
    """Two more members, the second a directory where its name says so."""

    def build(maker: WheelMaker) -> Path:
        maker.files |= {first_name: b"a", second_name: b"" if second_name.endswith("/") else b"b"}
        return maker.write()

    return build


def two_ends(maker: WheelMaker) -> Path:
    data = maker.zip_bytes(maker.parts())
    return maker.write(data + data[-22:])


def two_zips(maker: WheelMaker) -> Path:
    data = maker.zip_bytes(maker.parts())
    return maker.write(data + data)


def with_a_zip_inside(maker: WheelMaker) -> Path:
    maker.method = 0
    maker.files["demo/inner.zip"] = maker.zip_bytes([])
    return maker.write(maker.zip_bytes(maker.parts(), comment=b"by hand"))


def cut(maker: WheelMaker) -> Path:
    data = maker.zip_bytes(maker.parts())
    return maker.write(data[: len(data) // 2])


def streamed(descriptor: Callable[[Part, bytes], bytes]) -> Build:
    """The first member with a data descriptor of some form."""

    def build(maker: WheelMaker) -> Path:
        parts = maker.parts()
        data = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = data.compress(parts[0].content) + data.flush()
        parts[0] = dataclasses.replace(
            parts[0],
            flags=8,
            local_crc=0,
            local_size=0,
            local_packed=0,
            descriptor=descriptor(parts[0], packed),
        )
        return maker.write(maker.zip_bytes(parts))

    return build


def descriptor_of(magic: bytes, sizes: str, *, wrong: int = 0) -> Build:
    return streamed(
        lambda part, packed: (
            magic
            + struct.pack(sizes, zlib.crc32(part.content), len(packed), len(part.content) + wrong)
        )
    )


def zip64(*, end: dict[str, int] | None = None, **wrong: int) -> Build:
    """The wheel with a Zip64 end record; `wrong` is what that says amiss."""

    def build(maker: WheelMaker) -> Path:
        return maker.write(
            maker.zip_bytes(
                maker.parts(),
                zip64=lambda *right: maker.zip64_end(
                    **(dict(zip(("count", "size", "offset"), right, strict=True)) | wrong)
                ),
                end=end,
            )
        )

    return build


HOSTILE: dict[str, tuple[Build, str]] = {
    # Names.
    "absolute": (named(b"/etc/passwd"), "is absolute"),
    "climbs": (named(b"demo/../../evil.py"), "climbs out"),
    "climbs at once": (named(b"../evil.py"), "climbs out"),
    "dot component": (named(b"demo/./evil.py"), "empty or '.' component"),
    "dot at the start": (named(b"./demo/evil.py"), "empty or '.' component"),
    "dot at the end": (named(b"demo/x/evil/."), "empty or '.' component"),
    "the same by a dot": (named(b"demo/x/./evil.py", b"demo/x/evil.py"), "there twice"),
    "empty component": (named(b"demo//__init__.py"), "empty or '.' component"),
    "no name": (named(b""), "empty or '.' component"),
    "backslash": (named(b"demo\\evil.py"), "backslash"),
    "NUL": (named(b"demo/evil.py\0.txt"), "NUL"),
    "newline": (named(b"demo/evil\n.py"), "control character"),
    "escape sequence": (named(b"demo/\x1b[2J.py"), "control character"),
    "C1 control": (named("demo/\x9b2J.py".encode(), flags=0x800), "control character"),
    "drive": (named(b"C:evil.py"), "names a drive"),
    "not UTF-8": (named(b"demo/\xff.py", flags=0x800), "is not UTF-8"),
    "unmarked UTF-8": (named("demo/é.py".encode()), "not marked as UTF-8"),
    "long name": (named(b"demo/" + b"n" * 300), "more than 255 bytes"),
    "long path": (named(b"/".join([b"n" * 200] * 12)), "more than 2048 bytes"),
    "second name": (
        first(extra=struct.pack("<2HBL", 0x7075, 9, 1, 0) + b"evil"),
        "second name",
    ),
    "twice": (twice, "is there twice"),
    "file as a directory": (nested("demo/a", "demo/a/b"), "which is a file"),
    "file and directory": (nested("demo/a", "demo/a/"), "is there twice"),
    # Kinds.
    "symbolic link": (first(mode=0o120777), "is a symbolic link"),
    "symbolic link of a DOS host": (first(mode=0o120777, host=0), "is a symbolic link"),
    "device": (first(mode=0o020666), "which its name denies"),
    "pipe": (first(mode=0o010666), "which its name denies"),
    "directory by its mode": (first(mode=0o040755), "which its name denies"),
    "directory by its attribute": (first(attributes=0x10), "marked as a directory"),
    "directory with content": (named(b"demo/sub/", mode=0o040755), "directory with content"),
    # The two headers.
    "two names": (first(local_name=b"demo/__evil__.py"), r"disagree: \['name'\]"),
    "two sizes": (first(local_size=7), r"disagree: \['size'\]"),
    "two packed sizes": (first(local_packed=7), r"disagree: \['packed size'\]"),
    "two CRCs": (first(local_crc=7), r"disagree: \['CRC-32'\]"),
    "two methods": (first(local_method=0), r"disagree: \['compression method'\]"),
    "two flags": (first(local_flags=0x800), r"disagree: \['flags'\]"),
    "no local header": (first(offset=3), "no local header"),
    "encrypted": (first(flags=1), "is encrypted"),
    "strongly encrypted": (first(flags=0x41), "is encrypted"),
    "patched": (first(flags=0x20), "not understood"),
    "a version that is none": (first(needed=64), r"needs version 6\.4 of the format"),
    "bzip2": (first(method=12, data=b"x"), "unsupported compression method 12"),
    "lzma": (first(method=14, data=b"x"), "unsupported compression method 14"),
    "stored with two sizes": (first(method=0, size=3), "its two sizes differ"),
    "lying descriptor": (descriptor_of(b"PK\7\x08", "<L2L", wrong=1), "data descriptor"),
    "missing descriptor": (streamed(lambda _part, _packed: b""), "data descriptor"),
    "member's comment": (first(comment=b"PK\5\6"), "has a comment"),
    "damaged extra field": (first(extra=b"\1\0\xff"), "damaged extra field"),
    "damaged local extra field": (first(local_extra=b"\1\0\xff\0"), "damaged extra field"),
    "several disks": (first(disk=1), "spans several"),
    # Zip64.
    "long size not asked for": (
        first(extra=struct.pack("<2HQ", 1, 8, 5)),
        "does not ask for or denies",
    ),
    "long sizes denied": (
        first(local_extra=struct.pack("<2H2Q", 1, 16, 5, 5)),
        "does not ask for or denies",
    ),
    "long size missing": (first(size=0xFFFFFFFF), "does not ask for or denies"),
    "two Zip64 fields": (
        first(size=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 6) * 2),
        "damaged Zip64 field",
    ),
    "Zip64 end of other members": (zip64(count=1), "disagree"),
    "Zip64 end elsewhere": (zip64(offset=5), "does not point|disagree"),
    "locator elsewhere": (zip64(at=5), "does not point to the record before it"),
    "Zip64 end missing": (zipped(end={"offset": 0xFFFFFFFF}), "that is not there"),
    # The file as a whole.
    "prepended data": (zipped(prefix=b"#!/bin/sh\n"), "prepended data before the first member"),
    "prepended, offsets kept": (
        lambda maker: maker.write(b"MZ" + maker.zip_bytes(maker.parts())),
        "prepended data",
    ),
    "trailing data": (zipped(suffix=b"evil"), "4 bytes of trailing data"),
    "comment": (zipped(comment=b"PK"), "comment of 2 bytes"),
    "comment of another length": (zipped(comment=b"a", suffix=b"b"), "2 bytes of trailing data"),
    "end record in a comment": (zipped(comment=b"PK\5\6" + bytes(18)), "several end records"),
    "two end records": (two_ends, "several end records"),
    "two Zip files": (two_zips, "several end records"),
    "gap between members": (
        lambda maker: maker.write(
            maker.zip_bytes(
                [
                    part if number != 1 else dataclasses.replace(part, before=b"hidden")
                    for number, part in enumerate(maker.parts())
                ]
            )
        ),
        "6 bytes before 'demo-1.0.dist-info/METADATA' belong to no member",
    ),
    "gap before the directory": (zipped(gap=b"hidden"), "6 bytes before the central directory"),
    "gap behind the directory": (
        zipped(zip64=lambda *_: b"hidden"),
        "6 bytes before its end record",
    ),
    "overlapping members": (overlapping, "overlaps|disagree"),
    "data into the next member": (long_data, "disagree|overlaps"),
    "more members announced": (zipped(entries=9), "announces 9 members"),
    "fewer members announced": (zipped(entries=1), "announces 1 members"),
    "directory beyond the end": (zipped(end={"size": 2**20}), "beyond its end record"),
    "one part of several": (zipped(end={"disk": 1}), "one part of several"),
    "cut off": (cut, "no Zip file"),
    "empty file": (lambda maker: maker.write(b""), "shorter than an end record"),
    "no Zip file": (lambda maker: maker.write(b"<html>" * 99), "no Zip file"),
    "no members, behind data": (
        lambda maker: maker.write(maker.zip_bytes([], prefix=b"hidden")),
        "6 bytes before the central directory belong to no member",
    ),
    # Content.
    "wrong CRC": (first(crc=7), "has another CRC-32"),
    "shorter than announced": (first(size=9), "shorter than announced|RECORD says"),
    "damaged deflate": (first(data=b"\xff" * 9), "damaged deflate stream"),
    "no end of deflate": (first(data=b"\2\0"), "without an end|shorter"),
    "data behind deflate": (
        first(data=zlib.compress(b"x = 1\n", wbits=-15) + b"hidden"),
        "data behind its deflate stream",
    ),
    # Limits.
    "member of 9 GiB": (
        first(size=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 9 * GIB)),
        "it would have 9663676422 bytes unpacked|at most 8589934592 are read",
    ),
    "bomb": (first(size=300 * 2**20), "decompression bomb"),
    "too many members": (
        zip64(count=2**18 + 1, end={"count": 0xFFFF}),
        "it has 262145 members",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_the_reason(wheel_maker: WheelMaker, name: str) -> None:
    build, reason = HOSTILE[name]
    path = build(wheel_maker)
    before = os.listdir("/proc/self/fd")
    with pytest.raises((UnsoundZipError, ContentError), match=reason):
        contents(path)
    assert os.listdir("/proc/self/fd") == before


def test_limits_count(wheel_maker: WheelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheel_maker.write()
    monkeypatch.setattr(directory, "MEMBER_LIMIT", 3)
    with pytest.raises(UnsoundZipError, match="at most 3"):
        ZipFile(path)
    monkeypatch.setattr(directory, "MEMBER_LIMIT", 4)
    monkeypatch.setattr(check, "SIZE_LIMIT", 100)
    with pytest.raises(UnsoundZipError, match="at most 100 are read"):
        ZipFile(path)


RIGHT: dict[str, Build] = {
    "descriptor": descriptor_of(b"PK\7\x08", "<L2L"),
    "descriptor without signature": descriptor_of(b"", "<L2L"),
    "long descriptor": descriptor_of(b"PK\7\x08", "<L2Q"),
    "long descriptor without signature": descriptor_of(b"", "<L2Q"),
    "Zip64 end": zip64(),
    "comment": zipped(comment=b"built by hand"),
    "comment behind a Zip64 end": zipped(comment=b"\0" * 65_535, zip64=zip64_end),
    "member's comment": first(comment=b"by hand"),
    "a Zip file inside, and a comment": with_a_zip_inside,
    "both sizes in a Zip64 field": first(
        local_extra=struct.pack(
            "<2H2Q",
            1,
            16,
            6,
            len(zlib.compress(b"x = 1\n", 6, wbits=-15)),
        )
    ),
    "time stamps": first(extra=struct.pack("<2HBL", 0x5455, 5, 1, 7)),
    "no mode": first(mode=0),
}


@pytest.mark.parametrize("name", RIGHT)
def test_odd_but_right_files_are_accepted(wheel_maker: WheelMaker, name: str) -> None:
    assert contents(RIGHT[name](wheel_maker))[CODE] == b"x = 1\n"
