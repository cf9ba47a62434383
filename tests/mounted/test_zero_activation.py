"""Nothing is resolved yet, and nobody types `pkgview`: a program starts, waits, and has it all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.discovery import find_interpreter
from unionfs.control.endpoint import endpoint_of
from unionfs.environment.wait import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.places import Places
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

CLOSED = "http://127.0.0.1:9/simple"
SAY = "import alpha; print(alpha.version)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A home with a mount and an index, and nothing resolved."""

    site: Site
    index: Index

    @property
    def python(self) -> Path:
        return self.site.places.mount / "bin/python"

    def project(self, requirements: str = "alpha\n", name: str = "project") -> Path:
        directory = self.site.project(name)
        (directory / "requirements.txt").write_text(requirements)
        return directory

    def run(
        self, *arguments: str | Path, cwd: Path, code: int | None = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return self.site.run(self.python, *arguments, cwd=cwd, code=code, environ=environ)

    def start(self, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, *arguments],
            cwd=cwd, env=self.site.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def heavy(self, name: str = "alpha", version: str = "1.0", seconds: float = 2.0) -> str:
        """A wheel that takes so long to come; its path on the index."""
        content = os.urandom(int(64 * 1024 * seconds))
        path = self.index.wheel(
            name,
            version,
            {f"{name}.py": f"version = {version!r}\n".encode(), f"{name}.bin": content},
        )
        self.index.slow.add(path.name)
        return f"/packages/{path.name}"

    def log(self) -> str:
        return (self.site.places.state / "daemon.log").read_text()

    def resolutions(self) -> list[int]:
        """The processes of all resolutions until now."""
        return [int(pid) for pid in re.findall(r"resolving .* pid (\d+)", self.log())]

    def await_resolution(self) -> int:
        deadline = time.monotonic() + 20
        while not (pids := self.resolutions()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return pids[-1]

    def await_request(self, path: str) -> None:
        deadline = time.monotonic() + 20
        while path not in self.index.asked:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def daemon(self) -> int:
        pid = endpoint_of(self.site.places, self.site.places.mount).pid()
        assert pid is not None
        return pid


@pytest.fixture
def ground(shop: Site, index: Index) -> Ground:
    index.wheel("alpha")
    shop.pkgview("mount", cwd=shop.home)
    found = Ground(site=shop, index=index)
    assert found.log()
    return found


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# It works


def test_a_clone_just_runs(ground: Ground) -> None:
    directory = ground.project()
    (directory / "test.py").write_text(
        "import alpha, json, os, sys\n"
        "file, *path = map(os.path.realpath, (alpha.__file__, *sys.path))\n"
        "print(json.dumps([file, sys.prefix, sys.executable, path, sys.argv]))\n"
    )
    ended = ground.run("test.py", "an argument", "", cwd=directory)
    file, prefix, executable, path, argv = json.loads(ended.stdout)
    views = f"{ground.site.places.mount}/views/"
    assert prefix.startswith(views)
    assert file.startswith(prefix)
    assert executable == f"{prefix}/bin/python"
    assert [one for one in path if views in one] == [str(Path(file).parent)]
    assert argv == ["test.py", "an argument", ""]
    assert "Traceback" not in ended.stderr
    assert sorted(one.name for one in directory.iterdir()) == ["requirements.txt", "test.py"]
    # And from then on nothing is asked, said or waited for.
    asked = len(ground.index.asked)
    again = ground.run("test.py", "an argument", "", cwd=directory)
    assert (json.loads(again.stdout)[1], again.stderr) == (prefix, "")
    assert len(ground.index.asked) == asked
    assert len(ground.resolutions()) == 1
    # What it made is what `pkgview up` makes.
    said = json.loads(ground.site.pkgview("up", "--json", cwd=directory).stdout)
    assert (said["path"], said["changed"]) == (prefix, False)


@pytest.mark.parametrize(
    "way", ["-c", "-m", "stdin", "directory", "shebang", "-I", "elsewhere", "env"]
)
def test_however_it_is_started(ground: Ground, way: str) -> None:
    directory = ground.project()
    script = directory / "test.py"
    script.write_text(f"#!{ground.python}\n{SAY}\n")
    (directory / "__main__.py").write_text(SAY)
    script.chmod(0o755)
    plain = shlex.quote(str(ground.python))
    lines = {
        "-c": f"{plain} -c '{SAY}'",
        "-m": f"{plain} -X utf8 -m test",
        "stdin": f"{plain} - < test.py",
        "directory": f"{plain} .",
        "shebang": "./test.py",
        "-I": f"{plain} -I test.py",
        "elsewhere": f"cd / && {plain} {script}",
        "env": f"env -i {plain} test.py",
    }
    ended = ground.site.run("sh", "-c", lines[way], cwd=directory)
    assert ended.stdout == "1.0\n"


def test_a_script_with_an_inline_block(ground: Ground) -> None:
    ground.index.wheel("beta", "2.0")
    project = ground.project()
    script = project / "tool.py"
    script.write_text(
        '# /// script\n# dependencies = ["beta"]\n# ///\nimport beta, sys\nprint(beta.version)\n'
        "try:\n    import alpha\nexcept ModuleNotFoundError:\n    print('alone')\n"
    )
    assert ground.run("tool.py", cwd=project).stdout == "2.0\nalone\n"
    assert ground.run(script, cwd=ground.site.home).stdout == "2.0\nalone\n"
    # What it does is its own affair; what it asks for is not.
    script.write_text(script.read_text() + "print('edited')\n")
    assert ground.run(script, cwd=project).stdout == "2.0\nalone\nedited\n"
    assert len(ground.resolutions()) == 1
    script.write_text(script.read_text().replace('"beta"', '"beta", "alpha"'))
    assert ground.run(script, cwd=project).stdout == "2.0\nedited\n"
    assert len(ground.resolutions()) == 2


def test_the_project_itself_is_there_and_none_of_its_code_was_run(ground: Ground) -> None:
    directory = ground.site.project("package")
    (directory / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "package"\nversion = "3.1"\ndependencies = ["alpha"]\n'
        '[project.scripts]\npackaged = "package:main"\n'
    )
    (directory / "backend.py").write_text("open('ran', 'w')\n")
    (directory / "setup.py").write_text("open('ran', 'w')\n")
    (directory / "package.py").write_text("def main(): print('main')\n")
    ground.site.pkgview("trust", cwd=directory)
    code = "import package, alpha, importlib.metadata as m; print(m.version('package'))"
    ended = ground.run("-c", code, cwd=directory, PYTHONSAFEPATH="1")
    assert ended.stdout == "3.1\n"
    command = ground.site.places.mount / "bin/packaged"
    assert ground.site.run(command, cwd=directory).stdout == "main\n"
    assert not (directory / "ran").exists()


def test_directories_of_its_own_tree_are_there_as_their_files_say(ground: Ground) -> None:
    """Nobody is asked anything: what lies in the clone is the clone's, like the script itself."""
    directory = ground.project("-e ./lib\nalpha\n")
    (directory / "lib").mkdir()
    (directory / "lib/pyproject.toml").write_text(
        '[project]\nname = "lib"\nversion = "2"\ndependencies = ["alpha"]\n'
    )
    (directory / "lib/lib.py").write_text("what = 'before'\n")
    (directory / "test.py").write_text(
        "import alpha, lib, importlib.metadata as m; print(m.version('lib'), lib.what)"
    )
    ended = ground.run("test.py", cwd=directory)
    assert ended.stdout == "2 before\n"
    assert "yes" not in ended.stderr
    (directory / "lib/lib.py").write_text("what = 'after'\n")
    assert ground.run("test.py", cwd=directory).stdout == "2 after\n"
    # What only a build can tell is not built, and the view of before goes on.
    (directory / "lib/pyproject.toml").unlink()
    (directory / "lib/setup.py").write_text("open('../ran', 'w')\n")
    ended = ground.run("test.py", cwd=directory)
    assert ended.stdout == "2 after\n"
    assert "cannot be used without building it" in ended.stderr
    assert f"`pkgview up {directory}`" in ended.stderr
    assert not (directory / "ran").exists()
    # One that lies elsewhere waits for that at once: a yes alone would not do.
    other = ground.project("-e ../lib\n", "other")
    (directory / "lib").rename(other.parent / "lib")
    said = ground.run("-c", "", cwd=other).stderr
    assert "to use the option -e ../lib" in " ".join(said.split())
    assert f"`pkgview up {other}` allows it" in said
    assert "pkgview trust" not in said


BACK_END = """
import os, zipfile
def build_editable(directory, config_settings=None, metadata_directory=None):
    info = "lib-1.dist-info/"
    files = {"lib.py": "what = 'built'"}
    files[info + "METADATA"] = "Metadata-Version: 2.1\\nName: lib\\nVersion: 1"
    files[info + "WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any"
    files[info + "RECORD"] = "".join(f"{name},,\\n" for name in (*files, info + "RECORD"))
    with zipfile.ZipFile(os.path.join(directory, "lib-1-py3-none-any.whl"), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "lib-1-py3-none-any.whl"
"""


def test_a_yes_to_a_workspace_is_one_to_its_members(ground: Ground) -> None:
    root = ground.site.project("workspace")
    lib = root / "packages/lib"
    lib.mkdir(parents=True)
    head = '[project]\nname = "{}"\nversion = "1"\nrequires-python = ">=3.10"\n'
    (root / "pyproject.toml").write_text(
        head.format("top") + '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    )
    (lib / "pyproject.toml").write_text(head.format("lib") + 'dependencies = ["alpha"]\n')
    ground.site.uv("lock", "-q", cwd=root)
    ground.site.pkgview("mount", cwd=root)
    assert "No module" in ground.run("-I", "-c", SAY, cwd=lib, code=1).stderr
    ground.site.pkgview("up", cwd=root)
    assert ground.run("-I", "-c", SAY, cwd=lib).stdout == "1.0\n"
    ground.site.pkgview("trust", "--revoke", cwd=lib)
    assert "No module" in ground.run("-I", "-c", SAY, cwd=lib, code=1).stderr


def test_a_changed_lock_does_not_undo_what_up_has_built(ground: Ground) -> None:
    root = ground.site.project("workspace")
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["app", "lib"]\n')
    sources = "[tool.uv]\npackage = false\n[tool.uv.sources]\nlib = { workspace = true }\n"
    (root / "app").mkdir()
    (root / "lib").mkdir()
    (root / "lib/backend.py").write_text(BACK_END)
    (root / "lib/pyproject.toml").write_text(
        '[project]\nname = "lib"\nversion = "1"\nrequires-python = ">=3.10"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "app/test.py").write_text(
        "import lib\ntry: import alpha\nexcept ImportError: print(lib.what)\n"
        "else: print(lib.what, alpha.version)\n"
    )

    def locked(*dependencies: str) -> None:
        (root / "app/pyproject.toml").write_text(
            f'[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\n'
            f"dependencies = {list(dependencies)}\n{sources}"
        )
        ground.site.uv("lock", "-q", cwd=root)

    locked("lib")
    ended = ground.run("test.py", cwd=root / "app", code=1)
    assert "lib: backend may make more of it than its files" in ended.stderr
    assert f"`pkgview up {root / 'app'}`" in ended.stderr
    ground.site.pkgview("up", cwd=root / "app")
    for dependencies, said in (
        (["lib"], "built\n"),
        (["alpha", "lib"], "built 1.0\n"),
        (["lib"], "built\n"),
        (["lib", "alpha<2"], "built 1.0\n"),
    ):
        locked(*dependencies)
        ended = ground.run("test.py", cwd=root / "app")
        assert ended.stdout == said
        assert "pkgview up" not in ended.stderr


def test_twenty_at_once_are_one_resolution(ground: Ground) -> None:
    path = ground.heavy("beta", seconds=1.0)
    directory = ground.project("alpha\nbeta\n")
    programs = [ground.start("-c", "import alpha, beta; print(beta.version)", cwd=directory)
                for _ in range(20)]  # fmt: skip
    answers = [program.communicate(timeout=120) for program in programs]
    assert [stdout for stdout, _ in answers] == ["1.0\n"] * 20
    assert len(ground.resolutions()) == 1
    assert ground.index.asked.count(path) == 1
    assert not [stderr for _, stderr in answers if "rror" in stderr]


@pytest.mark.alone
def test_everybody_else_is_served_meanwhile(ground: Ground) -> None:
    ground.heavy("beta", seconds=2.0)
    other = ground.project(name="other")
    ground.run("-c", SAY, cwd=other)
    waiting = ground.start("-c", "import beta", cwd=ground.project("beta\n"))
    ground.await_request("/packages/beta-1.0-py3-none-any.whl")
    took = []
    while waiting.poll() is None:
        began = time.perf_counter()
        os.readlink(ground.site.places.mount / "current")
        took.append(time.perf_counter() - began)
        time.sleep(0.005)
    waiting.communicate()
    took.sort()
    assert len(took) > 50
    assert took[len(took) * 99 // 100] < 0.1


# What is shown


def test_a_terminal_shows_how_far_it_is(ground: Ground) -> None:
    ground.heavy(version="2.0")
    shown, status, _ = on_a_terminal(ground, "-c", SAY, cwd=ground.project())
    assert os.waitstatus_to_exitcode(status) == 0
    assert "\rpkgview: " in shown
    assert re.search(r"fetching 0 of 1 files, 0\.1 MB  \d s\x1b\[K", shown)
    # The line is taken away before the program says its first word.
    assert shown.endswith("\r\x1b[K2.0\r\n")
    assert "\n" not in shown[: shown.index("2.0\r\n")]


def test_elsewhere_a_few_plain_lines_do(ground: Ground) -> None:
    ground.heavy(version="2.0")
    directory = ground.project()
    ended = ground.run("-c", SAY, cwd=directory)
    lines = ended.stderr.splitlines()
    assert 2 <= len(lines) <= 5
    assert all(line.startswith("pkgview: ") for line in lines)
    assert str(directory) in lines[0]
    assert re.fullmatch(r"pkgview: done after \d+\.\d s", lines[-1])
    assert not set(ended.stderr) & {"\r", "\x1b"}


def test_what_is_quick_says_nothing(ground: Ground) -> None:
    ground.run("-c", SAY, cwd=ground.project())
    other = ground.project(name="other")
    (other / "pylock.toml").write_bytes(
        next((ground.site.places.state / "locks").glob("*/*.toml")).read_bytes()
    )
    ended = ground.run("-c", SAY, cwd=other)
    assert ended.stdout == "1.0\n"
    if ended.stderr:  # a machine that has more to do: it was not quick
        done = re.search(r"^pkgview: done after (\d+\.\d) s\n\Z", ended.stderr, re.MULTILINE)
        assert done is not None, ended.stderr
        assert float(done[1]) >= QUIET


def test_nobody_listens_on_stderr(ground: Ground) -> None:
    directory = ground.project("nosuchthing\n")
    line = f"{shlex.quote(str(ground.python))} -c 'print(1)' 2>&-"
    assert ground.site.run("sh", "-c", line, cwd=directory).stdout == "1\n"


# Being ended


def test_ctrl_c_ends_the_program_and_not_the_resolution(ground: Ground) -> None:
    path = ground.heavy(version="2.0")
    directory = ground.project()
    shown, status, seconds = on_a_terminal(
        ground, "-c", SAY, cwd=directory, interrupted=lambda: ground.await_request(path)
    )
    assert os.WTERMSIG(status) == signal.SIGINT
    assert seconds < 1
    assert "Traceback" not in shown
    assert ground.run("-c", SAY, cwd=directory).stdout == "2.0\n"
    assert ground.index.asked.count(path) == 1
    assert len(ground.resolutions()) == 1


def test_the_daemon_is_killed_meanwhile(ground: Ground, crash: Callable[[Places], None]) -> None:
    path = ground.heavy(version="2.0", seconds=30)
    directory = ground.project()
    program = ground.start("-c", "print('on')", cwd=directory)
    ground.await_request(path)
    crash(ground.site.places)
    stdout, stderr = program.communicate(timeout=20)
    assert (stdout, program.returncode) == ("on\n", 0)
    assert "`pkgview mount`" in stderr
    assert "Traceback" not in stderr
    # Nobody is left who works for nobody.
    assert gone(ground.await_resolution())
    ground.index.slow.clear()
    ground.site.pkgview("mount", cwd=directory)
    assert ground.run("-c", SAY, cwd=directory).stdout == "2.0\n"


@pytest.mark.usefixtures("supervised")
@pytest.mark.parametrize("how", ["killed", "upgraded"])
def test_the_server_is_replaced_meanwhile(ground: Ground, how: str) -> None:
    places = ground.site.places
    path = ground.heavy(version="2.0", seconds=30)
    directory = ground.project()
    program = ground.start("-c", SAY, cwd=directory)
    ground.await_request(path)
    first = ground.await_resolution()
    if how == "killed":
        _, server = endpoint_of(places, places.mount).pids()
        os.kill(server, signal.SIGKILL)
    else:
        ground.site.pkgview("upgrade", cwd=directory)
    deadline = time.monotonic() + 30
    while len(ground.resolutions()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert gone(first)
    ground.index.slow.clear()
    stdout, stderr = program.communicate(timeout=60)
    assert (stdout, program.returncode) == ("2.0\n", 0), stderr
    assert "`pkgview mount`" not in stderr


def test_unmounting_ends_the_resolution(ground: Ground) -> None:
    path = ground.heavy(version="2.0", seconds=30)
    program = ground.start("-c", "print('on')", cwd=ground.project())
    ground.await_request(path)
    ground.site.pkgview("umount", "--lazy", cwd=ground.site.home)
    os.kill(ground.resolutions()[-1], 0)
    with contextlib.suppress(ProcessLookupError):
        os.kill(ground.daemon(), signal.SIGTERM)
    program.communicate(timeout=20)
    assert gone(ground.await_resolution())


def test_a_resolution_is_killed(ground: Ground) -> None:
    path = ground.heavy(version="2.0", seconds=30)
    directory = ground.project()
    program = ground.start("-c", "print('on')", cwd=directory)
    ground.await_request(path)
    os.kill(ground.await_resolution(), signal.SIGKILL)
    stdout, stderr = program.communicate(timeout=20)
    assert stdout == "on\n"
    assert "SIGKILL" in stderr
    assert f"`pkgview up {directory}`" in stderr


# What cannot be had


def test_no_network(shop: Site, index: Index) -> None:
    shop.run(Path(sys.executable).with_name("pkgview"), "mount", cwd=shop.home,
             environ={"UV_DEFAULT_INDEX": CLOSED})  # fmt: skip
    ground = Ground(site=shop, index=index)
    directory = ground.project()
    ended = ground.run("-c", "print('on')", cwd=directory)
    assert ended.stdout == "on\n"
    assert ended.stderr.count("Check the network") == 1
    assert "The program goes on without them." in ended.stderr


def test_a_failure_is_said_once_and_remembered(ground: Ground) -> None:
    directory = ground.project("alpha\nnosuchthing\n")
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'print(1)']).args)"
    ended = ground.run("-c", code, cwd=directory)
    assert ended.stderr.count("nosuchthing was not found") == 1
    assert f"`pkgview up {directory}`" in ended.stderr
    asked = len(ground.index.asked)
    for _ in range(3):
        assert "nosuchthing" in ground.run("-c", "print(1)", cwd=directory).stderr
    assert len(ground.index.asked) == asked
    assert len(ground.resolutions()) == 1
    # Until what it came from is another.
    (directory / "requirements.txt").write_text("alpha\n")
    assert ground.run("-c", SAY, cwd=directory).stdout == "1.0\n"


def test_what_would_have_to_be_built_is_named_and_not_built(ground: Ground) -> None:
    setup = b"open(%r, 'w')\nfrom setuptools import setup\nsetup(name='gamma', version='1.0')\n"
    marker = ground.site.home / "built"
    content = setup % str(marker)
    with tarfile.open(ground.index.directory / "gamma-1.0.tar.gz", "w:gz") as archive:
        for name, data in (
            ("setup.py", content),
            ("PKG-INFO", b"Metadata-Version: 2.1\nName: gamma\nVersion: 1.0\n"),
        ):
            member = tarfile.TarInfo(f"gamma-1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    directory = ground.project("gamma\n")
    ended = ground.run("-c", "print('on')", cwd=directory)
    assert ended.stdout == "on\n"
    assert "gamma" in ended.stderr
    assert f"`pkgview up {directory}`" in ended.stderr
    assert not marker.exists()


def test_files_that_cannot_be_read(ground: Ground) -> None:
    directory = ground.site.project("broken")
    (directory / "pyproject.toml").write_text("[project\n")
    ended = ground.run("-c", "print('on')", cwd=directory)
    assert ended.stdout == "on\n"
    assert "not valid TOML" in ended.stderr


# What has changed since


def test_an_edit_counts_for_the_next_start(ground: Ground) -> None:
    directory = ground.project()
    ground.run("-c", SAY, cwd=directory)
    ground.index.wheel("beta", "2.0")
    (directory / "requirements.txt").write_text("alpha\nbeta\n")
    code = "import alpha, beta; print(beta.version)"
    assert ground.run("-c", code, cwd=directory).stdout == "2.0\n"
    # The same bytes again are no edit.
    asked = len(ground.index.asked)
    (directory / "requirements.txt").touch()
    assert ground.run("-c", code, cwd=directory).stderr == ""
    assert len(ground.index.asked) == asked


def test_what_cannot_be_made_anew_runs_as_before(ground: Ground) -> None:
    directory = ground.project()
    before = ground.run("-c", "import alpha, sys; print(sys.prefix)", cwd=directory).stdout
    (directory / "requirements.txt").write_text("alpha\nnosuchthing\n")
    ended = ground.run("-c", "import alpha, sys; print(sys.prefix)", cwd=directory)
    assert ended.stdout == before
    assert "nosuchthing" in ended.stderr
    assert "The program goes on with the packages of before." in ended.stderr


def test_an_edited_lock_counts(ground: Ground) -> None:
    ground.index.wheel("alpha", "2.0")
    directory = ground.project("alpha<2\n")
    ground.site.pkgview("lock", cwd=directory)
    assert ground.run("-c", SAY, cwd=directory).stdout == "1.0\n"
    (directory / "requirements.txt").write_text("alpha\n")
    ground.site.pkgview("lock", "--upgrade", cwd=directory)
    assert ground.run("-c", SAY, cwd=directory).stdout == "2.0\n"


def test_what_was_asked_for_besides_stays(ground: Ground) -> None:
    ground.index.wheel("beta", "2.0")
    directory = ground.site.project("package")
    text = '[project]\nname = "package"\nversion = "1"\ndependencies = ["alpha"]\n'
    text += '[project.optional-dependencies]\nmore = ["beta"]\n'
    (directory / "pyproject.toml").write_text(text)
    ground.site.pkgview("up", "--extra", "more", "--no-link", cwd=directory)
    code = "import alpha, beta; print(beta.version)"
    assert ground.run("-c", code, cwd=directory).stdout == "2.0\n"
    assert ground.resolutions() == []
    (directory / "pyproject.toml").write_text(text + "# edited\n")
    assert ground.run("-c", code, cwd=directory).stdout == "2.0\n"
    assert len(ground.resolutions()) == 1


def test_commands_and_running_programs_meanwhile(ground: Ground) -> None:
    ground.index.wheel("tool", files={"tool.py": b"def main():\n    import alpha\n"
                       b"    print(alpha.version)\n"}, scripts=["tool = tool:main"])  # fmt: skip
    directory = ground.project("alpha\ntool\n")
    ground.site.pkgview("trust", cwd=directory)
    assert ground.run("-m", "tool", cwd=directory).stdout == ""
    command = ground.site.places.mount / "bin/tool"
    code = """
import alpha, sys
print(sys.prefix, flush=True)
sys.stdin.read()
import os, tool
print(os.path.realpath(tool.__file__))
"""
    running = subprocess.Popen(
        [ground.python, "-c", code], cwd=directory, env=ground.site.environ,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    prefix = running.stdout.readline().strip()
    path = ground.heavy(version="2.0", seconds=1)
    (directory / "requirements.txt").write_text("alpha>=2\ntool\n")
    # A shell still finds the command; the command is a Python, which waits for the new view.
    assert ground.site.run(command, cwd=directory).stdout == "2.0\n"
    assert ground.index.asked.count(path) == 1
    stdout, _ = running.communicate("")
    assert stdout.startswith(prefix)


# Which Python


@pytest.mark.parametrize("python", ["3.12", "3.13"])
@pytest.mark.parametrize("place", ["there", "elsewhere"])
def test_the_python_that_the_project_wants(ground: Ground, python: str, place: str) -> None:
    other = available(ground, python)
    directory = ground.project()
    (directory / ".python-version").write_text(f"{python}\n")
    script = directory / "test.py"
    script.write_text(f"import sys\n{SAY}\nprint('%d.%d' % sys.version_info[:2], sys.argv[1:])\n")
    ended = ground.run(script, "x", cwd=directory if place == "there" else Path("/"))
    assert ended.stdout == f"1.0\n{other} ['x']\n"
    assert "Traceback" not in ended.stderr
    assert "Could not find platform" not in ended.stderr


def test_a_python_that_is_not_there(ground: Ground) -> None:
    directory = ground.site.project("future")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "future"\nversion = "1"\nrequires-python = ">=3.90"\n'
    )
    ended = ground.run("-c", "print('on')", cwd=directory)
    assert ended.stdout == "on\n"
    assert "needs Python >=3.90" in ended.stderr


# Whom it may come from


def test_a_project_that_others_may_write_to(ground: Ground) -> None:
    directory = ground.project()
    directory.chmod(0o777)
    code = "print('on')\nimport alpha\n"
    ended = ground.run("-c", code, cwd=directory, code=1)
    assert ended.stdout == "on\n"
    assert ended.stderr.count(f"`pkgview trust {directory}`") == 1
    assert ended.stderr.count("everybody may write") == 1
    assert ground.resolutions() == []
    ground.site.pkgview("trust", cwd=directory)
    ended = ground.run("-c", SAY, cwd=directory)
    assert ended.stdout == "1.0\n"
    assert json.loads(ground.site.pkgview("trust", "--list", "--json", cwd=directory).stdout) == [
        {"project": str(directory), "objection": None, "choices": []}
    ]
    if os.geteuid() == 0:
        # Worse than what was agreed to.
        os.chown(directory / "requirements.txt", 65534, -1)
        ended = ground.run("-c", code, cwd=directory, code=1)
        assert "belongs to user 65534" in ended.stderr
        os.chown(directory / "requirements.txt", 0, -1)
        assert ground.run("-c", SAY, cwd=directory).stdout == "1.0\n"
    ground.site.pkgview("trust", "--revoke", cwd=directory)
    assert "pkgview trust" in ground.run("-c", code, cwd=directory, code=1).stderr
    refused = ground.site.pkgview("trust", "--revoke", cwd=directory, code=1)
    assert "is not trusted" in refused.stderr
    directory.chmod(0o755)
    said = ground.site.pkgview("trust", cwd=directory).stderr
    assert said == f"{directory} is trusted from now on.\n"


def test_an_asker_is_not_believed(ground: Ground) -> None:
    """The socket gives whoever asks what the rules give that process, whatever it says."""
    code = """
from resolver.places import Places
from resolver.errors import PkgviewError
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
import sys
places = Places.from_environ()
endpoint = endpoint_of(places, places.mount)
print(client.ask(endpoint, "resolve", python="3.11", project=sys.argv[1], restarts=1))
for python in (None, 3, "../../etc", "3.11\\n", "4" * 10000):
    try:
        print(client.ask(endpoint, "resolve", python=python))
    except PkgviewError as error:
        assert "version" in str(error)
"""
    ended = ground.site.run(sys.executable, "-c", code, ground.project(), cwd=Path("/"))
    assert ended.stdout == "{'view': None, 'notice': None}\n"
    assert ground.resolutions() == []


def available(ground: Ground, python: str) -> str:
    try:
        find_interpreter(None, python, ground.site.places.state, environ=ground.site.environ)
    except PkgviewError as error:
        pytest.skip(str(error))
    return python


def on_a_terminal(
    ground: Ground, *arguments: str, cwd: Path, interrupted: object = None
) -> tuple[str, int, float]:
    """What a terminal shows, the wait status, and seconds since the interrupt (or the start)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        environ = {**ground.site.environ, "TERM": "xterm"}
        os.execve(ground.python, [str(ground.python), *arguments], environ)  # noqa: S606 - on a pty
    began = time.monotonic()
    if callable(interrupted):
        interrupted()
        time.sleep(0.7)
        began = time.monotonic()
        os.write(terminal, b"\x03")
    shown = b"".join(read(terminal))
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return shown.decode(), status, time.monotonic() - began


def read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: the last one has left
            return
        if not part:
            return
        yield part
