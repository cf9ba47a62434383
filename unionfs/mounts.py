"""What the kernel has mounted, and what mounting needs: read, checked and mended here only.

A mount whose daemon died answers everything below it with ENOTCONN, and one whose daemon is
stopped answers nothing at all, so the rule of this module is: *a mount point is never touched*
(no stat, no open, no realpath of it) before the kernel's own table says that nothing is mounted
there. The table is `/proc/self/mountinfo`, proc(5): ten or more fields, where space, tab, newline
and backslash in a path are written as three octal digits.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FSTYPE = "fuse.pkgview"

_SOURCE = "pkgview"
"""What a mount says it is of; `pkgview-NAME` where it has another transport than the default."""

_OPTIONS = frozenset(
    {
        "subtype=pkgview",
        "default_permissions",
        # fusermount3 lets everybody ask for these. `ro` is more than a promise: on a mount that
        # may be written each readlink marks the access time stale, and the next stat asks again.
        "ro",
        "nosuid",
        "nodev",
    }
)
"""Mount options, fuse(8)."""

MAX_LINKS = 40
"""Symbolic links followed from a mount point before it counts as a loop, path_resolution(7)."""

ALLOW_OTHER = "allow_other"
"""The option that lets other users in, fuse(8)."""

UNMOUNT_SECONDS = 20.0
"""How long fusermount3 may take."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_CAP_SYS_ADMIN = 1 << 21
_MNT_FORCE, _MNT_DETACH, _UMOUNT_NOFOLLOW = 1, 2, 8


class MountBusyError(PkgviewError):
    """Programs use the mount: it can only be unmounted lazily."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the kernel's table; `device` is (major, minor), `owner` FUSE's `user_id`.

    `shared`: other users are let in.
    """

    number: int
    parent: int
    device: tuple[int, int]
    path: Path
    fstype: str
    source: str
    owner: int | None
    shared: bool = False

    @property
    def ours(self) -> bool:
        """Whether a pkgview of this user (or of anybody, for root) serves or served it."""
        return self.fstype == FSTYPE and (self.owner == os.geteuid() or os.geteuid() == 0)

    @property
    def transport(self) -> str:
        """The transport it was mounted with, which thus outlives its daemon; "": the default."""
        return self.source.removeprefix(_SOURCE).removeprefix("-")


def options(transport: str = "", *, shared: bool) -> set[str]:
    """What a mount of ours is made with; `shared`: other users are let in."""
    source = f"{_SOURCE}-{transport}" if transport else _SOURCE
    return {*_OPTIONS, f"fsname={source}", *([ALLOW_OTHER] if shared else [])}


def table() -> list[Mount]:
    """Every mount that this process's mount namespace shows."""
    return parse(Path("/proc/self/mountinfo").read_bytes())


def parse(content: bytes) -> list[Mount]:
    """Read the format of `/proc/self/mountinfo`; a line that is not of it is left out."""
    found = []
    for line in content.split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields, tail = left.split(b" "), right.split(b" ")
        try:
            major, _, minor = fields[2].partition(b":")
            owner = re.search(rb"(?:^|,)user_id=(\d+)", tail[2])
            found.append(
                Mount(
                    number=int(fields[0]),
                    parent=int(fields[1]),
                    device=(int(major), int(minor)),
                    path=Path(os.fsdecode(unescape(fields[4]))),
                    fstype=os.fsdecode(unescape(tail[0])),
                    source=os.fsdecode(unescape(tail[1])),
                    owner=int(owner[1]) if owner else None,
                    shared=ALLOW_OTHER.encode() in tail[2].split(b","),
                )
            )
        except (ValueError, IndexError):
            continue
    return found


