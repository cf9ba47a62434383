#!/usr/bin/env bash
# Linux (seen on 6.18): reading a link or a directory of a FUSE mount drops its cached attributes, noatime or not.
#
# Behaviour: a server gives a link's attributes with a timeout of eleven days, and lstat() does not ask again. But each
# readlink() makes the next lstat() ask: fuse marks the access time as stale after a READLINK (and after a READDIR that
# reached the server, and after reading a file), and stat() wants the access time. The mount options noatime and
# nodiratime do not change it. Only a mount that is read-only does.
#
# Why it surprises: the timeout is documented as how long attributes are valid, and noatime as "do not update access
# times", which is all that a stale access time could be for. That a server's file system never writes is of no help
# either: the *mount* has to say it.
#
# What follows: realpath() and each other walk that reads links and stats them costs twice the round trips, for ever.
# A server that changes nothing mounts with `ro`; one that must be writable cannot save that request by any timeout.
#
# Needs /dev/fuse; an ordinary user also user namespaces.
set -euo pipefail
if [[ -z "${INSIDE:-}" ]]; then # a mount namespace of its own: nothing can be left behind
    namespaces=(--mount)
    [[ $EUID -eq 0 ]] || namespaces+=(--user --map-root-user)
    INSIDE=1 exec unshare "${namespaces[@]}" "$0"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uname -sr

python3 - "$work" <<'PY'
"""The least server: a directory with one link, over the kernel's protocol 7.31, counting what it is asked."""

import ctypes
import errno
import os
import struct
import sys
import threading

LOOKUP, FORGET, GETATTR, READLINK, INIT, OPENDIR, READDIR = 1, 2, 3, 5, 26, 27, 28
RELEASEDIR, DESTROY, BATCH_FORGET = 29, 38, 42
ENOSYS = 38
RDONLY, NOSUID, NODEV, NOATIME, NODIRATIME = 1, 2, 4, 1024, 2048
ROOT, LINK = 1, 2
SECONDS = 10**6
libc = ctypes.CDLL(None, use_errno=True)


def attributes(node):
    mode = 0o040555 if node == ROOT else 0o120777
    times = (10**9,) * 3
    return struct.pack("<6Q10I", node, 4, 0, *times, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body):
    if opcode == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 65536, 0, 16, 12, 4096, 1, 0, 0, *[0] * 8)
    if opcode == LOOKUP:
        return struct.pack("<4Q2I", LINK, 0, SECONDS, SECONDS, 0, 0) + attributes(LINK)
    if opcode == GETATTR:
        return struct.pack("<Q2I", SECONDS, 0, 0) + attributes(node)
    if opcode == READLINK:
        return b"nowhere"
    if opcode == OPENDIR:
        return bytes(16)
    if opcode == READDIR:
        offset = struct.unpack_from("<2Q", body)[1]
        return b"" if offset else struct.pack("<2Q2I", LINK, 1, 4, 0o12) + b"link\0\0\0\0"
    return b"" if opcode in (RELEASEDIR, DESTROY) else None


def serve(device, asked):
    try:
        while True:
            message = os.read(device, 1 << 17)
            _, opcode, unique, node = struct.unpack_from("<2I2Q", message)
            if opcode in (FORGET, BATCH_FORGET):
                continue
            asked.append(opcode)
            reply = answer(opcode, node, message[40:])
            error = -ENOSYS if reply is None else 0
            reply = reply or b""
            os.write(device, struct.pack("<IiQ", 16 + len(reply), error, unique) + reply)
    except OSError as error:
        if error.errno != errno.ENODEV:  # that is: unmounted
            raise
    finally:
        os.close(device)  # whatever happened, nobody waits for an answer


def measure(place, flags):
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    if libc.mount(b"demo", place.encode(), b"fuse", flags | NOSUID | NODEV, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    asked = []
    threading.Thread(target=serve, args=(device, asked), daemon=True).start()
    link = f"{place}/link"

    def getattrs(*calls):
        asked.clear()
        for _ in range(10):
            for call, path in calls:
                call(path)
        return asked.count(GETATTR)

    try:
        os.lstat(link)
        os.stat(place)
        return (
            getattrs((os.lstat, link)),
            getattrs((os.readlink, link), (os.lstat, link)),
            getattrs((os.listdir, place), (os.stat, place)),
        )
    finally:
        libc.umount2(place.encode(), 2)


print(f"{'GETATTR requests in ten rounds of':36} {'lstat':>8} {'readlink+lstat':>16} {'listdir+stat':>14}")
counts = []
for label, flags in {"rw": 0, "rw,noatime,nodiratime": NOATIME | NODIRATIME, "ro": RDONLY}.items():
    counts.append(measure(sys.argv[1], flags))
    print(f"{label:36} {counts[-1][0]:8} {counts[-1][1]:16} {counts[-1][2]:14}")
sys.exit(counts != [(0, 10, 10), (0, 10, 10), (0, 0, 0)])
PY
