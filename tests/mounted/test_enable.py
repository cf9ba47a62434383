"""A Python that is installed anyway, after `pkgview enable`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.python.discovery import find_interpreter
from unionfs.control.endpoint import endpoint_of
from unionfs.environment import taught

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

SAY = "import alpha; print(alpha.version)"
TELL = """
import json, os, site, sys
seen = {name: getattr(sys, name) for name in ("path", "prefix", "exec_prefix", "executable")}
try:
    import alpha
    seen["alpha"] = os.path.realpath(alpha.__file__)
except ModuleNotFoundError:
    seen["alpha"] = None
seen["path"] = [path and os.path.realpath(path) for path in sys.path]
seen["site"] = [site.PREFIXES, site.ENABLE_USER_SITE]
seen["modules"] = sorted(name for name in sys.modules if "pkgview" in name)
print(json.dumps(seen))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A home with one Python enabled, and a project."""

    site: Site
    index: Index
    python: str
    """The interpreter's own path."""
    version: str
    project: Path

    def run(
        self, *arguments: str | Path, cwd: Path, code: int | None = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return self.site.run(self.python, *arguments, cwd=cwd, code=code, environ=environ)

    def tell(self, *options: str, cwd: Path, **environ: str) -> dict[str, Any]:
        ended = self.run(*options, "-c", TELL, cwd=cwd, code=0, **environ)
        assert ended.stderr == ""
        said: dict[str, Any] = json.loads(ended.stdout)
        return said

    @property
    def views(self) -> str:
        return f"{self.site.places.mount}/views/"

    def seconds(self, *arguments: str, cwd: Path) -> float:
        began = time.monotonic()
        ended = self.run(*arguments, cwd=cwd)
        assert (ended.stdout, ended.stderr) == ("on\n", "")
        return time.monotonic() - began


@pytest.fixture(params=["3.11", "3.12", "3.13"])
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def enabled(shop: Site, index: Index, version: str) -> Ground:
    index.wheel("alpha")
    try:
        found = find_interpreter(None, version, shop.places.state, environ=shop.environ)
    except PkgviewError as error:
        pytest.skip(str(error))
    shop.pkgview("enable", "--python", found.executable, cwd=shop.home)
    project = shop.project("project")
    (project / "requirements.txt").write_text("alpha\n")
    shop.pkgview("trust", cwd=project)
    return Ground(site=shop, index=index, python=found.executable, version=version, project=project)


@pytest.fixture
def ground(shop: Site, index: Index, version: str) -> Ground:
    """One for each Python."""
    return enabled(shop, index, version)


@pytest.fixture
def one(shop: Site, index: Index) -> Ground:
    """For what does not depend on the Python."""
    system = "/usr/bin/python3.11" if Path("/usr/bin/python3.11").exists() else "3.11"
    return enabled(shop, index, system)


def test_in_a_project_it_is_what_its_view_is(ground: Ground) -> None:
    made = ground.run("-c", SAY, cwd=ground.project)
    assert made.stdout == "1.0\n"
    plain = ground.tell(cwd=ground.project)
    assert plain["prefix"].startswith(ground.views)
    by_view = ground.site.run(
        f"{plain['prefix']}/bin/python", "-c", TELL, cwd=ground.project
    ).stdout
    expected = json.loads(by_view)
    shared = ("path", "prefix", "exec_prefix", "executable", "alpha", "site")
    assert {name: plain[name] for name in shared} == {name: expected[name] for name in shared}
    # Started from anywhere, by its script.
    script = ground.project / "test.py"
    script.write_text(SAY)
    assert ground.run(script, cwd=Path("/")).stdout == "1.0\n"


def test_everywhere_else_it_is_what_it_was(ground: Ground) -> None:
    now = ground.tell(cwd=ground.site.home)
    assert ground.version in now["executable"]
    assert now["modules"] == ["_pkgview_enable"]
    userbase = ground.site.home / "other"
    packages = f"lib/python{ground.version}/site-packages"
    (userbase / packages).mkdir(parents=True)
    before = ground.tell(cwd=ground.site.home, PYTHONUSERBASE=str(userbase))
    assert before["modules"] == []
    ours, theirs = str(ground.site.home / ".local" / packages), str(userbase / packages)
    assert now["path"] == [ours if path == theirs else path for path in before["path"]]
    for name in ("prefix", "exec_prefix", "executable", "site"):
        assert now[name] == before[name]


def test_who_wants_no_user_site_is_left_alone(ground: Ground) -> None:
    ground.run("-c", SAY, cwd=ground.project)
    for option in ("-I", "-s", "-E", "-S"):
        seen = ground.tell(option, cwd=ground.project)
        assert seen["alpha"] is None
        assert not seen["prefix"].startswith(ground.views)
    environment = ground.site.home / "environment"
    ground.run("-m", "venv", "--without-pip", "--system-site-packages", environment, cwd=Path("/"))
    ended = ground.site.run(environment / "bin/python", "-c", TELL, cwd=ground.project)
    seen = json.loads(ended.stdout)
    assert (seen["prefix"], seen["modules"], seen["alpha"]) == (str(environment), [], None)


def test_children_are_what_their_parent_is(one: Ground) -> None:
    (one.project / "test.py").write_text(
        "import alpha, concurrent.futures as f, multiprocessing as m, os, subprocess, sys\n"
        "def version(_):\n    import alpha\n    return alpha.version\n"
        "if __name__ == '__main__':\n"
        "    os.chdir('/')\n"
        "    for method in ('spawn', 'forkserver', 'fork'):\n"
        "        with f.ProcessPoolExecutor(1, m.get_context(method)) as pool:\n"
        "            print(*pool.map(version, [1]))\n"
        f"    subprocess.run([sys.executable, '-c', {SAY!r}], check=True)\n"
    )
    ended = one.run(one.project / "test.py", cwd=one.site.home)
    assert ended.stdout.split() == ["1.0"] * 4


def test_an_installed_tool_keeps_its_own_packages(one: Ground) -> None:
    """Whatever lies around or above it is a project, and whoever is bound to one."""
    one.run("-c", SAY, cwd=one.project)
    base = one.site.home / ".local"
    packages = base / "lib/python3.11/site-packages"
    (packages / "mine.py").write_text("import sys\nprint('own', sys.prefix == sys.base_prefix)\n")
    # Some wheels bring such a file; and many a home is a project.
    (packages / "pyproject.toml").write_text('[project]\nname = "wheel"\nversion = "1"\n')
    (one.site.home / "requirements.txt").write_text("alpha\n")
    one.site.pkgview("up", "--no-link", "--python", one.python, cwd=one.site.home)
    tool = base / "bin/tool"
    tool.parent.mkdir()
    tool.write_text(f"#!{one.python}\nimport mine\n")
    tool.chmod(0o755)
    (one.project / "tool").symlink_to(tool)
    for script in (tool, one.project / "tool", packages / "mine.py"):
        for bound in ("", str(one.project)):
            ended = one.run(script, cwd=one.project, PKGVIEW_PROJECT=bound)
            assert (ended.stdout, ended.stderr) == ("own True\n", "")
    ended = one.site.pkgview("run", "--", tool, cwd=one.project)
    assert (ended.stdout, ended.stderr) == ("own True\n", "")
    # And so do the interpreters that it works with.
    (packages / "mine.py").write_text(
        "import subprocess, sys, multiprocessing as m\n"
        "def say(): print('own', sys.prefix == sys.base_prefix, flush=True)\n"
        "def main():\n"
        "    subprocess.run([sys.executable, '-c', 'import mine; mine.say()'], check=True)\n"
        "    child = m.get_context('spawn').Process(target=say)\n"
        "    child.start(); child.join()\n"
    )
    tool.write_text(f"#!{one.python} -B\nimport mine\nif __name__ == '__main__': mine.main()\n")
    assert one.site.run(tool, cwd=one.project).stdout == "own True\n" * 2
    # A project's script that somebody has linked to is still the project's.
    (one.project / "script.py").write_text(SAY)
    (base / "bin/script").symlink_to(one.project / "script.py")
    assert one.run(base / "bin/script", cwd=one.site.home).stdout == "1.0\n"
    assert one.run("-m", "pip", "--version", cwd=one.project).stdout.startswith("pip ")


def test_a_script_with_an_inline_block(one: Ground) -> None:
    one.index.wheel("beta", "2.0")
    script = one.site.home / "script.py"
    script.write_text(
        '# /// script\n# dependencies = ["beta"]\n# ///\nimport beta\nprint(beta.version)\n'
    )
    link = one.site.home / "link"
    link.symlink_to(script)
    assert one.run(script, cwd=Path("/")).stdout == "2.0\n"
    assert one.run(link, cwd=Path("/")).stdout == "2.0\n"


def test_what_cannot_be_resolved_runs_as_ever(one: Ground) -> None:
    directory = one.site.project("broken")
    (directory / "requirements.txt").write_text("nosuchthing\n")
    one.site.pkgview("trust", cwd=directory)
    ended = one.run("-c", TELL, cwd=directory)
    seen = json.loads(ended.stdout)
    assert ended.stderr.count("nosuchthing was not found") == 1
    assert "The program goes on as if it had no project." in ended.stderr
    elsewhere = one.tell(cwd=one.site.home)
    for name in ("path", "prefix", "executable", "site"):
        assert seen[name] == elsewhere[name]


def test_a_python_that_the_project_does_not_want(one: Ground) -> None:
    directory = one.site.project("newer")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "newer"\nversion = "1"\nrequires-python = ">=3.12"\n'
    )
    one.site.pkgview("trust", cwd=directory)
    ended = one.run("-c", "print('on')", cwd=directory)
    assert ended.stdout == "on\n"
    assert "needs Python >=3.12, and this is 3.11" in ended.stderr
    assert str(one.site.places.mount / "bin/python") in ended.stderr


