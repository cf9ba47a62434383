"""Several mounts by one user, and one that other users may enter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.places import Places
    from tests.mounted.conftest import Pair

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")
LOOK = "import os, sys; print(os.readlink(sys.argv[1]), flush=True)"
SAY = "import which; print(which.colour)"
NOBODY = 65534


def pkgview(
    pair: Pair, mount: Path, *arguments: str | Path, where: str = "red", code: int = 0
) -> subprocess.CompletedProcess[str]:
    """A command of a user whose mount that is."""
    return pair.pkgview(
        *arguments, cwd=pair.directory(where), code=code,
        environ={"PKGVIEW_MOUNT": os.fspath(mount)},
    )  # fmt: skip


def sees(pair: Pair, mount: Path, where: str) -> str:
    """What a program in a project's directory sees at `mount`."""
    said = pair.run("readlink", mount / "current", cwd=pair.directory(where)).stdout
    return pair.colour(said.strip())


@pytest.fixture
def two(pair: Pair) -> Iterator[tuple[Path, Path]]:
    """Two mounts of one user, besides the one where all was made."""
    both = (pair.home / "a", pair.home / "b")
    try:
        for mount in both:
            pkgview(pair, mount, "mount")
        yield both
    finally:
        for mount in both:
            pkgview(pair, mount, "umount", "--force")


# One user's


def test_each_serves_the_same_views(pair: Pair, two: tuple[Path, Path]) -> None:
    pids = {json.loads(pkgview(pair, mount, "status", "--json").stdout)["pid"] for mount in two}
    assert len(pids) == 2
    for mount in two:
        for colour, view in pair.views.items():
            assert sees(pair, mount, colour) == colour
            python = mount / "views" / view / "bin/python"
            assert pair.run(python, "-c", SAY, cwd=Path("/")).stdout == f"{colour}\n"


def test_what_one_mount_publishes_every_mount_shows(pair: Pair, two: tuple[Path, Path]) -> None:
    a, b = two
    new = pair.project("new")
    wheel = (pair.directory("green") / "requirements.txt").read_text()
    (new / "requirements.txt").write_text(wheel)
    said = pkgview(pair, a, "up", "--python", pair.python, "--json", where="new")
    view = json.loads(said.stdout)["view"]
    for mount in (a, b, pair.places.mount):
        assert sees(pair, mount, "new") == "green"
        assert (mount / "views" / view / "pyvenv.cfg").is_file()
    # `.venv` leads into the mount of the last `up`.
    assert os.readlink(new / ".venv") == f"{a}/views/{view}"
    pkgview(pair, b, "up", "--python", pair.python, where="new")
    assert os.readlink(new / ".venv") == f"{b}/views/{view}"
    # The first mount's end is nothing to the others.
    pkgview(pair, a, "umount")
    assert sees(pair, b, "new") == "green"
    assert pair.run(new / ".venv/bin/python", "-c", SAY, cwd=Path("/")).stdout == "green\n"


def test_what_is_bound_by_hand_is_bound_at_one_mount(pair: Pair, two: tuple[Path, Path]) -> None:
    a, b = two
    script = f"pkgview bind --pid $$ --view {pair.views['green']}; readlink {a}/current {b}/current"
    said = pair.run(
        "sh", "-c", f"PATH={PKGVIEW.parent}:$PATH; {script}", cwd=pair.directory("red"),
        environ={"PKGVIEW_MOUNT": os.fspath(a)},
    )  # fmt: skip
    assert [pair.colour(line) for line in said.stdout.splitlines()] == ["green", "red"]


def test_a_program_from_one_mount_is_pinned_whatever_the_other_says(
    pair: Pair, two: tuple[Path, Path]
) -> None:
    a, b = two
    python = a / "views" / pair.views["red"] / "bin/python"
    code = f"{SAY}; import os; print(os.readlink({os.fspath(b / 'current')!r}))"
    said = pair.run(python, "-c", code, cwd=pair.directory("green"))
    imported, link = said.stdout.split()
    # The other mount knows it as a Python in green's directory: a path in another mount is not
    # one of its own views to it.
    assert (imported, pair.colour(link)) == ("red", "green")


# Other users


@pytest.fixture
def public(pair: Pair) -> Iterator[Path]:
    """Root's mount for everybody."""
    if os.geteuid() != 0:
        pytest.skip("only root may let others in")
    with tempfile.TemporaryDirectory(prefix="pkgview-public-") as temporary:
        Path(temporary).chmod(0o755)
        mount = Path(temporary) / "mount"
        try:
            pkgview(pair, mount, "mount", "--allow-other", mount)
            yield mount
        finally:
            pkgview(pair, mount, "umount", "--force", mount)


@pytest.fixture
def theirs(pair: Pair) -> Iterator[Path]:
    """A project of nobody's, which looks like red's."""
    with tempfile.TemporaryDirectory(prefix="pkgview-nobody-") as temporary:
        directory = Path(temporary)
        text = (pair.directory("red") / "requirements.txt").read_text()
        (directory / "requirements.txt").write_text(text)
        for path in (directory, directory / "requirements.txt"):
            os.chown(path, NOBODY, NOBODY)
        yield directory


