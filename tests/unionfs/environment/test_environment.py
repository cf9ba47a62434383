"""The skeleton of a view, run by real interpreters, shells and pips.

Views here are plain directories, laid out as the mount lays them out: `<mount>/views/<id>`, the
mount's own links through `<mount>/current`, and `.venv` of a project.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.python.target import Python, Schemes
from unionfs.environment import PIN_FILE, skeleton
from unionfs.environment.skeleton import own_version

if TYPE_CHECKING:
    from unionfs.store.generated import GeneratedFile

PIPS = ("23.0.1", "24.0", "25.3", "26.0")


def schemes(version: str) -> Schemes:
    site = f"lib/python{version}/site-packages"
    return Schemes(
        purelib=site, platlib=site, scripts="bin", headers=f"include/site/python{version}", data=""
    )


def python(version: str, executable: str) -> Python:
    return Python(version=version, executable=executable, schemes=schemes(version))


@dataclass(frozen=True)
class Interpreter:
    version: str
    full_version: str
    executable: str

    def __str__(self) -> str:
        return self.version


@functools.cache
def interpreters() -> list[Interpreter]:
    """One working interpreter a version from 3.11, wherever people keep them."""
    candidates = [getattr(sys, "_base_executable", sys.executable)]
    for minor in range(11, 20):
        candidates += [found] if (found := shutil.which(f"python3.{minor}")) else []
        candidates += map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"))
    known: dict[str, Interpreter] = {}
    code = (
        "import sys, os, json; print(json.dumps(['%d.%d' % sys.version_info[:2] + "
        "('t' if 't' in sys.abiflags else ''), '.'.join(map(str, sys.version_info[:3])),"
        " os.path.realpath(sys._base_executable)]))"
    )
    for candidate in candidates:
        answer = subprocess.run(
            [candidate, "-I", "-c", code], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            version, full_version, executable = json.loads(answer.stdout)
            known.setdefault(version, Interpreter(version, full_version, executable))
    return list(known.values())


@pytest.fixture(params=interpreters(), ids=str)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    found: Interpreter = request.param
    return found


@dataclass(frozen=True)
class Laid:
    """A mount with one view, and a project whose `.venv` is that view."""

    mount: Path
    view: Path
    project: Path
    interpreter: Interpreter

    @property
    def site(self) -> str:
        return f"lib/python{self.interpreter.version}/site-packages"

    def run(
        self, program: Path | str, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return subprocess.run(
            [str(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.project,
            env=env | {"HOME": str(self.project)} | environ,
        )

    def ask(self, program: Path | str, expression: str, *options: str) -> object:
        """What `expression` is in that interpreter, which must not complain about anything."""
        code = f"import json, sys, os; print(json.dumps({expression}))"
        done = self.run(program, *options, "-c", code)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)


def write(files: list[GeneratedFile], where: Python, root: Path) -> None:
    """Lay a skeleton out as the view does: each scheme at its place."""
    places = {
        "scripts": where.schemes.scripts,
        "data": where.schemes.data,
        "purelib": where.schemes.purelib,
    }
    for file in files:
        scheme, _, rest = file.path.partition("/")
        path = root / places[scheme] / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.target is not None:
            path.symlink_to(file.target)
        else:
            path.write_bytes(file.content)
            path.chmod(0o555 if file.executable else 0o444)


def lay_out(tmp_path: Path, interpreter: Interpreter) -> Laid:
    mount, project = tmp_path / "home" / "mount", tmp_path / "my proj"
    view = mount / "views" / ("0123456789abcdef" * 2)
    where = python(interpreter.version, interpreter.executable)
    write(
        skeleton(where, full_version=interpreter.full_version, implementation="CPython"),
        where,
        view,
    )
    (mount / "current").symlink_to(f"views/{view.name}")
    for name in ("bin", "lib", "pyvenv.cfg"):
        (mount / name).symlink_to(f"current/{name}")
    (mount / "site-packages").symlink_to(f"current/lib/python{interpreter.version}/site-packages")
    project.mkdir(parents=True)
    (project / ".venv").symlink_to(view)
    site = view / f"lib/python{interpreter.version}/site-packages"
    (site / "here.py").write_text("")
    return Laid(mount, view, project, interpreter)


@pytest.fixture
def laid(tmp_path: Path, interpreter: Interpreter) -> Laid:
    return lay_out(tmp_path, interpreter)


@pytest.fixture
def one(tmp_path: Path) -> Laid:
    """The same for one interpreter, where the version makes no difference."""
    return lay_out(tmp_path, interpreters()[0])


# --- the skeleton as a value


def by_path(files: list[GeneratedFile]) -> dict[str, GeneratedFile]:
    return {file.path: file for file in files}


def make(
    version: str = "3.12", executable: str = "/usr/bin/python3.12"
) -> dict[str, GeneratedFile]:
    return by_path(
        skeleton(
            python(version, executable),
            full_version=f"{version.rstrip('t')}.1",
            implementation="CPython",
            pkgview_version="9.9",
        )
    )


def test_depends_on_nothing_but_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("PKGVIEW_MOUNT", "/elsewhere")
    assert make() == first
    assert list(first) == sorted(first)


def test_pyvenv_cfg_has_the_keys_that_venv_and_uv_write() -> None:
    text = make()["data/pyvenv.cfg"].content.decode()
    assert dict(line.split(" = ") for line in text.splitlines()) == {
        "home": "/usr/bin",
        "implementation": "CPython",
        "version_info": "3.12.1",
        "include-system-site-packages": "false",
        "pkgview": "9.9",
    }


def test_links() -> None:
    targets = {path: file.target for path, file in make().items() if file.target is not None}
    assert targets == {
        "scripts/python": "/usr/bin/python3.12",
        "scripts/python3": "python",
        "scripts/python3.12": "python",
        "data/lib64": "lib",
        "data/site-packages": "lib/python3.12/site-packages",
    }


def test_a_free_threaded_python_has_both_names_and_its_own_library() -> None:
    files = make("3.13t", "/opt/bin/python3.13t")
    assert {"scripts/python3.13t", "scripts/python3.13"} <= files.keys()
    assert "data/lib/python3.13t/EXTERNALLY-MANAGED" in files


def test_python_3_15_starts_the_pin_by_entry_point() -> None:
    assert f"purelib/{PIN_FILE}.start" in make("3.15")
    assert f"purelib/{PIN_FILE}.pth" not in make("3.15")
    assert f"purelib/{PIN_FILE}.pth" in make("3.14")
    assert make("3.15")[f"purelib/{PIN_FILE}.start"].content == b"_pkgview_pin:pin\n"


def test_lib64_is_no_link_where_platlib_is_below_it() -> None:
    where = python("3.12", "/usr/bin/python3.12")
    fedora = replace(
        where, schemes=replace(where.schemes, platlib="lib64/python3.12/site-packages")
    )
    files = by_path(skeleton(fedora, full_version="3.12.1", implementation="CPython"))
    assert "data/lib64" not in files


@pytest.mark.parametrize(
    "bad", ["python3", "/usr/bin/py\nhome = /evil", "/usr/bin/py ", "/a\0b", ""]
)
def test_an_interpreter_that_cannot_stand_in_pyvenv_cfg_is_refused(bad: str) -> None:
    with pytest.raises(PkgviewError, match="cannot be the base"):
        make(executable=bad)


# --- the pin


def site_entries(laid: Laid, program: Path, *options: str) -> list[str]:
    entries = laid.ask(program, "[p for p in sys.path if 'site-packages' in p]", *options)
    assert isinstance(entries, list)
    return entries


@pytest.mark.parametrize("options", [(), ("-I",), ("-P",), ("-E",), ("-s",)], ids=" ".join)
def test_imports_never_walk_a_link(laid: Laid, options: tuple[str, ...]) -> None:
    real = [str(laid.view / laid.site)]
    assert site_entries(laid, laid.project / ".venv/bin/python", *options) == real
    assert site_entries(laid, laid.mount / "bin/python", *options) == real
    assert site_entries(laid, laid.mount / "current/bin/python3", *options) == real
    assert site_entries(laid, laid.view / "bin/python", *options) == real


def test_without_site_there_is_no_pin_and_no_complaint(laid: Laid) -> None:
    assert site_entries(laid, laid.project / ".venv/bin/python", "-S") == []


def test_no_finder_is_left_for_a_path_through_a_link(laid: Laid) -> None:
    known = laid.ask(
        laid.mount / "bin/python", "(__import__('here'), list(sys.path_importer_cache))[1]"
    )
    assert isinstance(known, list)
    assert str(laid.view / laid.site) in known
    assert str(laid.mount / laid.site) not in known


def test_modules_come_from_the_view_itself(laid: Laid) -> None:
    for program in (laid.project / ".venv/bin/python", laid.mount / "bin/python"):
        assert laid.ask(program, "__import__('here').__file__") == str(
            laid.view / laid.site / "here.py"
        )


def test_a_project_environment_keeps_its_name(laid: Laid) -> None:
    venv = str(laid.project / ".venv")
    expression = "[sys.prefix, sys.exec_prefix, sys.executable]"
    assert laid.ask(laid.project / ".venv/bin/python", expression) == [
        venv,
        venv,
        f"{venv}/bin/python",
    ]


@pytest.mark.parametrize("start", ["bin/python", "current/bin/python"])
def test_behind_the_magic_link_the_view_is_the_environment(laid: Laid, start: str) -> None:
    expression = (
        "[sys.prefix, sys.exec_prefix, sys.executable, __import__('site').getsitepackages()[0],"
        " __import__('sysconfig').get_path('purelib'),"
        " __import__('sysconfig').get_config_var('base'),"
        " sys.base_prefix != sys.prefix]"
    )
    view = str(laid.view)
    assert laid.ask(laid.mount / start, expression) == [
        view,
        view,
        f"{view}/bin/python",
        f"{view}/{laid.site}",
        f"{view}/{laid.site}",
        view,
        True,
    ]


def test_sysconfig_that_another_pth_file_imported_is_mended(laid: Laid) -> None:
    (laid.view / laid.site / "early.pth").write_text(
        "import sysconfig; sysconfig.get_config_vars()\n"
    )
    config = "__import__('sysconfig')"
    expression = f"[{config}.get_path('purelib'), {config}.get_config_var('base')]"
    assert laid.ask(laid.mount / "bin/python", expression) == [
        f"{laid.view}/{laid.site}",
        str(laid.view),
    ]


def test_what_other_pth_files_add_is_pinned_too(laid: Laid) -> None:
    site = laid.view / laid.site
    (site / "zope.pth").write_text("extra\n")
    (site / "extra").mkdir()
    # What setuptools wrote for namespace packages.
    (site / "ns-nspkg.pth").write_text(
        "import sys, types, os; p = os.path.join(sys._getframe(1).f_locals['sitedir'], 'ns'); "
        "m = sys.modules.setdefault('ns', types.ModuleType('ns')); "
        "m.__dict__.setdefault('__path__', []).append(p)\n"
    )
    (site / "ns").mkdir()
    for program in (laid.project / ".venv/bin/python", laid.mount / "bin/python"):
        assert site_entries(laid, program) == [str(site), str(site / "extra")]
        namespace = laid.ask(program, "sys.modules['ns'].__path__")
        assert isinstance(namespace, list)
        assert set(namespace) == {str(site / "ns")}


def test_paths_of_others_are_left_alone(laid: Laid, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    other = laid.mount / "views" / ("f" * 32) / "lib"
    other.mkdir(parents=True)
    path = f"{foreign}:{other}"
    done = laid.run(
        laid.mount / "bin/python",
        "-c",
        "import sys; print(*sys.path[1:3], sep=':')",
        PYTHONPATH=path,
    )
    assert done.stdout.strip() == path


def test_children_have_the_same_view_wherever_the_link_leads_then(laid: Laid) -> None:
    """The link means another view meanwhile, as it does to a process in another project."""
    script = laid.project / "spawn.py"
    script.write_text(
        "import multiprocessing, os, subprocess, sys\n"
        "def child(_):\n"
        "    return __import__('here').__file__, sys.prefix\n"
        "if __name__ == '__main__':\n"
        f"    os.remove({str(laid.mount / 'current')!r})\n"
        f"    os.symlink('views/none', {str(laid.mount / 'current')!r})\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(*pool.map(child, [0])[0])\n"
        "    code = 'import here; print(here.__file__)'\n"
        "    print(subprocess.check_output([sys.executable, '-c', code], text=True))\n"
    )
    done = laid.run(laid.mount / "bin/python", str(script))
    here = str(laid.view / laid.site / "here.py")
    assert (done.stderr, done.stdout.split()) == ("", [here, str(laid.view), here])


def test_one_path_two_projects(laid: Laid, tmp_path: Path) -> None:
    """The kernel has a link that depends on its reader: here `current` leads through it."""
    other, second = laid.mount / "views" / ("f" * 32), tmp_path / "second"
    shutil.copytree(laid.view, other, symlinks=True)
    second.mkdir()
    (second / ".venv").symlink_to(other)
    (laid.mount / "current").unlink()
    (laid.mount / "current").symlink_to("/proc/self/cwd/.venv")
    code = (
        "import os, subprocess, sys; os.chdir('/'); import here; "
        "ask = [sys.executable, '-c', 'import here; print(here.__file__)']; "
        "print(here.__file__); sys.stdout.flush(); subprocess.run(ask)"
    )
    for project, view in ((laid.project, laid.view), (second, other)):
        done = replace(laid, project=project).run(laid.mount / "bin/python", "-c", code)
        here = str(view / laid.site / "here.py")
        assert (done.stderr, done.stdout.split()) == ("", [here, here])


def test_a_running_program_keeps_its_view_when_the_environment_is_pointed_elsewhere(
    laid: Laid,
) -> None:
    link = laid.project / ".venv"
    expression = f"[os.remove({str(link)!r}), __import__('here').__file__][1]"
    assert laid.ask(link / "bin/python", expression) == str(laid.view / laid.site / "here.py")


def test_a_console_script_looks_into_the_view(laid: Laid) -> None:
    """Python resolves the script's own directory itself: the pin need not."""
    (laid.view / "bin" / "tool").write_text("import sys; print(sys.path[0])\n")
    done = laid.run(laid.mount / "bin/python", str(laid.mount / "bin/tool"))
    assert done.stdout.strip() == str(laid.view / "bin")


