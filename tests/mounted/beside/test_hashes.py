"""Hashes that are given are checked, wherever they stand.

Rows are lines in which `{b:…}` and so on are replaced: `{sha256}` by the digest of demo's wheel,
`{!sha256}` by a wrong one, `{other}` by that of another distribution's wheel, `{url}` and `{path}`
by where demo's wheel is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
DIRECTORY = {"d/pyproject.toml": '[project]\nname = "dd"\nversion = "1"\n'}

TAKEN = {
    "of an index": ("demo==1.0 --hash=sha256:{sha256}", "both"),
    "not pinned by ==": ("demo<2 --hash=sha256:{sha256}", "uv"),
    "with a blank": ("demo==1.0 --hash sha256:{sha256}", "both"),
    "one of two": ("demo==1.0 --hash=sha256:{!sha256} --hash=sha256:{sha256}", "both"),
    "one of two algorithms": ("demo==1.0 --hash=sha256:{!sha256} --hash=sha512:{sha512}", "both"),
    "SHA-384": ("demo==1.0 --hash=sha384:{sha384}", "both"),
    "SHA-512": ("demo==1.0 --hash=sha512:{sha512}", "both"),
    "MD5, which uv takes": ("demo==1.0 --hash=md5:{md5}", "uv"),
    "BLAKE2b of 32 bytes, which uv takes": ("demo==1.0 --hash=blake2b:{blake2b}", "uv"),
    "a path": ("./{file} --hash=sha256:{sha256}", "both"),
    "a path, SHA-512": ("./{file} --hash=sha512:{sha512}", "both"),
    "a URL": ("{url} --hash=sha256:{sha256}", "both"),
    "a fragment": ("demo @ {url}#sha256={sha256}", "both"),
    "a fragment, no name": ("{url}#sha256={sha256}", "both"),
    "a fragment, SHA-512": ("demo @ {url}#sha512={sha512}", "both"),
    "a fragment, MD5": ("demo @ {url}#md5={md5}", "both"),
    "a fragment of a file": ("demo @ file://{path}#sha256={sha256}", "both"),
    "a fragment with others": ("demo @ {url}#egg=demo&sha256={sha256}", "both"),
    "two in a fragment: the first": ("demo @ {url}#sha256={sha256}&md5={!md5}", "both"),
    "a fragment and an option": ("demo @ {url}#sha256={sha256} --hash=sha256:{sha256}", "both"),
    "a fragment beside a line": ("other==1.0 --hash=sha256:{other}\ndemo @ {url}#sha256={sha256}",
                                 "both"),
    "a file's fragment beside a line": (
        "other==1.0 --hash=sha256:{other}\ndemo @ file://{path}#sha256={sha256}", "both"),
    "a path beside a line": (
        "other==1.0 --hash=sha256:{other}\n./{file} --hash=sha256:{sha256}", "both"),
    "a fragment, and none": ("other\ndemo @ {url}#sha256={sha256}", "both"),
    "none, for another system": (
        "demo==1.0 --hash=sha256:{sha256}\nother==1.0 ; sys_platform == 'win32'", "both"),
    "another one, for another system": (
        "demo==1.0 --hash=sha256:{sha256}\n"
        "other==1.0 ; sys_platform == 'win32' --hash=sha256:{!sha256}", "both"),
    "required, and there": ("--require-hashes\ndemo==1.0 --hash=sha256:{sha256}", "both"),
    "required, and in a fragment": ("--require-hashes\ndemo @ {url}#sha256={sha256}", "both"),
    "required, and in a file's": ("--require-hashes\ndemo @ file://{path}#sha256={sha256}", "both"),
    "a constraint's": ("-c c.txt\ndemo\n# c.txt: demo==1.0 --hash=sha256:{sha256}", "both"),
    "a line's, not a constraint's": (
        "-c c.txt\ndemo==1.0 --hash=sha256:{sha256}\n# c.txt: demo==1.0 --hash=sha256:{!sha256}",
        "both"),
    "of what is needed, too": (
        "needs==1.0 --hash=sha256:{needs}\nother==1.0 --hash=sha256:{other}", "both"),
}  # fmt: skip
"""Ours equals uv, or uv and pip."""

REFUSED = {
    "of an index": ("demo==1.0 --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "with a blank": ("demo==1.0 --hash sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "in quotes": ('demo==1.0 --hash="sha256:{!sha256}"', "both", "no file of demo 1.0 has"),
    "too short": ("demo==1.0 --hash=sha256:abc", "both", "no file of demo 1.0 has"),
    "continued": ("demo==1.0 \\\n    --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "SHA-384": ("demo==1.0 --hash=sha384:{!sha384}", "both", "sha384:0000"),
    "SHA-512": ("demo==1.0 --hash=sha512:{!sha512}", "both", "sha512:0000"),
    "MD5": ("demo==1.0 --hash=md5:{!md5}", "both", "md5:0000"),
    "BLAKE2b": ("demo==1.0 --hash=blake2b:{!blake2b}", "both", "blake2b:0000"),
    "SHA-1, which nobody takes": ("demo==1.0 --hash=sha1:{sha1}", "both", "no hash that pip or uv"),
    "in capitals": ("demo==1.0 --hash=SHA256:{sha256}", "both", "no hash that pip or uv"),
    "a path": ("./{file} --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "a path, SHA-512": ("./{file} --hash=sha512:{!sha512}", "both", "sha512:0000"),
    "a path, MD5": ("./{file} --hash=md5:{!md5}", "both", "md5:0000"),
    "a URL": ("{url} --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "a fragment": ("demo @ {url}#sha256={!sha256}", "both", "0000"),
    "a fragment, no name": ("{url}#sha256={!sha256}", "both", "0000"),
    "a fragment, too short": ("demo @ {url}#sha256=abc", "both", "sha256:abc"),
    "a fragment with others": ("demo @ {url}#egg=demo&sha256={!sha256}", "both", "0000"),
    "two in a fragment: the first": ("demo @ {url}#md5={!md5}&sha256={sha256}", "both", "md5:0000"),
    "a fragment and another option": (
        "demo @ {url}#sha256={sha256} --hash=sha256:{!sha256}", "uv", "contradict"),
    "another fragment and an option": (
        "demo @ {url}#sha256={!sha256} --hash=sha256:{sha256}", "uv", "contradict"),
    "a relative path's": ("demo @ ./{file}#sha256={!sha256}", "both", "no file of demo 1.0 has"),
    "required": ("--require-hashes\ndemo==1.0", "both", "demo 1.0 has no --hash"),
    "required by a nested file": ("-r c.txt\nother==1.0\n# c.txt: --require-hashes", "both",
                                  "other 1.0 has no --hash"),
    "required by a constraint": ("-c c.txt\nother==1.0\n# c.txt: --require-hashes", "both",
                                 "other 1.0 has no --hash"),
    "a constraint's fragment": ("-c c.txt\ndemo\n# c.txt: demo @ {url}#sha256={!sha256}", "both",
                                "0000"),
    "a line's, not a constraint's": (
        "-c c.txt\ndemo==1.0 --hash=sha256:{!sha256}\n# c.txt: demo==1.0 --hash=sha256:{sha256}",
        "both", "no file of demo 1.0 has"),
    "a directory with a hash": ("./d --hash=sha256:{!sha256}", "both", "dd.* is a directory"),
    # As with pip, one with a hash means that all have to have one; uv takes the others as they are.
    "one with, one without": ("demo==1.0 --hash=sha256:{sha256}\nother==1.0", "pip",
                              "other 1.0 has no --hash"),
    "one without that is needed": ("needs==1.0 --hash=sha256:{needs}", "pip",
                                   "other 1.0 has no --hash"),
    "a constraint's": ("-c c.txt\ndemo\n# c.txt: demo==1.0 --hash=sha256:{!sha256}", "pip",
                       "no file of demo 1.0 has"),
    "a constraint of another": ("-c c.txt\nother==1.0\n# c.txt: demo==1.0 --hash=sha256:{sha256}",
                                "pip", "other 1.0 has no --hash"),
    "one with, and a directory": ("demo==1.0 --hash=sha256:{sha256}\n./d", "pip",
                                  "dd.* is a directory"),
    "one with, and an editable": ("demo==1.0 --hash=sha256:{sha256}\n-e ./d", "pip",
                                  "dd.* is a directory"),
}  # fmt: skip
"""Ours is refused as by uv, pip, or both."""


def digest(path: Path, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def filled(beside: Beside) -> Callable[[str], str]:
    """demo, other, and needs, which needs other; fills a row in."""
    index = beside.index
    wheel, other = index.wheel("demo"), index.wheel("other")
    index.wheel("demo", "2.0")
    known = {algorithm: digest(wheel, algorithm) for algorithm in ALGORITHMS}
    known["blake2b"] = hashlib.blake2b(wheel.read_bytes(), digest_size=32).hexdigest()
    known |= {f"!{name}": "0" * len(value) for name, value in known.items()}
    known |= {
        "other": digest(other),
        "needs": digest(index.wheel("needs", requires=["other==1.0"])),
        "file": wheel.name,
        "path": str(wheel),
        "url": f"{index.url.removesuffix('simple')}packages/{wheel.name}",
    }

    def fill(text: str) -> str:
        return re.sub(r"\{(!?\w+)\}", lambda found: known[found[1]], text)

    return fill


def files_of(beside: Beside, text: str) -> dict[str, str | bytes]:
    """A row's files: `# c.txt: …` at its end is another one."""
    wheel = beside.index.directory / "demo-1.0-py3-none-any.whl"
    listed, _, further = text.partition("\n# c.txt: ")
    files: dict[str, str | bytes] = {"requirements.txt": f"{listed}\n", **DIRECTORY}
    return {**files, "c.txt": f"{further}\n", wheel.name: wheel.read_bytes()}


@pytest.mark.parametrize("row", TAKEN)
def test_right_ones_are_taken(row: str, beside: Beside, filled: Callable[[str], str]) -> None:
    text, by = TAKEN[row]
    files = files_of(beside, filled(text))
    beside.same(files)
    if by == "both":
        directory = beside.project(files)
        assert beside.pip(directory).status == 0


@pytest.mark.parametrize("row", REFUSED)
def test_wrong_ones_are_refused(row: str, beside: Beside, filled: Callable[[str], str]) -> None:
    text, by, says = REFUSED[row]
    files = files_of(beside, filled(text))
    beside.refused(files, says=says, by="pip" if by == "pip" else "uv")
    if by == "both":
        assert beside.pip(beside.project(files)).status != 0
