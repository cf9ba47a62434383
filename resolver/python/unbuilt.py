"""Source directories where no code may run: which are a project's own, and what their files say.

Who merely starts a program has not said that anything may be built (`Wish.no_build`). A workspace
member, or a path dependency, that lies in the project's own tree is as much the project as the
project's own directory, which needs no build either: its metadata stand in its pyproject.toml, and
its code where it lies. So it is taken as its files say (`resolver.python.editable`), if

* it lies, all links followed, in the project's own tree: the project's directory, or that of the
  uv workspace which counts it as a member; and so does its code;
* it belongs to who may be believed of the project, and nobody else may write there;
* its metadata are static, and its build back end only puts files together.

Whatever else would have to be built, by `pkgview up`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver import looks
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.local import BUILD_FILES
from resolver.ownership import faults
from resolver.project import trust
from resolver.python.layers.trees import code_of
from resolver.python.project import Origin, of_workspace, project_at
from resolver.python.requirements import logical_lines, requirement_files, requirement_text
from resolver.python.uv.formats import formats_of
from resolver.python.uv.run import run_uv
from resolver.python.uv.workspace import counts, member_patterns
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.project import PythonProject

_DECISIVE = frozenset({
    "name", "version", "requires-python", "dependencies", "optional-dependencies", "scripts",
    "gui-scripts", "entry-points",
})  # fmt: skip
"""Fields of metadata that a view or a resolution follows from."""

_PLAIN_BACK_ENDS = frozenset({
    "flit_core.buildapi", "hatchling.build", "pdm.backend", "poetry.core.masonry.api",
    "setuptools.build_meta", "uv_build",
})  # fmt: skip
"""Back ends that put a distribution together of its files: nothing is compiled."""

_NO_BINARY = re.compile(r"--no-binary[=\s\\]*([^\s#]*)")
"""What follows it, in whatever way a reader may break lines."""

_ANY_EDITABLE = re.compile(r"(?:^|\s)(?:-e|--editable)")
_EDITABLE = re.compile(
    r"(?:-e|--editable)[=\s]\s*([A-Za-z0-9_./-]+)(?:\[[A-Za-z0-9._,\s-]*\])?(?:\s*;.*)?"
)
_ODD = re.compile(r"[^\S \t\r\n]|[\x00-\x08\x0e-\x1f\x7f-\x9f]|\r(?!\n)")


def own_tree(project: PythonProject) -> Path:
    """The directory that is a project's own; a script has none but its file."""
    if project.origin is not Origin.SCRIPT:
        for parent in project.root.parents:
            with suppress(PkgviewError):  # not TOML, say: it counts nobody
                if looks.is_file(parent / "pyproject.toml") and counts(parent, project.root):
                    return parent
    return project.root


def is_of_workspace(project: PythonProject, path: Path | None) -> bool:
    """Whether a directory is the project's own, or a member of its uv workspace."""
    if path is None or project.is_script:
        return False
    root = own_tree(project)
    return path in {root, project.root} or (path.is_relative_to(root) and counts(root, path))


def members(directory: Path) -> Iterator[PythonProject]:
    """The members of the uv workspace that a directory is in, its root too."""
    root = next((one for one in (directory, *directory.parents) if member_patterns(one)), None)
    for place in of_workspace(root) if root else ():
        with suppress(PkgviewError):
            member = project_at(os.fspath(place.parent), own_lock=False)
            if member is not None:
                yield member


def is_inside(tree: Path, path: Path) -> bool:
    """Whether a path lies in that directory when all links are followed."""
    real = os.path.realpath(path)
    return Path(real).is_relative_to(os.path.realpath(tree))


def as_files_say(directory: Path, project: PythonProject, state: Path) -> PythonProject:
    """What a directory says that a project's lock names; `PkgviewError` why that will not do."""
    place, tree = Path(os.path.realpath(directory)), own_tree(project)
    if not place.is_dir():
        raise PkgviewError(f"{place} is no directory")
    if not is_inside(tree, place):
        raise PkgviewError(f"{place} is not in the project's own tree, {tree}")
    found = project if place == project.root else _static(place)
    code = code_of(place)
    if not is_inside(tree, code):
        raise PkgviewError(f"{code} leads out of the project's own tree, {tree}")
    if place != project.root:
        files = (place / name for name in BUILD_FILES if (place / name).is_file())
        against = list(faults({place, Path(os.path.realpath(code))}, os.geteuid(), files))
        trusted = trust.of(str(project.root), state) if against else None
        problem = trust.objection(project, trusted, against) if trusted else None
        if against and (problem or trusted is None):
            raise PkgviewError(problem or against[0].said)
    return found