def test_a_running_program_holds_its_view_where_that_is_in_nobodys_way(laid: Laid) -> None:
    held = "[os.readlink('/proc/self/fd/255'), os.get_inheritable(255), os.open('/', os.O_RDONLY)]"
    for program in (laid.project / ".venv/bin/python", laid.mount / "bin/python"):
        assert laid.ask(program, held) == [str(laid.view), False, 3]
    others = (
        "import os; print([os.path.realpath(f'/proc/self/fd/{n}') for n in range(3, 256)"
        " if os.path.exists(f'/proc/self/fd/{n}')])"
    )
    taken = """exec 255</dev/null; exec "$0" -c "$1" """
    done = laid.run("/bin/bash", "-c", taken, str(laid.project / ".venv/bin/python"), others)
    assert done.stdout.strip() == str([str(laid.view), "/dev/null"]), done.stderr


def test_nothing_new_is_imported(one: Laid) -> None:
    shell = "sorted(m for m in sys.modules if not m.startswith('_pkgview'))"
    bare = [str(one.interpreter.executable), "-I"]
    with_pin = one.ask(one.project / ".venv/bin/python", shell, "-I")
    without = one.ask(bare[0], shell, "-I")
    assert isinstance(with_pin, list)
    assert isinstance(without, list)
    # Reading any .pth file at all costs an encoding on some versions.
    assert not {m for m in set(with_pin) - set(without) if not m.startswith("encodings")}


