from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.buildenv import index_variables, relative_indexes
from resolver.fetch.addresses import without_userinfo

WORD = st.text(st.sampled_from("ab:/@?#\\=.%"), min_size=1, max_size=14)


@given(words=st.lists(st.sampled_from(("https://", "x=file://", "")).flatmap(
    lambda start: WORD.map(lambda rest: start + rest)), min_size=1, max_size=3))  # fmt: skip
def test_users_are_left_out_as_elsewhere(words: list[str]) -> None:
    said = index_variables({"UV_INDEX": " ".join(words)})
    assert said == [f"UV_INDEX={' '.join(map(without_userinfo, words))}"]


def test_which_count_and_how() -> None:
    environ = {
        "UV_DEFAULT_INDEX": "https://aws:token@h.example/simple",
        "UV_FIND_LINKS": "https://a:b@x/1,https://c:d@y/2",
        "PIP_FIND_LINKS": "./links /srv https://a:b@x/3",
        "PIP_NO_INDEX": "1",
        "UV_INDEX": "",
        "UV_INDEX_CORP_PASSWORD": "secret",
        "UV_RESOLUTION": "lowest",
    }
    uvs = ["UV_DEFAULT_INDEX=https://h.example/simple", "UV_FIND_LINKS=https://x/1 https://y/2"]
    assert index_variables(environ, "UV_") == uvs
    pips = [f"PIP_FIND_LINKS={os.getcwd()}/links /srv https://x/3", "PIP_NO_INDEX=1"]  # noqa: PTH109
    assert index_variables(environ) == [*pips, *uvs]


@pytest.mark.parametrize(
    ("name", "value", "relative"),
    [
        ("UV_INDEX", "corp=./simple", True),
        ("UV_INDEX", "corp=https://x/simple /srv/simple file:///x", False),
        ("UV_FIND_LINKS", "https://x/1,links", True),
        ("UV_NO_INDEX", "1", False),
        ("PIP_FIND_LINKS", "links", False),
        ("UV_CONSTRAINT", "c.txt", False),
    ],
)
def test_relative_places(name: str, value: str, *, relative: bool) -> None:
    assert relative_indexes({name: value}) is relative
