"""What views share, and that nobody writes: one inode, one archive, one set of pages, EROFS."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.store.local import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.mounted.conftest import Large, Site

pytestmark = [pytest.mark.fuse, pytest.mark.network, pytest.mark.slow]

RICH = ("rich", "markdown-it-py", "mdurl", "pygments")
ALONE = (
    "attrs", "blinker", "certifi", "idna", "iniconfig", "itsdangerous", "packaging", "pluggy",
    "six", "tzdata",
)  # fmt: skip
"""Distributions of the large lock that need no other."""


def part_of_lock(lock: str, names: Iterable[str]) -> str:
    """A lock with these distributions only, as they are in the other."""
    head, *packages = re.split(r"^(?=\[\[packages\]\]$)", lock, flags=re.MULTILINE)
    wanted = set(names)
    found = {
        name: package
        for package in packages
        if (name := package.split('name = "', 1)[1].split('"', 1)[0]) in wanted
    }
    assert found.keys() == wanted
    return head + "".join(found.values())


def files_of(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of modification of all below a directory, links aside.

    Of a store without what is said of it, which is said again with each view.
    """
    return {
        os.fspath(path.relative_to(root)): (found.st_ino, found.st_size, found.st_mtime_ns)
        for path in root.rglob("*")
        if stat.S_ISREG((found := path.lstat()).st_mode) and path.parent != root / "users"
    }


@pytest.fixture(scope="module")
def before(large: Large) -> dict[str, tuple[int, int, int]]:
    """The store as the large project left it."""
    return files_of(large.places.store)


@pytest.fixture(scope="module")
def ten(large: Large, before: object) -> list[Path]:
    """Ten more projects: each has rich, and one distribution that the other nine have not."""
    del before
    lock = (large.directory / "pylock.toml").read_text()
    projects = []
    for name in ALONE:
        project = large.project(f"with-{name}")
        (project / "pylock.toml").write_text(part_of_lock(lock, (*RICH, name)))
        said = large.up(project, "--offline")
        assert said["fetched"] == 0
        assert said["distributions"] == len(RICH) + 1
        projects.append(project)
    return projects


def in_packages(large: Large, project: Path, path: str) -> Path:
    return large.packages((project / ".venv").resolve()) / path


# One inode, one archive


def test_ten_views_are_ten(large: Large, ten: list[Path]) -> None:
    views = {(project / ".venv").resolve() for project in ten}
    assert len(views) == 10
    for project, name in zip(ten, ALONE, strict=True):
        listed = {path.name for path in in_packages(large, project, "").glob("*.dist-info")}
        assert len(listed) == len(RICH) + 1
        assert any(one.startswith(name) for one in listed)


def test_the_same_file_has_one_inode_in_all_views(large: Large, ten: list[Path]) -> None:
    projects = [large.directory, *ten]
    for path in ("rich/console.py", "rich/py.typed", "pygments/lexers/python.py"):
        found = [in_packages(large, project, path).stat() for project in projects]
        assert len({(one.st_dev, one.st_ino) for one in found}) == 1, path
    scripts = [(project / ".venv/bin/pygmentize").stat().st_ino for project in projects]
    assert len(set(scripts)) == 1
    skeletons = [(project / ".venv/pyvenv.cfg").stat().st_ino for project in projects]
    assert len(set(skeletons)) == 1


def test_all_files_that_two_views_have_are_shared(large: Large, ten: list[Path]) -> None:
    """Not only those that were looked for: the whole of one view, against the large one."""
    one = large.packages((ten[0] / ".venv").resolve())
    other = large.packages(large.view)
    nodes: set[int] = set()
    for path in one.rglob("*"):
        if path.name == "_pkgview_pip_reader.py":
            continue  # the large one lists pip
        found, twin = path.lstat(), (other / path.relative_to(one)).lstat()
        assert (found.st_ino == twin.st_ino) is not stat.S_ISDIR(found.st_mode), path
        nodes.add(found.st_ino)
    assert len(nodes) > 500


def test_directories_are_each_views_own(large: Large, ten: list[Path]) -> None:
    for path in ("", "rich", "rich/_unicode_data", "pygments/lexers"):
        found = [in_packages(large, project, path).stat() for project in [large.directory, *ten]]
        assert len({one.st_ino for one in found}) == len(found), path