READ = """
import sys, traceback
events = []
sys.addaudithook(lambda name, said: name == "open" and events.append(said))
loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
events.clear()
import read_plainly
try: import read_broken
except ZeroDivisionError: said = traceback.format_exc()
data = read_plainly.__loader__.get_data(read_plainly.__file__)
print(["get_data" in vars(loader), said, data, [e for e in events if "read_" in str(e[0])]])
"""

HOOK = """
import ctypes, sys, _pkgview_pin
loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
del loader.get_data
kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)
hook = kind(lambda path, _: open(path, "rb"))
ctypes.pythonapi.PyFile_SetOpenCodeHook(hook, None)
_pkgview_pin._read_plainly(sys.prefix)
print("get_data" in vars(loader), flush=True)
__import__("os")._exit(0)
"""


def test_modules_are_read_as_python_314_reads_them(one: Laid) -> None:
    """No question of whether one is a terminal; the same bytes, audit events and tracebacks."""
    site = one.view / one.site
    (site / "read_plainly.py").write_text("value = 1\n")
    (site / "read_broken.py").write_text("1/0\n")

    def ask(code: str = READ) -> Any:  # noqa: ANN401 - what it prints
        done = one.run(str(one.project / ".venv/bin/python"), "-B", "-c", code)
        assert done.returncode == 0, done.stderr
        return ast.literal_eval(done.stdout)

    early = tuple(map(int, one.interpreter.version.rstrip("t").split("."))) < (3, 14)
    plain, said, data, events = ask()
    assert plain == early
    assert data == b"value = 1\n"
    assert said.count("File ") == 2  # importlib's frames, and ours among them, are left out
    if early:
        assert ask(HOOK) is False  # all code goes through the hook of who has one
    pin = site / "_pkgview_pin.py"
    pin.chmod(0o644)
    pin.write_text(pin.read_text().replace("        _read_plainly(shown)\n", ""))
    assert ask() == [False, said, data, events]


