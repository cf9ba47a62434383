"""Requirement files, read only as far as pkgview itself needs them; uv reads the rest.

The format is pip's (https://pip.pypa.io/en/stable/reference/requirements-file-format/). What is
wanted of it: which other files it names (`-r`, `-c`), which local directories it names (their
metadata is an input too), and its lines, for `resolver.python.hashes` and others.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from resolver import looks
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.toml import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.pylock import PackageWheel

MOST_FILES = 500
"""Requirement files that one project may name, directly or not."""

MOST_PLACES = 5000
"""Places on this machine that they may name."""

_FILE_OPTION = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(\S.*)")
_LINKS_OPTION = re.compile(
    r"(?:-[fi]|--find-links|--index-url|--extra-index-url)(?:\s*=\s*|\s+|(?<=-[fi]))(\S.*)"
)
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)(\S+)")
_DIRECT = re.compile(r"^[A-Za-z0-9._-]+(?:\[[^\]]*\])?\s*@\s*(\S+)")
_RELEASE = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")
_NAME = re.compile(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:$|[\[<>=!~;@\s(])")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OPTIONS = re.compile(r"\s--\S.*$")
_COMMENT = re.compile(r"(^|\s)#.*$")
_LINE_END = re.compile(r"\r\n?|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One that names no further file, without its comment; `constraint`: a file of these has it.

    `path` is the file that it is in; `at` orders lines as who reads each file where it is named.
    """

    text: str
    constraint: bool
    path: Path
    at: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementFiles:
    """All that one requirements.txt leads to.

    `files` are absolute, the first named first and each once, the starting file among them;
    `directories` are local source trees, `archives` local wheels and source archives, `places`
    where `--find-links` and indexes may lie on this machine; `lines` are in that order, too;
    `requirements` are those of them that name a distribution, without their options. `prereleases`:
    `--pre` is among them, which pip reads and uv passes over.
    """

    files: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    lines: tuple[Line, ...] = ()
    requirements: tuple[str, ...] = ()
    archives: tuple[Path, ...] = ()
    places: tuple[Path, ...] = ()
    prereleases: bool = False


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def plain_wheel_name(filename: str) -> str:
    """A wheel's file name with one "_" where its distribution's name has several in a row.

    They say the same (PEP 503), installers take them, and `packaging` takes the file for no wheel.
    """
    name, dash, rest = filename.partition("-")
    return re.sub("_+", "_", name) + dash + rest


def releases(texts: Sequence[str], place: str) -> tuple[str, ...]:
    """Names with a version each, "demo==1.0"; `PkgviewError` for any other requirement."""
    for text in texts:
        if not _RELEASE.fullmatch(text):
            raise PkgviewError(
                f"{place} has {text!r}, which names no release",
                remedy='Name each with its version, such as "demo==1.0".',
            )
    return tuple(texts)


def requirement_files(start: Path) -> RequirementFiles:
    """Follow `-r` and `-c` from `start`, each file once, so cycles end.

    A file may lie outside the project (`-r ../common.txt` is usual in repositories that hold
    several projects); it is then an input like any other, and trusted or not like any other.
    Files named by a URL are uv's to fetch and no input of ours.
    """
    files: list[Path] = []
    places: dict[Path, None] = {}
    links: list[Path] = []
    lines: list[Line] = []
    requirements: list[str] = []
    prereleases = False
    waiting = deque([_Named(path=start, place="", constraint=False)])
    # A file may be required in one place and a constraint in another: both readings count.
    done: set[tuple[Path, bool]] = set()
    while waiting:
        named = waiting.popleft()
        if (named.path, named.constraint) in done:
            continue
        done.add((named.path, named.constraint))
        if len(done) > MOST_FILES:
            raise PkgviewError(
                f"{start} leads to more than {MOST_FILES} requirement files",
                remedy="Name fewer files with -r and -c.",
            )
        looks.refuse(named.path)
        if named.place and not os.path.exists(named.path):  # noqa: PTH110 - never an error
            raise PkgviewError(
                f"{named.place} names {named.said}, which does not exist",
                remedy="Create that file, or take the line out.",
            )
        files.append(named.path)
        for number, line in _followed(requirement_text(named.path), start.parent):
            if (further := _named_file(line, number, named)) is not None:
                waiting.append(further)
                continue
            links += _named_links(line, (named.path.parent, start.parent))
            if not named.constraint:
                # Relative to the starting file's directory, where uv runs, as in pip.
                places.update(dict.fromkeys(local_places(line, start.parent)))
                _refuse_too_many(places, start)
            at = (*named.at, number)
            lines.append(Line(text=line, constraint=named.constraint, path=named.path, at=at))
            prereleases |= line.startswith("-") and "--pre" in line.split()
            if _NAME.match(line) and not named.constraint:
                requirements.append(_OPTIONS.sub("", line))
    return RequirementFiles(
        files=tuple(dict.fromkeys(files)),
        directories=tuple(path for path in places if looks.is_directory(path)),
        lines=tuple(lines),
        requirements=tuple(requirements),
        archives=tuple(filter(looks.is_file, places)),
        places=tuple(links),
        prereleases=prereleases,
    )