def test_no_two_paths_of_a_view_are_one_file(large: Large) -> None:
    """Whatever is in them: some two thousand files of this view are equal to others of it."""
    nodes = [path.lstat().st_ino for path in large.view.rglob("*")]
    assert len(set(nodes)) == len(nodes) > 10_000
    assert max(nodes) < 1 << 53


def test_ten_projects_add_nothing_to_the_store(
    large: Large, ten: list[Path], before: dict[str, tuple[int, int, int]]
) -> None:
    assert files_of(large.places.store) == before
    said = json.loads(large.pkgview("store", "--json", cwd=large.home).stdout)
    used = {one["archive"]: one["views"] for one in said["archives"]}
    assert len(used) == len([path for path in before if path.startswith("archives/")])
    (rich,) = (name for name in used if name.startswith("rich-"))
    (six,) = (name for name in used if name.startswith("six-"))
    assert used[rich] >= 1 + len(ten)  # others of these tests have views, too
    assert used[six] >= 2


def test_the_store_is_whole_and_a_third_of_the_environment(large: Large, by_uv: Path) -> None:
    large.pkgview("store", "verify", cwd=large.home)
    store = Store(large.places.store)
    # Without bytecode, which uv has not made either; other tests may have had it compiled.
    stored = sum(
        path.stat().st_size
        for path in store.archives.iterdir()
        if store.open(path.name).meta.kind != "bytecode"
    )
    assert stored < sum(size for _, size, _ in files_of(by_uv).values()) / 2


# One set of pages


def requests(large: Large) -> dict[str, int]:
    said = json.loads(large.pkgview("status", "--json", cwd=large.home).stdout)
    found: dict[str, int] = said["requests"]
    return found


