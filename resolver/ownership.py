"""Who owns the files that a project consists of, and who else may write to them.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys

from resolver.boot import boot_id
from resolver.naming import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

    Name = str | Path


_LONG = 8 if sys.maxsize > 1 << 32 else 4

_GENERATION = 2 << 30 | _LONG << 16 | ord("v") << 8 | 1
"""FS_IOC_GETVERSION: `_IOR('v', 1, long)` (ioctl_fs(2), linux/fs.h)."""

_STATX = 256
"""Bytes of a `struct statx` (statx(2), linux/stat.h): the mask of what it says is at 0, the time at
which a file was made at 80, the number of the mount at 144."""

MOST_LINKS = 40
"""Links on one way, path_resolution(7)."""

_AT_FDCWD = -100
_BTIME = 0x800
_MOUNT = 0x4000
"""STATX_MNT_ID_UNIQUE, Linux 6.8: no other mount of this boot ever has it."""


class Fault:
    """One thing that speaks against acting on a project, and in words.

    `kind` is "owner" or "group" (`who` is its number), "everybody", or "unseen" (then -1).
    """

    __slots__ = ("kind", "said", "who")

    def __init__(self, kind: str, who: int, said: str) -> None:
        self.kind = kind
        self.who = who
        self.said = said


def faults(holding: Iterable[Name], uid: int, files: Iterable[Name] = ()) -> Iterator[Fault]:
    """All that speaks against a process of user `uid` acting on what these directories hold.

    Each directory, each one above, and each of `files` must belong to `uid` or to root (who can do
    anything anyway), and nobody else may write to it. Directories in between may be writable for
    all if they are sticky, like /tmp: there nobody can rename what is not theirs. Those in
    `holding` may not even then, since anybody could add a file that outranks the others. Write
    permission for a private group of the user's or root's (same name, no other members) is
    allowed: it is what the usual umask of 002 gives. An access control list that lets somebody
    write counts as write permission for a group. Of a link all counts that it leads through.
    """
    held = {os.fspath(path) for path in holding}
    listed = {*held, *(os.fspath(file) for file in files)}
    above = {parent for path in listed for parent in parents(path)} - listed
    for path in sorted(listed | above):
        try:
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                os.stat(path)
                yield from on_the_way(path, uid, sticky=path in above)
            else:
                yield from faults_of(path, found, uid, between=path in above)
        except OSError as error:
            yield Fault("unseen", -1, f"{path} cannot be examined: {error.strerror}")


def on_the_way(
    path: str, uid: int, mounted: Container[str] = (), *, sticky: bool = False
) -> Iterator[Fault]:
    """All that lets others than `uid` and root decide what a process finds at an absolute path.

    Each directory that a walk passes, and each link, must belong to `uid` or root, and nobody else
    may write to the directories, but for sticky ones, where nobody can replace what is another's.
    What is at the end may not be written to even then, unless `sticky`. What is missing has yet to
    be made. Where the walk ends at one of `mounted`, that is not touched: it might never answer.
    """
    current, rest, links = "/", path.split("/")[::-1], 0
    found = os.lstat(current)
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        yield from faults_of(current, found, uid, between=True)
        if name == "..":
            current = os.path.dirname(current)
            found = os.lstat(current)
            continue
        here = os.path.join(current, name)
        if here in mounted and not any(rest):
            return
        try:
            found = os.lstat(here)
            target = os.readlink(here) if stat.S_ISLNK(found.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            yield Fault("unseen", -1, f"{here} cannot be examined: {error.strerror}")
            return
        if target is None:
            current = here
            continue
        # A link has no mode. In a sticky directory its owner could make another of it.
        yield from (one for one in faults_of(here, found, uid, between=True) if one.kind == "owner")
        links += 1
        if links > MOST_LINKS:
            yield Fault("unseen", -1, f"{path} is a loop of symbolic links")
            return
        rest += target.split("/")[::-1]
        current = "/" if target.startswith("/") else current
        found = os.lstat(current)
    yield from faults_of(current, found, uid, between=sticky)


def faults_of(path: str, found: os.stat_result, uid: int, *, between: bool) -> Iterator[Fault]:
    """What of that one file or directory does. `between`: it may be sticky."""
    if found.st_uid not in {uid, 0}:
        yield Fault("owner", found.st_uid, f"{path} belongs to user {found.st_uid}")
    if between and found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH:
        yield Fault("everybody", -1, f"everybody may write to {path}")
    elif found.st_mode & stat.S_IWGRP and not is_private_group(path, found.st_gid, uid):
        yield Fault("group", found.st_gid, f"group {found.st_gid} may write to {path}")


def of_others(path: Name, directory: Name) -> str:
    """Why others than the owner of `directory` decide what is in a file; "" where they do not."""
    found = faults((), os.stat(directory).st_uid, (path,))
    return next((fault.said for fault in found), "")


def identity(directory: Name) -> tuple[int, int, int]:
    """What tells a directory from another one that takes its place: inode, its generation, owner.

    Where the file system has no generation (tmpfs, overlayfs, NFS), it is when the directory was
    made, in nanoseconds: a new mount begins its inodes anew, and a removed one's number may be the
    next one's at once. Where that is not known either, it is a number of this boot and this
    mount: after either the directory is another one. It tells files as well.
    """
    found = os.stat(directory)
    generation = bytearray(_LONG)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _GENERATION, generation)
        finally:
            os.close(descriptor)
    except OSError:
        pass
    # Linux writes an int there, whatever the number says (fs/ioctl.c of each file system).
    told = int.from_bytes(generation[:4], sys.byteorder) or _birth(directory, found)
    return found.st_ino, told, found.st_uid


def _birth(directory: Name, found: os.stat_result) -> int:
    """When it was made, or a number of this boot and mount; never 0."""
    statx = bytes(_STATX)
    try:
        import ctypes  # noqa: PLC0415 - few file systems ask for it, and it takes 2 ms

        buffer = ctypes.create_string_buffer(_STATX)
        call = ctypes.CDLL(None).statx
        if not call(_AT_FDCWD, os.fsencode(directory), 0, _BTIME | _MOUNT, buffer):
            statx = buffer.raw
    except (ImportError, AttributeError, OSError):
        pass  # a Python without ctypes, or a C library from before 2018
    mask, seconds, nanoseconds, mount = (
        int.from_bytes(statx[start:end], sys.byteorder)
        for start, end in ((0, 4), (80, 88), (88, 92), (144, 152))
    )
    if mask & _BTIME and (seconds or nanoseconds):
        return seconds * 1_000_000_000 + nanoseconds
    place = f"{boot_id()} {mount if mask & _MOUNT else found.st_dev}"
    return int(sha256(place.encode()).hexdigest()[:12], 16) or 1


_accepted: set[str] = set()


def accept(paths: Iterable[Name]) -> None:
    """Take these files as they are, whoever's: the user has said so of the project they are of."""
    _accepted.update(os.fspath(path) for path in paths)