def test_another_python_changes_nothing_for_others(one: Ground) -> None:
    """A view that a program's own Python had made is for that Python."""
    directory, site = one.site.project("wants"), one.site
    if site.pkgview("lock", "--python", "3.12", cwd=one.project, code=None).returncode:
        pytest.skip("there is no Python 3.12")
    (one.project / "pylock.toml").unlink()
    (directory / ".python-version").write_text("3.12\n")
    (directory / "requirements.txt").write_text("alpha\n")
    site.pkgview("trust", cwd=directory)
    minor = ("-c", "import sys; print(sys.version_info[1])")
    mount = site.places.mount

    def shown() -> list[str]:
        """The Python of the mount, of the project's view, and of its directory."""
        by_shell = site.run("sh", "-c", 'exec "$0" "$@"', mount / "bin/python", *minor,
                            cwd=directory).stdout.strip()  # fmt: skip
        view = json.loads(site.pkgview("view", "--json", cwd=directory).stdout)
        (named,) = (mount / "projects").glob("wants-*")
        return [by_shell, view["target"]["version"], *os.listdir(named / "lib")]

    # Before there has been any `up`, and after one.
    assert one.run(*minor, cwd=directory).stdout == "11\n"
    assert shown() == ["12", "3.12", "python3.12"]
    site.pkgview("up", cwd=directory)
    link = os.readlink(directory / ".venv")
    for requirements in ("alpha\n", "alpha # again\n"):
        (directory / "requirements.txt").write_text(requirements)
        assert one.run("-c", SAY, cwd=directory).stdout == "1.0\n"
        assert shown() == ["12", "3.12", "python3.12"]
    assert os.readlink(directory / ".venv") == link
    assert " ~ Python" not in site.pkgview("up", cwd=directory).stderr
    # Whoever wants that one as the project's own says so.
    site.pkgview("up", "--python", one.python, cwd=directory)
    assert shown()[1:] == ["3.11", "python3.11"]


