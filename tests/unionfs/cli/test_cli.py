"""The command line's own parts: its table of commands, its words, and how it ends."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import pytest

from resolver.errors import PkgviewError
from resolver.python.uv.run import uv_binary
from tests.docs.pages import commands
from unionfs import cli
from unionfs.cli import console, group
from unionfs.cli.command import environment, on_path, replace_by
from unionfs.cli.habits import HABITS, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places

VIEW = "0123456789abcdef" * 2
NO_NUMBER = "is no process's number, such as 4711; `ps` shows them"
DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_table_names_commands_and_help_imports_none_of_them() -> None:
    program = (
        "import sys, unionfs.cli as cli\n"
        "try: cli.main(['-h'])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('unionfs.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    loaded = done.stdout.decode().splitlines()[-1]
    assert loaded == str([
        "unionfs.cli", "unionfs.cli.console", "unionfs.cli.forked", "unionfs.cli.group",
        "unionfs.forkserver", "unionfs.forkserver.client", "unionfs.forkserver.context",
    ])  # fmt: skip
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


def typed(capsys: pytest.CaptureFixture[str], line: str) -> tuple[object, str, str]:
    """What comes of a command line: status, standard output and standard error."""
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())
    return caught.value.code or 0, *capsys.readouterr()


def test_help_by_every_name_that_people_try(
    isolated_places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    status, overview, complaint = typed(capsys, "")
    assert (status, complaint) == (0, "")
    assert typed(capsys, "-h") == (0, overview, "")
    status, longer, _ = typed(capsys, "help")
    assert status == 0
    assert longer.startswith(overview.rstrip())
    assert "zero-activation" in longer
    for words in ("up", "store", "store verify"):
        assert typed(capsys, f"help {words}") == typed(capsys, f"{words} -h")
    for name in ("bindings", "store.md"):
        page = DOCS / f"{name.removesuffix('.md')}.md"
        assert typed(capsys, f"help {name}") == (0, page.read_text("utf-8"), "")
    assert typed(capsys, "-V") == typed(capsys, "--version")
    assert not isolated_places.state.exists()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("hlep", "there is no command `pkgview hlep`; did you mean `pkgview help`?"),
        ("stauts", "there is no command `pkgview stauts`; did you mean `pkgview status`?"),
        ("sync", "there is no command `pkgview sync`; did you mean `pkgview up`?"),
        ("UP", "there is no command `pkgview UP`; did you mean `pkgview up`?"),
        ("version", "there is no command `pkgview version`; did you mean `pkgview --version`?"),
        ("lst", "there is no command `pkgview lst`; did you mean `pkgview list`?"),
        ("install", "there is no command `pkgview install`; did you mean `pkgview up`?"),
        ("install rich", "there is no command `pkgview install`; did you mean `pkgview add`?"),
        ("pip list", "there is no command `pkgview pip`; did you mean `pkgview list`?"),
        ("pip install rich", "there is no command `pkgview pip`; did you mean `pkgview add`?"),
        ("init shop", "there is no command `pkgview init`; did you mean `uv init`?"),
        ("verify", "there is no command `pkgview verify`; did you mean `pkgview store verify`?"),
        ("pin .", "there is no command `pkgview pin`; did you mean `pkgview store pin`?"),
        ("tool update",
         "there is no command `pkgview tool update`; did you mean `pkgview tool upgrade`?"),
        ("xyzzy", "there is no command `pkgview xyzzy`"),
        ("store nope", "there is no command `pkgview store nope`"),
        ("store verfy",
         "there is no command `pkgview store verfy`; did you mean `pkgview store verify`?"),
        ("help nope", "there is no command and no page 'nope'"),
        ("help up nope", "there is no command and no page 'up nope'"),
        ("help bindins",
         "there is no command and no page 'bindins'; did you mean `pkgview help bindings`?"),
        ("explain abc", f"invalid value for '[PID]': 'abc' {NO_NUMBER}"),
        ("explain 0", f"invalid value for '[PID]': '0' {NO_NUMBER}"),
        ("bind --pid init", f"invalid value for '--pid': 'init' {NO_NUMBER}"),
        ("up --wiht", "no such option '--wiht'"),
        ("up a b", "got unexpected extra argument (b)"),
        ("trust --list --revoke", "name one of --list and --revoke"),
        ("store pin --list .", "--list goes with nothing else"),
        ("mount --workers 0", "'0' is no number of workers"),
        ("shell nowhere/at/all", "there is no nowhere/at/all"),
        ("store pin 0123456789ab", "0123456789ab is no project's directory, and no view's id"),
        (f"store pin {VIEW}", f"there is no view {VIEW}"),
        ("up --frozen --upgrade", "name one of --frozen and --upgrade"),
        ("upgrade /nowhere", "nothing serves /nowhere"),
        ("store import /dev/null", "/dev/null: it is no bundle, or cut off"),
        ("store add nowhere/at/all", "there is no directory "),
        ("store import nowhere", "nowhere: it cannot be read: No such file or directory"),
        (f"store unpin {VIEW}", f"view {VIEW} is not pinned"),
    ],
)  # fmt: skip
def test_what_is_typed_wrong_is_named_with_a_way_on(
    isolated_places: Places, capsys: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    assert isolated_places
    status, answer, said = typed(capsys, line)
    first, *remedy = said.splitlines()
    assert status in {1, 2}
    assert answer == ""
    assert first.startswith(f"pkgview: {complaint}")
    assert remedy
    assert all(line.startswith("  ") for line in remedy)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("store", "No archives yet: `pkgview up` in a project brings some."),
        ("store du", "No project has a view yet."),
        ("store pin --list", "No view is pinned."),
        ("gc", "Nothing to remove; 0 B stay, 0 B of them needed."),
        ("store verify", "every archive is what its name says (0)"),
    ],
)
def test_where_there_is_nothing_a_line_says_so(
    isolated_places: Places, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    assert isolated_places
    status, answer, _ = typed(capsys, line)
    assert status == 0
    assert answer.splitlines()[0] == sentence


@pytest.mark.parametrize(
    ("line", "complaint", "way_on"),
    [
        ("up --package lib", "no such option --package", "packages/lib`.\n  `pkgview up -h`"),
        ("run --env-file .env x", "no such option --env-file", ". ./.env"),
        ("add --bounds major x", "no such option --bounds", "uv add --no-sync"),
        ("up --extra", "option '--extra' requires an argument", "`pkgview up -h`"),
        ("run --with", "option '--with' requires an argument", "`pkgview run -h`"),
        ("tool run --from", "option '--from' requires an argument", "`pkgview tool run -h`"),
        ("up --resolution lowest", "no such option --resolution", "[tool.uv] of pyproject.toml"),
        ("up -n", "no such option -n", "UV_NO_CACHE"),
        ("add -U x", "no such option -U", "`pkgview up --upgrade`"),
        ("bind 4711 .", "got unexpected extra arguments (4711 .)", "Say what it is: --pid, "),
        ("gc x", "got unexpected extra argument (x)", "`pkgview gc -h`"),
    ],
)
def test_who_comes_from_uv_is_told_what_to_do_instead(
    isolated_places: Places,
    capsys: pytest.CaptureFixture[str],
    line: str,
    complaint: str,
    way_on: str,
) -> None:
    assert isolated_places
    status, _, said = typed(capsys, line)
    assert status == 2
    assert said.startswith(f"pkgview: {complaint}\n  ")
    assert way_on in said


BESIDE = {
    "sync": "up", "run": "run", "add": "add", "remove": "remove", "lock": "lock", "tree": "tree",
    "pip list": "list", "pip tree": "tree", "tool run": "tool run", "tool install": "tool install",
    "tool upgrade": "tool upgrade", "tool uninstall": "tool uninstall", "tool list": "tool list",
}  # fmt: skip
"""Commands of uv's, and those of ours with the same options."""


