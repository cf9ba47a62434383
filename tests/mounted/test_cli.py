"""The command line as its user meets it: whole commands, real mounts, an index of our own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.cli.group import COMMANDS
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")


def listing(site: Site, text: str = "alpha\n", *, name: str = "project") -> Path:
    directory = site.project(name)
    (directory / "requirements.txt").write_text(text)
    return directory


def versions(site: Site, python: Path, *names: str) -> dict[str, str | None]:
    """What each distribution's version is for a program run by that Python; None: not there."""
    program = (
        "import importlib.metadata as m, json, sys\n"
        "def version(name):\n"
        "    try: return m.version(name)\n"
        "    except m.PackageNotFoundError: return None\n"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    said = site.run(python, "-c", program, *names, cwd=site.home)
    found: dict[str, str | None] = json.loads(said.stdout)
    return found


def up(site: Site, directory: Path, *arguments: str) -> dict[str, Any]:
    said = site.pkgview("up", "--json", *arguments, cwd=directory)
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


# Up, down


def test_up_down_and_up_again(shop: Site, index: Index) -> None:
    index.wheel("alpha", scripts=["hello=alpha:hello"])
    directory = listing(shop)
    first = shop.run(PKGVIEW, "up", cwd=directory)
    assert first.stdout == ""
    assert f"Mounted {shop.home}/.pkgview." in first.stderr
    assert f"Linked {directory}/.venv." in first.stderr
    assert "1 distribution, Python" in first.stderr
    python = directory / ".venv/bin/python"
    assert versions(shop, python, "alpha", "beta") == {"alpha": "1.0", "beta": None}
    shop.run(directory / ".venv/bin/hello", cwd=directory)
    index.asked.clear()
    again = shop.run(PKGVIEW, "up", cwd=directory)
    assert again.stderr.startswith("Nothing to do: 1 distribution, Python ")
    assert again.stderr.count("\n") == 1
    assert not index.asked
    assert "Removed" in shop.run(PKGVIEW, "down", cwd=directory).stderr
    assert os.listdir(directory) == ["requirements.txt"]
    assert "has no .venv" in shop.run(PKGVIEW, "down", cwd=directory).stderr
    # The view is there still, and linking it is all there is to do.
    assert "Nothing to do" in shop.run(PKGVIEW, "up", cwd=directory).stderr
    assert python.exists()
    shop.pkgview("down", cwd=directory)
    assert shop.pkgview("up", "--json", cwd=directory).stderr == ""
    assert python.exists()


LIGHT = """
import json, sys
from unionfs.cli import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def test_nothing_to_do_imports_nothing_that_works(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = shop.project("project")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["alpha"]\n[tool.pkgview]\npython = "' + str(shop.python) + '"\n'
    )
    shop.pkgview("up", cwd=directory)
    said = shop.run(sys.executable, "-c", LIGHT, "up", cwd=directory)
    assert "Nothing to do" in said.stderr
    loaded = {name.partition(".")[0] for name in json.loads(said.stdout)}
    heavy = {"httpx2", "trio", "rich", "uv", "packaging", "asyncio", "ssl", "pyfuse3", "installer"}
    assert not loaded & heavy
    said = shop.run(sys.executable, "-c", LIGHT, "up", "-h", cwd=directory)
    loaded = {name.partition(".")[0] for name in json.loads(said.stdout.splitlines()[-1])}
    assert not loaded & heavy


def test_what_changes_is_seen(shop: Site, index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.wheel("alpha", version)
    directory = listing(shop, "alpha<2\n")
    first = up(shop, directory)
    python = directory / ".venv/bin/python"
    assert versions(shop, python, "alpha") == {"alpha": "1.0"}
    assert not up(shop, directory)["changed"]
    (directory / "requirements.txt").write_text("alpha\n")
    # Locked at 1.0, which still fits.
    assert up(shop, directory)["view"] == first["view"]
    second = up(shop, directory, "--upgrade")
    assert second["changed"]
    assert second["view"] != first["view"]
    assert versions(shop, python, "alpha") == {"alpha": "2.0"}
    assert up(shop, directory, "--frozen", "--offline")["view"] == second["view"]
    (directory / "requirements.txt").write_text("alpha<2\n")
    said = shop.pkgview("up", "--frozen", cwd=directory, code=1)
    assert "outdated" in said.stderr


def test_offline_from_what_is_there(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    first = listing(shop)
    up(shop, first)
    index.asked.clear()
    second = listing(shop, name="second")
    answer = up(shop, second, "--offline")
    assert answer["fetched"] == 0
    assert not index.asked
    assert versions(shop, second / ".venv/bin/python", "alpha") == {"alpha": "1.0"}


def test_extras_and_groups(shop: Site, index: Index) -> None:
    for name in ("alpha", "beta", "gamma", "delta"):
        index.wheel(name)
    directory = shop.project("project")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["alpha"]\n[project.optional-dependencies]\nmore = ["beta"]\n'
        '[dependency-groups]\ndev = ["gamma"]\ndocs = ["delta"]\n'
    )
    python = directory / ".venv/bin/python"
    names = ("alpha", "beta", "gamma", "delta")

    def there() -> str:
        return " ".join(name for name, found in versions(shop, python, *names).items() if found)

    up(shop, directory)
    assert there() == "alpha gamma"
    up(shop, directory, "--extra", "more", "--group", "docs")
    assert there() == "alpha beta gamma delta"
    # What `run` adds is for that run only: the project's own view stays what it was.
    up(shop, directory)
    program = "import alpha, beta"
    shop.pkgview("run", "--extra", "more", "--", "python", "-c", program, cwd=directory)
    assert there() == "alpha gamma"
    assert "Nothing to do" in shop.pkgview("up", cwd=directory).stderr
    # What is short for many, as in uv; what is left out wins over what was asked for.
    up(shop, directory, "--no-dev")
    assert there() == "alpha"
    program = "import importlib.util as u; print(u.find_spec('gamma'))"
    assert run(shop, directory, "python", "-c", program) == "None\n"
    assert run(shop, directory, "--group", "dev", "python", "-c", program) != "None\n"
    said = shop.run(PKGVIEW, "up", "--all-extras", "--all-groups", cwd=directory)
    assert "Without --no-group dev, which the last `up` had" in said.stderr
    assert there() == "alpha beta gamma delta"
    up(shop, directory, "--all-groups", "--no-group", "docs", "--all-extras")
    assert there() == "alpha beta gamma"
    for arguments in (("--extra", "no"), ("--group", "no"), ("--no-group", "dve")):
        said = shop.pkgview("up", *arguments, cwd=directory, code=1)
        assert said.stderr.startswith("pkgview: ")
    assert "has no group 'dve' that could be left out\n  It has dev, docs." in said.stderr
    shop.pkgview("run", "--no-group", "dve", "true", cwd=directory, code=1)
    shop.pkgview("lock", "--no-group", "dve", cwd=directory, code=1)
    # What is done is not said by -q, on whichever way it is done.
    for words in (
        ("up", "-q"),
        ("up", "--quiet", "--no-dev"),
        ("run", "-q", "-w", "delta", "true"),
    ):
        said = shop.pkgview(*words, cwd=directory)
        assert (said.stdout, said.stderr) == ("", ""), words


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_another_python(shop: Site, index: Index, python: str) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    up(shop, directory)
    said = shop.pkgview("up", "--json", "--python", python, cwd=directory, code=None)
    if said.returncode:
        assert f"asks for Python {python}" in said.stderr
        pytest.skip(f"there is no Python {python}")
    shown = shop.run(directory / ".venv/bin/python", "-c", "import alpha, sys; print(sys.version)",
                     cwd=directory)  # fmt: skip
    assert shown.stdout.startswith(python)
    said = shop.pkgview("view", "--python", "3.99", cwd=directory, code=1)
    assert "no view for Python 3.99" in said.stderr
    # The view of before is another one than that which .venv shows, and that is said.
    back = shop.run(PKGVIEW, "up", cwd=directory).stderr
    assert f"\n ~ Python {python} \N{RIGHTWARDS ARROW} 3." in f"\n{back}"
    assert "as before" not in back
    assert "Nothing to do" not in back
    assert "Nothing to do" in shop.run(PKGVIEW, "up", cwd=directory).stderr


# What a project may be


def test_a_script_is_a_project(shop: Site, index: Index) -> None:
    for name in ("alpha", "beta"):
        index.wheel(name)
    directory = listing(shop, "beta\n")
    up(shop, directory)
    script = directory / "tool.py"
    script.write_text(
        "# /// script\n# dependencies = ['alpha']\n# ///\nimport alpha, sys; print(sys.argv[1])\n"
    )
    said = shop.pkgview("up", "tool.py", cwd=directory)
    assert "1 distribution" in said.stderr
    said = shop.pkgview(
        "run", "--project", "tool.py", "--", "python", "tool.py", "x", cwd=directory
    )
    assert said.stdout == "x\n"
    # It has no .venv, and its directory's is not its own.
    shop.pkgview("down", "tool.py", cwd=directory)
    assert versions(shop, directory / ".venv/bin/python", "beta") == {"beta": "1.0"}
    assert json.loads(shop.pkgview("view", "--json", "tool.py", cwd=directory).stdout)


def test_requirement_files(shop: Site, index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.wheel("alpha", version)
        index.wheel("beta", version)
    directory = listing(shop, "-r more/base.txt\n-c limits.txt\nbeta\n")
    (directory / "more").mkdir()
    (directory / "more/base.txt").write_text("alpha\n")
    (directory / "limits.txt").write_text("alpha<2\nbeta<2\n")
    up(shop, directory)
    python = directory / ".venv/bin/python"
    assert versions(shop, python, "alpha", "beta") == {"alpha": "1.0", "beta": "1.0"}
    (directory / "limits.txt").write_text("alpha<2\n")
    up(shop, directory, "--upgrade")
    assert versions(shop, python, "alpha", "beta") == {"alpha": "1.0", "beta": "2.0"}


def test_requirements_with_hashes(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    page = index.page("alpha")
    digest = re.findall(r"sha256=([0-9a-f]{64})", page)[0]
    directory = listing(shop, f"alpha==1.0 --hash=sha256:{digest}\n")
    up(shop, directory)
    assert versions(shop, directory / ".venv/bin/python", "alpha") == {"alpha": "1.0"}
    (directory / "requirements.txt").write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    said = shop.pkgview("up", cwd=directory, code=1)
    assert "0" * 64 in said.stderr


def test_a_project_of_uv(shop: Site, index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.wheel("alpha", version)
    directory = shop.project("project")
    pyproject = directory / "pyproject.toml"
    pyproject.write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["alpha<2"]\n'
    )
    shop.uv("lock", cwd=directory)
    locked = (directory / "uv.lock").read_bytes()
    up(shop, directory)
    assert versions(shop, directory / ".venv/bin/python", "alpha") == {"alpha": "1.0"}
    assert (directory / "uv.lock").read_bytes() == locked
    said = shop.pkgview("lock", cwd=directory, code=1)
    assert "uv lock" in said.stderr


def test_what_a_lock_has_built_in_cannot_be_left_out(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    index.wheel("gamma")
    directory = shop.project("project")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["alpha"]\n[dependency-groups]\ndev = ["gamma"]\nother = []\n'
    )
    shop.run(PKGVIEW, "lock", cwd=directory)
    said = shop.run(PKGVIEW, "up", "--no-dev", "--no-mount", cwd=directory, code=1)
    assert "pylock.toml has 'dev' built in" in said.stderr
    shop.run(PKGVIEW, "lock", "--no-dev", cwd=directory)
    for arguments in ((), ("--no-dev",), ("--no-group", "other")):
        assert up(shop, directory, "--no-mount", *arguments)["distributions"] == 1


def test_lock_writes_a_lock_that_up_keeps_to(shop: Site, index: Index) -> None:
    index.wheel("alpha", "1.0")
    directory = listing(shop)
    said = shop.pkgview("lock", cwd=directory)
    assert said.stderr == f"Wrote {directory}/pylock.toml.\n"
    assert (directory / "pylock.toml").stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(directory)) == ["pylock.toml", "requirements.txt"]
    index.wheel("alpha", "2.0")
    python = directory / ".venv/bin/python"
    shop.pkgview("lock", cwd=directory)
    up(shop, directory)
    assert versions(shop, python, "alpha") == {"alpha": "1.0"}
    shop.pkgview("lock", "--upgrade", cwd=directory)
    up(shop, directory)
    assert versions(shop, python, "alpha") == {"alpha": "2.0"}


BACKEND = """
import base64, hashlib, zipfile
from pathlib import Path

def wheel(directory, files):
    info = f"{NAME}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": f"[console_scripts]\\n{NAME}-hello = {NAME}:hello\\n",
    }
    record = ""
    for path, text in files.items():
        digest = hashlib.sha256(text.encode()).digest()
        digest = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\\n"
    name = f"{NAME}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, name), "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return name

