"""Selection: what one interpreter has to have of a lock, file by file.

Pure, but for reading it and `UV_GIT_LFS`.

PEP 751's algorithm is packaging's; here its result becomes `Choice` values in the lock's order,
and its refusals become sentences that name the distribution and what is offered.
"""

from __future__ import annotations

import enum
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
)

from resolver.errors import PkgviewError
from resolver.python.fit.tags import refuse_others, tags_among, unfit
from resolver.python.git.lfs import is_wanted
from resolver.python.hashes.held import fault, held_for, kept, refused, still_open
from resolver.python.project import Origin
from resolver.python.pylock import read_pylock, version_of
from resolver.python.unbuilt import is_of_workspace
from resolver.python.uv.formats import Formats, formats_of
from resolver.python.uv.pips import pip_settings
from resolver.python.uv.settings import is_virtual

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from packaging.markers import Environment

    from resolver.python.interpreter import Interpreter
    from resolver.python.lockfile import Lock
    from resolver.python.project import PythonProject

ANY = Formats()

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Source(enum.StrEnum):
    """Where a distribution's wheel comes from; all but the first have to be built."""

    WHEEL = "wheel"
    SDIST = "sdist"
    ARCHIVE = "archive"
    DIRECTORY = "directory"
    VCS = "vcs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One distribution to have.

    Exactly one of `url` (http, https, or a VCS's own) and `path` (absolute) is set; `absolute`: a
    file whose path the lock has so, wherever the lock lies. `filename` is a plain name, None for
    directories and VCS; `size` is in bytes; `hashes` are (algorithm, lower-case hexadecimal) pairs,
    at least one for every wheel, sdist and archive; of those in `stated`, if there are any, the
    file has to have one, too. `subdirectory` is relative and stays inside its tree. `commit` is a
    full hexadecimal id, `revision` the branch or tag that was asked for; `lfs`: files in Git LFS
    are wanted. `editable` is None where the lock does not say. `direct`: the requirement named it
    by its address, no index did. `passed_over` has the names of files of it that the lock lists and
    that are not understood.
    """

    name: str
    version: str | None
    kind: Source
    filename: str | None = None
    url: str | None = None
    path: Path | None = None
    absolute: bool = False
    size: int | None = None
    hashes: tuple[tuple[str, str], ...] = ()
    stated: tuple[tuple[str, str], ...] = ()
    editable: bool | None = None
    subdirectory: str | None = None
    commit: str | None = None
    revision: str | None = None
    lfs: bool = False
    direct: bool = False
    passed_over: tuple[str, ...] = ()

    @property
    def runs_code(self) -> bool:
        """Whether having it means to run a build that the distribution itself defines."""
        return self.kind is not Source.WHEEL


def select(
    lock: Lock,
    interpreter: Interpreter,
    extras: Collection[str] | None = None,
    groups: Collection[str] | None = None,
) -> tuple[Choice, ...]:
    """What `interpreter` needs of `lock`, in the lock's order, the project itself last.

    `extras` and `groups` replace the lock's own choice (`Lock.extras`).
    """
    by_pip = lock.project.origin in {Origin.REQUIREMENTS, Origin.PYLOCK}
    formats = formats_of(lock.project.root, pip=pip_settings() if by_pip else None)
    chosen = choices_of(
        lock.path,
        interpreter,
        lock.extras if extras is None else extras,
        lock.groups if groups is None else groups,
        formats,
        of=str(lock.project.root),
    )
    for choice in chosen:
        # uv pip lets what is edited be built, whatever is set; uv sync only the workspace's own.
        is_own = bool(choice.editable) if by_pip else is_of_workspace(lock.project, choice.path)
        if choice.runs_code and formats.is_not_to_be_built(choice.name) and not is_own:
            raise PkgviewError(
                f"{choice.name} would have to be built, and uv's no-build is set for it",
                remedy="Ask for a version that has a wheel, or take it out of uv's no-build.",
            )
    chosen = [one for one in chosen if by_pip or not is_virtual(lock.project.root, one.path)]
    return (*chosen, *_own_package(lock.project, chosen))


def _own_package(project: PythonProject, chosen: Iterable[Choice]) -> tuple[Choice, ...]:
    """The project itself, where it is a package and its lock does not list it."""
    if not project.package:
        return ()
    if any(choice.path == project.root or choice.name == project.name for choice in chosen):
        return ()
    name = project.name or project.root.name
    own = Choice(
        name=name,
        version=project.version,
        kind=Source.DIRECTORY,
        path=project.root,
        editable=True,
        direct=True,
    )
    return (own,)


def choices_of(  # noqa: PLR0913 - whose they are by name
    path: Path,
    interpreter: Interpreter,
    extras: Collection[str],
    groups: Collection[str],
    formats: Formats = ANY,
    *,
    of: str = "--with",
) -> list[Choice]:
    """What `interpreter` needs of the lock at `path`, which is `of` what, and no more than that."""
    pylock, odd = read_pylock(path, interpreter, extras, groups)
    pylock = _with_sources(pylock, formats)
    held = [held_for(one, interpreter.environment) for one in pylock.packages]
    pylock = replace(pylock, packages=held)
    tags = tags_among(interpreter, pylock)
    # A mapping of the same keys; `Environment` is packaging's name for its shape.
    environment = cast("Environment", dict(interpreter.environment))
    if pylock.requires_python and not pylock.requires_python.contains(
        interpreter.full, prereleases=True
    ):
        raise PkgviewError(
            f"{path} is for Python {pylock.requires_python}; "
            f"{interpreter.executable} is {interpreter.full}",
            remedy=f"Choose a Python {pylock.requires_python} with --python.",
        )
    try:
        selected = list(
            pylock.select(
                environment=environment,
                tags=tags,
                extras=extras,
                dependency_groups=groups,
            )
        )
    except PylockSelectError as error:
        raise unfit(path, pylock, interpreter, error) from error
    choices = [
        replace(_choice(path, package, source), passed_over=odd.get(package.name, ()))
        for package, source in selected
    ]
    named = (one for one in choices if one.direct and one.kind is Source.WHEEL)
    refuse_others((one.filename or "" for one in named), interpreter)
    for choice in choices:
        if choice.kind is Source.WHEEL and formats.is_to_be_built(choice.name):
            raise PkgviewError(
                f"{choice.name} is not to be taken as a wheel (uv's no-binary), and {path} has no "
                "source of it",
                remedy="Ask for a version that has one, or take it out of uv's no-binary.",
            )
    packages = [package for package, _ in selected]
    return list(_held(of, choices, packages, interpreter.environment))


def remark_on(choices: Iterable[Choice]) -> str:
    """What a person should know of them, a sentence; mostly ""."""
    passed = [name for one in choices for name in one.passed_over]
    if not passed:
        return ""
    variants = "whose names are not understood, such as those of wheel variants (PEP 817)"
    return f"Passed over files {variants}: {', '.join(passed)}."


def _with_sources(pylock: Pylock, formats: Formats) -> Pylock:
    """Without the wheels of what is to be built of its source."""
    if not formats.no_binary:
        return pylock
    packages = [
        replace(one, wheels=None) if one.sdist and formats.is_to_be_built(one.name) else one
        for one in pylock.packages
    ]
    return replace(pylock, packages=packages)


def _held(
    of: str,
    choices: Iterable[Choice],
    packages: Iterable[Package],
    environment: Mapping[str, str],
) -> Iterator[Choice]:
    """The choices with the hashes that their files have to have besides those of the lock."""
    faults = []
    for choice, package in zip(choices, packages, strict=True):
        try:
            stated = kept(package, environment)
        except ValueError as error:
            raise PkgviewError(
                f"the lock of {of} is damaged: {error}", remedy="Lock the project again."
            ) from error
        if stated is None:
            yield choice
        elif not choice.hashes or (left := still_open(stated, dict(choice.hashes))) is None:
            named = f"{choice.name} {choice.version or ''}".rstrip()
            hashes = [":".join(one) for one in stated]
            faults.append(fault(named, hashes, has_file=choice.kind is not Source.DIRECTORY))
        else:
            yield replace(choice, stated=left)
    if faults:
        raise refused(of, faults)


def _choice(
    path: Path,
    package: Package,
    source: PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist,
) -> Choice:
    place = f"{path}, {package.name}"
    version = str(package.version) if package.version else None
    if isinstance(source, PackageDirectory):
        return Choice(
            name=package.name,
            version=version,
            kind=Source.DIRECTORY,
            path=_joined(path.parent, source.path),
            editable=source.editable,
            subdirectory=_inside(source.subdirectory, place),
            direct=True,
        )
    url, local, absolute = _located(path.parent, source.url, source.path)
    if isinstance(source, PackageVcs):
        if source.type != "git" or not _COMMIT.fullmatch(source.commit_id):
            raise PkgviewError(
                f"{place}: cannot use {source.type} at {source.commit_id!r}",
                remedy="Only git is supported, and only with a full commit id.",
            )
        return Choice(
            name=package.name,
            version=version,
            kind=Source.VCS,
            url=url,
            path=local,
            subdirectory=_inside(source.subdirectory, place),
            commit=source.commit_id,
            revision=source.requested_revision,
            lfs=is_wanted(package.tool),
            direct=True,
        )
    filename = _filename(source, place)
    kind = Source.SDIST if isinstance(source, PackageSdist) else Source.ARCHIVE
    if filename.endswith(".whl"):
        kind = Source.WHEEL
    if kind is not Source.ARCHIVE:
        version = version or version_of(filename)
    subdirectory = source.subdirectory if isinstance(source, PackageArchive) else None
    return Choice(
        name=package.name,
        version=version,
        kind=kind,
        filename=filename,
        url=url,
        path=local,
        absolute=absolute,
        size=source.size,
        hashes=_hashes(source.hashes, place),
        subdirectory=_inside(subdirectory, place),
        direct=isinstance(source, PackageArchive),
    )


def _hashes(hashes: Mapping[str, str], place: str) -> tuple[tuple[str, str], ...]:
    for value in hashes.values():
        if not re.fullmatch(r"[0-9A-Fa-f]+", value):
            raise PkgviewError(
                f"{place}: {value!r} is no hexadecimal hash", remedy="Lock the project again."
            )
    return tuple(sorted((kind.lower(), value.lower()) for kind, value in hashes.items()))


def _filename(source: PackageArchive | PackageWheel | PackageSdist, place: str) -> str:
    """A plain file name; whatever the lock says, it must be safe to create a file of that name."""
    if isinstance(source, PackageArchive):
        name = unquote(urlsplit(source.path or source.url or "").path).rpartition("/")[2]
    else:
        name = source.filename
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise PkgviewError(f"{place}: {name!r} is no file name", remedy="Lock the project again.")
    return name


def _located(
    directory: Path, url: str | None, path: str | None
) -> tuple[str | None, Path | None, bool]:
    """A lock may give both; the path is preferred where it exists, as PEP 751 allows.

    And whether that path is the same wherever the lock lies.
    """
    local = _joined(directory, path) if path else None
    if path and local is not None and (url is None or local.exists()):
        return None, local, path.startswith("/")
    if url is not None and (parts := urlsplit(url)).scheme == "file":
        local = Path(unquote(parts.path))
        return None, local, local.is_absolute()
    return url, None, False


def _joined(directory: Path, path: str) -> Path:
    """Lexically: the paths were made that way, from resolved directories."""
    return Path(os.path.normpath(directory / path))


def _inside(subdirectory: str | None, place: str) -> str | None:
    if not subdirectory:
        return None
    parts = Path(subdirectory).parts
    if subdirectory.startswith("/") or ".." in parts or "\0" in subdirectory:
        raise PkgviewError(
            f"{place}: the subdirectory {subdirectory!r} leaves its tree",
            remedy="Lock the project again.",
        )
    return subdirectory