def unescape(field: bytes) -> bytes:
    """A field of the table as it really is."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)


def mounted_at(path: Path, mounts: Sequence[Mount] | None = None) -> Mount | None:
    """The mount that a walk to `path` (canonical) ends in, if it is a mount point."""
    here = [mount for mount in (table() if mounts is None else mounts) if mount.path == path]
    covered = {mount.parent for mount in here}
    uppermost = [mount for mount in here if mount.number not in covered]
    return uppermost[-1] if uppermost else None


def canonical(path: Path, mounts: Sequence[Mount] | None = None) -> Path:
    """`path` without symbolic links, as the kernel's table names it; a mount point is not touched.

    A mount point that is itself a link (`~/.pkgview -> /scratch/me/pkgview`) is followed.
    """
    known = {mount.path for mount in (table() if mounts is None else mounts)}
    current = path
    for _ in range(MAX_LINKS):
        current = Path(os.path.abspath(current))  # noqa: PTH100 - resolve() would touch it
        try:
            current = Path(os.path.realpath(current.parent), current.name)
            if current in known or not current.is_symlink():
                return current
            current = current.parent / current.readlink()
        except OSError as error:
            raise PkgviewError(
                f"{path}: cannot be reached: {error.strerror}",
                remedy="Name another mount point: `pkgview mount MOUNTPOINT`, or PKGVIEW_MOUNT.",
            ) from error
    raise PkgviewError(
        f"{path} is a loop of symbolic links",
        remedy=f"Remove the link, `rm {path}`, or name another mount point with PKGVIEW_MOUNT.",
    )


# Unmounting


def unmount(path: Path, *, lazy: bool = False) -> None:
    """Unmount what is uppermost at `path`; lazily: out of sight now, gone when nobody uses it.

    `MountBusyError` where programs use it and `lazy` is off. Neither way waits for the daemon.
    """
    number = _umount2(path, _MNT_DETACH if lazy else 0)
    if number == 0:
        return
    if number == errno.EPERM:
        _fusermount(path, lazy=lazy)
        return
    if number == errno.EBUSY:
        raise _busy(path)
    if number == errno.EINVAL and mounted_at(path) is None:
        return  # somebody else was faster
    raise PkgviewError(f"{path}: cannot be unmounted: {os.strerror(number)}")


def abort(mount: Mount) -> bool:
    """End a connection whose daemon does not answer: all that waits for it gets an error.

    Through fusectl (`/sys/fs/fuse/connections`, the mounter's and root's) where that is mounted,
    else by a forced unmount (root's). False where the kernel allows neither.
    """
    control = Path("/sys/fs/fuse/connections", str(mount.device[1]), "abort")
    try:
        control.write_bytes(b"1")
    except OSError:
        return _umount2(mount.path, _MNT_FORCE) in {0, errno.EBUSY}
    return True


def _umount2(path: Path, flags: int) -> int:
    """umount2(2): 0, or the errno."""
    import ctypes  # noqa: PLC0415 - only commands that unmount pay for it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), flags | _UMOUNT_NOFOLLOW) == 0:
        return 0
    return ctypes.get_errno()


def _fusermount(path: Path, *, lazy: bool) -> None:
    program = shutil.which("fusermount3")
    if program is None:
        raise _no_fusermount()
    try:
        done = subprocess.run(
            [program, "-u", *(["-z"] if lazy else []), "--", os.fspath(path)],
            check=False,
            capture_output=True,
            timeout=UNMOUNT_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise PkgviewError(
            f"{path}: fusermount3 did not unmount it within {UNMOUNT_SECONDS:.0f} seconds",
            remedy=f"Run `pkgview umount --force {path}`.",
        ) from error
    if done.returncode == 0 or mounted_at(path) is None:
        return
    said = done.stderr.decode("utf-8", "replace").strip()
    if "busy" in said:
        raise _busy(path)
    raise PkgviewError(
        f"{path}: cannot be unmounted: {said or f'fusermount3 failed ({done.returncode})'}",
        remedy=f"Run `sudo umount -l {path}`.",
    )


def _busy(path: Path) -> MountBusyError:
    names = ", ".join(f"{name} (pid {pid})" for pid, name in users(path)[:5])
    return MountBusyError(
        f"{path} is in use" + (f" by {names}" if names else ""),
        remedy="End those programs; or run `pkgview umount --lazy`: what is open stays readable "
        "until it is closed; or `pkgview umount --force`: what is open breaks.",
    )


def users(path: Path) -> list[tuple[int, str]]:
    """Processes (pid, name) that have something below a mount point open, mapped or as their cwd.

    Those that this user may look into; the kernel's names for open files are compared as text, so
    the mount itself is not asked.
    """
    prefix = os.fspath(path)
    found = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        if pid != os.getpid() and any(_below(prefix, name) for name in _names_held(pid)):
            try:
                name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
            except OSError:
                continue
            found.append((pid, name))
    return found


def elsewhere(device: tuple[int, int]) -> list[tuple[int, str]]:
    """Processes (pid, name), one of each other mount namespace that has a copy of that mount.

    Containers and sandboxes copy what is mounted when they start, and keep it when it is unmounted
    here. Those that this user may look into.
    """
    seen, found = {_namespace("self")}, []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        if (namespace := _namespace(str(pid))) is None or namespace in seen:
            continue
        try:
            content = Path(f"/proc/{pid}/mountinfo").read_bytes()
            name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
        except OSError:
            continue
        seen.add(namespace)
        if any(mount.device == device for mount in parse(content)):
            found.append((pid, name))
    return found


def _namespace(process: str) -> str | None:
    try:
        return os.readlink(f"/proc/{process}/ns/mnt")
    except OSError:
        return None


def _names_held(pid: int) -> list[str]:
    process = f"/proc/{pid}"
    names = []
    for link in ("cwd", "root", "exe"):
        try:
            names.append(os.readlink(f"{process}/{link}"))
        except OSError:
            continue
    try:
        for number in os.listdir(f"{process}/fd"):
            names.append(os.readlink(f"{process}/fd/{number}"))  # noqa: PERF401 - those before a failure count
    except OSError:
        pass
    try:
        with open(f"{process}/maps", "rb") as lines:  # noqa: PTH123 - see above
            mapped = {line.split(b" ", 5)[-1].strip() for line in lines if b"/" in line}
    except OSError:
        return names
    return names + [os.fsdecode(name) for name in mapped]


def _below(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(prefix + "/")


# What mounting needs


def preflight() -> None:
    """Refuse with the remedy what mounting would refuse without one."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise _no_device(error) from error
    if os.readlink("/proc/self") != str(os.getpid()):
        # The kernel would name callers by one numbering, and /proc describe others by those names.
        raise PkgviewError(
            "/proc shows another pid namespace than this process is in, so nobody could be told "
            "from anybody else",
            remedy="Mount its own: `unshare --pid --fork --mount-proc`.",
        )
    status = _own_status()
    if int(status.get("CapEff", "0"), 16) & _CAP_SYS_ADMIN:
        return
    if shutil.which("fusermount3") is None:
        raise _no_fusermount()
    if status.get("NoNewPrivs", "0") == "1":
        raise PkgviewError(
            "this process may not gain privileges (no_new_privs), so fusermount3 cannot mount",
            remedy="Mount from a shell outside the sandbox; in a container, allow it with "
            "`--cap-add SYS_ADMIN --device /dev/fuse` and without `no-new-privileges`.",
        )


def _own_status() -> dict[str, str]:
    """The fields of `/proc/self/status`, proc(5)."""
    lines = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _no_device(error: OSError) -> PkgviewError:
    inside = _in_container()
    if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return PkgviewError(
            "/dev/fuse does not exist: this system cannot mount user-space file systems yet"
            if error.errno == errno.ENOENT
            else f"/dev/fuse has no driver: {error.strerror}",
            remedy="Start the container with `--device /dev/fuse --cap-add SYS_ADMIN`."
            if inside
            else "Run `sudo modprobe fuse`.",
        )
    return PkgviewError(
        f"/dev/fuse cannot be opened: {error.strerror}",
        remedy="Run `sudo chmod 666 /dev/fuse`, which is what distributions set by default."
        if error.errno == errno.EACCES  # its mode; EPERM is a container's device list
        else "Start the container with `--device /dev/fuse --cap-add SYS_ADMIN`.",
    )


def _no_fusermount() -> PkgviewError:
    if os.geteuid() == 0:
        return PkgviewError(
            "this root may not mount (no CAP_SYS_ADMIN), and there is no fusermount3 to do it",
            remedy="Start the container with `--cap-add SYS_ADMIN --device /dev/fuse`.",
        )
    return PkgviewError(
        "fusermount3 is not installed, and without it only root may mount",
        remedy="Run `sudo apt install fuse3` (Debian, Ubuntu) or `sudo dnf install fuse3`.",
    )


def _in_container() -> bool:
    return (
        Path("/run/.containerenv").exists()
        or Path("/.dockerenv").exists()
        or bool(os.environ.get("container"))  # noqa: SIM112 - systemd's and podman's spelling
    )


def prepare(path: Path) -> None:
    """Make `path` (canonical, nothing mounted there) an empty directory of this user.

    Created with mode 0700 where missing: nobody but the mounter may pass it anyway. Refuses what
    `check` refuses.
    """
    with _explained(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check(path)


def check(path: Path) -> None:
    """Refuse a directory that cannot be mounted on, or whose contents mounting would hide.

    One that is missing is fine: `prepare` makes it.
    """
    if not os.path.lexists(path):
        return
    with _explained(path):
        found = path.lstat()
        hidden = os.listdir(path)
    if found.st_uid != os.geteuid():
        raise PkgviewError(
            f"{path} belongs to uid {found.st_uid}, and you are uid {os.geteuid()}",
            remedy="Run pkgview as that user"
            + (", without sudo." if os.geteuid() == 0 else ", or set PKGVIEW_MOUNT."),
        )
    if hidden:
        raise PkgviewError(
            f"{path} is not empty: mounting would hide {min(hidden)!r}"
            + (f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""),
            remedy="Move its contents away, or name another mount point with PKGVIEW_MOUNT.",
        )
    if not stat.S_IMODE(found.st_mode) & stat.S_IWUSR and os.geteuid() != 0:
        raise PkgviewError(
            f"{path} is not writable, and fusermount3 mounts only where you may write",
            remedy=f"Run `chmod u+w {path}`.",
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise PkgviewError(
            f"{path} cannot be a mount point: it is no directory, or not below one",
            remedy="Move it away, or name another mount point with PKGVIEW_MOUNT.",
        ) from error
    except OSError as error:
        raise PkgviewError(
            f"{path} cannot be made a mount point: {error.strerror}",
            remedy="Name a directory you may write to: `pkgview mount MOUNTPOINT`, "
            "or set PKGVIEW_MOUNT.",
        ) from error


def check_shareable(path: Path) -> None:
    """Refuse `allow_other` where it is not allowed, or would let nobody in."""
    if os.geteuid() != 0 and not _others_allowed():
        raise PkgviewError(
            "only root may let other users into a mount, unless /etc/fuse.conf allows it",
            remedy="Have root add a line `user_allow_other` to /etc/fuse.conf, or mount without "
            "--allow-other.",
        )
    for above in path.parents:
        with _explained(path):
            mode = above.stat().st_mode if above.exists() else stat.S_IXOTH
        if not mode & stat.S_IXOTH:
            raise PkgviewError(
                f"other users cannot reach {path}: {above} is closed to them",
                remedy="Name a mount point that they can: `pkgview mount --allow-other "
                "/srv/pkgview`.",
            )


def _others_allowed() -> bool:
    try:
        lines = Path("/etc/fuse.conf").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return "user_allow_other" in (line.strip() for line in lines)
