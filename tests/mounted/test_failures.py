"""Failures as a user meets them: whole commands, in a home of their own.

Each has to be a sentence on stderr that names the thing, and a remedy; a status that is not 0; no
traceback; and nothing half-written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")
CLOSED = "http://127.0.0.1:9/simple"
"""The discard port: nobody listens."""


OTHERS = (".cache/uv/", ".local/share/uv/", "tmp/uv-")
"""What uv and its build back ends keep."""

WHOLE = (
    ".local/state/pkgview/interpreters/",
    ".local/state/pkgview/locks/",
    ".local/state/pkgview/trusted/",
    ".local/share/pkgview/store/archives/",
    ".local/share/pkgview/store/derived/",
    ".local/share/pkgview/store/users/",
    ".local/share/pkgview/store/before",
    ".local/state/pkgview/id-",
)


def written(site: Site) -> dict[str, bytes]:
    """All that a failed command may not have changed, by path.

    What is left out is true whatever failed: what interpreters said of themselves, locks that were
    made whole, that the project was said yes to, what is needed here, uv's cache, and bytes that
    are resumed.
    """
    kept = {}
    for directory, _, names in os.walk(site.home):
        for name in names:
            path = Path(directory, name)
            shown = str(path.relative_to(site.home))
            if shown.startswith(OTHERS) or (shown.startswith(WHOLE) and "tmp" not in name):
                continue
            if shown.startswith(".cache/pkgview/downloads/") and name.endswith(".part"):
                continue
            kept[shown] = path.read_bytes() if path.is_file() else os.readlink(path).encode()
    return kept


def explained(said: subprocess.CompletedProcess[str], *named: str) -> str:
    """Check the form of a failure, and that it names what it should; what was said."""
    text = said.stderr
    assert said.returncode not in {0, -signal.SIGKILL}, said
    assert "Traceback" not in text, text
    assert text.startswith("pkgview: "), text
    assert "\n  " in text, f"no remedy: {text}"
    for name in named:
        assert name in text, f"{name!r} is not in: {text}"
    assert not said.stdout, said.stdout
    return text


def refused(
    site: Site, directory: Path, *named: str, arguments: Sequence[str] = ("up",), **environ: str
) -> str:
    """Run a command that must fail, and leave everything as it was."""
    before = written(site)
    if environ:  # of which an interpreter reads some when it starts
        said = site.run(PKGVIEW, *arguments, cwd=directory, code=None, environ=environ)
    else:
        said = site.pkgview(*arguments, cwd=directory, code=None)
    text = explained(said, *named)
    assert written(site) == before
    assert not [mount for mount in mounts.table() if mount.path.is_relative_to(site.home)]
    return text


def listing(site: Site, text: str = "alpha\n", *, name: str = "project") -> Path:
    """A project with that requirements.txt."""
    directory: Path = site.project(name)
    (directory / "requirements.txt").write_text(text)
    return directory


# The network and the index


def test_no_network(shop: Site) -> None:
    directory = listing(shop)
    text = refused(shop, directory, str(directory), "alpha", UV_DEFAULT_INDEX=CLOSED)
    assert "Check the network" in text


def test_offline_with_nothing_known(shop: Site) -> None:
    text = refused(shop, listing(shop), "alpha", arguments=("up", "--offline"))
    assert "without --offline" in text


def test_locked_and_its_files_are_gone(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    shop.pkgview("lock", cwd=directory)
    lock = directory / "pylock.toml"
    locked = lock.read_text()
    lock.write_text(locked.replace(index.url.removesuffix("/simple"), "http://127.0.0.1:9"))
    refused(shop, directory, "alpha-1.0-py3-none-any.whl", "127.0.0.1:9", "network")
    lock.write_text(locked)
    (index.directory / "alpha-1.0-py3-none-any.whl").unlink()
    refused(shop, directory, "alpha-1.0-py3-none-any.whl", "404", "pkgview lock --upgrade")


def test_no_such_distribution_and_no_such_version(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    refused(shop, listing(shop, "nosuchthing\n"), "nosuchthing", "how the name is written")
    refused(
        shop,
        listing(shop, "alpha==99\n", name="other"),
        "alpha==99",
        "Ask for a version that exists",
    )


def test_requirements_that_conflict(shop: Site, index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.wheel("alpha", version)
    index.wheel("beta", requires=["alpha<2"])
    directory = listing(shop, "beta\nalpha>=2\n")
    text = refused(shop, directory, "alpha", "beta")
    assert "Loosen one of the requirements" in text


def test_the_lock_names_another_hash(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    shop.pkgview("lock", cwd=directory)
    lock = directory / "pylock.toml"
    digest = lock.read_text().partition('sha256 = "')[2][:64]
    lock.write_text(lock.read_text().replace(digest, "0" * 64))
    text = refused(shop, directory, "alpha-1.0-py3-none-any.whl", digest, "0" * 64)
    assert "do not trust" in text
    assert shop.pkgview("store", "--json", cwd=directory).stdout.count("alpha") == 0


def test_the_server_sends_other_bytes(shop: Site, index: Index) -> None:
    path = index.wheel("alpha")
    directory = listing(shop)
    index.instead[path.name] = path.read_bytes()[:-1] + b"x"
    refused(shop, directory, path.name, "is not the locked file")
    index.instead[path.name] = path.read_bytes() * 2
    refused(shop, directory, path.name, "is not the locked file")


def test_a_wheel_that_does_not_keep_its_record(shop: Site, index: Index) -> None:
    path = index.wheel("alpha")
    path.write_bytes(path.read_bytes().replace(b"version = '1.0'", b"version = '6.6'"))
    directory = listing(shop)
    refused(shop, directory, path.name)


# Pythons and platforms


def test_no_python_that_the_project_would_take(shop: Site) -> None:
    directory = shop.project("new")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "new"\nversion = "1"\nrequires-python = ">=3.99"\n'
    )
    refused(shop, directory, str(directory), ">=3.99", "--python PATH")
    refused(shop, directory, ">=3.99", "--python", arguments=("up", "--python", str(shop.python)))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("2.7", ("2.7", "3.10")),
        ("9.9", ("9.9",)),
        ("nonsense", ("nonsense",)),
        ("/nowhere/python", ("/nowhere/python",)),
        ("/etc/passwd", ("/etc/passwd", "executed")),
        ("/bin/true", ("/bin/true", "not a usable Python")),
    ],
)
def test_a_python_that_cannot_be_used(shop: Site, asked: str, named: tuple[str, ...]) -> None:
    refused(shop, listing(shop), *named, arguments=("up", "--python", asked))


def test_a_python_that_is_too_old(shop: Site) -> None:
    old = Path.home() / ".pyenv/versions/2.7.18/bin/python"
    if not old.exists():
        pytest.skip("there is no Python 2.7")
    refused(shop, listing(shop), str(old), "3.10", arguments=("up", "--python", str(old)))


def test_a_distribution_for_another_python(shop: Site, index: Index) -> None:
    index.wheel("alpha", python=">=4")
    refused(shop, listing(shop), "alpha", "Python>=4", "--python")


def test_wheels_for_another_platform_only(shop: Site, index: Index) -> None:
    path = index.wheel("alpha", tag="cp311-cp311-win_amd64")
    directory = shop.project("windows")
    digest = "0" * 64
    (directory / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "alpha"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{path.name}", url = "{index.url}/{path.name}", '
        f'hashes = {{ sha256 = "{digest}" }} }}]\n'
    )
    refused(shop, directory, "alpha 1.0", "win_amd64", "--python")
    # Resolved from an index it is uv that says so.
    refused(shop, listing(shop), "alpha")


# Broken files


NAMED = '[project]\nname="a"\nversion="1"\n'
LOCKED = 'lock-version = "1.0"\ncreated-by = "x"\n'


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("pyproject.toml", "[project\n", ("pyproject.toml", "line 1")),
        ("pyproject.toml", "[project]\nname = 3\n", ("pyproject.toml", "name")),
        ("pyproject.toml", "project = 3\n", ("pyproject.toml", "project")),
        (
            "pyproject.toml",
            NAMED + 'dependencies=["!!"]\n',
            ("cannot resolve",),
        ),
        (
            "pyproject.toml",
            '[project]\nname="a"\nversion="1"\n[tool.pkgview]\nprfer=1\n',
            ("prfer",),
        ),
        ("requirements.txt", "alpha ==== 3\n", ("alpha",)),
        ("requirements.txt", "-r missing.txt\n", ("line 1", "missing.txt")),
        ("requirements.txt", "caf\xe9\xff", ("requirements.txt",)),
        ("pylock.toml", "lock-version = 1.0\n", ("pylock.toml",)),
        ("pylock.toml", 'lock-version = "2.0"\ncreated-by = "x"\npackages = []\n', ("2.0",)),
        ("pylock.toml", "{", ("pylock.toml", "line 1")),
        ("pylock.toml", LOCKED + "packages = 3\n", ("packages",)),
        ("pylock.toml", LOCKED + '[[packages]]\nname = "a"\n', ("pylock.toml",)),
    ],
)
def test_a_file_that_is_broken(shop: Site, name: str, content: str, named: tuple[str, ...]) -> None:
    directory = shop.project("broken")
    (directory / name).write_text(content, "latin-1")
    refused(shop, directory, *named)


def test_a_uv_lock_that_is_broken(shop: Site) -> None:
    directory = shop.project("broken")
    (directory / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n')
    (directory / "uv.lock").write_text("version = ")
    refused(shop, directory, "uv.lock")


@pytest.mark.parametrize(
    "block",
    [
        "# /// script\n# dependencies = [\n# ///\n",
        "# /// script\n# dependencies = 3\n# ///\n",
        "# /// script\n# dependencies = []\n# ///\n#\n# /// script\n# dependencies = []\n# ///\n",
    ],
)
def test_an_inline_block_that_is_broken(shop: Site, block: str) -> None:
    script = shop.home / "script.py"
    script.write_text(block)
    refused(shop, shop.home, str(script), arguments=("up", "script.py"))


def test_a_directory_that_is_no_project(shop: Site) -> None:
    refused(shop, shop.project("empty"), "belongs to no project", "requirements.txt")
    (shop.home / "plain.py").write_text("")
    refused(shop, shop.home, "plain.py", "inline block", arguments=("up", "plain.py"))
    refused(shop, shop.home, "nowhere", arguments=("up", "nowhere"))
    (shop.home / "old").mkdir()
    (shop.home / "old/setup.py").write_text("")
    for command in (["lock"], ["run", "true"]):
        refused(shop, shop.home / "old", "old/setup.py would have to be run", arguments=command)


def test_a_project_file_that_is_a_pipe(shop: Site) -> None:
    directory = shop.project("pipe")
    (directory / "requirements.txt").write_text("-r more.txt\n")
    os.mkfifo(directory / "more.txt")
    said = shop.pkgview("up", cwd=directory, code=None)
    explained(said, "more.txt", "not a regular file")


# What is in the way


def test_a_real_environment_is_left_alone(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    (directory / ".venv").mkdir()
    (directory / ".venv/precious").write_text("x")
    refused(shop, directory, str(directory / ".venv"), "--force", "--no-link")
    refused(shop, directory, "left alone", arguments=("down",))
    shop.pkgview("up", "--no-link", cwd=directory)
    assert (directory / ".venv/precious").read_text() == "x"
    assert "before-pkgview" in shop.pkgview("up", "--force", cwd=directory).stderr
    assert (directory / ".venv.before-pkgview/precious").read_text() == "x"
    assert (directory / ".venv").is_symlink()
    told = shop.pkgview("forget", cwd=directory).stderr
    assert f"{directory}/.venv.before-pkgview is what was there before" in told


def test_a_link_of_somebody_else_is_left_alone(shop: Site) -> None:
    directory = listing(shop)
    (directory / ".venv").symlink_to("/usr")
    refused(shop, directory, str(directory / ".venv"), "--force")
    assert os.readlink(directory / ".venv") == "/usr"


def test_the_mount_point_is_not_empty(shop: Site) -> None:
    (shop.home / ".pkgview").mkdir()
    (shop.home / ".pkgview/mine").write_text("x")
    refused(shop, listing(shop), "not empty", "mine", "PKGVIEW_MOUNT")
    refused(shop, shop.home / "project", "not empty", arguments=("run", "--", "true"))


def test_the_mount_point_is_a_file(shop: Site) -> None:
    (shop.home / ".pkgview").write_text("x")
    refused(shop, listing(shop), str(shop.home / ".pkgview"), "no directory")


def test_the_working_directory_was_removed(shop: Site) -> None:
    gone = shop.project("gone")
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    for command in (["up"], ["down"], ["lock"], ["view"], ["why", "x"], ["run", "--", "true"]):
        gone.mkdir(exist_ok=True)
        said = shop.run("sh", "-c", script, "sh", PKGVIEW, *command, cwd=shop.home, code=None)
        explained(said, "working directory")


def test_no_home(shop: Site) -> None:
    directory = listing(shop)
    refused(shop, directory, "HOME is 'relative'", HOME="relative")


# Strange names


@pytest.mark.parametrize(
    "name",
    [
        b"with spaces and 'quotes' and $HOME",
        "ümlaut-日本".encode(),
        b"-rf",
        b"[project]",
        b"x" * 255,
        b"not \xff utf-8",
        b"line\nbreak",
    ],
)
def test_a_strange_name_works_or_is_refused(shop: Site, index: Index, name: bytes) -> None:
    index.wheel("alpha")
    directory = shop.home / os.fsdecode(name)
    directory.mkdir()
    (directory / "requirements.txt").write_text("alpha\n")
    said = shop.pkgview("up", "--no-mount", cwd=directory, code=None)
    if said.returncode == 0:
        assert json.loads(shop.pkgview("view", "--json", cwd=directory).stdout)["layers"]
        assert (directory / ".venv").is_symlink()
    else:
        explained(said)
        # Only what no tool could be told of may be refused.
        assert b"\xff" in name or b"\n" in name, said.stderr


def test_a_name_that_is_too_long(shop: Site) -> None:
    for name in ("x" * 256, "x/" * 3000):
        refused(shop, shop.home, arguments=("up", name))


# Surroundings


def test_under_the_c_locale(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = shop.project("ümlaut")
    (directory / "requirements.txt").write_text("nosuchthing\n")
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    refused(shop, directory, "nosuchthing", "\\xc3\\xbcmlaut", **locale)


def as_root_in_namespace(
    shop: Site, script: str, *command: str | Path, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command after a shell script that changes what is mounted, for that command only."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    line = f'set -e; mount --make-rprivate /; {script}; cd "$PWD"; exec "$@"'
    return shop.run("unshare", "-m", "sh", "-c", line, "sh", *command, cwd=cwd, code=None)


def test_a_home_on_a_read_only_file_system(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    home = shop.home
    pyproject = home / "other/pyproject.toml"
    pyproject.parent.mkdir()
    pyproject.write_text('[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\n')
    there = pyproject.parent
    script = f"mount --bind {there} {there}; mount -o remount,ro,bind {there}; cd {there}"
    text = explained(as_root_in_namespace(shop, script, PKGVIEW, "add", "alpha", cwd=there))
    assert "pyproject.toml" in text  # what cannot be written, and not what was to be put back
    assert "uv.lock" not in text
    shutil.rmtree(there)
    shutil.rmtree(shop.home / ".local")
    before = written(shop)
    script = f"mount --bind {home} {home}; mount -o remount,ro,bind {home}; cd {directory}"
    said = as_root_in_namespace(shop, script, PKGVIEW, "up", cwd=directory)
    explained(said, "Read-only file system", str(home), "XDG_STATE_HOME")
    assert written(shop) == before


@pytest.mark.parametrize(
    ("place", "size"),
    [
        (".local/share", "200k"),
        (".local/state", "16k"),
        (".local/state", "100k"),
        (".cache/pkgview", "200k"),
        ("project", "0"),
    ],
)
def test_a_full_disk(shop: Site, index: Index, place: str, size: str) -> None:
    index.wheel("alpha", files={"alpha.py": os.urandom(1 << 20)})
    directory = listing(shop)
    full = shop.home / place
    full.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = shop.home / "kept"
    shutil.copytree(directory, kept)
    script = f"mount -t tmpfs -o size={size},mode=700 none {full}; cd {directory}"
    if place == "project":
        # A tmpfs of 0 has no limit; one of a page is full with the requirements in it.
        script = f"mount -t tmpfs -o size=4k,mode=755 none {full}; cp {kept}/* {full}; cd {full}"
    said = as_root_in_namespace(shop, script, PKGVIEW, "up", "--no-mount", cwd=directory)
    if place == "project":  # a link takes no room there
        assert said.returncode == 0, said
        return
    text = explained(said)
    assert "room" in text or "No space left" in text or "full" in text, text
    assert not list(shop.home.rglob("*tmp-*"))
    shop.pkgview("up", "--no-mount", cwd=directory)


def test_a_full_runtime_directory(shop: Site, index: Index) -> None:
    """No mount is left whose daemon could not go on."""
    index.wheel("alpha")
    directory, full = listing(shop), shop.home / "full"
    full.mkdir()
    script = f"mount -t tmpfs -o size=8k,mode=700 none {full}; export XDG_RUNTIME_DIR={full}; "
    script += f"head -c 20000 /dev/zero > {full}/fill || :; cd {directory}"
    command = f"{PKGVIEW} up; s=$?; grep {shop.places.mount} /proc/self/mountinfo; exit $s"
    said = as_root_in_namespace(shop, script, "sh", "-c", command, cwd=directory)
    said.stderr = said.stderr.partition("\n")[2]  # head's own
    explained(said, "No space left", f"{full}/pkgview/", "XDG_RUNTIME_DIR")


def interpreter_for(options: dict[str, Any]) -> str:
    """One that nobody may run: root's own often lies where nobody may look."""
    for program in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [program, "-c", "import pyfuse3, trio, unionfs.cli"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, check=False, capture_output=True, **options).returncode == 0:
                return program
    pytest.skip("no interpreter with pkgview's dependencies that nobody may run")


