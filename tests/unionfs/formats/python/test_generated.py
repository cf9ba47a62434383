from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.interpreter import Interpreter, inspect
from resolver.python.target import python_of
from unionfs.archive.layer import Kind
from unionfs.environment import PIN_FILE
from unionfs.formats.python.generated import bare_manifest, notice_layer, skeleton_layer
from unionfs.store.local import Store

if TYPE_CHECKING:
    from resolver.manifest import LayerSpec
    from resolver.places import Places


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return inspect(Path(sys.executable).resolve(), tmp_path_factory.mktemp("interpreters"))


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


def content(store: Store, layer: LayerSpec) -> dict[str, bytes]:
    archive = store.open(layer.archive)
    shown = {}
    for path, number in archive.walk():
        entry = archive.entry(number)
        if entry.kind is Kind.FILE:
            shown[path.decode()] = archive.read(number, 0, entry.size)
        elif entry.kind is Kind.SYMLINK:
            shown[path.decode()] = b"-> " + archive.target(number)
    return shown


def test_the_skeleton_is_an_archive_made_once(store: Store, interpreter: Interpreter) -> None:
    layer = skeleton_layer(store, interpreter)
    assert (layer.name, layer.version) == ("", "")
    assert layer.archive.startswith(f"skeleton-{interpreter.full}.")
    path = store.path(layer.archive)
    before = path.stat()
    assert skeleton_layer(Store(store.root), interpreter) == layer
    after = path.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    shown = content(store, layer)
    assert shown["scripts/python"] == f"-> {interpreter.executable}".encode()
    assert b"include-system-site-packages = false" in shown["data/pyvenv.cfg"]
    assert f"purelib/{PIN_FILE}.pth" in shown


def test_two_interpreters_have_two_skeletons(store: Store, interpreter: Interpreter) -> None:
    others = [
        path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(path).exists()
    ]
    for path in others:
        other = inspect(Path(path), store.root / "interpreters")
        same = other.executable == interpreter.executable
        assert (skeleton_layer(store, other) == skeleton_layer(store, interpreter)) is same


@pytest.mark.parametrize("place", [10, -1])
def test_a_damaged_one_is_made_again(store: Store, interpreter: Interpreter, place: int) -> None:
    layer = skeleton_layer(store, interpreter)
    path = store.path(layer.archive)
    data = bytearray(path.read_bytes())
    whole = bytes(data)
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    assert skeleton_layer(Store(store.root), interpreter) == layer
    assert path.read_bytes() == whole


def test_a_bare_manifest_is_the_skeleton_alone(store: Store, interpreter: Interpreter) -> None:
    manifest = bare_manifest(store, interpreter)
    assert python_of(manifest) == interpreter.python
    assert manifest.layers == (skeleton_layer(store, interpreter),)


@pytest.mark.parametrize(
    "text",
    [
        "pkgview: /srv/shop has no view yet\n  Run `pkgview up /srv/shop`.\n",
        "quotes ' \" ''' \\ and {braces} %s\n",
        "import os; os._exit(3)\n",
        "ümlaut \u2603 \U0001f600 \udcff\n",
        "\0\x1b[31m\r\n\n",
        "",
    ],
)
def test_a_notice_is_said_on_stderr_and_the_program_goes_on(
    store: Store, interpreter: Interpreter, tmp_path: Path, text: str
) -> None:
    tag = f"python3.{sys.version_info.minor}"
    (line,) = (
        data
        for path, data in content(store, notice_layer(store, interpreter.python, text)).items()
        if f"/{tag}/" in path
    )
    site = tmp_path / "site"
    site.mkdir()
    (site / "notice.pth").write_bytes(line)
    ended = subprocess.run(
        [
            *(sys.executable, "-I", "-c"),
            f"import site; [site.addsitedir({str(site)!r}) for _ in range(2)]; print('on')",
        ],
        env={"PYTHONIOENCODING": "utf-8:surrogateescape", "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
    )
    assert ended.stdout == b"on\n"
    assert (
        ended.stderr.decode("utf-8", "backslashreplace")
        == text.encode("utf-8", "backslashreplace").decode()
    )


def test_a_notice_is_the_same_archive_for_the_same_text(
    store: Store, interpreter: Interpreter
) -> None:
    one, two = (
        notice_layer(store, interpreter.python, "one"),
        notice_layer(store, interpreter.python, "two"),
    )
    assert notice_layer(Store(store.root), interpreter.python, "one") == one != two


def test_a_program_whose_stderr_fails_goes_on(store: Store, interpreter: Interpreter) -> None:
    line = next(iter(content(store, notice_layer(store, interpreter.python, "unheard")).values()))
    program = (
        "import sys\nclass Broken:\n"
        " def flush(self): pass\n"
        " def write(self, text): raise BrokenPipeError\n"
        f"sys.stderr = Broken()\nexec({line.decode()!r})\nprint('on')"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (b"on\n", b"")


def test_a_program_without_stderr_goes_on(
    store: Store, interpreter: Interpreter, tmp_path: Path
) -> None:
    line = next(iter(content(store, notice_layer(store, interpreter.python, "unheard")).values()))
    program = f"import sys; sys.stderr = None; exec({line.decode()!r}); print('on')"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, check=True, cwd=tmp_path
    )
    assert (ended.stdout, ended.stderr) == (b"on\n", b"")
