"""Pin a running interpreter to its view; lies in a view's site-packages as `_pkgview_pin.py`.

An interpreter may reach its view through links: a project's `.venv`, which the next
`pkgview up` points elsewhere, or the mount's magic link `current`, which the kernel asks the
daemon about on every walk. Once, at start, this module replaces such paths by one that leads to the
view for as long as the program runs: its standing path (`resolver.project.standing`), or where
there is none the view's own, `<mount>/views/<id>/…`. So the program keeps the view it began with.

It also *holds* the view, as any program holds a directory that it uses: by an open descriptor.
So the kernel knows that somebody uses it, whatever the program does to its working directory,
arguments and environment, and in whichever namespace it runs; `pkgview gc` asks the kernel.

What is pinned:

* `sys.path`, always, and the `__path__` of packages that earlier .pth files have made;
* `sys.prefix`, `sys.exec_prefix` and `sys.executable`, only if the interpreter was started
  through the magic link: there the same name means another view to another process, so that a
  child started as `sys.executable` in another directory would get the wrong one. Started through
  `.venv` they stay: editors and tools know an environment by them.

Before Python 3.14 it also has the view's sources and bytecode read as 3.14 reads them
(`_read_plainly`).

This runs at every interpreter start. It must never raise, and imports nothing that is not
loaded anyway. `site` before Python 3.14 reads all .pth files of an environment twice,
the second time with the pinned prefix: `pin` may be called again, and then only removes what the
second time has added. The .pth file has the last name in its directory, so that what other
.pth files add is pinned too. Python 3.15 calls `pin` from a .start file (PEP 829).
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STANDING = 8
"""Most views of one project that have a standing path at a time."""

PATIENCE = 100
"""How often it is asked, each 2 ms, whether another program has moved such a path."""

HIGH = 64
"""Where a descriptor is in nobody's way: the first numbers are what others expect to get."""

HELD = 255
"""The descriptor's number, which shells use for the like: 3 is what others expect to get first.
Where it is taken, another will do."""

_held = -1
_stand: "tuple[str, object]" = ("", None)


def pin() -> None:
    """Pin `sys.path` and, behind the magic link, the prefix; quietly nothing where that fails."""
    try:
        prefix = sys.prefix
        # One file of the view's own root tells where the root really is: in the mount, every
        # name of an environment is a link of its own.
        root = os.path.dirname(os.path.realpath(prefix + "/pyvenv.cfg"))
        _hold(root)
        shown = _standing(root)
        if shown != root:
            _pin_paths(root, shown)
        if root != prefix and os.path.isfile(root + "/pyvenv.cfg"):
            _pin_paths(prefix, shown)
            if os.path.islink(prefix + "/current") or (
                prefix.endswith("/current") and os.path.isdir(prefix[:-8] + "/views")
            ):
                _pin_prefix(prefix, root)
        _drop_repeated(shown)
        _read_plainly(shown)
        # Whatever looks like pip; the guard itself waits for pip's own module.
        if any("pip" in argument for argument in sys.orig_argv[1:6]):
            import _pkgview_pip

            _pkgview_pip.guard(root)
    except Exception:
        if sys.flags.verbose:
            raise


def _hold(root: str) -> None:
    """Keep a descriptor of the view for as long as this program runs; its children get none."""
    global _held  # noqa: PLW0603 - once a process
    if _held >= 0:
        return
    _held = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fstat(HELD)
    except OSError:
        try:
            os.dup2(_held, HELD, inheritable=False)
        except OSError:  # beyond what this program may have open
            return
        os.close(_held)
        _held = HELD


def _standing(root: str) -> str:
    """The standing path of the view at `root`, or itself where it has none."""
    global _stand  # noqa: PLW0603 - once a process
    if _stand[1] is None:
        try:
            _stand = _stood(root)
        except (OSError, ValueError, ImportError):
            _stand = (root, root)
    return _stand[0]


