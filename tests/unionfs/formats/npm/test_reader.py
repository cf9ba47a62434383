# ruff: noqa: ANN401 - **asked, as `open_tarball` has it
from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from resolver.errors import PkgviewError
from tests.unionfs.formats.npm.tarballs import (
    END,
    Part,
    header,
    manifest,
    packed,
    padded,
    part,
    pax,
    record,
    stream,
    write,
)
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import Kind
from unionfs.archive.pack import pack
from unionfs.archive.reader import Archive
from unionfs.formats.npm import files, packagejson
from unionfs.formats.npm import unpacked as npm_unpacked
from unionfs.formats.npm.integrity import Integrity
from unionfs.formats.npm.reader import open_tarball, stem
from unionfs.formats.tar import unpacked
from unionfs.formats.tar.fault import PackageRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Found = dict[str, tuple[bool, bytes]]


def contents(path: Path, **asked: Any) -> Found:
    """Every file of the archive: whether it is executable, and its bytes."""
    found: Found = {}
    with open_tarball(path, **asked) as tarball:
        for member in tarball.members():
            assert member.kind is Kind.FILE
            assert member.open is not None
            with member.open() as file:
                data = file.read()
            assert len(data) == member.size
            top, _, below = member.path.decode().partition("/")
            assert top == "package"
            found[below] = (member.executable, data)
    return found


def file(path: str, content: bytes = b"x", **fields: Any) -> Part:
    return part(f"package/{path}", content, **fields)


# -- hostile tarballs ------------------------------------------------------------------------------

OWN = part("package/package.json", manifest())
LONG = "package/" + "/".join(["d" * 200] * 11)


def of(*parts: Part | bytes, end: bytes = END) -> bytes:
    return packed(stream((OWN, *parts), end))


def cut(data: bytes, less: int) -> bytes:
    return packed(data[:-less])


