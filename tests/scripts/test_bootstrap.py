"""`scripts/bootstrap` in a copy of the repository, with every program it calls under our eyes.

pip, venv and apt-get are stood in for by small programs on PATH that note how they were called:
what is tested is when they are, and what is left behind by a run that ends in the middle. A run
with the real ones, on a fresh Debian, is what continuous integration does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PYTHON = f"""#!{sys.executable} -I
# Answers as a Python would that has headers and venv, and makes such environments.
import os, pathlib, sys
log = pathlib.Path(os.environ["LOG"])
arguments = [a for a in sys.argv[1:] if a != "-I"]
spoilt = [v for v in os.environ if v in ("PYTHONPATH", "PIP_TARGET", "PYTHONDONTWRITEBYTECODE")]
if arguments[:1] == ["-"]:
    print("3.12", os.environ.get("HEADERS", "1"), 1, os.path.realpath(sys.argv[0]))
elif arguments[:1] == ["-c"]:
    sys.exit(not pathlib.Path(sys.argv[0]).parent.parent.joinpath("whole").exists())
else:
    with log.open("a") as file:
        print(*arguments[1:], *spoilt, file=file)
    if arguments[1] == "venv":
        root = pathlib.Path(arguments[2])
        (root / "bin").mkdir()
        (root / "bin/python").symlink_to(os.path.realpath(sys.argv[0]))
        (root / "pyvenv.cfg").write_text("")
        (root / "whole").write_text("")
    elif "--editable" in arguments:
        if os.environ.get("PAUSE"):
            log.with_name("reached").write_text("")
            import time; time.sleep(60)
        if os.environ.get("BROKEN"):
            sys.exit(1)
        tool = pathlib.Path(".venv/bin/pkgview")
        tool.write_text("")
        tool.chmod(0o755)
"""

TESTED = {
    "podman": "podman", "runc": "runc", "dockerd": "docker.io", "newuidmap": "uidmap",
    "bwrap": "bubblewrap", "sudo": "sudo", "zsh": "zsh", "fish": "fish",
    "direnv": "direnv",
    "shellcheck": "shellcheck",
}  # fmt: skip
"""Programs that tests start, and the packages that have them."""

LOGS = """#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the repository, and a PATH on which every system package seems to be there."""

    root: Path
    programs: Path
    log: Path

    @property
    def environ(self) -> dict[str, str]:
        path = f"{self.programs}:/usr/bin:/bin"
        return {"PATH": path, "LOG": str(self.log), "PKGVIEW_PYTHON": "python3"}

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "scripts/bootstrap"), *arguments],
            cwd="/",
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    def called(self) -> list[str]:
        """What was called since the last time."""
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return calls

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    root, programs = tmp_path / "a clone", tmp_path / "bin"
    (root / "scripts").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(REPOSITORY / "scripts/bootstrap", root / "scripts")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    made = Copy(root, programs, tmp_path / "log")
    made.program("python3", PYTHON)
    made.program("apt-get", LOGS)
    for name in ("fusermount3", "pkg-config", "gcc", "zstd", "tar", *TESTED):
        made.program(name, "#!/bin/sh\nexit 0\n")
    return made


def test_first_sets_up_and_then_does_nothing(copy: Copy) -> None:
    status, said = copy.run()
    assert (status, copy.called()) == (
        0,
        [
            f"venv {copy.venv}",
            "pip --version",
            "pip install --quiet --disable-pip-version-check --no-input pip>=25.1",
            "pip install --quiet --disable-pip-version-check --no-input --editable .",
        ],
    ), said
    assert copy.run() == (0, "")
    assert copy.called() == []


def test_a_development_environment_is_a_complete_one(copy: Copy) -> None:
    copy.run()
    copy.called()
    assert copy.run("--dev")[0] == 0
    assert copy.called()[-1].endswith("--editable . --group dev")
    assert copy.run() == (0, "")
    assert copy.run("--dev") == (0, "")
    assert copy.called() == []


def test_with_nothing_to_do_it_takes_no_time(copy: Copy) -> None:
    copy.run()
    started = time.monotonic()
    copy.run()
    # Some hundredths of a second; the promise is two.
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "what", ["pyproject.toml", "scripts/bootstrap", ".venv/bin/python", "place"]
)
def test_what_it_was_made_from_changed(copy: Copy, tmp_path: Path, what: str) -> None:
    copy.run()
    copy.called()
    match what:
        case ".venv/bin/python":
            copy.program("python4", PYTHON)
            (copy.root / what).unlink()
            (copy.root / what).symlink_to(copy.programs / "python4")
        case "place":
            copy.root.rename(tmp_path / "moved")
            copy = Copy(tmp_path / "moved", copy.programs, copy.log)
        case _:
            with (copy.root / what).open("a") as file:
                file.write("\n# changed\n")
    assert copy.run()[0] == 0
    # The environment itself is kept.
    assert [call.split()[0] for call in copy.called()] == ["pip", "pip", "pip"]


