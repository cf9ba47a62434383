"""What a script needs that a person watches and that leaves nothing: a report, a temporary home.

Only the standard library is used, as by the scripts themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 150
"""Seconds for any one command: the whole shall take less than three minutes."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Report:
    """Prints the steps and checks, and remembers what failed."""

    def __init__(self) -> None:
        self.colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.failed: list[str] = []
        self.steps = 0
        self.started = time.monotonic()

    def paint(self, code: str, text: str) -> str:
        """The text in a colour (ECMA-48), where the output is a terminal."""
        return f"\033[{code}m{text}\033[0m" if self.colours else text

    def line(self, text: str = "") -> None:
        """One line, at once: the next thing may take a while."""
        print(text, flush=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A heading with its number; when it is done, the time it took."""
        self.steps += 1
        self.line("\n" + self.paint("1", f"{self.steps}. {title}"))
        started = time.monotonic()
        yield
        self.line(self.paint("2", f"  {time.monotonic() - started:.2f} s"))

    def check(self, what: str, *, holds: bool) -> None:
        """A promise, and whether it was kept."""
        mark = self.paint("32", "ok  ") if holds else self.paint("1;31", "FAIL")
        self.line(f"  {mark} {what}")
        if not holds:
            self.failed.append(what)

    def table(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Aligned columns, the first row a heading."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            text = "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            self.line("    " + (self.paint("2", text) if number == 0 else text))


class WatchedError(Exception):
    """It cannot go on; the sentence says why."""


class Home:
    """A temporary home directory, and commands that run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mount = path / ".pkgview"
        ours = ("XDG_", "PKGVIEW_", "PYTHON", "VIRTUAL_ENV", "UV_CACHE_DIR", "PIP_CACHE_DIR")
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self.environ |= index_settings() | {"HOME": str(path), "TMPDIR": str(path / "tmp")}
        # A view with bytecode is another view; here each shall stay what it is.
        self.environ["PKGVIEW_COMPILE"] = "0"
        (path / "tmp").mkdir()

    def pkgview(self, *arguments: str, cwd: Path | None = None) -> str:
        """What the command prints; its progress goes to the terminal, if there is one."""
        terminal = sys.stderr.isatty()
        done = subprocess.run(
            [str(REPOSITORY / ".venv/bin/pkgview"), *arguments],
            cwd=cwd or self.path,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if terminal else subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            said = done.stderr or done.stdout or ""
            raise WatchedError(f"pkgview {' '.join(arguments)} failed ({done.returncode}).\n{said}")
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """The same, for a command that speaks JSON."""
        said: dict[str, Any] = json.loads(self.pkgview(*arguments, "--json"))
        return said

    def project(self, name: str) -> Path:
        """Where the copy of an example lies."""
        return self.path / name

    def shell(self, name: str, command: str) -> str:
        """A command of C programs, run in a project's directory. The shell expands no patterns."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.project(name),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout + done.stderr

    # --- afterwards

    def mounts(self) -> list[str]:
        """Mount points below this home."""
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [point for point in points if point.startswith(f"{self.path}/")]

    def processes(self) -> list[int]:
        """Processes that live in this home, by their environment."""
        mark = f"HOME={self.path}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if pid != os.getpid() and mark in (entry / "environ").read_bytes():
                    found.append(pid)
        return found

    def clean(self) -> list[str]:
        """Unmount, end and remove everything; what had to be forced."""
        forced = []
        if self.mounts() or self.processes():
            with contextlib.suppress(WatchedError, subprocess.TimeoutExpired, OSError):
                self.pkgview("umount")
        deadline = time.monotonic() + 10
        while (self.mounts() or self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in self.processes():
            forced.append(f"process {pid} had to be killed")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for point in reversed(self.mounts()):
            forced.append(f"{point} had to be detached")
            command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
            subprocess.run([*command, point], check=False)
        if self.mounts():
            forced.append(f"{self.path} is left behind: something is still mounted in it")
        else:
            shutil.rmtree(self.path)
        return forced


def index_settings() -> dict[str, str]:
    """The user's own settings of the package index, which another HOME would hide."""
    home = Path.home()
    found: dict[str, str] = {}
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    for variable, paths in {
        "PIP_CONFIG_FILE": (config / "pip/pip.conf", home / ".pip/pip.conf"),
        "UV_CONFIG_FILE": (config / "uv/uv.toml",),
        "NETRC": (home / ".netrc",),
    }.items():
        for path in paths:
            if variable not in os.environ and path.is_file():
                found.setdefault(variable, str(path))
    return found


def need_fuse() -> None:
    """Say what is missing before anything is installed."""
    if not Path("/dev/fuse").exists():
        raise WatchedError(
            "There is no /dev/fuse, so nothing can be mounted here. Load it (modprobe fuse); "
            "in a container, give it the device: --device /dev/fuse --cap-add SYS_ADMIN."
        )
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise WatchedError(
            "/dev/fuse may not be opened by this user. Run: sudo chmod 666 /dev/fuse"
        )


def bootstrap(report: Report) -> None:
    """Everything that is missing on a fresh system."""
    with report.step("Set up (scripts/bootstrap)"):
        # Its own group: a shell that is killed while pip runs would leave pip behind.
        process = subprocess.Popen([str(REPOSITORY / "scripts/bootstrap")], start_new_session=True)
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        if status:
            raise WatchedError("scripts/bootstrap failed: see above.")


def watch(name: str, steps: Callable[[Report, Home], None]) -> int:
    """Run the steps in a temporary home; clean up whatever happens. Gives the exit code."""
    report = Report()

    def interrupted(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    for number in SIGNALS:
        signal.signal(number, interrupted)
    home = None
    try:
        need_fuse()
        bootstrap(report)
        # A short path: sockets' names are limited to 107 bytes.
        home = Home(Path(tempfile.mkdtemp(prefix=f"pkgview-{name}-")).resolve())
        steps(report, home)
    except WatchedError as error:
        report.line()
        report.check(str(error), holds=False)
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if home is not None:
            with report.step("Unmount and clean up"):
                forced = home.clean()
                report.check("nothing is left running, mounted or written", holds=not forced)
                for what in forced:
                    report.line(f"       {what}")
    report.line()
    took = f"{time.monotonic() - report.started:.0f} s in all"
    if report.failed:
        report.line(report.paint("1;31", f"{len(report.failed)} checks failed; {took}."))
        return 1
    report.line(report.paint("1;32", f"Everything held; {took}."))
    return 0
