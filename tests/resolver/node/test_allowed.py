"""Whose install scripts a project allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resolver.node.allowed import allowed
from resolver.node.lock import Entry
from resolver.node.npmrc import REGISTRY, Settings

ROOT = Path("/home/ada/shop")
SETTINGS = Settings(registries={"": "https://registry.example/npm/"})


def entry(resolved: str = "", name: str = "a", version: str = "1.0.0", **more: Any) -> Entry:  # noqa: ANN401 - as it has them
    place = f"node_modules/{name}"
    return Entry(
        location=place, name=name, package=name, parent="", version=version, resolved=resolved,
        has_script=True, **more,
    )  # fmt: skip


def of(said: dict[str, Any], what: Entry, settings: Settings = SETTINGS) -> bool | None:
    return allowed(said, settings, ROOT).of(what)


@pytest.mark.parametrize(
    ("key", "allows"),
    [
        ("a", True),
        ("a@*", True),
        ("a@1.0.0", True),
        ("a@0.9.0 || 1.0.0", True),
        ("a@1.0.1", None),
        ("a@^1.0.0", None),
        ("a@1", None),
        ("a@latest", None),
        ("b", None),
        ("@s/a", None),
        ("", None),
    ],
)
def test_npms_keys(key: str, allows: bool | None) -> None:  # noqa: FBT001 - a parameter
    there = f"{REGISTRY}a/-/a-1.0.0.tgz"
    for resolved in ("", there, "https://registry.example/npm/a/-/a-1.0.0.tgz"):
        assert of({"allowScripts": {key: True}}, entry(resolved)) is allows
        assert of({"allowScripts": {key: False}}, entry(resolved)) is (allows and False)


def test_who_it_is_the_address_says() -> None:
    said = {"allowScripts": {"a": True}}
    assert of(said, entry(f"{REGISTRY}evil/-/evil-1.0.0.tgz")) is None
    assert of(said, entry("https://evil.example/a/-/a-1.0.0.tgz")) is None
    assert of(said, entry("https://evil.example/a.tgz")) is None
    assert of(said, entry("git+ssh://git@github.com/x/a.git#" + 40 * "1")) is None
    assert of({"allowScripts": {"evil": True}}, entry(f"{REGISTRY}evil/-/evil-1.0.0.tgz")) is True
    for other in (
        "evil/-/evil-1.0.0.tgz?/a/-/a-1.0.0.tgz",
        "evil/-/evil-1.0.0.tgz%3F/a/-/a-1.0.0.tgz",
        "evil/-/evil-1.0.0.tgz;/a/-/a-1.0.0.tgz",
        "evil/-/evil-1.0.0.tgz#/a/-/a-1.0.0.tgz",
        "evil/-/evil-1.0.0.tgz/a/-/a-1.0.0.tgz",
        "evil/-/evil-1.0.0.tgz%253F/a/-/a-1.0.0.tgz",
        "a/-/a-1.0.0.tgz?evil",
        "a/../evil/a/-/a-1.0.0.tgz",
    ):
        assert of(said, entry(f"{REGISTRY}{other}")) is None, other
    # A server never sees what is after `#`.
    assert of(said, entry(f"{REGISTRY}a/-/a-1.0.0.tgz#1234")) is True
    scoped = entry(f"{REGISTRY}@s/a/-/a-1.0.0.tgz", "@s/a")
    assert of({"allowScripts": {"@s/a@1.0.0": True}}, scoped) is True
    escaped = entry(f"{REGISTRY}@s%2fa/-/a-1.0.0.tgz", "@s/a")
    assert of({"allowScripts": {"@s/a@1.0.0": True}}, escaped) is True
    assert of({"allowScripts": {"a": True}}, scoped) is None
    assert of(said, entry(f"{REGISTRY}a/-/b-1.0.0.tgz")) is None


def test_addresses() -> None:
    commit = 40 * "1"
    git = entry(f"git+ssh://git@github.com/x/a.git#{commit}")
    for key in (
        "github:x/a",
        "x/a",
        f"x/a#{commit[:7]}",
        f"git+ssh://git@github.com/x/a.git#{commit}",
    ):
        assert of({"allowScripts": {key: True}}, git) is True, key
    for key in ("github:x/b", "x/a#222", "git+ssh://git@github.com/x/a", "a"):
        assert of({"allowScripts": {key: True}}, git) is None, key
    tarball = entry("file:a.tgz")
    # `npm approve-scripts` writes the whole path.
    for key in ("file:a.tgz", "file:./a.tgz", f"file:{ROOT}/a.tgz"):
        assert of({"allowScripts": {key: True}}, tarball) is True, key
    for key in ("file:b.tgz", "file:/a.tgz", f"file:{ROOT}/b/a.tgz", "a"):
        assert of({"allowScripts": {key: True}}, tarball) is None, key


def test_who_says_it() -> None:
    assert of({}, entry()) is None
    assert of({"allowScripts": {"a": True, "a@1.0.0": False}}, entry()) is False
    assert of({"allowScripts": {"a": 1}}, entry()) is None
    assert of({"allowScripts": ["a"]}, entry()) is None
    assert of({"trustedDependencies": ["a"]}, entry()) is True
    pnpm = {"onlyBuiltDependencies": ["a"], "neverBuiltDependencies": ["b"]}
    assert of({"pnpm": pnpm}, entry()) is True
    assert of({"pnpm": pnpm}, entry(name="b")) is False
    assert of({"pnpm": 1, "trustedDependencies": {}}, entry()) is None
    # Only the first that says anything counts.
    assert of({"allowScripts": {"b": True}, "trustedDependencies": ["a"]}, entry()) is None
    listed = Settings(registries={"": REGISTRY}, values={"allow-scripts": "b, a@1.0.0"})
    assert of({}, entry(), listed) is True
    assert of({"trustedDependencies": ["c"]}, entry(name="c"), listed) is None
    never = Settings(registries={"": REGISTRY}, values={"ignore-scripts": "true"})
    assert of({"allowScripts": {"a": True}}, entry(), never) is False


def test_what_is_bundled_is_never_allowed() -> None:
    assert of({"allowScripts": {"a": True}}, entry(bundled=True)) is None
    assert of({"allowScripts": {"a": True}}, entry(link=True)) is None


def test_what_says_nothing() -> None:
    said = {
        "allowScripts": {"a@^1": True, "b@latest": True, "c": True, "d@1.0.0": True, "x/y": True}
    }
    assert allowed(said, SETTINGS, ROOT).passed_over == ["a@^1", "b@latest"]