def dynamic_files(document: Mapping[str, Any], directory: Path) -> tuple[Path, ...]:
    """Requirement files that a pyproject.toml names for its build back end.

    setuptools has `[tool.setuptools.dynamic]` with `dependencies = {file = …}`, hatch the hook
    `requirements_txt` (hatch-requirements-txt). What another back end reads is not known. Those
    outside of the project are left out: setuptools refuses them.
    """
    tool = table_of(document, "tool")
    setuptools = table_of(tool, "setuptools", "dynamic")
    hatch = table_of(tool, "hatch", "metadata", "hooks", "requirements_txt")
    said = [table_of(setuptools, "dependencies").get("file"), hatch.get("files")]
    said += [one.get("file") for one in _tables(table_of(setuptools, "optional-dependencies"))]
    said += table_of(hatch, "optional-dependencies").values()
    listed = (one if isinstance(one, list) else [one] for one in said)
    names = (name for names in listed for name in names if isinstance(name, str) and name)
    paths = dict.fromkeys(Path(os.path.normpath(directory / name)) for name in names)
    return tuple(path for path in paths if path.is_relative_to(directory))


def _tables(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value for value in table.values() if isinstance(value, dict)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A file to read, where it was named ("" for the first), and whether as a constraint.

    `said` is how: with what the environment has in it, a path may be nothing to show. `at` has the
    number of that line, after those by which its own file was named.
    """

    path: Path
    place: str
    constraint: bool
    said: str = ""
    at: tuple[int, ...] = ()


def _followed(text: str, root: Path) -> Iterator[tuple[int, str]]:
    """`logical_lines` without those that name a file by a variable which the look may not know.

    That file is unread then: the question whether it may names the variable.
    """
    for number, line in logical_lines(text):
        option = _FILE_OPTION.match(line)
        if option is None or all(looks.knows(root, one) for one in _VARIABLE.findall(option[1])):
            yield number, line


def _named_file(line: str, number: int, by: _Named) -> _Named | None:
    option = _FILE_OPTION.match(line)
    if option is None:
        return None
    place = f"{by.path}, line {number}"
    said = _unquoted(option[1])
    target = _expanded(said, place)
    if "://" in target and not target.startswith("file://"):
        return None
    constraint = by.constraint or line.startswith(("-c", "--c"))
    path = _joined(by.path.parent, target)
    return _Named(path=path, place=place, constraint=constraint, said=said, at=(*by.at, number))


def _unquoted(value: str) -> str:
    """The rest of a line as uv reads it where an option names a file: as a shell reads one word.

    But for blanks, which are of it. It ends at `#`; what ends within a quote is taken as it is.
    """
    said = value.partition("#")[0].strip()
    if not {"\\", '"', "'"} & set(said):
        return said
    import shlex  # noqa: PLC0415 - hardly ever

    words = shlex.shlex(said, posix=True)
    words.whitespace, words.commenters, words.whitespace_split = "", "", True
    try:
        return "".join(words)
    except ValueError:
        return said


def requirement_text(path: Path) -> str:
    """A requirement file's text: UTF-8, or UTF-16 with a byte order mark, as uv and pip read it."""
    return read_text(path, wide=True)


def physical_lines(text: str) -> list[str]:
    """Its lines, with the characters that end them, as uv sees them.

    For `str.splitlines`, and so for pip, form feeds and Unicode's separators end a line, too: what
    follows them in a comment would be a requirement.
    """
    ends = [found.end() for found in _LINE_END.finditer(text)]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    return [text[start:end] for start, end in itertools.pairwise([0, *ends]) if start < end]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, continuations joined, comments and empty lines left out."""
    pending, first = "", 0
    for number, whole in enumerate(physical_lines(text), 1):
        first = first or number
        raw = whole.rstrip("\r\n")
        if raw.endswith("\\") and not _COMMENT.search(raw):  # in a comment, uv sees none
            pending += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", pending + raw).strip()
        if line:
            yield first, line
        pending, first = "", 0
    if line := _COMMENT.sub("", pending).strip():
        yield first, line


def _expanded(target: str, place: str) -> str:
    """`${NAME}` replaced, as pip does it and with no other syntax."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise PkgviewError(
                f"{place}: the environment has no variable {match[1]}",
                remedy=f"Set {match[1]}, or write the file's name out.",
            )
        return found

    return _VARIABLE.sub(value, target)


