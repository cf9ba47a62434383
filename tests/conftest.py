"""Fixtures that several test modules share."""

from __future__ import annotations

import importlib.util
import io
import os
import random
import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from resolver.places import Places
from resolver.python.target import Python, Schemes
from unionfs.archive.layer import Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view import nodeid
from unionfs.view.attributes import Absent
from unionfs.view.catalog import Catalog
from unionfs.view.filesystem import Filesystem
from unionfs.view.nodeid import Fixed, NodeId
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from resolver.manifest import ViewId

pytest_plugins = ["tests.plugin"]

# Tests decide when something is compiled.
os.environ["PKGVIEW_COMPILE"] = "0"
# And no process is left behind.
os.environ["PKGVIEW_FORKSERVER"] = "0"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job in the background of a script ignores it, and so would every program that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """Skip a test that starts programs which are not here; where CI=true they have to be."""

    def check(*programs: str, modules: Collection[str] = ()) -> None:
        missing = [program for program in programs if not shutil.which(program)]
        missing += [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            said = f"there is no {' and no '.join(missing)} (scripts/bootstrap --dev, as root)"
            if os.environ.get("CI") == "true":
                pytest.fail(said)
            pytest.skip(said)

    return check


@pytest.fixture
def isolated_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Everything pkgview would write, below `tmp_path`, for this process and its children."""
    home = tmp_path / "home"
    runtime = tmp_path / "run"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PKGVIEW_MOUNT", str(home / ".pkgview"))
    for variable in ("PKGVIEW_PROJECT", "PKGVIEW_VIEW", "VIRTUAL_ENV"):
        monkeypatch.delenv(variable, raising=False)
    return Places.from_environ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A file system with one view of a few files, as a transport gets it; nothing is mounted."""

    filesystem: Filesystem
    view: ViewId
    files: Mapping[str, bytes]
    """Path in the view -> content of every file; `files["large"]` takes several frames."""
    asked: list[int]
    """The threads that asked for `current`."""

    def node(self, path: str) -> NodeId:
        """Walk from the mount's root."""
        node = nodeid.fixed(Fixed.ROOT)
        for name in filter(None, path.split("/")):
            found = self.filesystem.lookup(node, name.encode())
            assert not isinstance(found, Absent), path
            node = found.node
        return node


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    """Keeps it all below a directory."""
    places = Places.from_environ({"HOME": str(directory)})
    store, registry = Store(places.store), Registry(places.state / "registry.sqlite3")
    files = {
        "one": b"1",
        "empty": b"",
        "large": random.Random(7).randbytes(400_000),  # noqa: S311 - content, no secret
        "program": b"#!",
        **{f"many/{number:03}": str(number).encode() for number in range(500)},
    }
    members = [
        Member(path=f"data/{path}".encode(), size=len(content), executable=path == "program",
               open=partial(io.BytesIO, content))
        for path, content in files.items()
    ]  # fmt: skip
    members.append(Member(path=b"data/link", kind=Kind.SYMLINK, target=b"one"))
    other = [Member(path=b"data/many/other", size=0, open=partial(io.BytesIO, b""))]
    metas = [Meta(kind="distribution", name="a", version="1", stem=stem) for stem in ("a-1", "b-1")]
    archives = [store.add(members, metas[0]), store.add(other, metas[1])]
    schemes = Schemes(purelib="site", platlib="site", scripts="bin", headers="include", data="")
    python = Python(version="3.11", executable="/usr/bin/python3.11", schemes=schemes)
    layers = tuple(python.layer(name) for name in archives)
    view = publish(places, python.manifest(layers), store, registry)
    asked: list[int] = []

    async def current(tid: int) -> ViewId:
        asked.append(tid)
        return view

    # A store of its own: nothing that was made is in its cache.
    catalog = Catalog(places, Store(places.store), registry)
    filesystem = Filesystem(catalog, current, uid=1, gid=2)
    yield Served(filesystem=filesystem, view=view, files={**files, "many/other": b""}, asked=asked)
    registry.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as made:
        yield made
