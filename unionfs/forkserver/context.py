"""What a process has from those that started it, and keeps to itself: who may be forked for whom.

A process that is forked by another one than its caller works with what that one has. It is given
the caller's arguments, environment, working directory, standard streams and process group. All else
has to be equal, and is compared here: user, groups, capabilities, session and terminal, cgroups,
namespaces, the root directory, limits, the file mode mask, ignored signals, processors, security
labels, and how the interpreter was started.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import sys

from resolver.naming import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS = (
    b"Umask", b"Uid", b"Gid", b"Groups", b"SigIgn", b"CapInh", b"CapPrm", b"CapEff",
    b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp", b"Seccomp_filters", b"Cpus_allowed",
    b"Mems_allowed",
)  # fmt: skip
"""Lines of `/proc/<pid>/status`, proc(5)."""

_FILES = ("cgroup", "limits", "oom_score_adj", "attr/current")
_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_", "TZ")
"""How variables begin that libraries and the interpreter read once, when they are loaded."""


def of_process(pid: int) -> bytes:
    """What is to be equal, as `/proc` tells it of a process of our own; `OSError` if it does not.

    A few kilobytes that are compared, never read.
    """
    root = f"/proc/{pid}"
    with open(f"{root}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    parts = [b" ".join((*fields[3:5], *fields[15:17], *fields[37:39]))]
    with open(f"{root}/status", "rb") as file:
        status = [line for line in file if line.partition(b":")[0] in _STATUS]
    parts += [_without_internal(line) if line.startswith(b"SigIgn") else line for line in status]
    parts += [
        os.fsencode(os.readlink(f"{root}/ns/{name}")) for name in sorted(os.listdir(f"{root}/ns"))
    ]
    parts.append(os.fsencode(os.readlink(f"{root}/root")))
    for name in _FILES:
        try:
            with open(f"{root}/{name}", "rb") as file:
                parts.append(file.read())
        except (FileNotFoundError, ValueError):
            parts.append(b"-")  # a kernel without it
        except OSError as error:
            if name != "attr/current":  # EINVAL: no module has labels
                raise
            parts.append(str(error.errno).encode())
    return b"\0".join(parts)


def _without_internal(line: bytes) -> bytes:
    """Ignored signals without 32 and 33: glibc keeps them for itself, and `posix_spawn` says so."""
    return b"%x" % (int(line.split()[1], 16) & ~(3 << 31))


def name(served: str, environ: Mapping[str, str]) -> str:
    """What the socket is called of those that import `served` and are as this process.

    Which interpreter and code it is, and how it was started, is a part of it.
    """
    variables = sorted(one for one in environ if one.startswith(_AT_START))
    interpreter = "\0".join((
        served, sys.executable, sys.version, repr(sys.flags), repr(sys.warnoptions),
        *sys.path[1:], *(f"{one}={environ[one]}" for one in variables),
    ))  # fmt: skip
    digest = sha256(of_process(os.getpid()) + os.fsencode(interpreter))
    return digest.hexdigest()[:24]
