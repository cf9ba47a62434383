"""Packages of a Python lock: a wheel as it is, one that is built, or an editable tree.

Each choice is a package of the store, known under a key that says all that its archive follows
from.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from packaging.utils import canonicalize_name, canonicalize_version

from resolver.errors import PkgviewError
from resolver.fetch.wanted import Download
from resolver.project.package import Archives, Package
from resolver.project.resolved import identity_text
from resolver.python.build import BuiltFor, build_wheel
from resolver.python.directurl import direct_url
from resolver.python.editable import build_editable, editable_key, static_editable
from resolver.python.requirements import plain_wheel_name
from resolver.python.selection import Choice, Source
from resolver.python.unbuilt import as_files_say
from resolver.python.uv import note as uv_note
from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.pack import Member
from unionfs.formats.wheel.editable import editable_members
from unionfs.formats.wheel.reader import open_wheel
from unionfs.store.ordered import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from resolver.places import Places
    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject
    from unionfs.store.local import Store


_DIRECTORY = "directory"
_BUILT = "2"
"""Raised where the same source shall be built anew. What was built before may have been made with
any project's indexes, by any Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonPackage(Package):
    """A distribution.

    `accepted`: its project takes this release whatever its RECORD says of its files. Where nothing
    may run: `unbuilt` is a project to be taken as its files say, `earlier` the
    archive of a build that `pkgview up` made. `note`: uv's, of a distribution from this machine.
    """

    choice: Choice
    built_for: BuiltFor = field(default_factory=BuiltFor)
    accepted: bool = False
    unbuilt: PythonProject | None = None
    earlier: str | None = None
    note: Path | None = None

    def archive_in(self, store: Archives) -> str | None:
        """The same, if it is the distribution that the lock says.

        A lock may give the hash of another one. What this store happens to have does not decide
        whether that is noticed: it is then had from where the lock says, and refused.
        """
        archive = Package.archive_in(self, store)
        return archive if archive is not None and self._is(archive, store) else None

    def _is(self, archive: str, store: Archives) -> bool:
        choice = self.choice
        # Of a commit, and of a directory, only what was built says which version it is.
        certain = choice.kind not in {Source.VCS, Source.DIRECTORY}
        wanted = [(choice.name, (choice.version if certain else None) or "")]
        if choice.kind is Source.WHEEL:
            wanted.append(_announced(plain_wheel_name(choice.filename or "")))
        # Nearly always the archive is called as its wheel was.
        if all(_is_same(_announced(archive), one) for one in wanted):
            return True
        try:
            meta = store.open(archive).meta
        except LayerError:
            return False
        return all(_is_same((meta.name, meta.version), one) for one in wanted)


def _announced(filename: str) -> tuple[str, str]:
    """Name and version of a wheel, or of what is called like one."""
    name, _, rest = filename.partition("-")
    return name, rest.partition("-")[0]


def _is_same(found: tuple[str, str], wanted: tuple[str, str]) -> bool:
    """Name and version; where none is wanted ("") it is any."""
    (name, version), (wanted_name, wanted_version) = found, wanted
    return (name == wanted_name or canonicalize_name(name) == canonicalize_name(wanted_name)) and (
        wanted_version in {"", version}
        or canonicalize_version(version) == canonicalize_version(wanted_version)
    )


def package_of(
    choice: Choice,
    interpreter: Interpreter,
    state: Path,
    accept: Collection[str] = (),
    built_for: BuiltFor | None = None,
) -> PythonPackage:
    """A choice as a package of that interpreter's; in `state` uv's notes are kept.

    `accept` is `[tool.pkgview] accept` of its project.
    """
    built_for = built_for or BuiltFor()
    key, note = source_key(choice, interpreter, built_for), _noted(choice, state)
    accepted = any(_is_of(choice, one) for one in accept)
    if key is not None and accepted:
        key = f"accepted-{key}"  # who has not accepted it does not find it by its own
    if key is not None and choice.stated:
        # That this file has one of these hashes only who has read it knows.
        key = f"stated-{hashlib.sha256(f'{key} {choice.stated}'.encode()).hexdigest()}"
    if key is not None and note is not None:
        # Its archive leads to this user's note: another's would not do, nor one that has none.
        key = f"noted-{hashlib.sha256(f'{key} {note}'.encode()).hexdigest()}"
    if key is not None and choice.kind is Source.DIRECTORY:
        # `forget_built` finds by it what was built there.
        digest = hashlib.sha256(key.encode()).hexdigest()
        key = f"{_DIRECTORY}-{_place(_tree(choice))}-{digest}"
    return PythonPackage(
        name=choice.name,
        version=choice.version or "",
        grafts=interpreter.python.schemes.grafts,
        key=key,
        download=_download(choice) if choice.filename is not None else None,
        built=choice.runs_code,
        choice=choice,
        built_for=built_for,
        accepted=accepted,
        note=note,
    )