@pytest.mark.parametrize("damage", ["missing", "syntax", "raises", "no view"])
def test_a_damaged_pin_is_silent(laid: Laid, damage: str) -> None:
    pin = laid.view / laid.site / "_pkgview_pin.py"
    pin.chmod(0o644)
    match damage:
        case "missing":
            pin.unlink()
        case "syntax":
            pin.write_text("def")
        case "raises":
            pin.write_text("raise OSError(5, 'EIO')")
        case _:
            pin.write_text(pin.read_text().replace("os.path.realpath", "os.path.nosuch"))
    assert laid.ask(laid.project / ".venv/bin/python", "1") == 1
    assert laid.ask(laid.mount / "bin/python", "1") == 1


# --- pip


@pytest.fixture(scope="session", params=PIPS)
def pip_wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp(f"pip_{request.param}_")
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "-q", "--target", str(target), f"pip=={request.param}"]
    subprocess.run(command, check=True)
    return target


def read_only(root: Path) -> None:
    for directory, _, _ in os.walk(root):
        Path(directory).chmod(0o555)


def contents(root: Path) -> dict[str, int]:
    return {str(p): p.lstat().st_mtime_ns for p in root.rglob("*")}


@pytest.mark.network
def test_pip_says_what_to_run_instead(pip_wheel: Path, tmp_path: Path) -> None:
    # Every pip with one Python, every Python with some pip, the oldest with the oldest.
    pip, pythons = PIPS.index(pip_wheel.name.split("_")[1]), interpreters()
    one = lay_out(tmp_path / "laid", pythons[pip % len(pythons)])
    # Once, as an installation does it: none of those that follow may write what it compiles.
    one.run(one.project / ".venv/bin/python", "-m", "compileall", "-q", str(pip_wheel / "pip"))
    shutil.copytree(pip_wheel, one.view / one.site, dirs_exist_ok=True)
    (one.view / "bin/pip").write_text(
        "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
    )
    read_only(one.view)
    before = contents(one.view)
    # A made wheel, so that an install which is not refused would succeed or try to write.
    wheel = make_wheel(tmp_path)
    venv, magic = one.project / ".venv/bin/python", one.mount / "bin/python"
    environ = {"PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for command in (
        [venv, "-m", "pip", "install", str(wheel)],
        [magic, "-W", "ignore", "-mpip", "install", "--user", str(wheel)],
        [venv, str(one.project / ".venv/bin/pip"), "install", str(wheel)],
        [venv, str(pip_wheel / "pip/__pip-runner__.py"), "install", str(wheel)],
        [venv, "-m", "pip", "uninstall", "-y", "pip"],
    ):
        done = one.run(*map(str, command), **environ)
        assert done.returncode != 0
        assert "externally-managed-environment" in done.stderr, (command, done.stderr)
        assert "pkgview add PACKAGE" in done.stderr
        assert "pyproject.toml" in done.stderr
        assert "Traceback" not in done.stderr
    for works in (
        ["list"],
        ["check"],
        ["install", "--no-index", "--target", str(tmp_path / "target"), str(wheel)],
    ):
        done = one.run(venv, "-m", "pip", *works, **environ)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "target/made.py").exists()
    assert contents(one.view) == before
    # A copy is an environment like any other.
    copied = tmp_path / "env"
    shutil.copytree(one.view, copied, symlinks=True)
    for directory, _, _ in os.walk(copied):
        Path(directory).chmod(0o755)
    for words in (["install", "--no-index", str(wheel)], ["uninstall", "-y", "made"]):
        done = one.run(copied / "bin/python", "-m", "pip", *words, **environ)
        assert done.returncode == 0, done.stderr