def with_variables(text: str, own: Mapping[str, str] = MappingProxyType({})) -> str:
    """The same by `own` and the environment; what neither has stays as it is, as for uv."""
    return _VARIABLE.sub(lambda one: own.get(one[1]) or os.environ.get(one[1], one[0]), text)


def _joined(directory: Path, target: str) -> Path:
    if "\0" in target:
        raise PkgviewError(
            f"a requirement file in {directory} names a path with a NUL byte",
            remedy="Take that line out.",
        )
    if target.startswith("file:"):
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - only for file: URLs

        target = unquote(urlsplit(target).path)
    return Path(os.path.normpath(directory / target))


def _refuse_too_many(places: Mapping[Path, None], start: Path) -> None:
    if len(places) > MOST_PLACES:
        raise PkgviewError(
            f"{start} names more than {MOST_PLACES} local places", remedy="Name fewer."
        )


def _named_links(line: str, directories: Iterable[Path]) -> Iterator[Path]:
    """Where a `--find-links` or an index of a line may lie on this machine, in any of these."""
    option = _LINKS_OPTION.match(line)
    target = _unquoted(option[1]) if option else ""
    if target and ("://" not in target or target.startswith("file://")):
        yield from (_joined(directory, target) for directory in directories)


def local_places(line: str, directory: Path) -> Iterator[Path]:
    """The place that a line such as `-e ../x[extra]`, `./x` or `x @ file:///x` names."""
    found = _EDITABLE.match(line) or _DIRECT.match(line)
    target = found[1] if found else line.split(maxsplit=1)[0]
    if not (found or target.startswith((".", "/", "file:"))):
        return
    if "://" in target and not target.startswith("file://"):
        return
    yield _joined(directory, _without_end(target))


def local_directories(line: str, directory: Path) -> Iterator[Path]:
    """Of those the source trees that are there."""
    yield from filter(looks.is_directory, local_places(line, directory))


def _without_end(target: str) -> str:
    """A place without its `[extras]`, or its `#fragment`.

    By searching and not by an expression, which would try each bracket up to the end of the line.
    """
    fragment = target.find("#")
    opened = target.find("[", target.rfind("]", 0, len(target) - 1) + 1)
    found = [at for at in (fragment, opened if target.endswith("]") else -1) if at >= 0]
    return target[: min(found, default=len(target))]


_PLAIN = re.compile(r"[A-Za-z0-9_.+!-]+\.whl")
"""A file's name that is written the same way in an address."""


def locked_name(wheel: PackageWheel) -> str:
    """Its `filename`, for which packaging takes an address apart: of thousands in a lock."""
    text = wheel.url or ""
    name = text.rpartition("/")[2]
    if wheel.name or wheel.path or "?" in text or "#" in text or not _PLAIN.fullmatch(name):
        return wheel.filename
    return name
