"""Who is killed while taking something out of uv's cache leaves nothing that uv takes for whole."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.python.uv.cache import forget_editable, forget_locked
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

CHANGES = ("rename", "unlink", "rmdir")
"""Each step is one of these, also of `pathlib` and `shutil`."""


class KilledError(BaseException):
    """In the place of a process's end."""


async def is_done(forget: Callable[[float], Awaitable[None]], steps: int) -> bool:
    """Whether that many steps were enough; from then on nothing is done any more."""
    done = itertools.count()

    def stopping(change: Callable[..., None]) -> Callable[..., None]:
        def stopped(*given: Any, **named: Any) -> None:  # noqa: ANN401 - whatever that takes
            if next(done) >= steps:
                raise KilledError
            change(*given, **named)

        return stopped

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, stopping(getattr(os, name)))
        try:
            await forget(0)
        except KilledError:
            return False
    return True


def kept(cache: Path) -> Iterator[Path]:
    """What there is of a distribution."""
    for path in cache.glob("*-v*/**/*"):
        if path.is_symlink() or path.suffix in {".py", ".whl", ".pkgview"}:
            yield path
    yield from (path for path in cache.rglob(".pkgview*"))


def install(cache: Path, target: Path, *what: str) -> set[str]:
    """By uv itself, as its user does."""
    subprocess.run(
        [uv_binary(), "pip", "install", "-q", "--no-deps", "--no-index", "--python", sys.executable,
         "--target", target, "--cache-dir", cache, *what],
        check=True,
    )  # fmt: skip
    return {path.name for path in target.rglob("*") if path.is_file()}


BACK_END = """
import zipfile

FILES = {
    "base.pth": "",
    "base-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: base\\nVersion: 1\\n",
    "base-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "base-1.dist-info/RECORD": "",
}

def build_wheel(into, *_):
    with zipfile.ZipFile(f"{into}/base-1-py3-none-any.whl", "w") as file:
        for name, text in FILES.items():
            file.writestr(name, text)
    return "base-1-py3-none-any.whl"

build_editable = build_wheel
"""


def source(at: Path) -> None:
    """A project that builds itself, without anything else."""
    at.mkdir()
    (at / "pyproject.toml").write_text(
        '[project]\nname = "base"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    )
    (at / "own.py").write_text(BACK_END)


@pytest.mark.parametrize("named", ["wheel", "sdist", "editable"])
async def test_uv_has_all_or_nothing_at_every_step(
    index: Any,  # noqa: ANN401 - a fixture of the directory's conftest
    tmp_path: Path,
    named: str,
) -> None:
    index.wheel("base", "1")
    (file,) = index.root.glob("base/*.whl")
    lib = tmp_path / "lib"
    source(lib)
    if named == "sdist":
        file = tmp_path / "base-1.tar.gz"
        with tarfile.open(file, "w:gz") as tar:
            tar.add(lib, "base-1")
    digest = sha256(file.read_bytes()).hexdigest()
    text = f'[[packages]]\nname = "base"\narchive = {{path = "{file}", '
    text += f'hashes = {{sha256 = "{digest}"}}}}\n'
    what = ["-e", str(lib)] if named == "editable" else [f"base@{file.as_uri()}#sha256={digest}"]

    async def forget(since: float) -> None:
        added = {"UV_CACHE_DIR": str(cache)}
        if named != "editable":
            await forget_locked(text.encode(), since, cwd=tmp_path, added=added)
        else:
            await forget_editable(since, cwd=tmp_path, added=added)

    cache, before = tmp_path / "uv-cache", tmp_path / "before"
    whole = install(cache, tmp_path / "target", *what)
    assert {"METADATA", "RECORD"} <= whole
    assert set(kept(cache))
    if named == "sdist":  # as where it is only locked: nothing is unpacked
        shutil.rmtree(next(cache.glob("archive-v*")))
        for link in filter(Path.is_symlink, cache.rglob("*")):
            link.unlink()
    cache.rename(before)
    for step in itertools.count():
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(before, cache, symlinks=True)
        finished = await is_done(forget, step)
        if step % 2 == 0:  # else a run of ours comes first
            assert install(cache, tmp_path / f"after-{step}", *what) == whole, step
            await forget(0)
        elif step:
            # Once it has begun, what is of before is its own.
            await forget(2.0**32)
        assert not set(kept(cache)), step
        if finished:
            break
    assert step > len(CHANGES)