def test_a_copy_without_pip_says_that_there_is_none(one: Laid, tmp_path: Path) -> None:
    copied = tmp_path / "env"
    shutil.copytree(one.view, copied, symlinks=True)
    for root, said in ((one.view, "pkgview add PACKAGE"), (copied, "a copy of a pkgview view")):
        done = one.run(root / "bin/python", "-m", "pip", "install", "six")
        assert done.returncode == 1
        assert said in done.stderr


def make_wheel(directory: Path) -> Path:
    import zipfile  # noqa: PLC0415 - only here

    path = directory / "made-1-py3-none-any.whl"
    files = {
        "made.py": "",
        "made-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: made\nVersion: 1\n",
        "made-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "made-1.dist-info/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "made-1.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def test_the_guard_waits_only_where_pip_runs(one: Laid) -> None:
    venv = one.project / ".venv/bin/python"
    asked = "any('pkgview_' + 'p' + 'ip' in type(f).__module__ for f in sys.meta_path)"
    assert one.ask(venv, asked) is False
    assert one.ask(venv, f"('pip', {asked})[1]") is True


# --- activate


def need(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


SH = """
set -eu
export PYTHONHOME=/x PS1='$ '
before=$PATH
cd "$WHERE"
. "$SCRIPT"
printf '%s\\n' "$VIRTUAL_ENV" "$VIRTUAL_ENV_PROMPT" "${PATH%%:*}" "${PYTHONHOME-none}" "$PS1"
deactivate
printf '%s\\n' "${VIRTUAL_ENV-none}" "$PYTHONHOME" "$PS1"
[ "$PATH" = "$before" ]
if type deactivate 2>/dev/null | grep -q function; then exit 1; fi
"""

FISH = """
set -x PYTHONHOME /x
set -x PATH $PATH
set path $PATH
function fish_prompt; printf '$ '; end
cd $WHERE
source $SCRIPT
printf '%s\\n' "$VIRTUAL_ENV" "$VIRTUAL_ENV_PROMPT" "$PATH[1]" (set -q PYTHONHOME; or echo none)
printf '%s\\n' (fish_prompt)
deactivate
printf '%s\\n' (set -q VIRTUAL_ENV; or echo none) "$PYTHONHOME" (fish_prompt)
test (string join : $PATH) = (string join : $path); or exit 1
functions -q deactivate; and exit 1
exit 0
"""

CSH = """
setenv PYTHONHOME /x
set prompt = '$ '
set path_before = "$PATH:q"
cd "$WHERE:q"
source "$SCRIPT:q"
printf '%s\\n' "$VIRTUAL_ENV:q" "$VIRTUAL_ENV_PROMPT:q" "`printenv PATH | cut -d: -f1`"
if (! $?PYTHONHOME) echo none
printf '%s\\n' "$prompt:q"
deactivate
if (! $?VIRTUAL_ENV) echo none
printf '%s\\n' "$PYTHONHOME:q" "$prompt:q"
if ("$PATH:q" != "$path_before:q") exit 1
exit 0
"""

SHELLS = {
    "bash": (SH, "activate", ()),
    "bash --posix": (SH, "activate", ("--posix",)),
    "dash": (SH, "activate", ()),
    "zsh": (SH, "activate", ("-f",)),
    "fish": (FISH, "activate.fish", ("-N",)),
    "tcsh": (CSH, "activate.csh", ("-f",)),
}


@pytest.mark.parametrize("where", ["project", "below", "elsewhere", "beside"])
@pytest.mark.parametrize("shell", SHELLS)
def test_activate(one: Laid, tmp_path: Path, shell: str, where: str) -> None:
    program, (text, name, options) = need(shell.split(maxsplit=1)[0]), SHELLS[shell]
    project = tmp_path / 'it\'s "my" proj'
    (project / "sub").mkdir(parents=True)
    (project / ".venv").symlink_to(one.view)
    directory, script = {
        "project": (project, f".venv/bin/{name}"),
        "below": (project / "sub", f"../.venv/bin/{name}"),
        "elsewhere": (tmp_path, f"{project}/.venv/bin/{name}"),
        "beside": (project / ".venv/bin", f"./{name}"),
    }[where]
    if where == "elsewhere" and shell in {"dash", "tcsh"}:
        # These do not tell what they read; the view itself is the best that can be known.
        venv, prompt = one.view, one.view.name
    else:
        venv, prompt = project / ".venv", project.name
    path = tmp_path / "test.sh"
    path.write_text(text)
    done = one.run(program, *options, str(path), WHERE=str(directory), SCRIPT=script)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        str(venv),
        prompt,
        f"{venv}/bin",
        "none",
        f"({prompt}) $ ",
        "none",
        "/x",
        "$ ",
    ]


@pytest.mark.parametrize("shell", ["dash", "tcsh"])
def test_a_project_whose_view_has_the_same_script_is_not_mistaken(
    one: Laid, tmp_path: Path, shell: str
) -> None:
    """Views hold equal files under one inode: here, as hard links."""
    program = need(shell)
    other = one.mount / "views" / ("f" * 32)
    shutil.copytree(one.view, other, symlinks=True, copy_function=os.link)
    here, there = tmp_path / "here", tmp_path / "there"
    for project, view in ((here, one.view), (there, other)):
        project.mkdir()
        (project / ".venv").symlink_to(view)
    text, name, options = SHELLS[shell]
    path = tmp_path / "test.sh"
    path.write_text(text)
    script = f"{there}/.venv/bin/{name}"
    done = one.run(program, *options, str(path), WHERE=str(here), SCRIPT=script)
    assert done.stdout.partition("\n")[0] == str(other)


@pytest.mark.parametrize("options", ["", "setopt CHASE_LINKS", "setopt SH_WORD_SPLIT"])
def test_activate_whatever_zsh_is_set_to(one: Laid, options: str) -> None:
    zsh = need("zsh")
    code = f"{options}; cd() {{ echo spoilt }}; . .venv/bin/activate; print -r -- $VIRTUAL_ENV"
    assert one.run(zsh, "-fc", code).stdout == f"{one.project}/.venv\n"


def test_activate_in_bash_with_aliases_and_cdpath(one: Laid) -> None:
    code = (
        "shopt -s expand_aliases; set -P; CDPATH=/:/usr; alias cd='echo no' pwd='echo no'\n"
        ". .venv/bin/activate\n"
        'echo "$VIRTUAL_ENV"'
    )
    assert one.run(need("bash"), "-c", code).stdout == f"{one.project}/.venv\n"


def test_activated_twice_and_without_a_prompt(one: Laid) -> None:
    code = (
        "before=$PATH; . .venv/bin/activate; . .venv/bin/activate; echo $PS1; deactivate; "
        'test "$PATH" = "$before" && echo same'
    )
    done = one.run(need("bash"), "-uc", "PS1=x; " + code, VIRTUAL_ENV_DISABLE_PROMPT="1")
    assert done.stdout.split() == ["x", "same"]


# --- a view without pip


def dist(site: Path, name: str, version: str, *lines: str, **files: str) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, "", ""))
    )
    (info / "INSTALLER").write_text("uv")
    (info / "RECORD").write_text("")
    for file, text in files.items():
        (info / file.replace("_json", ".json")).write_text(text)


