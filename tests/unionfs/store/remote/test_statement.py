from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.manifest import LayerSpec, Manifest
from unionfs.store.remote.statement import (
    LARGEST,
    LARGEST_SERIAL,
    Derived,
    StatementError,
    View,
    is_tag,
    next_serial,
    read,
)

ARCHIVE = f"six-1.17.0.{'ab' * 32}.tar.zst"
OTHER = f"made.{'cd' * 32}.tar.zst"
KEY = "sha256-" + "ef" * 32

DERIVED = Derived(source=KEY, archive=ARCHIVE)
VIEW = View(
    manifest=Manifest(
        kind="python",
        target={"version": "3.11", "executable": '/usr/bin/py"thön'},
        layers=(
            LayerSpec(archive=OTHER, grafts=(("", ""),)),
            LayerSpec(archive=ARCHIVE, grafts=(("purelib", "lib"),), name="six", version="1.17.0"),
        ),
    ),
    sources={KEY: ARCHIVE},
    made=1796055715,
    serial=7,
    name="latest",
    store="oci://registry.example.org/team/env",
)


def changed(statement: Derived | View, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    """The same with other values; what is given as ... is left out."""
    found = {**json.loads(statement.to_bytes()), **fields}
    found = {key: value for key, value in found.items() if value is not ...}
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_what_is_written_is_read() -> None:
    assert DERIVED.to_bytes() == (
        f'{{"archive":"{ARCHIVE}","pkgview":1,"source":"{KEY}","type":"derived"}}'.encode()
    )
    assert read(DERIVED.to_bytes()) == DERIVED
    assert read(VIEW.to_bytes()) == VIEW
    assert json.loads(VIEW.to_bytes())["made"] == "2026-11-30T16:21:55Z"
    bare = replace(VIEW, name="", store="", sources={}, serial=LARGEST_SERIAL)
    assert read(bare.to_bytes()) == bare


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "no statement"),
        (b"[]", "no statement"),
        (b"\xff", "no statement"),
        (b"{}", "no statement"),
        (b"[" * 100_000, "no statement"),
        (b'{"pkgview":' + b"1" * 5000 + b"}", "no statement"),
        (b'{"pkgview":1e999}', "no number"),
        (b'{"pkgview":NaN}', "no number"),
        (DERIVED.to_bytes() + b"\n", "canonical"),
        (b" " + DERIVED.to_bytes(), "canonical"),
        (DERIVED.to_bytes().replace(b"six", b"\\u0073ix"), "canonical"),
        (b'{"pkgview":1,' + DERIVED.to_bytes()[1:], "twice"),
        (VIEW.to_bytes().replace(b'{"sha256-', b'{"x":"y","x":"z","sha256-'), "twice"),
        (changed(DERIVED, pkgview=2), "format 2, this pkgview reads 1"),
        (changed(DERIVED, pkgview=True), "format True"),
        (changed(DERIVED, pkgview="1"), "format '1'"),
        (changed(DERIVED, type="revoked"), "type 'revoked'"),
        (changed(DERIVED, type=...), "type None"),
        (changed(DERIVED, type=[]), "type []"),
        (changed(DERIVED, more=1), "a 'more'"),
        (changed(DERIVED, source=...), "no 'source'"),
        (changed(DERIVED, source="../x"), "'../x' cannot name"),
        (changed(DERIVED, source=1), "1 is no text"),
        (changed(DERIVED, archive="../../etc"), "'../../etc' is no archive's name"),
        (changed(DERIVED, archive="\ud800x".encode("utf-8", "replace").decode()), "no archive's"),
        (changed(VIEW, serial=-1), "serial"),
        (changed(VIEW, serial=LARGEST_SERIAL + 1), "serial"),
        (changed(VIEW, serial=True), "serial"),
        (changed(VIEW, serial="7"), "serial"),
        (changed(VIEW, made="2026-11-30"), "does not match"),
        (changed(VIEW, made="2026-1-3T1:2:3Z"), "canonical"),
        (changed(VIEW, made="2026-02-30T00:00:00Z"), "out of range|must be in range|unconverted"),
        (changed(VIEW, made="0001-01-01T00:00:00Z"), "canonical|no statement|range"),
        (changed(VIEW, name="a b"), "'a b' is no tag"),
        (changed(VIEW, name="../up"), "no tag"),
        (changed(VIEW, name="a" * 129), "no tag"),
        (changed(VIEW, name="0" * 32), "no tag"),
        (changed(VIEW, store="oci://x\x1b[2J"), "no address"),
        (changed(VIEW, store="x" * 1001), "no address"),
        (changed(VIEW, store="oci://régistry"), "no address"),
        (changed(VIEW, sources=[]), "sources"),
        (changed(VIEW, sources={KEY: 1}), "no text"),
        (changed(VIEW, sources={"": ARCHIVE}), "cannot name"),
        (changed(VIEW, sources={KEY: f"x.{'00' * 32}.tar.zst"}), "no archive of that view"),
        (changed(VIEW, id="0" * 32), "is damaged"),
        (changed(VIEW, manifest="[]"), "no statement"),
        (changed(VIEW, id=1), "no text"),
        (changed(VIEW, manifest="{}"), "is damaged"),
        (changed(VIEW, manifest="é"), "no statement"),
    ],
)
def test_what_is_no_statement_is_refused_by_name(said: bytes, why: str) -> None:
    with pytest.raises(StatementError, match=why.replace("[", r"\[").replace("(", r"\(")):
        read(said)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fields: fields.update(format=3), "format 3"),
        (lambda fields: fields["layers"][0].update(archive="../x"), "no archive's name"),
        (lambda fields: fields["layers"][1].update(bytecode="x"), "no archive's name"),
        (lambda fields: fields.update(more=1), "canonical"),
        (lambda fields: fields["grafts"].append([["", "unused"]]), "canonical"),
        (lambda fields: fields["grafts"][0][0].__setitem__(1, "../../etc"), "no place in a view"),
        (lambda fields: fields.update(layers=7), "no statement"),
        (lambda fields: fields.update(grafts=[7]), "no statement"),
        (lambda fields: fields["grafts"][0].extend([["x", "y"]] * 100), "too many layers"),
        (lambda fields: fields["layers"].extend(fields["layers"] * 10_000), "too many layers"),
    ],
)
def test_a_hostile_manifest_under_its_own_id(change: Any, why: str) -> None:  # noqa: ANN401 - JSON
    fields = json.loads(VIEW.manifest.to_bytes())
    change(fields)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    from resolver.manifest import view_id  # noqa: PLC0415

    said = changed(VIEW, manifest=text, id=view_id(text.encode()), sources={})
    with pytest.raises(StatementError, match=why):
        read(said)


