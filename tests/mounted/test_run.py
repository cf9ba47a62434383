"""`pkgview run` as somebody who comes from uv uses it: scripts, `--with`, no project at all."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.cli.commands.run import run as command
from unionfs.cli.quick_run import understood

if TYPE_CHECKING:
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")

BACKEND = """\
import zipfile
def build_editable(directory, settings=None, metadata=None):
    name = "lib-2.0-py3-none-any.whl"
    with zipfile.ZipFile(directory + "/" + name, "w") as wheel:
        wheel.writestr("lib.pth", {source!r})
        info = "lib-2.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: lib\\nVersion: 2.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""

MODULES = """
import json, os, sys
def shown(program, command, environ):
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)
os.execvpe = shown
from unionfs.cli import main
main(sys.argv[1:])
"""
"""What is loaded when the command takes over."""


def run(site: Site, directory: Path, *arguments: str | Path, code: int = 0) -> Any:  # noqa: ANN401 - a process
    return site.pkgview("run", *arguments, cwd=directory, code=code)


def loaded(site: Site, directory: Path, *arguments: str) -> set[str]:
    said = site.run(sys.executable, "-c", MODULES, "run", *arguments, cwd=directory)
    return set(json.loads(said.stdout))


def is_quick(modules: set[str]) -> bool:
    """Whether nothing was loaded that takes time; `json` is for `MODULES`."""
    ours = {name for name in modules if name.startswith(("unionfs.", "resolver."))}
    heavy = {"click", "dataclasses", "hashlib", "packaging", "trio", "socket", "signal"}
    return not modules & heavy and ours <= QUICK


QUICK = {
    *("resolver.atomic", "resolver.boot", "resolver.buildenv", "resolver.errors"),
    *("resolver.inputs", "resolver.local", "resolver.naming", "resolver.onpath"),
    *("resolver.ownership", "resolver.private", "resolver.remembered", "resolver.way"),
    *("resolver.where", "unionfs.bindings", "unionfs.bindings.tag", "unionfs.cli"),
    *("unionfs.cli.command", "unionfs.cli.console", "unionfs.cli.quick"),
    *("unionfs.cli.quick_run", "unionfs.cli.quick_node", "unionfs.kinds"),
    *("resolver.node", "resolver.node.clone", "resolver.node.start"),
}


@pytest.fixture
def project(shop: Site, index: Index) -> Path:
    """A package's neighbour: locked by its own pylock.toml to `lib 1.0`, of an index."""
    index.wheel("lib")
    index.wheel("rich", files={"rich/__init__.py": b"", "rich/__main__.py": b"print('rich')"})
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("lib\n")
    shop.pkgview("lock", cwd=directory)
    shop.pkgview("up", cwd=directory)
    return directory


def test_another_lib_for_one_run(shop: Site, project: Path) -> None:
    """The experimental one wins over the lock, is followed, and leaves nothing behind."""
    lib = shop.project("lib")
    source = lib / "src"
    source.mkdir()
    (lib / "backend.py").write_text(BACKEND.format(source=f"{source}\n"))
    (lib / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "lib"\nversion = "2.0"\nrequires-python = ">=3.9"\n'
    )
    before = os.readlink(project / ".venv"), (project / "pylock.toml").read_bytes()
    show = ("python", "-c", "import lib; print(lib.version)")
    said = f"For this run only: lib ({lib}) instead of lib 1.0.\n"
    ways = (("--with", "../lib"), ("--with-editable", f"{lib}"), ("--with", "-e", "../lib"))
    for number, way in enumerate(ways):
        (source / "lib.py").write_text(f"version = {number}\n")
        done = run(shop, project, *way, "--", *show)
        assert (done.stdout, done.stderr.count(said)) == (f"{number}\n", 1), way
    # Then it is known: by the same bytes of the project's files and of lib's own.
    done = run(shop, project, "--with", "../lib", "--", *show)
    assert (done.stdout, done.stderr) == ("2\n", said)
    assert is_quick(loaded(shop, project, "--with", "../lib", "--", "true"))
    with (lib / "pyproject.toml").open("a") as file:
        file.write('dependencies = ["rich"]\n')
    assert run(shop, project, "--with=../lib", "-m", "rich").stdout == "rich\n"
    assert (os.readlink(project / ".venv"), (project / "pylock.toml").read_bytes()) == before
    assert run(shop, project, *show).stdout == "1.0\n"
    assert is_quick(loaded(shop, project, "--", "true"))
    for spelled in ("--with=-e../lib", "--with=-e=../lib"):
        assert run(shop, project, spelled, "--", *show).stdout == "2\n"
    nowhere = f"there is no {project}/Nope"
    for wrong, why in (
        ("./nowhere", "there is no"), ("-r x", "is no requirement"), ("Nope/", nowhere),
        ("Nope/[x]", nowhere), ("-eNope", nowhere), ("git:a/b", "is no requirement"),
    ):  # fmt: skip
        done = run(shop, project, f"--with={wrong}", "--", "true", code=1)
        assert why in done.stderr


