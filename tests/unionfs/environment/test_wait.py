"""What runs in a starting interpreter, run here piece by piece."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from resolver.python.target import Python, Schemes
from unionfs.environment import ENABLE_FILE, enable, taught, wait, waiting
from unionfs.environment.early import WAIT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VIEW = "0123456789abcdef" * 2
SCHEMES = Schemes(purelib="lib", platlib="lib", scripts="bin", headers="include", data="")


def snapshot(stage: str, **said: Any) -> dict[str, Any]:  # noqa: ANN401 - any part
    return {
        "stage": stage,
        "name": "x",
        "files": [0, 2],
        "size": [0, None],
        "project": "/p",
        **said,
    }


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def display(clock: Clock, columns: int, monkeypatch: pytest.MonkeyPatch) -> wait._Display:
    monkeypatch.setattr(wait, "_columns", lambda: columns)
    return wait._Display(clock)


# What is drawn


def test_nobody_is_waited_for_where_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = display(Clock(), 80, monkeypatch)
    for stage, text in (("starting", "starting"), ("queued", "waiting for other projects")):
        shown.show(snapshot(stage, name=""))
        assert shown.text() == text


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (80, "fetching [############            ] 1/2, 1.0 of 2.0 MB"),
        (40, "fetching 1 of 2 files, 1.0 of 2.0 MB"),
        (0, "fetching 1 of 2 files, 1.0 of 2.0 MB"),
    ],
)
def test_how_far_it_is(columns: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = display(Clock(), columns, monkeypatch)
    shown.show(snapshot("fetching", files=[1, 2], size=[1e6, 2e6]))
    assert shown.text() == text


def test_a_terminal_has_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    shown = display(clock, 30, monkeypatch)
    shown.show(snapshot("resolving"))
    assert not capsys.readouterr().err  # not yet
    clock.now += 2
    shown.draw()
    shown.show(snapshot("packing", name="a-very-long-name-of-a-distribution"))
    shown.end()
    drawn = capsys.readouterr().err.split("\r")[1:]
    assert drawn == [
        "pkgview: resolving x  2 s\x1b[K",
        "pkgview: packing a-very-long-\x1b[K",
        "\x1b[K",
    ]
    assert all(len(line.removesuffix("\x1b[K")) < 30 for line in drawn)


def test_elsewhere_there_are_few_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    shown = display(clock, 0, monkeypatch)
    for number in range(200):
        clock.now += 0.1
        shown.show(snapshot("resolving" if number < 20 else "fetching", files=[number, 200]))
    shown.end()
    assert capsys.readouterr().err.splitlines() == [
        "pkgview: making the view of /p: resolving",
        "pkgview: fetching 20 of 200 files, 0.0 MB",
        "pkgview: fetching 171 of 200 files, 0.0 MB",
        "pkgview: done after 20.0 s",
    ]


def test_what_was_quick_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = display(Clock(), 80, monkeypatch)
    shown.show(snapshot("fetching"))
    shown.end()
    assert not capsys.readouterr().err


# What is understood


def test_the_short_way_reads_what_json_reads() -> None:
    line = f'{{"ok": true, "result": {{"view": "{VIEW}", "notice": null}}}}\n'.encode()
    assert wait._answer(line) == {"view": VIEW}
    other = line.replace(b"null", b'"said"')
    assert wait._answer(other) == {"view": VIEW, "notice": "said"}
    assert wait._answer(b'{"ok": false, "what": "no", "remedy": "do"}\n') == {
        "failed": {"what": "no", "remedy": "do"}
    }
    for wrong in (
        VIEW.upper(),
        VIEW[1:],
        f"{VIEW}0",
        '", "more": "',
        "../../../../../../../../etc/xx",
    ):
        changed = line.replace(VIEW.encode(), wrong.encode())
        try:
            assert wait._answer(changed) == {**wait._read(changed)["result"]}
        except ValueError:
            continue


@pytest.mark.parametrize(("old", "hung"), [(-5, True), (-20, False), (5, False)])
def test_one_that_hangs_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: int, *, hung: bool
) -> None:
    socket = tmp_path / "x.sock"
    monkeypatch.setattr(wait, "SOCKET", str(socket))
    assert not wait._is_hung()
    socket.touch()
    os.utime(socket, (1, 1))
    assert not wait._is_hung()
    (tmp_path / "x.sock.hung").touch()
    found = time.time() + old
    os.utime(tmp_path / "x.sock.hung", (found, found))
    assert wait._is_hung() is hung
    # Another daemon has come.
    os.utime(socket, (found + 1, found + 1))
    assert not wait._is_hung()


# Who is concerned


@pytest.fixture
def concerned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], bool]:
    monkeypatch.setattr(enable, "MOUNT", str(tmp_path / "mount"))
    monkeypatch.setattr(enable, "BOUND", str(tmp_path / "bound.json"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("PKGVIEW_VIEW", raising=False)
    monkeypatch.delenv("PKGVIEW_PROJECT", raising=False)

    def ask(first: str) -> bool:
        monkeypatch.setattr(sys, "argv", [first])
        return enable._is_concerned()

    return ask


def test_nobody_is_by_default(concerned: Callable[[str], bool], tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print()\n")
    for first in ("", "-c", "-m", "-", "../script.py", "nosuch.py", str(tmp_path / "script.py")):
        assert not concerned(first)


@pytest.mark.parametrize("mark", ["pyproject.toml", "requirements.txt", "pylock.toml"])
def test_a_project_is(concerned: Callable[[str], bool], tmp_path: Path, mark: str) -> None:
    project = tmp_path / "project"
    (project / "below").mkdir(parents=True)
    (project / mark).touch()
    (project / "below/script.py").touch()
    (tmp_path / "link").symlink_to(project / "below/script.py")
    for first in ("../project/below/script.py", "../project", str(tmp_path / "link")):
        assert concerned(first)
    assert not concerned("-c")
    os.chdir(project / "below")
    assert concerned("-c")
    assert concerned("nosuch.py")


def test_so_is_what_says_so_itself(
    concerned: Callable[[str], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.py").write_text("# /// script\n# dependencies = []\n# ///\n")
    assert concerned(str(tmp_path / "script.py"))
    (tmp_path / "bound.json").write_text('{"boot": "x", "hands": [], "made": []}')
    assert not concerned("")
    (tmp_path / "bound.json").write_text('{"boot": "x", "hands": [{}], "made": []}')
    assert concerned("")
    (tmp_path / "bound.json").unlink()
    monkeypatch.setenv("PKGVIEW_VIEW", VIEW)
    assert concerned("")


def test_where_there_is_no_directory(concerned: Callable[[str], bool], tmp_path: Path) -> None:
    (tmp_path / "here").rmdir()
    assert not concerned("-c")


def test_a_pipe_is_no_script_that_could_be_read(
    concerned: Callable[[str], bool], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not concerned(str(tmp_path / "pipe"))


# What is written


@pytest.mark.parametrize(("version", "starts"), [("3.9", False), ("3.13t", False), ("3.15", True)])
def test_python_3_15_reads_start_files(version: str, *, starts: bool) -> None:
    python = Python(version=version, executable="/python", schemes=SCHEMES)
    names = {file.path for file in waiting(python, "/s")}
    assert f"purelib/{WAIT_FILE}.pth" in names
    assert (f"purelib/{WAIT_FILE}.start" in names) is starts
    assert (f"{ENABLE_FILE}.start" in taught(version, mount="", socket="", bound="")) is starts


@pytest.mark.parametrize("path", ["/a'b\"c\\d", "/ü\udcff", "/new\nline"])
def test_any_path_can_be_said(path: str) -> None:
    content = taught("3.11", mount=path, socket=path, bound=path)["_pkgview_enable.py"]
    said: dict[str, Any] = {}
    exec(content, said)  # noqa: S102 - our own
    assert (said["MOUNT"], said["SOCKET"], said["BOUND"]) == (path, path, path)
