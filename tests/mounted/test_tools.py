"""What people do with a virtual environment, done with a view.

Where an answer can be compared with that of the environment that uv made of the same lock, it is.
"""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import TYPE_CHECKING, Any

import pytest

from unionfs import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.mounted.conftest import Large, Site

pytestmark = [pytest.mark.fuse, pytest.mark.network, pytest.mark.slow]

PROBE = """
import importlib.metadata as metadata, importlib.resources as resources
import hashlib, io, json, mmap, os, pkgutil, sys, zipfile


def modules(name):
    package = __import__(name)
    found = []
    for module in pkgutil.walk_packages(package.__path__, name + ".", onerror=found.append):
        found.append([module.name, module.ispkg])
    return found


def digest(data):
    return hashlib.sha256(data).hexdigest()


answers = {}
answers["versions"] = {name: metadata.version(name) for name in NAMES}
answers["entry points"] = sorted(
    [point.group, point.name, point.value]
    for name in NAMES
    for point in metadata.distribution(name).entry_points
)
answers["groups"] = sorted(
    [point.name, point.value] for point in metadata.entry_points(group="pygments.lexers")
)
answers["loaded entry point"] = metadata.entry_points(group="console_scripts", name="flask")[
    "flask"
].load().__module__
answers["files"] = {
    name: sorted(
        [str(file), file.size if "INSTALLER" not in str(file) else 0, file.locate().is_file()]
        for file in metadata.files(name)
        if "/bin/" not in str(file)
    )
    for name in ("flask", "numpy", "jupyterlab", "zope.interface")
}
answers["requires"] = {name: metadata.requires(name) for name in NAMES}
answers["tops"] = sorted(metadata.packages_distributions()["zope"])

certificates = resources.files("certifi") / "cacert.pem"
answers["resource"] = digest(certificates.read_bytes())
with resources.as_file(certificates) as path:
    answers["resource as file"] = digest(path.read_bytes())
with resources.as_file(resources.files("tzdata") / "zoneinfo") as directory:
    answers["resource directory"] = len(list(directory.rglob("*")))
answers["get_data"] = digest(pkgutil.get_data("rich", "py.typed"))

answers["modules"] = {
    name: modules(name) for name in ("flask", "jsonschema", "rich", "sqlalchemy", "zope")
}

import numpy
import pandas

table = pandas.DataFrame({"key": list("abab"), "value": [1.5, 2, 3, 4]})
answers["pandas"] = table.groupby("key").value.sum().to_dict()
answers["numpy"] = numpy.linalg.inv(numpy.array([[2.0, 0], [0, 4]])).tolist()
answers["time zone"] = str(pandas.Timestamp("2024-07-01", tz="Europe/Berlin").utcoffset())

import sqlalchemy as sql

engine = sql.create_engine("sqlite://")
rows = sql.Table("rows", sql.MetaData(), sql.Column("number", sql.Integer))
with engine.begin() as connection:
    rows.create(connection)
    connection.execute(rows.insert(), [{"number": number} for number in range(10)])
    answers["sqlalchemy"] = connection.scalar(sql.select(sql.func.sum(rows.c.number)))

import pydantic

model = pydantic.create_model("Model", number=(int, ...))
answers["pydantic"] = model.model_validate_json('{"number": 7}').number
try:
    model(number="seven")
except pydantic.ValidationError as error:
    answers["pydantic refuses"] = error.errors()[0]["type"]

import zope.event
import zope.interface

answers["namespace"] = type(zope.__path__).__name__, getattr(zope, "__file__", None)
seen = []
zope.event.subscribers.append(seen.append)
zope.event.notify("event")
answers["zope"] = seen, zope.interface.Interface.__name__

import flask
import requests

app = flask.Flask("probe")
app.add_url_rule("/", view_func=lambda: {"all": "well"})
answers["flask"] = app.test_client().get("/").get_json()
answers["requests"] = requests.Request("GET", "http://a/", params={"b": "c"}).prepare().url

import greenlet

answers["greenlet"] = greenlet.greenlet(lambda: 42).switch()

with open("/proc/self/maps") as maps:
    mapped = {line.split()[-1] for line in maps if line.rstrip().endswith(".so")}
inside = sorted(path for path in mapped if "/site-packages/" in path)
answers["mapped"] = sorted(path.split("/site-packages/")[1] for path in inside)

places = {
    "prefix": sys.prefix,
    "executable": sys.executable,
    "path": [path and os.path.realpath(path) for path in sys.path],
    "numpy": os.path.realpath(numpy.__file__),
    "mapped": inside,
    "found": os.path.realpath(metadata.distribution("flask").locate_file("flask")),
}
json.dump({"answers": answers, "places": places}, sys.stdout)
"""
"""Prints what a program sees of its packages, and where it sees them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a Python program is started: the interpreter, and what its environment has more."""

    python: Path
    environ: Mapping[str, str]
    options: tuple[str, ...] = ()
    """What leaves out whatever else is installed beside the interpreter."""