def test_a_project_that_is_not_trusted(one: Ground) -> None:
    one.project.chmod(0o777)
    ended = one.run("-c", "print('on')", cwd=one.project)
    assert ended.stdout == "on\n"
    assert ended.stderr.count(f"`pkgview trust {one.project}`") == 1


def test_a_view_that_is_named(one: Ground) -> None:
    one.run("-c", SAY, cwd=one.project)
    prefix = one.tell(cwd=one.project)["prefix"]
    assert one.tell(cwd=Path("/"), PKGVIEW_VIEW=Path(prefix).name)["prefix"] == prefix
    assert one.tell(cwd=Path("/"), PKGVIEW_PROJECT=str(one.project))["prefix"] == prefix
    # One for another Python is none.
    other = one.site.pkgview(
        "up", "--python", sys.executable, "--no-link", "--json", cwd=one.project
    )
    named = json.loads(other.stdout)
    if named["target"]["version"] != "3.11":
        assert one.tell(cwd=Path("/"), PKGVIEW_VIEW=named["view"])["alpha"] is None


def test_a_process_bound_by_hand(one: Ground) -> None:
    code = f"""
import subprocess, sys
print("up", flush=True)
sys.stdin.read()
subprocess.run([sys.executable, "-c", {SAY!r}])
"""
    one.run("-c", SAY, cwd=one.project)
    process = subprocess.Popen(
        [one.python, "-c", code], cwd="/", env=one.site.environ, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    one.site.pkgview(
        "bind", "--pid", str(process.pid), "--project", str(one.project), cwd=one.project
    )
    stdout, stderr = process.communicate("", timeout=60)
    assert stdout == "1.0\n", stderr


def test_nothing_is_there_to_ask(one: Ground, crash: Callable[[Places], None]) -> None:
    one.run("-c", SAY, cwd=one.project)
    one.site.pkgview("umount", cwd=one.site.home)
    assert one.seconds("-c", "print('on')", cwd=one.project) < 1
    # Killed: the socket is still there, and nobody behind it.
    one.site.pkgview("mount", cwd=one.site.home)
    crash(one.site.places)
    assert one.seconds("-c", "print('on')", cwd=one.project) < 1


def test_a_daemon_that_hangs(one: Ground) -> None:
    one.run("-c", SAY, cwd=one.project)
    daemon = endpoint_of(one.site.places, one.site.places.mount).pids()
    for pid in daemon:  # whoever would do something about it first
        os.kill(pid, signal.SIGSTOP)
    try:
        assert one.seconds("-c", "print('on')", cwd=one.site.home) < 0.9
        assert 0.9 < one.seconds("-c", "print('on')", cwd=one.project) < 5
        # The next ones know.
        assert one.seconds("-c", "print('on')", cwd=one.project) < 0.9
    finally:
        for pid in daemon:
            os.kill(pid, signal.SIGCONT)


def test_disable_leaves_nothing(ground: Ground) -> None:
    root = ground.site.home / ".local/lib"
    assert len([path for path in root.rglob("*") if path.is_file()]) == 5
    names = taught(ground.version, mount="", socket="", bound="")
    assert {path.name for path in root.rglob("*pkgview*") if path.suffix != ".pyc"} == set(names)
    ended = ground.site.pkgview("disable", "--json", cwd=ground.site.home)
    assert len(json.loads(ended.stdout)) == 1
    assert not [path for path in root.rglob("*") if path.is_file()]
    assert ground.tell(cwd=ground.project)["alpha"] is None
    again = ground.site.pkgview("disable", cwd=ground.site.home)
    assert "Nothing was enabled" in again.stderr


def test_others_files_stay(one: Ground) -> None:
    packages = one.site.home / ".local/lib/python3.11/site-packages"
    (packages / "mine.py").write_text("")
    one.site.pkgview("disable", "--python", one.python, cwd=one.site.home)
    assert [path.name for path in packages.iterdir()] == ["mine.py"]


def test_a_user_site_that_is_not_used(shop: Site) -> None:
    command = Path(sys.executable).with_name("pkgview")
    ended = shop.run(command, "enable", cwd=shop.home, code=1, environ={"PYTHONNOUSERSITE": "1"})
    assert "PYTHONNOUSERSITE" in ended.stderr
    assert not (shop.home / ".local/lib").exists()


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_the_line_for_a_shell(
    shop: Site, index: Index, shell: str, needs: Callable[..., None]
) -> None:
    code = b"def main():\n    print('tool')\n"
    index.wheel("tool", files={"tool.py": code}, scripts=["tool = tool:main"])
    project = shop.project("project")
    (project / "requirements.txt").write_text("tool\n")
    shop.pkgview("trust", cwd=project)
    command = Path(sys.executable).with_name("pkgview")
    line = shop.run(
        command, "enable", "--shell", cwd=shop.home, environ={"SHELL": f"/bin/{shell}"}
    ).stdout
    assert line.count("\n") == 1
    needs(shell)
    shop.run(shell, "-c", line, cwd=shop.home)
    deadline = time.monotonic() + 20
    while not (shop.places.mount / "bin").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    used = f"{line}\npython -c 'print(1)'\ntool"
    ended = shop.run(shell, "-c", used, cwd=project)
    assert ended.stdout == "1\ntool\n"
    assert shlex.quote(str(shop.places.mount / "bin")) in line
    profile = shop.home / ".profile"
    profile.write_text(f"umask 022\n{line}echo on\n")
    shop.pkgview("disable", cwd=shop.home)
    assert profile.read_text() == "umask 022\necho on\n"


def test_what_others_could_replace_is_not_run_by_shells(shop: Site, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)
    environ = {"PKGVIEW_MOUNT": os.fspath(above / "own/mount")}
    for what in (["--shell", "bash"], ["--service"]):
        said = shop.pkgview("enable", *what, cwd=shop.home, environ=environ, code=1).stderr
        assert f"others could put something else in the place of {above}/own/mount" in said
    assert not (shop.home / ".bashrc").exists()


def test_a_shell_follows_the_project(shop: Site, index: Index, needs: Callable[..., None]) -> None:
    needs("bash", "zsh", "fish", "direnv")
    code = b"def main():\n    print('tool')\n"
    index.wheel("tool", files={"tool.py": code}, scripts=["tool = tool:main"])
    index.wheel("alpha")
    made, other = shop.project("made"), shop.project("other")
    for project in (made, other):
        (project / "requirements.txt").write_text("tool\n")
    (made / "sub").mkdir()
    shop.pkgview("up", cwd=made)
    shop.pkgview("enable", "--shell", "bash", cwd=shop.home)
    shop.pkgview("enable", "--shell", "bash", cwd=shop.home)
    shop.pkgview("enable", "--shell", "zsh", cwd=shop.home)
    shop.pkgview("enable", "--shell", "fish", cwd=shop.home)
    assert len((shop.home / ".bashrc").read_text().splitlines()) == 1
    typed = """
        echo ,none,"$VIRTUAL_ENV",(command -v tool || echo)
        cd ~/made
        echo ,made,"$VIRTUAL_ENV",(command -v tool || echo)
        tool
        echo alpha >>requirements.txt
        cd /
        cd ~/made/sub
        python -c 'import alpha; print(alpha.version)'
        echo ,sub,$VIRTUAL_ENV,$VIRTUAL_ENV_PROMPT
        cd ~/other
        echo ,other,"$VIRTUAL_ENV",(command -v tool || echo)
        pkgview trust
        emit fish_prompt
        echo ,agreed,"$VIRTUAL_ENV",(command -v tool || echo)
        cd ~
        echo ,left,"$VIRTUAL_ENV",(command -v tool || echo)
        cd ~/made
        echo ,edited,"$VIRTUAL_ENV",(command -v tool || echo)
        pkgview up
        emit fish_prompt
        echo ,linked,"$VIRTUAL_ENV",(command -v tool || echo)
        . .venv/bin/activate
        emit fish_prompt
        echo ,activated,"$VIRTUAL_ENV",(command -v tool || echo)
        cd ~/other
        echo ,elsewhere,"$VIRTUAL_ENV",(command -v tool || echo)
        cd ~/made
        deactivate
        emit fish_prompt
        echo ,deactivated,"$VIRTUAL_ENV",(command -v tool || echo)
        . .venv/bin/activate
        emit fish_prompt
        cd ~
        deactivate
        echo ,outside,"$VIRTUAL_ENV",(command -v tool || echo)
        cd ~/made
        pkgview down
        emit fish_prompt
        echo ,down,"$VIRTUAL_ENV",(command -v tool || echo)
        exit
    """
    command = Path(sys.executable).with_name("pkgview")
    mount, venv = shop.places.mount, made / ".venv"
    for shell in ("bash", "zsh", "fish"):
        (made / "requirements.txt").write_text("tool\n")
        shop.pkgview("up", cwd=made)
        text = typed.replace(" pkgview ", f" {command} ")
        if shell == "fish":
            text = text.replace("bin/activate", "bin/activate.fish")
        else:
            text = text.replace("(command", "$(command").replace("emit fish_prompt", "")
        ended = subprocess.run(
            [shell, "-i"], cwd=shop.home, env=shop.environ, input=text, text=True,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        lines = ended.stdout.splitlines()
        # A prompt may stand before what is printed.
        said = dict(
            line[line.index(",") + 1 :].split(",", 1) for line in lines if line.count(",") == 3
        )
        assert said == {
            "none": ",",
            "made": f"{venv},{mount}/bin/tool",
            # The view has changed since `.venv` was linked.
            "sub": f"{mount},made",
            "other": ",",
            "agreed": f"{mount},{mount}/bin/tool",
            "left": ",",
            "edited": f"{mount},{mount}/bin/tool",
            "linked": f"{venv},{mount}/bin/tool",
            "activated": f"{venv},{venv}/bin/tool",
            "elsewhere": f"{venv},{venv}/bin/tool",
            "deactivated": f"{venv},{mount}/bin/tool",
            "outside": ",",
            "down": f"{mount},{mount}/bin/tool",
        }, (shell, ended)
        assert [line for line in lines if line.endswith(("tool", "1.0")) and "," not in line]
        assert ended.stderr.count("you have not said yes to it") == 1
        shop.pkgview("trust", "--revoke", cwd=other)
    # direnv: what it may read is no yes to what the project lists.
    shop.pkgview("enable", "--shell", "direnv", cwd=shop.home)
    for project, found in ((made, f"{mount}/bin/tool\n"), (other, "")):
        (project / ".envrc").write_text("use pkgview\n")
        shop.run("direnv", "allow", cwd=project)
        shows = shop.run(
            "direnv", "exec", ".", "sh", "-c", "command -v tool", cwd=project, code=None
        )
        assert shows.stdout == found
        assert ("you have not said yes to it" in shows.stderr) == (not found)
    # It follows at the next prompt, too.
    new = shop.project("new")
    (new / "requirements.txt").write_text("tool\n")
    (new / ".envrc").write_text("use pkgview\n")
    shop.run("direnv", "allow", cwd=new)
    say = 'echo ",$VIRTUAL_ENV,$(command -v tool)"\n'
    ended = subprocess.run(
        ["bash", "--norc", "-i"], cwd=new, env=shop.environ, text=True, check=False, timeout=120,
        input=f'eval "$(direnv hook bash)"\n\n{say}{command} trust\n{say}{command} up\n{say}'
        f"{command} down\n{say}exit\n", capture_output=True,
    )  # fmt: skip
    assert [line[line.index(",") :] for line in ended.stdout.splitlines() if "," in line] == [
        ",,", f",{mount},{mount}/bin/tool", f",{new}/.venv,{mount}/bin/tool",
        f",{mount},{mount}/bin/tool",
    ], ended  # fmt: skip
    changed = json.loads(shop.pkgview("disable", "--json", cwd=shop.home).stdout)
    assert len(changed) == 8
    left = {path.name for path in shop.home.iterdir()}
    assert not left & {".bashrc", ".zshrc"}, "they were made for that line"
