"""Projects of Python's: which one a directory or a script belongs to, what decides its packages.

A project is the nearest directory upwards with `pylock.toml` (PEP 751), `uv.lock` beside
`pyproject.toml`, `pyproject.toml` with `[project]` (PEP 621), or `requirements.txt`; in one
directory the first of these decides. A script with an inline block (PEP 723) is a project of its
own.

It imports neither packaging nor anything that talks to the network.
"""

from __future__ import annotations

import enum
import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver import looks, toml
from resolver.buildenv import relative_indexes
from resolver.errors import PkgviewError
from resolver.inputs import read_input, read_text
from resolver.local import BUILD_FILES
from resolver.ownership import parents
from resolver.project.project import Project
from resolver.python.layers.listed import HandLayer, layers_in
from resolver.python.layers.trees import state_of
from resolver.python.local.places import member_files, places_of, source_trees
from resolver.python.requirements import (
    RequirementFiles,
    dynamic_files,
    normalised,
    releases,
    requirement_files,
)
from resolver.python.uv.around import settings_files
from resolver.python.uv.inline import script_text
from resolver.python.uv.pins import pin_of
from resolver.python.uv.workspace import counts, document_at, members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NO_FILES = RequirementFiles()
_SETTINGS = frozenset(("prefer", "accept", "python", "extras", "groups", "layer"))


