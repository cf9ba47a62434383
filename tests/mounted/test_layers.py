"""Layers by hand: what is laid over a lock's packages, or behind them, and seen as it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

SHOWN = "import b, importlib.metadata as m; print(b.version, m.version('b'), b.__file__)"
NAMES = (
    "import json, importlib.metadata as m; "
    "print(json.dumps(sorted((d.name, d.version) for d in m.distributions())))"
)


@pytest.fixture
def project(shop: Site, index: Index) -> Path:
    """A, which is locked to the released b 1.0 and to a part of a namespace."""
    index.wheel("b", files={"b/__init__.py": b"version = '1.0'\n", "b/old.py": b""})
    index.wheel("part", files={"space/one/__init__.py": b"", "space/both.py": b"who = 'lock'\n"})
    directory = shop.project("a")
    (directory / "requirements.txt").write_text("b\npart\n")
    shop.pkgview("lock", cwd=directory)
    shop.pkgview("up", cwd=directory)
    return directory


def clone(shop: Site, version: str = "2.0.dev0") -> Path:
    """A clone of b that somebody experiments with."""
    directory = shop.project("clone")
    (directory / "b").mkdir()
    (directory / "tests").mkdir()
    (directory / "b/__init__.py").write_text("version = 'experimental'\ndef main(): print('run')\n")
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "b"\nversion = "{version}"\nscripts = {{b-tool = "b:main"}}\n'
        '[build-system]\nrequires = ["there-is-none"]\nbuild-backend = "none"\n'
    )
    return directory


def said(shop: Site, directory: Path, *arguments: str) -> str:
    return shop.pkgview("run", *arguments, cwd=directory).stdout


def listing(directory: Path) -> list[tuple[str, bytes]]:
    return [
        (str(path.relative_to(directory)), b"" if path.is_symlink() else path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or path.is_file()
    ]


def egg(place: Path, name: str, version: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of an egg, at `place`: a Zip file if that has no name of a directory."""
    content = {
        **files,
        "EGG-INFO/PKG-INFO": f"Metadata-Version: 1.1\nName: {name}\nVersion: {version}\n".encode(),
        "EGG-INFO/entry_points.txt": f"[console_scripts]\n{name}-run = {name}:main\n".encode(),
        "EGG-INFO/scripts/old-style": b"#!/usr/bin/python3.1\nprint('old style')\n",
    }
    if place.suffix == ".zip" or place.name.endswith("zip.egg"):
        with zipfile.ZipFile(place, "w") as file:
            for path, data in content.items():
                file.writestr(path, data)
    else:
        for path, data in content.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
    return content


def test_with_an_experimental_clone_and_with_the_released_one_at_once(
    shop: Site, project: Path
) -> None:
    b, before = clone(shop), listing(project)
    released = shop.run(
        shop.home / ".pkgview/bin/python", "-c", f"{SHOWN}; import b.old", cwd=project
    )
    waits = f"{SHOWN}; import time; print(flush=True); time.sleep(30)"
    beside = subprocess.Popen(
        [shop.home / ".pkgview/bin/python", "-c", waits],
        cwd=project, env=dict(shop.environ), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert beside.stdout is not None
        assert beside.stdout.readline().startswith("1.0 1.0 ")
        for what in ("experimental", "edited"):
            (b / "b/__init__.py").write_text(f"version = {what!r}\ndef main(): print('run')\n")
            done = said(shop, project, "--layer", "../clone", "--", "python", "-c", SHOWN)
            assert done.startswith(f"{what} 2.0.dev0 ")
        assert beside.poll() is None
    finally:
        beside.kill()
        beside.communicate()
    gone = said(
        shop, project, "--layer", "../clone", "--", "python", "-c",
        "import importlib.util as u; print(u.find_spec('b.old'), u.find_spec('tests'))",
    )  # fmt: skip
    assert gone == "None None\n"  # it takes the place of all of b 1.0
    assert said(shop, project, "--layer", str(b), "--", "b-tool") == "run\n"
    assert released.stdout.startswith("1.0 1.0 ")
    assert listing(project) == before
    assert said(shop, project, "--", "python", "-c", SHOWN).startswith("1.0 1.0 ")


def test_namespaces_merge_and_eggs_are_distributions(shop: Site, project: Path) -> None:
    lies = shop.project("lies")
    (lies / "space/two").mkdir(parents=True)
    (lies / "space/two/__init__.py").write_text("")
    (lies / "space/both.py").write_text("who = 'layer'\n")
    (lies / "evil.pth").write_text("import sys; print('ran')\n")
    eggs = shop.project("eggs")
    egg(
        eggs / "un_packed-1.0-py3.egg",
        "un_packed",
        "1.0",
        {"un_packed.py": b"def main(): print('u')\n"},
    )
    egg(
        eggs / "zipped-2.0-zip.egg",
        "zipped",
        "2.0",
        {"zipped/__init__.py": b"def main(): print('z')\n"},
    )
    (project / "pyproject.toml").write_text(
        '[[tool.pkgview.layer]]\npath = "../lies"\nover = true\n'
        '[[tool.pkgview.layer]]\npath = "../eggs"\n'
    )
    shop.pkgview("up", cwd=project)
    names = dict(json.loads(said(shop, project, "--", "python", "-c", NAMES)))
    assert {"un_packed": "1.0", "zipped": "2.0", "b": "1.0", "part": "1.0"}.items() <= names.items()
    assert said(shop, project, "--", "un_packed-run") == "u\n"
    assert said(shop, project, "--", "zipped-run") == "z\n"
    assert said(shop, project, "--", "old-style") == "old style\n"
    show = "import space.one, space.two, space.both; print(space.both.who)"
    assert said(shop, project, "--", "python", "-c", show) == "layer\n"
    why = shop.pkgview("why", "space.two.deep", cwd=project).stdout
    assert why.splitlines()[0].endswith("/space/two")
    assert "given by  a layer by hand" in why
    assert "zipped 2.0" in shop.pkgview("why", "zipped", cwd=project).stdout
    up = shop.pkgview("up", cwd=project)
    assert up.stderr.startswith("Nothing to do")
    # Below `space` each name is a link: a new one is seen by the next program that starts.
    (lies / "space/new.py").write_text("")
    (lies / "space/two/deep.py").write_text("")
    python = shop.home / ".pkgview/bin/python"
    show = "import space.new, space.two.deep; print('seen')"
    assert shop.run(python, "-c", show, cwd=project).stdout == "seen\n"
    assert "refreshed" not in shop.pkgview("up", cwd=project).stderr  # the lock is as it was
    # Behind is what the lock has not.
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("over = true\n", ""))
    show = "import space.two, space.both; print(space.both.who)"
    assert said(shop, project, "--", "python", "-c", show) == "lock\n"
    listed = shop.pkgview("list", cwd=project).stdout
    assert "zipped" in listed