def test_every_option_of_uvs_is_one_or_is_explained() -> None:
    """Of the uv that is installed: a later one may have more."""
    there, unknown = commands(), []
    for theirs, ours in BESIDE.items():
        said = subprocess.run(
            [uv_binary(), "help", "--no-pager", *theirs.split()],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        option = r"^ +(-\w)?(?:, )?(--[\w-]+)?(?: <.*| \[.*|\.\.\.)?$"
        found = re.findall(option, said, re.MULTILINE)
        names = {name for pair in found for name in pair if name}
        assert "--quiet" in names
        known = {name for one in there[ours].params for name in one.opts} | {"-h", "--help"}
        unknown += [f"{theirs} {name}" for name in sorted(names - known - set(OPTIONS))]
    assert not unknown


def test_every_habit_leads_to_a_command() -> None:
    """Each is a name that nothing has, and what it stands for there is."""
    there = commands()
    for name, here in HABITS.items():
        program, *words = here.split(" --")[0].split()
        command = " ".join(words).removesuffix(" python")
        assert name not in there
        assert program == "uv" or command in there


def test_every_group_names_what_it_does_not_have() -> None:
    """A group of click's own would say it in other words."""
    groups = {name: one for name, one in commands().items() if isinstance(one, click.Group)}
    assert len(groups) > 1
    assert [name for name, one in groups.items() if not isinstance(one, group.Group)] == []


def test_down_where_there_is_nothing_to_take_away(
    isolated_places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said = f"{tmp_path}/there has no .venv and no node_modules: there is nothing to remove.\n"
    assert typed(capsys, "down ../there") == (0, "", said)
    assert typed(capsys, "down ../nowhere")[2].startswith("pkgview: there is no ../nowhere\n")
    Path("../there/.venv").symlink_to(isolated_places.mount / "views/x")
    assert typed(capsys, "down ../there") == (0, "", f"Removed {tmp_path}/there/.venv.\n")
    (tmp_path / "there/.venv").mkdir()
    said = f"pkgview: {tmp_path}/there/.venv is not a link to a view, so it is left alone\n"
    assert typed(capsys, "down ../there")[2].startswith(said)


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
    console.table([], header=("name", "n"), empty="No name.")
    assert capsys.readouterr().out == "No name.\n"


def test_counts() -> None:
    assert [console.count(number, "view") for number in (0, 1, 2)] == [
        "0 views",
        "1 view",
        "2 views",
    ]
    assert console.count(1200, "process", "processes") == "1,200 processes"


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
    assert environment(f"{view}", "x", given) == {
        "PATH": f"{view}/bin:/bin", "VIRTUAL_ENV": str(view), "PKGVIEW_VIEW": "x", "HOME": "/h",
    }  # fmt: skip
    assert environment(f"{view}", "x", {})["PATH"] == f"{view}/bin:{os.defpath}"
    assert given["PYTHONHOME"] == "/x", "the caller's own is left as it is"
    mine = {**given, "VIRTUAL_ENV": "/mine"}
    assert on_path(f"{view}", mine) == {
        "PATH": f"{view}/bin:/bin", "VIRTUAL_ENV": "/mine", "PKGVIEW_VIEW": "old", "HOME": "/h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status"), [("nosuch", 127), ("plain", 126), ("orphan", 126), ("", 127)]
)
def test_commands_that_cannot_be_run(tmp_path: Path, command: str, status: int) -> None:
    (tmp_path / "plain").write_text("")
    (tmp_path / "orphan").write_text("#!/nowhere/at/all\n")
    (tmp_path / "orphan").chmod(0o755)
    with pytest.raises(PkgviewError) as caught:
        replace_by([command], {"PATH": str(tmp_path)})
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    assert caught.value.status == status
    assert caught.value.remedy
