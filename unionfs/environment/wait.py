"""Wait for a view inside a starting interpreter; lies in waiting views as `_pkgview_wait.py`.

A project that has no view yet, or whose inputs have changed since, is shown one whose first .pth
file calls `wait`: the daemon is asked for the project's view and says how far it is until there
is one; what it says is drawn on stderr. All this is before the program's first import.

Then the interpreter **starts anew** (execve(2)) as the view's own `bin/python`, with the arguments
that it was given. Nothing has run in it yet but `site`, so nothing is lost; it costs some 20 ms
after seconds of waiting, and no trace of the waiting view is left: what .pth files of it have
done, what `site` goes on to do with the names it has listed. It may even be another Python, the
one that the project wants.

An interpreter that `pkgview enable` has taught (`enable.py`) asks in the same way, by `join`, and
stays what it is: there the view takes the place of its site-packages (`become`).

This runs inside other programs: it raises nothing, and imports what the interpreter has built in,
until it comes to reading what the daemon says.
"""

import os
import sys
from _signal import SIG_DFL, SIGINT, SIGPIPE, SIGXFSZ, default_int_handler, getsignal, signal
from time import monotonic, sleep, time

TYPE_CHECKING = False  # typing's own would cost its import
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any

SOCKET = ""
"""The daemon's control socket. Whoever copies this file appends a line that says."""

FIRST = 1.0
"""Seconds in which the daemon answers an interpreter that can do without."""

PATIENCE = 15.0
"""Seconds without a word from the daemon, which says something each second, until it is hung."""

HUNG_FOR = 10.0
"""Seconds for which a daemon that was found hanging is left alone by those who can do without."""

MOST_LOST = 10
"""Servers that may end before they have answered; then the question may have to do with it."""

QUIET = 0.5
"""Seconds of waiting that nobody needs to be told of."""

REDRAWN = 0.2
REPEATED = 15.0
"""Seconds between two lines about the same: on a terminal, where it is one line, and elsewhere."""

WIDE = 60
"""Columns of a terminal that has room for a bar."""

LONGEST_NAME = 107
"""Bytes of a socket's path (sun_path without its NUL, unix(7))."""

_READY = (b'{"ok": true, "result": {"view": "', b'", "notice": null}}\n')
_VIEW_SIZE = 32

_asked = False


class Lost(Exception):  # noqa: N818 - what there is instead of an answer
    """Who was asked has ended; another may be there already."""


class Silence(Exception):  # noqa: N818 - what there is instead of an answer
    """The daemon is there and does not answer."""


def wait() -> None:
    """Start anew in the project's view as soon as there is one; go on as it is where there is none.

    `site` before Python 3.14 reads .pth files twice: the second call does nothing.
    """
    global _asked  # noqa: PLW0603 - a module's own memory
    if _asked:
        return
    _asked = True
    try:
        own = os.path.dirname(os.path.realpath(sys.prefix + "/pyvenv.cfg"))
        try:
            answer = _ask(PATIENCE, restarts=True)
        except (OSError, Silence) as error:
            why = getattr(error, "strerror", None) or "it does not answer"
            _say(
                "pkgview: the packages of this project are not here yet, and the daemon that "
                f"fetches them cannot be asked: {why}\n"
                "  `pkgview mount` starts it. In a container: run `pkgview up` outside of it.\n"
            )
            return
        view = answer.get("view")
        _say_all(answer, "with the packages of before" if view else "without them")
        root = os.path.dirname(own) + f"/{view}"
        if view and root != own and os.path.isfile(root + "/pyvenv.cfg"):
            _restart(root)
            become(root, at_once=True)
    except Exception:
        if sys.flags.verbose:
            raise


def join(mount: str) -> None:
    """Put the view that the rules give this process in the place of its site-packages.

    Nothing happens where they give none, and where the daemon does not run. One that hangs is left
    alone for a while.
    """
    if _is_hung():
        return
    try:
        answer = _ask(FIRST, restarts=False)
    except Silence:
        with open(SOCKET + ".hung", "wb"):
            pass
        return
    except OSError:
        return
    view = answer.get("view")
    _say_all(answer, "with the packages of before" if view else "as if it had no project")
    if view:
        become(f"{mount}/views/{view}", at_once=sys.version_info >= (3, 15))


