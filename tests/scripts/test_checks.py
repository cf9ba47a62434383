"""`scripts/test` and `.ci/run` in a copy of the repository, the checks stood in for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import plugin

REPOSITORY = Path(__file__).resolve().parents[2]
PROCESSES = min(2 * len(os.sched_getaffinity(0)), 8)
"""Of tests at once."""

CHECKS = ("ruff", "mypy", "lint-imports", "pytest")
CHECK = """#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
[ "$(basename "$0")" != "$BROKEN" ]
"""


@dataclass(frozen=True)
class Copy:
    root: Path
    log: Path

    def run(
        self, program: str, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / program), *arguments],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LOG": str(self.log), "BROKEN": ""} | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def called(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    root = tmp_path / "a clone"
    for name in ("scripts/test", ".ci/run"):
        (root / name).parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / name, root / name)
    programs = [root / "scripts/bootstrap", *(root / ".venv/bin" / name for name in CHECKS)]
    for program in programs:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(CHECK)
        program.chmod(0o755)
    return Copy(root, tmp_path / "log")


def test_every_check_runs_and_pytest_gets_the_arguments(copy: Copy) -> None:
    done = copy.run("scripts/test", "-k", "two words")
    assert copy.called() == [
        "bootstrap --dev",
        "ruff check .",
        "ruff format --check .",
        "mypy ",
        "lint-imports ",
        f"pytest --durations=15 --numprocesses={PROCESSES} -k two words",
    ]
    summary = done.stdout.strip().splitlines()
    assert summary[-1].split()[0] == "pytest"
    assert summary[-1].split()[2:] == ["s", "ok"]


@pytest.mark.parametrize("broken", CHECKS)
def test_one_failure_fails_all_and_stops_none(copy: Copy, broken: str) -> None:
    done = copy.run("scripts/test", BROKEN=broken)
    assert done.returncode == 1
    assert "failed (1)" in done.stdout
    assert copy.called()[-1].startswith("pytest")


def test_nothing_is_checked_where_the_setting_up_failed(copy: Copy) -> None:
    assert copy.run("scripts/test", BROKEN="bootstrap").returncode == 1
    assert copy.called() == ["bootstrap --dev"]


@pytest.mark.parametrize("ci", ["true", ""])
def test_no_fuse_is_a_failure_in_continuous_integration_only(copy: Copy, ci: str) -> None:
    path = copy.root / "scripts/test"
    path.write_text(path.read_text().replace("-c /dev/fuse", "-c /dev/no-such-device"))
    done = copy.run("scripts/test", CI=ci)
    assert "There is no /dev/fuse" in done.stdout
    assert done.returncode == (1 if ci else 0)


# What fails once

PYTEST = f"""#!/bin/sh
echo "pytest $*" >>"$LOG"
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
exec {sys.executable} -m pytest -p xdist.plugin -p pytest_timeout --override-ini=addopts= "$@"
"""

UNSTEADY = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_first_fails(number: int) -> None:
    seen = pathlib.Path(__file__).with_name(f"seen-{{number}}")
    before = seen.exists()
    seen.touch()
    assert before

def test_good() -> None:
    with pathlib.Path(__file__).with_name("good").open("a") as file:
        file.write("x")
"""


@pytest.fixture
def real(copy: Copy) -> Copy:
    """A copy with a real pytest and our plugin, and nothing else that takes time to load."""
    program = copy.root / ".venv/bin/pytest"
    program.write_text(PYTEST)
    processors = program.with_name("nproc")  # two processes of tests are enough to see how they go
    processors.write_text("#!/bin/sh\necho 1\n")
    processors.chmod(0o755)
    (copy.root / "tests").mkdir()
    shutil.copy(REPOSITORY / "tests/plugin.py", copy.root / "tests")
    (copy.root / "tests/conftest.py").write_text('pytest_plugins = ["tests.plugin"]')
    return copy


def written(copy: Copy, text: str) -> Path:
    path = copy.root / "tests/test_it.py"
    path.write_text(text)
    return path


