"""What pip, uv and pipx make of a checkout: the files in it, and a pkgview that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).resolve().parents[2]
BASE_PYTHON = os.path.realpath(sys.executable)
UV = [sys.executable, "-m", "uv"]


def run(
    *command: str | Path, environ: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What it wrote; a failure shows all of it."""
    ended = subprocess.run(
        command, env=environ, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


# The files


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", out, cwd=REPOSITORY)
    (made,) = out.iterdir()
    return made


def tracked(*under: str) -> set[str]:
    """What git has, or would take; a test of an unpacked sdist has no git to ask."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no clone")
    listed = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *under,
        cwd=REPOSITORY,
    )  # fmt: skip
    return {name for name in listed.split("\0") if name and (REPOSITORY / name).exists()}


def test_the_sdist_holds_what_git_does(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    ours = {name for name in tracked() if not name.startswith(".ci/")}
    assert names == ours | {"PKG-INFO"}


def test_a_wheel_of_the_sdist_holds_what_is_imported(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=unpacked)
    (wheel,) = unpacked.glob("dist/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == tracked("resolver", "unionfs") | {f"unionfs/{one}" for one in tracked("docs")}
    # And git has what nobody imports.
    assert {"resolver/py.typed", "unionfs/py.typed", "unionfs/cli/shells/.zshenv"} < names
    assert {f"unionfs/environment/activate.{shell}" for shell in ("sh", "csh", "fish")} < names


# What is missing


def without(directory: Path, *programs: str) -> str:
    """A PATH with all programs but those, whatever the prefix or version in their names."""
    names = re.compile(rf"(.*-)?({'|'.join(programs)})(-[0-9.]+)?")
    directory.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for path in Path(place).iterdir() if Path(place).is_dir() else ():
            if not names.fullmatch(path.name) and not (directory / path.name).is_symlink():
                (directory / path.name).symlink_to(path)
    return str(directory)


COMPILERS = ("gcc", "cc", "c89", "c99", "clang")


def nothing_missing(_: Path) -> dict[str, str]:
    return {}


def no_libfuse(_: Path) -> dict[str, str]:
    return {"PKG_CONFIG_LIBDIR": "/nonexistent", "PKG_CONFIG_PATH": ""}


def no_pkg_config(tmp_path: Path) -> dict[str, str]:
    return {"PATH": without(tmp_path / "bin", "pkg-config", "pkgconf")}


def no_compiler(tmp_path: Path) -> dict[str, str]:
    return {"PATH": without(tmp_path / "bin", *COMPILERS)}


def no_libc(tmp_path: Path) -> dict[str, str]:
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    return {"CC": f"{compiler} -pthread"}


def other_compiler(_: Path) -> dict[str, str]:
    return {"CC": "/nonexistent/clang-19 -pthread"}


ABSENT = [
    (nothing_missing, ""),
    (no_libfuse, "libfuse3-dev"),
    (no_pkg_config, "pkg-config libfuse3-dev"),
    (no_compiler, "gcc libc6-dev"),
    (no_libc, "libc6-dev"),
    (other_compiler, "clang libc6-dev"),
]


@pytest.mark.parametrize(("absent", "packages"), ABSENT)
def test_packages_to_install(
    tmp_path: Path, absent: Callable[[Path], dict[str, str]], packages: str
) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "CC"}
    asked = "import hatch_build; print(*hatch_build.missing_packages())"
    environ |= absent(tmp_path)
    assert run(sys.executable, "-c", asked, environ=environ, cwd=REPOSITORY).strip() == packages


# Installing


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Somebody with an empty home, and the indexes and caches of who runs the tests."""

    home: Path
    environ: dict[str, str]

    def install(self, tool: str, **more: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
        """The pkgview it made, and how that went."""
        made = self.home / ".local/bin/pkgview"
        if tool == "pip":
            run(BASE_PYTHON, "-m", "venv", self.home / "venv")
            made = self.home / "venv/bin/pkgview"
            command = [str(self.home / "venv/bin/pip"), "install", "."]
        elif tool == "uv":
            command = [*UV, "tool", "install", "--python", BASE_PYTHON, "."]
        else:
            command = [*UV, "tool", "run", "--python", BASE_PYTHON, "pipx", "install", "."]
        ended = subprocess.run(
            command,
            cwd=REPOSITORY, env=self.environ | more, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return made, ended


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pyfuse3 compiled once, mostly by whoever set this environment up: pip keeps it."""
    out = tmp_path_factory.mktemp("wheelhouse")
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out,
        f"pyfuse3=={version('pyfuse3')}",
    )  # fmt: skip
    return out


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    home, settings = tmp_path / "home", tmp_path / "home/.config"
    settings.mkdir(parents=True)
    theirs = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for program in ("pip", "uv"):
        (settings / program).symlink_to(theirs / program)
    spoilt = ("XDG_", "PIPX_", "PYTHON", "VIRTUAL_ENV", "PKGVIEW_", "UV_TOOL")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(spoilt)}
    return Stranger(
        home=home,
        environ=kept
        | {
            "HOME": str(home),
            "PKGVIEW_COMPILE": "0",
            "PKGVIEW_FORKSERVER": "0",
            "PIP_CACHE_DIR": run(sys.executable, "-m", "pip", "cache", "dir").strip(),
            "UV_CACHE_DIR": run(*UV, "cache", "dir").strip(),
        },
    )


@pytest.mark.network
@pytest.mark.parametrize(
    ("tool", "absent", "packages"),
    [("pip", *ABSENT[2]), ("uv", *ABSENT[3]), ("pipx", *ABSENT[1])],
)
def test_the_failure_names_the_packages(
    stranger: Stranger,
    tmp_path: Path,
    tool: str,
    absent: Callable[[Path], dict[str, str]],
    packages: str,
) -> None:
    made, ended = stranger.install(tool, **absent(tmp_path))
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert not made.exists()
    assert f"sudo apt install {packages}\n" in said
    assert "Traceback" not in said
    assert "pkg-config search path" not in said  # the words of pyfuse3's own build


@pytest.mark.fuse
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("tool", ["pip", "uv", "pipx"])
def test_what_is_installed_works(stranger: Stranger, wheelhouse: Path, tool: str) -> None:
    known = os.environ.get("PIP_FIND_LINKS", "")
    environ = stranger.environ
    made, ended = stranger.install(
        tool, PIP_FIND_LINKS=f"{known} {wheelhouse}", UV_FIND_LINKS=str(wheelhouse)
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert run(made, "--version", environ=environ) == f"pkgview {version('pkgview')}\n"
    project = stranger.home / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("iniconfig==2.1.0\n")
    show = "import iniconfig, os; print(os.path.realpath(iniconfig.__file__))"
    try:
        run(made, "up", environ=environ, cwd=project)
        mount = stranger.home / ".pkgview"
        found = run(mount / "bin/python", "-c", show, environ=environ, cwd=project)
        assert found.startswith(f"{mount}/views/")
    finally:
        run(made, "umount", environ=environ)
    assert str(mount) not in Path("/proc/self/mounts").read_text()
