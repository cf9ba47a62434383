from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.python.pins import narrowed, to_toml
from resolver.python.project import Origin, PythonProject

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


def project(**hashes: set[str]) -> PythonProject:
    frozen = {name: frozenset(values) for name, values in hashes.items()}
    return PythonProject(root=Path("/p"), origin=Origin.REQUIREMENTS, inputs=(), hashes=frozen)


def file(digest: str) -> dict[str, Any]:
    return {"url": f"https://x/{digest}", "hashes": {"sha256": digest}}


def test_only_pinned_files_are_left() -> None:
    lock = to_toml(
        {"packages": [{"name": "a", "sdist": file("s"), "wheels": [file("v"), file("w")]}]}
    ).encode()
    left = tomllib.loads(narrowed(lock, project(a={"sha256:w"})).decode())
    assert left == {"packages": [{"name": "a", "wheels": [file("w")]}]}
    left = tomllib.loads(narrowed(lock, project(a={"sha256:s"})).decode())
    assert left == {"packages": [{"name": "a", "sdist": file("s")}]}


def test_all_faults_are_named_at_once() -> None:
    packages = [
        {"name": "a", "version": "1", "archive": file("x")},
        {"name": "b", "version": "2", "wheels": [file("y")]},
        {"name": "c", "version": "3", "directory": {"path": "."}},
        {"name": "d", "version": "4", "directory": {"path": "."}},
    ]
    lock = to_toml({"packages": packages}).encode()
    pinned = project(a={"sha256:x"}, b={"sha512:y"}, d={"sha256:z"})
    with pytest.raises(PkgviewError) as caught:
        narrowed(lock, pinned)
    assert "b 2 has a hash of sha512:y" in caught.value.what
    assert "c 3 has no --hash" in caught.value.what
    assert "no file of d 4" in caught.value.what
    assert " a 1" not in caught.value.what
