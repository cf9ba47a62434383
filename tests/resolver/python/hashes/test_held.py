from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resolver.python.hashes.held import held, kept, still_open, to_toml
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
    frozen = {name: frozenset(values) for name, values in names.items()}
    return Stated(names=frozen, places={}, direct={}, required=required)


def file(digest: str) -> dict[str, Any]:
    return {"url": f"https://x/{digest}", "hashes": {"sha256": digest}}


def after(said: Stated, *packages: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    data, faults = held(to_toml({"packages": list(packages)}).encode(), said, Path("/p"))
    return tomllib.loads(data.decode())["packages"], faults


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
    assert [kept(one.get("tool")) for one in left] == [None, (("sha256", "0"),), (), ()]
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
