"""The nursery of deputies: a process that `unionfs.deputies.client` starts, as root.

A deputy is a process that has become another user for good. It looks at that user's processes and
projects with that user's rights and no others, and tells the daemon of a mount that serves all
users. Whoever is asked what it sees need not be believed: that user may stop it, kill it, or do as
it does.

Why a nursery: a deputy is a fork without `execve`. It needs no program that its user could run
(root's pkgview may lie where only root gets), and the kernel lets no one of its user trace it. A
daemon with threads cannot fork so; this process, which has one thread and has imported all that a
deputy needs, can.

Standard input is a sequenced-packet socket. To the nursery comes `{"uid": …, "gid": …}` with the
deputy's own socket; to a deputy a question with the socket to answer on:

    {"look": TID}                      what `resolver.binding.answers.write` gives
    {"root": DIRECTORY, "python": …}   {"view": ID or null}
    {"hand": ID}                       a conversation: `unionfs.deputies.adopt_job` asks for files
    by name
                                       ("" for the manifest), each comes as a descriptor, or "-"

The end of its socket ends either, and so does, for a deputy, a while without a question.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import gc
import json
import os
import pwd
import resource
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.binding.answers import Answer, PathAnswer, write
from resolver.caller.process import identity, observe
from resolver.caller.procfs import Absence, Tid, read_environ
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from unionfs.publishing.view_index import ViewIndex
from unionfs.store.ordered import Stores
from unionfs.view.catalog import VIEW_ID, manifest_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resolver.binding.rules import Candidate

IDLE = 600.0
"""Seconds without a question after which a deputy ends; the next one is a fork away."""

MOST_LOOKS = 40
"""Questions at a time: those that hang fill this, and nothing of anybody else's."""

MOST_KEPT = 1024

LONGEST_QUESTION = 64 * 1024

NOBODY = 65534
NOWHERE = "/nonexistent"

_PR_SET_NO_NEW_PRIVS = 38
_PLACES = frozenset(
    (b"HOME", b"XDG_STATE_HOME", b"XDG_DATA_HOME", b"XDG_CACHE_HOME", b"XDG_CONFIG_HOME")
)


class Deputy:
    """Answers questions, each in a thread; what it keeps is read and written in single steps."""

    def __init__(self, mount: frozenset[str], home: str) -> None:
        self._mount = mount
        self._home = home
        self._uid = os.geteuid()
        self._known: dict[Places, ViewIndex] = {}
        self._where: dict[ViewId, Places] = {}
        self._free = threading.Semaphore(MOST_LOOKS)

    def serve(self, channel: socket.socket) -> None:
        """Until the daemon ends, or has nothing to ask for a while."""
        channel.settimeout(IDLE)
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(channel, LONGEST_QUESTION, 1)
            except TimeoutError:
                return
            if not data or not descriptors:
                return
            end = socket.socket(fileno=descriptors[0])
            if self._free.acquire(blocking=False):
                threading.Thread(target=self._answer, args=(data, end), daemon=True).start()
            else:
                end.close()  # which says that it is too much

    def _answer(self, data: bytes, end: socket.socket) -> None:
        try:
            with end, contextlib.suppress(OSError):
                question = json.loads(data)
                if "hand" in question:
                    self.hand(ViewId(question["hand"]), end)
                elif "look" in question:
                    _send(end, write(self.look(Tid(question["look"]))))
                else:
                    _send(end, {"view": self.view_of(question["root"], question["python"])})
        finally:
            self._free.release()

    def look(self, tid: Tid) -> Answer:
        """What there is to see of a process, and which projects its paths lead to."""
        who = identity(tid)
        seen = who if isinstance(who, Absence) else observe(tid, self._mount, known=who)
        if isinstance(seen, Absence):
            return Answer()
        places = self._places(tid)
        known = self._known_at(places)

        def told(path: str, ask: Callable[[str, int], Candidate | None]) -> PathAnswer:
            try:
                found = ask(path, self._uid)
            except PkgviewError:
                return PathAnswer(unreadable=True)
            if found is None:
                return PathAnswer()
            if found.refused:
                return PathAnswer(root=found.root, refused=True)
            view = known.view_of(found.root, seen.python) if self._is_own(places.state) else None
            if view is not None:
                if len(self._where) >= MOST_KEPT:
                    self._where.clear()
                self._where[view] = places
            return PathAnswer(root=found.root, view=view, agreed=found.agreed)

        directories = {path for path in (seen.project, seen.cwd) if path and path[0] == "/"}
        scripts = {seen.script} - {None, ""}
        return Answer(
            seen=seen,
            directories={path: told(path, known.project_of) for path in directories},
            scripts={path: told(path, known.script_project) for path in scripts if path},
        )

    def view_of(self, root: str, python: str | None) -> ViewId | None:
        """The view of a project that a process above has, for another Python."""
        places = Places.from_environ({"HOME": self._home})
        view = self._known_at(places).view_of(root, python) if self._is_own(places.state) else None
        if view is not None:
            self._where[view] = places
        return view

    def hand(self, view: ViewId, end: socket.socket) -> None:
        """Open what a view is made of, for somebody who copies it and believes none of it."""
        places = self._where.get(view) or Places.from_environ({"HOME": self._home})
        if not VIEW_ID.fullmatch(view):
            return
        store = Stores(places)
        while data := end.recv(LONGEST_QUESTION):
            name = data.decode()[1:]
            candidates = store.paths(name) if name else (manifest_path(places, view),)
            descriptor = _opened(candidates)
            if descriptor is None:
                end.send(b"-")
                continue
            try:
                socket.send_fds(end, [b"+"], [descriptor])
            finally:
                os.close(descriptor)

    def _places(self, tid: Tid) -> Places:
        """Where the process's user keeps things, as `pkgview up` in its environment would."""
        environ = read_environ(tid, _PLACES)
        found = {} if isinstance(environ, Absence) else environ
        variables = {name.decode("ascii"): os.fsdecode(value) for name, value in found.items()}
        home = {"HOME": self._home}
        try:
            return Places.from_environ({**home, **{k: v for k, v in variables.items() if v}})
        except PkgviewError:
            return Places.from_environ(home)

    def _known_at(self, places: Places) -> ViewIndex:
        known = self._known.get(places)
        if known is None:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            known = self._known[places] = ViewIndex(places, ViewId(""), mount=self._mount)
        return known

    def _is_own(self, state: Path) -> bool:
        """A process's environment may name anybody's state: only its own user's chooses a view."""
        try:
            found = state.stat()
        except OSError:
            return False
        return found.st_uid == self._uid and not found.st_mode & 0o022


