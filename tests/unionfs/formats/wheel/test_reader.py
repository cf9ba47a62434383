# ruff: noqa: ANN401 - **fields, as dataclasses.replace has them
from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from tests.unionfs.conftest import sha256_of
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import Kind
from unionfs.archive.pack import pack
from unionfs.archive.reader import Archive
from unionfs.formats.wheel.checked import WheelRefused
from unionfs.formats.wheel.reader import open_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unionfs.conftest import WheelMaker

    Build = Callable[[WheelMaker], Path]

CODE = "demo/__init__.py"


def contents(path: Path, **asked: Any) -> dict[str, tuple[bytes, bool]]:
    """Every file of the archive that the wheel becomes: its bytes, and whether it is executable."""
    with open_wheel(path, **asked) as wheel:
        found: dict[str, tuple[bytes, bool]] = {}
        for member in wheel.members():
            if member.open is None:
                found[member.path.decode() + "/"] = (b"", False)
                continue
            with member.open() as stream:
                data = stream.read()
            assert len(data) == member.size
            found[member.path.decode()] = (data, member.executable)
        return found


# -- hostile wheels --------------------------------------------------------------------------------


def made(**changes: Any) -> Build:
    """The wheel with other fields than it ought to have."""

    def build(maker: WheelMaker) -> Path:
        return dataclasses.replace(maker, **changes).write()

    return build


def added(files: dict[str, bytes], **changes: Any) -> Build:
    def build(maker: WheelMaker) -> Path:
        return dataclasses.replace(maker, files={**maker.files, **files}, **changes).write()

    return build


def entry_points(text: str) -> Build:
    return added({"demo-1.0.dist-info/entry_points.txt": text.encode()})


def row(hash_: str | None = None, size: str | None = None) -> Build:
    """Another line in RECORD for the code than is right."""

    def build(maker: WheelMaker) -> Path:
        content = maker.files[CODE]
        right = next(r for r in record_rows(maker) if r[0] == CODE)
        maker.replaced_rows[CODE] = (
            CODE,
            right[1] if hash_ is None else hash_,
            str(len(content)) if size is None else size,
        )
        return maker.write()

    return build


def record_rows(maker: WheelMaker) -> list[list[str]]:
    return list(csv.reader(io.StringIO(maker.parts()[-1].content.decode())))


def without(name: str) -> Build:
    def build(maker: WheelMaker) -> Path:
        kept = [part for part in maker.parts() if part.name.decode() != f"{maker.info}/{name}"]
        return maker.write(maker.zip_bytes(kept))

    return build


def utf16_record(maker: WheelMaker) -> Path:
    maker.record = "x".encode("utf-16")
    return maker.write()


