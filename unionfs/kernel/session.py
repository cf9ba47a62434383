"""A mount's beginning and end: pyfuse3 mounts and unmounts, and INIT is answered here.

pyfuse3 knows fusermount3, options and privileges. It never reads the descriptor that it mounts:
whoever holds that and the `Terms` can answer, now or after another process has died.
"""

from __future__ import annotations

import json
import os
import select
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from resolver.errors import PkgviewError
from unionfs.kernel import abi
from unionfs.kernel.abi import Init

if TYPE_CHECKING:
    from pathlib import Path

INIT_SECONDS: Final = 10.0
"""How long the kernel may take to say INIT, which it does while it mounts."""

MOST_PAGES: Final = 256
"""Pages of the largest READ: what fuse.h has as the usual limit."""

MAX_BACKGROUND: Final = 512
"""READs of read-ahead that may be under way at once, all callers together; further ones wait in the
kernel, whoever's they are. Each caller has one or two, and those of a caller who waits for the
network stay for a minute: so it is more than there will be such callers, and fewer than there are
slots (`unionfs.kernel.slots`)."""

_WANTED: Final = Init.ASYNC_READ | Init.DO_READDIRPLUS | Init.PARALLEL_DIROPS | Init.MAX_PAGES
"""Not wanted: CACHE_SYMLINKS, one switch for all links, and `current` differs by caller;
READDIRPLUS_AUTO, which leaves attributes out of some listings; AUTO_INVAL_DATA, which would ask
for attributes that never change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What INIT agreed on: the protocol's minor version, and all flags that the kernel offered."""

    minor: int
    offered: int

    def to_json(self) -> str:
        """For a process that goes on with the mount."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Terms:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


def mount(mountpoint: Path, options: set[str]) -> int:
    """Mount: the descriptor to serve, which does not block. Unmounting is the caller's, by path.

    A process that ends then does it: pyfuse3 takes 2 MB, which whoever holds the mount would keep.

    `RuntimeError` where the kernel or fusermount3 refuses to mount.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            child = os.fork()
            if child == 0:
                _mount_for(theirs, mountpoint, options)
        said, descriptors, _, _ = socket.recv_fds(ours, 1 << 12, 1)
        os.waitpid(child, 0)
    if not descriptors:
        raise RuntimeError(said.decode() or "the process that mounts has ended")
    os.set_inheritable(descriptors[0], False)  # noqa: FBT003 - positional only
    os.set_blocking(descriptors[0], False)
    return descriptors[0]


def _mount_for(parent: socket.socket, mountpoint: Path, options: set[str]) -> NoReturn:
    """In the forked process: send the mount's descriptor, or why there is none."""
    try:
        import pyfuse3  # noqa: PLC0415 - see `mount`

        before = descriptors_of("/dev/fuse")
        pyfuse3.init(pyfuse3.Operations(), os.fspath(mountpoint), options)
        socket.send_fds(parent, [b"mounted"], list(descriptors_of("/dev/fuse") - before))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other one says it
        parent.send(str(error).encode())
    finally:
        os._exit(0)


def descriptors_of(wanted: str) -> set[int]:
    """The descriptors of this process that the kernel calls so: "/dev/fuse", a mount's own side."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the listing's own
            continue
        if target == wanted:
            found.add(int(name))
    return found


def negotiate(descriptor: int) -> Terms:
    """Answer INIT, the first request of every mount; once a mount, before anything else.

    `PkgviewError` for a kernel whose protocol is not spoken here.
    """
    while True:
        message = _first_message(descriptor)
        _, opcode, unique, *_ = abi.IN_HEADER.unpack_from(message)
        major, minor, readahead, offered = abi.INIT_IN.unpack_from(message, abi.IN_HEADER.size)
        if opcode != abi.Opcode.INIT:
            raise PkgviewError(f"the kernel's first request is {opcode}, not INIT")
        if major > abi.MAJOR:
            # It says INIT again, in our version.
            _write(descriptor, unique, abi.INIT_OUT.pack(abi.MAJOR, abi.MINOR, *bytes(9)))
            continue
        if (major, minor) < (abi.MAJOR, abi.OLDEST_MINOR):
            raise PkgviewError(
                f"the kernel speaks version {major}.{minor} of the FUSE protocol, and pkgview's "
                f"own transport needs {abi.MAJOR}.{abi.OLDEST_MINOR} (Linux 4.20)",
                remedy="Mount with `pkgview mount --transport libfuse`.",
            )
        minor = min(minor, abi.MINOR)
        reply = abi.INIT_OUT.pack(
            abi.MAJOR,
            minor,
            readahead,
            offered & _WANTED,
            MAX_BACKGROUND,
            MAX_BACKGROUND * 3 // 4,
            4096,  # max_write: nobody writes, and less is not allowed
            1,
            MOST_PAGES,
            0,
            0,
        )
        _write(descriptor, unique, reply)
        return Terms(minor=minor, offered=offered)


def _first_message(descriptor: int) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(INIT_SECONDS * 1000):
        raise PkgviewError(f"the kernel did not say INIT within {INIT_SECONDS:.0f} seconds")
    return os.read(descriptor, abi.READ_BUFFER)


def _write(descriptor: int, unique: int, payload: bytes) -> None:
    os.write(
        descriptor, abi.OUT_HEADER.pack(abi.OUT_HEADER.size + len(payload), 0, unique) + payload
    )
