"""Budgets: how many requests, by opcode, the kernel has to send for what people do all day.

Performance is requests not sent, so a budget that grows is a regression, whatever the clock says.
What the kernel sends without anybody waiting for it (RELEASE, FORGET) is not counted.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.interpreter import Interpreter, inspect
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.daemon import launch
from unionfs.formats.python.generated import skeleton_layer
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.mounted.conftest import Site

pytestmark = [pytest.mark.fuse, pytest.mark.alone]

MODULES = 30
UNAWAITED = {"RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET"}
OPENING = {"OPEN", "OPENDIR"}
BEFORE_THE_PIN = 4
"""Files that a start reads before the pin: pyvenv.cfg, the .pth file twice, the pin itself."""

Cost = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount that nobody else uses, and what its daemon was asked."""

    site: Site
    store: Store
    interpreter: Interpreter
    transport: str

    @property
    def root(self) -> Path:
        return self.site.places.mount

    def archive(self, name: str, modules: Mapping[str, str]) -> str:
        members = [
            Member(
                path=f"purelib/{name}/{module}.py".encode(),
                size=len(text),
                open=partial(io.BytesIO, text.encode()),
            )
            for module, text in ({"__init__": ""} | dict(modules)).items()
        ]
        return self.store.add(
            members, Meta(kind="distribution", name=name, version="1", stem=f"{name}-1")
        )

    def view(self, *archives: str) -> Path:
        """A view with an interpreter, which nobody has looked at yet."""
        skeleton = skeleton_layer(self.store, self.interpreter)
        layers = (skeleton, *(self.interpreter.python.layer(archive) for archive in archives))
        manifest = self.interpreter.python.manifest(layers)
        registry = Registry(self.site.places.state / "registry.sqlite3")
        try:
            view = publish(self.site.places, manifest, self.store, registry)
        finally:
            registry.close()
        return self.root / "views" / view

    def packages(self, view: Path) -> Path:
        return view / self.interpreter.python.schemes.purelib

    def asked(self) -> Cost:
        """The counters, as `pkgview status --json` shows them."""
        said = self.site.pkgview("status", "--json", cwd=self.site.home)
        counters: Cost = json.loads(said.stdout)["requests"]
        return counters

    def cost(self, action: Callable[[], object]) -> Cost:
        """What an action makes the kernel ask."""
        before = self.asked()
        action()
        after = self.asked()
        grown = {name: count - before.get(name, 0) for name, count in after.items()}
        return {name: count for name, count in grown.items() if count and name not in UNAWAITED}

    def within(self, cost: Cost, budget: Cost, *, cold: bool = False) -> bool:
        """Whether a cost is within a budget, which is written for libfuse.

        Our own transport opens nothing, and lists what has not been listed before; it counts
        libfuse's secret, too: the TCGETS of Python's `open` before 3.14.
        """
        if self.transport == "devfuse":
            once = dict.fromkeys(("OPEN", "OPENDIR", "FLUSH"), 1) if cold else {}
            pages = {"READDIRPLUS": budget.get("READDIR", 0)} if cold else {}
            rest = {name: n for name, n in budget.items() if name not in {*OPENING, "READDIR"}}
            budget = {**rest, **once, **pages, "IOCTL": min(budget.get("OPEN", 0), BEFORE_THE_PIN)}
        return all(count <= budget.get(name, 0) for name, count in cost.items())

    def warm(self, action: Callable[[], object], budget: Cost) -> Cost:
        """What an action costs that has been done before.

        Anybody on this machine may empty the kernel's caches at any time, so what passes the
        budget is measured again: what really grew stays so.
        """
        for _ in range(3):
            cost = self.cost(action)
            if self.within(cost, budget):
                break
        return cost

    def python(self, python: Path, *modules: str, view: Path | None = None) -> Callable[[], object]:
        """Start an interpreter that imports these modules and ends."""
        environ = {} if view is None else {"PKGVIEW_VIEW": view.name}
        code = "".join(f"import {module}\n" for module in modules)
        return lambda: self.site.run(python, "-c", code, cwd=self.site.home, environ=environ)


