"""Servers, workers, fetchers and the registry are killed while programs read lazily."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from tests.mounted.conftest import _mount as mount
from tests.mounted.remote.conftest import noise, until
from unionfs.store.partial import Partials

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.remote.conftest import Remote

pytestmark = pytest.mark.fuse

ROUNDS = 1000 if os.environ.get("PKGVIEW_TEST_ALL") else 12

READER = """\
import hashlib, os, random, sys, time
site, seed = sys.argv[1], int(sys.argv[2])
dice, count, longest = random.Random(seed), 0, 0.0
want = dict(line.split() for line in open(sys.argv[3]))
while not os.path.exists(sys.argv[4]):
    path = dice.choice(list(want))
    with open(os.path.join(site, path), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        # In places, as a program that maps it would.
        parts = {at: None for at in range(0, size, 100_000)}
        for at in dice.sample(list(parts), len(parts)):
            file.seek(at)
            parts[at] = b""
            while len(parts[at]) < min(100_000, size - at):
                began = time.monotonic()
                parts[at] += file.read(min(100_000, size - at) - len(parts[at]))
                longest = max(longest, time.monotonic() - began)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert hashlib.sha256(b"".join(parts.values())).hexdigest() == want[path], path
    count += 1
print(count, round(longest, 2))
"""


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.timeout(3600)
def test_a_storm(remote: Remote, workers: str) -> None:
    """No read fails, no byte is wrong, whatever dies; and what was fetched is right."""
    dice = random.Random(4)  # noqa: S311 - the same each time
    names = [
        remote.archive(f"n{number}", {
            f"n{number}/{size}.bin": noise(size << 17, number * 100 + size) for size in (1, 9, 40)
        })
        for number in range(12 if ROUNDS < 100 else 60)
    ]  # fmt: skip
    site = remote.publish(*names)
    remote.faults(rate=600_000)  # so that it is never all here before the end
    mount({**os.environ, "PKGVIEW_WORKERS": workers})
    stop = remote.directory / "stop"
    readers = started(remote, site, stop)
    for number in range(ROUNDS):
        time.sleep(dice.uniform(0.05, 1.2))  # a fetcher takes some tenths to begin
        if number % 5 == 4:
            remote.stop()
            time.sleep(dice.uniform(0, 0.5))
            remote.start()
        else:
            with contextlib.suppress(PkgviewError, ProcessLookupError):
                for pid in remote.fetchers() if number % 2 else remote.status()["pids"]:
                    os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    stop.touch()
    for reader in readers:
        out, _ = reader.communicate(timeout=120)
        assert reader.returncode == 0
        count, longest = out.split()
        assert int(count)
        assert float(longest) < 60
    partials = Partials(remote.places.store)
    for name in partials.names():
        assert partials.wrong(name) == []
    remote.faults()
    for path, content in remote.files.items():
        assert (site / path).read_bytes() == content
    until(lambda: all((remote.places.store / "archives" / name).exists() for name in names))


def started(remote: Remote, site: Path, stop: Path) -> list[subprocess.Popen[str]]:
    """Readers that end when there is a file `stop`, and say: files read, the longest wait."""
    want = "".join(
        f"{path} {hashlib.sha256(content).hexdigest()}\n" for path, content in remote.files.items()
    )
    (remote.directory / "want").write_text(want)
    return [
        subprocess.Popen(
            [sys.executable, "-c", READER, site, str(seed), remote.directory / "want", stop],
            stdout=subprocess.PIPE, text=True,
        )
        for seed in range(4)
    ]  # fmt: skip
