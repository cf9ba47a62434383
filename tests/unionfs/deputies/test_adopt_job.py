"""Views of other users, taken over in earnest, and from a deputy that hands over other things."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from resolver.project import resolved
from resolver.python.interpreter import inspect
from resolver.python.target import python_of
from unionfs.deputies.adopt_job import refuse_own
from unionfs.formats.python.generated import bare_manifest, notice_layer
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.catalog import manifest_path, read_manifest
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def theirs(tmp_path: Path) -> Places:
    """Another user's places, with one view in them."""
    places = Places.from_environ({"HOME": os.fspath(tmp_path / "their-home")})
    store, registry = Store(places.store), Registry(places.state / "registry.sqlite3")
    try:
        bare = bare_manifest(store, inspect(PYTHON, places.state))
        layers = (notice_layer(store, python_of(bare), "theirs"), *bare.layers)
        publish(places, replace(bare, layers=layers), store, registry)
    finally:
        registry.close()
    return places


PYTHON = Path(sys.executable).resolve()


def view_of(places: Places) -> ViewId:
    (manifest,) = (places.state / "manifests").iterdir()
    return ViewId(manifest.stem)


def taken(own: Places, theirs: Places, path_of: Callable[[str], Path | None] | None = None) -> str:
    """Run the program against a deputy that opens `path_of` a name; what it says is wrong."""
    view = view_of(theirs)
    store = Store(theirs.store)
    ours, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def honest(name: str) -> Path | None:
        return store.path(name) if name else manifest_path(theirs, view)

    def serve() -> None:
        with ours:
            while data := ours.recv(4096):
                path = (path_of or honest)(data.decode()[1:]) or honest(data.decode()[1:])
                assert path is not None
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                socket.send_fds(ours, [b"+"], [descriptor])
                os.close(descriptor)

    deputy = threading.Thread(target=serve)
    deputy.start()
    places = json.dumps({name: os.fspath(path) for name, path in asdict(own).items()})
    try:
        with end:
            said = subprocess.run(
                [sys.executable, "-P", "-m", "unionfs.deputies.adopt_job", places, view, "61009"],
                stdin=end.fileno(), capture_output=True, text=True, check=True, timeout=120,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
    finally:
        deputy.join()
    return str(json.loads(said.stdout).get("what", ""))


def nothing_in(own: Places, view: ViewId) -> bool:
    registry = Registry(own.state / "registry.sqlite3")
    try:
        return registry.view_number(view) is None and not manifest_path(own, view).exists()
    finally:
        registry.close()


def test_a_view_is_taken_over(isolated_places: Places, theirs: Places) -> None:
    assert taken(isolated_places, theirs) == ""
    view = view_of(theirs)
    registry = Registry(isolated_places.state / "registry.sqlite3")
    try:
        assert registry.view_number(view) is not None
    finally:
        registry.close()
    store = Store(isolated_places.store)
    for name in read_manifest(isolated_places, view).archives:
        store.verify(name)
        # Only this user's own packing says what a source became.
        assert not (store.derived).exists()
    assert not [path for path in store.archives.iterdir() if path.name.startswith(".tmp")]


@pytest.mark.parametrize("fault", ["other bytes", "cut", "fifo", "directory", "device", "endless"])
def test_what_is_something_else_is_refused(
    isolated_places: Places, theirs: Places, tmp_path: Path, fault: str
) -> None:
    name = read_manifest(theirs, view_of(theirs)).archives[0]
    good = Store(theirs.store).path(name).read_bytes()
    bad = tmp_path / "bad"
    if fault == "other bytes":
        bad.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    elif fault == "cut":
        bad.write_bytes(good[:-10])
    elif fault == "fifo":
        os.mkfifo(bad)
    elif fault == "directory":
        bad.mkdir()
    elif fault == "device":
        bad = Path("/dev/zero")
    else:
        with bad.open("wb") as file:
            file.truncate(1 << 42)
    said = taken(isolated_places, theirs, lambda asked: bad if asked == name else None)
    assert name in said
    assert nothing_in(isolated_places, view_of(theirs))
    assert not Store(isolated_places.store).has(name)


def test_a_file_that_changes_while_it_is_copied_is_no_other(
    isolated_places: Places, theirs: Places, tmp_path: Path
) -> None:
    name = read_manifest(theirs, view_of(theirs)).archives[0]
    good = Store(theirs.store).path(name).read_bytes()
    moving = tmp_path / "moving"
    moving.write_bytes(good)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            moving.write_bytes(os.urandom(len(good)))
            moving.write_bytes(good)

    writer = threading.Thread(target=change)
    writer.start()
    try:
        taken(isolated_places, theirs, lambda asked: moving if asked == name else None)
    finally:
        over.set()
        writer.join()
    store = Store(isolated_places.store)
    if store.has(name):
        store.verify(name)
    else:
        assert nothing_in(isolated_places, view_of(theirs))


def test_a_file_that_grows_is_copied_no_further(
    isolated_places: Places, theirs: Places, tmp_path: Path
) -> None:
    name = read_manifest(theirs, view_of(theirs)).archives[0]
    growing = tmp_path / "growing"
    growing.write_bytes(bytes(1 << 16))
    over = threading.Event()

    def grow() -> None:
        with growing.open("ab") as file:
            while not over.is_set():
                file.write(bytes(1 << 16))
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        said = taken(isolated_places, theirs, lambda asked: growing if asked == name else None)
    finally:
        over.set()
        writer.join()
    assert said == f"{name} grew while it was copied"
    assert not list(Store(isolated_places.store).archives.glob(".tmp*"))


def test_what_was_taken_over_is_counted(isolated_places: Places, theirs: Places) -> None:
    assert taken(isolated_places, theirs) == ""
    ledger = (isolated_places.state / "adopted/61009").read_text("ascii").split()
    view = view_of(theirs)
    assert ledger == [view, *read_manifest(theirs, view).archives]


def test_a_file_system_that_its_user_serves_is_not_read(tmp_path: Path) -> None:
    """It might never answer, and who reads there cannot be ended."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount for another user")
    libc, device = ctypes.CDLL(None, use_errno=True), os.open("/dev/fuse", os.O_RDWR)
    for user, refused in ((61009, True), (0, False)):
        served = tmp_path / str(user)
        served.touch()
        options = f"fd={device},rootmode=100000,user_id={user},group_id=0,allow_other".encode()
        assert libc.mount(b"it", os.fsencode(served), b"fuse", 0, options) == 0
        file = os.open(served, os.O_PATH)  # nobody serves it: all else would hang
        try:
            with pytest.raises(PkgviewError, match="its user's own") if refused else nullcontext():
                refuse_own(file, "it")
        finally:
            os.close(file)
            os.close(device)
            libc.umount2(os.fsencode(served), 2)
            device = os.open("/dev/fuse", os.O_RDWR)
    os.close(device)


def test_a_file_of_another_mount_namespace_is_not_read(
    isolated_places: Places, theirs: Places
) -> None:
    """There any user mounts what may hang."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    name = read_manifest(theirs, view_of(theirs)).archives[0]
    good = Store(theirs.store).path(name)
    script = f"mount -t tmpfs none /mnt && cp {good} /mnt/it && echo up && read x"
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        there = Path(f"/proc/{other.pid}/root/mnt/it")
        said = taken(isolated_places, theirs, lambda asked: there if asked == name else None)
        other.communicate()
    assert said == f"{name} lies in a file system that is its user's own"


def test_a_manifest_counts_by_its_digest(
    isolated_places: Places, theirs: Places, tmp_path: Path
) -> None:
    manifest = read_manifest(theirs, view_of(theirs))
    other = tmp_path / "other.json"
    other.write_bytes(replace(manifest, layers=manifest.layers[1:]).to_bytes())
    assert "its digest is" in taken(isolated_places, theirs, lambda name: None if name else other)
    other.write_bytes(b"{" * 100_000)
    assert taken(isolated_places, theirs, lambda name: None if name else other)
    assert nothing_in(isolated_places, view_of(theirs))


def test_an_archives_name_is_no_path(isolated_places: Places, theirs: Places) -> None:
    """Whoever writes a manifest names it, too: its digest says nothing of what it asks for."""
    manifest = read_manifest(theirs, view_of(theirs))
    evil = replace(manifest.layers[0], archive="../../../../etc/passwd")
    data = replace(manifest, layers=(evil,)).to_bytes()
    manifest_path(theirs, view_of(theirs)).unlink()
    view = replace(manifest, layers=(evil,)).id
    manifest_path(theirs, view).write_bytes(data)
    said = taken(isolated_places, theirs, lambda name: Path("/etc/passwd") if name else None)
    assert "passwd" in said
    assert nothing_in(isolated_places, view)


def test_what_they_call_an_interpreter_is_never_run(
    isolated_places: Places, tmp_path: Path
) -> None:
    """The daemon compiles views that are looked into, and asks their interpreters what they are."""
    ran, evil = tmp_path / "ran", tmp_path / "python3.11"
    evil.write_text(f"#!/bin/sh\ntouch {ran}\n")
    evil.chmod(0o755)
    store = Store(isolated_places.store)
    registry = Registry(isolated_places.state / "registry.sqlite3")
    try:
        bare = bare_manifest(store, inspect(PYTHON, isolated_places.state))
        python = replace(python_of(bare), executable=os.fspath(evil))
        layer = replace(notice_layer(store, python, "theirs"), name="theirs", version="1")
        theirs = python.manifest((layer,))
        view = publish(isolated_places, theirs, store, registry)
    finally:
        registry.close()
    places = {name: os.fspath(path) for name, path in asdict(isolated_places).items()}

    def compile_it() -> str:
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "unionfs.publishing.precompile"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        ) as job:  # fmt: skip
            assert job.stdin is not None
            assert job.stdout is not None
            request = {"places": places, "views": [view], "environ": dict(os.environ)}
            job.stdin.write(json.dumps(request) + "\n")
            job.stdin.flush()  # it stays open: its end would end the job
            return job.stdout.read()

    assert "no project" in compile_it()
    assert not ran.exists()
    # It would be run, were it a project's of one's own.
    record = resolved.Resolved(root=os.fspath(tmp_path)).with_view(
        resolved.ResolvedView(kind="python", variant="3.11", view=view, fingerprint="")
    )
    resolved.save(isolated_places.state / "projects", record)
    compile_it()
    assert ran.exists()


def test_who_takes_over_has_no_power() -> None:
    code = (
        "import os, socket, unionfs.deputies.adopt_job as a; a.confine()\n"
        "print(open('/proc/self/status').read())\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "try: s.connect(('192.0.2.1', 9))\n"
        "except OSError as error: print('network:', error.errno)\n"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    fields = dict(line.split(":\t", 1) for line in said.stdout.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert "network: " in said.stdout
