"""Let an installed interpreter see its project's view; in its user site as `_pkgview_enable.py`.

A .pth file calls `enable` at every start of that Python, in any directory and for any program. So
it decides by itself, in some ten microseconds, whether there is anything to ask the daemon: a
project at the script, above it, or at the working directory, a script with an inline block
(PEP 723), or a variable of ours. In all other cases, and for virtual environments, nothing happens:
no module is imported, no socket opened, and the mount is not touched.

What is installed for this Python keeps the packages that it was installed with, wherever it is
started, whatever it is bound to, and though the home that it lies in may be a project: so do the
interpreters that it starts to do a part of its work.

It may run as another user than the one who enabled it (sudo keeps HOME where it is told to), with
the mount gone, with pkgview removed, with a daemon that hangs: then it does nothing, and says
nothing. Only the first to meet a daemon that hangs waits for it, for a second.
"""

import os
import sys

MOUNT = ""
SOCKET = ""
BOUND = ""
"""The mount point, its daemon's control socket, and where that keeps what was bound by hand. Lines
that `pkgview enable` appends to its copy of this file say them."""

LONGEST = 1 << 20
"""Bytes of a script in which an inline block is looked for. It stands near the top."""

_MARKS = ("/pyproject.toml", "/requirements.txt", "/pylock.toml")
_NO_SCRIPT = ("", "-", "-c", "-m")

_COMMANDS = ("/bin/", "/sbin/", "/games/")
_INSTALLED = ("/lib/", "/lib64/", "/libexec/", "/share/")
"""Below a prefix: where commands are, and where packages of the system keep programs."""

MOST_PARENTS = 8


def enable() -> None:
    """Give this process the view of its project, if it has one; never raises."""
    try:
        # A virtual environment has its packages. -E and -I say that nothing shall be added.
        if sys.prefix != sys.base_prefix or sys.flags.ignore_environment or sys.flags.isolated:
            return
        if not _is_ours() or not _is_concerned():
            return
        import _pkgview_wait

        _pkgview_wait.SOCKET = SOCKET
        _pkgview_wait.join(MOUNT)
    except Exception:
        if sys.flags.verbose:
            raise


def _is_ours() -> bool:
    """Whether a daemon of this very user may be asked."""
    try:
        found = os.stat(SOCKET)
    except OSError:
        return False
    return found.st_uid == os.geteuid() == os.getuid()


def _is_concerned() -> bool:
    """Whether the binding rules may have something to say. What that is the daemon says."""
    named = "PKGVIEW_VIEW" in os.environ or "PKGVIEW_PROJECT" in os.environ
    first = (getattr(sys, "argv", None) or [""])[0]
    if first not in _NO_SCRIPT:
        if _is_inside(os.path.abspath(first)):
            return True
        script = os.path.realpath(first)
        if _has_block(script):
            return True
        concerned = named or _in_project(script) or _is_anybody_bound()
        return concerned and not _is_installed(script)
    try:
        here = os.getcwd()
    except OSError:
        here = MOUNT
    concerned = named or (not _is_inside(here) and _in_project(here)) or _is_anybody_bound()
    return concerned and not _is_part_of_tool()


def _is_installed(script: str) -> bool:
    """Whether it came with something that is installed for this Python."""
    if any(
        path.endswith("-packages") and script.startswith(os.path.realpath(path) + "/")
        for path in sys.path
    ):
        return True
    user = getattr(sys.modules.get("site"), "USER_BASE", None)
    if user and script.startswith(os.path.realpath(user + "/bin") + "/"):
        return True
    own = map(os.path.realpath, (sys.base_prefix, sys.base_exec_prefix))
    for prefix in (*own, "/usr", "/usr/local", ""):
        if any(script.startswith(prefix + place) for place in _COMMANDS):
            return True
        for place in _INSTALLED:
            # Whoever keeps a project in there has it below.
            if script.startswith(prefix + place) and not _in_project(script, prefix + place[:-1]):
                return True
    return False


def _is_part_of_tool() -> bool:
    """Whether an installed tool has started this interpreter as itself, by -c or -m."""
    own, pid = os.readlink("/proc/self/exe"), os.getppid()
    for _ in range(MOST_PARENTS):
        try:
            if os.readlink(f"/proc/{pid}/exe") != own:
                return False
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = os.fsdecode(file.read(LONGEST)).split("\0")[1:-1]
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return False
        # A first line (#!) gives no option that has an argument.
        script = next((word for word in words if not word.startswith("-")), "")
        if not any(word in words[:3] for word in _NO_SCRIPT[2:]) and script:
            return script.startswith("/") and _is_installed(os.path.realpath(script))
    return False


def _is_anybody_bound() -> bool:
    """Whether any process or cgroup is bound by hand; who that is the daemon finds out."""
    try:
        with open(BOUND, "rb") as file:
            return b'"hands": []' not in file.read(LONGEST)
    except OSError:
        return False


def _is_inside(path: str) -> bool:
    """Whether it lies in the mount, where nothing is looked at."""
    return path.startswith(MOUNT + "/") or path == MOUNT


def _in_project(path: str, top: str = "") -> bool:
    """Whether the path, or a directory above it and below `top`, has what makes a project."""
    while True:
        for mark in _MARKS:
            if os.access(path + mark, os.F_OK):
                return True
        if path in {"", top}:
            return False
        path = path.rpartition("/")[0]


def _has_block(script: str) -> bool:
    try:
        file = os.open(script, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return b"# /// script" in os.read(file, LONGEST)
    except OSError:
        return False
    finally:
        os.close(file)