def _static(place: Path) -> PythonProject:
    """The project there, if its metadata are all in pyproject.toml and its code is in its files."""
    found = project_at(os.fspath(place), own_lock=False)
    if found is None or found.name is None:
        raise PkgviewError(f"{place} has no pyproject.toml with a [project] that names it")
    document = parse(read_text(place / "pyproject.toml"))
    dynamic = document["project"].get("dynamic", [])
    unknown = sorted(_DECISIVE.intersection(dynamic if isinstance(dynamic, list) else _DECISIVE))
    if unknown or found.version is None:
        what = ", ".join(unknown) or "version"
        raise PkgviewError(f"only a build can tell its {what} ({place})")
    system = document.get("build-system", {})
    back_end = system.get("build-backend", "setuptools.build_meta")
    # Beside static metadata a setup.py mostly says what to compile.
    compiles = back_end.startswith("setuptools") and (place / "setup.py").exists()
    if back_end not in _PLAIN_BACK_ENDS or "backend-path" in system or compiles:
        back_end = "setup.py" if compiles else back_end
        raise PkgviewError(f"{back_end} may make more of it than its files ({place})")
    return found


def refuse_sources(project: PythonProject) -> None:
    """Refuse what `uv pip compile` would build from its source in spite of `--no-build`.

    uv takes `no-binary` for a package by its name as an exception to that (`no_build_package` in
    crates/uv-configuration/src/build_options.rs), wherever it stands, and runs its back end. No
    option takes that back.
    """
    if project.origin not in {Origin.PYPROJECT, Origin.REQUIREMENTS}:
        return
    read = {name: value for name, value in os.environ.items() if not name.startswith("UV_NO_BIN")}
    named = set(formats_of(project.root, read, pip={}).no_binary)
    if project.origin is Origin.REQUIREMENTS:
        for path in requirement_files(project.root / Origin.REQUIREMENTS).files:
            named |= set(_NO_BINARY.findall(read_text(path)))
    if named:
        raise PkgviewError(
            f"{project.root} has {', '.join(sorted(named))} built from source (no-binary)",
            remedy="Run `pkgview up` in the project: it may build.",
        )


async def refuse_editables(project: PythonProject, executable: str) -> None:
    """Refuse what uv would build although it was told not to.

    Of a line `-e ./x` in a requirements file uv has to know the distribution's name first; where no
    file of x tells, uv runs its setup.py or back end, with `--no-build` too
    (`build_metadata` in uv's crates/uv-distribution/src/source/mod.rs). Without `-e` it does not:
    so it is asked for each such directory first, in that way, and with nothing of earlier builds.
    """
    if project.origin is not Origin.REQUIREMENTS:
        return
    alone = ("--no-build", "--no-deps", "--no-cache", "--offline", "--quiet")
    for directory in dict.fromkeys(_editables(project)):
        await run_uv(
            ["pip", "compile", "-", *alone, f"--python={executable}"],
            cwd=project.directory,
            added={},
            stdin=f"{directory}\n".encode(),
            doing=f"{directory} cannot be used without building it",
        )


def _editables(project: PythonProject) -> Iterator[Path]:
    """The directories of all such lines; a line that is not surely understood is an error."""
    for path in requirement_files(project.root / Origin.REQUIREMENTS).files:
        text = requirement_text(path)
        if not _ANY_EDITABLE.search(text):
            continue
        for number, line in logical_lines(text):
            if not _ANY_EDITABLE.search(line):
                continue
            named = _EDITABLE.fullmatch(line)
            if named is None or _ODD.search(text):
                raise PkgviewError(
                    f"{path}, line {number}: {line!r} may have to be built",
                    remedy="Write it as -e ./directory.",
                )
            yield project.root / named[1]