def become(root: str, *, at_once: bool) -> None:
    """Make this interpreter what the view's own would be: its path, its prefix, its children's.

    `site` is at work meanwhile. It goes through its PREFIXES after this, so the view's packages
    are added, and its .pth files read, as in any virtual environment; only where it has done that
    before they are added `at_once`.
    """
    import site

    packages = f"{root}/lib/python{_version()}/site-packages"
    if not os.path.isdir(packages):
        return  # a view for another Python
    # Behind the standard library stands what `site` has added until now.
    library = os.path.dirname(os.__file__)
    standard = (library, library + "/lib-dynload")
    last = max((place for place, path in enumerate(sys.path) if path in standard), default=None)
    if last is not None:
        del sys.path[last + 1 :]
    if os.path.realpath(root + "/bin/python") == os.path.realpath("/proc/self/exe"):
        # Another build of the same version would do for its children, but it is not this one.
        sys.executable = root + "/bin/python"
    sys.prefix = sys.exec_prefix = root
    site.PREFIXES = [root]
    site.ENABLE_USER_SITE = False
    if at_once:
        site.addsitedir(packages)


def _restart(root: str) -> None:
    """Start anew as that view's interpreter; returns where this process is more than a Python."""
    if not os.path.basename(os.readlink("/proc/self/exe")).startswith("python"):
        return  # a program with Python in it
    with open("/proc/self/cmdline", "rb") as file:
        _, *arguments = file.read().split(b"\0")[:-1]
    for number in (SIGPIPE, SIGXFSZ):  # which Python ignores, and what is ignored stays so
        signal(number, SIG_DFL)
    python = os.fsencode(root + "/bin/python")
    os.execv(python, [python, *arguments])  # noqa: S606 - the same program, the same arguments


def _version() -> str:
    """Such as "3.11", or "3.13t" where it has no global lock."""
    threads = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"{sys.version_info[0]}.{sys.version_info[1]}{threads}"


def _is_hung() -> bool:
    """Whether somebody has found this daemon hanging, not long ago."""
    try:
        found = os.stat(SOCKET + ".hung").st_mtime
        return found > os.stat(SOCKET).st_mtime and 0 <= time() - found < HUNG_FOR
    except OSError:
        return False


# Asking


def _ask(patience: float, *, restarts: bool) -> "dict[str, Any]":
    """What the daemon says in the end; draws what it says before.

    One whose server is killed or replaced meanwhile is asked again: the next one begins anew.

    `OSError` where there is none or it refuses, `Silence` where it does not answer within
    `patience` seconds.
    """
    interrupted = getsignal(SIGINT)
    if interrupted is default_int_handler:
        # A KeyboardInterrupt out of `site` would be a fatal error with a traceback. And this
        # raises ValueError in a subinterpreter, which must not wait.
        signal(SIGINT, SIG_DFL)
    display = _Display(monotonic)
    more = "true" if restarts else "false"
    request = f'{{"op": "resolve", "python": "{_version()}", "restarts": {more}}}\n'.encode()
    try:
        for _ in range(MOST_LOST):
            try:
                return _answer(_asked_once(request, patience, display))
            except Lost:
                sleep(0.02)
        raise ConnectionResetError(104, "it has ended, again and again")
    finally:
        display.end()
        if interrupted is default_int_handler:
            signal(SIGINT, default_int_handler)


def _asked_once(request: bytes, patience: float, display: "_Display") -> bytes:
    """The last line of whoever serves now; `Lost`, and errors as in `_ask`."""
    connected = _connected(patience)
    try:
        connected.sendall(request)
        return _last_line(connected, patience, display)
    except (ConnectionResetError, BrokenPipeError):
        raise Lost from None
    finally:
        connected.close()


def _connected(patience: float) -> "socket":
    """A connection to the daemon; errors as in `_ask`."""
    import _socket

    place, directory = SOCKET, -1
    if len(os.fsencode(place)) > LONGEST_NAME:
        directory = os.open(os.path.dirname(place), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        place = f"/proc/self/fd/{directory}/{os.path.basename(place)}"
    connected = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connected.settimeout(patience)
    deadline = monotonic() + patience
    try:
        while True:
            try:
                connected.connect(place)
                break
            except BlockingIOError:  # many have come at once
                if monotonic() > deadline:
                    raise Silence from None
                sleep(0.01)
        peer = connected.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)  # type: ignore[attr-defined,unused-ignore]
        _refuse_foreign(int.from_bytes(peer[4:8], sys.byteorder))
    except BaseException:
        connected.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return connected  # type: ignore[return-value]


def _refuse_foreign(uid: int) -> None:
    if uid not in {os.geteuid(), 0}:
        raise PermissionError(1, "it belongs to another user")


