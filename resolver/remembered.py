"""Earlier results of `up`, kept under a digest of the bytes that it has to read anyway.

The view of most projects follows from a few files at fixed names, the options, and the first
Python on PATH. So the SHA-256 of these leads, without any of them being understood, to what
`up` came to when it did understand them: `pkgview up` of a fresh clone whose lock anybody of this
user has used before, or with nothing to do, reads, hashes and compares, and imports nothing else.
It is never a second opinion: only `up` itself writes here (`unionfs.formats.python.kind`), and
where anything is not as simple as this nothing is written.

    <state>/remembered/<key>       seven lines: view, interpreter, what a person is told, the view's
                                   part of a project's record (`resolver.project.resolved`), what
                                   was agreed to when it was made (`resolver.project.trust`), the
                                   local package files of the project as they were, and what only
                                   its kind understands (`resolver.node.clone`)

A view for one run of `pkgview run --with` is kept under a key that has what was added, too.

A third key leads to the view of a project that is *shown*, by its link, whichever Python and extras
it was made with, and whichever indexes variables named: it has the view instead of these, and is
what `pkgview run` asks for.

What else counts in one project (members of a workspace, say) is listed in its directory of
`<state>/locks`, by who has understood it (`resolver.python.declared.further`), and is part of every
key.

Two keys lead to a view: one with the project's place, and one without it where the view is the
same at every place (a lock, and nothing that is built or named by a relative path). Local package
files are in no key: who comes from elsewhere does not know yet which they are. Whoever reads an
entry checks all that it names; what is damaged, old or gone counts as absent, and so does an entry
of which a package file is another one now.

Everything here is on the way of a start that takes some 30 ms, half of it Python's own. So it
works on text, and loads none of `re`, `json`, `pathlib`, `dataclasses` and `typing`: 5 to 20 ms
each, nor `hashlib`, which takes 2.
"""

from __future__ import annotations

import os

from resolver.atomic import write_atomically
from resolver.buildenv import build_variables, index_variables, pip_files, uv_files
from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.local import file_state, named_place, place_content
from resolver.naming import executable_in, identity_text, project_key, sha256
from resolver.onpath import first_python
from resolver.ownership import identity, of_others, parents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from hashlib import _Hash as Digest

FORMAT = "view 8"
"""Part of every key and fingerprint: raised where the same bytes shall give another view."""

MOST_KEPT = 2000
"""Entries, of less than a kilobyte each; beyond that all begin anew."""

LOCKS = ("pylock.toml", "uv.lock")
MARKS = (*LOCKS, "pyproject.toml", "requirements.txt")
"""The files that make a directory a project of Python's, or may: `unionfs.kinds` has them, too."""

_OF_NODE = (
    *("package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"),
    *("pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"),
)
READ = (*MARKS, ".python-version", "setup.py", "setup.cfg", "uv.toml", *_OF_NODE)
"""All that is looked at in every project, of whichever kind: what was agreed to is one word for all
that it is. Besides, files above that may set uv (`_above`); what more counts in one is listed
(`note_further`)."""

MOST_LISTED = 1000
"""Further inputs of a project, and names in a directory: more than that are not looked at."""

_HEX = frozenset("0123456789abcdef")
_KEY_SIZE = 32
_LINES = 7
_FIELDS = 3
"""Of a file's state, before its path."""


class Situation:
    """What a start finds. `files` are the inputs that are there, and files above, as paths.

    `holding` are the directories that the inputs lie in, the project's own among them. `here` and
    `anywhere` are the keys with and without the place, which says which directory is there, too.
    `archives` is what `archives_now` says of the project's local package files, where somebody
    knows which they are.
    """

    __slots__ = (
        *("_content", "_place", "anywhere", "archives", "directory", "files", "here", "holding"),
    )

    def __init__(
        self, directory: str, inputs: list[str], above: list[str], chosen: bytes, content: bytes
    ) -> None:
        self.archives = ""
        self.directory = directory
        self.files = [*inputs, *above]
        self.holding = {directory, *map(os.path.dirname, inputs)}
        self._place = f"{directory}\0{identity_text(identity(directory))}"
        self.here = _key(chosen + content, self._place)
        self.anywhere = _key(chosen + content, "")
        self._content = content

    def shown(self, view: str, executable: str) -> str:
        """The key of the view that the project's link leads to, of that interpreter's path.

        `OSError` where there is no interpreter any more.
        """
        status = os.stat(executable)
        what = f"{view} {executable} {status.st_size} {status.st_mtime_ns}"
        return _key(self._content + sha256(os.fsencode(what)).digest(), self._place)


