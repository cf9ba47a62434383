"""Distributions from git, as hosts serve them: submodules, Git LFS, what is fetched of history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mounted.beside.repositories import a_host, git, repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]

BACK_END = """
import base64, hashlib, os, subprocess, zipfile
def asked(*words):
    return subprocess.run(["git", *words], capture_output=True, text=True).stdout
def build_wheel(directory, settings=None, metadata=None):
    files = {}
    for at, within, names in os.walk("."):
        within[:] = sorted(set(within) - {".git", "__pycache__"})
        for one in sorted(set(names) - {".git", "uv.lock"}):
            path = os.path.join(at, one)
            files["NAME_files/" + path[2:]] = open(path, "rb").read()
    seen = [asked("symbolic-ref", "--short", "HEAD"), asked("status", "--porcelain")]
    if b"dynamic" in files["NAME_files/pyproject.toml"]:
        seen += [asked("describe", "--tags", "--long", "--dirty"), asked("tag"), asked("log")]
    files["NAME.py"] = f"seen = {seen!r}\\n".encode()
    info = "NAME-1.dist-info/"
    files[info + "METADATA"] = b"Metadata-Version: 2.1\\nName: NAME\\nVersion: 1\\n"
    files[info + "WHEEL"] = b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    def line(path):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[path]).digest()).rstrip(b"=")
        return f"{path},sha256={digest.decode()},{len(files[path])}\\n"
    files[info + "RECORD"] = ("".join(map(line, files)) + f"{info}RECORD,,\\n").encode()
    with zipfile.ZipFile(os.path.join(directory, "NAME-1-py3-none-any.whl"), "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
    return "NAME-1-py3-none-any.whl"
"""
"""Its wheel holds all files of the tree, and what the repository says of it."""


def source(name: str, version: str = 'dynamic = ["version"]') -> dict[str, str]:
    """A distribution that is built without any other, and holds what its build found."""
    return {
        "backend.py": BACK_END.replace("NAME", name),
        "pyproject.toml": f'[project]\nname = "{name}"\n{version}\n[build-system]\n'
        'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    }


@pytest.fixture(scope="module")
def root(beside: Beside) -> Path:
    """Where the repositories are."""
    return beside.site.home / "repositories"


@pytest.fixture(scope="module")
def host(root: Path) -> Iterator[str]:
    """A server of them."""
    repository(root / "plain", source("plain"), "v1")
    repository(root / "fixed", source("fixed", 'version = "1"'), "v1")
    repository(
        root / "deep", {"README": "", **{f"in/it/{n}": c for n, c in source("deep").items()}}
    )
    repository(root / "with space", source("spaced"), "v1")
    with a_host(root) as url:
        yield url


@pytest.mark.parametrize(
    "address",
    [
        "plain @ git+{host}/plain",
        "plain @ git+{host}/plain@v1",  # a tag; HEAD is a commit later
        "plain @ git+{host}/plain@trunk",
        "plain @ git+{host}/plain/.git",
        "plain @ git+file://{root}/plain",
        "fixed @ git+{host}/fixed",
        "deep @ git+{host}/deep#subdirectory=in/it",
        "spaced @ git+{host}/with%20space",
    ],
)
def test_addresses(beside: Beside, host: str, root: Path, address: str) -> None:
    beside.same({"requirements.txt": address.format(host=host, root=root)})


def submodule(within: Path, address: str, place: str) -> None:
    """Have a repository have one, and commit that."""
    git(within, "submodule", "add", "-q", "--", address, place)
    git(within, "commit", "-qam", f"with {place}")


def test_submodules(beside: Beside, host: str, root: Path) -> None:
    """By addresses that are relative to the host's, in each other too; not at a branch's end."""
    repository(root / "part/inner", {"inner.txt": ""})
    middle = repository(root / "part/middle", {"middle.txt": ""}, "v7")
    submodule(middle, f"{host}/part/inner", "inner")
    git(middle, "config", "-f", ".gitmodules", "submodule.inner.url", "../inner")
    git(middle, "commit", "-qam", "relative")
    for name, version in (("outer", 'dynamic = ["version"]'), ("single", 'version = "1"')):
        outer = repository(root / name, source(name, version), "v3")
        submodule(outer, f"{host}/part/middle", "vendor/middle")
        git(outer, "config", "-f", ".gitmodules", "submodule.vendor/middle.url", "../part/middle")
        git(outer, "commit", "-qam", "relative")
    git(middle, "commit", "-q", "--allow-empty", "-m", "later")
    listed = f"outer @ git+{host}/outer\nsingle @ git+{host}/single\n"
    ended = beside.same({"requirements.txt": listed})
    for name in ("outer", "single"):
        (found,) = ended.root.glob(
            f"lib/*/site-packages/{name}_files/vendor/middle/inner/inner.txt"
        )
        assert found.is_file()


def test_a_submodule_on_this_machine(beside: Beside, host: str, root: Path) -> None:
    """No repository from elsewhere brings what lies here."""
    secret = repository(beside.site.home / "secret", {"secret.txt": ""})
    submodule(repository(root / "thief", source("thief")), str(secret), "stolen")
    commit = git(root / "thief", "rev-parse", "HEAD")
    lock = (
        'lock-version = "1.0"\ncreated-by = "hand"\n[[packages]]\nname = "thief"\n'
        f'vcs = {{type = "git", url = "{host}/thief", commit-id = "{commit}"}}\n'
    )
    beside.refused({"pylock.toml": lock}, says="transport 'file' not allowed")


@pytest.mark.parametrize("name", ["plain", "fixed"])
def test_a_commit_of_no_branch(beside: Beside, host: str, root: Path, name: str) -> None:
    """Such as a proposed change's; and by a host that serves no bare commit, if it has a tag."""
    git(root / name, "checkout", "-q", "--detach")
    git(root / name, "commit", "-q", "--allow-empty", "-m", "proposed")
    commit = git(root / name, "rev-parse", "HEAD")
    git(root / name, "update-ref", "refs/pull/1/head", commit)
    git(root / name, "checkout", "-q", "trunk")
    beside.same({"requirements.txt": f"{name} @ git+{host}/{name}@refs/pull/1/head\n"})
    beside.same({"requirements.txt": f"{name} @ git+{host}/{name}@{commit}\n"})


def test_started_by_a_hook(beside: Beside, host: str, root: Path) -> None:
    """git tells its hooks by variables which repository theirs is; a build asks another."""
    own = {"GIT_DIR": str(root / "deep/.git"), "GIT_WORK_TREE": str(root / "deep")}
    git(root / "plain", "commit", "-q", "--allow-empty", "-m", "for a hook")
    directory = beside.project({"requirements.txt": f"plain @ git+{host}/plain\n"})
    ended = beside.pkgview(directory, environ=own)
    assert ended.status == 0, ended.said
    assert "for a hook" in next(ended.root.glob("lib/*/site-packages/plain.py")).read_text()


LFS = """[filter "lfs"]
    clean = git-lfs clean -- %f
    smudge = git-lfs smudge -- %f
    process = git-lfs filter-process
    required = true
"""
"""What `git lfs install` sets."""


@pytest.fixture
def kept_in_lfs(host: str, root: Path, needs: Callable[..., None]) -> str:
    """The address of a repository with a file in Git LFS."""
    needs("git-lfs")
    if not (root / "large").exists():
        files = {**source("large"), ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
        place = repository(root / "large", files, "v1")
        (place / ".git/config").write_text((place / ".git/config").read_text() + LFS)
        (place / "large.bin").write_bytes(bytes(1000))
        git(place, "add", "-A")
        git(place, "commit", "-qm", "large")
    assert host
    return f"git+file://{root}/large"


@pytest.mark.parametrize(
    ("how", "environ", "size"),
    [
        ("requirements", {}, 129),
        ("requirements", {"UV_GIT_LFS": "1"}, 1000),
        ("fragment", {}, 1000),
        ("source", {}, 1000),
        ("lock", {}, 1000),
        ("other source", {}, 129),
        ("other source", {"UV_GIT_LFS": "1"}, 129),
        ("other lock", {"UV_GIT_LFS": "1"}, 129),
    ],
)
def test_git_lfs(
    beside: Beside, kept_in_lfs: str, how: str, environ: dict[str, str], size: int
) -> None:
    """The files or LFS's pointers to them, as uv's settings say."""
    (beside.site.home / ".gitconfig").write_text(LFS)  # without it uv does not fetch them
    lfs = str(not how.startswith("other")).lower()
    pyproject = (
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["large"]\n[tool.uv.sources]\n'
        f'large = {{git = "{kept_in_lfs.removeprefix("git+")}", lfs = {lfs}}}\n'
    )
    files = {"pyproject.toml": pyproject}
    if how in {"requirements", "fragment"}:
        fragment = "#lfs=true" if how == "fragment" else ""
        files = {"requirements.txt": f"large @ {kept_in_lfs}{fragment}\n"}
    if how.endswith("lock"):
        locked = beside.project(files)
        beside.site.uv("lock", "--python", beside.site.python, cwd=locked)
        files["uv.lock"] = (locked / "uv.lock").read_text()
    if how == "fragment":  # which `uv pip install` (0.13.9) reads and does not heed
        ended = beside.pkgview(beside.project(files))
        assert ended.status == 0, ended.said
    else:
        ended = beside.same(files, environ=environ)
    (found,) = ended.root.glob("lib/*/site-packages/large_files/large.bin")
    assert found.stat().st_size == size