def packages_unbuilt(
    choices: Sequence[Choice], interpreter: Interpreter, project: PythonProject, places: Places
) -> list[PythonPackage]:
    """The same where nothing may run; all that would have to be built is one `PkgviewError`.

    What `pkgview up` has built before is taken; else a directory is as its files say, where
    `as_files_say` lets it.
    """
    store = Stores(places)
    built_for = BuiltFor(place=project.root, choices=tuple(choices), project=project)
    packages, sources, faults = [], [], []
    for choice in choices:
        accept = project.settings.accept
        package = package_of(choice, interpreter, places.state, accept, built_for)
        if choice.runs_code and package.archive_in(store) is None:
            if choice.kind is not Source.DIRECTORY or choice.path is None:
                sources.append(f"{choice.name} {choice.version or ''}".strip())
                continue
            package = replace(package, key=None, note=None)
            earlier = store.archive_of(_directory_key(choice, interpreter))
            try:
                package = (
                    replace(package, earlier=earlier)
                    if earlier is not None
                    else replace(package, unbuilt=_as_it_says(choice, project, places))
                )
            except PkgviewError as error:
                faults.append(f"{choice.name}: {error.what}")
        packages.append(package)
    if sources:
        lacking = "no wheel for this Python and platform, only source to build one from"
        faults.insert(0, f"{', '.join(sources)}: {lacking}")
    if faults:
        raise needs_build("; ".join(faults), project.directory)
    return packages


def needs_build(what: str, directory: Path) -> PkgviewError:
    """What only a build could give, which a person has to ask for."""
    command = f"pkgview up {shlex.quote(str(directory))}"
    return PkgviewError(what, remedy=f"Run `{command}`: it may build.")


def _as_it_says(choice: Choice, project: PythonProject, places: Places) -> PythonProject:
    return as_files_say(_tree(choice), project, places.state)


async def build(
    package: PythonPackage,
    source: Path | None,
    interpreter: Interpreter,
    within: Path,
    *,
    offline: bool,
) -> Path:
    """A wheel, or a tree in the shape of one, made in `within`."""
    choice, into = package.choice, within / "built"
    if package.unbuilt is not None:
        return await trio.to_thread.run_sync(static_editable, package.unbuilt, into)
    if choice.kind is Source.DIRECTORY and choice.editable:
        return await build_editable(
            _tree(choice),
            interpreter,
            into,
            name=choice.name,
            built_for=package.built_for,
            offline=offline,
            within=within,
        )
    return await build_wheel(
        choice,
        source,
        interpreter,
        into,
        built_for=package.built_for,
        offline=offline,
        within=within,
    )


def add(
    store: Store,
    package: PythonPackage,
    path: Path,
    interpreter: Interpreter,
    say: Callable[[str], None],
) -> str:
    """A wheel, or the tree of an editable build, as an archive of the store: its name.

    What was built of a directory is remembered as such, for who may not build. `say` is told what
    a person should know of how it was taken, a sentence.
    """
    archive, odd = _added(store, package, path, interpreter)
    if odd:
        say(f"{package.name} {package.version}: {'; '.join(odd)}.")
    if package.choice.kind is Source.DIRECTORY and package.unbuilt is None:
        store.record_source(_directory_key(package.choice, interpreter), archive)
    return archive


def _added(
    store: Store, package: PythonPackage, path: Path, interpreter: Interpreter
) -> tuple[str, tuple[str, ...]]:
    choice = package.choice
    if path.is_dir():
        meta, members, odd = editable_members(
            path, name=choice.name, headers=interpreter.python.schemes.headers
        )
        return store.add(_with_note(members, package.note), meta), odd
    # A fetched wheel has the lock's hashes; what was built is known by nobody's.
    sha256 = dict(choice.hashes).get("sha256") if choice.kind is Source.WHEEL else None
    if sha256 is None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with open_wheel(
        path,
        filename=choice.filename if choice.kind is Source.WHEEL else path.name,
        name=choice.name,
        version=choice.version if choice.kind is not Source.VCS else None,  # see `build_wheel`
        origin=f"sha256:{sha256}",
        direct_url=direct_url(choice),
        accepted=package.accepted or choice.runs_code,
    ) as wheel:
        return store.add(_with_note(wheel.members(), package.note), wheel.meta), wheel.odd