HOSTILE: dict[str, tuple[Build, str]] = {
    # What the file name, METADATA, WHEEL and .dist-info say.
    "no wheel's file name": (made(filename="demo.whl"), "its file name is no wheel's"),
    "control character in file name": (made(filename="de\nmo-1-py3-none-any.whl"), "characters"),
    "file name of another": (made(filename="other-1.0-py3-none-any.whl"), "another distribution"),
    "file name of another version": (made(filename="demo-2.0-py3-none-any.whl"), "another version"),
    "METADATA of another": (made(metadata="Name: evil\nVersion: 1.0\n"), "METADATA says it is"),
    "METADATA of another version": (made(metadata="Name: demo\nVersion: 2\n"), "says its version"),
    "METADATA with two names": (
        made(metadata="Name: demo\nName: evil\nVersion: 1.0\n"),
        "2 names and 1 versions",
    ),
    "no METADATA": (without("METADATA"), "has no demo-1.0.dist-info/METADATA"),
    "no WHEEL": (without("WHEEL"), "has no demo-1.0.dist-info/WHEEL"),
    "no RECORD": (without("RECORD"), "has no demo-1.0.dist-info/RECORD"),
    "a later format": (
        made(wheel="Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"),
        "its Wheel-Version is 2.0",
    ),
    "no format": (made(wheel="Root-Is-Purelib: true\n"), "no Wheel-Version"),
    "two formats": (
        made(wheel="Wheel-Version: 1.0\nWheel-Version: 2.0\nRoot-Is-Purelib: true\n"),
        "no Wheel-Version",
    ),
    "pure and not": (
        made(wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: true\nRoot-Is-Purelib: false\n"),
        "more than one thing",
    ),
    "two dist-infos": (added({"x-1.dist-info/METADATA": b""}), "several .dist-info"),
    "no dist-info": (
        lambda maker: maker.write(maker.zip_bytes(maker.parts()[:1])),
        "no .dist-info",
    ),
    "unknown scheme": (added({"demo-1.0.data/secret/x": b""}), "under no scheme"),
    "file in .data itself": (added({"demo-1.0.data/x": b""}), "under no scheme"),
    "scheme as a file": (added({"demo-1.0.data/scripts": b""}), "where a directory has to be"),
    "no members": (lambda maker: maker.write(maker.zip_bytes([])), "no .dist-info"),
    # RECORD.
    "unlisted member": (made(unlisted={CODE}), "is not in RECORD"),
    "unlisted, named like a signature": (
        made(files={CODE: b"", "RECORD.jws": b""}, unlisted={"RECORD.jws"}),
        "'RECORD.jws' is not in RECORD",
    ),
    "wrong hash": (row(hash_="sha256=AAAA"), "has another sha256 than RECORD says"),
    "wrong size": (row(size="7"), "RECORD says that it has 7"),
    "no hash": (row(hash_=""), "has no hash"),
    "md5": (row(hash_="md5=1B2M2Y8AsgTpgAmY7PhCfg"), "weak hash md5"),
    "sha1": (row(hash_="sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk"), "weak hash sha1"),
    "unknown hash": (row(hash_="rot13=abc"), "invalid hash algorithm"),
    "hash without value": (row(hash_="sha256"), "required format"),
    "hash that is none": (row(hash_="sha256="), "is no hash"),
    "hash of other letters": (row(hash_="sha256=+/\5A"), "is no hash"),
    "size that is none": (row(size="1_0"), "is no size"),
    "negative size": (row(size="-6"), "is no size"),
    "two lines": (
        made(rows=[(CODE, "sha256=" + "A" * 43, "6")]),
        "two different lines",
    ),
    "line of two fields": (made(record=b"a,b\n"), "RECORD cannot be read"),
    "endless field": (made(record=b'"' + b"a" * 200_000 + b'",,\n'), "RECORD cannot be read"),
    "RECORD in UTF-16": (utf16_record, "is not UTF-8"),
    # Places.
    "two schemes, one place": (
        added({"demo-1.0.data/purelib/demo/__init__.py": b"y"}),
        r"installed, 'lib/\*/site-packages/demo/__init__.py' is there twice",
    ),
    "data over a script": (
        added({"demo-1.0.data/data/bin/x": b"", "demo-1.0.data/scripts/x": b""}),
        "installed, 'bin/x' is there twice",
    ),
    # Entry points and scripts.
    "code in a target": (
        entry_points("[console_scripts]\nx = os:system('id') or main\n"),
        "no module:attribute",
    ),
    "newline in a target": (
        entry_points("[console_scripts]\nx = os\n  import evil:main\n"),
        "no module:attribute",
    ),
    "target of no names": (entry_points("[console_scripts]\nx = 1os:main\n"), "no module:attr"),
    "target without attribute": (entry_points("[console_scripts]\nx = os\n"), "no module:attr"),
    "script that climbs": (entry_points("[console_scripts]\n../x = a:b\n"), "no plain file name"),
    "script with NUL": (entry_points("[gui_scripts]\na\0b = a:b\n"), "no plain file name"),
    "script named ..": (entry_points("[gui_scripts]\n.. = a:b\n"), "no plain file name"),
    "script python": (
        entry_points("[console_scripts]\npython3 = a:b\n"),
        "is that of an interpreter",
    ),
    "one script, two targets": (
        entry_points("[console_scripts]\nx = a:b\n[gui_scripts]\nx = a:c\n"),
        "two different targets",
    ),
    "entry points of no format": (entry_points("nonsense"), "cannot be read"),
    "script file python": (added({"demo-1.0.data/scripts/python": b""}), "that of an interpreter"),
    "script in a directory": (added({"demo-1.0.data/scripts/a/b": b""}), "a directory of its own"),
    "data over python": (added({"demo-1.0.data/data/bin/python3.11": b""}), "would replace"),
    "data over lib": (added({"demo-1.0.data/data/lib64": b""}), "which is a file"),
    "data in lib and lib64": (
        added({"demo-1.0.data/data/lib64/x": b"", "demo-1.0.data/data/lib/x": b"1"}),
        "installed, 'lib/x' is there twice",
    ),
    "huge script": (
        added({"demo-1.0.data/scripts/x": b"#!python\n" + os.urandom(5 * 2**20)}, method=0),
        "at most 4194304 are read",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_wheels_are_refused_with_the_reason(wheel_maker: WheelMaker, name: str) -> None:
    build, reason = HOSTILE[name]
    path = build(wheel_maker)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(WheelRefused, match=reason) as refused:
        contents(path)
    assert path.name.replace("\n", "\\n") in refused.value.what
    assert refused.value.what.isprintable()
    assert refused.value.faults
    assert os.listdir("/proc/self/fd") == before


def test_all_faults_are_collected(wheel_maker: WheelMaker) -> None:
    wheel_maker.unlisted = {CODE}
    wheel_maker.files["demo/other.py"] = b""
    wheel_maker.replaced_rows["demo/other.py"] = ("demo/other.py", "", "")
    with pytest.raises(WheelRefused) as refused:
        open_wheel(wheel_maker.write())
    assert len(refused.value.faults) == 2


def test_many_faults_are_not_all_shown(wheel_maker: WheelMaker) -> None:
    wheel_maker.files = {f"demo/{n}.py": b"" for n in range(99)}
    wheel_maker.unlisted = set(wheel_maker.files)
    with pytest.raises(WheelRefused, match="and 94 more") as refused:
        open_wheel(wheel_maker.write())
    assert len(refused.value.faults) == 99


@pytest.mark.parametrize(("name", "version"), [("other", None), (None, "2"), ("demo", "1.0.1")])
def test_what_was_not_asked_for_is_refused(
    wheel_maker: WheelMaker, name: str | None, version: str | None
) -> None:
    with pytest.raises(WheelRefused, match="asked for"):
        open_wheel(wheel_maker.write(), name=name, version=version)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PkgviewError, match="No such file"):
        open_wheel(tmp_path / "demo-1.0-py3-none-any.whl")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    os.mkfifo(path)
    with pytest.raises(WheelRefused, match="no regular file"):
        open_wheel(path)


def test_content_that_changes_after_opening_is_refused(wheel_maker: WheelMaker) -> None:
    """RECORD was right when the wheel was opened; the stream looks again."""
    wheel_maker.method = 0
    path = wheel_maker.write()
    with open_wheel(path) as wheel:
        data = path.read_bytes()
        evil = b"x = 2\n"
        path.write_bytes(data.replace(b"x = 1\n", evil))
        member = next(m for m in wheel.members() if m.path.endswith(b"demo/__init__.py"))
        assert member.open is not None
        with member.open() as stream, pytest.raises(WheelRefused, match="CRC-32"):
            stream.read(6)


def test_a_stream_hands_out_no_last_byte_of_a_wrong_content(wheel_maker: WheelMaker) -> None:
    wheel_maker.files[CODE] = bytes(range(256)) * 1000
    path = row(hash_="sha256=AAAA")(wheel_maker)
    with open_wheel(path) as wheel:
        member = next(m for m in wheel.members() if m.path.endswith(b"demo/__init__.py"))
        assert member.open is not None
        got = bytearray()

        def copy(stream: BinaryIO) -> None:
            while block := stream.read(1000):
                got.extend(block)

        with member.open() as stream, pytest.raises(WheelRefused, match="sha256"):
            copy(stream)
        assert len(got) < member.size


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_flipped_bytes_never_give_other_contents(
    wheel_maker: WheelMaker, data: st.DataObject
) -> None:
    """Whatever one changes, a wheel is refused, or becomes exactly what it was."""
    wheel_maker.files["demo-1.0.data/scripts/run"] = b"#!python\nprint(1)\n"
    wheel_maker.files["demo-1.0.dist-info/entry_points.txt"] = b"[console_scripts]\nx = a:b\n"
    right = bytearray(wheel_maker.zip_bytes(wheel_maker.parts()))
    path = wheel_maker.write(bytes(right))
    expected = contents(path)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(right) - 1))
        right[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(right)
    try:
        found = contents(path)
    except WheelRefused:
        return
    # The host and mode bits are in no checksum: only executability may differ.
    assert {name: item[0] for name, item in found.items()} == {
        name: item[0] for name, item in expected.items()
    }


# -- right wheels ----------------------------------------------------------------------------------


RIGHT: dict[str, Build] = {
    "plain": lambda maker: maker.write(),
    "stored": made(method=0),
    "padded hash": lambda maker: row(hash_=record_rows(maker)[0][1] + "=")(maker),
    "the same line twice": lambda maker: dataclasses.replace(
        maker, rows=[(CODE, record_rows(maker)[0][1], "6")]
    ).write(),
    "no size in RECORD": row(size=""),
    "blank line in RECORD": lambda maker: dataclasses.replace(
        maker, record=maker.parts()[-1].content + b"\n"
    ).write(),
    "backslashes in RECORD": lambda maker: dataclasses.replace(
        maker, record=maker.parts()[-1].content.replace(b"demo/__init__", b"demo\\__init__")
    ).write(),
}


@pytest.mark.parametrize("name", RIGHT)
def test_odd_but_right_wheels_are_accepted(wheel_maker: WheelMaker, name: str) -> None:
    path = RIGHT[name](wheel_maker)
    found = contents(path, name="Demo", version="1.0.0", origin="sha256:00")
    assert found[f"purelib/{CODE}"] == (b"x = 1\n", False)


def listed_as(path: str) -> Build:
    """The code under another name in RECORD."""

    def build(maker: WheelMaker) -> Path:
        _, hash_, size = next(r for r in record_rows(maker) if r[0] == CODE)
        return dataclasses.replace(maker, replaced_rows={CODE: (path, hash_, size)}).write()

    return build


def in_hexadecimal(maker: WheelMaker) -> Path:
    digest = hashlib.sha384(maker.files[CODE]).hexdigest()
    return row(hash_=f"sha384={digest.upper()}")(maker)


GONE = ("demo/gone.py", "sha256=x", "1")
ODD: dict[str, tuple[Build, str]] = {
    "line without member": (made(rows=[GONE]), r"files that are not there \('demo/gone.py'\)"),
    "line that climbs": (made(rows=[("../../evil", "sha256=x", "1")]), r"\('../../evil'\)"),
    "many of them": (made(rows=[(f"{n}", "", "") for n in range(9)]), "'0', '1', '2' and 6 more"),
    "line of a directory": (made(rows=[("demo/", "", "")]), "RECORD lists directories"),
    "from the top": (listed_as(f"/{CODE}"), "begin with '/'"),
    "from here": (listed_as(f"./{CODE}"), "begin with '/'"),
    "hexadecimal hash": (in_hexadecimal, "in hexadecimal"),
    "hash of itself": (made(own_row=("sha256=AAAA", "3")), "for itself"),
    "neither pure nor not": (
        made(wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: perhaps\n"),
        "does not say whether Root-Is-Purelib",
    ),
    "no word of it": (made(wheel="Wheel-Version: 1.0\n"), "does not say whether Root-Is-Purelib"),
    "entry point activate": (
        entry_points("[console_scripts]\nactivate = a:b\n"),
        "'bin/activate' is left out",
    ),
    "script activate.fish": (
        added({"demo-1.0.data/scripts/activate.fish": b""}),
        "'bin/activate.fish' is left out",
    ),
    "data over activate": (
        added({"demo-1.0.data/data/bin/activate": b""}),
        "'bin/activate' is left out",
    ),
    "data over pyvenv.cfg": (
        added({"demo-1.0.data/data/pyvenv.cfg": b""}),
        "'pyvenv.cfg' is left out",
    ),
    "data behind a link": (
        added({"demo-1.0.data/data/site-packages/x": b""}),
        "'site-packages/x' is left out",
    ),
}
"""What has one reading only: taken, and said."""


@pytest.mark.parametrize("name", ODD)
def test_what_has_one_reading_is_taken_and_said(wheel_maker: WheelMaker, name: str) -> None:
    build, said = ODD[name]
    with open_wheel(build(wheel_maker)) as wheel:
        (odd,) = wheel.odd
    assert re.search(said, odd), odd
    found = contents(wheel_maker.directory / wheel_maker.filename)
    (code,) = (path for path in found if path.endswith(CODE))
    assert found[code] == (b"x = 1\n", False)
    (record,) = (content for path, (content, _) in found.items() if path.endswith("/RECORD"))
    lines = {line.rsplit(",", 2)[0] for line in record.decode().splitlines()}
    assert lines == {
        path.partition("/")[2].replace("scripts/", "../../../bin/")
        for path in found
        if not path.endswith("/")
    }


ACCEPTABLE: dict[str, tuple[Build, str]] = {
    "unlisted": (made(unlisted={CODE}), "is not in RECORD"),
    "wrong hash": (row(hash_="sha256=AAAA"), "has another hash than RECORD says"),
    "wrong hash of METADATA": (
        made(
            replaced_rows={
                "demo-1.0.dist-info/METADATA": ("demo-1.0.dist-info/METADATA", "sha512=AAAA", "")
            }
        ),
        "METADATA' has another hash",
    ),
    "wrong size": (row(size="7"), "RECORD says that it has 7"),
    "no hash": (row(hash_=""), "has no hash"),
    "weak hash": (row(hash_="md5=1B2M2Y8AsgTpgAmY7PhCfg"), "weak hash md5"),
    "two lines": (made(rows=[(CODE, "sha256=" + "A" * 43, "6")]), "two different lines"),
    "RECORD of no format": (made(record=b"a,b\n"), "cannot be read"),
    "empty RECORD": (made(record=b""), "is not in RECORD"),
}
"""What a project may accept by name: refused otherwise, with a word of that."""


@pytest.mark.parametrize("name", ACCEPTABLE)
def test_an_accepted_wheel_is_taken_as_its_files_are(wheel_maker: WheelMaker, name: str) -> None:
    build, said = ACCEPTABLE[name]
    path = build(wheel_maker)
    with pytest.raises(WheelRefused) as refused:
        contents(path)
    assert 'accept = ["demo==1.0"]' in (refused.value.remedy or "")
    with open_wheel(path, accepted=True) as wheel:
        (odd,) = wheel.odd
    assert re.search(said, odd), odd
    found = contents(path, accepted=True)
    assert found[f"purelib/{CODE}"] == (b"x = 1\n", False)
    record = found["purelib/demo-1.0.dist-info/RECORD"][0].decode()
    assert f"{CODE},{sha256_of(wheel_maker.files[CODE])},6\n" in record
    assert len(record.splitlines()) == len(found)


@pytest.mark.parametrize(
    "name", ["code in a target", "two schemes, one place", "data over python", "a later format"]
)
def test_nothing_else_can_be_accepted(wheel_maker: WheelMaker, name: str) -> None:
    build, reason = HOSTILE[name]
    path = build(wheel_maker)
    with pytest.raises(WheelRefused, match=reason) as refused:
        contents(path, accepted=True)
    assert "accept" not in (refused.value.remedy or "")


def test_an_accepted_wheel_that_is_right_has_nothing_to_say(wheel_maker: WheelMaker) -> None:
    path = wheel_maker.write()
    with open_wheel(path, accepted=True) as wheel:
        assert not wheel.odd
    assert contents(path, accepted=True) == contents(path)


def test_a_name_with_several_underscores(wheel_maker: WheelMaker) -> None:
    wheel_maker.filename, wheel_maker.stem = "de__mo-1.0-py3-none-any.whl", "de__mo-1.0"
    wheel_maker.metadata = "Metadata-Version: 2.1\nName: de-_mo\nVersion: 1.0\nVersion: 1.0\n"
    wheel_maker.files["de__mo-1.0.data/data/share/x"] = b""
    with open_wheel(wheel_maker.write(), name="de.mo") as wheel:
        assert wheel.meta.name == "de-mo"
        assert b"data/share/x" in {member.path for member in wheel.members()}


def test_data_of_lib64_is_in_lib(wheel_maker: WheelMaker) -> None:
    """A virtual environment has a link of that name."""
    wheel_maker.files["demo-1.0.data/data/lib64/demo/x"] = b"1"
    found = contents(wheel_maker.write())
    assert found["data/lib/demo/x"] == (b"1", False)
    assert b"\n../../../lib/demo/x," in b"\n" + found["purelib/demo-1.0.dist-info/RECORD"][0]


def test_strong_hashes_other_than_sha256(wheel_maker: WheelMaker) -> None:
    digest = hashlib.sha512(wheel_maker.files[CODE]).digest()
    value = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert contents(row(hash_=f"sha512={value}")(wheel_maker))
    with pytest.raises(WheelRefused, match="another sha512"):
        contents(row(hash_=f"sha512={value[::-1]}")(wheel_maker))


def test_meta(wheel_maker: WheelMaker) -> None:
    wheel_maker.filename = "Demo-1.0-1-py2.py3-none-any.whl"
    with open_wheel(wheel_maker.write(), origin="sha256:ab") as wheel:
        assert wheel.meta.kind == "distribution"
        assert (wheel.meta.name, wheel.meta.version) == ("demo", "1.0")
        assert wheel.meta.stem == "Demo-1.0-1-py2.py3-none-any"
        assert wheel.meta.origin == "sha256:ab"


def test_the_announced_file_name_counts(wheel_maker: WheelMaker, tmp_path: Path) -> None:
    path = wheel_maker.write().rename(tmp_path / "download-7")
    with open_wheel(path, filename="demo-1.0-py3-none-any.whl") as wheel:
        assert wheel.meta.name == "demo"


@pytest.fixture
def everything(wheel_maker: WheelMaker) -> WheelMaker:
    """A wheel with a file for every rule."""
    wheel_maker.stem = "Foo_Bar-1.0"
    wheel_maker.filename = "Foo_Bar-1.0-py3-none-any.whl"
    wheel_maker.metadata = "Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\n"
    data = "Foo_Bar-1.0.data"
    wheel_maker.files = {
        "foo/__init__.py": b"x=1\n",
        "foo/a,b.py": b"",
        'foo/z"q.py': b"1",
        "foo/__pycache__/__init__.cpython-311.pyc": b"junk",
        "Zed.py": b"",
        "aaa.py": b"",
        "foo-x.py": b"",
        "foo/exe.sh": b"#!/bin/sh\n",
        "foo/space name.txt": b"x",
        "foo/é.txt": b"u",
        "foo/empty/": b"",
        f"{data}/purelib/pl/a.py": b"a",
        f"{data}/platlib/pt/a.py": b"b",
        f"{data}/headers/h.h": b"h",
        f"{data}/headers/sub/h2.h": b"h",
        f"{data}/scripts/s1": b"#!python\nprint(1)\n",
        f"{data}/scripts/s2": b"#!pythonw -E\nprint(1)\n",
        f"{data}/scripts/s3": b"#!/bin/sh\necho hi\n",
        f"{data}/scripts/s4": b"\x7fELF...",
        f"{data}/scripts/s5": b"#! python\n",
        f"{data}/scripts/s6": b"#!python3\r\nprint(1)\r\n",
        f"{data}/scripts/s7": b"#!python",
        f"{data}/data/share/foo/d.txt": b"d",
        f"{data}/data/bin/plain": b"#!python\nd",
        "Foo_Bar-1.0.dist-info/entry_points.txt": (
            b"[console_scripts]\nfoo = foo:main\nFoo2 = foo.sub:cls.meth [extra]\n"
            b"[gui_scripts]\nguifoo = foo : gui\n[other]\nx = y z\n"
        ),
        "Foo_Bar-1.0.dist-info/RECORD.jws": b"{}",
        "Foo_Bar-1.0.dist-info/licenses/LICENSE": b"l",
    }
    wheel_maker.unlisted = {"Foo_Bar-1.0.dist-info/RECORD.jws"}
    wheel_maker.modes = {"foo/exe.sh": 0o100755, f"{data}/data/share/foo/d.txt": 0o100755}
    return wheel_maker


def test_every_file_goes_to_its_scheme(everything: WheelMaker) -> None:
    found = contents(everything.write())
    assert found["purelib/foo/exe.sh"] == (b"#!/bin/sh\n", True)
    assert found["purelib/foo/é.txt"] == (b"u", False)
    assert found["purelib/foo/empty/"] == (b"", False)
    assert found["purelib/pl/a.py"] == (b"a", False)
    assert found["platlib/pt/a.py"] == (b"b", False)
    assert found["headers/foo-bar/sub/h2.h"] == (b"h", False)
    assert found["data/share/foo/d.txt"] == (b"d", True)
    assert found["data/bin/plain"] == (b"#!python\nd", False)
    assert found["scripts/s3"] == (b"#!/bin/sh\necho hi\n", True)
    assert found["purelib/Foo_Bar-1.0.dist-info/INSTALLER"] == (b"pkgview", False)
    assert found["purelib/Foo_Bar-1.0.dist-info/REQUESTED"] == (b"", False)
    assert not any(".data" in path for path in found)


def test_root_is_not_purelib(wheel_maker: WheelMaker) -> None:
    wheel_maker.wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"
    assert f"platlib/{CODE}" in contents(wheel_maker.write())


def test_headers_are_in_record_where_the_wheel_is_for_one_python(everything: WheelMaker) -> None:
    record = "purelib/Foo_Bar-1.0.dist-info/RECORD"
    assert b"include" not in contents(everything.write())[record][0]
    for tags, directory in {
        "cp311-cp311-linux_x86_64": b"python3.11",
        "cp313-cp313t-manylinux1_x86_64.manylinux2014_x86_64": b"python3.13t",
    }.items():
        everything.filename = f"Foo_Bar-1.0-{tags}.whl"
        line = b"../../../include/site/" + directory + b"/foo-bar/h.h,sha256="
        assert line in contents(everything.write())[record][0]
    for tags in ("cp311-abi3-any", "cp310.cp311-none-any", "cp311-none-any"):
        everything.filename = f"Foo_Bar-1.0-{tags}.whl"
        assert b"include" not in contents(everything.write())[record][0]


def test_an_entry_point_wins_over_a_file_of_its_name(everything: WheelMaker) -> None:
    everything.files["Foo_Bar-1.0.dist-info/entry_points.txt"] = b"[console_scripts]\ns3 = a:b\n"
    found = contents(everything.write())
    assert b"from a import b" in found["scripts/s3"][0]
    record = found["purelib/Foo_Bar-1.0.dist-info/RECORD"][0]
    assert record.count(b"bin/s3,") == 1


def test_what_the_installer_writes_replaces_what_the_wheel_has(everything: WheelMaker) -> None:
    everything.files["Foo_Bar-1.0.dist-info/INSTALLER"] = b"evil"
    found = contents(everything.write())
    assert found["purelib/Foo_Bar-1.0.dist-info/INSTALLER"] == (b"pkgview", False)
    record = found["purelib/Foo_Bar-1.0.dist-info/RECORD"][0]
    assert record.count(b"/INSTALLER,") == 1


def test_only_the_dist_info_has_files_of_the_installer(wheel_maker: WheelMaker) -> None:
    wheel_maker.files["INSTALLER"] = b"a module's own"
    assert contents(wheel_maker.write())["purelib/INSTALLER"] == (b"a module's own", False)


def test_a_wheel_becomes_the_same_archive_every_time(
    everything: WheelMaker, tmp_path: Path
) -> None:
    """Also where its members come in another order."""
    names = set()
    for number, order in enumerate((1, -1)):
        parts = everything.parts()[::order]
        path = everything.write(everything.zip_bytes(parts))
        with (tmp_path / f"{number}.tar.zst").open("wb") as out, open_wheel(path) as wheel:
            names.add(pack(wheel.members(), wheel.meta, out))
    assert len(names) == 1
    packed = tmp_path / "0.tar.zst"
    archive = Archive.open(packed.rename(tmp_path / names.pop()), FrameCache())
    archive.verify()


# -- against an installer --------------------------------------------------------------------------

TARGETS = {
    "purelib": "lib/python{v}/site-packages",
    "platlib": "lib/python{v}/site-packages",
    "scripts": "bin",
    "headers": "include/site/python{v}",
    "data": "",
}


class Installed:
    """A virtual environment made by uv, and what installing one wheel added to it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "venv"
        self.version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.environ = os.environ | {"UV_CACHE_DIR": str(root / "cache"), "UV_NO_CONFIG": "1"}
        self._uv("venv", "--python", sys.executable, str(self.root))
        self.before = set(self._tree())

    def _uv(self, *arguments: str) -> None:
        subprocess.run(
            [str(Path(sys.executable).with_name("uv")), "--quiet", *arguments],
            check=True,
            env=self.environ,
        )

    def install(self, wheel: Path) -> dict[str, tuple[bytes, bool]]:
        self._uv(
            *("pip", "install", "--no-deps", "--no-index", "--link-mode=copy"),
            *("--python", str(self.root / "bin/python"), "--find-links", str(wheel.parent)),
            "==".join(wheel.name.split("-")[:2]),
        )
        return {path: item for path, item in self._tree().items() if path not in self.before}

    def _tree(self) -> dict[str, tuple[bytes, bool]]:
        found = {}
        for directory, _, files in os.walk(self.root):
            for name in files:
                path = Path(directory) / name
                executable = bool(path.stat().st_mode & stat.S_IXUSR)
                found[str(path.relative_to(self.root))] = (path.read_bytes(), executable)
            if not os.listdir(directory):
                found[str(Path(directory).relative_to(self.root)) + "/"] = (b"", False)
        return found


def in_view(found: dict[str, tuple[bytes, bool]], version: str) -> dict[str, tuple[bytes, bool]]:
    """The same files where a view of that Python has them; only empty directories are listed."""
    placed = {}
    for path, item in found.items():
        scheme, _, rest = path.partition("/")
        placed[f"{TARGETS[scheme].format(v=version)}/{rest}".lstrip("/")] = item
    return {
        path: item
        for path, item in placed.items()
        if not path.endswith("/") or not any(p != path and p.startswith(path) for p in placed)
    }


def assert_equal_but_for_the_list(
    ours: dict[str, tuple[bytes, bool]], theirs: dict[str, tuple[bytes, bool]], *, headers: bool
) -> None:
    """What docs/wheels.md lists, and nothing else, differs."""
    (lock,) = (path for path in theirs if path == ".lock")
    (cache,) = (path for path in theirs if path.endswith("/uv_cache.json"))
    assert set(theirs) - set(ours) == {lock, cache}
    assert set(ours) <= set(theirs)
    for path, (content, executable) in ours.items():
        their_content, their_executable = theirs[path]
        assert executable == their_executable, path
        if path.endswith("/INSTALLER"):
            continue
        if path.startswith("bin/") and content != their_content:
            assert their_content.startswith(b"#!/"), path
            rest = their_content.split(b"\n", 1)[1]
            kept = [line for line in content.splitlines(keepends=True)[1:] if b"exec" not in line]
            assert b"".join(kept) == rest, path
        elif path.endswith(".dist-info/RECORD"):
            mine, uvs = content.decode().splitlines(), their_content.decode().splitlines()
            assert mine == sorted(mine, key=lambda line: next(csv.reader([line]))[0])
            changed = ("../../../bin/", "../../../include/")
            for one, other in ((mine, uvs), (uvs, mine)):
                for line in set(one) - set(other):
                    assert (
                        line.startswith(changed[: 1 + (not headers)])
                        or "/INSTALLER," in line
                        or "/uv_cache.json," in line
                    ), line
        else:
            assert content == their_content, path


def test_a_wheel_is_what_uv_makes_of_it(everything: WheelMaker, tmp_path: Path) -> None:
    path = everything.write()
    environment = Installed(tmp_path)
    theirs = environment.install(path)
    ours = in_view(contents(path), environment.version)
    assert_equal_but_for_the_list(ours, theirs, headers=False)


@pytest.mark.network
@pytest.mark.parametrize(
    "requirement",
    ["six", "zope.interface", "certifi", "flask", "greenlet", "rich", "pyyaml", "protobuf"],
)
def test_real_wheels_are_what_uv_makes_of_them(requirement: str, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--dest", str(downloads), requirement),
        ],
        check=True,
    )
    (path,) = downloads.iterdir()
    environment = Installed(tmp_path)
    theirs = environment.install(path)
    ours = in_view(contents(path), environment.version)
    assert_equal_but_for_the_list(ours, theirs, headers="cp3" in path.name)


def test_members_are_files_and_directories_only(everything: WheelMaker) -> None:
    with open_wheel(everything.write()) as wheel:
        assert {member.kind for member in wheel.members()} == {Kind.FILE, Kind.DIRECTORY}
