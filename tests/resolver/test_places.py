from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from resolver.errors import PkgviewError
from resolver.places import Places


def test_the_defaults() -> None:
    assert Places.from_environ({"HOME": "/home/me"}) == Places(
        store=Path("/home/me/.local/share/pkgview/store"),
        state=Path("/home/me/.local/state/pkgview"),
        cache=Path("/home/me/.cache/pkgview"),
        runtime=Path("/home/me/.local/state/pkgview/run"),
        config=Path("/home/me/.config/pkgview"),
        mount=Path("/home/me/.pkgview"),
    )


def test_every_variable_moves_its_place() -> None:
    assert Places.from_environ(
        {
            "HOME": "/home/me",
            "XDG_DATA_HOME": "/data",
            "XDG_STATE_HOME": "/state",
            "XDG_CACHE_HOME": "/cache",
            "XDG_CONFIG_HOME": "/config",
            "XDG_RUNTIME_DIR": "/run/user/7",
            "PKGVIEW_MOUNT": "/mnt/packages",
        }
    ) == Places(
        store=Path("/data/pkgview/store"),
        state=Path("/state/pkgview"),
        cache=Path("/cache/pkgview"),
        runtime=Path("/run/user/7/pkgview"),
        config=Path("/config/pkgview"),
        mount=Path("/mnt/packages"),
    )


@pytest.mark.parametrize("value", ["", "relative/path", "./x", "~/x"])
def test_relative_directories_do_not_count(value: str) -> None:
    # The specification calls them invalid, to be ignored.
    variables = ("DATA_HOME", "STATE_HOME", "CACHE_HOME", "CONFIG_HOME", "RUNTIME_DIR")
    environ = {"HOME": "/home/me", **{f"XDG_{name}": value for name in variables}}
    assert Places.from_environ(environ) == Places.from_environ({"HOME": "/home/me"})


def test_a_relative_mount_point_is_one_of_this_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = Places.from_environ({"HOME": "/home/me", "PKGVIEW_MOUNT": "here/../there"})
    assert places.mount == tmp_path / "there"
    assert Places.from_environ({"HOME": "/home/me", "PKGVIEW_MOUNT": ""}).mount == Path(
        "/home/me/.pkgview"
    )


def test_the_mount_point_is_not_looked_at(tmp_path: Path) -> None:
    # It may be a stale mount, which fails for whoever follows it.
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    places = Places.from_environ({"HOME": "/home/me", "PKGVIEW_MOUNT": str(link)})
    assert places.mount == link


def test_nothing_is_made(tmp_path: Path) -> None:
    Places.from_environ({"HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_without_an_argument_it_is_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith(("XDG_", "PKGVIEW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Places.from_environ() == Places.from_environ({"HOME": str(tmp_path)})


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_without_home_the_user_database_says_it(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Places.from_environ(environ).mount == home / ".pkgview"


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError("getpwuid(): uid not found: 1234567")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(PkgviewError, match="no home directory") as caught:
        Places.from_environ({})
    assert "Set HOME" in caught.value.remedy


def test_a_relative_home_is_refused() -> None:
    with pytest.raises(PkgviewError, match="'here', which is no absolute path"):
        Places.from_environ({"HOME": "here"})