def _last_line(connected: "socket", patience: float, display: "_Display") -> bytes:
    """The first line that does not say how far it is."""
    import _socket

    received, heard = b"", monotonic()
    while True:
        line, newline, rest = received.partition(b"\n")
        if newline and not line.startswith(b'{"progress"'):
            return line + newline
        if newline:
            received, patience = rest, PATIENCE
            display.show(_read(line)["progress"])
            continue
        # As long as it has said nothing there is nothing to draw.
        connected.settimeout(REDRAWN if display.snapshot else patience)
        try:
            part = connected.recv(1 << 16)
        except _socket.timeout:
            if monotonic() - heard > patience - REDRAWN:
                raise Silence from None
            display.draw()
            continue
        if not part:
            raise ConnectionResetError
        received, heard = received + part, monotonic()


def _answer(line: bytes) -> "dict[str, Any]":
    """What the last line says. What it mostly is is read without the 4 ms that json costs."""
    before, after = _READY
    if line.startswith(before) and line.endswith(after):
        view = line[len(before) : -len(after)]
        if len(view) == _VIEW_SIZE and not view.strip(b"0123456789abcdef"):
            return {"view": view.decode()}
    reply = _read(line)
    if reply.get("ok"):
        return dict(reply["result"])
    return {"failed": {"what": reply.get("what"), "remedy": reply.get("remedy")}}


def _read(line: bytes) -> "dict[str, Any]":
    import json

    return dict(json.loads(line))


# Saying


def _say_all(answer: "dict[str, Any]", how: str) -> None:
    """Say what is to be said, why there is no view, and how the program goes on then."""
    _say(answer.get("notice") or "")
    failed = answer.get("failed")
    if failed:
        remedy = "".join(f"  {line}\n" for line in (failed.get("remedy") or "").splitlines())
        _say(f"pkgview: {failed.get('what')}\n{remedy}  The program goes on {how}.\n")


def _say(text: str) -> None:
    if text and sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # nobody listens


class _Display:
    """How far it is: a line that changes on a terminal, a few lines elsewhere."""

    def __init__(self, clock: "Callable[[], float]") -> None:
        self.clock = clock
        self.began = clock()
        self.said = float("-inf")
        self.stage = ""
        self.snapshot: dict[str, Any] = {}
        self.columns: int | None = None

    def show(self, snapshot: "dict[str, Any]") -> None:
        """Take what the daemon says."""
        self.snapshot = snapshot
        if self.columns is None:
            self.columns = _columns()
        self.draw()

    def draw(self) -> None:
        """Say it, if it is time to."""
        now = self.clock()
        if now - self.began < QUIET:
            return
        if self.columns:
            line = f"pkgview: {self.text()}  {now - self.began:.0f} s"
            _say("\r" + line[: self.columns - 1] + "\x1b[K")
        elif self.stage != self.snapshot["stage"] or now - self.said > REPEATED:
            first = f"making the view of {self.snapshot['project']}: " if not self.stage else ""
            _say(f"pkgview: {first}{self.text()}\n")
        else:
            return
        self.stage, self.said = self.snapshot["stage"], now

    def text(self) -> str:
        """One line about the snapshot."""
        stage, name = self.snapshot["stage"], self.snapshot["name"]
        if stage == "queued":
            return "waiting for other projects"
        if stage == "resolving":
            return f"resolving {name}" if self.columns else "resolving"
        if stage != "fetching":
            return f"{stage} {name}".rstrip()
        files, of_files = self.snapshot["files"]
        size, of_size = self.snapshot["size"]
        text = f"fetching {files} of {of_files} files"
        if of_size and (self.columns or 0) > WIDE:
            text = f"fetching [{'#' * int(24 * min(size / of_size, 1)):24}] {files}/{of_files}"
        return f"{text}, {size / 1e6:.1f}{f' of {of_size / 1e6:.1f}' if of_size else ''} MB"

    def end(self) -> None:
        """Take the line away, or say that it is over if anything was said."""
        if self.stage:
            seconds = self.clock() - self.began
            _say("\r\x1b[K" if self.columns else f"pkgview: done after {seconds:.1f} s\n")


def _columns() -> int:
    """Of the terminal on stderr; 0 where it is none, or cannot have a line that changes."""
    try:
        # A program that runs behind others must not write over what they show.
        if os.environ.get("TERM") != "dumb" and os.tcgetpgrp(2) == os.getpgrp():
            return os.get_terminal_size(2).columns or 80
    except OSError:
        pass
    return 0