def as_nobody(
    pair: Pair, *command: str | Path, cwd: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    become = f"--reuid={NOBODY} --regid={NOBODY} --clear-groups".split()
    return pair.run("setpriv", *become, *command, cwd=cwd, environ=environ, code=None)


def test_without_allow_other_nobody_else_gets_in(pair: Pair, two: tuple[Path, Path]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    mode = pair.home.stat().st_mode
    pair.home.chmod(0o755)
    try:
        said = as_nobody(pair, "readlink", two[0] / "current", cwd=Path("/"))
    finally:
        pair.home.chmod(mode & 0o777)
    assert said.returncode != 0
    assert said.stdout == ""


def test_another_users_projects_make_root_read_and_resolve_nothing(
    pair: Pair, public: Path, theirs: Path
) -> None:
    link = public / "current"
    assert sees(pair, public, "red") == "red"  # root's own
    default = pair.run("readlink", link, cwd=Path("/")).stdout
    own = set(pair.views.values())
    # A project of one's own without a view, of root's, and one that would make root read what it
    # may: what each leads to is a notice, or the default.
    (theirs / "trap").mkdir()
    secret = pair.home / "secret"
    secret.write_text("[top secret")
    (theirs / "trap/pyproject.toml").symlink_to(secret)
    (theirs / "fifo").mkdir()
    os.mkfifo(theirs / "fifo/pyproject.toml")
    root_owned = public.parent / "project"
    root_owned.mkdir()
    (root_owned / "pyproject.toml").write_text("[project\n")
    for cwd in (theirs, theirs / "trap", theirs / "fifo", root_owned, Path("/")):
        for said in (
            as_nobody(pair, "readlink", link, cwd=cwd),
            as_nobody(pair, "readlink", link, cwd=Path("/"), PKGVIEW_PROJECT=os.fspath(cwd)),
        ):
            assert said.stderr == "", cwd
            view = public / said.stdout.strip()
            assert view.name not in own
            for notice in view.glob("lib/python3.*/site-packages/*_notice.pth"):
                assert "top secret" not in notice.read_text()
                assert theirs.name not in notice.read_text()
    assert as_nobody(pair, "readlink", link, cwd=Path("/")).stdout == default
    script = theirs / "script.py"
    script.write_text("# /// script\n# dependencies = ['which']\n# ///\n" + LOOK)
    for arguments in (("-c", LOOK, link), (script, link)):
        said = as_nobody(pair, "/usr/bin/python3", "-I", "-S", *arguments, cwd=theirs)
        assert (public / said.stdout.strip()).name not in own
    assert not list((pair.places.state / "projects").glob(f"{theirs.name}-*"))


def test_another_user_may_name_a_view_and_be_bound_by_root(
    pair: Pair, public: Path, theirs: Path
) -> None:
    link, red = public / "current", pair.views["red"]
    said = as_nobody(pair, "readlink", link, cwd=theirs, PKGVIEW_VIEW=red)
    assert pair.colour(said.stdout.strip()) == "red"
    script = "read -r go; readlink " + os.fspath(link)
    project = os.fspath(pair.directory("green"))
    bind = f"PKGVIEW_MOUNT={public} {PKGVIEW} bind --pid $child --project {project}"
    become = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    both = (
        f"coproc {become} sh -c '{script}'; child=$COPROC_PID; exec 3<&${{COPROC[0]}}; "
        f"{bind} >&2; echo go >&${{COPROC[1]}}; cat <&3"
    )
    said = pair.run("bash", "-c", both, cwd=Path("/"))
    assert pair.colour(said.stdout.strip()) == "green"


def test_another_user_cannot_ask_the_daemon(pair: Pair, public: Path) -> None:
    sockets = list(pair.places.runtime.glob("*.sock"))
    assert sockets
    said = as_nobody(pair, "ls", pair.places.runtime, cwd=Path("/"))
    assert said.returncode != 0
    found = mounts.mounted_at(public)
    assert found is not None
    assert found.shared


def test_letting_others_in_is_refused_where_it_cannot_be(pair: Pair, public: Path) -> None:
    said = pkgview(pair, pair.home / "c", "mount", "--allow-other", code=1)
    assert f"other users cannot reach {pair.home}/c: {pair.home} is closed to them" in said.stderr
    assert "--allow-other /srv/pkgview" in said.stderr
    pkgview(pair, public, "umount", public)
    pkgview(pair, public, "mount", public)
    said = pkgview(pair, public, "mount", "--allow-other", public, code=1)
    assert "is mounted already, without letting other users in" in said.stderr


def test_an_ordinary_user_is_told_who_may_let_others_in(ordinary: dict[str, Any]) -> None:
    if "user_allow_other" in Path("/etc/fuse.conf").read_text("utf-8").splitlines():
        pytest.skip("/etc/fuse.conf allows it here")
    home = Path(ordinary["env"]["HOME"])
    main = "import sys, unionfs.cli; sys.exit(unionfs.cli.main())"
    said = subprocess.run(
        ["/usr/bin/python3", "-c", main, "mount", "--allow-other", home / "mount"],
        check=False, capture_output=True, text=True, **ordinary,
    )  # fmt: skip
    if "ModuleNotFoundError" in said.stderr:
        pytest.skip("/usr/bin/python3 cannot run pkgview")
    assert said.returncode == 1
    assert "`user_allow_other` to /etc/fuse.conf" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_mount_that_is_mended_lets_in_whom_it_let_in(
    pair: Pair, public: Path, crash: Callable[[Places], None]
) -> None:
    crash(replace(pair.places, mount=public))
    said = pkgview(pair, public, "mount", "--json", public)
    assert json.loads(said.stdout)["how"] == "mended"
    assert as_nobody(pair, "readlink", public / "current", cwd=Path("/")).returncode == 0
