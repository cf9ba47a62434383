from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store import claims
from unionfs.store.claims import Claims
from unionfs.store.local import Store


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
    assert not one.tell_again()
    one.tell(["d"], whole=True)
    one.tell(["e"])
    assert one.tell_again()
    assert two.of_others() == {"a", "c", "d", "e"}
    one.tell(["e"], whole=True, instead=True)
    assert two.of_others() == {"e"}


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


def test_a_copy_of_a_state_is_another_state(store: Store, tmp_path: Path) -> None:
    one = told(store, tmp_path / "one", "a", whole=True)
    subprocess.run(["cp", "-a", tmp_path / "one", tmp_path / "two"], check=True)
    two = Claims(store.root, tmp_path / "two")
    assert two.of_others() == {"a"}  # before it has told anything, too
    assert not two.tell_again()
    two.tell(["b"], whole=True, instead=True)
    assert (one.of_others(), two.of_others()) == ({"b"}, {"a"})
    assert one.tell_again()
    assert two.tell_again()
    # A backup in its place; a state that is moved stays the same.
    (tmp_path / "two").rename(tmp_path / "moved")
    (tmp_path / "one").rename(tmp_path / "two")
    subprocess.run(["cp", "-a", tmp_path / "moved", tmp_path / "one"], check=True)
    one.tell(["c"])
    assert one.of_others() == {"a", "b"}
    assert two.of_others() == {"b", "c"}
    assert Claims(store.root, tmp_path / "moved").of_others() == {"a", "c"}


def test_a_state_is_another_on_another_machine(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = told(store, tmp_path / "state", "here", whole=True)
    with monkeypatch.context() as patch:
        patch.setattr(claims, "machine_id", lambda: "there")
        there = told(store, tmp_path / "state", "there", whole=True)
    assert (here.of_others(), there.of_others()) == ({"there"}, {"here"})
    assert here.tell_again()
    assert len(os.listdir(store.root / "users")) == 2


MOUNTED = """
set -e; one=$1; two=$2; shift 2
mount "$@"
exec "$PYTHON" -c '
import os, sys; from pathlib import Path; from types import SimpleNamespace
from unionfs.store.claims import Claims
os.statvfs = lambda _: SimpleNamespace(f_fsid=0)
found = Claims(*map(Path, sys.argv[1:3]))
found.tell_again() or found.tell([sys.argv[3]], whole=True)
print(*sorted(found.of_others()))' "$one" "$two" "$NAME"
"""
"""Tells in a mount namespace of its own, after something was mounted there. Before Linux 6.6 an
overlay had the number of the file system below."""


def mounted(store: Store, state: Path, name: str, *mount: str | Path) -> str:
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", MOUNTED, "sh", store.root, state, *mount],
        env={**os.environ, "NAME": name, "PYTHON": sys.executable},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    if "mount: " in done.stderr or "unshare: " in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    assert not done.stderr
    return done.stdout.strip()


def test_a_state_that_is_a_mount_elsewhere_is_not_gone(store: Store, tmp_path: Path) -> None:
    own = told(store, tmp_path / "own", "own", whole=True)
    private, place = tmp_path / "private", tmp_path / "place"
    private.mkdir()
    place.mkdir()
    for _ in range(2):
        said = mounted(store, place / "state", "private", "--bind", private, place)
        assert said == "own"
    assert not (place / "state").exists()
    own.tell(["own"], whole=True, instead=True)
    assert own.of_others() == {"private"}
    assert len(os.listdir(store.root / "users")) == 2  # it is the same one each time


def test_containers_of_one_image_are_states_of_their_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_fsid=0))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as temporary:  # no overlay can be above one
        ground = Path(temporary)
        own = told(store, ground / "image/state", "image", whole=True)
        (ground / "root").mkdir()
        for number in ("1", "2", "1"):
            upper, work = ground / f"upper{number}", ground / f"work{number}"
            upper.mkdir(exist_ok=True)
            work.mkdir(exist_ok=True)
            layers = f"lowerdir={ground / 'image'},upperdir={upper},workdir={work}"
            mounted(store, ground / "root/state", number,
                    "-t", "overlay", "-o", layers, "overlay", ground / "root")  # fmt: skip
        assert own.of_others() == {"1", "2"}
        assert len(os.listdir(store.root / "users")) == 3


def test_what_a_state_told_that_is_silent_counts_no_more(store: Store, tmp_path: Path) -> None:
    own = told(store, tmp_path / "own", "own", whole=True)
    other = told(store, tmp_path / "other", "other", whole=True)
    (store.root / "users/0-0123456789abcdef").write_text("of an earlier version\n")
    silent = int(time.time() - claims.COUNTS - 60)
    for path in (store.root / "users").iterdir():
        os.utime(path, (silent, silent))
    assert own.tell_again()
    assert own.silent() == ((os.geteuid(), silent),) * 2
    assert own.of_others() == set()
    assert other.tell_again()
    assert own.of_others() == {"other"}
    os.utime(store.root / "users/0-0123456789abcdef")
    assert own.of_others() == {"other", "of an earlier version"}
    for path in (store.root / "users").iterdir():
        os.utime(path, (silent, silent))
    own.tell(["own"], whole=True)  # though nothing is new
    assert other.of_others() == {"own"}
    own.tell(["own"], whole=True, instead=True)
    assert len(os.listdir(store.root / "users")) == 1
    assert not other.tell_again()


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
    passed = time.time() + claims.COUNTS + 1
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


def test_in_a_store_that_is_only_read_nothing_is_told(store: Store, tmp_path: Path) -> None:
    store.archives.mkdir(parents=True)
    assert mounted(store, tmp_path / "state", "a", "--bind", "-r", store.root, store.root) == ""
    assert os.listdir(store.root) == ["archives"]


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
