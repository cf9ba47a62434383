"""A mount namespace for this process and all that it starts, made by whoever it is.

Root takes a mount namespace alone. Others need a user namespace around it (user_namespaces(7)), in
which they may mount. User and group are mapped to themselves, so files are made as ever, and
nothing is gained: what capabilities there are in the new namespace end with the next execve(2),
but for root's. Groups besides one's own still count, and are shown as nobody's; programs that
change the user (sudo) do not work.

What is mounted elsewhere later is seen here, too; what is mounted here is seen nowhere else.
`enter` is for a process that has one thread, which the kernel demands for a user namespace.
util-linux' `unshare` is of no use here: its `mount` asks for root.
"""

from __future__ import annotations

import ctypes
import errno
import os

from resolver.errors import PkgviewError

TYPE_CHECKING = False  # `typing` takes as long to import as all else here
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

# sched.h, sys/mount.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 1 << 12
_MS_REC = 1 << 14
_MS_SLAVE = 1 << 19

_FORBIDDING = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ("user/max_mnt_namespaces", "0", "user.max_mnt_namespaces=10000"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1",
     "kernel.apparmor_restrict_unprivileged_userns=0"),
)  # fmt: skip
"""Settings of the kernel's (below /proc/sys), what forbids namespaces, and what allows them."""

_REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS})


class Mount:
    """A directory that is to be seen at another one; both are there."""

    __slots__ = ("source", "target")

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target

    def mount(self) -> None:
        """Have it seen, in this mount namespace."""
        raise NotImplementedError


class Bind(Mount):
    """In the other one's place."""

    __slots__ = ()

    def mount(self) -> None:
        """With what is mounted below it."""
        _mount(self.source, self.target, _MS_BIND | _MS_REC)


class Overlay(Mount):
    """Laid over the other one: both are seen, and read only.

    What both have is seen as in `source`, but for directories, which are merged (overlayfs).
    """

    __slots__ = ()

    def mount(self) -> None:
        """Without what is mounted below either."""
        lower = ":".join(map(_escaped, (self.source, self.target)))
        _mount("overlay", self.target, 0, b"overlay", b"lowerdir=" + os.fsencode(lower))


MOUNTS: dict[str, type[Mount]] = {"bind": Bind, "overlay": Overlay}
"""What can be mounted, by a word for it."""


class NamespaceError(PkgviewError):
    """The kernel gives this user no namespace."""


def enter(mounts: Iterable[Mount]) -> None:
    """See these mounts from now on, one upon the other; `PkgviewError` where that cannot be.

    Where it fails half-way this process is to end.
    """
    _unshare()
    for one in mounts:
        try:
            one.mount()
        except OSError as error:
            if error.errno in {errno.EPERM, errno.EACCES}:
                _refused(error)
            raise PkgviewError(
                f"cannot mount {one.source} on {one.target}: {error.strerror}",
                remedy="Run `pkgview up` here, and try again.",
            ) from error
    os.chdir(os.getcwd())  # noqa: PTH109 - what is there now, if something was mounted on it


def _unshare() -> None:
    try:
        if os.geteuid() == 0:
            try:
                _call("unshare", _CLONE_NEWNS)
            except PermissionError:  # a container's root, say
                pass
            else:
                _mount("none", "/", _MS_REC | _MS_SLAVE)
                return
        user, group = os.geteuid(), os.getegid()
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)  # whose mounts are slaves already
        maps = {"uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
        for name, text in {"setgroups": "deny", **maps}.items():
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - as the kernel names it
                file.write(text)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        _refused(error)


def _refused(error: OSError) -> NoReturn:
    raise NamespaceError(
        f"the kernel gives you no mount namespace: {error.strerror}", remedy=_remedy()
    ) from error


def _remedy() -> str:
    """Which setting it is, as far as that can be seen."""
    found = [wanted for path, value, wanted in _FORBIDDING if _setting(path) == value]
    if found:
        return "Root can allow it: " + ", ".join(f"`sysctl -w {wanted}`" for wanted in found) + "."
    return (
        "In a container, start it with what namespaces need (of Docker: `--security-opt "
        "seccomp=unconfined`, or `--cap-add SYS_ADMIN`)."
    )


def _setting(path: str) -> str:
    try:
        with open(f"/proc/sys/{path}", encoding="ascii") as file:  # noqa: PTH123 - the same
            return file.read().strip()
    except OSError:
        return ""  # this kernel has none


def _escaped(path: str) -> str:
    """As overlayfs reads paths: it takes a colon for the end of one, a comma for that of all."""
    return "".join(f"\\{one}" if one in "\\:," else one for one in path)


def _mount(
    source: str, target: str, flags: int, kind: bytes | None = None, data: bytes | None = None
) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), kind, ctypes.c_ulong(flags), data)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library's that returns 0, or -1 and `errno`."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
