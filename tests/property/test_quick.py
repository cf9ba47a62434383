"""`pkgview up` without its imports comes to what `pkgview up` with them comes to, or to nothing."""

# mypy: disable-error-code="func-returns-value"
# A mutation is a lambda that does two things.

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver import remembered
from resolver.manifest import ViewId
from resolver.naming import identity_text, manifest_digest
from resolver.ownership import identity
from resolver.places import Places
from resolver.python.uv.run import uv_binary
from unionfs.cli import group, quick
from unionfs.daemon import launch
from unionfs.daemon.launch import Mounted
from unionfs.formats.wheel.reader import open_wheel
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unionfs.conftest import WheelMaker


OURS = {"resolver", "unionfs"}
LOCK = """\
lock-version = "1.0"
created-by = "test"
extras = ["more"]
[[packages]]
name = "demo"
version = "1.0"
wheels = [{{ name = "demo-1.0-py3-none-any.whl", url = "https://nowhere.invalid/demo.whl", \
hashes = {{ sha256 = "{digest}" }} }}]
"""


class World:
    """A home, a project `here`, and an interpreter; put back as they were as often as needed."""

    def __init__(self, root: Path) -> None:
        self.root = root / "world"
        self._kept = root / "kept"
        self.here = self.root / "here"
        self.there = self.root / "there"
        self.python = self.root / "bin/python3"
        self.places = Places.from_environ({"HOME": str(self.root / "home")})
        self.environ = {"HOME": str(self.root / "home"), "PATH": str(self.python.parent)}

    def keep(self, where: str = "first") -> None:
        shutil.rmtree(self._kept / where, ignore_errors=True)
        copied(self.root, self._kept / where)

    def restore(self, where: str = "first") -> None:
        shutil.rmtree(self.root)
        copied(self._kept / where, self.root)
        for path in (self.places.state / "trusted").glob("*.json"):
            # A copy is another directory, which nobody has said yes to.
            kept = json.loads(path.read_text())
            if Path(kept["root"]).exists():
                kept["directory"] = identity(kept["root"])
                path.write_text(json.dumps(kept))
        for path in (self.places.state / "projects").glob("*.json"):
            with contextlib.suppress(ValueError):  # damaged
                kept = json.loads(path.read_text())
                kept["directory"] = identity_text(identity(kept["root"]))
                path.write_text(json.dumps(kept))

    def files(self) -> dict[str, object]:
        """All there is, as far as a user or the next `up` sees it."""
        found: dict[str, object] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.startswith("home/.local/state/pkgview/registry"):
                continue
            if name.startswith("home/.local/state/pkgview/used/"):
                continue  # a moment
            if name.startswith("home/.cache/pkgview/uv"):
                continue  # uv's, of a project that says what it builds with
            if name.startswith((
                "home/.local/share/pkgview/store/users/", "home/.local/state/pkgview/id",
            )):  # fmt: skip
                continue  # of the very file that it is in, and what is there has been told before
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.is_file() and path.parent.name == "trusted":
                kept = json.loads(path.read_text())
                there = Path(kept["root"]).exists()
                right = there and kept["directory"] == [*identity(kept["root"])]
                found[name] = {**kept, "directory": right}
            elif path.is_file() and path.parent.name == "projects":
                found[name] = re.sub(rb'"directory": "[0-9 ]+"', b"", path.read_bytes())
            elif path.is_file():
                found[name] = path.read_bytes()
            else:
                found[name] = path.stat().st_mode
        return found

    def manifest(self) -> Path:
        return next((self.places.state / "manifests").iterdir())

    def record(self) -> Path:
        return next((self.places.state / "projects").glob("here-*.json"))

    def entries(self) -> list[Path]:
        return list((self.places.state / "remembered").iterdir())


def copied(source: Path, target: Path) -> None:
    """A tree, pipes included."""

    def copy(one: str, other: str) -> str:
        if Path(one).is_fifo():
            os.mkfifo(other)
            return other
        return shutil.copy2(one, other)

    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def serves(places: dict[str, str], view: str) -> bool:
    registry = Registry(Path(places["state"]) / "registry.sqlite3")
    try:
        return registry.view_number(ViewId(view)) is not None
    finally:
        registry.close()


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    from tests.unionfs.conftest import WheelMaker  # noqa: PLC0415 - a module of fixtures

    root = tmp_path_factory.mktemp("quick")
    made = World(root)
    for directory in (made.here, made.there, made.python.parent):
        directory.mkdir(parents=True)
    made.python.symlink_to(Path(sys.executable).resolve())
    maker: WheelMaker = WheelMaker(directory=root)
    path = maker.write()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    store = Store(made.places.store)
    with open_wheel(path) as wheel:
        store.record_source(f"sha256-{digest}", store.add(wheel.members(), wheel.meta))
    (made.here / "pylock.toml").write_text(LOCK.format(digest=digest))
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("XDG_", "PKGVIEW_", "PYENV")):
                patch.delenv(name)
        for name, value in made.environ.items():
            patch.setenv(name, value)
        mounted = Mounted(mountpoint=made.places.mount, pid=1, how="already")
        patch.setattr(launch, "ensure_mounted", lambda _: mounted)
        patch.setattr(launch, "check_mountable", lambda _: None)
        patch.setattr(quick, "serves", serves)
        slow(["up", str(made.here)])
        made.keep()
        yield made