class Origin(enum.StrEnum):
    """What a project's lock comes from."""

    PYLOCK = "pylock.toml"
    UV = "uv.lock"
    PYPROJECT = "pyproject.toml"
    REQUIREMENTS = "requirements.txt"
    SCRIPT = "script"
    NOTHING = "nothing"
    """No project counts, and what is added for one run gets the settings of uv of a directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`[tool.pkgview]`; `accept` has releases ("demo==1.0") whose RECORD may be wrong."""

    prefer: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    python: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None
    layers: tuple[HandLayer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonProject(Project):
    """One project. `source_trees` are the local directories that its requirements name.

    `around` are inputs that hold no more than settings of uv, or a Python. `package` says that the
    project is itself a distribution, to be installed editable. `default_groups` are the dependency
    groups (PEP 735) a view has unless told otherwise. `dynamic`: some of its metadata only its
    build back end can tell. `group_pythons` says which Python a group needs, as `requires_python`
    does of the project. `python_pin` is what `.python-version` says, `pins_remark` a sentence on
    what of it only other tools can read. `prereleases`: its requirement files ask for them.
    """

    origin: Origin
    name: str | None = None
    version: str | None = None
    requires_python: str | None = None
    python_pin: str | None = None
    pins_remark: str = ""
    settings: Settings = field(default_factory=Settings)
    package: bool = False
    default_groups: tuple[str, ...] = ()
    source_trees: tuple[Path, ...] = ()
    around: tuple[Path, ...] = ()
    dynamic: bool = False
    group_pythons: Mapping[str, str] = field(default_factory=dict)
    prereleases: bool = False

    def needed_python(self, groups: Iterable[str] = ()) -> str | None:
        """What a Python has to be for the project, its default groups, and these groups."""
        wanted = dict.fromkeys(map(normalised, (*self.default_groups, *groups)))
        bounds = (self.group_pythons.get(one) for one in wanted)
        return ", ".join(filter(None, (self.requires_python, *bounds))) or None

    @property
    def uv_lock(self) -> Path | None:
        """The lock of its own that uv made: `uv.lock`, or `script.py.lock` beside a script."""
        if self.is_script:
            return next((one for one in self.inputs if str(one) == f"{self.root}.lock"), None)
        return self.inputs[0] if self.origin is Origin.UV else None

    @property
    def directory(self) -> Path:
        """A script's is the one that it lies in."""
        return self.root.parent if self.is_script else self.root

    @property
    def is_script(self) -> bool:
        """Whether it is a script with an inline block (PEP 723)."""
        return self.origin is Origin.SCRIPT

    @property
    def holding(self) -> set[Path]:
        """Not where uv may find settings: those that are found are looked at each time."""
        if self.origin is Origin.NOTHING:
            return set()
        return {path.parent for path in self.inputs if path not in self.around} | {self.directory}

    @property
    def workspace(self) -> Path | None:
        """Of a member in the tree of its uv workspace, which is in no repository of its own."""
        if self.origin is not Origin.UV or (root := self.inputs[0].parent) == self.root:
            return None
        if not self.root.is_relative_to(root):
            return None
        between = (one for one in (self.root, *self.root.parents) if one.is_relative_to(root))
        if any(os.path.lexists(one / ".git") for one in between if one != root):
            return None
        inside = os.path.relpath(self.root, root)
        kinds = ("editable", "virtual", "directory")
        listed = (os.fsencode(f'= {{ {kind} = "{inside}" }}') for kind in kinds)
        lock = read_input(self.inputs[0])  # as text: to parse a large one takes too long here
        return root if any(one in lock for one in listed) else None

    @property
    def prefer(self) -> tuple[str, ...]:
        """`[tool.pkgview] prefer`."""
        return self.settings.prefer

    @property
    def is_live(self) -> bool:
        """Whether it has layers by hand."""
        return bool(self.settings.layers)

    @property
    def live(self) -> str:
        """Of its layers by hand."""
        return state_of(self.settings.layers)

    def content(self, path: Path) -> bytes:
        """Of a script only its inline block: its code changes all the time, nothing follows."""
        data = read_input(path)
        if not (self.is_script and path == self.root):
            return data
        text = data.decode("utf-8-sig", "replace")
        return (toml.inline_block(text, path) or "").encode("utf-8", "replace")


def find_project(start: Path) -> PythonProject | None:
    """The project that the directory `start` (or the file's directory) belongs to."""
    directory = os.path.realpath(start)
    above = parents(directory)
    for candidate in (directory, *above) if Path(directory).is_dir() else above:
        project = project_at(candidate)
        if project is not None:
            return project
    return None


def project_of_script(path: Path) -> PythonProject | None:
    """The script's own project where it has an inline block, else its directory's."""
    script = Path(os.path.realpath(path))
    text = script_text(script)
    block = toml.inline_block(text, script) if text is not None else None
    if block is None:
        return find_project(script.parent)
    place = str(script)
    table = toml.document(block, f"the inline block of {script}")
    toml.listed(table, "dependencies", place)
    tool = toml.table(table, "tool", place)
    trees = tuple(
        source_trees(toml.table(toml.table(tool, "uv", place), "sources", place), script.parent)
    )
    settings = _settings(tool, script.parent, place)
    pin = pin_of(script.parent, None, script=True)
    around = (*settings_files(script.parent, *trees), *pin.beyond)
    beside = filter(looks.is_file, (Path(f"{script}.lock"), *pin.within, *_build_files(trees)))
    python = settings.python or pin.asked
    local = places_of(script.parent, table, _NO_FILES, around, python, settings.layers)
    return PythonProject(
        root=script,
        origin=Origin.SCRIPT,
        inputs=tuple(dict.fromkeys((script, *beside, *around))),
        **local._asdict(),
        around=around,
        requires_python=toml.text(table, "requires-python", place),
        python_pin=pin.asked,
        pins_remark=pin.remark,
        settings=settings,
        source_trees=trees,
    )


def _build_files(trees: Iterable[Path]) -> Iterator[Path]:
    return (tree / name for tree in trees for name in BUILD_FILES)


def settings_at(directory: Path) -> PythonProject | None:
    """What stands for a directory of which only uv's settings count; None where it has none.

    Those of the user and of the system aside.
    """
    place = Path(os.path.realpath(directory))
    around = settings_files(place)
    if not around and not relative_indexes(os.environ):
        return None
    return PythonProject(root=place, origin=Origin.NOTHING, inputs=around, around=around)


def owner_of_settings(here: PythonProject) -> PythonProject:
    """Whom to ask of what `settings_at` found: what stands for the directory that has the files."""
    return replace(here, root=here.around[-1].parent) if here.around else here


def project_without_lock(directory: Path) -> PythonProject | None:
    """The project at exactly that directory as it would be without its own pylock.toml."""
    return project_at(os.fspath(directory), own_lock=False)


def project_at(path: str, *, own_lock: bool = True) -> PythonProject | None:
    """The project at exactly that directory; unless `own_lock`, as if it had no pylock.toml."""
    has_lock = own_lock and _holds(path, Origin.PYLOCK)
    has_requirements = _holds(path, Origin.REQUIREMENTS)
    has_pyproject = _holds(path, Origin.PYPROJECT)
    if not (has_lock or has_requirements or has_pyproject):
        return None
    directory = Path(path)
    pylock, requirements = directory / Origin.PYLOCK, directory / Origin.REQUIREMENTS
    pyproject = directory / Origin.PYPROJECT
    place = str(pyproject)
    document = toml.document(read_text(pyproject), place) if has_pyproject else {}
    if not (has_lock or "project" in document or has_requirements or _is_uv_root(directory)):
        return None
    project = toml.table(document, "project", place)
    uv = toml.table(tool := toml.table(document, "tool", place), "uv", place)
    settings = _settings(tool, directory, place)
    uv_lock = _uv_lock(directory, document)
    inputs: list[Path] = [pyproject] if document else []
    trees = tuple(source_trees(toml.table(uv, "sources", place), directory))
    named = _NO_FILES
    if uv_lock is not None:
        origin = Origin.UV
        inputs.insert(0, uv_lock)
        inputs += of_workspace(uv_lock.parent)
    elif "project" in document or not has_requirements:
        origin = Origin.PYPROJECT
    else:
        origin = Origin.REQUIREMENTS
        with suppress(PkgviewError) if has_lock else nullcontext():  # a lock does without
            named = requirement_files(requirements)
        inputs += named.files or (requirements,)
        trees = named.directories
    inputs += filter(looks.is_file, dynamic_files(document, directory))
    pin = pin_of(directory, None if uv_lock is None else uv_lock.parent)
    inputs += pin.within
    inputs += filter(looks.is_file, _build_files(trees))
    if has_lock:
        # What it was made from counts as well: an edit of that outdates it.
        origin, trees, named = Origin.PYLOCK, (), _NO_FILES
        inputs.insert(0, pylock)
    if _holds(path, "setup.py") or "dynamic" in project:
        # An editable build reads it, and `dynamic` metadata may come from it.
        inputs += [directory / name for name in BUILD_FILES[1:] if looks.is_file(directory / name)]
    around = (*settings_files(directory, *trees), *pin.beyond)
    inputs += member_files(around) if origin is Origin.PYPROJECT else ()
    python = settings.python or pin.asked
    local = places_of(directory, document, named, around, python, settings.layers)
    return PythonProject(
        root=directory,
        origin=origin,
        inputs=tuple(dict.fromkeys((*inputs, *around))),
        **local._asdict(),
        around=tuple(one for one in around if one not in inputs),
        name=normalised(name) if (name := toml.text(project, "name", place)) else None,
        version=toml.text(project, "version", place),
        requires_python=toml.text(project, "requires-python", place),
        python_pin=pin.asked,
        pins_remark=pin.remark,
        settings=settings,
        package=bool(project) and _is_package(document, uv, place),
        default_groups=_default_groups(document, uv, settings, place),
        source_trees=trees,
        prereleases=named.prereleases,
        dynamic="dynamic" in project,
        group_pythons={} if has_lock else _group_pythons(document, uv, place),
    )


def _holds(directory: str, name: str) -> bool:
    """Whether it has a file of that name; asked of every directory above a program that starts."""
    return looks.has_file(directory, name)


def _is_uv_root(directory: Path) -> bool:
    return all(_holds(os.fspath(directory), name) for name in ("uv.lock", Origin.PYPROJECT))


def _uv_lock(directory: Path, document: Mapping[str, Any]) -> Path | None:
    """`uv.lock` beside pyproject.toml, or that of the workspace which counts it as a member."""
    if not document:
        return None
    above = (one for one in directory.parents if _is_uv_root(one) and counts(one, directory))
    root = directory if _is_uv_root(directory) else next(above, None)
    return None if root is None else root / "uv.lock"


def of_workspace(root: Path) -> list[Path]:
    """What decides the lock that all members of a uv workspace share: each one's pyproject.toml."""
    place = root / "pyproject.toml"
    inside = members(root, document_at(root))
    return [place, *(member / "pyproject.toml" for member in inside)]


def _is_package(document: Mapping[str, Any], uv: Mapping[str, Any], place: str) -> bool:
    told = uv.get("package")
    if told is not None and not isinstance(told, bool):
        raise toml.wrong(place, "tool.uv.package", "true or false")
    return bool(told) if told is not None else "build-system" in document


def _default_groups(
    document: Mapping[str, Any], uv: Mapping[str, Any], settings: Settings, place: str
) -> tuple[str, ...]:
    """`[tool.pkgview] groups`, else `[tool.uv] default-groups`, else `dev` where there is one."""
    if settings.groups is not None:
        return settings.groups
    groups = toml.table(document, "dependency-groups", place)
    if uv.get("default-groups") == "all":
        return tuple(sorted(normalised(name) for name in groups))
    if "default-groups" in uv:
        return tuple(toml.listed(uv, "default-groups", place))
    legacy = bool(uv.get("dev-dependencies"))
    return ("dev",) if legacy or "dev" in map(normalised, groups) else ()


def _group_pythons(
    document: Mapping[str, Any], uv: Mapping[str, Any], place: str
) -> dict[str, str]:
    """`requires-python` of groups in `[tool.uv.dependency-groups]`, with what each includes."""
    table = toml.table(uv, "dependency-groups", place)
    if not table:
        return {}
    own = {
        normalised(name): toml.text(toml.table(table, name, place), "requires-python", place)
        for name in table
    }
    groups = toml.table(document, "dependency-groups", place)
    listed = {normalised(name): several for name, several in groups.items()}

    def all_of(name: str, seen: set[str]) -> Iterator[str]:
        if name in seen:
            return
        seen.add(name)
        if said := own.get(name):
            yield said
        several = listed.get(name)
        for one in several if isinstance(several, list) else ():
            if isinstance(one, dict) and isinstance(included := one.get("include-group"), str):
                yield from all_of(normalised(included), seen)

    return {name: ", ".join(dict.fromkeys(all_of(name, set()))) for name in {*own, *listed}}


def _settings(tool: Mapping[str, Any], directory: Path, place: str) -> Settings:
    table = toml.table(tool, "pkgview", place)
    unknown = sorted(table.keys() - _SETTINGS)
    if unknown:
        raise PkgviewError(
            f"{place}: [tool.pkgview] has no setting {unknown[0]!r}",
            remedy="It knows `prefer`, `accept`, `python`, `extras`, `groups` and `layer`.",
        )
    return Settings(
        accept=releases(toml.listed(table, "accept", place), f"{place}: [tool.pkgview] accept"),
        prefer=tuple(map(normalised, toml.listed(table, "prefer", place))),
        python=toml.text(table, "python", place),
        extras=tuple(map(normalised, toml.listed(table, "extras", place))),
        groups=tuple(toml.listed(table, "groups", place)) if "groups" in table else None,
        layers=layers_in(table, directory, place),
    )
