"""What is the user's alone is closed to others, and nothing else is touched."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.ownership import is_private_group
from resolver.private import OWN, close_to_others

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places

ANOTHER = 61009


@pytest.fixture
def named(isolated_places: Places) -> dict[str, Path]:
    found: dict[str, Path] = asdict(isolated_places)
    for path in found.values():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)
    return found


def said(named: dict[str, Path]) -> list[str]:
    return list(close_to_others({name: os.fspath(path) for name, path in named.items()}))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_what_was_open_is_closed_and_told_once(named: dict[str, Path]) -> None:
    sentences = said(named)
    assert [mode(named[name]) for name in OWN] == [0o700] * len(OWN)
    for name, sentence in zip(OWN, sentences, strict=True):
        assert str(named[name]) in sentence
        assert "0755" in sentence
    assert mode(named["mount"]) == 0o755
    assert said(named) == []


def test_nothing_is_loosened(named: dict[str, Path]) -> None:
    named["state"].chmod(0o500)
    named["config"].chmod(0o550)
    named["cache"].rmdir()
    assert len(said(named)) == 2
    assert mode(named["state"]) == mode(named["config"]) == 0o500
    assert not named["cache"].exists()


@pytest.mark.parametrize("shared", [0o777, 0o3777, 0o2775])
def test_a_store_that_others_write_to_is_shared_on_purpose(
    named: dict[str, Path], shared: int
) -> None:
    if os.geteuid() == 0:
        os.chown(named["store"], -1, 61009)
    named["store"].chmod(shared)
    said(named)
    assert mode(named["store"]) == (shared if os.geteuid() == 0 or shared & 0o002 else 0o700)
    named["state"].chmod(0o777)
    assert len(said(named)) == 1
    assert mode(named["state"]) == 0o700


def test_a_private_groups_write_permission_shares_nothing(named: dict[str, Path]) -> None:
    """What the umask 002 gives a user who has a group to themselves."""
    if os.geteuid() != 0:
        pytest.skip("this user may have no group of its own")
    named["store"].chmod(0o775)
    said(named)
    assert mode(named["store"]) == 0o700


def test_who_has_a_group_as_their_own_is_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the group's list of members does not say, passwd(5)."""
    uid, gid = 61001, 61001
    ada = pwd.struct_passwd(("ada", "x", uid, gid, "", "/", ""))
    other = pwd.struct_passwd(("mallory", "x", uid + 1, gid, "", "/", ""))
    monkeypatch.setattr(pwd, "getpwuid", {uid: ada, 0: pwd.getpwuid(0)}.__getitem__)
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("ada", "x", gid, [])))
    monkeypatch.setattr(pwd, "getpwall", lambda: [pwd.getpwuid(0), ada])
    assert is_private_group(os.fspath(tmp_path), gid, uid)
    monkeypatch.setattr(pwd, "getpwall", lambda: [pwd.getpwuid(0), ada, other])
    assert not is_private_group(os.fspath(tmp_path), gid, uid)


@pytest.mark.parametrize("name", OWN)
def test_what_is_anothers_is_refused(named: dict[str, Path], name: str) -> None:
    """Its owner would have the last word of what is in it."""
    if os.geteuid() != 0:
        pytest.skip("only root can give something away")
    os.chown(named[name], ANOTHER, ANOTHER)
    with pytest.raises(PkgviewError, match=f"{named[name]} belongs to user {ANOTHER}") as caught:
        said(named)
    assert f"set XDG_{'DATA' if name == 'store' else name.upper()}_HOME" in caught.value.remedy
    assert mode(named[name]) == 0o755


@pytest.mark.parametrize("name", OWN)
def test_what_others_could_replace_is_refused(named: dict[str, Path], name: str) -> None:
    above = named[name].parent
    above.chmod(0o777)
    with pytest.raises(PkgviewError, match=f"everybody may write to {above}"):
        said(named)
    above.chmod(0o1777)
    said(named)
    # The same by a link, and before it is there.
    named[name].rename(above / "aside")
    if os.geteuid() == 0:
        named[name].symlink_to("aside")
        os.chown(named[name], ANOTHER, ANOTHER, follow_symlinks=False)
        with pytest.raises(PkgviewError, match=f"{named[name]} belongs to user {ANOTHER}"):
            said(named)
        named[name].unlink()
    above.chmod(0o777)
    with pytest.raises(PkgviewError, match=f"everybody may write to {above}"):
        said(named)