HOSTILE: dict[str, tuple[bytes, str]] = {
    # The file.
    "empty": (b"", "it has no files"),
    "zstd": (zstandard.compress(stream((OWN,))), "it is zstd, not a tar file"),
    "a Zip file": (b"PK\3\4" + bytes(60), "it is a Zip file"),
    "no gzip": (b"\x1f\x8b\xff" + bytes(40), "gzip stream is damaged"),
    "gzip that ends early": (of()[:-9], "gzip stream ends early"),
    "gzip with another CRC": (of()[:-8] + b"\0\0\0\0" + of()[-4:], "gzip stream is damaged"),
    "gzip with another size": (of()[:-4] + b"\0\0\0\1", "gzip stream is damaged"),
    "data behind gzip": (of() + b"junk", "data behind its gzip stream"),
    "data behind zeros behind gzip": (of() + bytes(9) + b"j", "data behind its gzip stream"),
    "a second gzip stream, damaged": (of() + b"\x1f\x8b\x08junk", "gzip stream"),
    "too many gzip members": (packed(b"") * 5000 + of(), "more than 4096 gzip members"),
    "a bomb": (packed(bytes(66 * 2**20)), "taken for a decompression bomb"),
    # The stream.
    "no tar": (packed(b"no tar file" * 100), "a checksum that is no number"),
    "nothing but zeros": (packed(END), "it has no files"),
    "ends within a header": (cut(stream((OWN, file("a")), b""), 600), "ends within a header"),
    "ends within a file": (cut(stream((OWN, file("a")), b""), 100), "ends within 'package/a'"),
    "ends within pax": (cut(stream((OWN, pax(record("a", "b"))), b""), 9), "within an extended"),
    "ends behind pax": (of(pax(record("path", "x"))), "ends behind an extended header"),
    "a lone block of zeros": (of(bytes(512), file("a")), "data behind the zeros"),
    "a second archive": (of(END, file("a")), "data behind the zeros"),
    "data behind the end": (of(end=END + b"x"), "data behind the zeros"),
    # Headers.
    "a wrong checksum": (of(header("package/a", 0, checksum=b"000001\0 ")), "wrong checksum"),
    "a signed checksum": (
        of(
            header(
                b"package/\xff", 0, checksum=b"%06o\0 " % (sum(header(b"package/\xff", 0)) - 256)
            )
        ),
        "wrong checksum",
    ),
    "no checksum": (of(header("package/a", 0, checksum=bytes(8))), "wrong checksum"),
    "junk for a checksum": (of(header("package/a", 0, checksum=b"junk\0\0\0\0")), "is no number"),
    "junk for a size": (of(header("package/a", b"12x\0".ljust(12))), "a size that is no number"),
    "two sizes in one": (
        of(header("package/a", b"1 2".ljust(12, b"\0"))),
        "size that is no number",
    ),
    "a negative size": (of(header("package/a", b"\xff" * 12)), "a size that is no number"),
    "a huge size": (of(header("package/a", b"\x80" + b"\x7f" * 11)), "ends within 'package/a'"),
    "junk for a mode": (of(file("a", mode=b"rwxr-xr-")), "a mode that is no number"),
    "a number of no form": (of(file("a", uid=b"\x81" + bytes(7))), "number of no known form"),
    "a number past all": (of(file("a", uid=b"\x80" + b"\xff" * 7)), "number of no known form"),
    "no path": (of(part("", b"x")), "has no path"),
    "a path of two lines": (of(part(b"package/a\0b\nc")), "is followed by a second line"),
    "a prefix in no format": (of(part("a", prefix=b"package", magic=bytes(8))), "has a prefix"),
    # Types.
    "a character device": (of(file("a", b"", kind=b"3")), "'package/a' is a device"),
    "a block device": (of(file("a", b"", kind=b"4")), "'package/a' is a device"),
    "a named pipe": (of(file("a", b"", kind=b"6")), "'package/a' is a named pipe"),
    "a sparse file": (of(file("a", kind=b"S")), "'package/a' is a sparse file"),
    "a dump's directory": (of(file("a", kind=b"D")), "is a directory's listing"),
    "a volume's label": (of(file("a", kind=b"V")), "is a volume's label"),
    "a part of a file": (of(file("a", kind=b"M")), "is the rest of a file"),
    "an old long path": (of(file("a", kind=b"N")), "is a long path"),
    "an unknown type": (of(file("a", kind=b"Z")), "is of the unknown type 'Z'"),
    "a type that is no letter": (of(file("a", kind=b"\xff")), "is of the unknown type"),
    "a link with content": (of(file("a", kind=b"2", target=b"b")), "is a link with content"),
    "a hard link with content": (
        of(file("a", kind=b"1", target=b"b")),
        "is a hard link with content",
    ),
    "a link to nowhere": (of(file("a", b"", kind=b"2")), "is a link to nowhere"),
    "a file with a target": (of(file("a", target=b"b")), "has a link's target and is no link"),
    "a directory with content": (of(file("a/", kind=b"5")), "is a directory with content"),
    "a file that is a directory": (of(file("a/")), "is a directory with content"),
    # Extended headers.
    "pax without a length": (of(pax(b"path=package/x\n"), file("a")), "cannot be read"),
    "pax with a wrong length": (of(pax(b"99 path=package/x\n"), file("a")), "cannot be read"),
    "pax that is cut": (of(pax(record("path", "package/x")[:-1]), file("a")), "cannot be read"),
    "pax with an empty path": (of(pax(record("path", "")), file("a")), "has no one path"),
    "pax with NUL": (of(pax(record("path", "package/a\0b")), file("a")), "has no one path"),
    "pax that is not UTF-8": (of(pax(record("path", b"p/\xe9")), file("a")), "has no one path"),
    "pax with two paths": (
        of(pax(record("path", "package/x"), record("path", "package/y")), file("a")),
        "has no one path",
    ),
    "pax within pax": (
        of(pax(record("comment", b"\n" + record("path", "package/evil"))), file("a")),
        "has two readings",
    ),
    "a path with a line's end": (
        of(pax(record("path", "package/a\nb")), file("a")),
        "two readings",
    ),
    "pax for all": (of(pax(record("path", "package/x"), kind=b"g"), file("a")), "for all files"),
    "a size for all": (of(pax(record("size", "0"), kind=b"g"), file("a")), "for all files"),
    "two sizes": (of(pax(record("size", "0")), file("a")), "'package/a' has two sizes"),
    "a size of many digits": (of(pax(record("size", "9" * 5000)), file("a")), "is no number"),
    "a size that is none": (of(pax(record("size", "1e3")), file("a")), "is no number"),
    "a sparse file in pax": (of(pax(record("GNU.sparse.major", "1")), file("a")), "a sparse file"),
    "a target in pax": (of(pax(record("linkpath", "/etc")), file("a")), "a link's target"),
    "two extended headers": (
        of(pax(record("path", "package/x")), pax(record("path", "package/y")), file("a")),
        "is said of an entry twice",
    ),
    "pax and GNU": (
        of(part("L", b"package/y\0", kind=b"L"), pax(record("path", "package/x")), file("a")),
        "is said of an entry twice",
    ),
    "a long path without an end": (
        of(header("L", 9, kind=b"L") + padded(b"package/a/../../b"), file("a")),
        "'package/a' goes on in what pads it",
    ),
    "too long pax": (of(pax(record("comment", b"x" * 2**20)), file("a")), "is too long"),
    "a long path with a target": (of(part("L", b"x", kind=b"L", target=b"y"), file("a")), "is odd"),
    # Paths.
    "climbs out": (of(file("../a")), "'package/../a' climbs out with '..'"),
    "climbs out at the end": (of(file("a/..")), "climbs out with '..'"),
    "climbs out first": (of(part("../a")), "climbs out with '..'"),
    "climbs out by backslashes": (of(file("a\\..\\..\\b")), "climbs out with '..'"),
    "a directory that climbs out": (of(part("package/../x/", b"", kind=b"5")), "climbs out"),
    "a link that climbs out": (of(part("../x", b"", kind=b"2", target=b"y")), "climbs out"),
    "absolute": (of(part("/etc/passwd")), "'/etc/passwd' is absolute"),
    "a drive": (of(file("C:/x")), "names a drive or the root of one"),
    "a drive's directory": (of(file("c:x")), "names a drive or the root of one"),
    "a root of Windows": (of(file("\\x")), "names a drive or the root of one"),
    "a device of Windows": (of(part("package///?/C:/x")), "names a drive or the root of one"),
    "a long name": (of(pax(record("path", "package/" + "n" * 256)), file("a")), "more than 255"),
    "a long path": (of(pax(record("path", LONG)), file("a")), "more than 2048 bytes"),
    "a file, and a directory": (of(file("a"), file("a/b")), "'a' is a file, and a directory"),
    "a directory, and a file": (of(file("a/b/c"), file("a")), "'a' is a file, and a directory"),
    # Who it is.
    "no package.json": (packed(stream((file("a"),))), "it has no package.json"),
    "package.json at the top": (
        packed(stream((part("package.json", manifest()), file("a")))),
        "it has no package.json",
    ),
    "no JSON": (packed(stream((file("package.json", b"{"),))), "it is no JSON"),
    "deep JSON": (packed(stream((file("package.json", b"[" * 10**6),))), "it is no JSON"),
    "NaN": (packed(stream((file("package.json", b'{"a":NaN}'),))), "it is no JSON"),
    "a hidden name": (packed(stream((file("package.json", manifest("..")),))), "has no name"),
    "a list": (packed(stream((file("package.json", b"[]"),))), "it is no object"),
    "no name": (packed(stream((file("package.json", b'{"version":"1.0.0"}'),))), "has no name"),
    "a name that climbs": (
        packed(stream((file("package.json", manifest("../x")),))),
        "has no name",
    ),
    "no version": (packed(stream((file("package.json", b'{"name":"x"}'),))), "has no version"),
    "a version that is none": (
        packed(stream((file("package.json", manifest(version="latest")),))),
        "has no version",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tarball_is_refused(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    path = tmp_path / "demo-1.0.0.tgz"
    path.write_bytes(data)
    with pytest.raises(PackageRefused) as caught:
        open_tarball(path)
    assert words in str(caught.value)
    assert "demo-1.0.0.tgz" in caught.value.what
    assert caught.value.what.isprintable()
    assert caught.value.remedy


def test_all_faults_of_the_paths_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tgz", file("../a"), part("/b"), file("c"), file("c/d"))
    with pytest.raises(PackageRefused) as caught:
        open_tarball(path)
    assert len(caught.value.faults) == 3


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackageRefused, match="no regular file"):
        open_tarball(tmp_path / "pipe")
    with pytest.raises(PkgviewError, match="No such file"):
        open_tarball(tmp_path / "missing.tgz")


def test_there_are_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tgz", *(file(str(number)) for number in range(20)))
    monkeypatch.setattr(files, "ENTRY_LIMIT", 20)
    with pytest.raises(PackageRefused, match="more than 20 entries"):
        open_tarball(path)
    monkeypatch.setattr(packagejson, "SIZE_LIMIT", 10)
    monkeypatch.setattr(files, "ENTRY_LIMIT", 21)
    with pytest.raises(PackageRefused, match="more than 10 bytes"):
        open_tarball(path)
    deep = write(tmp_path / "b.tgz", *(file(f"{one}/b/c/d/e/f") for one in range(5)))
    with pytest.raises(PackageRefused, match="more than 21 directories"):
        open_tarball(deep)
    monkeypatch.setattr(npm_unpacked, "SIZE_LIMIT", 2**10)
    with pytest.raises(PackageRefused, match="more than 1024 bytes unpacked"):
        open_tarball(path)


# -- integrity -------------------------------------------------------------------------------------


def said(algorithm: str, data: bytes) -> str:
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


@pytest.mark.parametrize("algorithm", ["sha512", "sha384", "sha256", "sha1"])
def test_the_file_has_the_hash_that_the_lock_says(algorithm: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tgz", file("a"))
    right, wrong = said(algorithm, path.read_bytes()), said(algorithm, b"")
    for good in (right, f" {right}?opt {wrong}\n", f"{wrong} {right}", f"junk {right} md5-AAAA"):
        assert "a" in contents(path, integrity=good)
    with pytest.raises(PackageRefused, match=f"its {algorithm} is .*, the lock says"):
        open_tarball(path, integrity=wrong)
    # Damage is not said of what is another file.
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PackageRefused, match=f"its {algorithm} is"):
        open_tarball(path, integrity=right)


def test_only_the_strongest_hash_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tgz")
    data = path.read_bytes()
    with pytest.raises(PackageRefused, match="its sha512 is"):
        open_tarball(path, integrity=f"{said('sha1', data)} {said('sha512', b'')}")
    assert contents(path, integrity=f"{said('sha1', b'')} {said('sha512', data)}")
    for nothing in ("", "sha512-", "sha512-AAAA", "md5-1B2M2Y8AsgTpgAmY7PhCfg==", "sha512-ü"):
        with pytest.raises(PackageRefused, match="has no hash of sha512"):
            open_tarball(path, integrity=nothing)


def test_an_integrity_as_others_write_it() -> None:
    one = Integrity.parse(said("sha1", b"x"))
    assert (one.algorithm, one.hexadecimal) == ("sha1", (hashlib.sha1(b"x").hexdigest(),))  # noqa: S324


# -- odd ones, and what npm makes of them ----------------------------------------------------------

DEEP = "d/" * 30 + "f" * 60
GNU = b"ustar  \0"
LINE = b"#!/usr/bin/env node\r\n"

ODD: dict[str, tuple[tuple[Part | bytes, ...], dict[str, Any]]] = {
    "modes": (
        (file("a", mode=0o755), file("c", mode=0o600), file("e", mode=0), file("g", mode=0o666)),
        {},
    ),
    "no mode": ((file("a", mode=bytes(8)),), {}),
    "a mode with spaces": ((file("a", mode=b"   755 \0"),), {}),
    "empty directories": ((part("package/d/", kind=b"5"), file("x/y"), file("e/", b"")), {}),
    "other tops": ((part("other/a", b"1"), part("third/b", b"2")), {}),
    "beside": ((part("beside", b"1"), part("package/.", b"2")), {}),
    "dots": ((file("./a"), file("b/./c"), file("d//e"), part("package//f")), {}),
    "twice": ((file("a", b"1", mode=0o755), file("a", b"2")), {}),
    "twice, executable": ((file("a", b"1"), file("a", b"2", mode=0o755)), {}),
    "case": ((file("A", b"1"), file("a", b"2")), {}),
    "gitignore": ((file(".gitignore", b"1"), file("s/.gitignore", b"2"), file("xignore")), {}),
    "npmignore, gitignore": ((file(".npmignore", b"n"), file(".gitignore", b"g")), {}),
    "gitignore, npmignore": ((file(".gitignore", b"g"), file(".npmignore", b"n")), {}),
    "links": (
        (
            file("a"),
            file("b", b"", kind=b"2", target=b"a"),
            file("c", b"", kind=b"1", target=b"package/a"),
            part("K", b"/etc/passwd\0", kind=b"K", magic=GNU),
            file("d", b"", kind=b"2", target=b"/etc", magic=GNU),
        ),
        {},
    ),
    "not UTF-8": ((part(b"package/caf\xe9"), part(b"package/\xed\xa0\x80\xf5z")), {}),
    "composed and not": ((part("package/cafe\u0301", b"1"), part("package/caf\u00e9", b"2")), {}),
    "control characters": ((part(b"package/Icon\r", b"1"), part(b"package/a\nb", b"2")), {}),
    "backslash": ((file("lib\\x.js", b"1"), file("d/C:x")), {}),
    "v7": ((file("a", magic=bytes(8), kind=b"\0", mode=0o755), file("d/", b"", kind=b"\0")), {}),
    "GNU": ((file("a", magic=GNU), file("b", prefix=b"1" * 20, magic=GNU)), {}),
    "a long path of GNU's": (
        (part("L", f"package/{DEEP}\0".encode(), kind=b"L", magic=GNU), file("a", magic=GNU)),
        {},
    ),
    "prefix": ((part("f" * 90, prefix=b"package/" + b"e" * 100),), {}),
    "whole prefix": ((part("f" * 100, prefix=b"package/" + b"e" * 147),), {}),
    "pax": ((pax(record("path", f"package/{DEEP}"), record("mtime", "1.5")), file("a")), {}),
    "old pax": ((pax(record("path", f"package/{DEEP}"), kind=b"X"), file("a")), {}),
    "pax for all": ((pax(record("comment", "abc"), kind=b"g"), file("a")), {}),
    "pax of no text": ((pax(record("SCHILY.xattr.a", b"\0\xff\n\1")), file("a")), {}),
    "pax mode": ((pax(record("mode", "493")), file("a")), {}),
    "pax size": ((pax(record("size", "1")), file("a")), {}),
    "contiguous": ((file("a", kind=b"7", mode=0o755),), {}),
    "binary numbers": (
        (file("a", uid=b"\x80\0\0\0\0\xff\xff\xff"), file("b", uid=b"\xff" * 8)),
        {},
    ),
    "junk for an owner": ((file("a", uid=b"nobody\0\0"),), {}),
    "commands": ((file("c.js", LINE + b"1\r\n"), file("o.js", LINE)), {"bin": {"x": "./c.js"}}),
    "a command": ((file("c.js", LINE),), {"bin": "c.js"}),
    "commands in a list": ((file("a.js"), file("b.js")), {"bin": ["a.js", "./b.js"]}),
    "commands above": ((file("a.js"), file("b.js")), {"bin": {"../q": "../../a.js", "": "b.js"}}),
    "commands that are none": (
        (file("d/a"), file("b", b"#!" + b"x" * 3000 + b"\r\n")),
        {"bin": {"x": "d", "y": "none", "z": 3, "b": "b"}},
    ),
    "a directory of commands": (
        (file("t/a"), file("t/.b"), file("t/s/c"), file("t/.d/e"), file("tx")),
        {"directories": {"bin": "./t"}},
    ),
    "commands of a bundled package": (
        (
            file("node_modules/dep/package.json", manifest("dep", bin={"dep": "d.js"})),
            file("node_modules/dep/d.js", LINE),
            file("node_modules/@s/t/package.json", manifest("@s/t", bin="e.js")),
            file("node_modules/@s/t/e.js"),
            file("node_modules/none/package.json", b"{"),
        ),
        {"bundleDependencies": ["dep", "@s/t"], "dependencies": {"dep": "1.0.0", "@s/t": "1"}},
    ),
    "commands of an unbundled package": (
        (
            file("node_modules/dep/package.json", manifest("dep", bin={"dep": "d.js"})),
            file("node_modules/dep/d.js", LINE),
        ),
        {},
    ),
    "a byte order mark": (
        (file("package.json", b"\xef\xbb\xbf" + manifest("odd"), mode=0o755),),
        {},
    ),
}

ENDS: dict[str, Callable[[bytes], bytes]] = {
    "no end": packed,
    "half an end": lambda data: packed(data + bytes(512)),
    "less than a block": lambda data: packed(data + bytes(100)),
    "much of an end": lambda data: packed(data + bytes(2**21)),
    "not packed": lambda data: data + END,
    "zeros behind gzip": lambda data: packed(data + END) + bytes(700),
    "several members": lambda data: b"".join(
        packed((data + END)[at : at + 300]) for at in range(0, len(data + END), 300)
    ),
    "no compression": lambda data: gzip.compress(data + END, 0),
    "a name in gzip": lambda data: _with_name(data + END),
}


def _with_name(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(data) + deflate.flush()
    sums = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"package.tar\0" + body + sums


@pytest.fixture(scope="module")
def by_npm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """All odd tarballs, and the directory in which npm has installed them."""
    if not shutil.which("npm"):
        if os.environ.get("CI") == "true":
            pytest.fail("there is no npm")
        pytest.skip("there is no npm")
    directory = tmp_path_factory.mktemp("odd")
    named: dict[str, Path] = {}
    for number, (parts, more) in enumerate(ODD.values()):
        # The name says which it is; a part may bring a package.json of its own.
        own = [one for one in parts if isinstance(one, Part) and one.path == "package/package.json"]
        name = "odd" if own else f"odd-{number}"
        named[name] = write(directory / f"{name}.tgz", *parts, name=name, **more)
    for number, make in enumerate(ENDS.values()):
        own_manifest = part("package/package.json", manifest(f"end-{number}"))
        path = named[f"end-{number}"] = directory / f"end-{number}.tgz"
        path.write_bytes(make(stream((own_manifest, file("a", b"y" * 700)), b"")))
    project = directory / "project"
    project.mkdir()
    (project / "package.json").write_text('{"name": "project", "version": "1.0.0"}')
    options = ["--offline", "--ignore-scripts", "--no-audit", "--no-fund", f"--cache={directory}/c"]
    run = subprocess.run(
        ["npm", "install", *options, *map(str, named.values())],
        cwd=project,
        env=os.environ | {"HOME": str(directory), "npm_config_userconfig": os.devnull},
        check=False,
        capture_output=True,
        text=True,
        umask=0o022,
    )
    assert run.returncode == 0, run.stderr
    return directory, project / "node_modules"


def installed(top: Path) -> Found:
    """Every file below, with links and `.bin` left out."""
    return {
        str(path.relative_to(top)): (bool(mode & 0o111), path.read_bytes())
        for path in top.rglob("*")
        if ".bin" not in path.parts and stat.S_ISREG(mode := path.lstat().st_mode)
    }


@pytest.mark.parametrize("case", [*ODD, *ENDS])
def test_an_odd_tarball_is_what_npm_makes_of_it(case: str, by_npm: tuple[Path, Path]) -> None:
    directory, node_modules = by_npm
    if case in ENDS:
        name = f"end-{[*ENDS].index(case)}"
    else:
        name = "odd" if case == "a byte order mark" else f"odd-{[*ODD].index(case)}"
    theirs = installed(node_modules / name)
    assert contents(directory / f"{name}.tgz") == theirs
    for path in (node_modules / name).rglob("*"):
        if ".bin" not in path.parts:
            assert stat.S_IMODE(path.stat().st_mode) in {0o644, 0o755}


def test_where_a_view_differs_from_npm(tmp_path: Path) -> None:
    """What docs/npm-packages.md lists: of bits for owners and groups only one is kept."""
    modes = {"a": 0o744, "b": 0o4755, "c": 0o654, "d": 0o611, "e": 0o4644}
    path = write(tmp_path / "a.tgz", *(file(name, mode=mode) for name, mode in modes.items()))
    assert {name: found[0] for name, found in contents(path).items() if name in modes} == {
        "a": True,
        "b": True,
        "c": True,
        "d": True,
        "e": False,
    }


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    link = file("b", b"", kind=b"2", target=b"a")
    path = write(tmp_path / "a.tgz", part("beside"), link, file("c"), version="v1.0.0")
    with open_tarball(path) as tarball:
        assert [clause.partition(",")[0] for clause in tarball.odd] == [
            "its links are left out",
            "files in no directory are left out",
        ]
        assert tarball.package.version == tarball.meta.version == "1.0.0"
    with open_tarball(path, name="@other/name", version="2.0.0") as tarball:
        assert tarball.odd[-1] == "its package.json says it is demo 1.0.0"
        assert (tarball.meta.name, tarball.meta.version) == ("@other/name", "2.0.0")
        assert tarball.meta.stem == "other+name-2.0.0"
    path.write_bytes(packed(stream((file("a"),))))
    with open_tarball(path, name="x", version="1") as tarball:
        assert tarball.odd == ("it has no package.json",)


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        ("lodash", "4.17.21", "lodash-4.17.21"),
        ("@types/node", "20.1.0-a.1+b", "types+node-20.1.0-a.1+b"),
        ("_x~y(z)", "1.0.0", "x_x_y_z_-1.0.0"),
    ],
)
def test_the_human_part_of_an_archives_name(name: str, version: str, found: str) -> None:
    assert stem(name, version) == found


# -- as an archive ---------------------------------------------------------------------------------


def test_it_becomes_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small, what is large, and what does not fit in memory; always the same bytes."""
    large = os.urandom(1000) * 3000
    path = write(tmp_path / "a.tgz", file("large", large), file("d/s", b"small", mode=0o755))
    names = set()
    for limit in (unpacked.MEMORY_LIMIT, 2**20, 0):
        monkeypatch.setattr(unpacked, "MEMORY_LIMIT", limit)
        out = tmp_path / f"{limit}.tar.zst"
        with open_tarball(path, origin="sha256:0") as tarball, out.open("wb") as file_:
            assert tarball.read("d/s") == b"small"
            assert tarball.read("none") is None
            names.add(pack(tarball.members(), tarball.meta, file_))
            tarball.close()
        archive = Archive.open(out, FrameCache(2**20), name=max(names))
        found = dict(archive.walk())
        wanted = [b"", b"/d", b"/large", b"/package.json", b"/d/s"]
        assert list(found) == [b"package" + path for path in wanted]
        assert archive.entry(found[b"package/d/s"]).executable
        assert archive.read(found[b"package/large"], 0, len(large)) == large
    assert len(names) == 1


def test_what_python_and_tar_write_is_read(tmp_path: Path) -> None:
    """Whole trees, in each of the formats, with paths longer than a header has room for."""
    tree = tmp_path / "package"
    wanted: Found = {"package.json": (False, manifest())}
    for number in range(30):
        path = "/".join(["é" * number] * (number // 4) + [f"{number}"]).lstrip("/")
        wanted[path] = (number % 3 == 0, bytes([number]) * number * 100)
    for path, (executable, content) in wanted.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
        (tree / path).chmod(0o755 if executable else 0o644)
    for format_ in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tgz", "w:gz", format=format_) as theirs:
            theirs.add(tree, "package")
        assert contents(tmp_path / "a.tgz") == wanted
    for format_name in ("gnu", "oldgnu", "pax", "posix"):
        options = ["--format", format_name, "-C", str(tmp_path), "-czf", str(tmp_path / "b.tgz")]
        subprocess.run(["tar", *options, "./package/../package"], check=False, capture_output=True)
        subprocess.run(["tar", *options, "package"], check=True)
        assert contents(tmp_path / "b.tgz") == wanted


def test_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tgz", file("large", os.urandom(3000)))
    monkeypatch.setattr(unpacked, "MEMORY_LIMIT", 0)
    full = partial(open, "/dev/full", "wb")
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(PkgviewError, match=r"cannot be unpacked in .*: No space left"):
        open_tarball(path)


def test_padding_is_not_looked_at(tmp_path: Path) -> None:
    content = header("package/a", 3) + b"abc" + b"\xff" * 509
    path = write(tmp_path / "a.tgz", content, padded(b""))
    assert contents(path)["a"] == (False, b"abc")
