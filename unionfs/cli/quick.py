"""`pkgview up` where there is nothing to do, or nothing new: a clone of what is known already.

The earlier result for the same bytes (`resolver.remembered`) is checked: the manifest has its
digest, all archives are in the store, the project is its user's alone, the daemon answers and
serves the view. Then a clone gets its record and its link, and the user reads the same as from
`unionfs.cli.commands.up`. A project of several kinds has such a result of each; Node's part is in
`unionfs.cli.quick_node`, whose clones have views of their own (`unionfs.publishing.clone`). If any
check fails, a file cannot be read, or an option is not known here, nothing is done or said, and
`unionfs.cli.commands.up` does everything; it may repeat what was done here without harm.

Modules that take longer to import than this takes to run are not imported (`resolver.remembered`
says which). So sockets come from `_socket`: `socket` itself takes 10 ms.
"""

from __future__ import annotations

import os
import sys
import time

from resolver import remembered
from resolver.atomic import Alone, Held, write_atomically
from resolver.errors import PkgviewError
from resolver.naming import (
    archives_in,
    identity_text,
    manifest_digest,
    project_key,
    project_record,
    trust_record,
)
from resolver.ownership import faults, identity, parents
from resolver.private import close_to_others
from resolver.way import way_faults
from resolver.where import check_private, endpoint_name, where
from unionfs.cli import console, quick_node
from unionfs.kinds import NODE, PYTHON, counts_beside, link_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_SECONDS = 2.0
"""How long the daemon, or a lock, may take; who waits longer is better told by `up` itself."""

_LONGEST_ANSWER = 1 << 16
_FLAGS = ("--offline", "--frozen", "--trust")
"""Options that change nothing where nothing has to be resolved or fetched, and nothing speaks
against the project."""


class Arguments:
    """What can be asked for here."""

    __slots__ = ("directory", "extras", "groups")

    def __init__(self) -> None:
        self.directory = "."
        self.extras: list[str] = []
        self.groups: list[str] = []


def up(arguments: Sequence[str]) -> bool:
    """Do it if it is an `up` as above, with these arguments; whether all is done and said."""
    began = time.monotonic()
    asked = understood(arguments)
    if asked is None:
        return False
    try:
        return _up(asked, began)
    except (OSError, PkgviewError, ValueError):
        return False
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)


def understood(arguments: Sequence[str]) -> Arguments | None:
    """What the arguments ask for; None: something that is not known here."""
    asked = Arguments()
    rest = list(arguments)
    directories = []
    while rest:
        one = rest.pop(0)
        name, equals, value = one.partition("=")
        if name in {"--extra", "--group"}:
            if not equals:
                if not rest:
                    return None
                value = rest.pop(0)
            (asked.extras if name == "--extra" else asked.groups).append(value)
        elif one in console.QUIET:
            console.hush(quiet=True)
        elif one.startswith("-") or not one:
            if one not in _FLAGS:
                return None
        else:
            directories.append(one)
    if len(directories) > 1:
        return None
    asked.directory = directories[0] if directories else "."
    return asked


def _up(asked: Arguments, began: float) -> bool:
    if not os.path.isdir(asked.directory):
        return False  # a script, or nothing at all
    places = where(os.environ)
    root, kinds = kinds_at(os.path.realpath(asked.directory))
    remark = quick_node.left_alone(root, places) if len(kinds) > 1 else ""
    if remark:
        kinds.remove(NODE)
    if not kinds or (PYTHON not in kinds and (asked.extras or asked.groups)):
        return False
    found = {}
    for kind in kinds:
        one = situation(kind, root, places["state"], asked)
        if one is None or any(faults(one.holding, os.geteuid(), one.files)):
            return False
        found[kind] = one
    for sentence in close_to_others(places):
        console.note(sentence)
    known = _Known(root, places, found)
    if known.is_lacking or not is_plain(root, places):
        return False
    with Held(f"{places['store']}/archives", ANSWER_SECONDS):
        return known.done(began, remark)


def kinds_at(directory: str) -> tuple[str, list[str]]:
    """The nearest directory upwards that may be a project, and of which kinds; [] of none."""
    for at in (directory, *parents(directory)):
        kinds = [PYTHON] if remembered.is_marked(at) else []
        beside = counts_beside(at, NODE) if kinds else True
        kinds += [NODE] if beside and quick_node.may_be(at) else []
        if kinds:
            return at, kinds
    return directory, []


