"""What of settings is a project's own, where something is built for it."""

from __future__ import annotations

from typing import Any

import pytest

from resolver.python.uv.building import own_settings

CORP = "https://corp/simple"
USERS: tuple[dict[str, Any], ...] = ({}, {"index-url": CORP}, {"index": [{"url": CORP}]})


@pytest.mark.parametrize("users", USERS)
def test_what_the_user_says_is_nobodys_own(users: dict[str, Any]) -> None:
    for more in (
        {}, {"offline": True, "sources": {"a": {"index": "b"}}}, {"config-settings": {"a": "b"}},
        {"constraint-dependencies": ["x @ file:///x"]}, {"no-index": False},
    ):  # fmt: skip
        assert own_settings(users | more, users) == ("", False)


def test_the_same_index_in_another_way() -> None:
    pypi = {"index-url": "https://pypi.org/simple/"}
    assert own_settings(pypi, {}) == ("", False)
    users = {"index": [{"url": "https://me:secret@corp/simple", "name": "corp"}]}
    for same in (
        {"index": [{"url": f"{CORP}/"}]}, {"extra-index-url": [CORP, CORP]},
        {"index": [{"url": CORP, "authenticate": "always"}, {"url": CORP}], **pypi},
    ):  # fmt: skip
        assert own_settings(same, users) == ("", False)


def test_what_else_a_build_is_made_with_is_its_own_without_passwords() -> None:
    seen = set()
    for own in (
        {"index-url": CORP}, {"index": [{"url": CORP}]}, {"no-index": True},
        {"index": [{"url": CORP, "format": "flat"}]}, {"find-links": ["https://corp/links"]},
        {"index-strategy": "first-index"},
        {"dependency-metadata": [{"name": "a", "requires-dist": ["b"]}]}, {"no-binary": True},
        {"allow-insecure-host": ["corp"]}, {"a setting that is new": 1},
    ):  # fmt: skip
        said, is_local = own_settings(own, {})
        assert said
        assert not is_local
        seen.add(said)
    assert len(seen) == 10
    hidden, _ = own_settings({"extra-index-url": ["https://me:secret@corp/simple"]}, {})
    assert "secret" not in hidden
    assert hidden == own_settings({"extra-index-url": [CORP]}, {})[0]


@pytest.mark.parametrize("own", [
    {"find-links": ["/here/links"]}, {"index": [{"url": "file:///here"}]}, {"cache-dir": "c"},
    {"extra-build-dependencies": {"a": ["b @ file:///here/b"]}},
    {"build-constraint-dependencies": ["b @ git+file:///here"]},
    {"extra-build-variables": {"a": {"PYTHONPATH": "/here"}}},
])  # fmt: skip
def test_what_leads_to_a_place_on_this_machine(own: dict[str, Any]) -> None:
    said, is_local = own_settings(own, {})
    assert said
    assert is_local
