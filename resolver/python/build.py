"""Building: what is no wheel becomes one.

All builds run the distribution's own code, by way of uv, in uv's isolated build environment, with
the target interpreter. A directory is built where it lies, as pip and uv do: a copy would lose
what its build may look for around it (a repository, a sibling's files). Its back end may leave
`build/` behind there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked, without_userinfo
from resolver.local import place_content
from resolver.project.resolved import identity_text
from resolver.python.git.checkout import check_out
from resolver.python.index import uv_environment
from resolver.python.locks.chosen import Chosen
from resolver.python.requirements import local_places, normalised
from resolver.python.selection import Choice, Source
from resolver.python.uv.building import (
    BuildSettings,
    build_settings_of,
    extra_requirements,
)
from resolver.python.uv.run import (
    ELSEWHERE,
    explanation_of,
    refuse_undecodable,
    run_child,
    told,
    uv_binary,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

SHOWN_LINES = 30
"""Of a failed build's output: the last ones, where the reason is."""


@dataclass(frozen=True, kw_only=True)  # without slots: what is read of files is kept
class BuiltFor:
    """What a build is for: a project, whose settings of uv it gets, and all that it has.

    `place` is the project's directory, or a script; None: none is known. `project` has what its
    requirement files say besides.
    """

    place: Path | None = None
    choices: tuple[Choice, ...] = ()
    project: PythonProject | None = None

    def settings(self, name: str) -> BuildSettings:
        """The settings for the build of the distribution `name`."""
        return build_settings_of(
            normalised(name), self.chosen.effective, self._versions, os.environ
        )

    def key(self, name: str) -> str:
        """A digest of the settings that change what is built of it; "" where nothing is set."""
        general = self.chosen.general
        extra = extra_requirements(normalised(name), self.chosen.effective, self._versions)
        own = [*extra, *self.chosen.own]
        if local := [place for one in extra for place in local_places(one, Path("/"))]:
            own += [*map(_now, local), *self.chosen.whose]
        if not self.settings(name).isolated:
            own += map(_known, self.choices)
        if not own:
            return general
        return hashlib.sha256(os.fsencode("\0".join((general, *own)))).hexdigest()

    @cached_property
    def chosen(self) -> Chosen:
        """What the project has said."""
        return Chosen(place=self.place, project=self.project)

    @property
    def _versions(self) -> dict[str, str]:
        return {one.name: one.version for one in self.choices if one.version}


def _now(place: Path) -> str:
    """What a build requirement that is a file or a source tree is at the moment."""
    try:
        content = place_content(place).hex()
    except OSError:  # uv will have to complain of it
        content = ""
    return f"{place} {identity_text(place)} {content}" if place.is_dir() else f"{place} {content}"


async def build_wheel(  # noqa: PLR0913 - all but what and whither by name
    choice: Choice,
    source: Path | None,
    interpreter: Interpreter,
    into: Path,
    *,
    built_for: BuiltFor | None = None,
    offline: bool = False,
    within: Path | None = None,
) -> Path:
    """Build `choice` and return its wheel, in `into`, which is made if need be.

    `source` is the fetched and checked file of an sdist or archive, whatever its name; None for
    directories, which lie where they are, and for VCS, which is fetched here. `within` is where
    temporary directories are made; None for the system's usual place.
    """
    built_for = built_for or BuiltFor()
    what = f"cannot build {choice.name} {choice.version or ''}".rstrip()
    with tempfile.TemporaryDirectory(prefix="pkgview-build-", dir=within) as name:
        scratch = Path(name)
        # Build back ends leave out what a .gitignore says, of whatever work tree lies above TMPDIR.
        (scratch / ".git").touch()
        if choice.kind is Source.VCS:
            tree = scratch / "tree"
            await _checked_out(choice, tree, offline=offline)
        elif choice.kind is Source.DIRECTORY:
            tree = _directory(choice)
        elif source is None:
            raise ValueError(f"{choice.kind} {choice.name} without its file")
        else:
            # uv goes by the name: give the file its own, without a copy.
            tree = scratch / (choice.filename or source.name)
            tree.symlink_to(await trio.Path(source).resolve())
            if choice.subdirectory or not tree.name.endswith((".tar.gz", ".tgz", ".zip")):
                tree = await trio.to_thread.run_sync(_extracted, tree, scratch / "tree")
        if choice.subdirectory:
            tree /= choice.subdirectory
            _refuse_missing(tree, choice)
        made = scratch / "wheel"
        settings = built_for.settings(choice.name)
        arguments = ["build", "--wheel", "--no-create-gitignore", f"--out-dir={made}"]
        await build_with_uv(
            [*arguments, *settings.options, str(tree)],
            settings,
            built_for,
            interpreter,
            scratch=scratch,
            what=what,
            offline=offline,
        )
        return _the_wheel(made, choice, into)