class Entry:
    """What `up` came to: the view, its interpreter's path, "3 distributions, Python 3.11".

    A view of Node's has no interpreter, but directories that have to be there, joined by NULs.

    `made` is the view as a project's record has it, `choices` what was agreed to, both in JSON;
    `archives` is what `archives_now` said, `more` its kind's own.
    """

    __slots__ = ("archives", "choices", "executable", "made", "more", "said", "view")

    def __init__(  # noqa: PLR0913, PLR0917 - a line each
        self,
        view: str,
        executable: str,
        said: str,
        made: str,
        choices: str,
        archives: str = "",
        more: str = "",
    ) -> None:
        self.view = view
        self.executable = executable
        self.said = said
        self.made = made
        self.choices = choices
        self.archives = archives
        self.more = more

    def package_files(self) -> list[str]:
        """The paths of `archives`."""
        return [one.split(" ", _FIELDS)[-1] for one in self.archives.split("\0") if one]


def archives_now(paths: Iterable[str]) -> str:
    """Local package files as they are, on one line; `OSError` where one is gone."""
    return "\0".join(f"{file_state(path)} {path}" for path in paths)


def situation(  # noqa: PLR0913 - what a start is asked for
    directory: str,
    state: str,
    extras: Sequence[str],
    groups: Sequence[str],
    environ: Mapping[str, str],
    *,
    added: Sequence[str] = (),
) -> Situation | None:
    """What there is at `directory` (resolved) or the nearest above it; None: not for here.

    `added` is what `--with` adds. `OSError` and `PkgviewError` where something cannot be read.
    """
    root = next((at for at in (directory, *parents(directory)) if _has(at, MARKS)), None)
    python = first_python(environ)
    if root is None or python is None:
        return None
    lines = further(state, root)
    if not _has(root, LOCKS) and any(
        _has(above, ("uv.lock",)) and further_line(root, f"{above}/uv.lock") not in lines
        for above in parents(root)
    ):
        return None  # perhaps a workspace, whose lock counts
    status = os.stat(python)
    chosen, content = sha256(FORMAT.encode()), sha256(FORMAT.encode())

    def add(part: bytes, to: Digest = content) -> None:
        to.update(b"%d:" % len(part))
        to.update(part)

    # Indexes count for who decides by them (`resolver.python.locks.indexes`).
    python_now = (python, f"{status.st_size} {status.st_mtime_ns}")
    for part in (*python_now, *index_variables(environ), "", *extras, "", *groups):
        add(os.fsencode(part), chosen)
    for counts in _settings(environ):
        add(counts)
    inputs = (*(f"f {name}" for name in READ), *lines)
    files = [file for line in inputs if (file := counted(root, line, add))]
    above = []
    for path, data in _above(root):
        add(os.fsencode(os.path.relpath(path, root)))
        add(data)
        above.append(path)
    for counts in (part for text in added for part in _parts(text)):
        add(counts)
    return Situation(root, files, above, chosen.digest(), content.digest())


def _above(root: str) -> Iterator[tuple[str, bytes]]:
    """Files of directories above that may set uv (`resolver.python.uv.around`), with their bytes.

    They are not understood here: a text without the word, and without escapes, sets nothing. And
    those that may name a Python (`resolver.python.uv.pins`).
    """
    for at in parents(root):
        path = os.path.join(at, "uv.toml")
        if os.path.lexists(path):  # what is no file is refused, and `up` says so
            yield path, read_input(path)
        path = os.path.join(at, "pyproject.toml")
        if os.path.lexists(path) and (b"uv" in (data := read_input(path)) or b"\\" in data):
            yield path, data
        path = os.path.join(at, ".python-version")
        if os.path.isfile(path) and not of_others(path, root):
            yield path, read_input(path)


def counted(root: str, line: str, add: Callable[[bytes], None]) -> str:
    """Add what an input is; the path of a file that is there, else "".

    `OSError` for a directory that is not there, or has too many names.
    """
    path = os.path.normpath(os.path.join(root, line[2:]))
    add(os.fsencode(line))
    if line[0] == "d":
        names = sorted(os.listdir(path))
        if len(names) > MOST_LISTED:
            raise OSError(f"{path} has too many names")
        add(os.fsencode("\0".join(names)))
    elif line[0] == "x":
        add(b"%d%d" % (os.path.lexists(path), os.access(path, os.X_OK)))
    elif os.path.isfile(path):
        add(b"there " + read_input(path))
        return path
    return ""


def further_line(root: str, path: str, *, what: str = "f") -> str:
    """How a further input is listed: what counts of it, and where it is.

    "f": a file, there or not. "d": the names in a directory. "x": whether a command is there, and
    may be run.
    """
    return f"{what} {os.path.relpath(path, root)}"


def note_further(state: str, root: str, lines: Sequence[str], kind: str = "") -> None:
    """Have each start of the project look there, too. `PkgviewError` where it cannot be written.

    `kind`: as a project of which kind, "" for Python's.
    """
    path = _further_file(state, root, kind)
    if not lines and os.path.lexists(path):
        os.unlink(path)
    if lines and list(lines) != further(state, root, kind):
        text = "".join(f"{line}\n" for line in lines)
        write_atomically(path, os.fsencode(text))


