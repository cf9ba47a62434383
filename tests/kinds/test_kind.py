"""What a new kind of namespace touches: its two folders, and one line that registers it.

The toy kind beside this file (a directory of text files) is put into a copy of the two packages
and used as any other, with real commands and a real mount.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import resolver
import unionfs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

pytestmark = pytest.mark.fuse

TOY = Path(__file__).parent / "text"
REGISTRATION = '    "text": ("unionfs.formats.text.kind", "texts", ("texts.lock",)),\n'
MAIN = (sys.executable, "-P", "-c", "from unionfs.cli import main; main()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A project, and a pkgview that knows texts."""

    project: Path
    code: Path
    mount: Path

    def pkgview(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*MAIN, *arguments],
            cwd=self.project,
            env={**os.environ, "PYTHONPATH": str(self.code)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - as wide as JSON
        return json.loads(self.pkgview(*arguments, "--json").stdout)

    def write(self, **texts: str) -> None:
        lines = []
        for name, content in texts.items():
            (self.project / f"{name}.txt").write_text(content)
            sha256 = hashlib.sha256(content.encode()).hexdigest()
            lines.append(f"{name} 1.0 {sha256} {name}.txt\n")
        (self.project / "texts.lock").write_text("".join(lines))


@pytest.fixture
def desk(isolated_places: Places, tmp_path: Path) -> Iterator[Desk]:
    if not Path("/dev/fuse").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("there is no /dev/fuse")
        pytest.skip("there is no /dev/fuse")
    code = tmp_path / "code"
    for package in (resolver, unionfs):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, code / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOY, code, dirs_exist_ok=True)
    table = code / "unionfs/kinds.py"
    registered = table.read_text().replace("KINDS = {\n", "KINDS = {\n" + REGISTRATION)
    assert REGISTRATION in registered
    table.write_text(registered)
    project = tmp_path / "project"
    project.mkdir()
    desk = Desk(project=project, code=code, mount=isolated_places.mount)
    try:
        yield desk
    finally:
        with contextlib.suppress(AssertionError):
            desk.pkgview("umount", "--force")


def test_it_lies_in_two_folders() -> None:
    files = [path.relative_to(TOY) for path in TOY.rglob("*.py")]
    folders = {"resolver/text", "unionfs/formats/text"}
    assert {str(path.parent) for path in files} == folders
    for folder in folders:  # they are new, and replace nothing
        assert not (Path(__file__).parents[2] / folder).exists()


def test_it_is_used_as_any_other(desk: Desk) -> None:
    desk.write(poem="roses\n", prose="once\n")
    (desk.project / "requirements.txt").write_text("")
    first = desk.pkgview("up")
    assert f"Linked {desk.project}/texts." in first.stderr
    assert f"Linked {desk.project}/.venv." in first.stderr
    assert "text: View " in first.stderr
    assert "2 distributions, texts" in first.stderr
    assert "python: View " in first.stderr
    texts = desk.project / "texts"
    assert (texts / "texts/poem.txt").read_text() == "roses\n"
    assert (texts / "INDEX").read_text() == "poem 1.0\nprose 1.0\n"
    assert sorted(os.listdir(texts)) == ["INDEX", "texts"]
    again = desk.pkgview("up")
    assert again.stderr.count("Nothing to do") == 2
    # The interpreter that asks has Python's view, as ever.
    python = subprocess.run(
        [desk.mount / "bin/python", "-c", "import sys; print(sys.prefix)"],
        cwd=desk.project, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert python.stdout.strip() == os.readlink(desk.project / ".venv")

    shown = desk.json("view", "--kind", "text")
    assert shown["target"] == {"alphabet": "any"}
    assert [layer["name"] for layer in shown["layers"]] == ["", "poem", "prose"]
    assert desk.json("view", "--kind", "python")["kind"] == "python"
    why = desk.json("why", "--kind", "text", "texts/texts/poem.txt")
    assert [one["name"] for one in why["given_by"]] == ["poem"]
    assert desk.json("why", "--kind", "text", "poem.txt") == why

    # Whoever has it open keeps it; the project gets another.
    before = os.readlink(texts)
    desk.write(poem="violets\n")
    assert desk.json("up", "--kind", "text")["changed"]
    assert (texts / "texts/poem.txt").read_text() == "violets\n"
    assert not (texts / "texts/prose.txt").exists()
    assert Path(before, "texts/poem.txt").read_text() == "roses\n"
    assert desk.json("up", "--kind", "python")["changed"] is False

    desk.pkgview("gc")
    assert (texts / "texts/poem.txt").read_text() == "violets\n"
    for archive in (desk.mount.parent / ".local/share/pkgview").rglob("poem-1.0*.tar.zst"):
        archive.write_bytes(archive.read_bytes()[:-40])
    desk.pkgview("store", "verify", "--repair")
    assert desk.pkgview("store", "verify").returncode == 0

    removed = desk.pkgview("down").stderr
    assert f"Removed {desk.project}/texts." in removed
    assert f"Removed {desk.project}/.venv." in removed


def test_what_cannot_be_taken_is_named(desk: Desk) -> None:
    desk.write(poem="ro\0ses\n")
    assert "poem.txt is no text" in desk.pkgview("up", status=1).stderr
    (desk.project / "texts.lock").write_text("nonsense\n")
    assert "texts.lock, line 1: 'nonsense' names no text" in desk.pkgview("up", status=1).stderr
    desk.write(poem="roses\n")
    (desk.project / "poem.txt").write_text("thistles\n")
    assert "is not the locked file" in desk.pkgview("up", status=1).stderr
    usage = desk.pkgview("up", "--python", "3.11", status=2).stderr
    assert "for projects of Python's" in usage
    assert not os.path.lexists(desk.project / "texts")