def test_what_passes_alone_is_unsteady(real: Copy) -> None:
    path = written(real, UNSTEADY.format(count=2))
    done = real.run("scripts/test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == [
        f"unsteady: tests/test_it.py::test_first_fails[{number}] failed, "
        "and passed when it was run again"
        for number in range(2)
    ]
    # Only those that failed ran again.
    assert path.with_name("good").read_text() == "x"
    done = real.run("scripts/test")
    assert done.returncode == 0
    assert "unsteady" not in done.stdout


def test_what_always_fails_fails(real: Copy) -> None:
    written(real, UNSTEADY.format(count=2) + "\n\ndef test_bad(): assert False\n")
    done = real.run("scripts/test")
    assert done.returncode == 1
    assert "unsteady" not in done.stdout
    assert "failed (1)" in done.stdout


@pytest.mark.parametrize(
    ("count", "arguments"),
    [
        pytest.param(11, (), id="too many"),
        pytest.param(2, ("-x",), id="cut short"),
        pytest.param(2, ("-p", "no:cacheprovider"), id="no record"),
    ],
)
def test_what_is_not_tried_again(real: Copy, count: int, arguments: tuple[str, ...]) -> None:
    written(real, UNSTEADY.format(count=count))
    done = real.run("scripts/test", *arguments)
    assert done.returncode == 1
    assert sum(line.startswith("pytest") for line in real.called()) == 1


def test_what_failed_in_another_run_is_not_tried(real: Copy) -> None:
    other = real.root / "tests/test_other.py"
    other.write_text("def test_bad(): assert False\n")
    written(real, UNSTEADY.format(count=2))
    real.run("scripts/test", other.as_posix())
    done = real.run("scripts/test", "tests/test_it.py")
    assert done.returncode == 0, done.stdout


# Side by side

ALONE = """
import os, pathlib, time
import pytest

HERE = pathlib.Path(__file__)
pytestmark = pytest.mark.timeout(3)

def test_a_directory_is_hardly_deeper_than_elsewhere(tmp_path: pathlib.Path) -> None:
    assert tmp_path.parents[1].name.startswith("pytest-")
    assert len(tmp_path.parent.name) == 1

def note(what: str) -> None:
    with HERE.with_name("notes").open("a") as file:
        file.write(f"{HERE.stem} {os.environ['PYTEST_XDIST_WORKER']} {what}\\n")

def test_meets_one_of_another_module() -> None:
    note("met")
    while HERE.with_name("notes").read_text().count("met") < 2:
        time.sleep(0.01)

@pytest.mark.alone
@pytest.mark.parametrize("number", range(3))
def test_alone(number: int) -> None:
    note("begins")
    time.sleep(1)
    note("ends")
"""


def test_modules_run_side_by_side_and_what_is_alone_alone(real: Copy) -> None:
    """One cannot pass without the other; what the others took before is not of its time."""
    for name in ("one", "two"):
        (real.root / f"tests/test_{name}.py").write_text(ALONE)
    done = real.run("scripts/test")
    assert done.returncode == 0, done.stdout
    assert "unsteady" not in done.stdout
    notes = [line.split() for line in (real.root / "tests/notes").read_text().splitlines()]
    assert len(notes) == 14
    assert len({(module, process) for module, process, _ in notes}) == 2
    for begin, end in zip(notes[:12:2], notes[1:12:2], strict=True):
        assert (begin[0], begin[2], end[0], end[2]) == (end[0], "begins", begin[0], "ends")


def test_a_report_may_hold_anything(real: Copy) -> None:
    written(real, "import logging\n\ndef test_bad(): logging.warning('\\ud800'); assert False\n")
    done = real.run("scripts/test")
    assert "INTERNALERROR" not in done.stdout
    assert "\\ud800" in done.stdout.partition("Captured log call")[2]


def test_those_that_one_process_takes_are_there() -> None:
    assert [path for path in plugin.TOGETHER if not (REPOSITORY / path).exists()] == []


def test_ci_runs_the_same_from_anywhere(copy: Copy) -> None:
    done = copy.run(".ci/run", "-x")
    assert "pytest --collect-only --quiet" in copy.called()
    assert copy.called()[-1] == f"pytest --durations=15 --numprocesses={PROCESSES} -x"
    assert "pytest" in done.stdout