def situation(kind: str, root: str, state: str, asked: Arguments) -> remembered.Situation | None:
    """What a start finds of a kind there; None: not for here."""
    if kind == NODE:
        return quick_node.situation(root, state, os.environ)
    return remembered.situation(root, state, asked.extras, asked.groups, os.environ)


class _Known:
    """What is known of the bytes of a project; `is_lacking`: not all that is needed."""

    def __init__(
        self, root: str, places: dict[str, str], found: dict[str, remembered.Situation]
    ) -> None:
        self._root = root
        self._places = places
        self._record = f"{places['state']}/projects/{project_key(root)}.json"
        self._said = f"{places['state']}/trusted/{project_key(root)}.json"
        self._clone: quick_node.Clone | None = None
        entries = {kind: self._entry(kind, one) for kind, one in found.items()}
        self.entries = {kind: entry for kind, entry in entries.items() if entry is not None}
        self.is_lacking = len(self.entries) < len(found)

    def _entry(self, kind: str, found: remembered.Situation) -> remembered.Entry | None:
        state = self._places["state"]
        entry = remembered.recall(state, found.here)
        if entry is not None:
            return entry
        if kind != NODE:
            return remembered.recall(state, found.anywhere)
        self._clone = quick_node.clone(found, state, os.environ)
        return None if self._clone is None else self._clone.entry

    def done(self, began: float, remark: str) -> bool:
        """With the store held, so that nothing is collected between looking and writing down."""
        before, known = content(self._record), content(self._said)
        which = identity(self._root)
        choices = {entry.choices for entry in self.entries.values()}
        agreed = trust_record(f'"{self._root}"', which, "[]", choices.pop())
        if choices or known not in {None, agreed} or not self._has_nodes(before, known):
            return False
        # Which of two was made last does not matter.
        made = [entry.made for entry in self.entries.values()]
        wanted, other = (
            project_record(f'"{self._root}"', identity_text(which), views)
            for views in (made, made[::-1])
        )
        links = self._links() if before in {None, wanted, other} else None
        if links is None:
            return False
        if before is None and not _written(self._record, wanted, os.path.dirname(self._record)):
            return False
        if known is None and not _written(self._said, agreed, self._places["state"]):
            return False
        for sentence in (remark, self._clone.remark if self._clone is not None else ""):
            if sentence:
                console.note(sentence)
        for path, target in links.items():
            os.symlink(target, path)
            say_linked(path, quiet=os.path.dirname(path) != self._root)  # not each member's
        self._say(time.monotonic() - began, fresh=before is None)
        return True

    def _has_nodes(self, before: bytes | None, known: bytes | None) -> bool:
        """Whether Node's view is there, if there is to be one; a new clone's is made."""
        if self._clone is None:
            # What is to be said of it only `up` knows.
            return NODE not in self.entries or None not in {before, known}
        view = self._clone.entry.view
        if before is not None or not has_all(self._places, view):
            return False
        if any(map(os.path.lexists, quick_node.links_of(self._root, view, self._places))):
            return False
        self.entries[NODE] = self._clone.made(self._places)
        return True

    def _links(self) -> dict[str, str] | None:
        """The links that are missing, with their targets.

        None unless all views are whole and served, and no other link has to be moved.
        """
        links: dict[str, str] = {}
        for kind, entry in self.entries.items():
            if not is_whole(self._places, entry) or not serves(self._places, entry.view):
                return None
            shown = {f"{self._root}/{link_of(kind)}": entry.view}
            if kind == NODE:
                shown = quick_node.links_of(self._root, entry.view, self._places)
            links |= shown
        links = {path: f"{self._places['mount']}/views/{shown}" for path, shown in links.items()}
        missing = {path: target for path, target in links.items() if not os.path.lexists(path)}
        right = all(path in missing or os.readlink(path) == links[path] for path in links)
        return missing if right else None

    def _say(self, seconds: float, *, fresh: bool) -> None:
        for kind, entry in self.entries.items():
            done = nothing_to_do(entry.said, seconds)
            if fresh:
                done = view_made(entry.view, entry.said, seconds, fresh=True)
            console.note(f"{kind}: {done}" if len(self.entries) > 1 else done)


def _written(path: str, wanted: bytes, lock: str) -> bool:
    """Write a file of the state, with the directory `lock` held; False where one has come since."""
    with Alone(lock, ANSWER_SECONDS):
        if content(path) is not None:
            return False
        write_atomically(path, wanted)
        return True