def test_killed_in_the_middle_it_begins_anew(copy: Copy) -> None:
    process = copy.start(PAUSE="1")
    deadline = time.monotonic() + 30
    while not copy.log.with_name("reached").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (copy.venv / "half-made").write_text("")
    copy.called()
    assert copy.run()[0] == 0
    assert copy.called()[0].startswith("venv ")
    assert not (copy.venv / "half-made").exists()
    assert copy.run() == (0, "")


def test_killed_while_the_environment_was_taken_away(copy: Copy) -> None:
    copy.run()
    (copy.venv / ".bootstrap-unfinished").write_text("")
    (copy.venv / "pyvenv.cfg").unlink()
    assert copy.run()[0] == 0
    assert (copy.venv / "pyvenv.cfg").exists()


def test_killed_before_anything_was_in_it(copy: Copy) -> None:
    copy.venv.mkdir()
    assert copy.run()[0] == 0


def test_pip_failing_leaves_what_was_whole(copy: Copy) -> None:
    copy.run()
    with (copy.root / "pyproject.toml").open("a") as file:
        file.write("\n")
    status, said = copy.run(BROKEN="1")
    assert status == 1
    assert "pip failed" in said
    copy.called()
    assert copy.run()[0] == 0
    assert not copy.called()[0].startswith("venv ")


def test_somebody_elses_directory_is_not_touched(copy: Copy) -> None:
    copy.venv.mkdir()
    (copy.venv / "thesis.txt").write_text("")
    status, said = copy.run()
    assert status == 1
    assert "Move it away" in said
    assert (copy.venv / "thesis.txt").exists()


def test_variables_that_would_spoil_it_are_unset(copy: Copy) -> None:
    copy.run(PYTHONPATH="/x", PIP_TARGET="/x", PYTHONDONTWRITEBYTECODE="1")
    assert not [call for call in copy.called() if "PYTHONPATH" in call or "PIP_TARGET" in call]


def test_runs_at_the_same_time_wait_for_each_other(copy: Copy) -> None:
    processes = [copy.start() for _ in range(4)]
    assert [process.communicate(timeout=60) and process.returncode for process in processes] == [
        0
    ] * 4
    # One did it, the others found it done.
    assert [call.split()[0] for call in copy.called()] == ["venv", "pip", "pip", "pip"]


def test_missing_packages_as_root(copy: Copy) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root installs packages without sudo")
    copy.program("pkg-config", '#!/bin/sh\n[ -e "$LOG.installed" ]\n')
    copy.program(
        "apt-get",
        LOGS + 'echo "$DEBIAN_FRONTEND" >>"$LOG"\n[ "${4}" != install ] || : >"$LOG.installed"\n',
    )
    status, said = copy.run()
    assert status == 0, said
    assert "installing system packages: libfuse3-dev" in said
    lock = "-o DPkg::Lock::Timeout=600 -qq"
    assert copy.called()[:4] == [
        f"apt-get {lock} update",
        "noninteractive",
        f"apt-get {lock} install --yes --no-install-recommends libfuse3-dev",
        "noninteractive",
    ]


@pytest.mark.parametrize("may", [True, False])
def test_what_only_tests_start(copy: Copy, *, may: bool) -> None:
    """Who can install it does; whoever cannot is told, and all else is set up."""
    if may and os.geteuid() != 0:
        pytest.skip("only root installs packages without sudo")
    system = copy.programs.with_name("system")
    system.mkdir()
    for name in set(os.listdir("/bin")) | set(os.listdir("/usr/bin")):
        if name not in {*TESTED, "apt-get"}:
            (system / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or "/")
    for name in TESTED:
        (copy.programs / name).unlink()
    if not may:
        (copy.programs / "apt-get").unlink()
    names = " ".join(TESTED.values())
    status, said = copy.run("--dev", PATH=f"{copy.programs}:{system}")
    assert status == 0, said
    if may:
        assert f"installing system packages: {names}\n" in said
        assert copy.called()[1].endswith(f"install --yes --no-install-recommends {names}")
    else:
        assert f"until root installs them: apt-get install {names}\n" in said
    assert copy.run(PATH=f"{copy.programs}:{system}") == (0, "")


def test_packages_that_do_not_come_are_named(copy: Copy) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root installs packages without sudo")
    status, said = copy.run(HEADERS="0")
    assert status == 1
    assert "still missing after installing: python3.12-dev" in said
    assert not copy.venv.exists()


def test_no_python(copy: Copy) -> None:
    status, said = copy.run(PKGVIEW_PYTHON="/nowhere/python3")
    assert status == 1
    assert "no Python 3.11 or newer at /nowhere/python3" in said


def test_an_argument_it_does_not_know(copy: Copy) -> None:
    status, said = copy.run("--help")
    assert status == 2
    assert "scripts/bootstrap --dev" in said
