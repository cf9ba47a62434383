"""What uv's settings make of a build: the same as with `uv sync`.

The distribution that is built says what its build saw: which versions of what it asked for, which
settings of its back end, which variable.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.mounted.conftest import an_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mounted.beside.conftest import Beside, Ended
    from tests.mounted.conftest import Index

pytestmark = [pytest.mark.fuse]

BACK_END = """
import base64, hashlib, os, zipfile
from importlib.metadata import PackageNotFoundError, version

def versions(*names):
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, None

def build_wheel(directory, settings=None, metadata=None):
    seen = dict(versions("tool", "more")), settings or {}, os.environ.get("OF_BUILD")
    files = {
        "seen.py": f"SEEN = {seen}\\n",
        "made-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: made\\nVersion: 1.0\\n",
        "made-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\n"
                                    "Root-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        record += f"{name},sha256={digest.rstrip(b'=').decode()},{len(text)}\\n"
    files["made-1.0.dist-info/RECORD"] = record + "made-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(f"{directory}/made-1.0-py3-none-any.whl", "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return "made-1.0-py3-none-any.whl"

build_editable = build_wheel
"""
PYPROJECT = """
[project]
name = "made"
version = "1.0"
[build-system]
requires = ["tool"]
build-backend = "back"
backend-path = ["."]
"""
TREE = {"made/pyproject.toml": PYPROJECT, "made/back.py": BACK_END}
HEAD = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.10"
dependencies = {dependencies}
[tool.uv.sources]
made = {{path = "made"}}
"""
MATCHING = """
[tool.uv.extra-build-dependencies]
made = [{requirement = "more", match-runtime = true}]
"""
OF_A_SOURCE = """
more = {path = "wheels/more-1.0-py3-none-any.whl"}
[tool.uv.extra-build-dependencies]
made = ["more"]
"""
PACKED = """
[tool.uv]
no-binary-package = ["packed"]
build-constraint-dependencies = ["tool<2"]
extra-build-variables = {packed = {OF_BUILD = "y"}}
"""


@pytest.fixture(scope="module")
def private(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    for name in ("tool", "more"):
        for version in ("1.0", "2.0"):
            beside.index.wheel(name, version)
    packed = beside.index.directory / "packed-1.0.tar.gz"
    texts = {
        "PKG-INFO": "Metadata-Version: 2.2\nName: packed\nVersion: 1.0\n",
        "pyproject.toml": PYPROJECT.replace("made", "packed"),
        "back.py": BACK_END.replace("made", "packed"),
    }
    with tarfile.open(packed, "w:gz") as tar:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"packed-1.0/{path}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    beside.index.wheel("packed", "1.0", {"seen.py": b"SEEN = None\n"})
    with an_index(tmp_path_factory.mktemp("private") / "index") as served:
        served.wheel("more", "5.0")
        served.wheel("tool", "5.0")
        yield served


ROWS: dict[str, tuple[list[str], str, str]] = {
    "nothing set": (["made"], "", "({'tool': '2.0', 'more': None}, {}, None)"),
    "build constraint": (
        ["made"], '[tool.uv]\nbuild-constraint-dependencies = ["tool<2"]\n',
        "({'tool': '1.0', 'more': None}, {}, None)",
    ),
    "no constraint of what is installed": (
        ["made"], '[tool.uv]\nconstraint-dependencies = ["tool<2"]\n',
        "({'tool': '2.0', 'more': None}, {}, None)",
    ),
    "extra dependency": (
        ["made"], '[tool.uv.extra-build-dependencies]\nMade = ["more<2"]\n',
        "({'tool': '2.0', 'more': '1.0'}, {}, None)",
    ),
    "of another one": (
        ["made"], '[tool.uv.extra-build-dependencies]\nother = ["more<2"]\n',
        "({'tool': '2.0', 'more': None}, {}, None)",
    ),
    "as it is at run time": (
        ["made", "more<2"],
        MATCHING,
        "({'tool': '2.0', 'more': '1.0'}, {}, None)",
    ),
    "extra dependency from its source": (
        ["made"],
        OF_A_SOURCE,
        "({'tool': '2.0', 'more': '1.0'}, {}, None)",
    ),
    "variable": (
        ["made"], '[tool.uv.extra-build-variables]\nmade = {OF_BUILD = "x"}\n',
        "({'tool': '2.0', 'more': None}, {}, 'x')",
    ),
    "settings": (
        ["made"], '[tool.uv.config-settings]\na = "b"\nc = ["d", "e"]\n',
        "({'tool': '2.0', 'more': None}, {'a': 'b', 'c': ['d', 'e']}, None)",
    ),
    "settings of one": (
        ["made"],
        '[tool.uv]\nconfig-settings = {a = "b"}\nconfig-settings-package = {made = {c = "d"}}\n',
        "({'tool': '2.0', 'more': None}, {'a': 'b', 'c': 'd'}, None)",
    ),
    "not isolated": (
        ["made", "tool<2", "more"], '[tool.uv]\nno-build-isolation-package = ["made"]\n',
        "({'tool': '1.0', 'more': '2.0'}, {}, None)",
    ),
    "index": (
        ["made"], '[[tool.uv.index]]\nurl = "{private}"\n',
        "({'tool': '5.0', 'more': None}, {}, None)",
    ),
    "resolution, which is not a build's": (
        ["made"], '[tool.uv]\nresolution = "lowest"\n', "({'tool': '2.0', 'more': None}, {}, None)"
    ),
    "source distribution": (
        ["packed"],
        PACKED,
        "({'tool': '1.0', 'more': None}, {}, 'y')",
    ),
    "no binaries": (
        ["packed"],
        '[tool.uv]\nno-binary = true\nno-build-isolation-package = ["packed"]\n',
        "({'tool': None, 'more': None}, {}, None)",
    ),
    "no build where there is a wheel": (["packed"], "[tool.uv]\nno-build = true\n", "None"),
}  # fmt: skip
"""What shop depends on, its settings, and what the build saw by both tools."""


@pytest.mark.parametrize("row", ROWS)
def test_the_same_build(beside: Beside, private: Index, row: str) -> None:
    dependencies, settings, wanted = ROWS[row]
    text = HEAD.format(dependencies=dependencies) + settings.replace("{private}", private.url)
    wheel = (beside.index.directory / "more-1.0-py3-none-any.whl").read_bytes()
    files: dict[str, str | bytes] = {
        "pyproject.toml": text,
        "wheels/more-1.0-py3-none-any.whl": wheel,
        **TREE,
    }
    ours = beside.same(files)
    assert seen(ours) == wanted
    assert (ours.root.parent / "uv.lock").exists(), "uv sync has made it"
    (ours.root.parent / ".venv").unlink()
    assert seen(beside.pkgview(ours.root.parent)) == wanted


def test_nothing_is_isolated(beside: Beside, private: Index) -> None:  # noqa: ARG001 - it fills the index
    """With uv a build finds what uv has in its cache, and else nothing: so it is filled first."""
    others = ["tool<2", "more"]
    settings = "[tool.uv]\nno-build-isolation = true\n"
    cached = beside.project({"pyproject.toml": HEAD.format(dependencies=others), **TREE})
    assert beside.uv(cached).status == 0
    text = HEAD.format(dependencies=["made", *others]) + settings
    ours = beside.same({"pyproject.toml": text, **TREE})
    assert seen(ours) == "({'tool': '1.0', 'more': '2.0'}, {}, None)"


def seen(ended: Ended) -> str:
    """What the build says that it saw."""
    assert ended.status == 0, ended.said
    (path,) = ended.root.resolve().glob("lib/python3.*/site-packages/seen.py")
    return path.read_text().removeprefix("SEEN = ").strip()


def test_a_setting_of_what_is_built_counts_nothing(beside: Beside, private: Index) -> None:  # noqa: ARG001 - it fills the index
    own = '[tool.uv]\nconfig-settings = {a = "b"}\nbuild-constraint-dependencies = ["tool<2"]\n'
    files = {"pyproject.toml": HEAD.format(dependencies=["made"]), **TREE}
    ours = beside.same(files | {"made/pyproject.toml": PYPROJECT + own})
    assert seen(ours) == "({'tool': '2.0', 'more': None}, {}, None)"


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "no build": (["made"], "[tool.uv]\nno-build = true\n", "no-build"),
    "no build of one": (["made"], '[tool.uv]\nno-build-package = ["made"]\n', "no-build"),
    "no binaries": (["tool"], "[tool.uv]\nno-binary = true\n", "no-binary"),
    "as it is not at run time": (
        ["made"],
        MATCHING,
        "match-runtime",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_refused_by_both(beside: Beside, private: Index, row: str) -> None:  # noqa: ARG001 - it fills the index
    dependencies, settings, says = REFUSED[row]
    text = HEAD.format(dependencies=dependencies) + settings
    beside.refused({"pyproject.toml": text, **TREE}, says=says)


OF_PIP: dict[str, tuple[str, str]] = {
    "settings": (
        'config-settings = {a = "b"}\n',
        "({'tool': '2.0', 'more': None}, {'a': 'b'}, None)",
    ),
    "settings of one": (
        'config-settings-package = {packed = {c = "d"}}\n',
        "({'tool': '2.0', 'more': None}, {'c': 'd'}, None)",
    ),
    "extra dependency": (
        'extra-build-dependencies = {packed = ["more<2"]}\n',
        "({'tool': '2.0', 'more': '1.0'}, {}, None)",
    ),
    "variable": (
        'extra-build-variables = {packed = {OF_BUILD = "x"}}\n',
        "({'tool': '2.0', 'more': None}, {}, 'x')",
    ),
    "index": ('extra-index-url = ["{private}"]\n', "({'tool': '5.0', 'more': None}, {}, None)"),
    "nothing set": ("", "({'tool': '2.0', 'more': None}, {}, None)"),
}
"""What `[tool.uv.pip]` has, and what the build for a requirements.txt saw by both tools."""


def test_of_uv_pip(beside: Beside, private: Index) -> None:
    """In one store: none of these builds does for another project."""
    source = beside.index.directory / "packed-1.0.tar.gz"
    for settings, wanted in OF_PIP.values():
        text = f"[tool.uv.pip]\n{settings}".replace("{private}", private.url)
        files = {"requirements.txt": f"{source.as_uri()}\n", "pyproject.toml": text}
        assert seen(beside.same(files)) == wanted
