"""A commit's tree, fetched by git, with as much of its repository as a build may ask for.

Many builds ask the repository for their version (setuptools-scm, hatch-vcs, versioningit,
dunamai): for the nearest tag, how many commits lie between, and the commit's abbreviated id, whose
length follows from how many objects there are. They come to what uv has locked only with what uv
fetches: all history of the commit, and the tags that point into it. A commit whose pyproject.toml
has the version is fetched alone.

A repository is hostile input. None of its hooks run, nor any command that an address names; and
one from elsewhere names no repository of this machine as its submodule.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.inputs import read_text
from resolver.python.uv.run import ELSEWHERE, run_child
from resolver.toml import parse

if TYPE_CHECKING:
    from pathlib import Path

_PROTOCOLS = "git:http:https:ssh"
"""Not `ext`, which runs any command that an address names. `file` is added where the user's own
words or git settings name the place, and not a repository from elsewhere."""

_LOCAL = re.compile(r"file:|[/.]", re.IGNORECASE)


async def check_out(  # noqa: PLR0913 - what and whither, by name
    tree: Path, *, name: str, address: str, commit: str, subdirectory: str = "", lfs: bool = False
) -> None:
    """Have exactly `commit` in `tree`, which is not there yet, with its submodules.

    `address` is any that git takes; `name` is the distribution's, for messages. Whether its version
    is known without history says the pyproject.toml in `subdirectory`. `lfs`: files that Git LFS
    keeps are fetched, too; else they are its pointers, whatever the user's git is set to.
    """
    work = _Work(tree=tree, name=name, address=address, commit=commit)
    if not (await work.fetched(whole=False) and _has_version(tree / subdirectory)):
        with suppress(FileNotFoundError):
            await trio.to_thread.run_sync(shutil.rmtree, tree)
        await work.fetched(whole=True)
    if lfs:
        await work.with_lfs()


class _Work:
    """One commit being fetched."""

    def __init__(self, *, tree: Path, name: str, address: str, commit: str) -> None:
        self._tree, self._name = tree, name
        self._address, self._commit = address, commit
        self._environ = {
            **{key: value for key, value in os.environ.items() if key not in ELSEWHERE},
            "GIT_ALLOW_PROTOCOL": f"file:{_PROTOCOLS}",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_TEMPLATE_DIR": "",  # of submodules, too: it may have hooks
            "GIT_LFS_SKIP_SMUDGE": "1",
        }

    async def fetched(self, *, whole: bool) -> bool:
        """Whether it is there, alone or with the `whole` of its history, without which it fails.

        A host need not serve a bare commit; then all branches and tags are fetched.
        """
        await trio.Path(self._tree).mkdir()
        await self._must("init", "--quiet")
        bare = f"+{self._commit}:refs/commit/{self._commit}"
        depth = () if whole else ("--depth=1", "--no-tags")
        code, _, _ = await self._git("fetch", "--quiet", *depth, "--", self._address, bare)
        if code and not whole:
            return False
        if code:
            heads = "+refs/heads/*:refs/remotes/origin/*"
            await self._must("fetch", "--quiet", "--tags", "--", self._address, heads)
        # Not `checkout`: the branch that HEAD names, which there is not yet, becomes this commit.
        # Some builds ask for its name, and it is so for uv.
        await self._must("reset", "--quiet", "--hard", self._commit)
        if (head := await self._must("rev-parse", "HEAD")) != self._commit:
            raise PkgviewError(
                f"{self._name}: {masked(self._address)} gave commit {head}, "
                f"the lock wants {self._commit}",
                remedy="Lock the project again.",
            )
        if (self._tree / ".gitmodules").exists():
            await self._submodules(whole=whole)
        return True

    async def _submodules(self, *, whole: bool) -> None:
        if not _LOCAL.match(self._address):
            self._environ["GIT_ALLOW_PROTOCOL"] = _PROTOCOLS
        # Relative addresses are relative to the origin: theirs to ours, which no file says, as the
        # build might read a password there, and those of their own submodules to theirs.
        update = ("submodule", "update", "--quiet", "--init")
        for command in ((*self._origin, *update), (*update, "--recursive")):
            code = 1 if whole else (await self._git(*command, "--depth=1"))[0]
            if code:  # again not all hosts serve a bare commit
                await self._must(*command)

    async def with_lfs(self) -> None:
        """Have the files that Git LFS keeps in the place of its pointers, in submodules too."""
        if (await self._git("lfs", "version"))[0]:
            raise PkgviewError(
                f"{self._name} is wanted with its files in Git LFS, and there is no git-lfs",
                remedy="Install git-lfs.",
            )
        # What not everybody has set for all repositories; without it they count as changed files.
        install = ("lfs", "install", "--local", "--skip-repo")
        await self._must(*install)
        await self._must(*self._origin, "lfs", "pull")
        both = f"git {' '.join(install)} && git lfs pull"
        await self._must("submodule", "--quiet", "foreach", "--quiet", "--recursive", both)

    @property
    def _origin(self) -> tuple[str, ...]:
        return "-c", f"remote.origin.url={self._address}"

    async def _git(self, *arguments: str) -> tuple[int, str, str]:
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"]
        return await run_child([*command, *arguments], cwd=self._tree, environ=self._environ)

    async def _must(self, *arguments: str) -> str:
        code, stdout, stderr = await self._git(*arguments)
        if code:
            raise PkgviewError(
                f"cannot fetch {self._name} at {self._commit} from {masked(self._address)}: "
                f"{masked(stderr.strip())}",
                remedy="Check the address, the network, and that you may read the repository.",
            )
        return stdout.strip()


def _has_version(directory: Path) -> bool:
    """Whether its pyproject.toml says the version, so that no build has to find it."""
    with suppress(OSError, PkgviewError, tomllib.TOMLDecodeError, RecursionError):
        document = parse(read_text(directory / "pyproject.toml"))
        return isinstance(document.get("project", {}).get("version"), str)
    return False