def _opened(candidates: Iterable[Path]) -> int | None:
    """The first that can be."""
    for path in candidates:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    return None


def _send(end: socket.socket, answer: dict[str, Any]) -> None:
    end.send(json.dumps(answer).encode())


def become(uid: int, gid: int) -> str:
    """Be that user, and never anybody else again; the user's home directory."""
    if uid == 0:
        raise ValueError("root needs no deputy")
    try:
        entry = pwd.getpwuid(uid)
        groups, home = os.getgrouplist(entry.pw_name, gid), entry.pw_dir
    except KeyError:
        groups, home = [], NOWHERE
    os.setsid()
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)  # from here on the kernel lets nobody of `uid` trace it
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), min(1024, most)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.clear()
    return home if home.startswith("/") else NOWHERE


def _grow_up(order: dict[str, int], channel: int, mount: frozenset[str]) -> None:
    """In a fork of the nursery: close what is not a deputy's own, and be one."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    kept = os.dup2(channel, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    home = become(order["uid"], order["gid"])
    with socket.socket(fileno=kept) as end:
        Deputy(mount, home).serve(end)


_REHEARSED = {
    "pyproject.toml": "[project]\nname = 'it'\nversion = '1'\n[dependency-groups]\ndev = []\n",
    "pylock.toml": "lock-version = '1.0'\n",
    "requirements.txt": "-c constraints.txt\nsomething==1 --hash=sha256:00\n./here\n",
    "constraints.txt": "something<2\n",
    "script.py": "# /// script\n# dependencies = ['something']\n# ///\n",
    "fault.toml": "[project\n",
}


def _rehearse() -> None:
    """Do what a deputy will do, so that all is imported: it may not be able to read our modules."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        deputy = Deputy(frozenset(), NOWHERE)
        known = ViewIndex(Places.from_environ({"HOME": temporary}), ViewId(""))
        for name, text in _REHEARSED.items():
            (root / name).write_text(text, "utf-8")
        deputy.look(Tid(os.getpid()))
        deputy.view_of(temporary, "3.11")
        script = os.fspath(root / "script.py")
        for uid in (os.geteuid(), NOBODY):  # one that is refused, too
            known.script_project(script, uid)
        for kind in ("pylock.toml", "pyproject.toml"):
            known.project_of(temporary, os.geteuid())
            (root / kind).unlink()
        with contextlib.suppress(PkgviewError):
            known.project_of(temporary, os.geteuid())
        root.chmod(0o770)
        with contextlib.suppress(PkgviewError):
            known.script_project(script, os.geteuid())
        (root / "fault.toml").rename(root / "pyproject.toml")
        with contextlib.suppress(PkgviewError):
            known.project_of(temporary, os.geteuid())
    Stores(Places.from_environ({"HOME": NOWHERE})).has(f"it.{64 * '0'}.tar.zst")
    for encoding in ("utf-8-sig", "latin-1", "ascii", "utf-16", "utf-32"):
        codecs.lookup(encoding)


def main() -> int:
    """Make deputies until the daemon ends."""
    mount = frozenset(json.loads(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the daemon says when it is over
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _rehearse()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as nursery:
        while True:
            data, descriptors, _, _ = socket.recv_fds(nursery, LONGEST_QUESTION, 1)
            if not data:
                return 0
            if not os.fork():
                try:
                    _grow_up(json.loads(data), descriptors[0], mount)
                finally:
                    os._exit(0)
            for descriptor in descriptors:
                os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