def test_layers_of_a_stranger_are_asked_about(shop: Site, project: Path) -> None:
    """Before a yes nothing is laid; what lies in the project's own tree is the project."""
    outside = shop.project("outside")
    (outside / "own.py").write_text("")
    table = '[[tool.pkgview.layer]]\npath = "{}"\nover = true\n'
    (project / "own").mkdir()
    (project / "own/own.py").write_text("")
    python = shop.home / ".pkgview/bin/python"
    (project / "pyproject.toml").write_text(table.format("own"))
    shop.run(python, "-c", "import own", cwd=project)
    (project / "own/led.py").symlink_to(outside / "own.py")
    refused = shop.run(python, "-c", "import led", cwd=project, code=None)
    assert "take a layer's part from own/led.py" in refused.stderr
    (project / "own/led.py").unlink()
    (project / "pyproject.toml").write_text(table.format("../outside"))
    refused = shop.run(python, "-c", "import own", cwd=project, code=None)
    assert "take a layer from ../outside" in refused.stderr
    shop.pkgview("trust", cwd=project)
    shop.run(python, "-c", "import own", cwd=project)
    outside.chmod(0o777)  # others may say now what is there
    refused = shop.pkgview("up", cwd=project, code=1)
    assert str(outside) in refused.stderr


def test_hostile_layers_harm_nobody(shop: Site, project: Path) -> None:
    hostile = shop.project("hostile")
    os.mkfifo(hostile / "fifo.py")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(hostile / "sock"))
    (hostile / "out").symlink_to("/etc")
    (hostile / "loop").symlink_to("loop")
    (hostile / "space").mkdir()
    os.mkfifo(hostile / "space/fifo.py")
    with (hostile / "huge.py").open("wb") as file:
        file.truncate(1 << 40)
    began = time.monotonic()
    show = "import space.one, os; print('fine', os.path.lexists(os.path.dirname(os.path.dirname("
    show += "space.one.__file__)) + '/fifo.py'))"
    assert (
        said(shop, project, "--layer", "../hostile", "--", "python", "-c", show) == "fine False\n"
    )
    (hostile / "bin-1.0-py3.egg").mkdir()
    (hostile / "bin-1.0-py3.egg/EGG-INFO").mkdir()
    os.mkfifo(hostile / "bin-1.0-py3.egg/EGG-INFO/PKG-INFO")
    assert said(shop, project, "--layer", "../hostile", "--", "python", "-c", "print(1)") == "1\n"
    info = hostile / "bin-1.0-py3.egg/EGG-INFO/entry_points.txt"
    info.write_text("[console_scripts]\n../../x = os:system\n")
    refused = shop.pkgview("run", "--layer", "../hostile", "--", "true", cwd=project, code=1)
    assert "entry points" in refused.stderr
    bad = shop.home / "bad.zip"
    with zipfile.ZipFile(bad, "w") as zipped:
        zipped.writestr("../../evil.py", "")
    wheel = shop.home / "other-1-cp27-none-any.whl"
    wheel.write_bytes(b"")
    refused = shop.pkgview("run", "--layer", wheel, "--", "true", cwd=project, code=1)
    assert "is for cp27 any" in refused.stderr
    refused = shop.pkgview("run", "--layer", bad, "--", "true", cwd=project, code=1)
    assert "is refused" in refused.stderr
    for nothing in ("nowhere", "/dev/null"):
        refused = shop.pkgview("run", "--layer", nothing, "--", "true", cwd=project, code=1)
        assert "is no file" in refused.stderr
    assert time.monotonic() - began < 60
    assert said(shop, project, "--", "python", "-c", SHOWN).startswith("1.0 1.0 ")


def test_one_of_two_alternatives_is_preferred_for_a_run(shop: Site, index: Index) -> None:
    for name in ("foo_a", "foo_b"):
        index.wheel(name, files={"foo.py": f"who = {name!r}\n".encode()})
    directory = shop.project("alternatives")
    (directory / "requirements.txt").write_text("foo_a\nfoo_b\n")
    shop.pkgview("up", cwd=directory)
    show = ("--", "python", "-c", "import foo; print(foo.who)")
    assert said(shop, directory, *show) == "foo_a\n"
    assert said(shop, directory, "--prefer", "Foo.B", *show) == "foo_b\n"
    assert said(shop, directory, "--prefer", "foo-b", "--prefer", "foo-a", *show) == "foo_b\n"
    assert said(shop, directory, *show) == "foo_a\n"
    refused = shop.pkgview("run", "--prefer", "foo-c", *show, cwd=directory, code=1)
    assert "foo-c cannot be preferred" in refused.stderr