async def build_with_uv(  # noqa: PLR0913 - one build, its circumstances by name
    arguments: Sequence[str],
    settings: BuildSettings,
    built_for: BuiltFor,
    interpreter: Interpreter,
    *,
    scratch: Path,
    what: str,
    offline: bool,
) -> None:
    """Run uv for a build; a failure shows the end of the build's own output.

    uv runs in the directory of the project that the build is for, with that one's settings and no
    others, as `uv sync` does; `scratch` is where files for it can be made. `arguments` lack the
    Python.
    """
    python = interpreter.executable
    if not settings.isolated:
        python = await _shared(built_for, interpreter, scratch, what=what, offline=offline)
        arguments = [*arguments, "--no-build-isolation"]
    await _run(
        [*arguments, f"--python={python}"],
        settings,
        built_for,
        built_for.chosen.cache(interpreter.executable),
        scratch=scratch,
        what=what,
        offline=offline,
    )


async def _shared(
    built_for: BuiltFor, interpreter: Interpreter, scratch: Path, *, what: str, offline: bool
) -> str:
    """The Python of an environment with all that is not built in it (`no-build-isolation`).

    So what is built in the environment that it is for finds there what else the project has. (Where
    nothing is isolated, what it finds with uv depends on what uv has in its cache.)
    """
    environment, listed = scratch / "shared", scratch / "shared.txt"
    others = [
        one
        for one in built_for.choices
        if not one.runs_code or built_for.settings(one.name).isolated
    ]
    listed.write_text("".join(f"{_line(one)}\n" for one in others))
    place = str(environment / "bin/python")
    plain, cache = built_for.settings(""), built_for.chosen.cache(interpreter.executable)
    for arguments in (
        ["venv", "--quiet", f"--python={interpreter.executable}", str(environment)],
        ["pip", "install", "--no-deps", f"--python={place}", f"--requirements={listed}"],
    ):
        await _run(arguments, plain, built_for, cache, scratch=scratch, what=what, offline=offline)
    return place


def _line(choice: Choice) -> str:
    """A choice as a line of a requirements file."""
    where = choice.path.as_uri() if choice.path is not None else choice.url or ""
    if choice.kind is Source.VCS:
        where = f"git+{where}@{choice.commit}"
    if choice.subdirectory:
        where += f"#subdirectory={choice.subdirectory}"
    return " ".join(
        [f"{choice.name} @ {where}", *(f"--hash={kind}:{value}" for kind, value in choice.hashes)]
    )


def _known(choice: Choice) -> str:
    """The file, commit or directory that a choice is: one name and version may be of several."""
    where = "" if choice.hashes else without_userinfo(str(choice.path or choice.url))
    if choice.path is not None and choice.kind is Source.DIRECTORY:
        where += f" {identity_text(choice.path)}"
    hashes = " ".join(f"{kind}:{value}" for kind, value in sorted(choice.hashes))
    parts = (choice.name, choice.version, hashes, where, choice.commit, choice.subdirectory)
    return " ".join(part or "" for part in parts)