WAYS = (".venv", "the mount", "PYTHONPATH")


def way(large: Large, name: str) -> Way:
    mount = large.places.mount
    match name:
        case ".venv":
            return Way(python=large.venv / "bin/python", environ={})
        case "the mount":
            return Way(python=mount / "bin/python", environ={})
        case _:
            environ = {"PYTHONPATH": os.fspath(mount / "site-packages")}
            return Way(python=large.python, environ=environ, options=("-S",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the probe printed."""

    answers: dict[str, Any]
    places: dict[str, Any]


@pytest.fixture(scope="session")  # as what is made of it
def large(large: Large) -> Large:
    """What programs compile is kept, beside all environments: else each compiles all of pandas."""
    kept = {"PYTHONPYCACHEPREFIX": os.fspath(large.home / "compiled")}
    return replace(large, environ={**large.environ, "PYTHONDONTWRITEBYTECODE": "", **kept})


@pytest.fixture(scope="module")
def names(large: Large) -> list[str]:
    said = json.loads(large.pkgview("view", "--json", cwd=large.directory).stdout)
    return sorted(layer["name"] for layer in said["layers"] if layer["name"])


def probe(large: Large, names: list[str], started: Way) -> Seen:
    source = f"NAMES = {names!r}\n{PROBE}"
    found = large.run(
        started.python, *started.options, "-c", source,
        cwd=large.directory, environ=started.environ,
    )  # fmt: skip
    return Seen(**json.loads(found.stdout))


@pytest.fixture(scope="module")
def expected(large: Large, names: list[str], by_uv: Path) -> Seen:
    return probe(large, names, Way(python=by_uv / "bin/python", environ={}))


@pytest.fixture(scope="module", params=WAYS)
def seen(request: pytest.FixtureRequest, large: Large, names: list[str]) -> Seen:
    return probe(large, names, way(large, request.param))


def test_a_program_sees_what_it_sees_in_uvs_environment(seen: Seen, expected: Seen) -> None:
    assert seen.answers.keys() == expected.answers.keys()
    for question, answer in expected.answers.items():
        assert seen.answers[question] == answer, question


def test_what_it_sees_there_is_right(expected: Seen, names: list[str]) -> None:
    answers = expected.answers
    assert answers["versions"].keys() == set(names)
    assert answers["pandas"] == {"a": 4.5, "b": 6.0}
    assert answers["sqlalchemy"] == 45
    assert answers["pydantic refuses"] == "int_parsing"
    assert all(there for listed in answers["files"].values() for _, _, there in listed)
    assert answers["tops"] == ["zope.event", "zope.interface"]
    assert answers["resource"] == answers["resource as file"]
    assert min(len(found) for found in answers["modules"].values()) > 5
    assert len(answers["mapped"]) > 20


def test_it_sees_them_in_the_view(seen: Seen, large: Large) -> None:
    packages = os.fspath(large.packages(large.view))
    elsewhere = [path for path in seen.places["mapped"] if not path.startswith(packages + "/")]
    assert elsewhere == []
    if seen.places["prefix"] == os.fspath(large.venv) or "views" in seen.places["prefix"]:
        # Its .pth files are read, so the interpreter is pinned.
        assert packages in seen.places["path"]
        assert seen.places["numpy"].startswith(packages + "/")
        assert seen.places["found"].startswith(packages + "/")
    else:
        assert seen.places["prefix"] == os.fspath(large.python.parents[1])
        assert seen.places["numpy"].startswith(packages + "/")


def test_the_view_comes_before_what_a_system_python_has(large: Large) -> None:
    started = way(large, "PYTHONPATH")
    said = large.run(
        *(
            started.python,
            "-c",
            "import os, pip, numpy; print(*map(os.path.realpath, (pip.__file__, numpy.__file__)))",
        ),
        cwd=large.directory,
        environ=started.environ,
    ).stdout.split()
    assert [Path(file).is_relative_to(large.places.mount) for file in said] == [True, True]


def listed(text: str) -> list[dict[str, str]]:
    """`list --format json`, of pip or uv."""
    return [
        {"name": re.sub(r"[-_.]+", "-", one["name"]).lower(), "version": one["version"]}
        for one in json.loads(text)
    ]


def test_pip_lists_and_checks(large: Large, names: list[str], by_uv: Path) -> None:
    def ask(root: Path, *arguments: str) -> str:
        python = root / "bin/python"
        return large.run(python, "-m", "pip", *arguments, cwd=large.directory).stdout

    assert "No broken requirements found" in ask(large.venv, "check")
    ours = listed(ask(large.venv, "list", "--format", "json"))
    assert sorted(one["name"] for one in ours) == [name.replace(".", "-") for name in names]
    assert ours == listed(ask(by_uv, "list", "--format", "json"))
    assert ask(large.venv, "freeze") == ask(by_uv, "freeze")
    shown = ask(large.venv, "show", "--files", "flask")
    assert "Installer: pkgview" in ask(large.venv, "show", "--verbose", "flask")
    assert "../../../bin/flask" in shown
    script = large.run(large.venv / "bin/pip", "--version", cwd=large.directory).stdout
    assert os.path.realpath(script.split()[3]).startswith(f"{large.view}/")
    # What a view without pip has for one says the same.
    reader = Path(environment.__file__).with_name("pip_reader.py")
    for question in ("list", "list --format json", "freeze", "check", "show -f flask rich"):
        arguments = question.split()
        said = large.run(large.venv / "bin/python", reader, *arguments, cwd=large.directory).stdout
        assert said == ask(large.venv, *arguments), question


def test_uv_lists_and_checks(large: Large, by_uv: Path) -> None:
    def ask(environment: Path, *arguments: str) -> str:
        return large.uv("pip", *arguments, "-p", environment, cwd=large.directory).stdout

    ours = ask(Path(".venv"), "list", "--format", "json")
    assert listed(ours) == listed(ask(by_uv, "list", "--format", "json"))
    assert ask(Path(".venv"), "freeze") == ask(by_uv, "freeze")
    checked = large.uv("pip", "check", "-p", ".venv", cwd=large.directory).stderr
    assert "All installed packages are compatible" in checked
    # Without being told: it finds .venv as uv users expect.
    assert large.uv("pip", "list", "--format", "json", cwd=large.directory).stdout == ours


def test_uv_has_nothing_to_do_for_the_lock(large: Large) -> None:
    said = large.uv(
        *("pip", "sync", "--preview-features", "pylock", "--dry-run", "-p", ".venv"),
        "pylock.toml",
        cwd=large.directory,
    )
    assert "Would make no changes" in said.stderr


def test_uv_run_takes_the_view_for_its_own_environment(site: Site) -> None:
    project = site.project("of uv")
    table = '[project]\nname = "of-uv"\nversion = "1"\nrequires-python = ">=3.11"\n'
    (project / "pyproject.toml").write_text(f'{table}dependencies = ["fqdn"]\n')
    site.uv("lock", cwd=project)
    site.up(project)
    link = (project / ".venv").readlink()
    program = ("python", "-c", "import fqdn, os; print(os.path.realpath(fqdn.__file__))")
    said = site.uv("run", *program, cwd=project)
    assert Path(said.stdout).is_relative_to(link)
    site.uv("sync", "--check", cwd=project)
    # What the view has not, uv cannot add.
    (project / "pyproject.toml").write_text(f'{table}dependencies = ["fqdn", "webcolors"]\n')
    refused = site.uv("sync", cwd=project, code=2).stderr
    assert "Read-only file system" in refused
    assert (project / ".venv").readlink() == link
    assert site.up(project)["distributions"] == 2
    site.uv("run", "--frozen", "python", "-c", "import webcolors", cwd=project)


SCRIPTS = {
    ("flask", "--version"): "Flask 3.1.3",
    ("jupyter", "--version"): "jupyterlab       : 4.6.6",
    ("jupyter", "lab", "--version"): "4.6.6",
    ("pygmentize", "-V"): "Pygments version",
    ("pytest", "--version"): "pytest 9.2.0",
    ("mypy", "--version"): "mypy 2.4.1",
    ("numpy-config", "--version"): "2.4.6",
    ("jsonpointer", "--help"): "usage",  # from .data/scripts, with #!python
}


@pytest.mark.parametrize("command", SCRIPTS, ids=" ".join)
def test_a_script_runs(large: Large, command: tuple[str, ...]) -> None:
    script = large.venv / "bin" / command[0]
    said = large.run(script, *command[1:], cwd=large.directory).stdout
    assert SCRIPTS[command] in said


def test_a_script_runs_however_it_is_called(large: Large) -> None:
    def flask(*command: str | Path, cwd: Path = large.directory, path: str = "") -> str:
        environ = {"PATH": f"{path}{os.pathsep}{large.environ['PATH']}"} if path else {}
        return large.run(*command, "--version", cwd=cwd, environ=environ).stdout

    version = flask(".venv/bin/flask")
    assert "Flask 3.1.3" in version
    assert flask(large.places.mount / "bin/flask") == version
    assert flask("flask", cwd=large.venv / "bin", path=os.fspath(large.venv / "bin")) == version
    assert flask("./flask", cwd=large.view / "bin") == version
    assert flask("sh", large.venv / "bin/flask") == version
    assert flask(large.venv / "bin/python", large.venv / "bin/flask") == version
    link = large.home / "linked flask"
    link.symlink_to(large.venv / "bin/flask")
    assert flask(link) == version


def test_an_activated_shell(large: Large) -> None:
    said = large.run(
        "bash",
        "-c",
        ". .venv/bin/activate; echo $VIRTUAL_ENV; cd /; command -v flask; flask --version;"
        "python -c 'import numpy, sys; print(sys.prefix)'; deactivate; command -v flask",
        cwd=large.directory,
        code=None,
    ).stdout.splitlines()
    assert said[:2] == [os.fspath(large.venv), os.fspath(large.venv / "bin/flask")]
    assert "Flask 3.1.3" in said
    assert os.fspath(large.venv) in said[2:]
    assert not said[-1].endswith(".venv/bin/flask")


@pytest.mark.parametrize("name", WAYS)
def test_pytest_runs_tests(large: Large, name: str) -> None:
    directory = large.directory / f"tests of {name}"
    directory.mkdir()
    (directory / "test_small.py").write_text(
        "import numpy, pytest\n\n"
        "@pytest.mark.parametrize('number', range(3))\n"
        "def test_passes(number, tmp_path):\n    assert numpy.arange(4)[number] == number\n\n"
        "def test_fails():\n    one = [1]\n    assert one == [2]\n"
    )
    started = way(large, name)
    said = large.run(
        *(started.python, "-m", "pytest", "-p", "no:cacheprovider", directory),
        cwd=large.directory,
        environ=started.environ,
        code=1,
    ).stdout
    assert "1 failed, 3 passed" in said
    assert "At index 0 diff: 1 != 2" in said  # its own rewriting of assertions works


TYPED = """\
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): ...

class Row(Base):
    __tablename__ = "rows"
    number: Mapped[int] = mapped_column(primary_key=True)

class Model(BaseModel):
    name: str

reveal_type(Row().number)
Model(name=1)
"""


@pytest.mark.parametrize("outside", [False, True], ids=["the view's mypy", "a mypy elsewhere"])
def test_mypy_finds_the_types(large: Large, by_uv: Path, outside: bool) -> None:  # noqa: FBT001 - a parameter of a test
    (large.directory / "typed.py").write_text(TYPED)
    command = (
        (by_uv / "bin/mypy", "--python-executable", large.venv / "bin/python")
        if outside
        else (large.venv / "bin/python", "-m", "mypy")
    )
    said = large.run(*command, "--strict", "typed.py", cwd=large.directory, code=1).stdout
    assert 'Revealed type is "int"' in said
    assert 'Argument "name" to "Model" has incompatible type "int"; expected "str"' in said
    assert "Found 1 error in 1 file" in said


def jupyter(large: Large, *arguments: str) -> str:
    return large.run(large.venv / "bin/jupyter", *arguments, cwd=large.directory).stdout


def test_jupyter_finds_its_data(large: Large) -> None:
    kernels = json.loads(jupyter(large, "kernelspec", "list", "--json"))["kernelspecs"]
    shared = large.venv / "share/jupyter"
    assert kernels["python3"]["resource_dir"] == os.fspath(shared / "kernels/python3")
    paths = json.loads(jupyter(large, "--paths", "--json"))
    assert os.fspath(shared) in paths["data"]
    assert os.fspath(large.venv / "etc/jupyter") in paths["config"]
    extensions = large.run(large.venv / "bin/jupyter", "labextension", "list", cwd=large.directory)
    assert re.search(r"jupyterlab_pygments v\S+ .*OK", extensions.stdout + extensions.stderr)


def test_jupyter_runs_a_notebook(large: Large) -> None:
    notebook = large.directory / "notebook.ipynb"
    source = (
        "import os, pandas; print(pandas.Series([1, 2]).sum(), os.path.realpath(pandas.__file__))"
    )
    cell: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "a",
        "metadata": {},
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.write_text(
        json.dumps(
            {
                "cells": [{**cell, "outputs": [], "source": [source]}],
                "metadata": {"kernelspec": kernel},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
    )
    jupyter(large, "execute", "--inplace", os.fspath(notebook))
    (output,) = json.loads(notebook.read_text())["cells"][0]["outputs"]
    assert output["text"] == [f"3 {large.packages(large.view)}/pandas/__init__.py\n"]


def test_a_kernel_for_a_jupyter_elsewhere_is_named_by_the_link(large: Large) -> None:
    """So it is the project's newest view that runs, not the one of today."""
    python = large.venv / "bin/python"
    large.run(python, "-m", "ipykernel", "install", "--user", "--name", "large", cwd=large.home)
    (spec,) = large.home.rglob("kernels/large/kernel.json")
    program, *arguments = json.loads(spec.read_text())["argv"]
    assert program == os.fspath(python)
    assert "ipykernel_launcher" in arguments
    code = "import flask, os, sys; print(sys.executable, os.path.realpath(flask.__file__))"
    said = large.run(program, "-c", code, cwd=large.home).stdout
    assert said.split() == [program, f"{large.packages(large.view)}/flask/__init__.py"]
    # Through the mount it would be the view of today: docs/editors.md says so.
    through = large.places.mount / "bin/python"
    command = ("-m", "ipykernel", "install", "--user", "--name", "today")
    large.run(through, *command, cwd=large.directory)
    (spec,) = large.home.rglob("kernels/today/kernel.json")
    assert json.loads(spec.read_text())["argv"][0] == os.fspath(large.view / "bin/python")


JEDI = """
import jedi, sys

project = jedi.Project(sys.argv[1], environment_path=sys.argv[1] + "/.venv")
script = jedi.Script("import flask\\nflask.Flask", project=project)
(name,) = script.goto(2, 8, follow_imports=True)
print(name.full_name, name.module_path.resolve())
print(*[one.path for one in jedi.find_virtualenvs(paths=[sys.argv[1]], safe=False)])
"""


def test_jedi_finds_the_environment_and_goes_to_a_definition(large: Large) -> None:
    said = large.run(large.venv / "bin/python", "-c", JEDI, large.directory, cwd=large.home).stdout
    flask = large.packages(large.view) / "flask/app.py"
    assert said.splitlines() == [f"flask.app.Flask {flask}", os.fspath(large.venv)]


def test_jupyter_lab_serves_its_pages(large: Large) -> None:
    log = large.directory / "lab.log"
    command = (
        *(large.venv / "bin/jupyter", "lab", "--no-browser", "--allow-root"),
        *("--ServerApp.port=0", "--IdentityProvider.token=secret"),
    )
    with (
        log.open("wb") as written,
        Popen(
            command, cwd=large.directory, env=large.environ, stdin=DEVNULL,
            stdout=written, stderr=written,
        ) as server,
    ):  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not (found := re.search(r"http://127\S+:(\d+)/lab", log.read_text())):
                assert time.monotonic() < deadline, log.read_text()
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            address = f"http://127.0.0.1:{found[1]}"
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            page = direct.open(f"{address}/lab?token=secret", timeout=30).read().decode()
            assert "<title>JupyterLab</title>" in page
            script = re.search(r'src="(/static/lab/main[^"]*\.js[^"]*)"', page)
            assert script is not None
            assert len(direct.open(address + script[1], timeout=30).read()) > 1000
        finally:
            server.terminate()
            server.wait(20)
