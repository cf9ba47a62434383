from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store import claims
from unionfs.store.claims import Claims
from unionfs.store.local import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def added(store: Store, data: bytes) -> str:
    member = Member(path=b"a", size=len(data), open=partial(io.BytesIO, data))
    return store.add([member], Meta(kind="distribution", name="demo", version="1", stem="demo-1"))


def told(store: Store, state: Path, *names: str, whole: bool = False) -> Claims:
    found = Claims(store.root, state)
    found.tell(names, whole=whole)
    return found


def test_what_one_state_tells_the_others_know(store: Store, tmp_path: Path) -> None:
    one, two = told(store, tmp_path / "one", "a"), told(store, tmp_path / "two", "b")
    one.tell(["c"])
    assert (one.of_others(), two.of_others()) == ({"b"}, {"a", "c"})
    assert not one.are_whole()
    one.tell(["d"], whole=True)
    one.tell(["e"])
    assert one.are_whole()
    assert two.of_others() == {"a", "c", "d", "e"}
    one.tell(["e"], whole=True, instead=True)
    assert two.of_others() == {"e"}
    # A state is known by its own id: one that lies at its path elsewhere is another.
    (tmp_path / "two").rename(tmp_path / "kept")
    three = told(store, tmp_path / "two", "f")
    assert one.of_others() == {"f"}
    (tmp_path / "kept").rename(tmp_path / "moved")
    assert three.of_others() == {"e"}


def test_who_tells_at_once_forgets_nothing_of_the_other(store: Store, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from unionfs.store.claims import Claims\n"
        "for n in range(20): Claims(*map(Path, sys.argv[1:3])).tell([sys.argv[3] + str(n)])"
    )
    state = tmp_path / "state"
    command = [sys.executable, "-c", program, str(store.root), str(state)]
    running = [subprocess.Popen([*command, letter]) for letter in "ab"]
    assert [one.wait(60) for one in running] == [0, 0]
    found = Claims(store.root, tmp_path / "other").of_others()
    assert found == {f"{letter}{n}" for letter in "ab" for n in range(20)}


def test_what_a_state_told_that_is_gone_goes(store: Store, tmp_path: Path) -> None:
    own = told(store, tmp_path / "own", "own")
    for name in ("removed", "above/removed", "replaced", "restored", "rebooted", "elsewhere"):
        told(store, tmp_path / name / "state", name)
    for name in ("removed/state", "above", "replaced/state", "rebooted", "elsewhere"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "replaced/state").mkdir()
    # A copy from before, at the same place.
    shutil.copytree(tmp_path / "restored", tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "restored")
    (tmp_path / "copy").rename(tmp_path / "restored")
    kept = {"restored", "rebooted", "elsewhere", "mounted", "of an earlier version"}
    for path in (store.root / "users").iterdir():
        head, *names = path.read_text().splitlines() or [""]
        if names == ["rebooted"]:
            path.write_text("\n".join((json.dumps({**json.loads(head), "boot": "?"}), *names)))
        if names == ["elsewhere"]:  # it was told where another directory is the root
            said = json.loads(head)
            said["way"][0][1] += 1
            path.write_text("\n".join((json.dumps(said), *names)))
            said["way"][0][1] -= 1
            for step in said["way"][-2:]:  # or what is missing was a mount
                step[0] += 1
            (path.parent / "0-mounted").write_text("\n".join((json.dumps(said), "mounted")))
    (store.root / "users/0-0123456789abcdef").write_text("of an earlier version\n")
    assert own.of_others() == kept
    assert len(os.listdir(store.root / "users")) == 9
    own.tell(["own"], whole=True, instead=True)
    assert own.of_others() == kept
    assert len(os.listdir(store.root / "users")) == 6


def test_what_was_there_before_anybody_told_stays_for_a_while(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = added(store, b"1")
    own = Claims(store.root, tmp_path / "state")
    assert own.of_others() == {before}  # also where nothing can be written
    own.begin()
    added(store, b"2")
    own.tell([], whole=True, instead=True)
    assert own.of_others() == {before}
    # Where others may write, earlier versions told as well.
    store.root.chmod(0o3777)
    (store.root / "before").rename(store.root / "elsewhere")
    own.begin()
    assert own.of_others() == set()
    store.root.chmod(0o700)
    (store.root / "elsewhere").rename(store.root / "before")
    passed = time.time() + claims.GRACE + 1
    monkeypatch.setattr(time, "time", lambda: passed)
    assert own.of_others() == set()


def test_who_begins_at_once_lists_nothing_of_the_other(store: Store) -> None:
    program = (
        "import os, sys; from pathlib import Path; from unionfs.store.claims import Claims\n"
        "root = Path(sys.argv[1]); print(flush=True); input()\n"
        "Claims(root, root.parent / 'state').begin(); (root / 'archives').mkdir(exist_ok=True)\n"
        "(root / 'archives' / sys.argv[2]).touch()"
    )
    name = added(store, b"1")
    for _ in range(5):
        shutil.rmtree(store.root)
        running = [
            subprocess.Popen([sys.executable, "-c", program, str(store.root), f"{letter}{name}"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for letter in "abcd"
        ]  # fmt: skip
        for one in running:
            assert one.stdout
            one.stdout.readline()
        for one in running:
            one.communicate(b"\n")
        assert (store.root / "before").read_text() == ""


def test_a_store_that_begins_with_it_has_nothing_from_before(store: Store, tmp_path: Path) -> None:
    own = Claims(store.root, tmp_path / "state")
    own.begin()
    added(store, b"1")
    own.tell([], whole=True)
    assert own.of_others() == set()


def test_what_is_no_file_or_says_nothing_of_a_state_is_harmless(
    store: Store, tmp_path: Path
) -> None:
    own = told(store, tmp_path / "own")
    users = store.root / "users"
    os.mkfifo(users / "fifo")
    (users / "empty").touch()
    for number, head in enumerate(("7", "{}", '{"state": 7, "id": 7, "way": 7}', "{", '"a"')):
        (users / f"0-{number}").write_text(f"{head}\nname{number}\n")
    assert own.of_others() >= {f"name{number}" for number in range(5)}
    own.tell([], whole=True, instead=True)
    assert len(os.listdir(users)) == 8
