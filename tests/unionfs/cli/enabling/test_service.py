"""The unit, as systemd itself reads it, and the autostart entry."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from unionfs.cli.enabling import made, service

if TYPE_CHECKING:
    from resolver.places import Places


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(isolated_places: Places, tmp_path: Path) -> None:
    del isolated_places
    odd = tmp_path / 'a "b" 100% $HOME c\\d'
    odd.mkdir()
    command = odd / "pkgview"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    path = tmp_path / service.UNIT
    path.write_text(
        service.unit(
            os.fspath(command), {"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": os.fspath(odd)}
        )
    )
    verify = ["systemd-analyze", "verify", "--user", os.fspath(path)]
    checked = subprocess.run(verify, capture_output=True, text=True, check=False)
    # It goes on to units of the machine, which are not ours.
    ours = [line for line in (checked.stdout + checked.stderr).splitlines() if "pkgview" in line]
    assert ours == []
    path.write_text(path.read_text().replace("OOMPolicy=", "OOMPolitics="))
    checked = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert "OOMPolitics" in checked.stderr


def test_it_is_enabled_and_taken_away_again(isolated_places: Places) -> None:
    environ = os.environ | {"PKGVIEW_MOUNT": "/srv/my views", "UV_INDEX_CORP_PASSWORD": "secret"}
    entry = service.install(isolated_places, environ, systemd=True)
    config = Path(os.environ["XDG_CONFIG_HOME"])
    wanted = config / "systemd/user/default.target.wants/pkgview.service"
    assert wanted.resolve() == entry.path == config / "systemd/user/pkgview.service"
    text = entry.path.read_text()
    assert 'Environment="PKGVIEW_MOUNT=/srv/my views"\n' in text
    assert "secret" not in text
    desktop = service.install(isolated_places, environ, systemd=False)
    assert f'Exec="{service.own_command()}" "mount" "/srv/my views"\n' in desktop.path.read_text()
    assert service.install(isolated_places, environ, systemd=True) == entry
    assert service.remove(environ) == [entry.path, desktop.path]
    assert not os.path.lexists(wanted)
    assert service.remove(environ) == []
    made.take_away(isolated_places)
    assert not config.exists(), "nothing was there before"


def test_an_entry_is_escaped_twice() -> None:
    text = service.desktop_entry('/a "$b`\\c%d', {})
    assert r'Exec="/a \\"\\$b\\`\\\\c%%d" "mount"' in text
    with pytest.raises(PkgviewError, match="cannot stand"):
        service.unit("/a\nExecStart=/evil", {})
