"""What mounting needs: a device, a program, a directory; each refusal has its remedy.

As in `mounts`, a mount point is not touched before the kernel's table says that nothing is there.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.way import way_faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CAP_SYS_ADMIN = 1 << 21


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
        raise no_fusermount()
    if status.get("NoNewPrivs", "0") == "1":
        raise PkgviewError(
            "this process may not gain privileges (no_new_privs), so fusermount3 cannot mount",
            remedy="Mount from a shell outside the sandbox; in a container, allow it with "
            "`--cap-add SYS_ADMIN --device /dev/fuse` and without `no-new-privileges`.",
        )
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise PkgviewError(
            f"user {os.geteuid()} has no name, and fusermount3 mounts for users with one only",
            remedy="Run it as a user whom /etc/passwd lists (`id`), or have this one listed there.",
        ) from error


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


def no_fusermount() -> PkgviewError:
    """There is no fusermount3, and this process cannot do without."""
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


def refuse_way(path: Path, mounted: Iterable[Path] = ()) -> None:
    """Refuse a mount point whose place others could take, and with it all that is run from there.

    `mounted`: every mount point there is; none is touched.
    """
    fault = next(
        way_faults(os.fspath(path), os.geteuid(), {os.fspath(one) for one in mounted}), None
    )
    if fault is not None:
        by_sudo = os.geteuid() == 0 and fault.kind == "owner"
        raise PkgviewError(
            f"others could put something else in the place of {path}: {fault.said}",
            remedy="Run it as that user, without sudo."
            if by_sudo
            else "Let it be yours or root's alone (`chmod go-w`, `chown`), or name a mount point "
            "below a directory of your own: `pkgview mount MOUNTPOINT`, or PKGVIEW_MOUNT.",
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
    refuse_way(path)
    with _explained(path):
        try:
            found = path.lstat()
            hidden = os.listdir(path)
        except FileNotFoundError:
            return
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
