from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Package
from packaging.utils import canonicalize_name
from packaging.version import Version

from resolver.errors import PkgviewError
from resolver.python.hashes.held import held, kept, still_open, to_toml
from resolver.python.hashes.lines import Rank, Some
from resolver.python.hashes.stated import Stated

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SCALAR = (
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.datetimes(timezones=st.just(dt.UTC))
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
DOCUMENT = st.dictionaries(TEXT.filter(lambda key: key != "packages"), VALUE, max_size=4)


@given(document=DOCUMENT, packages=st.lists(st.dictionaries(TEXT, VALUE, max_size=3), max_size=3))
def test_what_is_written_reads_back(
    document: dict[str, Any], packages: list[dict[str, Any]]
) -> None:
    whole = {**document, "packages": packages}
    assert tomllib.loads(to_toml(whole)) == whole


def of(*, required: bool = True, **names: set[str]) -> Stated:
    frozen = {name: (Some(hashes=frozenset(values)),) for name, values in names.items()}
    return Stated(names=frozen, places={}, direct={}, required=required)


def file(digest: str) -> dict[str, Any]:
    return {"url": f"https://x/{digest}", "hashes": {"sha256": digest}}


def after(said: Stated, *packages: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    data, faults = held(to_toml({"packages": list(packages)}).encode(), said, Path("/p"))
    return tomllib.loads(data.decode())["packages"], faults


def package_of(table: dict[str, Any]) -> Package:
    name = canonicalize_name(table["name"])
    return Package(name=name, version=Version("1"), tool=table.get("tool"))


def test_only_stated_files_are_left() -> None:
    package = {"name": "a", "sdist": file("s"), "wheels": [file("v"), file("w")]}
    left, faults = after(of(a={"sha256:w"}), package)
    assert (left, faults) == ([{"name": "a", "wheels": [file("w")]}], [])
    left, faults = after(of(a={"sha256:s", "sha512:x"}), package)
    assert (left, faults) == ([{"name": "a", "sdist": file("s")}], [])
    # Where no file is known by what is stated, the one that is chosen will tell.
    left, faults = after(of(a={"sha512:x", "sha256:z"}), package)
    mark = {"pkgview": {"hashes": ["sha256:z", "sha512:x"]}}
    assert (left, faults) == ([{**package, "tool": mark}], [])


def test_what_cannot_be_had_is_named_and_marked() -> None:
    packages: list[dict[str, Any]] = [
        {"name": "a", "version": "1", "archive": file("x")},
        {"name": "b", "version": "2", "wheels": [file("y")]},
        {"name": "c", "version": "3", "directory": {"path": "."}},
        {"name": "d", "version": "4", "wheels": [file("z")]},
    ]
    left, faults = after(of(a={"sha256:x"}, b={"sha256:0"}), *packages)
    assert faults == [
        "no file of b 2 has a hash of sha256:0",
        "c 3 is a directory, which has no hash",
        "d 4 has no --hash",
    ]
    assert [kept(package_of(one), {}) for one in left] == [None, (("sha256", "0"),), (), ()]
    left, faults = after(of(required=False, b={"sha256:y"}), *packages)
    assert (left, faults) == (packages, [])


def test_nothing_changes_where_nothing_is_stated() -> None:
    data = b"# as uv wrote it\npackages = []\n"
    assert held(data, of(required=False), Path("/p")) == (data, [])


def test_what_only_the_file_can_tell() -> None:
    known = {"sha256": "a"}
    assert still_open([("sha256", "b"), ("sha256", "a")], known) == ()
    assert still_open([("sha256", "b")], known) is None
    assert still_open([], known) is None
    assert still_open([("sha256", "b"), ("md5", "c")], known) == (("md5", "c"),)


LINUX, WINDOWS = {"sys_platform": "linux"}, {"sys_platform": "win32"}


def line(digest: str, on: str = "", rank: Rank = Rank.REQUIREMENT, specifier: str = "") -> Some:
    marker = f"sys_platform == '{on}'" if on else ""
    hashes = frozenset((f"sha256:{digest}",))
    return Some(hashes=hashes, rank=rank, marker=marker, specifier=specifier)


def stating(*lines: Some, required: bool = True) -> Stated:
    return Stated(names={"a": lines}, places={}, direct={}, required=required)


@pytest.mark.parametrize(
    ("lines", "required", "linux", "windows"),
    [
        ((line("x", "linux"), line("w", "win32")), True, "x", "w"),
        ((line("x", "linux"),), True, "x", ""),
        ((line("x", "linux"),), False, "x", None),
        ((line("x"), line("w", "win32")), True, "x", "wx"),
        # What overrides a line goes before it where it holds; so does a line before a constraint.
        ((line("x", "linux", Rank.OVERRIDE), line("w")), True, "x", "w"),
        ((line("x", "linux"), line("w", "", Rank.NAMED)), True, "x", "w"),
        # Of uv's constraints a file has to have a hash, too.
        ((line("x", "linux", Rank.CUT), line("w", "win32"), line("x")), True, "x", "wx"),
        ((line("x", "linux", Rank.CUT),), True, "x", ""),
        ((line("x", "linux", Rank.CUT),), False, "x", None),
    ],
)
def test_lines_count_where_they_hold(
    lines: tuple[Some, ...], *, required: bool, linux: str, windows: str | None
) -> None:
    package = {"name": "a", "version": "1", "wheels": [file("v"), file("w"), file("x")]}
    (left,), faults = after(stating(*lines, required=required), package)
    assert not faults
    # What is left are files of every machine; of a line that binds nobody else none is dropped.
    assert (file("v") in left["wheels"]) == (not required)
    for environment, digests in ((LINUX, linux), (WINDOWS, windows)):
        hashes = kept(package_of(left), environment)
        assert hashes == (None if digests is None else tuple(("sha256", one) for one in digests))


def test_lines_that_contradict_each_other() -> None:
    package = {"name": "a", "version": "1", "wheels": [file("w"), file("x")]}
    both = line("x"), line("w", "", Rank.CUT)
    with pytest.raises(PkgviewError, match="other hashes of a 1: sha256:x, and sha256:w"):
        after(stating(*both), package)
    (left,), _ = after(stating(line("x"), line("w", "win32", Rank.CUT)), package)
    assert kept(package_of(left), LINUX) == (("sha256", "x"),)
    with pytest.raises(PkgviewError, match="other hashes of a 1"):
        kept(package_of(left), WINDOWS)


def test_lines_of_other_versions_do_not_count() -> None:
    package = {"name": "a", "version": "1", "wheels": [file("w"), file("x")]}
    lines = line("x", "linux", specifier="==1.0"), line("w", "win32", specifier="==2")
    (left,), _ = after(stating(*lines), package)
    assert kept(package_of(left), LINUX) == (("sha256", "x"),)
    assert kept(package_of(left), WINDOWS) == ()
    assert left["wheels"] == [file("x")]


def test_what_no_lock_has() -> None:
    damaged: tuple[object, ...] = ("x", [{}], [{"rank": 9, "marker": "", "hashes": []}], [["x"]])
    for lines in damaged:
        table = {"name": "a", "tool": {"pkgview": {"lines": lines}}}
        with pytest.raises(ValueError, match=r"are no hashes|not a valid"):
            kept(package_of(table), LINUX)
