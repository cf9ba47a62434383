"""Root's mount for everybody: each user's own projects, and nothing of anybody else's."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.caller.procfs import Absence, read_stat, read_status
from tests.mounted.conftest import Index, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")
SAY = "import which; print(which.colour)"
PYTHON = "/usr/bin/python3"
UIDS = {"blue": 61001, "white": 61002}
"""Users that no machine has: what they may is what their number may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a project whose view only that user's own state knows."""

    uid: int
    home: Path
    project: Path
    view: str
    pair: Pair

    def command(self, *command: str | Path) -> tuple[str | Path, ...]:
        become = f"--reuid={self.uid} --regid={self.uid} --clear-groups".split()
        return ("setpriv", *become, *command)

    def run(
        self, *command: str | Path, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as that user."""
        return self.pair.run(
            *self.command(*command), cwd=cwd or self.project, code=None,
            environ={"HOME": os.fspath(self.home), **environ},
        )  # fmt: skip

    def begin(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a program as that user."""
        return subprocess.Popen(
            self.command(*command), cwd=self.project, stdout=subprocess.DEVNULL, text=True,
            env={**self.pair.environ, "HOME": os.fspath(self.home)},
        )  # fmt: skip

    def python(self, mount: Path, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a Python that everybody may run, whose site-packages are the mount's.

        The mount's own `bin/python` may be one that only root may run.
        """
        site = f"import site; site.addsitedir({os.fspath(mount / 'site-packages')!r}); {code}"
        return self.run(PYTHON, "-S", "-c", site, cwd=None, **environ)

    def sees(self, mount: Path, cwd: Path | None = None, **environ: str) -> str:
        """The view that `current` leads to."""
        said = self.run("readlink", mount / "current", cwd=cwd, **environ)
        assert said.returncode == 0, said.stderr
        return said.stdout.strip().removeprefix("views/")

    def archives(self) -> list[Path]:
        """All of its store."""
        return list((self.home / ".local/share/pkgview/store/archives").glob("*.zst"))

    def own(self, *paths: Path) -> None:
        """Make these that user's, all below included."""
        for path in paths:
            for one in (path, *path.rglob("*")):
                os.chown(one, self.uid, self.uid, follow_symlinks=False)


@pytest.fixture(scope="module")
def public(pair: Pair) -> Iterator[Path]:
    """Root's mount for everybody."""
    if os.geteuid() != 0:
        pytest.skip("only root may let others in")
    with tempfile.TemporaryDirectory(prefix="pkgview-public-") as temporary:
        Path(temporary).chmod(0o755)
        mount = Path(temporary) / "mount"
        environ = {"PKGVIEW_MOUNT": os.fspath(mount)}
        cwd = pair.directory("red")
        try:
            pair.pkgview("mount", "--allow-other", mount, cwd=cwd, environ=environ)
            yield mount
        finally:
            pair.pkgview("umount", "--force", mount, cwd=cwd, environ=environ)


def a_user(pair: Pair, directory: Path, colour: str, wheels: Path, uid: int = 61003) -> User:
    home, project = directory / "home", directory / "project"
    for path in (home, project):
        path.mkdir()
    wheel = Index(directory=wheels).wheel(
        "which", f"7.{UIDS.get(colour, uid)}", {"which.py": f"colour = {colour!r}\n".encode()}
    )
    (project / "requirements.txt").write_text(f"which @ {wheel.as_uri()}\n")
    # As root, since who the machine's other users are does not say whether they may run pkgview;
    # what `up` wrote is theirs from here on.
    said = pair.pkgview(
        "up", "--no-mount", "--no-link", "--compile", "--json", "--python", PYTHON,
        cwd=project, environ={"HOME": os.fspath(home)},
    )  # fmt: skip
    user = User(
        uid=UIDS.get(colour, uid), home=home, project=project, pair=pair,
        view=json.loads(said.stdout)["view"],
    )  # fmt: skip
    user.own(home, project)
    # What was said yes to was root's directory, and is theirs as well from here on.
    for said_yes in (home / ".local/state/pkgview/trusted").iterdir():
        kept = json.loads(said_yes.read_text())
        kept["directory"][2] = user.uid
        said_yes.write_text(json.dumps(kept))
    for record in (home / ".local/state/pkgview/projects").iterdir():
        kept = json.loads(record.read_text())
        kept["directory"] = f"{kept['directory'].rpartition(' ')[0]} {user.uid}"
        record.write_text(json.dumps(kept))
    return user


@pytest.fixture
def users(pair: Pair) -> Iterator[tuple[User, User]]:
    """Two of them, new in each test, so that nothing of theirs was taken over before."""
    if shutil.which("setpriv") is None or not Path(PYTHON).exists():
        pytest.skip(f"there is no setpriv, or no {PYTHON}")
    with tempfile.TemporaryDirectory(prefix="pkgview-users-") as temporary:
        root = Path(temporary)
        root.chmod(0o755)
        made = []
        for colour in UIDS:
            (root / colour).mkdir()
            (root / f"{colour}-wheels").mkdir()
            made.append(a_user(pair, root / colour, colour, root / f"{colour}-wheels"))
        yield made[0], made[1]


def deputies(uid: int) -> list[int]:
    """The deputies of a user: sessions of their own whose parent is root's nursery."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        status, stat = read_status(int(name)), read_stat(int(name))
        if isinstance(status, Absence) or isinstance(stat, Absence) or status.account.uid != uid:
            continue
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            if (
                not stat.dead
                and b"unionfs.deputies.deputy" in Path(f"/proc/{name}/cmdline").read_bytes()
            ):
                found.append(int(name))
    return found


def test_each_user_sees_own_projects(pair: Pair, public: Path, users: tuple[User, User]) -> None:
    blue, white = users
    assert blue.view != white.view
    for colour, user in zip(UIDS, users, strict=True):
        assert user.sees(public) == user.view
        said = user.python(public, SAY)
        assert (said.stdout, said.stderr) == (f"{colour}\n", "")
        script = user.project / "script.py"
        script.write_text(f"import os; print(os.readlink({os.fspath(public / 'current')!r}))")
        user.own(script)
        said = user.run(PYTHON, "-S", script, cwd=Path("/"))
        assert said.stdout == f"views/{user.view}\n", said.stderr
        assert user.sees(public, Path("/"), PKGVIEW_PROJECT=os.fspath(user.project)) == user.view
        # It is a whole environment, read to the last byte.
        assert (
            user.run("tar", "-cf", "/dev/null", "-C", public / "views" / user.view, ".").returncode
            == 0
        )
    said = pair.run("readlink", public / "current", cwd=pair.directory("red"))
    assert pair.colour(said.stdout.strip()) == "red"
    # No name of a user's project is anywhere, only the view's digest.
    assert not [name for name in os.listdir(public / "projects") if name.startswith("project")]


def test_nobody_gets_anything_by_another_users_project(
    pair: Pair, public: Path, users: tuple[User, User]
) -> None:
    blue, white = users
    theirs = os.fspath(white.project)
    for view in (
        blue.sees(public, white.project),
        blue.sees(public, Path("/"), PKGVIEW_PROJECT=theirs),
        blue.sees(public, Path("/"), HOME=os.fspath(white.home)),
        # A state that somebody else could write chooses nothing, in one's own project neither.
        blue.sees(public, HOME=os.fspath(white.home)),
        blue.sees(public, pair.directory("red")),
    ):
        assert view not in {white.view, pair.views["red"]}
    assert blue.sees(public) == blue.view
    closed = white.home / "closed"
    closed.mkdir(mode=0o700)
    (closed / "pyproject.toml").write_text("[project]\nname = 'secret'\n")
    white.own(closed)
    said = blue.run(
        public / "bin/python", "-c", "0", cwd=Path("/"), PKGVIEW_PROJECT=os.fspath(closed)
    )
    assert "secret" not in said.stderr + said.stdout


def test_who_has_no_view_is_told_so_without_a_name(public: Path, users: tuple[User, User]) -> None:
    blue, _ = users
    (blue.project / "requirements.txt").write_text("attrs\n")
    said = blue.python(public, "print('goes on')")
    assert said.stdout == "goes on\n"
    assert said.stderr == (
        "pkgview: this project has no view yet, or has changed since\n"
        "  Run `pkgview up` in it.\n"
    )  # fmt: skip


def test_a_project_that_others_may_write_to_is_not_used(
    public: Path, users: tuple[User, User]
) -> None:
    blue, _ = users
    (trusted,) = (blue.home / ".local/state/pkgview/trusted").iterdir()
    yes = trusted.read_text()
    trusted.write_text(yes.replace('"agreed": true', '"agreed": false'))
    isolated = blue.run(public / "bin/python", "-I", "-c", "pass")
    assert "you have not said yes to it" in isolated.stderr
    assert "not yours alone" not in isolated.stderr
    trusted.write_text(yes)
    blue.project.chmod(0o777)
    said = blue.python(public, SAY)
    assert "not yours alone" in said.stderr
    assert "blue" not in said.stdout


@pytest.mark.parametrize("trap", ["fifo", "link", "garbage", "short", "huge", "gone"])
def test_what_is_not_what_it_is_called_is_not_taken_over(
    public: Path, users: tuple[User, User], trap: str
) -> None:
    blue, white = users
    archive = next(path for path in blue.archives() if path.name.startswith("which-"))
    good = archive.read_bytes()
    archive.unlink()
    if trap == "fifo":
        os.mkfifo(archive)
    elif trap == "link":
        archive.symlink_to("/etc/shadow")
    elif trap == "garbage":
        archive.write_bytes(good[: len(good) // 2] + b"x" + good[len(good) // 2 + 1 :])
    elif trap == "short":
        archive.write_bytes(good[:-1])
    elif trap == "huge":
        with archive.open("wb") as file:
            file.truncate(1 << 40)
    if trap != "gone":
        blue.own(archive)
    said = blue.python(public, SAY)
    assert "cannot be served here" in said.stderr, said
    assert said.stdout == ""
    assert blue.view not in os.listdir(public / "views")
    assert archive.name[len("which-7.") :] not in str(os.listdir(public / "packages"))
    assert white.sees(public) == white.view


def test_a_manifest_that_is_another_is_not_taken_over(
    public: Path, users: tuple[User, User]
) -> None:
    blue, white = users
    manifests = ".local/state/pkgview/manifests"
    other = (white.home / manifests / f"{white.view}.json").read_bytes()
    (blue.home / manifests / f"{blue.view}.json").write_bytes(other)
    assert "cannot be served here" in blue.python(public, SAY).stderr
    assert blue.view not in os.listdir(public / "views")


def test_a_deputy_that_is_killed_is_replaced(public: Path, users: tuple[User, User]) -> None:
    blue, _ = users
    assert blue.sees(public) == blue.view
    (deputy,) = deputies(blue.uid)
    os.kill(deputy, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while blue.sees(public) != blue.view:  # a look that began with the old one may be too late
        assert time.monotonic() < deadline
    assert deputies(blue.uid) != [deputy]


def test_a_deputy_is_its_user_for_good(public: Path, users: tuple[User, User]) -> None:
    blue, _ = users
    blue.sees(public)
    (deputy,) = deputies(blue.uid)
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{deputy}/status").read_text("ascii").splitlines()
    )
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(blue.uid)}
    assert status["Groups"].split() == []
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    # Its memory and its descriptors, one of which it shares with root's daemon, are nobody's.
    assert blue.run("ls", f"/proc/{deputy}/fd").returncode != 0
    assert len(os.listdir(f"/proc/{deputy}/fd")) <= 5


@contextlib.contextmanager
def unanswered(directory: Path) -> Iterator[None]:
    """Whoever goes into that directory hangs: it is a file system that nobody serves."""
    libc, device = ctypes.CDLL(None, use_errno=True), os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    assert libc.mount(b"it", os.fsencode(directory), b"fuse", 0, options) == 0
    try:
        yield
    finally:
        os.close(device)
        libc.umount2(os.fsencode(directory), 2)


def taking_over(view: str) -> bool:
    """Whether a process takes that view over."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            if b"unionfs.deputies.adopt_job" in command and view.encode() in command:
                return True
    return False


@pytest.mark.alone  # four have to hang at the same time
def test_users_whose_views_hang_delay_nobody_else(
    pair: Pair, public: Path, users: tuple[User, User], tmp_path: Path
) -> None:
    _, white = users
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)
    hung = []
    for number in range(4):
        directory, wheels = tmp_path / f"user{number}", tmp_path / f"wheels{number}"
        directory.mkdir()
        wheels.mkdir()
        hung.append(a_user(pair, directory, f"colour{number}", wheels, uid=61010 + number))
    for user in (*hung, white):
        user.sees(public, Path("/"))  # so that all have their deputies
    with contextlib.ExitStack() as stack:
        for user in hung:
            stack.enter_context(unanswered(user.home / ".local/share/pkgview/store/archives"))
        for _ in range(4):
            waiting = [user.begin("readlink", public / "current") for user in hung]
            for process in waiting:
                stack.callback(process.wait)
                stack.callback(process.kill)
            deadline = time.monotonic() + 6
            while (
                not (all_hang := all(taking_over(user.view) for user in hung))
                and time.monotonic() < deadline
            ):
                time.sleep(0.1)
            if all_hang:
                break
            time.sleep(20)  # one was late on a busy machine: again, when all have been given up
        began = time.monotonic()
        assert white.sees(public) == white.view
        took = time.monotonic() - began
        assert all_hang
        assert took < 10


def test_a_users_hung_looks_delay_nobody_else(public: Path, users: tuple[User, User]) -> None:
    blue, white = users
    assert blue.sees(public) == blue.view
    assert white.sees(public) == white.view
    (deputy,) = deputies(blue.uid)
    os.kill(deputy, signal.SIGSTOP)
    link = public / "current"
    environ = {**blue.pair.environ, "HOME": os.fspath(blue.home)}
    loop = f"for i in $(seq 200); do readlink {link} & done; wait"
    hung = subprocess.Popen(
        blue.command("sh", "-c", loop), cwd=blue.project, env=environ,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        took = []
        for _ in range(50):
            began = time.monotonic()
            assert white.sees(public) == white.view  # a process that nobody has looked at
            took.append(time.monotonic() - began)
        assert sorted(took)[-2] < 5
    finally:
        said, _ = hung.communicate(timeout=120)
        os.kill(deputy, signal.SIGCONT)
    # Theirs got an answer, too, in bounded time.
    assert len(said.splitlines()) == 200