def is_plain(root: str, places: dict[str, str]) -> bool:
    """Whether nothing has to be escaped in JSON, and all paths are as `pathlib` would write them.

    Else it is left to those who know how.
    """
    text = "".join((root, *places.values()))
    plain = text.isascii() and text.isprintable() and not {'"', "\\"} & set(text)
    return plain and all(path == os.path.normpath(path) for path in places.values())


def is_whole(places: dict[str, str], entry: remembered.Entry) -> bool:
    """Whether the interpreter (or whatever it needs), the manifest and all archives are there.

    And nobody else may write to the package files on this machine that it was made of.
    """
    if any(faults((), os.geteuid(), entry.package_files())):
        return False
    needed = all(os.access(path, os.F_OK) for path in entry.executable.split("\0"))
    return needed and has_all(places, entry.view)


def has_all(places: dict[str, str], view: str) -> bool:
    """Whether a view's manifest and all archives are there."""
    manifest = content(f"{places['state']}/manifests/{view}.json")
    if manifest is None or manifest_digest(manifest) != view:
        return False
    # A name with a "/" would lead elsewhere: then it is no name of an archive.
    return all(
        "/" not in name and _is_there(places["store"], name) for name in archives_in(manifest)
    )


def _is_there(store: str, name: str) -> bool:
    """Whether the archive is in the store, whole or partial; that may become whole meanwhile."""
    return any(
        os.path.isfile(f"{store}/{folder}/{name}") for folder in ("archives", "partial", "archives")
    )


def serves(places: dict[str, str], view: str, *, used: bool = False) -> bool:
    """Whether the daemon answers, has mounted what can be seen here, and knows the view.

    `used`: it is somebody's now.
    """
    named = ", ".join(f'"{name}": "{places[name]}"' for name in ("state", "store", "config"))
    named += ', "used": true' if used else ""
    said = ask(places, f'{{"op": "serves", "view": "{view}", {named}}}\n'.encode())
    return said == b'{"ok": true, "result": true}\n'


def ask(places: dict[str, str], request: bytes) -> bytes:
    """What the daemon answers whose mount can be seen here; b"" where there is none, or not ours.

    One line each. `OSError` where it does not answer, `PkgviewError` where others may do so.
    """
    from _socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket  # noqa: PLC0415 - see above

    mount = places["mount"]
    mountpoint = os.path.join(os.path.realpath(os.path.dirname(mount)), os.path.basename(mount))
    with open("/proc/self/mountinfo", "rb") as file:
        here = b" %s " % os.fsencode(mountpoint)
        visible = [line for line in file if here in line and b" - fuse.pkgview " in line]
    # What leads to it leads all that is run from it: `up` says what is wrong with that.
    if not visible or any(way_faults(mount, os.geteuid(), {mountpoint})):
        return b""
    name = f"{endpoint_name(mountpoint)}.sock"
    runtime = places["runtime"]
    if not os.path.lexists(f"{runtime}/{name}"):
        runtime = f"{places['state']}/run"  # it began with another XDG_RUNTIME_DIR
    directory = os.open(runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    client = socket(AF_UNIX, SOCK_STREAM)
    try:
        check_private(runtime, os.fstat(directory))
        client.settimeout(ANSWER_SECONDS)
        client.connect(f"/proc/self/fd/{directory}/{name}")
        peer = client.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
        if int.from_bytes(peer[4:8], sys.byteorder) not in {os.geteuid(), 0}:
            return b""
        client.sendall(request)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < _LONGEST_ANSWER:
            part = client.recv(_LONGEST_ANSWER)
            if not part:
                return b""
            answer += part
        return answer
    finally:
        client.close()
        os.close(directory)


def content(path: str) -> bytes | None:
    """A file's bytes; None where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


# What is said of it, here and by `unionfs.cli.commands.up`


def say_linked(link: str, *, quiet: bool = False) -> None:
    """The project's `.venv` is new: git shall not show it as such, though nothing be said."""
    from unionfs.publishing.ignored import hide  # noqa: PLC0415 - once a project

    hidden = hide(link)
    if not quiet:
        console.note(f"Linked {link}{hidden}.")


def nothing_to_do(what: str, seconds: float) -> str:
    """All was as it should be; `what` describes the view."""
    return f"Nothing to do: {what} ({console.duration(seconds)})."


def view_made(view: str, what: str, seconds: float, *, fresh: bool) -> str:
    """The project has this view now; not `fresh`: it had it before, perhaps without bytecode."""
    state = "" if fresh else "as before, "
    return f"View {view[:12]}: {state}{what} ({console.duration(seconds)})."