async def _run(  # noqa: PLR0913 - one run, its circumstances by name
    arguments: Sequence[str],
    settings: BuildSettings,
    built_for: BuiltFor,
    cache: Mapping[str, str],
    *,
    scratch: Path,
    what: str,
    offline: bool,
) -> None:
    place = built_for.place
    cwd = scratch if place is None else place.parent if place.is_file() else place
    added = uv_environment(place)
    environ = {**os.environ, **added, **settings.variables, **cache}
    # UV_REQUIRE_HASHES is for what is installed; `uv build` takes it for what builds need, too.
    for name in (
        *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PYTHON"),
        "UV_REQUIRE_HASHES",
        *ELSEWHERE,
    ):
        environ.pop(name, None)
    environ |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    configuration = scratch / "uv.toml"
    configuration.write_text(settings.text)
    options = [f"--config-file={configuration}", *(["--offline"] if offline else [])]
    command = [uv_binary(), *options, *told(arguments, added)]
    refuse_undecodable(command)
    code, stdout, stderr = await run_child(command, cwd=cwd, environ=environ)
    if code == 0:
        return
    output = (stdout.rstrip() + "\n" + stderr.rstrip()).strip().splitlines()
    shown = output[-SHOWN_LINES:]
    left = f"… ({len(output) - len(shown)} lines before)\n" if len(output) > len(shown) else ""
    missing_network = not offline and re.search(r"error sending request|dns error", stderr)
    remedy = "Install what its build asks for, or ask for a version that has a wheel."
    if offline and re.search(r"No solution|not found|disabled", explanation_of(stderr)):
        remedy = "Its build needs distributions that are not here: try without --offline."
    elif missing_network:
        remedy = "Check the network, the proxy and the index's address."
    # In the settings that were written for it there may be passwords.
    raise PkgviewError(f"{what}:\n{left}" + masked("\n".join(shown)), remedy=remedy)


def _directory(choice: Choice) -> Path:
    if choice.path is None or not choice.path.is_dir():
        raise PkgviewError(
            f"{choice.name} is to be built from {choice.path}, and there is no such directory",
            remedy="Put it there, or lock the project again.",
        )
    return choice.path


def _refuse_missing(tree: Path, choice: Choice) -> None:
    if not tree.is_dir():
        raise PkgviewError(
            f"{choice.name} has no directory {choice.subdirectory}",
            remedy="Check the subdirectory that the requirement names.",
        )


def _the_wheel(made: Path, choice: Choice, into: Path) -> Path:
    """The one wheel that was built, moved to `into`; it must be the distribution that was asked."""
    wheels = sorted(made.glob("*.whl"))
    built = ", ".join(wheel.name for wheel in wheels) or "none"
    try:
        (wheel,) = wheels
        name, version, _, _ = parse_wheel_filename(wheel.name)
    except (ValueError, InvalidWheelFilename) as error:
        raise PkgviewError(
            f"the build of {choice.name} made not one wheel: {built}",
            remedy="Tell its authors, or ask for a version that has a wheel.",
        ) from error
    wanted = normalised(choice.name)
    # Of a commit the version says less than its id: another tag makes another of the same files,
    # and uv takes it, too.
    certain = choice.version if choice.kind is not Source.VCS else None
    if name != wanted or (certain and str(version) != certain):
        raise PkgviewError(
            f"the build of {wanted} {choice.version or ''} made {wheel.name}",
            remedy="Lock the project again; if that does not help, tell its authors.",
        )
    into.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(wheel, into / wheel.name))


def _extracted(archive: Path, tree: Path) -> Path:
    """Unpack a source archive; a single directory at its top is the tree."""
    tree.mkdir()
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(tree)  # noqa: S202 - zipfile drops ".." and leading slashes
        else:
            with tarfile.open(archive) as opened_tar:
                # The filter refuses what would leave the tree (PEP 706).
                opened_tar.extractall(tree, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError, TypeError) as error:
        raise PkgviewError(
            f"cannot unpack {archive.name}: {error}", remedy="Lock the project again."
        ) from error
    inside = list(tree.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else tree


async def _checked_out(choice: Choice, tree: Path, *, offline: bool) -> None:
    address = str(choice.path) if choice.path else (choice.url or "").removeprefix("git+")
    if offline and choice.path is None:
        raise PkgviewError(
            f"{choice.name} comes from {masked(address)}, which needs the network",
            remedy="Run it once without --offline.",
        )
    await check_out(
        tree,
        name=choice.name,
        address=address,
        commit=choice.commit or "",
        subdirectory=choice.subdirectory or "",
        lfs=choice.lfs,
    )