def test_a_home_that_is_not_writable(ordinary: dict[str, Any], tmp_path: Path) -> None:
    home = Path(ordinary["env"]["HOME"])
    (home / "requirements.txt").write_text("alpha\n")
    os.chown(home / "requirements.txt", 65534, 65534)
    home.chmod(0o555)
    del tmp_path
    said = subprocess.run(
        [interpreter_for(ordinary), "-c", "from unionfs.cli import main; main()", "up"],
        **{**ordinary, "cwd": home}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    explained(said, "Permission denied", str(home), "XDG_STATE_HOME")
    assert sorted(os.listdir(home)) == ["requirements.txt"]


def test_a_project_that_has_become_read_only(shop: Site, index: Index) -> None:
    """All of it is forgotten but the link, which cannot go."""
    if os.geteuid():
        pytest.skip("only root can mount it so")
    index.wheel("alpha")
    directory = shop.project("frozen")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "frozen"\nversion = "1"\ndependencies = []\n'
    )
    shop.pkgview("up", cwd=directory)
    read_only = f"mount --bind {directory} {directory} && mount -o remount,bind,ro {directory} && "
    read_only += f"cd {directory} && exec {PKGVIEW} "
    said = shop.run("unshare", "-m", "sh", "-c", f"{read_only} add alpha", cwd=shop.home, code=1)
    assert "UV_CACHE_DIR" not in explained(said, "Read-only file system", "pyproject.toml")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "frozen"\nversion = "1"\ndependencies = ["alpha"]\n'
    )
    command = f"{read_only} run python -c 'import alpha'"
    said = shop.run("unshare", "-m", "sh", "-c", command, cwd=shop.home)
    assert f"{directory}/.venv still leads to the view of before" in said.stderr
    said = shop.run("unshare", "-m", "sh", "-c", f"{read_only} forget", cwd=shop.home, code=1)
    explained(said, f"{directory} is forgotten, but cannot remove {directory}/.venv: Read-only")
    assert shop.pkgview("projects", cwd=shop.home).stderr.startswith("No project has a view yet")


