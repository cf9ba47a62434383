from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import packaging.markers
import packaging.tags
import pytest

from resolver.errors import PkgviewError
from resolver.python import probe
from resolver.python.discovery import find_interpreter
from resolver.python.interpreter import Interpreter, inspect
from resolver.python.project import Origin, PythonProject, Settings

if TYPE_CHECKING:
    Tree = Any

BASE = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def project(root: Path, **fields: Any) -> PythonProject:  # noqa: ANN401 - fields of any type
    return PythonProject(root=root, origin=Origin.REQUIREMENTS, inputs=(), **fields)


def command(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_it_is_what_packaging_says_of_this_interpreter(interpreter: Interpreter) -> None:
    assert list(interpreter.tags) == [str(tag) for tag in packaging.tags.sys_tags()]
    assert interpreter.environment == packaging.markers.default_environment()
    assert interpreter.version == sys.version_info[:3]
    assert interpreter.minor == MINOR
    assert interpreter.python.version == MINOR


def test_virtual_environment_is_its_base(state: Path, interpreter: Interpreter) -> None:
    assert Path(interpreter.executable).samefile(BASE)
    assert not Path(interpreter.executable).is_relative_to(sys.prefix) or (
        sys.prefix == sys.base_prefix
    )
    assert inspect(BASE, state).executable == interpreter.executable


def test_schemes_are_those_of_a_virtual_environment(interpreter: Interpreter) -> None:
    schemes = interpreter.python.schemes
    assert schemes.purelib == schemes.platlib == f"lib/python{MINOR}/site-packages"
    assert (schemes.scripts, schemes.data) == ("bin", "")
    assert schemes.headers == f"include/site/python{MINOR}"


def test_second_time_no_interpreter_is_run(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = inspect(BASE, state)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert inspect(BASE, state) == first


def test_damaged_description_is_made_again(state: Path) -> None:
    first = inspect(BASE, state)
    (kept,) = (state / "interpreters").iterdir()
    for damage in (b"{", b"[]", b"{}", json.dumps({"format": 1, "python": 3}).encode()):
        kept.write_bytes(damage)
        assert inspect(BASE, state) == first


def test_changed_file_is_asked_again(state: Path, tmp_path: Path) -> None:
    link = tmp_path / "python3"
    link.symlink_to(BASE)
    inspect(link, state)
    link.unlink()
    command(link, "#!/bin/sh\nexit 3\n")
    with pytest.raises(PkgviewError, match="not a usable Python"):
        inspect(link, state)


@pytest.mark.parametrize("request_", [MINOR, f"cp{MINOR.replace('.', '')}", str(BASE), "python3"])
def test_requests(state: Path, request_: str) -> None:
    environ = {"PATH": str(BASE.parent)}
    found = find_interpreter(None, request_, state, environ=environ)
    assert found.executable == str(BASE)


def test_request_may_be_a_virtual_environment(state: Path) -> None:
    assert find_interpreter(None, sys.prefix, state).executable == str(BASE)


@pytest.mark.parametrize(
    ("asked", "named"),
    [("3.99", "found"), ("no-such", "no such command"), ("/no/such", "no interpreter")],
)
def test_requests_that_nothing_fits(state: Path, asked: str, named: str) -> None:
    with pytest.raises(PkgviewError, match=named) as caught:
        find_interpreter(None, asked, state, environ={"PATH": str(BASE.parent)})
    assert caught.value.remedy


def test_requires_python_too_high_lists_what_there_is(state: Path, tmp_path: Path) -> None:
    environ = {"PATH": str(BASE.parent), "HOME": str(tmp_path)}
    wanted = project(tmp_path, requires_python=">=3.99")
    with pytest.raises(PkgviewError, match=r"needs Python >=3\.99; found") as caught:
        find_interpreter(wanted, None, state, environ=environ)
    assert str(BASE) in caught.value.what
    with pytest.raises(PkgviewError, match=r"needs Python >=3\.99, and --python asks"):
        find_interpreter(wanted, str(BASE), state, environ=environ)


def test_project_names_its_python(state: Path, tmp_path: Path) -> None:
    environ = {"PATH": str(BASE.parent)}
    for wanted, origin in (
        (project(tmp_path, settings=Settings(python="3.99"), python_pin=MINOR), r"tool\.pkgview"),
        (project(tmp_path, python_pin="3.99"), r"\.python-version"),
    ):
        with pytest.raises(PkgviewError, match=origin):
            find_interpreter(wanted, None, state, environ=environ)
        assert find_interpreter(wanted, MINOR, state, environ=environ).minor == MINOR


def test_shims_are_passed_over_for_what_is_behind_them(state: Path, tmp_path: Path) -> None:
    command(tmp_path / "shims/python3", "#!/bin/sh\nexit 1\n")
    installed = tmp_path / "versions/ours/bin"
    installed.mkdir(parents=True)
    (installed / "python3").symlink_to(BASE)
    (tmp_path / "version").write_text("ours\n")
    found = find_interpreter(None, None, state, environ={"PATH": str(tmp_path / "shims")})
    assert found.minor == MINOR


def test_broken_one_on_path_is_passed_over(state: Path, tmp_path: Path) -> None:
    command(tmp_path / "python3", "#!/bin/sh\necho hello\n")
    environ = {"PATH": f"{tmp_path}:{BASE.parent}"}
    assert find_interpreter(None, None, state, environ=environ).executable == str(BASE)
    with pytest.raises(PkgviewError, match=r"no Python .* on PATH"):
        find_interpreter(None, None, state, environ={"PATH": str(tmp_path), "HOME": str(tmp_path)})


def test_one_that_hangs_is_ended_with_its_children(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.5)
    note = tmp_path / "child"
    hanging = command(tmp_path / "python3", f"#!/bin/sh\nsleep 60 & echo $! > {note}\nwait\n")
    start = time.monotonic()
    with pytest.raises(PkgviewError, match="did not answer within"):
        inspect(hanging, state)
    assert time.monotonic() - start < 5
    child = Path("/proc", note.read_text().strip(), "stat")
    deadline = time.monotonic() + 5
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_that_floods_is_ended(state: Path, tmp_path: Path) -> None:
    with pytest.raises(PkgviewError, match="did not answer as one"):
        inspect(command(tmp_path / "python3", "#!/bin/sh\nexec yes\n"), state)


@pytest.mark.parametrize("told", ["3", '{"version": [3, 8, 1]}', '{"version": 3}', "{"])
def test_one_that_lies(state: Path, tmp_path: Path, told: str) -> None:
    text = f"#!/bin/sh\necho 'pkgview-probe:{told}'\n"
    with pytest.raises(PkgviewError):
        inspect(command(tmp_path / "python3", text), state)


def test_file_that_cannot_be_executed(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "python3"
    path.write_text("x")
    with pytest.raises(PkgviewError, match="cannot be executed"):
        inspect(path, state)


def test_hostile_environment_does_not_reach_the_probe(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert inspect(BASE, state).executable == str(BASE)


def test_other_pythons_of_this_machine(state: Path) -> None:
    root = Path(os.environ.get("PYENV_ROOT", Path(sys.base_prefix).parent.parent))
    others = sorted(root.glob("versions/3.*/bin/python3")) if "versions" in sys.base_prefix else []
    if not others:
        pytest.skip("one Python only")
    for path in others:
        minor = tuple(map(int, path.parts[-3].split(".")[:2]))
        if minor < (3, 10):
            with pytest.raises(PkgviewError, match="too old"):
                inspect(path, state)
            continue
        found = inspect(path, state)
        assert found.version[:2] == minor
        wanted = f"lib/python{found.minor}/site-packages"
        assert found.python.schemes.purelib == wanted
        assert found.tags[0].startswith(f"cp{minor[0]}{minor[1]}-")
