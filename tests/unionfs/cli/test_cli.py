"""The command line's own parts: its table of commands, its words, and how it ends."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import click
import pytest

from resolver.errors import PkgviewError
from unionfs import cli
from unionfs.cli import console, group
from unionfs.cli.commands.run import environment, replace_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_table_names_commands_and_help_imports_none_of_them() -> None:
    program = (
        "import sys, unionfs.cli as cli\n"
        "try: cli.main(['-h'])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('unionfs.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    loaded = done.stdout.decode().splitlines()[-1]
    assert loaded == "['unionfs.cli', 'unionfs.cli.console', 'unionfs.cli.group']"
    for name, (_, text) in group.COMMANDS.items():
        assert f"  {name}" in done.stdout.decode()
        assert text in " ".join(done.stdout.decode().split())
    context = click.Context(group.main)
    for name in group.COMMANDS:
        command = group.main.get_command(context, name)
        assert command is not None
        assert command.epilog is not None
        assert f"pkgview {name}" in command.epilog
        assert command.help


def ended(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> int:
    """The status with which `pkgview` ends if its command does that."""

    @click.command()
    def command() -> None:
        run()

    monkeypatch.setattr(group.Commands, "get_command", lambda *_: command)
    with pytest.raises(SystemExit) as caught:
        cli.main(["view"])
    status = caught.value.code or 0  # None, too, is success
    assert isinstance(status, int)
    return status


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def run() -> NoReturn:
        raise error

    return run


def test_how_commands_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, lambda: None) == 0
    assert ended(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")
    assert ended(monkeypatch, raising(PkgviewError("what", remedy="remedy\nmore"))) == 1
    assert capsys.readouterr().err == "pkgview: what\n  remedy\n  more\n"
    assert ended(monkeypatch, raising(click.UsageError("wrong"))) == 2
    assert capsys.readouterr().err.startswith("pkgview: wrong\n")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/some/where")
    assert ended(monkeypatch, raising(full)) == 1
    said = capsys.readouterr().err
    assert said.startswith("pkgview: /some/where: No space left on device\n  Make room")


@pytest.mark.parametrize("bug", [ZeroDivisionError(), FileNotFoundError(2, "No such file")])
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, bug: Exception) -> None:
    command = click.Command("up", callback=raising(bug))
    monkeypatch.setattr(group.Commands, "get_command", lambda *_: command)
    with pytest.raises(type(bug)):
        cli.main(["view"])


def test_control_characters_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    console.answer("a\x1b[2Jb\nc\udcffd")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\nc\\xffd\n"
    console.explain("one\ntwo\x07", "three")
    assert capsys.readouterr().err == "pkgview: one\ntwo\\x07\n  three\n"
    console.as_json({"a": "\udcff\x1b"})
    assert json.loads(capsys.readouterr().out) == {"a": "\udcff\x1b"}


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    console.table([])
    console.table([("a", "10"), ("long", "9")], header=("name", "n"), right=" r")
    assert capsys.readouterr().out == "name   n\na     10\nlong   9\n"


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (9949, "9.9 KB"), (9950, "10 KB"),
     (999_499, "999 KB"), (999_500, "1.0 MB"), (5e12, "5.0 TB"), (5e15, "5000 TB")],
)  # fmt: skip
def test_sizes(count: float, said: str) -> None:
    assert console.size(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.95, "10 s"), (59.4, "59 s"), (60, "1 min"),
     (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert console.duration(seconds) == said


def test_nobody_to_talk_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    console.note("into the void")
    console.explain("and this")
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(PkgviewError, match="it is closed"):
        console.answer("an answer")


def test_names_come_out_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.answer("ümlaut")
    assert raw.getvalue() == b"\\xfcmlaut\n"


def test_the_environment_of_a_run(tmp_path: Path) -> None:
    view = tmp_path / "views/x"
    given = {"PATH": "/bin", "PYTHONHOME": "/x", "PKGVIEW_VIEW": "old", "HOME": "/h"}
    assert environment(view, "x", given) == {
        "PATH": f"{view}/bin:/bin", "VIRTUAL_ENV": str(view), "PKGVIEW_VIEW": "x", "HOME": "/h",
    }  # fmt: skip
    assert environment(view, "x", {})["PATH"] == f"{view}/bin:{os.defpath}"
    assert given["PYTHONHOME"] == "/x", "the caller's own is left as it is"


@pytest.mark.parametrize(
    ("command", "status"), [("nosuch", 127), ("plain", 126), ("orphan", 126), ("", 127)]
)
def test_commands_that_cannot_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, status: int
) -> None:
    (tmp_path / "plain").write_text("")
    (tmp_path / "orphan").write_text("#!/nowhere/at/all\n")
    (tmp_path / "orphan").chmod(0o755)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(PkgviewError) as caught:
        replace_by([command], {"PATH": str(tmp_path)})
    assert caught.value.status == status
    assert caught.value.remedy
