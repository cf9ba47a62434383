"""A state that is restored from a backup under a live mount: nobody sees another's bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

SAY = "import mm, pathlib; print(mm.V, (pathlib.Path(mm.__file__).parent / 'd').read_text())"


def version(shop: Site, index: Index, project: Path, letter: str, *, environ: Any = None) -> None:  # noqa: ANN401 - of variables
    """Have the project have that one; all have files of the same names and sizes."""
    files = {"mm/__init__.py": f"V = {letter!r}\n".encode(), "mm/d": letter.encode() * 9}
    index.wheel(f"mm{letter}", files=files)
    (project / "requirements.txt").write_text(f"mm{letter}\n")
    shop.pkgview("up", "--python", shop.python, cwd=project, environ=environ)


def seen(shop: Site, project: Path, code: int | None = 0) -> str:
    return shop.run(project / ".venv/bin/python", "-c", SAY, cwd=project, code=code).stdout


def status(shop: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shop.pkgview("status", "--json", cwd=shop.home).stdout)
    return found


def another_server(shop: Site, how: str) -> None:
    if how == "upgrade":
        shop.pkgview("upgrade", cwd=shop.home)
    elif how == "crash":
        os.kill(status(shop)["server"], signal.SIGKILL)


@pytest.mark.parametrize("how", ["upgrade", "crash", "same"])
def test_numbers_that_the_kernel_knows_are_not_given_again(
    shop: Site, index: Index, how: str
) -> None:
    project, registry = shop.project("one"), shop.places.state / "registry.sqlite3"
    version(shop, index, project, "a")
    backup = shop.home / "backup"
    shutil.copyfile(registry, backup)
    version(shop, index, project, "b")
    assert seen(shop, project) == "b bbbbbbbbb\n"
    if how == "same":  # the same file, with what was in it
        registry.write_bytes(backup.read_bytes())
    else:
        os.replace(backup, registry)  # noqa: PTH105 - as rsync does
    another_server(shop, how)
    version(shop, index, project, "c")
    assert seen(shop, project) == "c ccccccccc\n"
    assert status(shop)["refused"] == 0
    log = (shop.places.state / "daemon.log").read_text()
    assert "was replaced by an earlier one under a live mount: it goes on above" in log


def test_what_was_given_again_is_refused_by_every_server(shop: Site, index: Index) -> None:
    """Where the daemon could not be asked before: its mount is not the one that was meant."""
    project, registry = shop.project("one"), shop.places.state / "registry.sqlite3"
    version(shop, index, project, "a")
    backup = registry.read_bytes()
    version(shop, index, project, "b")
    assert seen(shop, project) == "b bbbbbbbbb\n"
    registry.write_bytes(backup)
    elsewhere = {"PKGVIEW_MOUNT": os.fspath(shop.home / "elsewhere")}
    index.wheel("mmc", files={"mm/__init__.py": b"V = 'c'\n", "mm/d": b"c" * 9})
    (project / "requirements.txt").write_text("mmc\n")
    shop.pkgview(
        *("up", "--no-mount", "--no-link", "--python", shop.python), cwd=project, environ=elsewhere
    )
    view = json.loads(shop.pkgview("view", "--json", cwd=project).stdout)["view"]
    data = shop.places.mount / "views" / view / "site-packages/mm/d"
    for how in ("same", "crash", "upgrade"):
        another_server(shop, how)
        with pytest.raises(OSError, match="Input/output error"):
            data.read_bytes()
    assert status(shop)["refused"]
    said = shop.pkgview("up", "--python", shop.python, cwd=project).stderr
    assert "the registry gave a second time" in said
    shop.pkgview("umount", cwd=shop.home)
    assert "gave a second time" not in shop.pkgview("mount", cwd=shop.home).stderr
    assert seen(shop, project) == "c ccccccccc\n"
