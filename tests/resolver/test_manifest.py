from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.manifest import Grafts, LayerSpec, Manifest, ViewId, view_id
from resolver.python.target import Python, Schemes, python_of

SCHEMES = Schemes(
    purelib="lib/python3.11/site-packages",
    platlib="lib/python3.11/site-packages",
    scripts="bin",
    headers="include/site/python3.11",
    data="",
)
PYTHON = Python(version="3.11", executable="/usr/bin/python3.11", schemes=SCHEMES)
SIX = PYTHON.layer("six-1.17.0-py2.py3-none-any." + "a" * 64 + ".tar.zst", name="six")
MANIFEST = PYTHON.manifest([SIX])
BEFORE = (
    b'{"format":1,"layers":[{"archive":"six-1.17.0-py2.py3-none-any.' + b"a" * 64 + b'.tar.zst"'
    b',"name":"six","version":""}],"python":{"executable":"/usr/bin/python3.11","schemes":'
    b'{"data":"","headers":"include/site/python3.11","platlib":"lib/python3.11/site-packages",'
    b'"purelib":"lib/python3.11/site-packages","scripts":"bin"},"version":"3.11"}}'
)
"""The same manifest in format 1, byte for byte as it was written."""

# What an operating system can give: text, and bytes that are no text.
texts = st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))
names = texts.filter(lambda name: name not in {"", ".", ".."} and not set(name) & {"/", "\0"})
places = st.lists(names, max_size=3).map("/".join)
grafts: st.SearchStrategy[Grafts] = st.lists(st.tuples(names, places), max_size=3).map(tuple)
layers = st.builds(
    LayerSpec, archive=texts, grafts=grafts, name=texts, version=texts, bytecode=texts
)
manifests = st.builds(
    Manifest,
    kind=texts,
    target=st.dictionaries(texts, texts, max_size=3),
    layers=st.lists(layers, max_size=4).map(tuple),
)


@given(manifests)
def test_what_is_written_is_read(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data, expected=manifest.id) == manifest
    assert data.isascii()


@given(manifests, manifests)
def test_the_id_is_the_contents(one: Manifest, two: Manifest) -> None:
    assert (one.id == two.id) == (one == two)
    assert (one.to_bytes() == two.to_bytes()) == (one == two)


def test_the_order_of_layers_counts() -> None:
    other = replace(SIX, name="other")
    one, two = (PYTHON.manifest(both) for both in ((SIX, other), (other, SIX)))
    assert one.id != two.id


def test_the_bytes_are_canonical_and_stay_so() -> None:
    # A change here gives every view another name: raise FORMAT instead, if it must be.
    assert MANIFEST.to_bytes() == (
        b'{"format":2,"grafts":[[["purelib","lib/python3.11/site-packages"],'
        b'["platlib","lib/python3.11/site-packages"],["scripts","bin"],'
        b'["headers","include/site/python3.11"],["data",""]]],"kind":"python",'
        b'"layers":[{"archive":"six-1.17.0-py2.py3-none-any.' + b"a" * 64 + b'.tar.zst",'
        b'"grafts":0,"name":"six","version":""}],'
        b'"target":{"executable":"/usr/bin/python3.11","version":"3.11"}}'
    )
    assert MANIFEST.id == hashlib.sha256(MANIFEST.to_bytes()).hexdigest()[:32]


def test_layers_of_one_view_may_go_to_different_places() -> None:
    here = LayerSpec(archive="a", grafts=(("package", "node_modules/a"),))
    there = replace(here, grafts=(("package", "node_modules/b/node_modules/a"),))
    manifest = Manifest(kind="node", target={}, layers=(here, there, here))
    data = manifest.to_bytes()
    assert [layer["grafts"] for layer in json.loads(data)["layers"]] == [0, 1, 0]
    assert Manifest.from_bytes(data, expected=manifest.id) == manifest


def test_views_of_the_first_format_are_what_they_were() -> None:
    found = Manifest.from_bytes(BEFORE, expected=view_id(BEFORE))
    assert found == MANIFEST
    assert python_of(found) == PYTHON


