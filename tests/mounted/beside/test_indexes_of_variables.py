"""Indexes that variables name: what counts of them, for what is locked in the state and `--with`.

`main` has demo 1.0 and 2.0, `other` another demo 2.0, and 3.0; `demo.of` says from where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver.python.uv.run import uv_binary
from tests.mounted.conftest import an_index
from tests.mounted.test_run import is_quick, loaded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside
    from tests.mounted.conftest import Index

pytestmark = [pytest.mark.fuse]

SHOW = ("python", "-c", "import demo; print(demo.of)")
NONE = {"UV_DEFAULT_INDEX": ""}


@pytest.fixture(scope="module")
def other(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    for version in ("1.0", "2.0"):
        beside.index.wheel("demo", version, {"demo.py": f"of = 'main {version}'".encode()})
    with an_index(tmp_path_factory.mktemp("other") / "index") as served:
        for version in ("2.0", "3.0"):
            served.wheel("demo", version, {"demo.py": f"of = 'other {version}'".encode()})
        served.guard("/team", "ann", "demo")
        yield served


def shown(beside: Beside, directory: Path, **environ: str) -> str:
    """What `run` gets in a shell with these variables."""
    return beside.site.pkgview("run", *SHOW, cwd=directory, environ=environ).stdout.strip()


def added(
    beside: Beside, directory: Path, *options: str | Path, environ: Mapping[str, str], by: str = ""
) -> str:
    """What `run --with demo` gets, or uv's."""
    words = ("run", *options, "--with", "demo", *SHOW)
    if by:
        python = ("--python", beside.site.python)
        return beside.site.run(
            uv_binary(), words[0], "-q", *python, *words[1:], cwd=directory, environ=environ
        ).stdout.strip()
    return beside.site.pkgview(*words, cwd=directory, environ=environ).stdout.strip()


def test_up_decides_by_them(beside: Beside, other: Index) -> None:
    main = {"UV_DEFAULT_INDEX": beside.index.url}
    for variables, by in (
        ({"UV_DEFAULT_INDEX": other.url}, beside.uv),
        ({"UV_INDEX": other.url}, beside.uv),
        ({**NONE, "PIP_INDEX_URL": other.url}, beside.pip),
    ):
        directory = beside.project({"requirements.txt": "demo\n"})
        assert beside.pkgview(directory, environ=main).status == 0
        assert shown(beside, directory, **main) == "main 2.0"
        # Whoever decides nothing gets what was decided, from whatever shell.
        assert shown(beside, directory, **variables) == "main 2.0"
        frozen = beside.site.pkgview("up", "--frozen", cwd=directory, environ=variables)
        assert "Nothing to do" in frozen.stderr
        beside.site.pkgview("up", "--locked", cwd=directory, environ=variables)
        assert shown(beside, directory) == "main 2.0"
        assert beside.pkgview(directory, environ=variables).status == 0
        now = shown(beside, directory)
        assert now.startswith("other "), (variables, now)
        asked = len(other.asked) + len(beside.index.asked)
        again = beside.pkgview(directory, environ=variables)
        assert "Nothing to do" in again.said
        python = beside.site.places.mount / "bin/python"
        ran = beside.site.run(python, *SHOW[1:], cwd=directory, environ=main)
        assert ran.stdout.strip() == now, "a program that just starts resolves nothing anew"
        assert len(other.asked) + len(beside.index.asked) == asked
        assert by(directory, environ=variables).distributions == {"demo": "3.0"}


def test_a_password_may_change(beside: Beside, other: Index) -> None:
    directory = beside.project({"requirements.txt": "demo\n"})
    right = other.guarded("/team")
    ended = beside.pkgview(directory, environ={"UV_DEFAULT_INDEX": right})
    assert (ended.status, shown(beside, directory)) == (0, "other 3.0"), ended.said
    wrong = other.guarded("/team", said="ann:of-the-next-hour")
    ended = beside.pkgview(directory, environ={"UV_DEFAULT_INDEX": wrong})
    assert "Nothing to do" in ended.said
    assert added(beside, directory, environ={"UV_DEFAULT_INDEX": right}) == "other 3.0"
    assert added(beside, directory, environ={"UV_DEFAULT_INDEX": wrong}) == "other 3.0"


def test_a_lock_of_the_project_does_without(beside: Beside, other: Index) -> None:
    head = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\n'
    directory = beside.project({"pyproject.toml": f'{head}dependencies = ["demo"]\n'})
    beside.site.run(uv_binary(), "lock", "-q", "--python", beside.site.python, cwd=directory)
    listed = beside.project({"requirements.txt": "demo\n"})
    beside.site.pkgview("lock", cwd=listed)
    for one in (directory, listed):
        assert beside.pkgview(one).status == 0
        before = {path.name: path.read_bytes() for path in one.iterdir() if path.is_file()}
        ended = beside.pkgview(one, environ={"UV_DEFAULT_INDEX": other.url})
        assert "Nothing to do" in ended.said
        assert before == {path.name: path.read_bytes() for path in one.iterdir() if path.is_file()}