def source_key(
    choice: Choice, interpreter: Interpreter, built_for: BuiltFor | None = None
) -> str | None:
    """Under which key the store remembers what a choice became; None if it has to be made anew.

    A wheel is known by its own hash. What is built depends on the interpreter, too, and on settings
    for compilers and back ends (`resolver.buildenv`). What no index
    offered says where it is from, so that is a part of its key. A directory has no version that
    could be compared; the project's fingerprint says when to build it again.
    """
    built_for = built_for or BuiltFor()
    hashes = dict(choice.hashes)
    place = (direct_url(choice) or b"").decode()
    match choice.kind:
        case Source.WHEEL if "sha256" in hashes and place:
            digest = hashlib.sha256(f"{hashes['sha256']}\0{place}".encode())
            return f"direct-{digest.hexdigest()}"
        case Source.WHEEL if "sha256" in hashes:
            return f"sha256-{hashes['sha256']}"
        case Source.SDIST | Source.ARCHIVE if "sha256" in hashes:
            return _built_key(choice, interpreter, built_for, hashes["sha256"], place)
        case Source.VCS if choice.commit:
            # A tag that was set later makes another version of a commit.
            where, version = str(choice.url or choice.path), choice.version or ""
            history = f"with history {version}"
            return _built_key(choice, interpreter, built_for, choice.commit, where, place, history)
        case Source.DIRECTORY if choice.editable and choice.path is not None:
            settings = built_for.key(choice.name) if built_for.place else None
            return f"editable-{editable_key(_tree(choice), interpreter, settings)}"
        case _:
            return None


def _built_key(choice: Choice, interpreter: Interpreter, built_for: BuiltFor, *parts: str) -> str:
    what = [_BUILT, *parts, choice.subdirectory or "", interpreter.tag]
    what += filter(None, (built_for.key(choice.name), interpreter.own))
    return f"built-{hashlib.sha256(os.fsencode(chr(0).join(what))).hexdigest()}"


def _directory_key(choice: Choice, interpreter: Interpreter) -> str:
    """Of the last build of that very directory, whatever is in it now. No other store is asked."""
    tree = _tree(choice)
    what = f"{tree}\0{identity_text(tree)}\0{choice.name}\0{interpreter.tag}\0{interpreter.own}"
    return f"made-{_DIRECTORY}-{_place(tree)}-{hashlib.sha256(os.fsencode(what)).hexdigest()}"


def _place(directory: Path) -> str:
    """Which place it is, whatever directory is there."""
    return hashlib.sha256(os.fsencode(directory)).hexdigest()[:20]


def forget_built(store: Store, archives: Collection[str], directory: Path) -> None:
    """Know nothing more of what was built of a directory, and of those that these archives are of.

    All of it, by whichever Python and settings; who needs it again has it built.
    """
    known = store.sources_of(f"{_DIRECTORY}-", f"made-{_DIRECTORY}-")
    places = {key.split("-")[-2] for key, archive in known if archive in archives}
    for key, _ in known:
        if key.split("-")[-2] in places | {_place(directory)}:
            store.forget_source(key)


def _is_of(choice: Choice, release: str) -> bool:
    """Whether a release such as "demo==1.0" is the choice's."""
    name, _, version = release.partition("==")
    return (
        canonicalize_name(name) == choice.name
        and choice.version is not None
        and canonicalize_version(version) == canonicalize_version(choice.version)
    )


def _tree(choice: Choice) -> Path:
    return Path(choice.path or "", choice.subdirectory or "")


def _noted(choice: Choice, state: Path) -> Path | None:
    """Write the note of what uv compares with what lies there, at every look.

    What is not there will be missed by those who need it.
    """
    if not choice.direct or choice.path is None or choice.kind is Source.VCS:
        return None
    place = _tree(choice) if choice.kind is Source.DIRECTORY else choice.path
    with suppress(FileNotFoundError, NotADirectoryError):
        return uv_note.written(place, state, os.environ)
    return None


def _with_note(members: Iterable[Member], note: Path | None) -> Iterator[Member]:
    """The members, with a link to the note in `.dist-info`."""
    for member in members:
        directory, _, name = member.path.rpartition(b"/")
        if note is None or not directory.endswith(b".dist-info"):
            yield member
        elif name != os.fsencode(uv_note.NAME):
            yield member
            if name == b"RECORD":
                path = directory + b"/" + os.fsencode(uv_note.NAME)
                yield Member(path=path, kind=Kind.SYMLINK, target=os.fsencode(note))


def _download(choice: Choice) -> Download:
    return Download(
        url=str(choice.path) if choice.path is not None else choice.url or "",
        filename=choice.filename or "",
        size=choice.size,
        hashes=dict(choice.hashes),
        stated=choice.stated,
    )
