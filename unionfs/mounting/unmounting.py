"""How a mount ends: by itself, by force, by the connection's end; and who is in the way.

The mount itself is never asked: who uses it is read from the names that the kernel has for what
processes hold.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.mounting.mounts import mounted_at, parse
from unionfs.mounting.prerequisites import no_fusermount

if TYPE_CHECKING:
    from unionfs.mounting.mounts import Mount

UNMOUNT_SECONDS = 20.0
"""How long fusermount3 may take."""

_MNT_FORCE, _MNT_DETACH, _UMOUNT_NOFOLLOW = 1, 2, 8


class MountBusyError(PkgviewError):
    """Programs use the mount: it can only be unmounted lazily."""


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
        raise no_fusermount()
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
