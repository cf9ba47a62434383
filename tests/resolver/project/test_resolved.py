from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.naming import project_key
from resolver.project.resolved import Resolved, ResolvedView, load, load_key, save

if TYPE_CHECKING:
    from pathlib import Path


def view(python: str, digit: str) -> ResolvedView:
    return ResolvedView(
        kind="python", variant=python, view=ViewId(digit * 32), fingerprint=f"fp-{digit}"
    )


ONE, TWO, OTHER = view("3.11", "1"), view("3.11", "2"), view("3.12", "3")


# A record


def test_a_new_view_replaces_the_one_of_its_python() -> None:
    found = Resolved(root="/p").with_view(ONE).with_view(OTHER).with_view(TWO)
    assert found.views == (OTHER, TWO)
    assert found.view_for("3.11") == TWO
    assert found.view_for("3.12") == OTHER


def test_without_a_view_of_that_python_the_newest_counts() -> None:
    assert Resolved(root="/p").view_for("3.11") is None
    assert Resolved(root="/p", views=(ONE, OTHER)).view_for("3.13") == OTHER
    assert Resolved(root="/p", views=(OTHER, ONE)).view_for(None) == ONE


# Its name


@given(st.binary(min_size=1, max_size=300).map(lambda data: "/" + os.fsdecode(data)))
def test_a_key_is_one_plain_name(root: str) -> None:
    key = project_key(root)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}-[0-9a-f]{10}", key)
    assert project_key(root) == key
    assert project_key(root + "x") != key


@pytest.mark.parametrize(
    ("root", "name"),
    [("/srv/shop", "shop"), ("/", "root"), ("/srv/a b\nc/", "a_b_c"), ("/x/.config", ".config"),
     ("/srv/ünï", "_n_"), ("/a/" + "x" * 200, "x" * 100), ("/a/script.py", "script.py")],
)  # fmt: skip
def test_a_key_begins_with_the_projects_name(root: str, name: str) -> None:
    assert project_key(root).rpartition("-")[0] == name


def test_equal_names_in_different_places_have_different_keys() -> None:
    assert project_key("/a/shop") != project_key("/b/shop")


# On disk


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    projects = tmp_path / "state/projects"
    for root in ("/srv/shop", "/srv/\udcff", "/srv/ü"):
        saved = Resolved(root=root, views=(ONE, OTHER))
        save(projects, saved)
        assert load(projects, root) == saved
        assert load_key(projects, saved.key) == saved
    assert load(projects, "/elsewhere") == Resolved(root="/elsewhere")


def test_the_record_of_another_root_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, Resolved(root="/a", views=(ONE,)))
    (tmp_path / f"{project_key('/a')}.json").rename(tmp_path / f"{project_key('/b')}.json")
    assert load(tmp_path, "/b") == Resolved(root="/b")


GOOD = {"root": "/p", "views": [{"python": "3", "view": "1" * 32, "fingerprint": ""}]}


def with_field(key: str, value: object) -> object:
    return GOOD | {"views": [{"python": "3", "view": "1" * 32, "fingerprint": "", key: value}]}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff", b"null", b"[]", b"5", b"[" * 100_000, {}, GOOD | {"root": 5},
        GOOD | {"views": None}, GOOD | {"views": [5]}, GOOD | {"views": [{}]},
        with_field("view", 5), with_field("view", None), with_field("view", ""),
        with_field("view", "../" * 10 + "xx"), with_field("view", "1" * 32 + "\n"),
        with_field("python", 3), with_field("fingerprint", []), with_field("unknown", ""),
    ],
    ids=lambda content: str(content)[-60:],
)  # fmt: skip
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: object) -> None:
    path = tmp_path / f"{project_key('/p')}.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert load_key(tmp_path, project_key("/p")) is None
    assert load(tmp_path, "/p") == Resolved(root="/p")
    save(tmp_path, Resolved(root="/p", views=(ONE,)))
    assert load(tmp_path, "/p").views == (ONE,)


@pytest.mark.parametrize("key", ["a\0b", "x" * 300, "a/b", "", "..", "\udcff"])
def test_names_that_nobody_saved(tmp_path: Path, key: str) -> None:
    assert load_key(tmp_path, key) is None
    assert load_key(tmp_path / "missing", key) is None


# Writing


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new/directory/file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(PkgviewError, match="No space left on device") as caught:
            write_atomically(path, b"new")
    assert "Make room" in caught.value.remedy
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PkgviewError, match=r"cannot write .*file/below"):
        write_atomically(tmp_path / "file/below", b"")


def test_readers_see_the_old_or_the_new(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom resolver.atomic import write_atomically\n"
        "for n in range(200): write_atomically(Path(sys.argv[1]), bytes([n]) * 50_000)\n"
    )
    path = tmp_path / "file"
    write_atomically(path, bytes(50_000))
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)])
    while writer.poll() is None:
        data = path.read_bytes()
        assert len(data) == 50_000
        assert len(set(data)) == 1
    assert writer.returncode == 0
    assert os.listdir(tmp_path) == ["file"]
