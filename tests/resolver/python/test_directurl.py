from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resolver.python.directurl import direct_url, of_directory
from resolver.python.selection import Choice, Source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def told(**fields: Any) -> Any:  # noqa: ANN401 - JSON
    said = direct_url(Choice(**{"name": "demo", "version": "1", "direct": True, **fields}))
    assert said is not None
    return json.loads(said)


def test_what_an_index_offered_has_none() -> None:
    offered = Choice(name="demo", version="1", kind=Source.WHEEL, url="https://index/demo.whl")
    assert direct_url(offered) is None


def test_a_wheel_and_a_source_archive() -> None:
    expected = {"url": "https://host/demo.whl", "archive_info": {}}
    assert told(kind=Source.WHEEL, url="https://host/demo.whl") == expected
    archive = {"kind": Source.ARCHIVE, "path": Path("/a/demo.tar.gz"), "subdirectory": "in/it"}
    expected = {"url": "file:///a/demo.tar.gz", "archive_info": {}, "subdirectory": "in/it"}
    assert told(**archive) == expected


@pytest.mark.parametrize("revision", [None, "main"])
def test_a_commit(revision: str | None) -> None:
    said = told(kind=Source.VCS, url="git+https://host/demo", commit=COMMIT, revision=revision)
    asked = {"requested_revision": revision} if revision else {}
    info = {"vcs": "git", "commit_id": COMMIT, **asked}
    assert said == {"url": "https://host/demo", "vcs_info": info}


def test_a_directory() -> None:
    assert told(kind=Source.DIRECTORY, path=Path("/a/b"))["dir_info"] == {}
    editable = told(kind=Source.DIRECTORY, path=Path("/a/b"), editable=True)
    assert editable == {"url": "file:///a/b", "dir_info": {"editable": True}}
    assert json.loads(of_directory(Path("/a/b"), editable=True)) == editable


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://user:password@host/a@b", "https://host/a@b"),
        ("https://token@host/a", "https://host/a"),
        ("https://user:pass@word@host/a", "https://host/a"),
        ("git+ssh://git@host/a", "ssh://git@host/a"),
        ("ssh://git:password@host/a", "ssh://host/a"),
        ("https://${USER}:${TOKEN}@host/a", "https://${USER}:${TOKEN}@host/a"),
        ("https://${USER}:password@host/a", "https://host/a"),
        ("https://host/a@b", "https://host/a@b"),
        ("https://host?to=a@b", "https://host?to=a@b"),
    ],
)
def test_passwords_are_left_out(url: str, kept: str) -> None:
    assert told(kind=Source.VCS, url=url, commit=COMMIT)["url"] == kept


def test_names_that_a_url_cannot_have_as_they_are() -> None:
    url = told(kind=Source.DIRECTORY, path=Path("/a b/ü#?%/c+d"))["url"]
    assert url == "file:///a%20b/%C3%BC%23%3F%25/c+d"
    assert told(kind=Source.DIRECTORY, path=Path("/\udcff"))["url"] == "file:///%FF"
