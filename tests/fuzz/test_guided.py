"""Every target with all that is kept for it, and guided by its coverage for some seconds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for path in kept:
        try:
            TARGETS[name](path.read_bytes())
        except BaseException as error:
            error.add_note(f"from {path}")
            raise


def test_what_is_kept_is_small() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 300_000


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: it has no wheel for this Python, system or machine",
)
@pytest.mark.parametrize("name", TARGETS)
def test_a_short_guided_run_finds_nothing(name: str, tmp_path: Path) -> None:
    met = tmp_path / "met"
    met.mkdir()
    # The seed: a run of all tests fails for what was changed.
    options: list[Path | str] = [
        met,
        CORPUS / name,
        "-max_total_time=1",
        "-seed=1",
        "-print_final_stats=1",
    ]
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, *options, f"-artifact_prefix={met}/"],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-5000:]
    tried = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    assert tried
    assert int(tried[1]) >= len(list((CORPUS / name).iterdir()))