@pytest.fixture(params=["devfuse", "libfuse"])
def mount(shop: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Mount:
    transport = str(request.param)
    monkeypatch.setenv("PKGVIEW_TRANSPORT", transport)
    launch.ensure_mounted(shop.places)
    return Mount(
        site=shop,
        store=Store(shop.places.store),
        interpreter=inspect(shop.python, shop.places.state),
        transport=transport,
    )


@pytest.fixture
def demo(mount: Mount) -> str:
    return mount.archive("demo", {f"m{number}": f"n = {number}\n" for number in range(MODULES)})


DEMO = [f"demo.m{number}" for number in range(MODULES)]

START = {"OPEN": 5, "OPENDIR": 3, "READDIR": 6, "READLINK": 2}
"""An interpreter's start through `views/<id>`: pyvenv.cfg, the .pth file, the pin; the directories
on sys.path; bin/python itself, twice."""

START_THROUGH_LINK = {"OPEN": 5, "OPENDIR": 4, "READDIR": 8, "READLINK": 26}
"""Before it comes to the pin, an interpreter walks a dozen paths, each through two links."""

IMPORT = {"OPEN": MODULES + 1, "OPENDIR": 1, "READDIR": 2}
"""Importing a package with its modules, warm. One OPEN a file and one listing of the directory
remain on libfuse, whose loop hides the node id from READ and READDIR, so that OPEN cannot be
refused for ever. On our own transport nothing remains."""


def together(*budgets: Cost) -> Cost:
    return {
        name: sum(budget.get(name, 0) for budget in budgets)
        for name in {name for budget in budgets for name in budget}
    }


def test_looking_at_the_counters_costs_nothing(mount: Mount) -> None:
    assert mount.warm(lambda: None, {}) == {}
    assert mount.warm(mount.root.stat, {}) == {}


def test_a_warm_import_through_a_view(mount: Mount, demo: str) -> None:
    python = mount.view(demo) / "bin/python"
    start, imports = mount.python(python), mount.python(python, *DEMO)
    imports()
    budget = together(START, IMPORT)
    assert mount.within(mount.warm(start, START), START)
    assert mount.within(mount.warm(imports, budget), budget)


def test_a_cold_import_through_a_view(mount: Mount, demo: str) -> None:
    python = mount.view(demo) / "bin/python"
    # Nothing is looked up that a listing has shown, or read twice. That no bytecode is there has
    # to be asked once a directory.
    start = together(START, {"GETATTR": 1, "LOOKUP": 12, "READ": 4})
    assert mount.within(mount.cost(mount.python(python)), start, cold=True)
    imports = together(START, IMPORT, {"READ": MODULES, "LOOKUP": 5})
    assert mount.within(mount.cost(mount.python(python, *DEMO)), imports, cold=True)


def test_what_another_view_has_read_is_not_read_again(mount: Mount, demo: str) -> None:
    first = mount.view(demo)
    mount.python(first / "bin/python", *DEMO)()
    for number in range(3):
        second = mount.view(mount.archive(f"other{number}", {"m": f"x = {number}\n"}), demo)
        cost = mount.cost(mount.python(second / "bin/python", *DEMO))
        if "READ" not in cost:
            break
    assert "READ" not in cost
    assert cost["OPEN" if mount.transport == "libfuse" else "READDIRPLUS"]  # it was counted
    # The same content at the same place of another version.
    third = mount.view(mount.archive("demo", {"m7": "n = 7\n", "another": ""}))
    path = mount.packages(third) / "demo/m7.py"
    path.stat()
    assert mount.within(mount.warm(path.read_bytes, {"OPEN": 1}), {"OPEN": 1})
    assert path.stat().st_ino == (mount.packages(first) / "demo/m7.py").stat().st_ino


def test_an_import_through_the_magic_link_costs_no_more_than_through_the_view(
    mount: Mount, demo: str
) -> None:
    view = mount.view(demo)
    python = mount.root / "bin/python"
    start, imports = mount.python(python, view=view), mount.python(python, *DEMO, view=view)
    imports()
    budget = together(START_THROUGH_LINK, IMPORT)
    assert mount.within(mount.warm(start, START_THROUGH_LINK), START_THROUGH_LINK)
    assert mount.within(mount.warm(imports, budget), budget)


def test_a_walk_through_current_costs_one_readlink(mount: Mount, demo: str) -> None:
    view = mount.view(demo)
    deep = mount.packages(view).relative_to(view) / "demo/m1.py"

    def walk(path: Path) -> None:
        # In a process that is bound to the view; ten times, in one thread.
        program = f"import os\nfor _ in range(10): os.stat({os.fspath(path)!r})"
        subprocess.run(
            [mount.site.python, "-I", "-c", program], check=True,
            env={**mount.site.environ, "PKGVIEW_VIEW": view.name},
        )  # fmt: skip

    for path, links in (
        (mount.root / "current" / deep, {"READLINK": 10}),
        (mount.root / deep, {"READLINK": 20}),  # lib, and current
        (view / deep, {}),
    ):
        walk(path)
        assert mount.warm(partial(walk, path), links) == links


def exists_not(path: Path, times: int = 50) -> None:
    for _ in range(times):
        assert not path.exists()


def test_absent_names_in_a_view_are_asked_once(mount: Mount, demo: str) -> None:
    view = mount.view(demo)
    for path in (
        view / "no",
        view / "lib/no/deeper",
        mount.packages(view) / "demo/no.py",
        mount.root / "no",
    ):
        list(path.parents[1].glob("*/*"))  # what is there is known by now
        assert mount.within(mount.cost(partial(exists_not, path)), {"LOOKUP": 1})
        assert mount.warm(partial(exists_not, path), {}) == {}
    # A view, a project, a package may come at any time.
    for path in (mount.root / "views" / ("0" * 32), mount.root / "packages/no"):
        exists_not(path)
        fifty = {"LOOKUP": 50}
        assert mount.warm(partial(exists_not, path), fifty) == fifty


def test_a_listing_saves_looking_up_what_it_shows(mount: Mount, demo: str) -> None:
    view = mount.view(demo)
    everything = ["ls", "-lR", os.fspath(view)]

    def show() -> None:
        subprocess.run(everything, stdout=subprocess.DEVNULL, check=True)

    cold = mount.cost(show)
    tree = [Path(top, name) for top, *names in os.walk(view) for name in (*names[0], *names[1])]
    links = sum(path.is_symlink() for path in tree)
    directories = 1 + sum(path.is_dir() and not path.is_symlink() for path in tree)
    budget = {"OPENDIR": directories, "READDIR": 2 * directories, "READLINK": links}
    assert mount.within(mount.warm(show, budget), budget)
    # The way to the view, and its own name; whether there is an ACL is asked once.
    once = {"LOOKUP": 2, "GETATTR": 1, "GETXATTR": 1, "LISTXATTR": 1}
    assert mount.within(cold, together(budget, once), cold=True)


def test_a_large_file_is_read_once_and_whole_frames_at_a_time(mount: Mount) -> None:
    size = 4 << 20
    view = mount.view(mount.archive("large", {"data": "x" * size}))
    path = mount.packages(view) / "large/data.py"
    assert mount.cost(path.read_bytes)["READ"] <= size // (128 << 10) + 2
    assert mount.within(mount.warm(path.read_bytes, {"OPEN": 1}), {"OPEN": 1})
