"""Mounts that a process and its children see, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.cli.inside import inside
from unionfs.namespaces.private import Bind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAY = (
    "import os; print(os.getuid(), os.getgid(), *os.listdir(), *os.listdir('below')); "
    "print([line for line in open('/proc/self/status') if line.startswith('CapEff')]); "
    "open('below/written', 'w').close()"
)


@pytest.fixture
def places() -> Iterator[tuple[Path, Path]]:
    """A directory to be mounted, and one to mount it on, where everybody may go."""
    with tempfile.TemporaryDirectory(prefix="pkgview-") as made:
        top = Path(made)
        (top / "source/below").mkdir(parents=True)
        (top / "other").mkdir()
        (top / "other/inner").touch()
        (top / "target").mkdir()
        top.chmod(0o755)
        yield top / "source", top / "target"


@pytest.mark.parametrize("user", [os.geteuid(), 65534], ids=["this user", "nobody"])
def test_who_sees_it(user: int, places: tuple[Path, Path]) -> None:
    source, target = places
    other = source.parent / "other"
    options: dict[str, Any] = {}
    python = sys.executable
    if user != os.geteuid():
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        options = {"user": user, "group": user, "extra_groups": []}
        python = "/usr/bin/python3"  # ours may lie where nobody may not look
        for one in (other, source, target):
            os.chown(one, user, user)
    mounts = [Bind(str(source), str(target)), Bind(str(other), str(target / "below"))]
    done = subprocess.run(
        [python, *inside(mounts, [python, "-I", "-S", "-c", SAY])[1:]],
        cwd=target, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    if options and "No module named" in done.stderr:
        pytest.skip("nobody may not read this checkout")
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    # What is mounted covers the working directory, too; who one is stays the same.
    assert first == f"{user} {os.getegid() if not options else user} below inner"
    if user:
        assert "0000000000000000" in second
    assert list(target.iterdir()) == []
    assert (other / "written").stat().st_uid == user
    assert list((source / "below").iterdir()) == []


def test_whether_root_is_known(needs: Callable[..., None]) -> None:
    """Where it is not, its files look like a stranger's, and nothing can be said of a project."""
    needs("unshare")
    code = "from resolver.ownership import is_root_known; print(is_root_known())"
    found = [
        subprocess.check_output([*around, sys.executable, "-c", code], text=True).strip()
        for around in ((), ("unshare", "-Ur"), ("unshare", "-U"))
    ]
    assert found == ["True", "True", "False"]


def said(mounts: list[Bind], *words: str, around: tuple[str, ...] = ()) -> tuple[int, str]:
    done = subprocess.run(
        [*around, *inside(mounts, words)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_what_cannot_be(places: tuple[Path, Path], needs: Callable[..., None]) -> None:
    needs("unshare")
    source, target = places
    mounts = [Bind(str(source), str(target))]
    assert said(mounts, "no-such-command")[0] == 127
    code, text = said([Bind(str(source), f"{target}/absent")], "true")
    assert code == 1
    assert f"cannot mount {source} on {target}/absent: No such file or directory" in text
    # These settings are of a user namespace, so the machine's stay as they are.
    forbid = "for one in user mnt; do echo 0 > /proc/sys/user/max_${one}_namespaces; done; "
    around = ("unshare", "-Ur", "sh", "-c", f'{forbid} exec "$@"', "sh")
    code, text = said(mounts, "true", around=around)
    assert code == 1
    assert "pkgview: the kernel gives you no mount namespace: No space left on device" in text
    assert "`sysctl -w user.max_user_namespaces=10000`" in text
    assert said([], "true", around=around) == (0, "")
