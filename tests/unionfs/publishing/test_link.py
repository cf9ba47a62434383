from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.mounting import mountpoints
from unionfs.publishing import link, temporary

if TYPE_CHECKING:
    from resolver.places import Places


@pytest.fixture
def places(isolated_places: Places) -> Places:
    return replace(isolated_places, mount=Path("/somewhere/mount"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


VIEW = ViewId("0" * 32)
OTHER = ViewId("1" * 32)


def test_makes_moves_and_takes_away(project: Path, places: Places) -> None:
    assert link.link(project / ".venv", places, VIEW, force=False) is None
    assert link.is_linked(project / ".venv", places, VIEW)
    assert not link.is_linked(project / ".venv", places, OTHER)
    link.link(project / ".venv", places, OTHER, force=False)
    assert os.readlink(project / ".venv") == f"{places.mount}/views/{OTHER}"
    assert link.unlink(project / ".venv", places)
    assert not link.unlink(project / ".venv", places)
    assert os.listdir(project) == []


def test_what_a_link_shows_of_a_view(project: Path, places: Places) -> None:
    """Node looks names up from real paths, so the last name there has to be the link's own."""
    modules = project / "node_modules"
    link.link(modules, places, VIEW, force=False)
    assert os.readlink(modules) == f"{places.mount}/views/{VIEW}/node_modules"
    assert link.is_linked(modules, places, VIEW)
    assert link.is_of(modules, places)
    link.link(modules, places, OTHER, force=False, shown="members/a/node_modules")
    assert os.readlink(modules) == f"{places.mount}/views/{OTHER}/members/a/node_modules"
    assert link.unlink(modules, places)
    for leads in (f"views/{VIEW}/../../x", "views//x", "views/..", "view/x", f"views/{VIEW}x/../y"):
        modules.symlink_to(f"{places.mount}/{leads}")
        assert not link.is_ours(modules, places)
        modules.unlink()


def test_a_real_environment_is_never_overwritten(project: Path, places: Places) -> None:
    (project / ".venv").mkdir()
    (project / ".venv/precious").write_text("x")
    with pytest.raises(PkgviewError, match="not pkgview's"):
        link.link(project / ".venv", places, VIEW, force=False)
    with pytest.raises(PkgviewError, match="left alone"):
        link.unlink(project / ".venv", places)
    aside = link.link(project / ".venv", places, VIEW, force=True)
    assert aside is not None
    assert (aside / "precious").read_text() == "x"


@pytest.mark.parametrize(
    "target",
    [
        "/usr",
        "env",
        "/home/me/views/env",
        f"/home/me/{VIEW}",
        f"views/{VIEW}/bin",
        f"/srv/gallery/views/{VIEW}",
        f"/home/other/.pkgview/views/{VIEW}",
        f"/somewhere/mount/packages/{VIEW}",
    ],
)
def test_a_foreign_link_is_foreign(project: Path, places: Places, target: str) -> None:
    (project / ".venv").symlink_to(target)
    with pytest.raises(PkgviewError, match="not pkgview's"):
        link.link(project / ".venv", places, VIEW, force=False)
    assert os.readlink(project / ".venv") == target


@pytest.mark.parametrize("by", ["link", "mount"])
def test_a_link_into_a_mount_that_moved_is_ours(project: Path, places: Places, by: str) -> None:
    before = replace(places, mount=Path("/home/me/.pkgview"))
    if by == "link":
        link.link(project / ".venv", before, OTHER, force=False)
    else:
        mountpoints.remember(before)
        (project / ".venv").symlink_to(f"/home/me/.pkgview/views/{OTHER}")
    assert link.link(project / ".venv", places, VIEW, force=False) is None
    assert link.is_linked(project / ".venv", places, VIEW)


def test_force_twice_keeps_both(project: Path, places: Places) -> None:
    for content in ("one", "two"):
        (project / ".venv").unlink(missing_ok=True)
        (project / ".venv").mkdir()
        (project / ".venv/f").write_text(content)
        link.link(project / ".venv", places, VIEW, force=True)
    kept = sorted(path.read_text() for path in project.glob(".venv.before-pkgview*/f"))
    assert kept == ["one", "two"]


def test_what_a_killed_process_left_goes(project: Path, places: Places) -> None:
    """By its note, not by its name, which may be a repository's."""
    links = [f".venv{end}" for end in (".pkgview-new", ".pkgview-0123456789abcdef")]
    for name in links:
        (project / name).symlink_to("/elsewhere")
    (project / ".venv.pkgview-directory").mkdir()
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from resolver.places import Places; from unionfs.publishing import temporary\n"
        "from dataclasses import fields\n"
        "places = Places(**dict(zip((f.name for f in fields(Places)), map(Path, sys.argv[2:]))))\n"
        "with temporary.beside(Path(sys.argv[1]), places) as new:\n"
        "    new.symlink_to('/left'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    where = [str(getattr(places, one.name)) for one in fields(places)]
    words = [sys.executable, "-c", killed, str(project / ".venv"), *where]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    kept = {*links, ".venv.pkgview-directory"}
    assert len({*os.listdir(project)} - kept) == 1
    link.link(project / ".venv", places, VIEW, force=False)
    assert link.is_linked(project / ".venv", places, VIEW)
    assert {*os.listdir(project)} == {".venv", *kept}
    assert os.listdir(temporary.notes_of(places)) == []


def test_many_at_once_all_succeed(project: Path, places: Places) -> None:
    views = [ViewId(f"{number:032x}") for number in range(8)]
    failures: list[BaseException] = []

    def work(view: ViewId) -> None:
        try:
            for _ in range(50):
                link.link(project / ".venv", places, view, force=False)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(view,)) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert any(link.is_linked(project / ".venv", places, view) for view in views)
    assert os.listdir(project) == [".venv"]


def test_what_was_set_aside_comes_back_if_the_link_cannot_be_made(
    project: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".venv").mkdir()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)  # as on vfat
    with pytest.raises(PkgviewError, match=r"cannot link .*Operation not permitted"):
        link.link(project / ".venv", places, VIEW, force=True)
    assert os.listdir(project) == [".venv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_not_writable(project: Path, places: Places) -> None:
    link.link(project / ".venv", places, VIEW, force=False)
    project.chmod(0o555)
    try:
        with pytest.raises(PkgviewError, match="Permission denied"):
            link.unlink(project / ".venv", places)
    finally:
        project.chmod(0o755)
