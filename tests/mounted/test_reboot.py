"""After a reboot: state without processes, and what mounts again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs.cli.enabling import service, shells
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse


def alone(
    *command: str | Path, home: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As cron, su or a service manager start a command: with next to no environment."""
    return subprocess.run(
        command, cwd="/", env={"HOME": os.fspath(home), "PATH": "/usr/bin:/bin", **(environ or {})},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_what_mounts_again_after_a_reboot(
    shop: Site, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.wheel("alpha")
    project = shop.project("project")
    (project / "requirements.txt").write_text("alpha\n")
    shop.pkgview("up", cwd=project)
    own = Path(sys.executable).with_name("pkgview")
    monkeypatch.setattr(service, "own_command", lambda: os.fspath(own))
    monkeypatch.setattr(shells, "own_command", lambda: os.fspath(own))
    program = (project / ".venv/bin/python", "-c", "import alpha; print(alpha.version)")

    def works() -> bool:
        try:
            return alone(*program, home=shop.home).stdout == "1.0\n"
        except FileNotFoundError:
            return False

    # The service of systemd: its own words, in the environment that it gives.
    shop.pkgview("umount", cwd=shop.home)
    assert not works()
    unit = service.install(shop.places, shop.environ, systemd=True).path.read_text()
    lines = [line.partition("=")[::2] for line in unit.splitlines() if "=" in line]
    given = {name: shlex.split(value) for name, value in lines if name.startswith("Exec")}
    environ = dict(
        shlex.split(value)[0].split("=", 1) for name, value in lines if name == "Environment"
    )
    for _ in range(2):  # whoever has mounted before is no fault
        started = alone(*given["ExecStart"], home=shop.home, environ=environ)
        assert started.returncode == 0, started
    assert works()
    stop = [given["ExecStop"][0].removeprefix("-"), *given["ExecStop"][1:]]
    assert alone(*stop, home=shop.home, environ=environ).returncode == 0
    assert mounts.mounted_at(shop.places.mount) is None
    assert shop.places.mount.is_dir()  # what starts at boot may have it bound
    # The entry of a desktop.
    entry = service.install(shop.places, shop.environ, systemd=False).path.read_text()
    (command,) = (line[5:] for line in entry.splitlines() if line.startswith("Exec="))
    assert alone(*shlex.split(command.replace("%%", "%")), home=shop.home).returncode == 0
    assert works()
    shop.pkgview("umount", cwd=shop.home)
    # A login shell that reads the printed line.
    (shop.home / ".profile").write_text(shells.line(shop.places, {"SHELL": "/bin/sh"}) + "\n")
    alone("sh", "-l", "-c", "true", home=shop.home)
    deadline = time.monotonic() + 30
    while not works():
        assert time.monotonic() < deadline
        time.sleep(0.05)