def test_another_lib_than_one_in_the_projects_own_tree(shop: Site) -> None:
    directory = shop.project("shop")
    for lib, version in ((directory / "lib", "1.0"), (shop.project("lib"), "2.0")):
        source = lib / "src"
        source.mkdir(parents=True)
        (source / "lib.py").write_text(f"version = {version!r}\n")
        (lib / "backend.py").write_text(BACKEND.format(source=f"{source}\n"))
        (lib / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            f'[project]\nname = "lib"\nversion = "{version}"\nrequires-python = ">=3.9"\n'
        )
    (directory / "requirements.txt").write_text("-e ./lib\n")
    show = ("--", "python", "-c", "import lib; print(lib.version)")
    assert run(shop, directory, *show).stdout == "1.0\n"
    done = run(shop, directory, "--with", "../lib", *show)
    assert done.stdout == "2.0\n"
    assert "For this run only: lib" in done.stderr
    assert run(shop, directory, *show).stdout == "1.0\n"


def test_scripts_and_no_project(shop: Site, project: Path, index: Index) -> None:
    """What is run is what `uv run` would run, and with the same packages."""
    assert index
    show = "import importlib.util as u, sys\n"
    show += "print(*(n for n in ('lib', 'rich') if u.find_spec(n)), *sys.argv[1:])\n"
    (project / "app.py").write_text(show)
    (project / "s.py").write_text(f"# /// script\n# dependencies = ['rich']\n# ///\n{show}")
    (project / "package").mkdir()
    (project / "package/__main__.py").write_text(show)
    outside = shop.project("outside")
    (outside / "app.py").write_text(show)
    for directory, words, expected in (
        (project, ["app.py", "-x"], "lib -x"),
        (project, ["package"], "lib"),
        (project, ["s.py", "x"], "rich x"),
        (project, ["--", "python", "s.py"], "rich"),
        (project, ["python", "-B", "s.py", "--", "x"], "rich -- x"),
        (project, ["--with", "rich", "app.py"], "lib rich"),
        (outside, [project / "s.py"], "rich"),
        (outside, [project / "app.py"], "lib"),
        (outside, ["app.py"], ""),
        (outside, ["python", "app.py"], ""),
        (outside, ["--with", "lib,rich", "app.py"], "lib rich"),
        (outside, ["--with", "rich", "--", "python", "-m", "rich"], "rich"),
        (outside, ["--with", "rich", "-m", "rich"], "rich"),
    ):
        assert run(shop, directory, *words).stdout == f"{expected}\n", words
    assert is_quick(loaded(shop, outside, "--with", "rich", "-m", "rich"))
    # Options of uv's.
    (outside / "listed.txt").write_text("# both\nlib\nrich>=1\n")
    more: tuple[tuple[Path, list[str | Path], str], ...] = (
        (outside, ["--directory", project, "app.py"], "lib"),
        (outside, ["--with-requirements", "listed.txt", "app.py"], "lib rich"),
        (project, ["--no-project", "app.py"], ""),
        (project, ["--no-project", "--with", "rich", "app.py"], "rich"),
        (project, ["--isolated", "app.py"], "lib"),
    )
    for place, options, expected in more:
        assert run(shop, place, *options).stdout == f"{expected}\n", options
    # Its options are for what installs it, as uv says, which shows no password either.
    (outside / "other.txt").write_text("lib\n")
    url = "http://me:hidden@127.0.0.1:1/simple"
    passed = f"--index-url {url}\n-f{url}\n--extra-index-url={url}\n--no-index\n--pre\n"
    (outside / "listed.txt").write_text(f"{passed}-r other.txt\nrich\n")
    done = run(shop, outside, "--with-requirements", "listed.txt", "app.py")
    assert done.stdout == "lib rich\n"
    assert "hidden" not in done.stderr
    assert "--index-url, -f, --extra-index-url, --no-index, --pre (set them" in done.stderr
    for line, says in (
        ("-c other.txt", "names constraints"), ("-r none.txt", "names none.txt, which does not"),
        ("--require-hashes", "'--require-hashes' is no requirement"),
    ):  # fmt: skip
        (outside / "listed.txt").write_text(f"{line}\n")
        done = run(shop, outside, "--with-requirements", "listed.txt", "app.py", code=1)
        assert says in done.stderr
    (outside / "listed.txt").unlink()
    (outside / "other.txt").unlink()
    # What looks as if it gave packages, and gives none.
    (outside / "s.py").write_text(f"# /// script\n# dependencies = ['rich']\n{show}")
    done = run(shop, outside, "s.py")
    assert done.stdout == "\n"
    assert "s.py, line 1: this block has no end, `# ///`" in done.stderr
    (outside / "s.py").unlink()
    (outside / "Pipfile").write_text("")
    for words, count in ((["app.py"], 1), (["--no-project", "app.py"], 0)):
        assert run(shop, outside, *words).stderr.count("Pipfile is pipenv's") == count
    (outside / "Pipfile").unlink()
    # Commands that are none, here and where there is no project.
    (outside / "empty").mkdir()
    (outside / "s.pyy").write_text("")
    for place in (outside, project):
        for word, code, told in (
            ("nothere.py", 127, "there is no file nothere.py"),
            ("../outside/empty", 126, "empty is a directory that has no __main__.py"),
            ("https://example.org/x.py", 127, "is an address"),
        ):
            assert told in run(shop, place, word, code=code).stderr, word
    (outside / "empty").rmdir()
    (outside / "s.pyy").unlink()
    for line in ("projects", "trust --list"):
        assert "nothing" not in shop.pkgview(*line.split(), cwd=outside).stdout
    assert "belongs to no project" in run(shop, outside, "--", "true", code=1).stderr
    assert os.listdir(outside) == ["app.py"]
    examples = re.findall(r"^ +pkgview run (.+?)(?:  .*)?$", command.epilog or "", re.MULTILINE)
    assert len(examples) >= 5
    for example in examples:
        if "pytest" not in example and "://" not in example:  # these are no small ones
            run(shop, project, *example.split())


