"""Files of archives that are fetched while they are read, through real mounts."""

from __future__ import annotations

import itertools
import mmap
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.conftest import _mount as mount
from tests.mounted.remote.conftest import noise, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.remote.conftest import Remote

pytestmark = pytest.mark.fuse

LARGE = 6 << 20


def large_and_small(
    remote: Remote, name: str = "a", seed: int = 1, size: int = LARGE
) -> tuple[str, Path]:
    """A view of an archive with a file of many frames, and a few small ones."""
    files = {f"{name}/large.bin": noise(size, seed), f"{name}/small.py": b"x = 1\n" * 1000}
    archive = remote.archive(name, files)
    site = remote.publish(archive)
    remote.forget()
    return archive, site / name


def read(path: Path) -> bytes:
    """All of a file, by a program of its own."""
    return subprocess.run(["cat", path], capture_output=True, check=True, timeout=100).stdout


def overlaps(asked: list[list[Any]]) -> int:
    """Bytes that were sent more than once."""
    spans = sorted((path, start, start + sent) for path, start, _, sent in asked if sent)
    return sum(
        max(0, before[2] - after[1])
        for before, after in itertools.pairwise(spans)
        if before[0] == after[0]
    )


def test_a_read_fetches_its_block_and_the_last_one_makes_it_whole(remote: Remote) -> None:
    name, site = large_and_small(remote)
    whole = remote.there(name)
    mount(os.environ)
    assert (site / "small.py").read_bytes() == remote.files["a/small.py"]
    assert not remote.asked()  # it came with the tables
    with (site / "large.bin").open("rb") as file:
        file.seek(3 << 20)
        assert file.read(1000) == remote.files["a/large.bin"][3 << 20 : (3 << 20) + 1000]
    (asked,) = remote.asked()
    assert asked[3] <= (1 << 20) + (128 << 10)
    status = remote.status()
    assert status["remote"]["answered"] >= 1
    assert status["remote"]["waiting"] == status["remote"]["failed"] == 0
    assert (site / "large.bin").read_bytes() == remote.files["a/large.bin"]
    assert not overlaps(remote.asked())
    assert sum(sent for *_, sent in remote.asked()) <= whole.size
    until((remote.places.store / "archives" / name).exists)
    until(lambda: not os.listdir(remote.places.store / "partial"))
    remote.stop()
    for path in ("large.bin", "small.py"):  # what was open goes on with the ordinary one
        drop_caches(site / path)
        assert read(site / path) == remote.files[f"a/{path}"]


def drop_caches(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("transport", "workers"), [("devfuse", "1"), ("devfuse", "3"), ("libfuse", "1")]
)
def test_many_processes_cost_one_fetch_of_each_frame(
    remote: Remote, transport: str, workers: str
) -> None:
    name, site = large_and_small(remote)
    remote.faults(delay=0.05)
    mount({**os.environ, "PKGVIEW_TRANSPORT": transport, "PKGVIEW_WORKERS": workers})
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(read, [site / "large.bin"] * 16))
    assert all(one == remote.files["a/large.bin"] for one in found)
    assert not overlaps(remote.asked())
    assert sum(sent for *_, sent in remote.asked()) <= remote.there(name).size
    assert len(remote.asked()) <= 8


@pytest.mark.parametrize(
    "faults",
    [
        {"cut": 200_000, "cuts": 40},
        {"cut": 0, "cuts": 3},
        {"whole": True},
        {"past": True},
        {"rate": 4 << 20},
    ],
)
def test_a_server_as_they_are_gives_the_right_bytes(remote: Remote, faults: dict[str, Any]) -> None:
    _, site = large_and_small(remote)
    remote.faults(**faults)
    mount(os.environ)
    assert read(site / "large.bin") == remote.files["a/large.bin"]


def test_a_busy_server_is_asked_again_when_it_says(remote: Remote) -> None:
    _, site = large_and_small(remote)
    remote.faults(status=429, wait=2)
    mount(os.environ)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read, site / "large.bin")
        until(lambda: "429" in (remote.places.state / "daemon.log").read_text())
        remote.faults()
        assert found.result() == remote.files["a/large.bin"]
    assert time.monotonic() - began >= 2


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"hang": True}, "within 3 s"),
    ({"drip": 0.05}, "within 3 s"),
    ({"status": 503}, "503"),
    ({"status": 404}, "404"),
    ({"wrong": [16 << 20, 18 << 20]}, "frame"),
]


