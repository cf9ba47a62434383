"""pip's settings and the options of requirement files: followed as by pip, or passed over aloud.

uv passes over some of them with a warning, which nobody would see.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]

BACK_END = """
import shutil
def build_wheel(directory, settings=None, metadata=None):
    shutil.copy("{built}", directory)
    return "both-1.0-py3-none-any.whl"
def get_requires_for_build_wheel(settings=None):
    return []
"""


@pytest.fixture(scope="module", autouse=True)
def index(beside: Beside) -> None:
    """`later` has a pre-release, `both` is there as wheel and source, `source` only in the latter
    of its versions."""
    for version in ("1.0", "2.0", "3.0rc1"):
        beside.index.wheel("later", version)
    wheel = beside.index.wheel("both", "1.0", {"both.py": b""})
    beside.index.wheel("source", "1.0", {"source.py": b""})
    for name, version in (("both", "1.0"), ("source", "2.0")):
        texts = {
            "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
            "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n[build-system]\n'
            'requires = []\nbuild-backend = "back"\nbackend-path = ["."]\n',
            "back.py": BACK_END.replace("{built}", str(wheel)),
        }
        with tarfile.open(beside.index.directory / f"{name}-{version}.tar.gz", "w:gz") as tar:
            for path, text in texts.items():
                member = tarfile.TarInfo(f"{name}-{version}/{path}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))


ROWS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "nothing": ("later\n", {}, {"later": "2.0"}),
    "--pre": ("--pre\nlater\n", {}, {"later": "3.0rc1"}),
    "--pre in a file that is named": ("-r more.txt\nlater\n", {}, {"later": "3.0rc1"}),
    "PIP_PRE": ("later\n", {"PIP_PRE": "1"}, {"later": "3.0rc1"}),
    "PIP_CONSTRAINT": ("later\n", {"PIP_CONSTRAINT": "limit.txt"}, {"later": "1.0"}),
    "PIP_ONLY_BINARY": ("source\n", {"PIP_ONLY_BINARY": ":all:"}, {"source": "1.0"}),
    "PIP_ONLY_BINARY of one": ("source\n", {"PIP_ONLY_BINARY": "other,source"}, {"source": "1.0"}),
    "PIP_NO_BINARY of another": ("both\n", {"PIP_NO_BINARY": "other"}, {"both": "1.0"}),
    "--only-binary": ("--only-binary source\nsource\n", {}, {"source": "1.0"}),
    "--no-binary": ("--no-binary both\nboth\n", {}, {"both": "1.0"}),
}


@pytest.mark.parametrize("row", ROWS)
def test_followed_as_by_pip(beside: Beside, row: str) -> None:
    listed, environ, wanted = ROWS[row]
    files = {"requirements.txt": listed, "more.txt": "--pre\n", "limit.txt": "later<2\n"}
    ours = beside.same(files, by="pip", environ=environ)
    assert ours.distributions == wanted


REFUSED = {
    "PIP_NO_BINARY": ("later\n", {"PIP_NO_BINARY": "later"}, "later"),
    "--no-binary": ("--no-binary :all:\nlater\n", {}, "later"),
    "no index": ("--no-index\nlater\n", {}, "later"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_refused_by_both(beside: Beside, row: str) -> None:
    listed, environ, says = REFUSED[row]
    beside.refused({"requirements.txt": listed}, by="pip", environ=environ, says=says)


def test_no_index_at_all(beside: Beside) -> None:
    """Neither for what is installed nor for what builds it."""
    needy = beside.index.directory / "needy-1.0.tar.gz"
    with tarfile.open(needy, "w:gz") as tar:
        for name, text in {
            "PKG-INFO": "Metadata-Version: 2.2\nName: needy\nVersion: 1.0\n",
            "pyproject.toml": '[project]\nname = "needy"\nversion = "1.0"\n[build-system]\n'
            'requires = ["later"]\nbuild-backend = "later"\n',
        }.items():
            member = tarfile.TarInfo(f"needy-1.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    environ = {"UV_DEFAULT_INDEX": "", "PIP_NO_INDEX": "1", "PIP_INDEX_URL": beside.index.url}
    for listed in ("later\n", f"{needy.as_uri()}\n"):
        files: dict[str, str | bytes] = {"requirements.txt": listed}
        beside.refused(files, by="pip", environ=environ, says="later was not found")
    wheels = {"PIP_FIND_LINKS": str(beside.index.directory)}
    made = beside.same({"requirements.txt": "later\n"}, by="pip", environ={**environ, **wheels})
    assert made.distributions == {"later": "2.0"}


@pytest.mark.parametrize("option", ["--prefer-binary", "--use-feature=fast-deps"])
def test_passed_over_aloud(beside: Beside, option: str) -> None:
    ours = beside.same({"requirements.txt": f"{option}\nlater\n"}, by="pip")
    assert (
        f"uv: Ignoring unsupported option in `requirements.txt`: `{option.partition('=')[0]}`"
        in (ours.said)
    )


def test_a_table_that_uv_cannot_read_is_passed_over_aloud(beside: Beside) -> None:
    """As uv does, and all of the table with it: one that is misspelt, or is of a later version."""
    text = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["later"]\n'
    ours = beside.same({"pyproject.toml": f'{text}[tool.uv]\nresolutoin = "lowest"\n'})
    assert "unknown field `resolutoin`" in ours.said
    assert ours.distributions == {"later": "2.0"}