def test_a_script_that_comes_by_standard_input(shop: Site, project: Path, index: Index) -> None:
    """With its inline block, as for `uv run -`; without one it is as ever."""
    assert index
    show = "import importlib.util as u, sys\n"
    show += "print(*(n for n in ('lib', 'rich') if u.find_spec(n)), *sys.argv, sys.stdin.read())\n"
    (project / "s.py").write_text(f"# /// script\n# dependencies = ['rich']\n# ///\n{show}")
    (project / "plain.py").write_text(show)
    outside = shop.project("outside")
    block, plain = f"{project}/s.py", f"{project}/plain.py"
    for place, words, file, expected in (
        (project, "run - x", block, "rich - x"),
        (project, "run -s - x", block, "rich - x"),
        (project, "run --with lib -", block, "lib rich -"),
        (project, "run --offline -", plain, "lib -"),
        (project, "run --no-project -", block, "-"),
        (project, "run python - x", block, "lib - x"),
        (outside, "run - x", block, "rich - x"),
        (outside, "run -", plain, "-"),
    ):
        for text in (f"{PKGVIEW} {words} < {file}", f"cat {file} | {PKGVIEW} {words}"):
            assert shop.run("sh", "-c", text, cwd=place).stdout == f"{expected} \n", text
    assert is_quick(loaded(shop, project, "-"))
    for said in ("projects", "trust --list"):
        assert "scripts" not in shop.pkgview(*said.split(), cwd=outside).stdout
    # Nobody has a view but these: so after `umount` nothing stays.
    shop.pkgview("forget", cwd=project)
    said = shop.pkgview("umount", cwd=outside).stderr
    # Another test's sandbox may have begun with a copy of the mount.
    assert "a mount namespace of their own" in said or not shop.places.mount.exists()