def test_no_fusermount3(ordinary: dict[str, Any], tmp_path: Path) -> None:
    home = Path(ordinary["env"]["HOME"])
    (home / "requirements.txt").write_text("alpha\n")
    os.chown(home / "requirements.txt", 65534, 65534)
    environ = {**ordinary["env"], "PATH": os.fspath(tmp_path)}
    said = subprocess.run(
        [interpreter_for(ordinary), "-c", "from unionfs.cli import main; main()", "up"],
        **{**ordinary, "cwd": home, "env": environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    explained(said, "fusermount3 is not installed", "apt install fuse3")
    assert sorted(os.listdir(home)) == ["requirements.txt"]


def test_no_dev_fuse(shop: Site, index: Index, needs: Callable[..., None]) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    needs("bwrap")
    before = written(shop)
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--dev", "/dev", "--chdir", str(directory)]
    said = shop.run(*sandbox, PKGVIEW, "up", cwd=directory, code=None)
    explained(said, "/dev/fuse")
    assert written(shop) == before
    assert not index.asked, "it should have been said before anything was resolved"


def test_inside_a_sandbox_the_mount_of_the_outside_is_enough(
    shop: Site, index: Index, needs: Callable[..., None]
) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    needs("bwrap")
    shop.pkgview("up", cwd=directory)
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--dev", "/dev", "--chdir", str(directory)]
    shop.run(*sandbox, PKGVIEW, "up", cwd=directory)


# Whose project it is


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["owner", "file", "mode", "group"])
def test_a_project_that_others_may_write_to(shop: Site, index: Index, what: str) -> None:
    index.wheel("alpha")
    directory = listing(shop)
    if what == "mode":
        directory.chmod(0o777)
    elif what == "group":
        os.chown(directory, 0, 12345)
        directory.chmod(0o775)
    else:
        os.chown(directory if what == "owner" else directory / "requirements.txt", 12345, 12345)
    for command in (["up"], ["lock"], ["run", "--", "true"]):
        text = refused(shop, directory, str(directory), arguments=command)
        assert "--trust" in text
        assert "not yours alone" in text
    assert not index.asked
    said = shop.pkgview("up", "--trust", cwd=directory)
    assert "do not get this view" in said.stderr
    python = shop.home / ".pkgview/bin/python"
    program = "import alpha"
    # The mount itself keeps to its rule, and .venv is what the user asked for.
    assert shop.run(python, "-c", program, cwd=directory, code=None).returncode != 0
    shop.run(directory / ".venv/bin/python", "-c", program, cwd=directory)


# Interrupts


def begun(site: Site, directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PKGVIEW, *arguments], cwd=directory, env=site.environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_interrupted_in_the_middle_of_a_download(shop: Site, index: Index) -> None:
    path = index.wheel("alpha", files={"alpha.py": b"x = 1\n", "alpha.bin": os.urandom(1 << 20)})
    index.slow.add(path.name)
    directory = listing(shop)
    process = begun(shop, directory, "up")
    part = shop.home / ".cache/pkgview/downloads"
    until(lambda: any(one.stat().st_size for one in part.glob("*.part")))
    before = written(shop)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "")
    after = {name for name in written(shop) if name not in before}
    assert not after
    assert not [name for name in written(shop) if "fetch-" in name]
    index.slow.clear()
    index.asked.clear()
    shop.pkgview("up", cwd=directory)
    assert not list(part.iterdir())