def _stood(root: str) -> "tuple[str, object]":
    """A standing path that leads to `root`, and what locks it as long as it is there."""
    mount, _, view = root.rpartition("/views/")
    state = os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.environ["HOME"] + "/.local/state" if "HOME" in os.environ else ""
    at = state + "/pkgview/at"
    project = os.readlink(f"{at}/of/{view}")
    user = os.geteuid()
    if os.stat(at).st_uid != user or (user == 0 and _is_others(mount)):
        return root, root
    for path in _tried([f"{at}/{project}.{number}" for number in range(1, STANDING + 1)], root):
        lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _leads(path, root, lock):
                return _shown(at) + path[len(at) :], _locked(lock)
        finally:
            os.close(lock)
    return root, root


def _shown(at: str) -> str:
    """The directory of standing paths by a name that is not below `~/.local`.

    What lies there programs take for what `pip install --user` has put there: JupyterLab 4 then
    looks for its pages beside that. So the cache directory has a link, made by who misses it.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not cache.startswith("/"):
        if "HOME" not in os.environ:
            return at
        cache = os.environ["HOME"] + "/.cache"
    shown = cache + "/pkgview/at"
    if _target(shown) != at:
        os.makedirs(cache + "/pkgview", 0o700, exist_ok=True)
        try:
            os.symlink(at, shown)
        except FileExistsError:
            if _target(shown) != at:  # another state's; or another program has just made it
                raise
    return shown


def _tried(paths: "list[str]", root: str) -> "Iterator[str]":
    """Those that lead to `root`, so that no other is moved where one does; then all."""
    yield from (path for path in paths if _target(path) == root)
    yield from paths


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _leads(path: str, root: str, lock: int) -> bool:
    """Whether the link at `path` leads to `root`; from now on it does as long as it is locked."""
    import fcntl

    if _target(path) != root:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            if _target(path) != root and not _moved(path, root):
                return False
    for _ in range(PATIENCE):
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody moves it now
            import time

            time.sleep(0.002)
        else:
            # Another one may have had it between the two locks.
            return _target(path) == root
    return False


def _moved(path: str, root: str) -> bool:
    """Point a link to `root` that nobody locks; False if a process may still go by it."""
    if os.path.lexists(path) and _is_named(path):
        return False
    new = path + ".new"
    if os.path.lexists(new):
        os.unlink(new)
    os.symlink(root, new)
    os.replace(new, path)
    return True


def _is_named(path: str) -> bool:
    """Whether a process has the path among its arguments or in its environment.

    A program that has ended may have started it so: by its `sys.path`, or beside a `__file__`.
    """
    name = os.fsencode(path[path.rindex("/at/") :])
    since = os.lstat(path).st_mtime
    seen: set[str] = set()
    # Again, for what has been started meanwhile by one that has ended since.
    while new := {pid for pid in os.listdir("/proc") if pid.isdecimal()} - seen:
        if any(_names(f"/proc/{pid}", name, since) for pid in new):
            return True
        seen |= new
    return False


def _names(process: str, name: bytes, since: float) -> bool:
    """Whether a process names it. If it cannot be read: whether it is the user's, and younger.

    Older than the link (seconds since 1970), it names at most what that led to before. Without this
    a user's `systemd`, which has a capability more, would be in the way for as long as he works.
    """
    is_own = False
    try:
        is_own = os.stat(process).st_uid == os.geteuid()
        for file in ("/cmdline", "/environ"):
            with open(process + file, "rb", 0) as opened:
                if name in (opened.read() or b""):
                    return True
    except PermissionError:
        return is_own and _began(process) >= since
    except OSError:  # it has ended
        pass
    return False


def _began(process: str) -> float:
    """When a process began, seconds since 1970, or a little later; proc_pid_stat(5)."""
    import time

    try:
        with open(process + "/stat", "rb", 0) as opened:
            ticks = int((opened.read() or b"").rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + (ticks + 1) / os.sysconf("SC_CLK_TCK")


def _locked(lock: int) -> object:
    """What keeps an open file locked, whatever the program does to its descriptors: a map of it."""
    import mmap

    if not os.fstat(lock).st_size:
        os.write(lock, b"\n")  # nothing of a file of nothing can be mapped
    if sys.version_info >= (3, 13):
        return mmap.mmap(lock, 1, access=mmap.ACCESS_READ, trackfd=False)
    # It keeps a descriptor, which gets the first number that is free.
    low = [os.dup(lock)]
    try:
        while low[-1] < HIGH:
            low.append(os.dup(lock))
        os.close(low.pop())
        return mmap.mmap(lock, 1, access=mmap.ACCESS_READ)
    finally:
        for descriptor in low:
            os.close(descriptor)


def _is_others(mount: str) -> bool:
    """Whether other users get into a mount: they do not get to what root has for itself."""
    with open("/proc/self/mountinfo", "rb") as file:
        lines = [line.split() for line in file if b"allow_other" in line]
    return any(line[4] == os.fsencode(mount) for line in lines)


def _pin_paths(prefix: str, root: str) -> None:
    """Replace `prefix` by `root` wherever modules are looked for."""
    linked = (prefix + "/lib/", prefix + "/lib64/")

    def pinned(path: object) -> object:
        if isinstance(path, str) and path.startswith(linked):
            return root + path[len(prefix) :]
        return path

    sys.path[:] = [pinned(path) for path in sys.path]  # type: ignore[misc]
    for module in list(sys.modules.values()):
        search = getattr(module, "__dict__", {}).get("__path__")
        if isinstance(search, list):
            search[:] = [pinned(path) for path in search]
    for path in [path for path in sys.path_importer_cache if path.startswith(linked)]:
        del sys.path_importer_cache[path]


def _pin_prefix(prefix: str, root: str) -> None:
    """Make the view the environment that this interpreter, and its children, know."""
    for name in ("prefix", "exec_prefix"):
        if getattr(sys, name) == prefix:
            setattr(sys, name, root)
    if sys.executable.startswith(prefix + "/"):
        sys.executable = root + sys.executable[len(prefix) :]
    site = sys.modules.get("site")
    if site is not None:
        site.PREFIXES = [  # type: ignore[attr-defined]
            root if path == prefix else path for path in site.PREFIXES
        ]
    # Only if an earlier .pth file imported it: what it remembers of the prefix.
    config = sys.modules.get("sysconfig")
    if config is not None:
        for name in ("_PREFIX", "_EXEC_PREFIX"):
            if getattr(config, name, None) == prefix:
                setattr(config, name, root)
        for name, fresh in (("_CONFIG_VARS", None), ("_CONFIG_VARS_INITIALIZED", False)):
            if hasattr(config, name):
                setattr(config, name, fresh)


def _drop_repeated(root: str) -> None:
    """Keep the first of equal entries of `sys.path` inside the view; others are not ours."""
    seen: set[str] = set()
    inside = root + "/"
    kept = [p for p in sys.path if not (p in seen or (p.startswith(inside) and seen.add(p)))]  # type: ignore[func-returns-value]
    if len(kept) != len(sys.path):
        sys.path[:] = kept


def _read_plainly(root: str) -> None:
    """Have modules of the view read without asking whether each is a terminal.

    `open_code` is `open`, which asks that by an ioctl. The kernel hands it to the mount's server
    each time, and Python waits for it: a tenth of what a warm import of many modules takes. What
    is read stays the same, and the audit event, too. A program that embeds Python may have a hook
    for all code (PEP 578); then nothing is done.
    """
    if sys.version_info >= (3, 14) or sys.implementation.name != "cpython":
        return
    external: Any = sys.modules["_frozen_importlib_external"]
    io: Any = sys.modules["_io"]
    loader, usual = external.SourceFileLoader, external.FileLoader.get_data
    if "get_data" in vars(loader):
        return
    opened, mark = io.open, object()
    io.open = lambda *_: mark  # `open_code` calls it, unless there is a hook
    try:
        found = io.open_code(root + "/pyvenv.cfg")
    finally:
        io.open = opened
    if found is not mark:
        found.close()
        return
    inside, file_io = root + "/", io.FileIO

    def get_data(self: object, path: object) -> object:
        if type(path) is str and path.startswith(inside):
            with file_io(path, "r") as file:
                return file.read()
        return usual(self, path)

    # A traceback leaves importlib's own frames out, by their file's name.
    get_data.__code__ = get_data.__code__.replace(co_filename=usual.__code__.co_filename)
    get_data.__doc__, get_data.__module__ = usual.__doc__, usual.__module__
    get_data.__qualname__ = usual.__qualname__
    loader.get_data = get_data
