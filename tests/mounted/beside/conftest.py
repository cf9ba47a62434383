"""Inputs as others write them, read by pkgview and by uv or pip in one test.

A row is a project's files. `Beside.same` holds both to the same distributions with the same
files, byte for byte but for what docs/differences.md lists; `Beside.refused` to a refusal by both.
Where we differ on purpose, a test says so itself, with the reason.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from email.parser import HeaderParser
from typing import TYPE_CHECKING

import pytest

from resolver.python.uv.run import uv_binary
from tests.mounted.conftest import a_shop, an_index, forked
from tests.mounted.test_environment_equal import Sides, met
from tests.mounted.test_environment_equal import tree as tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.mounted.conftest import Index, Site


_LISTED = ("pylock.toml", "requirements.txt")
"""What uv and pip install as a file; the first one that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one tool ended: its `root` is the environment that it made, if any."""

    status: int
    said: str
    root: Path

    @property
    def distributions(self) -> dict[str, str]:
        """Names and versions of what is installed there."""
        parsed = HeaderParser().parsestr
        found = [
            parsed(path.read_text(errors="replace"))
            for path in self.root.glob("lib/python3.*/site-packages/*.dist-info/METADATA")
        ]
        return {re.sub(r"[-_.]+", "-", one["Name"]).lower(): one["Version"] for one in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """pkgview in a home of its own, beside uv and pip with the same settings."""

    site: Site
    index: Index
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def project(self, files: Mapping[str, str | bytes]) -> Path:
        """A new directory with these files; `{index}` in a text stands for the index's URL."""
        directory = self.site.project(f"row{next(self._numbers)}")
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content.replace("{index}", self.index.url))
            else:
                path.write_bytes(content)
        return directory

    def pkgview(
        self, directory: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> Ended:
        """`pkgview up`; of a script if that is what `arguments` name."""
        site = self.site
        ended = forked().run(
            ["up", "--python", os.fspath(site.python), *arguments], cwd=directory,
            environ={**site.environ, **(environ or {})}, seconds=240,
        )  # fmt: skip
        return Ended(
            status=ended.returncode, said=ended.stderr + ended.stdout, root=directory / ".venv"
        )

    def uv(
        self, directory: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> Ended:
        """What uv installs, of a requirements.txt or pylock.toml or else of a project.

        `arguments` are added to `uv pip install -r FILE`, or to `uv sync`.
        """
        root = self.site.home / f"uv-{directory.name}"
        listed = [one for one in _LISTED if (directory / one).exists()]
        # `uv sync` would make one with the project's name as its prompt.
        made = self._run(directory, [uv_binary(), "venv", "-q", "-p", self.site.python, root])
        assert made.status == 0, made.said
        if listed:
            command = ["pip", "install", "--preview-features", "pylock", f"--python={root}"]
            command += ["-r", listed[0]]
        else:
            command = ["sync", f"--python={self.site.python}"]
        ended = self._run(
            directory, [uv_binary(), *command, *arguments],
            environ={"UV_PROJECT_ENVIRONMENT": os.fspath(root), **(environ or {})},
        )  # fmt: skip
        return Ended(status=ended.status, said=ended.said, root=root)

    def pip(
        self, directory: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> Ended:
        """What pip installs of a pylock.toml or requirements.txt, with uv's indexes."""
        root = self.site.home / f"pip-{directory.name}"
        made = self._run(directory, [uv_binary(), "venv", "-q", "-p", self.site.python, root])
        assert made.status == 0, made.said
        python = os.fspath(root / "bin/python")
        command = [sys.executable, "-m", "pip", "--python", python, "install"]
        added = {"PIP_INDEX_URL": self.index.url, **(environ or {})}
        listed = [one for one in _LISTED if (directory / one).exists()]
        ended = self._run(directory, [*command, "-r", listed[0], *arguments], environ=added)
        return Ended(status=ended.status, said=ended.said, root=root)

    def same(
        self,
        files: Mapping[str, str | bytes],
        *arguments: str,
        by: str = "uv",
        exact: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> Ended:
        """Both take it, and make the same of it; `by`: "uv" or "pip". What pkgview made of it.

        Unless `exact`, only the distributions are compared.
        """
        directory = self.project(files)
        ours = self.pkgview(directory, *arguments, environ=environ)
        assert ours.status == 0, ours.said
        theirs = getattr(self, by)(directory, *arguments, environ=environ)
        assert theirs.status == 0, theirs.said
        assert ours.distributions == theirs.distributions
        assert ours.distributions, theirs.said
        if by == "uv" and exact:
            met(Sides(view=ours.root.resolve(), uvs=theirs.root,
                      ours=tree_of(ours.root.resolve()), theirs=tree_of(theirs.root)))  # fmt: skip
        return ours

    def refused(
        self,
        files: Mapping[str, str | bytes],
        *arguments: str,
        says: str,
        by: str = "uv",
        environ: Mapping[str, str] | None = None,
    ) -> Ended:
        """Neither takes it, and pkgview says why: `says` is a regular expression."""
        directory = self.project(files)
        theirs = getattr(self, by)(directory, *arguments, environ=environ)
        assert theirs.status != 0, theirs.said
        ours = self.pkgview(directory, *arguments, environ=environ)
        assert ours.status == 1, ours.said
        assert re.search(says, ours.said), ours.said
        assert not os.path.lexists(directory / ".venv")
        return ours

    def _run(
        self,
        directory: Path,
        command: Sequence[str | Path],
        environ: Mapping[str, str] | None = None,
    ) -> Ended:
        ended = subprocess.run(
            command, cwd=directory, env={**self.site.environ, **(environ or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=240,
        )  # fmt: skip
        return Ended(status=ended.returncode, said=ended.stdout, root=directory)


_BACK_END = """
import base64, hashlib, zipfile

NAME = "…"

def build_wheel(directory, config_settings=None, metadata_directory=None):
    info = f"{NAME}-1.0.dist-info"
    files = {
        f"{NAME}.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1.0\\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = f"{info}/RECORD,,\\n"
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\\n"
    with zipfile.ZipFile(f"{directory}/{NAME}-1.0-py3-none-any.whl", "w") as file:
        for path, data in {**files, f"{info}/RECORD": record.encode()}.items():
            file.writestr(path, data)
    return f"{NAME}-1.0-py3-none-any.whl"
"""


def tree(name: str, *requires: str) -> dict[str, str]:
    """A source tree of one module, version 1.0, whose build needs this and no more."""
    needed = ", ".join(f'"{one}"' for one in requires)
    return {
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "1.0"\n[build-system]\n'
        f'requires = [{needed}]\nbuild-backend = "back"\nbackend-path = ["."]\n',
        "back.py": _BACK_END.replace("…", name),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }


@pytest.fixture(scope="module")
def beside(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:  # noqa: ARG001 - its refusal counts
    """A home, a mount and an index for all rows of a module: their distributions need own names."""
    directory = tmp_path_factory.mktemp("beside")
    with an_index(directory / "index") as index, a_shop(directory / "home", index) as site:
        yield Beside(site=site, index=index)