def further(state: str, root: str, kind: str = "") -> list[str]:
    """What was noted of it, each as `further_line` has it."""
    try:
        return os.fsdecode(read_input(_further_file(state, root, kind))).splitlines()
    except PkgviewError:
        return []


def _further_file(state: str, root: str, kind: str) -> str:
    """With the locks that are kept for it, and go with it."""
    return f"{state}/locks/{project_key(root)}/{kind and f'{kind}.'}further"


def _parts(text: str) -> list[bytes]:
    """What counts of a requirement, or of the place that it names."""
    place = named_place(text)
    if place is None:
        return [b"with", os.fsencode(text)]
    return [b"place", *map(os.fsencode, place), place_content(place[0])]


def _settings(environ: Mapping[str, str]) -> list[bytes]:
    """What decides besides the project's own files."""
    said = [os.fsencode(variable) for variable in build_variables(environ)]
    said += [read_input(path) for path in uv_files(environ)]
    # Constraints, and whether all of a requirements.txt has to have hashes.
    names = ("UV_REQUIRE_HASHES", "PIP_REQUIRE_HASHES", "PIP_CONSTRAINT")
    said += [os.fsencode(f"{name}={environ[name]}") for name in names if environ.get(name)]
    said += [read_input(path) for path in pip_files(environ) if os.path.isfile(path)]
    return said


def is_marked(directory: str) -> bool:
    """Whether it has a file that makes it a project of Python's, or may."""
    return _has(directory, MARKS)


def is_outside(directory: str) -> bool:
    """Whether neither `directory` (resolved) nor one above has such a file."""
    return not any(map(is_marked, (directory, *parents(directory))))


def sets_uv(directory: str) -> bool:
    """Whether `directory` (resolved) or one above may set uv; for one that `is_outside`."""
    return any(os.path.lexists(f"{at}/uv.toml") for at in (directory, *parents(directory)))


def recall(state: str, key: str) -> Entry | None:
    """What is kept under a key, if the local package files are the same."""
    try:
        with open(f"{state}/remembered/{key}", encoding="utf-8") as file:
            lines = file.read().split("\n")
        if len(lines) != _LINES + 1 or lines[-1]:
            return None  # not written to its end, or not by us
        if "\0" in lines[3] or "\0" in lines[4]:
            return None  # a block is missing
        if len(lines[0]) != _KEY_SIZE or not _HEX.issuperset(lines[0]):
            return None
        entry = Entry(*lines[:_LINES])
        return entry if archives_now(entry.package_files()) == entry.archives else None
    except (OSError, ValueError):
        return None


def remember(state: str, keys: Iterable[str], entry: Entry) -> None:
    """Keep an entry under each of these keys; `PkgviewError` where that cannot be written."""
    lines = (
        *(entry.view, entry.executable, entry.said, entry.made, entry.choices, entry.archives),
        *(entry.more, ""),
    )
    if any("\n" in line for line in lines):
        return  # a path with a line's end in it
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    directory = f"{state}/remembered"
    kept = _keys(state)
    if len(kept) >= MOST_KEPT:
        for name in kept:
            os.unlink(os.path.join(directory, name))
    for key in keys:
        found = recall(state, key)
        made = (entry.view, entry.made, entry.choices, entry.more)
        if found is None or (found.view, found.made, found.choices, found.more) != made:
            # It only saves time, and whoever reads it sees what a crash has left out (`recall`).
            write_atomically(os.path.join(directory, key), data, lasting=False)


def replace(state: str, old: str, new: str) -> None:
    """Remember `new` where `old` was: the same view with its bytecode."""
    for key in _keys(state):
        entry = recall(state, key)
        if entry is not None and entry.view == old:
            entry.view, entry.made = new, entry.made.replace(old, new)
            remember(state, [key], entry)


def forget(state: str, views: Collection[str]) -> None:
    """These views are gone, and so is what led to them; also what is damaged."""
    from contextlib import suppress  # noqa: PLC0415 - whoever collects has it, a start has not

    for key in _keys(state):
        entry = recall(state, key)
        if key[0] == "." or (entry is not None and entry.view not in views):
            continue  # on its way, or good
        with suppress(FileNotFoundError):  # another was first
            os.unlink(f"{state}/remembered/{key}")


def _keys(state: str) -> list[str]:
    """All that is kept, and what is on its way there; nothing where it cannot be listed."""
    try:
        return os.listdir(f"{state}/remembered")
    except OSError:
        return []


def _has(directory: str, names: Sequence[str]) -> bool:
    return any(os.path.isfile(os.path.join(directory, name)) for name in names)


def _key(content: bytes, place: str) -> str:
    return sha256(content + os.fsencode(place)).hexdigest()[:_KEY_SIZE]


def shown_python(directory: str, state: str) -> str:
    """The interpreter of the view that a project's link shows; "" where it shows none."""
    try:
        view = os.path.basename(os.readlink(f"{directory}/.venv"))
        return executable_in(read_input(f"{state}/manifests/{view}.json"))
    except (OSError, PkgviewError):
        return ""