def test_what_one_view_has_read_another_need_not_read(large: Large, ten: list[Path]) -> None:
    path = "pygments/lexers/_php_builtins.py"
    size = in_packages(large, ten[0], path).stat().st_size
    assert size > 4096
    with in_packages(large, ten[0], path).open("rb") as file:
        # Whoever compared the whole environment before has read this one too.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = requests(large).get("READ", 0)
    content = in_packages(large, ten[0], path).read_bytes()
    cold = requests(large)["READ"]
    assert cold > began  # else nothing is counted, or the page cache still had it
    for project in [*ten, large.directory]:
        assert in_packages(large, project, path).read_bytes() == content
    with (
        in_packages(large, ten[-1], path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        assert mapped[:] == content
    assert requests(large)["READ"] == cold


def test_a_view_that_was_walked_is_not_asked_for_again(large: Large, ten: list[Path]) -> None:
    """Names, attributes and links below `views/` stay with the kernel."""
    root = (ten[1] / ".venv").resolve()

    def walk() -> int:
        found = 0
        for path in root.rglob("*"):
            path.lstat()
            with contextlib.suppress(FileNotFoundError):
                (path.parent / "no such name").lstat()
            found += 1
        return found

    def asked(name: str) -> int:
        return requests(large).get(name, 0)

    counted = ("LOOKUP", "GETATTR", "READ")
    assert walk() > 500
    warm = [asked(name) for name in counted]
    walk()
    assert [asked(name) for name in counted] == warm


# Nobody writes

WRITER = """
import errno, json, os, shutil, socket, stat, sys

mount, view, packages, project, archive, outside = sys.argv[1:]


def opened(flags):
    return lambda path: os.close(os.open(path, flags, 0o644))


def inside(operation):
    return lambda path: operation(os.path.join(path, "new"))


def bound(path):
    # A path may be too long for an address.
    os.chdir(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.basename(path))


of_all = {
    "rename": lambda path: os.rename(path, path + ".new"),
    "lchown": lambda path: os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False),
    "utime of the link": lambda path: os.utime(path, follow_symlinks=False),
    "removexattr of the link": lambda path: os.removexattr(
        path, "user.pkgview", follow_symlinks=False
    ),
}
of_targets = {
    "chmod": lambda path: os.chmod(path, 0o777),
    "chown": lambda path: os.chown(path, os.getuid(), os.getgid()),
    "utime": lambda path: os.utime(path, (0, 0)),
    "setxattr": lambda path: os.setxattr(path, "user.pkgview", b"x"),
    "removexattr": lambda path: os.removexattr(path, "user.pkgview"),
}
of_names = {
    "unlink": os.unlink,
    "link": lambda path: os.link(path, path + ".new", follow_symlinks=False),
    "replace": lambda path: os.replace(archive + "/data", path)
    if os.path.lexists(archive + "/data")
    else os.replace(view + "/pyvenv.cfg", path),
}
of_files = {
    "O_WRONLY": opened(os.O_WRONLY),
    "O_RDWR": opened(os.O_RDWR),
    "O_APPEND": opened(os.O_WRONLY | os.O_APPEND),
    "O_TRUNC": opened(os.O_RDONLY | os.O_TRUNC),
    "O_CREAT": opened(os.O_WRONLY | os.O_CREAT),
    "truncate": lambda path: os.truncate(path, 0),
    "truncate to its size": lambda path: os.truncate(path, os.path.getsize(path)),
}
of_directories = {
    "create": inside(opened(os.O_WRONLY | os.O_CREAT)),
    "create only": inside(opened(os.O_RDONLY | os.O_CREAT | os.O_EXCL)),
    "create nameless": opened(os.O_RDWR | os.O_TMPFILE),
    "mkdir": inside(os.mkdir),
    "symlink": inside(lambda path: os.symlink("target", path)),
    "link into": inside(lambda path: os.link(packages + "/rich/console.py", path)),
    "mkfifo": inside(os.mkfifo),
    "mknod": inside(lambda path: os.mknod(path, stat.S_IFREG | 0o644)),
    "bind": inside(bound),
    "copy into": lambda path: shutil.copy(outside, path),
    "write": inside(lambda path: open(path, "w")),
}

directories = [
    mount + "/views", mount + "/projects", mount + "/packages", view, view + "/bin",
    view + "/lib", packages, packages + "/rich", archive, mount + "/bin/.", mount + "/current/.",
]
files = [
    packages + "/rich/console.py", packages + "/rich/py.typed", view + "/pyvenv.cfg",
    view + "/bin/activate", view + "/bin/pygmentize", mount + "/pyvenv.cfg",
]
links = [
    mount + "/current", mount + "/bin", mount + "/site-packages", project, view + "/bin/python3",
    view + "/lib64",
]
# A mount point and "." have no name that could be taken away.
nameless = {mount, mount + "/bin/.", mount + "/current/."}

attempts = []
for path in [mount, *directories]:
    attempts += [(path, name, how) for name, how in {**of_targets, **of_directories}.items()]
    if path not in nameless:
        attempts += [(path, name, how) for name, how in {**of_all, "rmdir": os.rmdir}.items()]
for path in files:
    every = {**of_all, **of_names, **of_targets, **of_files}
    attempts += [(path, name, how) for name, how in every.items()]
for path in links:
    attempts += [(path, name, how) for name, how in {**of_all, **of_names}.items()]

said = []
for path, name, how in attempts:
    try:
        how(path)
    except OSError as error:
        said.append([path, name, errno.errorcode[error.errno]])
    else:
        said.append([path, name, "nothing"])
for path in [mount, *directories, *files]:
    said.append([path, "access", "nothing" if os.access(path, os.W_OK) else "EROFS"])
json.dump(said, sys.stdout)
"""
"""Tries all that writes on all kinds of place; prints path, attempt and the errno's name."""


def places_to_write(mount: Path, project: Path, outside: Path) -> tuple[Path, ...]:
    """The arguments of `WRITER`. All below `mount`; nothing is resolved through `current`."""
    view = (project / ".venv").resolve()
    (packages,) = (view / "lib").glob("python3.*/site-packages")
    (key,) = (link for link in (mount / "projects").iterdir() if link.resolve() == view)
    (archive,) = (mount / "packages").glob("rich-15*")
    return mount, view, packages, key, archive, outside


def all_read_only(said: str) -> None:
    attempts = json.loads(said)
    assert len(attempts) > 250
    assert [one for one in attempts if one[2] != "EROFS"] == []


def test_root_cannot_write_anywhere(large: Large, ten: list[Path]) -> None:
    if os.geteuid() != 0:
        pytest.skip("the mount of an ordinary user is tried below")
    outside = ten[0] / "pylock.toml"
    arguments = places_to_write(large.places.mount, ten[0], outside)
    before = files_of(large.venv.resolve())
    said = large.run(large.python, "-c", WRITER, *arguments, cwd=ten[0]).stdout
    all_read_only(said)
    assert files_of(large.venv.resolve()) == before


def test_an_ordinary_owner_cannot_write_anywhere(large: Large, ordinary: dict[str, Any]) -> None:
    python = interpreter_for(ordinary)
    home = Path(ordinary["env"]["HOME"])
    ordinary["cwd"] = home
    certificates = {n: v for n, v in os.environ.items() if "SSL" in n or n.startswith("PIP_")}
    ordinary["env"] |= certificates
    lock = part_of_lock((large.directory / "pylock.toml").read_text(), RICH)

    def run(*command: str | Path) -> str:
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=120, **ordinary
        )
        assert ended.returncode == 0, ended.stderr + "".join(
            log.read_text() for log in home.rglob("daemon.log")
        )
        return str(ended.stdout)

    write = "import sys, pathlib; pathlib.Path('pylock.toml').write_text(sys.argv[1])"
    run(python, "-c", write, lock)
    pkgview = "from unionfs.cli import main; main()"
    run(python, "-P", "-c", pkgview, "up", "--python", python)
    mount = home / ".pkgview"
    # Who may look into it is the owner alone, so the places are found as the owner.
    find = (
        "import os, glob\n"
        f"mount, home = {os.fspath(mount)!r}, {os.fspath(home)!r}\n"
        "view = os.path.realpath(home + '/.venv')\n"
        "print(mount, view, *glob.glob(view + '/lib/python3*/site-packages'),\n"
        "  *glob.glob(mount + '/projects/*'), *glob.glob(mount + '/packages/rich-15*'))\n"
    )
    arguments = run(python, "-c", find).split()
    assert len(arguments) == 5
    all_read_only(run(python, "-c", WRITER, *arguments, home / "pylock.toml"))


def interpreter_for(options: dict[str, Any]) -> str:
    """One that has pkgview's dependencies, and that an ordinary user may run."""
    for program in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [program, "-c", "import pyfuse3, unionfs.cli"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, check=False, capture_output=True, **options).returncode == 0:
                return program
    pytest.skip("no interpreter with pkgview's dependencies that nobody may run")


# Nobody installs


def names_in(packages: Path) -> list[str]:
    return sorted(path.name for path in packages.iterdir())


@pytest.fixture
def unchanged(large: Large) -> Iterator[None]:
    """The view is afterwards what it was."""
    packages = large.packages(large.view)
    before = names_in(packages), files_of(large.view / "bin"), files_of(packages / "six.py")
    yield
    after = names_in(packages), files_of(large.view / "bin"), files_of(packages / "six.py")
    assert after == before


PIP = {
    ("pip", "install", "isodate"),
    ("pip3", "install", "--upgrade", "six"),
    ("python", "-m", "pip", "install", "isodate"),
    ("python", "-m", "pip", "uninstall", "-y", "flask"),
    ("pip", "install", "--user", "isodate"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("command", sorted(PIP), ids=" ".join)
@pytest.mark.parametrize("through", [".venv", ".pkgview"])
def test_pip_says_that_the_environment_is_pkgviews(
    large: Large, command: tuple[str, ...], through: str
) -> None:
    root = large.venv if through == ".venv" else large.places.mount
    ended = large.run(root / "bin" / command[0], *command[1:], cwd=large.directory, code=1)
    assert "error: externally-managed-environment" in ended.stderr
    assert "This environment is a pkgview view" in ended.stderr
    assert "pkgview up" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(large.home.glob(".local/lib/python*"))


@pytest.mark.usefixtures("unchanged")
def test_pip_that_is_told_to_go_on_meets_a_read_only_file_system(large: Large) -> None:
    ended = large.run(
        *(large.venv / "bin/pip", "install", "--break-system-packages", "isodate"),
        cwd=large.directory,
        code=1,
    )
    assert os.strerror(errno.EROFS) in ended.stderr


@pytest.mark.usefixtures("unchanged")
def test_uv_fails_cleanly(large: Large) -> None:
    def refused(*arguments: str) -> str:
        ended = large.uv("pip", *arguments, "-p", ".venv", cwd=large.directory, code=2)
        assert "Read-only file system (os error 30)" in ended.stderr
        assert "panicked" not in ended.stderr
        return ended.stderr

    # As docs/differences.md has it.
    assert "error: Failed to install: isodate-" in refused("install", "isodate")
    assert "error: failed to remove file" in refused("uninstall", "flask")


def test_installing_elsewhere_still_works(large: Large, site: Site) -> None:
    """pip of the view is no less a pip: only the view is closed."""
    target = site.home / "target"
    large.run(
        *(large.venv / "bin/pip", "install", "--target", target, "isodate"), cwd=large.directory
    )
    assert (target / "isodate/__init__.py").is_file()