def test_a_long_statement_is_not_understood() -> None:
    with pytest.raises(StatementError, match="too long"):
        read(b"[" * (LARGEST + 1))


@given(st.binary(max_size=300))
def test_no_bytes_end_in_another_error(data: bytes) -> None:
    with pytest.raises(StatementError):
        read(data)


@given(st.integers(0, len(VIEW.to_bytes()) - 1), st.integers(1, 255))
def test_what_is_read_is_what_is_written(place: int, change: int) -> None:
    """Every text has one reading, and every reading one text: signatures are over the text."""
    data = bytearray(VIEW.to_bytes())
    data[place] ^= change
    try:
        found = read(bytes(data))
    except StatementError:
        return
    assert found != VIEW
    assert found.to_bytes() == data


def test_a_serial_is_later_than_the_one_before() -> None:
    assert next_serial(1000.9) == 1000
    assert next_serial(1000.9, latest=1000) == 1001
    assert next_serial(1000.9, latest=2000) == 2001
    assert next_serial(1000.9, latest=LARGEST_SERIAL) == 1000 + 86400 + 1
    assert next_serial(1000.9, seen=1 << 40) == (1 << 40) + 1


def test_tags() -> None:
    assert is_tag("latest")
    assert is_tag("_v1.0-rc")
    assert not any(map(is_tag, ("", ".x", "-x", "a/b", "a+b", "é", "0" * 32)))
