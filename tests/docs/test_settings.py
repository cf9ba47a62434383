"""docs/locking.md has a row for each setting that the installed uv and pip know.

What they know they say themselves: uv in the error of a setting that there is not, and both in
their help.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.python.uv.pips import _NOT_FOLLOWED, _PIP_NOT_FOLLOWED
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs/locking.md"
COMMANDS = ("", "pip compile", "pip install", "pip sync", "sync", "lock", "run", "export", "build",
            "add", "venv", "publish", "python install", "python find", "python pin", "init",
            "tool install", "tool run", "cache", "audit")  # fmt: skip
NOT_IN_HELP = {
    "UV_AMD_GPU_ARCHITECTURE", "UV_CUDA_DRIVER_VERSION", "UV_GIT_LFS", "UV_MALWARE_CHECK",
    "UV_NATIVE_TLS", "UV_NO_INSTALLER_METADATA", "UV_PREVIEW_FEATURES", "UV_PYTHON_SEARCH_PATH",
    "UV_HTTP_RETRIES", "UV_INSECURE_NO_ZIP_VALIDATION", "UV_NO_SYSTEM_CONFIG",
}  # fmt: skip
"""Variables that change an outcome and that no help of uv's names; its program has them."""


def section(title: str) -> str:
    """The text below a heading of the page."""
    text = PAGE.read_text().partition(f"### {title}\n")[2]
    return re.split(r"^##+ ", text, maxsplit=1, flags=re.MULTILINE)[0]


def rows(title: str) -> dict[str, str]:
    """What each setting of a table is: honoured, passed over, nothing to do."""
    found: dict[str, str] = {}
    for line in section(title).splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if line.startswith("| `"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                assert name not in found, f"{name} has two rows"
                found[name] = cells[1]
    return found


def known(text: str, tmp_path: Path) -> set[str]:
    """The settings of which uv says that it expected one."""
    (tmp_path / "uv.toml").write_text(text)
    said = subprocess.run(
        [uv_binary(), "lock"], cwd=tmp_path, capture_output=True, text=True, check=False
    ).stderr
    names = set(re.findall(r"`([a-z0-9-]+)`", said.partition("expected one of")[2]))
    assert len(names) > 50, said
    return names


def test_uv(tmp_path: Path) -> None:
    ours = rows("`[tool.uv]`, `uv.toml`, and a script's block")
    theirs = known("no-such-setting = 1\n", tmp_path)
    assert theirs - ours.keys() == set(), "no row"
    assert ours.keys() - theirs == set(), "no such setting"
    of_pip = rows("`[tool.uv.pip]`")
    theirs = known("[pip]\nno-such-setting = 1\n", tmp_path)
    assert theirs - of_pip.keys() - ours.keys() == set(), "no row"
    assert of_pip.keys() - theirs == set(), "no such setting"


def variables() -> Iterator[str]:
    """Those that uv's commands say that they read."""
    for command in COMMANDS:
        said = subprocess.run(
            [uv_binary(), "help", "--no-pager", *command.split()], capture_output=True, text=True,
            check=True,
        ).stdout  # fmt: skip
        yield from re.findall(r"\bUV_[A-Z][A-Z0-9_]+[A-Z0-9]", said)


def test_variables_of_uv() -> None:
    ours = set(re.findall(r"`(UV_[A-Z_]+)`", section("Variables of uv")))
    found = set(variables())
    assert len(found) > 70
    assert found - ours == set(), "no row"
    assert NOT_IN_HELP - ours == set(), "no row"
    program = Path(uv_binary()).read_bytes()
    assert [one for one in ours if one.encode() not in program] == [], "no such variable"
    said = rows("Variables of uv")
    assert {name for name, what in said.items() if what == "passed over"} == set(_NOT_FOLLOWED)


def test_pip() -> None:
    found: set[str] = set()
    for command in ("install", "lock"):
        said = subprocess.run(
            [sys.executable, "-m", "pip", "help", command], capture_output=True, text=True,
            check=True,
        ).stdout  # fmt: skip
        found |= set(re.findall(r"^  (?:-\w, )*--([a-z0-9-]+)", said, re.MULTILINE))
    ours = rows("Settings of pip")
    assert len(found) > 40
    assert found - ours.keys() == set(), "no row"
    assert ours.keys() - found <= {"use-deprecated"}, "no such setting"
    passed_over = {name for name, what in ours.items() if what == "passed over"}
    assert passed_over == set(_PIP_NOT_FOLLOWED) - {"config-setting"}