def belongs_to_another(path: str) -> bool:
    """Whether a file is another user's than ours or root's, or gone, and was not accepted."""
    try:
        return os.lstat(path).st_uid not in {os.geteuid(), 0} and path not in _accepted
    except OSError:
        return True


def is_shared(directory: str) -> bool:
    """Whether others may make files there, but replace only their own: it is sticky, like /tmp."""
    try:
        found = os.stat(directory)
    except OSError:
        return False
    if not found.st_mode & stat.S_ISVTX:
        return False
    against = faults_of(directory, found, os.geteuid(), between=False)
    return any(one.kind in {"everybody", "group"} for one in against)


def parents(path: str) -> Iterator[str]:
    """Every directory above an absolute path, the nearest first."""
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def is_in_tree(root: str, path: str) -> bool:
    """Whether a path is below `root` (resolved), and no link is on the way there or at its end."""
    return path.startswith(f"{root.rstrip('/')}/") and os.path.realpath(path) == path


def is_root_known() -> bool:
    """Whether root's files can be told from strangers': not so in a user namespace without root."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            return any(line.split()[0] == "0" for line in lines)
    except OSError:
        return True


def is_private_group(path: str, gid: int, uid: int) -> bool:
    """Whether the group is `uid`'s or root's own, has nobody else in it, and no list adds more.

    Members are those that the group names and, as id(1) counts them, whose own group it is.
    """
    import grp  # noqa: PLC0415 - asked only where a group may write
    import pwd  # noqa: PLC0415 - the same

    try:
        if os.getxattr(path, "system.posix_acl_access"):
            return False
    except OSError:
        pass  # it has none
    for owner in (uid, 0):
        try:
            group, user = grp.getgrgid(gid), pwd.getpwuid(owner)
        except KeyError:
            continue
        named = (user.pw_gid, user.pw_name) == (gid, group.gr_name)
        if named and set(group.gr_mem) <= {user.pw_name}:
            return all(one.pw_uid == owner for one in pwd.getpwall() if one.pw_gid == gid)
    return False