def test_interrupted_while_it_resolves(shop: Site, index: Index) -> None:
    index.wheel("alpha", "1.0")
    index.slow.add("alpha")
    for number in range(400):
        index.required[f"alpha-1.{number}-py3-none-any.whl"] = ""
        (index.directory / f"alpha-1.{number}-py3-none-any.whl").write_bytes(b"")
    for command in ("up", "lock"):
        directory = listing(shop, name=command)
        index.asked.clear()
        process = begun(shop, directory, command)
        until(lambda: index.asked)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
        assert (process.returncode, stdout, stderr.strip()) == (130, "", ""), command
        assert sorted(os.listdir(directory)) == ["requirements.txt"]
        assert not [name for name in written(shop) if "tmp-" in name]


@pytest.mark.parametrize(
    ("number", "ignored"),
    [(signal.SIGINT, ""), (signal.SIGTERM, ""), (signal.SIGTERM, "INT"), (signal.SIGHUP, "")],
)
def test_an_edit_that_is_ended_is_undone(
    shop: Site, index: Index, number: signal.Signals, ignored: str
) -> None:
    """Also in the background of a script, where SIGINT is ignored."""
    index.wheel("alpha", "1.0")
    index.slow.add("alpha")
    for patch in range(400):
        index.required[f"alpha-1.{patch}-py3-none-any.whl"] = ""
        (index.directory / f"alpha-1.{patch}-py3-none-any.whl").write_bytes(b"")
    directory = shop.project("edited")
    listed = directory / "pyproject.toml"
    before = '[project]\nname = "edited"\nversion = "1"\ndependencies = []\n'
    listed.write_text(before)
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' {ignored or 'USR1'}; exec {PKGVIEW} add alpha"],
        cwd=directory, env=shop.environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: index.asked and listed.read_text() != before)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr.strip()) == (128 + number, "", "")
    assert listed.read_text() == before
    assert os.listdir(directory) == ["pyproject.toml"]
    if ignored or number != signal.SIGTERM:
        return
    # The same for a tool; and what has not begun ends without a word.
    process = begun(shop, shop.home, "tool", "install", "alpha")
    tools = shop.home / ".local/share/pkgview/tools"
    until(lambda: list(tools.glob("*/*")))
    process.terminate()
    assert process.communicate(timeout=20) == ("", "")
    assert (process.returncode, os.listdir(tools)) == (143, [])
    early = "import unionfs.cli as cli\n"
    early += "def find(name, *_):\n    if name.endswith('forked'): raise KeyboardInterrupt\n"
    early += "cli.sys.meta_path.insert(0, type('', (), {'find_spec': find})); cli.main(['list'])"
    shop.run(sys.executable, "-c", early, cwd=shop.home, code=130)


