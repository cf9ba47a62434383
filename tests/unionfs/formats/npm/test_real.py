"""Real packages: what npm installs of them is what their tarballs are read as, byte by byte."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unionfs.formats.npm.test_reader import contents
from unionfs.formats.npm.integrity import Integrity

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

PACKAGES = (
    "@types/node@20.14.10",  # its first component is not `package`
    "arr-diff@2.0.0",  # 0744, from before npm wrote tarballs by rules
    "coffee-script@1.12.7",  # commands
    "esbuild@0.21.5",  # one more package for this platform
    "lodash@4.17.21",
    "npm@10.8.2",  # bundles 190 others
    "typescript@5.4.5",
)


def test_real_packages(tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("npm")
    (tmp_path / "package.json").write_text('{"name": "project", "version": "1.0.0"}')
    options = ["--ignore-scripts", "--no-audit", "--no-fund", f"--cache={tmp_path}/cache"]
    run = subprocess.run(
        ["npm", "install", *options, *PACKAGES],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        umask=0o022,
    )
    assert run.returncode == 0, run.stderr
    lock = json.loads((tmp_path / "package-lock.json").read_text())["packages"]
    looked_at = modes = 0
    for where, said in lock.items():
        if "integrity" not in said or not (tmp_path / where).is_dir():
            continue
        ours = contents(
            in_cache(tmp_path / "cache", said["integrity"]),
            name=where.partition("node_modules/")[2],
            version=said["version"],
            integrity=said["integrity"],
        )
        theirs = installed(tmp_path, where, lock)
        assert {path: content for path, (_, content) in ours.items()} == {
            path: content for path, (_, content) in theirs.items()
        }
        for path, (mode, _) in theirs.items():
            assert ours[path][0] is bool(mode & 0o111)
            modes += mode not in {0o644, 0o755}
        looked_at += 1
    assert looked_at >= len(PACKAGES)
    assert modes  # of arr-diff


def in_cache(cache: Path, integrity: str) -> Path:
    """Where npm's cache has a file of that hash."""
    wanted = Integrity.parse(integrity)
    (digest,) = wanted.hexadecimal
    below = (wanted.algorithm, digest[:2], digest[2:4], digest[4:])
    return cache.joinpath("_cacache/content-v2", *below)


def installed(project: Path, where: str, lock: dict[str, Any]) -> dict[str, tuple[int, bytes]]:
    """A package's files, without those of other packages that npm has put below it."""
    top = project / where
    found = {}
    for directory, below, names in os.walk(top):
        at = Path(directory)
        below[:] = [
            name
            for name in below
            if name != ".bin"
            and lock.get(str((at / name).relative_to(project)), {}).get("inBundle", True)
        ]
        for name in names:
            path = at / name
            mode = stat.S_IMODE(path.lstat().st_mode)
            found[str(path.relative_to(top))] = (mode, path.read_bytes())
    return found