def test_a_view_without_pip_can_be_read_by_one(one: Laid) -> None:
    site, venv = one.view / one.site, one.project / ".venv"
    dist(site, "Beta_x", "2.0", "Summary: The second", "Requires-Dist: alpha>=1; extra == 'all'")
    needs = "Requires-Dist: Beta_x<2 ; os_name == 'posix'"
    dist(site, "alpha", "1.0", "Requires-Dist: gone", needs)
    url = '{"url": "file:///my%20src", "dir_info": {"editable": true}}'
    dist(site, "mine", "3", direct_url_json=url)

    def pip(*arguments: str, code: int = 0) -> str:
        by_name = one.run(venv / "bin/pip", *arguments)
        by_module = one.run(venv / "bin/python", "-m", "pip", *arguments)
        assert (by_name.returncode, by_name.stdout) == (by_module.returncode, by_module.stdout)
        assert by_name.returncode == code, by_name.stderr
        return by_name.stdout if code == 0 else by_name.stdout + by_name.stderr

    listed = pip("list").splitlines()
    assert listed[0] == "Package Version Editable project location"
    assert listed[2:] == ["alpha   1.0", "Beta_x  2.0", "mine    3       /my src"]
    as_json = json.loads(pip("list", "--format=json"))
    assert [one["name"] for one in as_json] == ["alpha", "Beta_x", "mine"]
    assert "alpha==1.0\nBeta_x==2.0\n" in pip("--disable-pip-version-check", "freeze")
    shown = pip("show", "beta-x", "nothing").splitlines()
    assert {"Name: Beta_x", "Summary: The second", "Requires: ", "Required-by: alpha"} <= set(shown)
    assert f"Location: {site}" in shown
    assert pip("check", code=1).splitlines() == [
        "alpha 1.0 requires gone, which is not installed.",
        'alpha 1.0 has requirement Beta_x<2; os_name == "posix", but you have beta-x 2.0.',
    ]
    report = json.loads(pip("inspect"))
    assert [one["metadata"]["version"] for one in report["installed"]] == ["1.0", "2.0", "3"]
    assert report["environment"]["python_version"] == one.interpreter.version
    assert pip("--version").endswith(f"from {site} (python {one.interpreter.version})\n")
    for writing in (("install", "six"), ("-q", "uninstall", "-y", "alpha")):
        said = pip(*writing, code=1)
        assert said.startswith("error: externally-managed-environment\n")
        assert "pkgview add PACKAGE" in said
    assert "pkgview run --with pip -- pip list --outdated" in pip("list", "--outdated", code=1)
    assert "`pip download` needs pip" in pip("download", "six", code=1)
    # No program is told that there is a pip to import.
    find = "__import__('importlib.util').util.find_spec('pip') is None"
    assert one.ask(venv / "bin/python", find)


def test_a_pip_that_is_listed_is_the_one(one: Laid) -> None:
    package = one.view / one.site / "pip"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("print('the real one')")
    assert one.run(one.project / ".venv/bin/python", "-m", "pip").stdout == "the real one\n"
    names = {path for path in make() if "pip" in path}
    assert {"scripts/pip", "scripts/pip3", "scripts/pip3.12"} <= names
    where = python("3.12", "/usr/bin/python3.12")
    listed = skeleton(where, full_version="3.12.1", implementation="CPython", with_pip=True)
    assert {file.path for file in listed if "pip" in file.path} == {"purelib/_pkgview_pip.py"}


def test_its_own_version_is_the_one_that_is_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = own_version.__wrapped__
    assert asked() == importlib.metadata.version("pkgview")
    for name in ("pkgview_other-9.0.dist-info", "pkgview-2.0.dist-info"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "METADATA").write_text(f"Version: {name.split('-')[1][:3]}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path), *sys.path])
    assert asked() == importlib.metadata.version("pkgview") == "2.0"
