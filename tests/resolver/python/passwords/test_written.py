"""Which addresses have a password. What becomes of it: tests/mounted/beside/test_passwords.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver.python.passwords.written import taken_out, written
from resolver.python.project import project_at, project_of_script

if TYPE_CHECKING:
    from pathlib import Path

FILE = "https://h.example/x/demo-1.0-py3-none-any.whl"
COMMIT = "c" * 40


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        ("-i https://a:b@h/team/simple", {"https://h/team/": ("a", "b")}),
        ("--index-url='https://a:b@h/simple/'", {"https://h/packages/": ("a", "b")}),
        ("--extra-index-url  https://a@h/own", {"https://h/own/": ("a", "")}),
        ("-i https://a:p@b@h/own", {"https://h/own/": ("a", "p@b")}),
        ("-ihttps://a:p%40b@h/own", {"https://h/own/": ("a", "p@b")}),
        ("--index-url https://${WHO}:${WORD}@h/own", {"https://h/own/": ("me", "word")}),
        ("--index-url https://${WHO}:${ABSENT}@h/own", {}),
        ("-f https://a:b@h/all.html", {"https://h/all.html/": ("a", "b")}),
        ("--find-links https://a:b@h/d/all.html", {"https://h/d/": ("a", "b")}),
        ("--find-links https://a:b@h/d/e/", {"https://h/d/e/": ("a", "b")}),
        ("-i https://a:b@h/one --extra-index-url https://c:d@h/two",
         {"https://h/one/": ("a", "b"), "https://h/two/": ("c", "d")}),
        ("-i ${ALL}", {"https://h/own/": ("me", "p'<w>")}),
        ("--extra-index-url='${ALL}'", {"https://h/own/": ("me", "p'<w>")}),
        ("-f ${ALL}", {"https://h/own/": ("me", "p'<w>")}),
        ("--find-links=https://${PAIR}@h/own", {"https://h/own/": ("me", "p'<w>")}),
        ("-i ${SCHEME}://a:b@h/own", {"https://h/own/": ("a", "b")}),
        ("-i https://a:p'b@h/own", {"https://h/own/": ("a", "p'b")}),
        ("--index-url \"https://a:<p>'@h/own\"", {"https://h/own/": ("a", "<p>'")}),
        ("-i HTTPS://a:b@H/own", {"https://h/own/": ("a", "b")}),
        ("-i https://a:100%@h/own", {"https://h/own/": ("a", "100%")}),
        ("-r more.txt", {"https://h/more/": ("a", "b")}),
        ("-c more.txt", {"https://h/more/": ("a", "b")}),
        ("# -i https://a:b@h/own", {}),
        ("demo @ https://a:b@h/own", {}),
        ("-i https://h/own", {}),
    ],
)  # fmt: skip
def test_of_indexes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: str,
    places: dict[str, tuple[str, str]],
) -> None:
    monkeypatch.setenv("WHO", "me")
    monkeypatch.setenv("WORD", "word")
    monkeypatch.setenv("PAIR", "me:p'<w>")
    monkeypatch.setenv("ALL", "https://me:p'<w>@h/own")
    monkeypatch.setenv("SCHEME", "https")
    monkeypatch.delenv("ABSENT", raising=False)
    (tmp_path / "requirements.txt").write_text(f"{lines}\n")
    (tmp_path / "more.txt").write_text("-i https://a:b@h/more\n")
    project = project_at(str(tmp_path))
    assert project is not None
    found = written(project)
    assert {**found.credentials, **places} == found.credentials
    assert bool(places) == bool(found.credentials)
    assert "https://h/" not in found.credentials  # others have places on that host
    assert "b'" not in repr(found)


@pytest.mark.parametrize(
    ("said", "url"),
    [
        (FILE.replace("//", "//a:b@"), FILE),
        (FILE.replace("//", "//a:b@") + "#sha256=00 --hash=sha256:00", FILE),
        (f"demo @ {FILE.replace('//', '//a:b@')} ; python_version > '3'", FILE),
        ("demo @ git+https://a:b@h/g.git@v1#subdirectory=x", "https://h/g.git"),
        ("demo @ git+https://a:b@h/g", "https://h/g"),
        ("demo @ https://a:b@h:443/g.zip?q=1", "https://h/g.zip?q=1"),
        ("${PLACE}/g.zip[extra]", "https://h/g.zip"),
        ("demo @ ${SCHEME}://a:b@h/g.zip", "https://h/g.zip"),
        ("HTTPS://a:b@H/%67.zip", "https://h/g.zip"),
        ("-e git+${PLACE}/g.git", "https://h/g.git"),
    ],
)
def test_of_files_and_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, url: str
) -> None:
    monkeypatch.setenv("PLACE", "https://a:b@h")
    monkeypatch.setenv("SCHEME", "https")
    (tmp_path / "requirements.txt").write_text(f"{said}\n")
    (tmp_path / "s.py").write_text(
        f"# /// script\n# dependencies = ['''{said.partition(' --')[0]}''']\n# ///\n"
    )
    projects = project_at(str(tmp_path)), project_of_script(tmp_path / "s.py")
    for project in projects:
        assert project is not None
        found = written(project)
        asked = url.replace("//", "//a:b@")
        assert found.with_password(url) == asked
        assert found.with_password(asked) == asked
        assert found.with_password(url.replace("/g", "/other").replace("/x/", "/y/")) != asked
        other = "https://c:d@elsewhere/z.whl"  # of somebody's metadata: nobody can look it up
        lock = f'url = "{asked}", commit-id = "{COMMIT}"\nurl = "{other}"\n'
        without = lock.replace(asked, url).replace("c:d@", "")
        assert taken_out(lock.encode()).decode() == without
        assert found.facts
    (tmp_path / "requirements.txt").write_text("")
    project = project_at(str(tmp_path))
    assert project is not None
    assert written(project).with_password(url) == url
    assert written(project, [said]).with_password(url) == url.replace("//", "//a:b@")


def test_nothing_is_looked_up_where_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("demo @ git+ssh://git@h/g\nsix\n")
    project = project_at(str(tmp_path))
    assert project is not None
    found = written(project)
    assert (found.facts, found.credentials, found.with_password(FILE)) == ((), {}, FILE)
    assert taken_out(b"url = 'ssh://git@h/g'") == b"url = 'ssh://git@h/g'"
    assert taken_out(b'url = "git+ssh://git:pw@h/g"') == b'url = "git+ssh://git@h/g"'
    lock = b'url = "http://h:80/a@b", url = "git+https://t%3C\'k@h/g@v1", email = "a@b"'
    assert taken_out(lock) == lock.replace(b"t%3C'k@", b"")


def test_a_lock_beside_requirements(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text("")
    for text, found in (("-i https://a:b@h/own\n", ("a", "b")), ("-r missing.txt\n", None)):
        (tmp_path / "requirements.txt").write_text(text)
        project = project_at(str(tmp_path))
        assert project is not None
        assert written(project).credentials.get("https://h/own/") == found