def slow(arguments: list[str]) -> object:
    """The status of the whole command."""
    with pytest.raises(SystemExit) as ended:
        group.main(arguments)
    return ended.value.code or 0  # None, too, is success


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return re.sub(r"\(\d+\.\d s\)", "(… s)", capsys.readouterr().err)


def append(path: Path, text: str) -> None:
    if path.is_fifo():
        raise OSError
    with path.open("a") as file:
        file.write(text)


def clone(world: World) -> None:
    shutil.copy(world.here / "pylock.toml", world.there)


def other_python(world: World) -> None:
    """Another file, hence another description, of the same Python."""
    world.python.unlink()
    shutil.copy(Path(sys.executable).resolve(), world.python)


def drop(path: Path) -> None:
    path.unlink(missing_ok=True)


MUTATIONS: dict[str, Callable[[World], object]] = {
    "clone": clone,
    "edit": lambda world: append(world.here / "pylock.toml", "# edited\n"),
    "edit the clone": lambda world: append(world.there / "pylock.toml", "# edited\n"),
    "pin": lambda world: (world.here / ".python-version").write_text("3\n"),
    "impossible pin": lambda world: (world.here / ".python-version").write_text("3.99\n"),
    "impossible pin above": lambda world: (world.here.parent / ".python-version").write_text(
        "3.99\n"
    ),
    "requirements": lambda world: (world.here / "requirements.txt").write_text("other\n"),
    "settings": lambda world: (world.here / "pyproject.toml").write_text("[tool.pkgview]\n"),
    "wrong settings": lambda world: (world.here / "pyproject.toml").write_text("[tool.pkgview\n"),
    "no archive": lambda world: [
        drop(one) for one in (world.places.store / "archives").glob("demo-*")
    ],
    "no manifest": lambda world: drop(world.manifest()),
    "damaged manifest": lambda world: append(world.manifest(), " "),
    "no record": lambda world: drop(world.record()),
    "damaged record": lambda world: append(world.record(), "x"),
    "no registry": lambda world: drop(world.places.state / "registry.sqlite3"),
    "forgotten": lambda world: [drop(entry) for entry in world.entries()],
    "damaged memory": lambda world: [append(entry, "x") for entry in world.entries()],
    "empty memory": lambda world: [entry.write_bytes(b"") for entry in world.entries()],
    "another view": lambda world: [
        entry.write_text("0" * 32 + entry.read_text()[32:]) for entry in world.entries()
    ],
    "no link": lambda world: drop(world.here / ".venv"),
    "own environment": lambda world: (drop(world.here / ".venv"), (world.here / ".venv").mkdir()),
    "older link": lambda world: (
        drop(world.here / ".venv"),
        (world.here / ".venv").symlink_to(world.places.mount / "views" / ("1" * 32)),
    ),
    "for everybody": lambda world: world.here.chmod(0o777),
    "group": lambda world: (world.here / "pylock.toml").chmod(0o664),
    "other python": other_python,
    "no python": lambda world: drop(world.python),
    "unreadable": lambda world: (
        drop(world.here / "pylock.toml"),
        os.mkfifo(world.here / "pylock.toml"),
    ),
}
ARGUMENTS: list[list[str]] = [
    [],
    ["--offline"],
    ["--frozen", "--offline"],
    ["--extra", "more"],
    ["--extra=none"],
    ["--group", "none"],
    ["--no-link"],
    ["--json"],
    ["--nonsense"],
]


SCRIPT = "# /// script\n# dependencies = []\n# ///\n"


@pytest.mark.parametrize("name", ["script.py", "plain.py", "nothing", "pylock.toml"])
def test_what_is_no_directory_is_left_to_the_whole_command(
    world: World, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    world.restore()
    (world.here / "script.py").write_text(SCRIPT)
    (world.here / "plain.py").touch()
    assert not quick.up([str(world.here / name)])
    assert quick.up([str(world.here)])
    assert capsys.readouterr().err.startswith("Nothing to do")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    names=st.lists(st.sampled_from(sorted(MUTATIONS)), max_size=3),
    options=st.sampled_from(ARGUMENTS),
    at=st.sampled_from(["here", "there"]),
)
def test_what_it_does_is_what_the_whole_command_does(
    world: World,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    options: list[str],
    at: str,
) -> None:
    world.restore()
    if at == "there" and "clone" not in names:
        names = ["clone", *names]
    for name in names:
        try:
            MUTATIONS[name](world)
        except (OSError, StopIteration):
            continue  # another has taken away, or put there, what it needs
    agree(world, capsys, [str(world.root / at), *options])