def test_a_view_for_something_else_is_for_no_python() -> None:
    for manifest in (replace(MANIFEST, kind="node"), replace(MANIFEST, layers=())):
        with pytest.raises(PkgviewError, match=r"no Python|does not say what it is for"):
            python_of(manifest)


def test_other_bytes_are_refused() -> None:
    data = MANIFEST.to_bytes()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(PkgviewError, match=f"manifest {MANIFEST.id} is damaged") as caught:
            Manifest.from_bytes(bytes(damaged), expected=MANIFEST.id)
        assert "pkgview up" in caught.value.remedy
    for cut in (b"", data[:-1], data + b"\n"):
        with pytest.raises(PkgviewError, match="is damaged"):
            Manifest.from_bytes(cut, expected=MANIFEST.id)


def read(fields: object) -> Manifest:
    """Read what somebody has written, and named rightly."""
    data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return Manifest.from_bytes(data, expected=view_id(data))


def test_another_format_is_named() -> None:
    with pytest.raises(PkgviewError, match="has format 3, this pkgview reads 2"):
        read({"format": 3, "anything": None})


GOOD, OLD = json.loads(MANIFEST.to_bytes()), json.loads(BEFORE)


@pytest.mark.parametrize(
    "fields",
    [
        b"", b"\xff", b"[" * 100_000, b"null", b"[]", b"{}", b'"text"',
        GOOD | {"target": None}, GOOD | {"target": {"a": 5}}, GOOD | {"layers": 5},
        GOOD | {"kind": 5}, GOOD | {"grafts": []}, GOOD | {"grafts": [[["a"]]]},
        GOOD | {"grafts": [5]},
        *(GOOD | {"layers": [{"archive": "a", "grafts": number}]} for number in (1, -1, True, "0")),
        GOOD | {"layers": [5]},
        GOOD | {"layers": [{"archive": 5, "grafts": 0}]}, GOOD | {"layers": [{}]},
        GOOD | {"layers": [{"archive": "a", "grafts": 0, "unknown": "b"}]},
        GOOD | {"layers": [{"archive": "\ud800", "grafts": 0}]},
        OLD | {"python": None}, OLD | {"python": []},
        OLD | {"python": OLD["python"] | {"schemes": {}}},
        OLD | {"python": OLD["python"] | {"version": None}},
        OLD | {"python": {"version": "3.11"}},
    ],
    ids=lambda fields: str(fields)[:40],
)  # fmt: skip
def test_what_is_no_manifest_is_named(fields: object) -> None:
    with pytest.raises(PkgviewError, match=r"^manifest [0-9a-f]{32} (is no manifest|has format)"):
        read(fields)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(["format", "kind", "target", "grafts", "layers", "x"]),
                below,
            )
        ),
        max_leaves=8,
    )
)
def test_any_other_document_is_an_error_for_a_person(document: object) -> None:
    with pytest.raises(PkgviewError):
        read(document)


@pytest.mark.parametrize(
    "place", ["/lib", "lib/", "lib//x", "..", "lib/../..", ".", "lib/./x", "lib\0", "/"]
)
@pytest.mark.parametrize("scheme", ["purelib", "platlib", "scripts", "headers", "data"])
def test_schemes_lie_in_the_view(scheme: str, place: str) -> None:
    with pytest.raises(PkgviewError, match=f"^{scheme} would go to") as caught:
        replace(SCHEMES, **{scheme: place})
    assert "--python" in caught.value.remedy
    fields = json.loads(BEFORE)
    fields["python"]["schemes"][scheme] = place
    with pytest.raises(PkgviewError, match=f"^{scheme} would go to"):
        read(fields)
    fields = json.loads(MANIFEST.to_bytes())
    fields["grafts"][0][2] = [scheme, place]
    with pytest.raises(PkgviewError, match=f"^{scheme} would go to"):
        read(fields)


def test_an_id_is_thirty_two_digits() -> None:
    assert view_id(b"") == ViewId("e3b0c44298fc1c149afbf4c8996fb924")