def test_what_cannot_be_had_is_named_and_not_kept(remote: Remote) -> None:
    name, site = large_and_small(remote, size=20 << 20)
    remote.config("[remote]\ntimeout = 3\n")  # longer than the longest pause between tries
    mount(os.environ)
    log = remote.places.state / "daemon.log"
    for place, (faults, said) in enumerate(FAULTS):
        remote.faults(**faults)
        time.sleep(2.1 if place else 0)  # for so long a refusal is repeated
        began = time.monotonic()
        with (site / "large.bin").open("rb") as file:
            file.seek(place * (4 << 20) + (1 << 19))
            with pytest.raises(OSError, match="Input/output error"):
                file.read(1000)
        assert time.monotonic() - began < 6
        last = remote.status()["remote"]["last"]
        assert said in last, last
        assert name in last
        assert last in log.read_text()
    remote.faults()
    time.sleep(2.1)
    assert read(site / "large.bin") == remote.files["a/large.bin"]


def test_a_server_that_is_gone_for_a_while(remote: Remote) -> None:
    _, site = large_and_small(remote)
    mount(os.environ)
    remote.stop()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read, site / "large.bin")
        time.sleep(1)
        remote.start()
        assert found.result() == remote.files["a/large.bin"]


# Waiting


READ = """\
import sys
f = open(sys.argv[1], 'rb')
f.seek(2 << 20)
print('go', flush=True)
f.read(99)
"""
OTHER = READ.replace("2 <<", "3 <<")
CAUGHT = """\
import sys
f = open(sys.argv[1], 'rb')
f.seek(1 << 20)
print('go', flush=True)
try:
    f.read(99)
except KeyboardInterrupt:
    print('interrupted', flush=True)
"""
FAULT = (
    "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1);"
    "print('go', flush=True); m[5 << 20]"
)


def waiting(program: str, path: Path) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "go\n"
    return started


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out


def test_whoever_waits_can_be_ended_at_once(remote: Remote) -> None:
    _, site = large_and_small(remote)
    remote.faults(hang=True)
    mount(os.environ)
    path = site / "large.bin"
    caught, killed, default, fault = (
        waiting(program, path) for program in (CAUGHT, READ, OTHER, FAULT)
    )
    # Each at its own place: who waits for a page that another asked for is not known.
    until(lambda: remote.status()["remote"]["waiting"] >= 4)
    began = time.monotonic()
    killed.kill()
    assert ended(killed, 2)[0] == -signal.SIGKILL
    caught.send_signal(signal.SIGINT)
    assert ended(caught, 2) == (0, "interrupted\n")
    default.terminate()
    assert ended(default, 2)[0] == -signal.SIGTERM
    assert time.monotonic() - began < 3
    for _ in range(2):  # Python only notes the first, and the fault goes on
        fault.send_signal(signal.SIGINT)
        time.sleep(1)
    assert ended(fault, 1)[0] in {-signal.SIGBUS, -signal.SIGINT}
    until(lambda: not remote.status()["remote"]["waiting"])
    remote.faults()
    assert read(path) == remote.files["a/large.bin"]


def test_a_page_fault_waits_too(remote: Remote) -> None:
    _, site = large_and_small(remote)
    remote.faults(delay=0.5)
    mount(os.environ)
    with (site / "large.bin").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        assert mapped[3 << 20] == remote.files["a/large.bin"][3 << 20]
        mapped.close()
    remote.config("[remote]\ntimeout = 1\n")
    remote.faults(hang=True)
    fault = waiting(FAULT, site / "large.bin")
    assert ended(fault, 5)[0] == -signal.SIGBUS


@pytest.mark.parametrize(("transport", "count"), [("devfuse", 100), ("libfuse", 5)])
def test_bystanders_are_not_held_up(remote: Remote, transport: str, count: int) -> None:
    """With libfuse the kernel has twelve READs of read-ahead under way, and nobody can raise it."""
    site = remote.publish(remote.archive("a", {"a/large.bin": noise(110 << 17, 1)})) / "a"
    other = remote.archive("b", {"b/here.bin": noise(4 << 20, 2)})
    there = remote.publish(other) / "b/here.bin"
    mount({**os.environ, "PKGVIEW_TRANSPORT": transport})
    assert read(there) == remote.files["b/here.bin"]
    until((remote.places.store / "archives" / other).exists)
    remote.faults(hang=True)
    readers = [
        subprocess.Popen(
            ["dd", f"if={site}/large.bin", "bs=4096", "count=1", f"skip={place * 32}",
             "status=none"], stdout=subprocess.DEVNULL,
        )
        for place in range(count)
    ]  # fmt: skip
    until(lambda: remote.status()["remote"]["waiting"] >= count)
    try:
        for _ in range(5):
            drop_caches(there)
            began = time.monotonic()
            assert read(there) == remote.files["b/here.bin"]
            assert time.monotonic() - began < 2
    finally:
        for reader in readers:
            reader.kill()
        remote.faults()
        for reader in readers:
            reader.wait()