def build_wheel(directory, settings=None, metadata=None):
    return wheel(directory, {f"{NAME}.py": Path(f"src/{NAME}.py").read_text()})

def build_editable(directory, settings=None, metadata=None):
    return wheel(directory, {f"_{NAME}.pth": f"{Path('src').absolute()}\\n"})
"""


def source_tree(directory: Path, name: str, extra: str = "") -> None:
    """A distribution with a src layout and a back end of its own, which needs nothing."""
    (directory / "src").mkdir(parents=True)
    (directory / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.9"\n{extra}'
    )
    (directory / "backend.py").write_text(f"NAME = {name!r}\n{BACKEND}")
    (directory / f"src/{name}.py").write_text("def hello(): print('hello from', __file__)\n")


def test_an_editable_project(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = shop.project("shopfront")
    source_tree(directory, "shopfront", 'dependencies = ["alpha"]\n')
    up(shop, directory)
    said = shop.run(directory / ".venv/bin/shopfront-hello", cwd=shop.home)
    assert said.stdout == f"hello from {directory}/src/shopfront.py\n"
    (directory / "src/shopfront.py").write_text("def hello(): print('edited')\n")
    assert shop.run(directory / ".venv/bin/shopfront-hello", cwd=shop.home).stdout == "edited\n"
    assert versions(shop, directory / ".venv/bin/python", "alpha", "shopfront") == {
        "alpha": "1.0", "shopfront": "1.0",
    }  # fmt: skip
    assert "Nothing to do" in shop.pkgview("up", cwd=directory).stderr


def test_a_path_dependency(shop: Site) -> None:
    source_tree(shop.home / "lib", "lib")
    directory = listing(shop, "lib @ file://" + str(shop.home / "lib") + "\n")
    up(shop, directory)
    said = shop.run(directory / ".venv/bin/lib-hello", cwd=shop.home)
    assert "/site-packages/lib.py" in said.stdout


def test_an_sdist_is_built(shop: Site, index: Index) -> None:
    tree = shop.home / "old-1.0"
    source_tree(tree, "old")
    (tree / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old\nVersion: 1.0\n")
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        file.add(tree, "old-1.0")
    (index.directory / "old-1.0.tar.gz").write_bytes(packed.getvalue())
    directory = listing(shop, "old\n")
    up(shop, directory)
    assert "hello from" in shop.run(directory / ".venv/bin/old-hello", cwd=shop.home).stdout
    # Another project has it from the store, and builds nothing.
    second = listing(shop, "old\n", name="second")
    assert up(shop, second)["fetched"] == 0
    assert not list((shop.places.cache / "builds").iterdir())


def test_a_build_that_fails_says_why(shop: Site) -> None:
    directory = shop.project("broken")
    source_tree(directory, "broken")
    (directory / "backend.py").write_text("raise SystemExit('no compiler here')\n")
    said = shop.pkgview("up", cwd=directory, code=1)
    assert "no compiler here" in said.stderr
    assert "Traceback (most recent call last):\n  File" not in said.stderr.partition("\n")[0]
    assert not (directory / ".venv").is_symlink()
    assert not list((shop.places.cache / "builds").iterdir())


@pytest.mark.network
def test_a_real_sdist(shop: Site) -> None:
    directory = listing(shop, "docopt==0.6.2\n")
    theirs = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
    ours = {"UV_DEFAULT_INDEX": "", "PIP_CONFIG_FILE": "", **theirs}
    shop.pkgview("up", cwd=directory, environ=ours)
    assert versions(shop, directory / ".venv/bin/python", "docopt") == {"docopt": "0.6.2"}


# Run


def run(site: Site, directory: Path, *arguments: str, code: int = 0) -> str:
    said = site.pkgview("run", *arguments, cwd=directory, code=code)
    return str(said.stdout)


def test_run_passes_on_all_that_is_the_commands(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    show = "import sys; print(sys.argv[1:])"
    words = ["-x", "--help", "--project", "a b", "", "--", "*", "ü"]
    expected = f"{words}\n"
    assert run(shop, directory, "--", "python", "-c", show, *words) == expected
    assert run(shop, directory, "python", "-c", show, *words) == expected
    assert run(shop, directory, "--", "sh", "-c", "exit 7", code=7) == ""
    run(shop, directory, "--", "sh", "-c", "kill -TERM $$", code=-signal.SIGTERM)
    run(shop, directory, "--", "nosuchcommand", code=127)
    run(shop, directory, "--", "/etc/passwd", code=126)
    (directory / "script").write_text("#!/nowhere/at/all\n")
    (directory / "script").chmod(0o755)
    said = shop.pkgview("run", "--", "./script", cwd=directory, code=126)
    assert "interpreter" in said.stderr
    run(shop, directory, code=2)
    said = shop.pkgview("run", "--wth", "x", "--", "true", cwd=directory, code=2)
    assert "--with" in said.stderr


def test_run_gives_the_environment_and_leaves_the_rest(shop: Site, index: Index) -> None:
    index.wheel("alpha", scripts=["hello=alpha:hello"])
    directory = listing(shop)
    view = shop.home / ".pkgview/views" / up(shop, directory, "--no-link")["view"]
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    environ = json.loads(run(shop, directory, "python", "-c", show))
    assert environ["VIRTUAL_ENV"] == str(view)
    assert environ["PATH"].split(os.pathsep)[0] == str(view / "bin")
    assert environ["PKGVIEW_VIEW"] == view.name
    assert not (directory / ".venv").is_symlink()
    run(shop, directory, "hello")
    # The project is found from elsewhere, and the command runs where the user is.
    said = shop.pkgview(
        "run", "--project", directory, "--", "python", "-c",
        "import alpha, os; print(os.getcwd())", cwd=shop.home,
    )  # fmt: skip
    assert said.stdout == f"{shop.home}\n"


def test_run_leaves_signals_as_they_were(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    up(shop, directory)
    # Python itself ignores SIGPIPE; a program that inherits that never ends in `| head`.
    ignored = "grep SigIgn /proc/self/status"
    outside = shop.run("sh", "-c", ignored, cwd=directory).stdout
    assert run(shop, directory, "sh", "-c", ignored) == outside
    process = subprocess.Popen(
        [PKGVIEW, "run", "--", "sleep", "60"], cwd=directory, env=shop.environ,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == -signal.SIGINT


def test_run_with_more(shop: Site, index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.wheel("alpha", version)
    index.wheel("beta", requires=["alpha"])
    directory = listing(shop, "alpha<2\n")
    show = "import alpha, beta; print(alpha.version)"
    assert run(shop, directory, "--with", "beta", "--", "python", "-c", show) == "1.0\n"
    said = shop.pkgview("view", cwd=directory, code=1)
    assert "no view yet" in said.stderr, "what --with adds is nobody's view"
    shop.pkgview("lock", cwd=directory)
    assert run(shop, directory, "--with", "beta", "--", "python", "-c", show) == "1.0\n"
    said = shop.pkgview("run", "--with", "alpha>2", "--", "true", cwd=directory, code=1)
    assert "alpha" in said.stderr
    said = shop.pkgview("run", "--with", "-r x", "--", "true", cwd=directory, code=1)
    assert "is no requirement" in said.stderr


# Reading


def stocked(shop: Site, index: Index) -> Path:
    """A project with every kind of thing that `why` can be asked about."""
    files = {
        "alpha": {"shared/common.py": b"whose = 'alpha'\n", "alpha.py": b""},
        "beta": {
            "shared/common.py": b"whose = 'beta'\n",
            "beta/data.txt": b"x",
            "beta/__init__.py": b"",
            "beta/inner.py": b"",
        },
        "gamma": {
            "gamma/_fast.cpython-311-x86_64-linux-gnu.so": b"ELF",
            "gamma/__init__.py": b"",
        },
    }
    for name, contents in files.items():
        index.wheel(name, files=contents, scripts=[f"{name}={name}:main"])
    directory = shop.project("project")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["alpha", "beta", "gamma"]\n'
    )
    return directory


def test_why(shop: Site, index: Index) -> None:
    directory = stocked(shop, index)
    up(shop, directory, "--python", str(shop.python))

    def why(query: str, cwd: Path = directory) -> dict[str, Any]:
        said = shop.pkgview("why", "--project", directory, "--json", query, cwd=cwd)
        found: dict[str, Any] = json.loads(said.stdout)
        return found

    def givers(found: dict[str, Any], key: str = "given_by") -> list[str]:
        return [one["name"] for one in found[key]]

    assert givers(why("alpha")) == ["alpha"]
    assert givers(why("beta.inner")) == ["beta"]
    assert givers(why("gamma._fast")) == ["gamma"]
    assert why("gamma._fast")["path"].endswith(".so")
    assert givers(why("bin/gamma")) == ["gamma"]
    assert givers(why("beta/data.txt")) == ["beta"]
    assert givers(why("shared")) == ["alpha", "beta"]
    assert givers(why("shared.common")) == ["alpha"]
    assert givers(why("shared.common"), "hides") == ["beta"]
    assert why("bin/python")["given_by"][0]["name"] == ""
    for path in (".venv/bin/gamma", str(directory / ".venv/bin/gamma")):
        assert givers(why(path)) == ["gamma"]
    mounted = str(
        shop.home / ".pkgview/views" / os.readlink(directory / ".venv").rpartition("/")[2]
    )
    assert givers(why(f"{mounted}/bin/gamma", shop.home)) == ["gamma"]
    said = shop.pkgview("why", "shared.common", cwd=directory)
    assert "given by  alpha 1.0" in said.stdout
    assert "hides     beta 1.0" in said.stdout
    said = shop.pkgview("why", "nothing.such", cwd=directory, code=1)
    assert "nothing.such" in said.stderr
    said = shop.pkgview("view", cwd=directory)
    assert "shared/common.py: alpha 1.0 wins over beta 1.0" in said.stdout
    said = shop.pkgview("up", "-v", cwd=directory)
    assert "alpha 1.0 wins over beta 1.0" in said.stderr


def test_prefer(shop: Site, index: Index) -> None:
    directory = stocked(shop, index)
    show = "import shared.common; print(shared.common.whose)"
    assert run(shop, directory, "python", "-c", show) == "alpha\n"
    with (directory / "pyproject.toml").open("a") as file:
        file.write('[tool.pkgview]\nprefer = ["Beta"]\n')
    assert run(shop, directory, "python", "-c", show) == "beta\n"


def test_view_and_store(shop: Site, index: Index) -> None:
    directory = stocked(shop, index)
    answer = up(shop, directory)
    said = shop.pkgview("view", "--path", cwd=directory)
    assert said.stdout == answer["path"] + "\n"
    assert said.stderr == ""
    assert Path(said.stdout.rstrip("\n"), "bin/python").exists()
    shown = json.loads(shop.pkgview("view", "--json", cwd=directory).stdout)
    assert shown["path"] == answer["path"]
    assert [one["name"] for one in shown["layers"]] == ["", "alpha", "beta", "gamma"]
    assert [one["path"].rpartition("/")[2] for one in shown["conflicts"]] == ["common.py"]
    kept = json.loads(shop.pkgview("store", "--json", cwd=directory).stdout)
    sizes = {one["archive"]: one["size"] for one in kept["archives"]}
    for layer in shown["layers"]:
        assert sizes[layer["archive"]] == layer["stored"]
    assert kept["size"] == sum(sizes.values())
    said = shop.pkgview("store", "verify", "--json", cwd=directory)
    assert json.loads(said.stdout) == {
        "path": str(shop.places.store), "archives": len(sizes), "damaged": [],
        "unproved": {"records": 0, "projects": []},
    }  # fmt: skip
    # From a directory below the project, and from none.
    (directory / "inner").mkdir()
    said = shop.pkgview("view", "--path", cwd=directory / "inner")
    assert said.stdout == answer["path"] + "\n"
    assert shop.pkgview("view", cwd=shop.home, code=1).stdout == ""


# Help and mistakes


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(shop: Site, command: str) -> None:
    for option in ("-h", "--help"):
        said = shop.pkgview(command, option, cwd=shop.home)
        assert f"Usage: pkgview {command}" in said.stdout
        examples = said.stdout.partition("Examples:\n")[2]
        assert f"  pkgview {command}" in examples
        assert max(map(len, said.stdout.splitlines())) <= 100
    assert not os.listdir(shop.home / "tmp")


def test_mistakes_are_named(shop: Site) -> None:
    before = sorted(path.name for path in shop.home.rglob("*"))
    said = shop.pkgview("upp", cwd=shop.home, code=2)
    assert "did you mean `pkgview up`" in said.stderr
    said = shop.pkgview("xyzzy", cwd=shop.home, code=2)
    assert said.stderr.startswith("pkgview: there is no command `pkgview xyzzy`\n")
    said = shop.pkgview("up", "--upgrad", cwd=shop.home, code=2)
    assert "--upgrade" in said.stderr
    said = shop.pkgview("why", cwd=shop.home, code=2)
    assert "PATH|MODULE" in said.stderr
    assert "pkgview why -h" in said.stderr
    said = shop.pkgview("up", "a", "b", cwd=shop.home, code=2)
    assert said.stderr.startswith("pkgview: ")
    said = shop.pkgview(cwd=shop.home)
    assert "Commands:" in said.stdout
    assert said.stderr == ""
    said = shop.pkgview("--version", cwd=shop.home)
    assert re.fullmatch(r"pkgview \d+\.\d+\.\d+\n", said.stdout)
    after = sorted(path.name for path in shop.home.rglob("*"))
    assert after == before, "none of these writes anything"


# A terminal


def in_terminal(site: Site, directory: Path, *arguments: str) -> tuple[int, str]:
    """Run a command whose stderr and stdout are a terminal; its status and what was drawn."""
    leader, follower = pty.openpty()
    environ = {**site.environ, "TERM": "xterm", "COLUMNS": "100"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [PKGVIEW, *arguments], cwd=directory, env=environ, stdin=follower, stdout=follower,
        stderr=follower, close_fds=True, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    drawn = bytearray()
    try:
        while chunk := os.read(leader, 1 << 16):
            drawn += chunk
    except OSError:
        pass  # EIO: the last process that had the terminal has ended
    os.close(leader)
    return process.wait(30), drawn.decode()


def test_progress_on_a_terminal_only(shop: Site, index: Index) -> None:
    path = index.wheel("alpha", files={"alpha.py": b"", "alpha.bin": os.urandom(100_000)})
    index.slow.add(path.name)
    directory = listing(shop)
    code, drawn = in_terminal(shop, directory, "up", "--no-mount")
    assert code == 0, drawn
    assert "fetching" in drawn
    assert "resolving" in drawn
    # What is drawn is taken away again; the summary stays.
    assert "View " in drawn.rpartition("\x1b[2K")[2]
    code, drawn = in_terminal(shop, directory, "up", "--no-mount")
    assert drawn.splitlines()[1].startswith("Nothing to do")  # the first: nothing is mounted
    assert "\x1b" not in drawn
    (directory / "requirements.txt").write_text("nosuchthing\n")
    code, drawn = in_terminal(shop, directory, "up", "--no-mount")
    assert code == 1
    assert "pkgview: cannot resolve" in drawn.rpartition("\x1b[2K")[2]
    said = shop.pkgview("up", "--no-mount", cwd=directory, code=1)
    assert "\x1b" not in said.stderr
    assert f"resolving {directory}" not in said.stderr


def test_nothing_is_mounted_unless_asked(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    up(shop, directory, "--no-mount")
    shop.pkgview("view", cwd=directory)
    shop.pkgview("why", "alpha", cwd=directory)
    assert not [one for one in mounts.table() if one.path.is_relative_to(shop.home)]


# An ordinary user


def test_an_ordinary_user(ordinary: dict[str, Any], index: Index) -> None:
    options = {**ordinary, "env": {**ordinary["env"], "UV_DEFAULT_INDEX": index.url}}
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [python, "-c", "import pyfuse3, trio, zstandard, unionfs.cli"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, check=False, capture_output=True, **options).returncode == 0:
                break
    else:
        pytest.skip("no interpreter with pkgview's dependencies that nobody may run")
    index.wheel("alpha", scripts=["hello=alpha:hello"])
    home = Path(options["env"]["HOME"])
    directory = home / "project"
    directory.mkdir()
    (directory / "requirements.txt").write_text("alpha\n")
    for path in (directory, directory / "requirements.txt"):
        os.chown(path, options["user"], options["group"])
    options["cwd"] = directory

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr
        return str(done.stdout + done.stderr)

    pkgview = (python, "-c", "from unionfs.cli import main; main()")
    assert "Mounted" in run(*pkgview, "up")
    assert run(directory / ".venv/bin/hello") == "hello\n"
    assert "Nothing to do" in run(*pkgview, "up")
    assert run(*pkgview, "run", "--", "hello") == "hello\n"
    assert "Unmounted" in run(*pkgview, "umount", "--lazy")
    assert "Mounted" in run(*pkgview, "up")
