"""No settings of another user's are taken, whenever they come and go: with a real uv."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from resolver import ownership
from resolver.errors import PkgviewError
from resolver.python.uv.above import NAMES
from resolver.python.uv.gate import Gate
from resolver.python.uv.run import run_uv
from resolver.python.uv.settings import effective
from resolver.python.uv.watch import Watch
from resolver.running.session import run_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ANOTHER = 61009

EVIL = '[[index]]\nurl = "http://127.0.0.1:1/evil"\n'


@pytest.fixture
def project(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in a directory where everybody may make files."""
    del home
    shared = tmp_path / "shared"
    project = shared / "own/project"
    project.mkdir(parents=True)
    shared.chmod(0o1777)
    (project / "requirements.txt").write_text("alpha\n")
    monkeypatch.setattr(ownership, "_accepted", set())
    return project


@contextmanager
def index(as_asked: Callable[[], object]) -> Iterator[tuple[str, list[str]]]:
    """A package index without packages, its address and what it was asked for."""
    asked: list[str] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            as_asked()
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple", asked
        finally:
            server.shutdown()
            serving.join()


async def resolve(project: Path, url: str) -> None:
    compiling = ("pip", "compile", "requirements.txt", f"--default-index={url}", "--no-cache")
    await run_uv(compiling, cwd=project, added={})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["made", "renamed", "linked"])
async def test_what_comes_and_goes_while_uv_runs(project: Path, name: str, way: str) -> None:
    shared = project.parent.parent
    (shared / "aside").write_text(EVIL)

    def come_and_go() -> None:
        place = shared / name
        if way == "made":
            place.write_text(EVIL)
        elif way == "renamed":
            (shared / "aside").rename(place)
        else:
            place.symlink_to("aside")
        place.unlink()
        time.sleep(0.3)

    with (
        index(come_and_go) as (url, asked),
        pytest.raises(PkgviewError, match=f"{shared}/{name} came to be while uv ran"),
    ):
        await resolve(project, url)
    assert asked
    others = (shared / "x.toml", project / name)
    # What has another name, or is made where others cannot, is nobody's business.
    with (
        index(lambda: [one.write_text("") for one in others]) as (url, _),
        pytest.raises(PkgviewError, match="not found"),
    ):
        await resolve(project, url)


@pytest.mark.parametrize("name", NAMES)
async def test_what_was_not_there_when_it_was_judged(project: Path, name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give something away")
    planted = project.parent.parent / name
    planted.write_text(EVIL if name == "uv.toml" else EVIL.replace("[[", "[[tool.uv."))
    assert effective(os.environ, project)["index"]  # the user's own counts, as for uv
    os.chown(planted, ANOTHER, ANOTHER)
    with index(lambda: None) as (url, asked):
        with pytest.raises(PkgviewError, match=f"{planted} is another user's"):
            await resolve(project, url)
        with pytest.raises(PkgviewError, match=f"{planted} is another user's"):
            effective(os.environ, project)
        assert asked == []
        ownership.accept([planted])  # what `pkgview trust` has allowed
        assert effective(os.environ, project)["index"]
        with pytest.raises(PkgviewError, match=r"127\.0\.0\.1:1/evil"):
            await resolve(project, url)


@pytest.mark.parametrize("gated", [True, False])
async def test_nobody_is_asked_before_it_is_known_that_nothing_came(
    project: Path, monkeypatch: pytest.MonkeyPatch, *, gated: bool
) -> None:
    """However late we are to notice: uv has read the other user's file already."""
    with index(lambda: None) as (url, asked):

        async def late(_: Watch) -> None:
            """Notice nothing."""

        async def run(*given: Any, **named: Any) -> tuple[int, str, str]:  # noqa: ANN401 - as it is
            evil = f'[[index]]\nurl = "{url}"\ndefault = true\n'
            (project.parent.parent / "uv.toml").write_text(evil)
            return await run_session(*given, **named)

        monkeypatch.setattr(Watch, "guard", late)
        monkeypatch.setattr("resolver.python.uv.run.run_session", run)
        if not gated:  # as where the kernel has no such questions
            monkeypatch.setattr(Gate, "command", lambda _, command: command)
        monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
        with pytest.raises(PkgviewError, match=r"uv\.toml came to be while uv ran"):
            await run_uv(
                ("pip", "compile", "requirements.txt", "--no-cache"), cwd=project, added={}
            )
        assert bool(asked) is not gated


async def test_what_cannot_be_watched_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.get_errno", lambda: 24)
    monkeypatch.setattr("resolver.python.uv.watch._NEW", 0)  # EINVAL
    with pytest.raises(PkgviewError, match="cannot be watched") as caught:
        await resolve(project, "http://127.0.0.1:1")
    assert "max_user_instances" in caught.value.remedy


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_ended_leaves_no_uv(project: Path, number: signal.Signals) -> None:
    come = threading.Event()
    go = threading.Event()

    def hang() -> None:
        come.set()
        go.wait(30)

    code = (
        "import sys, trio; from functools import partial; from pathlib import Path\n"
        "from resolver.python.uv.run import run_uv\n"
        "trio.run(partial(run_uv, sys.argv[1:], cwd=Path.cwd(), added={}))"
    )
    compiling = ("pip", "compile", "requirements.txt", "--no-cache")
    with index(hang) as (url, _):
        ours = subprocess.Popen(
            [sys.executable, "-c", code, *compiling, f"--default-index={url}"],
            cwd=project, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert come.wait(30)
            assert len(working_in(project)) == 2
            ours.send_signal(number)
            assert ours.wait(30) != 0
            assert working_in(project) == []
        finally:
            go.set()
            ours.kill()
            ours.wait()


def working_in(directory: Path) -> list[str]:
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            found += [pid] if os.readlink(f"/proc/{pid}/cwd") == str(directory) else []
        except OSError:
            continue
    return found