def agree(world: World, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> bool:
    """Do it both ways; whether the quick one did it."""
    world.keep("now")
    before = world.files()
    capsys.readouterr()
    if not quick.up(arguments):
        assert world.files() == before
        assert not said(capsys)
        return False
    done, told = comparable(world), said(capsys)
    world.restore("now")
    assert slow(["up", *arguments]) == 0
    assert told == said(capsys)
    assert done == comparable(world)
    return True


def comparable(world: World) -> dict[str, object]:
    """What counts: the whole command also keeps locks, and what it remembers under a place.

    With --frozen it compares no lock, while here the same bytes have been compared before.
    """
    return {
        name: content.replace(b'"unchecked ', b'"') if isinstance(content, bytes) else content
        for name, content in world.files().items()
        if not name.startswith(
            ("home/.local/state/pkgview/remembered", "home/.local/state/pkgview/locks")
        )
    }


@pytest.mark.parametrize("options", [[], ["--offline"], ["--frozen"]])
@pytest.mark.parametrize("name", ["clone", "no link", "no record", None])
def test_what_it_does_at_all(
    world: World, capsys: pytest.CaptureFixture[str], name: str | None, options: list[str]
) -> None:
    world.restore()
    if name:
        MUTATIONS[name](world)
    at = world.there if name == "clone" else world.here
    assert agree(world, capsys, [str(at), *options])


@pytest.mark.parametrize(
    "name",
    [
        *("edit", "no archive", "no manifest", "damaged manifest", "no registry", "another view"),
        *("damaged memory", "damaged record", "for everybody", "own environment", "other python"),
        *("requirements", "unreadable", "older link"),
    ],
)
def test_what_it_leaves_alone(world: World, capsys: pytest.CaptureFixture[str], name: str) -> None:
    world.restore()
    MUTATIONS[name](world)
    assert not agree(world, capsys, [str(world.here)])


def test_a_clone_gets_the_view_that_has_its_bytecode_meanwhile(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `precompile` does to the records of projects, it does to what is remembered."""
    world.restore()
    clone(world)
    old = world.manifest().stem
    manifest = world.manifest().read_bytes()
    other = manifest.replace(b'"version":"1.0"', b'"version":"1.1"')
    new = manifest_digest(other)
    world.manifest().with_name(f"{new}.json").write_bytes(other)
    with contextlib.closing(Registry(world.places.state / "registry.sqlite3")) as registry:
        registry.register_view(ViewId(new))
    remembered.replace(str(world.places.state), old, new)
    assert {entry.read_text()[:32] for entry in world.entries()} == {new}
    capsys.readouterr()
    assert quick.up([str(world.there)])
    assert f"View {new[:12]}: 1 distribution" in said(capsys)
    assert os.readlink(world.there / ".venv") == str(world.places.mount / "views" / new)


def test_what_leads_to_a_view_goes_with_it(tmp_path: Path) -> None:
    state = str(tmp_path)
    for key, view in (("a" * 64, "1" * 32), ("b" * 64, "2" * 32)):
        entry = remembered.Entry(view, "/usr/bin/python3", "1 distribution", "{}", "[]")
        remembered.remember(state, [key], entry)
    directory = tmp_path / "remembered"
    (directory / ("c" * 64)).write_text("damaged")
    (directory / ".tmp-1").write_text("on its way")
    remembered.forget(state, {"1" * 32})
    assert {path.name[:2] for path in directory.iterdir()} == {"bb", ".t"}
    remembered.forget(str(tmp_path / "nowhere"), {"1" * 32})


def test_what_it_imports() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "from unionfs.cli import quick; quick.up(['/'])\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True
    )
    others = {name for name in done.stdout.split() if name.partition(".")[0] not in OURS}
    assert others <= {"__future__", "_sha2", "_sha256", "fcntl"}


def test_it_is_asked_from_below_the_project(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.restore()
    below = world.here / "below/it"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    drop(world.here / ".venv")
    capsys.readouterr()
    assert quick.up([])
    assert said(capsys).startswith(f"Linked {world.here}/.venv.")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], (".", [], [])),
        (["x"], ("x", [], [])),
        (["--extra", "a", "x", "--group=b", "--offline"], ("x", ["a"], ["b"])),
    ],
)
def test_arguments(arguments: list[str], found: tuple[Any, ...]) -> None:
    asked = quick.understood(arguments)
    assert asked is not None
    assert (asked.directory, asked.extras, asked.groups) == found


@pytest.mark.parametrize("arguments", [["-h"], ["--extra"], ["a", "b"], ["--python", "3"], [""]])
def test_arguments_for_others(arguments: list[str]) -> None:
    assert quick.understood(arguments) is None


def lists(directory: Path, more: str = "") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{directory.name}"\nversion = "1"\nrequires-python = ">=3.11"\n{more}'
    )
    return directory


WORKSPACE = '[tool.uv.workspace]\nmembers = ["packages/*", "lib"]\n'


def test_what_counts_beside_the_usual_names(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Members of a workspace and requirement files: what is edited, comes or goes is seen."""
    world.restore()
    top, member = lists(world.root / "top", WORKSPACE), lists(world.root / "top/packages/one")
    (top / "packages/one.txt").touch()
    listing = world.root / "listing"
    listing.mkdir()
    (listing / "requirements.txt").write_text("-r more.txt\n")
    (listing / "more.txt").write_text("")

    def is_seen(at: Path) -> None:
        assert not quick.up([str(at)])
        assert slow(["up", str(at), "--offline"]) == 0
        capsys.readouterr()
        assert agree(world, capsys, [str(at)])

    subprocess.run([uv_binary(), "lock", "--offline"], cwd=top, check=True)
    for at in (top, member, listing):
        is_seen(at)
    append(listing / "more.txt", "# edited\n")
    is_seen(listing)
    (listing / "more.txt").write_text("${NOWHERE}\n")
    assert not quick.up([str(listing)])
    for change in (
        lambda: append(member / "pyproject.toml", "# edited\n"),
        lambda: lists(top / "packages/two"),
        lambda: lists(top / "lib"),
        lambda: shutil.rmtree(top / "packages/two"),
        lambda: (top / "uv.toml").write_text('link-mode = "copy"\n'),
        lambda: (top / ".python-version").write_text("3\n"),
        lambda: append(top / "pyproject.toml", "# edited\n"),
    ):
        change()
        is_seen(top)
        is_seen(member)
    # A workspace that is nearer.
    lists(top / "packages", '[tool.uv.workspace]\nmembers = ["one"]\n')
    shutil.copy(top / "uv.lock", top / "packages")
    assert not quick.up([str(member)])
    # One whose members nobody can list.
    (top / "pyproject.toml").write_text(
        (top / "pyproject.toml").read_text().replace("packages/*", "pack*/*")
    )
    shutil.rmtree(top / "packages/two", ignore_errors=True)
    (top / "packages/uv.lock").unlink()
    (top / "packages/pyproject.toml").unlink()
    assert slow(["up", str(top), "--offline"]) == 0
    assert not quick.up([str(top)])


def test_local_package_files(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is built again is seen, and whose they are; clones are known where all is absolute.

    They lie outside of the world: whatever is put back there is another file.
    """
    world.restore()
    wheels = world.root.parent / "wheels"
    wheels.mkdir()
    wheel = wheels / "demo-1.0-py3-none-any.whl"
    new = wheels / "new"
    shutil.copy(world.root.parent / wheel.name, wheel)
    beside = f"../../wheels/{wheel.name}"
    for name, path in (("relative", beside), ("absolute", str(wheel))):
        more = f'dependencies = ["demo"]\n[tool.uv.sources]\ndemo = {{ path = "{path}" }}\n'
        at = lists(world.root / name, more)
        subprocess.run([uv_binary(), "lock", "--offline"], cwd=at, check=True)
    (world.root / "listing").mkdir()
    (world.root / "listing/requirements.txt").write_text(f"{beside}\n")
    (world.root / "lock").mkdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = LOCK.format(digest=digest).replace("https://nowhere.invalid/demo.whl", wheel.as_uri())
    (world.root / "lock/pylock.toml").write_text(lock)

    def settle(at: Path) -> None:
        assert slow(["up", str(at), "--offline"]) == 0
        capsys.readouterr()
        assert agree(world, capsys, [str(at)])

    for name in ("listing", "relative", "absolute", "lock"):
        settle(world.root / name)
        clone = world.root / "deeper" / name
        shutil.copytree(world.root / name, clone, ignore=shutil.ignore_patterns(".venv"))
        if name in {"absolute", "lock"}:
            assert agree(world, capsys, [str(clone)])
        else:
            assert not quick.up([str(clone)])
    for change in (wheel.touch, lambda: (shutil.copy2(wheel, new), new.replace(wheel))):
        change()
        for name in ("listing", "relative", "absolute"):  # "lock" has its hash in the lock
            assert not quick.up([str(world.root / name)])
            settle(world.root / name)
    wheels.chmod(0o777)
    for name in ("listing", "absolute"):
        assert not quick.up([str(world.root / name)])
    wheels.chmod(0o755)
    assert quick.up([str(world.root / "absolute")])