def test_the_view_as_it_is(shop: Site, project: Path) -> None:
    show = ("python", "-c", "import importlib.util as u; print(u.find_spec('rich') is not None)")
    assert is_quick(loaded(shop, project, "--no-sync", "--", "true"))
    (project / "requirements.txt").write_text("lib\nrich\n")
    for arguments, expected in ((("--no-sync",), "False\n"), ((), "True\n")):
        assert run(shop, project, *arguments, *show).stdout == expected
    said = run(shop, project, "--no-sync", "--with", "rich", "--", "true", code=2).stderr
    assert "nothing can be added" in said
    other = shop.project("other")
    (other / "requirements.txt").write_text("lib\n")
    assert "has no view yet" in run(shop, other, "--no-sync", "--", "true", code=1).stderr


def test_run_uses_the_python_that_the_link_shows(shop: Site, project: Path) -> None:
    said = shop.pkgview("up", "--python", "3.12", cwd=project, code=None)
    if said.returncode:
        pytest.skip("there is no Python 3.12")
    show = ("python", "-c", "import sys, lib; print(sys.version_info[1])")
    for arguments in ((), ("--with", "rich")):
        assert run(shop, project, *arguments, *show).stdout == "12\n"
    assert is_quick(loaded(shop, project, "--", "true"))
    # An edit later it does still, and the link follows; another Python is for `up` to choose.
    shown = os.readlink(project / ".venv")
    (project / "requirements.txt").write_text("lib\nrich\n")
    shop.pkgview("lock", cwd=project)
    assert run(shop, project, *show).stdout == "12\n"
    assert os.readlink(project / ".venv") != shown
    (project / ".python-version").write_text(f"3.{sys.version_info[1]}\n")
    assert run(shop, project, *show).stdout == "12\n"
    shop.pkgview("up", cwd=project)
    assert run(shop, project, *show).stdout == f"{sys.version_info[1]}\n"
    printed = shop.run(project / ".venv/bin/python", *show[1:], cwd=project).stdout
    assert printed == f"{sys.version_info[1]}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-- true", ([], ["true"])),
        ("--with a,b>=1,<2 --with=c[x,y] true -x", (["a", "b>=1,<2", "c[x,y]"], ["true", "-x"])),
        (
            "--with -e ../c --with-editable=d -m x y",
            (["-e ../c", "-e d"], ["python", "-m", "x", "y"]),
        ),
        ("-s x --with y", ([], ["python", "x", "--with", "y"])),
        ("- a", ([], ["python", "-", "a"])),
        ("--python 3.12 true", None),
        ("--with a", None),
        ("--with", None),
        ("-m -s x", None),
        ("--offline=1 true", None),
        ("", None),
    ],
)
def test_what_the_quick_way_understands(
    arguments: str, expected: tuple[list[str], list[str]] | None
) -> None:
    asked = understood(arguments.split())
    assert (None if asked is None else (asked.added, asked.command)) == expected