def test_what_is_added_follows_them(beside: Beside, other: Index) -> None:
    beside.index.wheel("plain")
    project = beside.project({"requirements.txt": "plain\n"})
    outside = beside.site.project("outside")
    for directory in (project, outside):
        for url, name in ((beside.index.url, "main 2.0"), (other.url, "other 3.0")) * 2:
            environ = {"UV_DEFAULT_INDEX": url}
            assert added(beside, directory, environ=environ) == name
            assert added(beside, directory, environ=environ, by="uv") == name
            words = ("tool", "run", "--from", "demo", *SHOW)
            ran = beside.site.pkgview(*words, cwd=directory, environ=environ)
            assert ran.stdout.strip() == name
        assert is_quick(loaded(beside.site, directory, "--with", "demo", *SHOW))


ROWS = {
    "uv.toml": ({"uv.toml": 'index-url = "{other}"\n'}, "", "other 3.0"),
    "[tool.uv]": ({"pyproject.toml": '[tool.uv]\nindex-url = "{other}"\n'}, "", "other 3.0"),
    "of a project": (
        {"pyproject.toml": '[project]\nname = "p"\nversion = "1"\ndependencies = ["nothere"]\n'
         '[[tool.uv.index]]\nurl = "{other}"\ndefault = true\n'}, "", "other 3.0"),
    "above": ({"uv.toml": 'index-url = "{other}"\n', "sub/x": ""}, "sub", "other 3.0"),
    "no [pip], no constraint, no source": (
        {"pyproject.toml": '[tool.uv]\nconstraint-dependencies = ["demo<2"]\n'
         'sources.demo = { index = "o" }\npip.index-url = "{other}"\n'
         '[[tool.uv.index]]\nname = "o"\nurl = "{other}"\nexplicit = true\n'}, "", "main 2.0"),
    "a resolution": ({"uv.toml": 'resolution = "lowest"\n'}, "", "main 1.0"),
    "a place": ({"uv.toml": 'no-index = true\nfind-links = ["links"]\n'}, "", "main 1.0"),
    "a place of a variable": ({"x": ""}, "", "main 1.0"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_settings_of_a_directory_without_a_project(row: str, beside: Beside, other: Index) -> None:
    """As `uv run --no-project --with`; also where there is no project, without the option."""
    files, below, expected = ROWS[row]
    directory = beside.project(
        {name: text.replace("{other}", other.url) for name, text in files.items()}
    )
    wheel = "demo-1.0-py3-none-any.whl"
    (directory / "links").mkdir()
    (directory / "links" / wheel).write_bytes((beside.index.directory / wheel).read_bytes())
    by_file = "index-url" in str(files) or "default" in str(files)
    environ: dict[str, str] = NONE if by_file and "main" not in expected else {}
    if "x" in files:
        environ = {**NONE, "UV_FIND_LINKS": "links", "UV_OFFLINE": "1"}
    place = directory / below
    words = ("run", "--no-project", "--with", "demo", *SHOW)
    asked = len(other.asked)
    if "{other}" in str(files) or "find-links" in str(files):
        # Who asks for no project has not said yes to what is chosen here.
        refused = beside.site.pkgview(*words, cwd=place, environ=environ, code=1)
        assert f"you have not allowed {directory} to" in refused.stderr
        assert len(other.asked) == asked
        beside.site.pkgview("trust", cwd=directory)
        listed = beside.site.pkgview("trust", "--list", cwd=directory).stdout
        assert f"{directory}: trusted" in listed
        assert "  may " in listed
    for options in (("--no-project",), ()) if "project" not in row else (("--no-project",),):
        ours = added(beside, place, *options, environ=environ)
        assert ours == added(beside, place, *options, environ=environ, by="uv") == expected
    # An edit counts at once, and nobody else's directory gets it.
    if row == "uv.toml":
        (directory / "uv.toml").write_text(f'index-url = "{beside.index.url}"\n')
        refused = beside.site.pkgview(*words, cwd=place, environ=NONE, code=1)
        assert f"you have not allowed {directory} to" in refused.stderr
        beside.site.pkgview("trust", cwd=directory)
        assert added(beside, place, environ=NONE) == "main 2.0"
        elsewhere = beside.site.project("elsewhere")
        assert added(beside, elsewhere, environ={"UV_DEFAULT_INDEX": other.url}) == "other 3.0"
        (directory / "uv.toml").chmod(0o666)
        refused = beside.site.pkgview(*words, cwd=place, code=1)
        assert "everybody may write to" in refused.stderr
        beside.site.pkgview(words[0], "--trust", *words[1:], cwd=place)