# Output


def test_nobody_reads_the_answer(shop: Site, index: Index) -> None:
    for number in range(20):
        index.wheel(f"alpha{number}")
    directory = listing(shop, "".join(f"alpha{number}\n" for number in range(20)))
    made = shop.pkgview("up", "--no-mount", cwd=directory)
    assert ".venv leads nowhere until `pkgview mount`" in made.stderr
    again = shop.pkgview("up", "--no-mount", "--no-link", cwd=directory)
    assert "leads nowhere" not in again.stderr
    again = shop.pkgview("up", "--no-mount", "--json", cwd=directory)
    assert ".venv leads nowhere until `pkgview mount`" in again.stderr
    assert json.loads(again.stdout)["mounted"] is False
    # The same where a link is moved to a mount that is not there.
    elsewhere = {"PKGVIEW_MOUNT": str(shop.home / "elsewhere")}
    moved = shop.run(PKGVIEW, "up", "--no-mount", cwd=directory, environ=elsewhere)
    assert f"Linked {directory}/.venv" in moved.stderr
    assert "leads nowhere" in moved.stderr
    for command in ("view", "store"):
        said = shop.run("sh", "-c", f"{PKGVIEW} {command} | head -1", cwd=directory)
        assert said.stderr == ""
        assert said.stdout.count("\n") == 1
        for where in (">&-", "> /dev/full"):
            said = shop.run("sh", "-c", f"{PKGVIEW} {command} {where}", cwd=directory, code=1)
            explained(said, "standard output")
    with contextlib.suppress(FileNotFoundError):
        (directory / ".venv").unlink()
    said = shop.run("sh", "-c", f"{PKGVIEW} up --no-mount 2>&- >&-", cwd=directory)
    assert (directory / ".venv").is_symlink()
    shop.pkgview("list", cwd=directory)  # it mounts
    for environ in ({}, {"PKGVIEW_FORKSERVER": "0"}):
        said = shop.run("sh", "-c", f"{PKGVIEW} list >&-", cwd=directory, environ=environ, code=1)
        explained(said, "standard output")
