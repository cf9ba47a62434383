"""The machine as npm names it: operating system, processor, C library, and its Node."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CPUS = {
    "x86_64": "x64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "ia32",
    "i386": "ia32",
    "ppc64le": "ppc64",
}
"""What Node calls processors (`process.arch`), where the kernel calls them otherwise."""

_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What packages are chosen by. `node` is a version, or "" where no Node is found."""

    os: str
    cpu: str
    libc: str
    node: str

    @property
    def major(self) -> str:
        """Of the Node, or ""."""
        return self.node.partition(".")[0]


def this_machine(environ: dict[str, str] | None = None) -> Machine:
    """Of this process, and the first `node` on PATH."""
    path = shutil.which("node", path=(environ or os.environ).get("PATH"))
    named = platform.machine()
    return Machine(
        os="linux", cpu=_CPUS.get(named, named), libc=_libc(), node=_version(path) if path else ""
    )


def _version(node: str) -> str:
    """Asked once of each file."""
    try:
        real = os.path.realpath(node)
        status = os.stat(real)  # noqa: PTH116 - as text
    except OSError:
        return ""
    return _asked(node, status.st_ino, status.st_mtime_ns)


@cache
def _asked(node: str, _inode: int, _changed: int) -> str:
    try:
        said = subprocess.run(
            [node, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    version = said.removeprefix("v")
    return version if version[:1].isdigit() and version.isprintable() else ""


@cache
def _libc() -> str:
    """As npm finds it: by what `ldd` is."""
    try:
        text = Path("/usr/bin/ldd").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "glibc" if platform.libc_ver()[0] == "glibc" else "musl"
    if "musl" in text:
        return "musl"
    return "glibc" if "GNU C Library" in text or "GLIBC" in text else ""


def fits(value: str, listed: tuple[str, ...]) -> bool:
    """Whether a list such as `os` takes a value: none of the `!…`, and one of the others."""
    if not listed or listed == ("any",):
        return True
    refused = [one[1:] for one in listed if one.startswith("!")]
    if value in refused:
        return False
    return value in listed or len(refused) == len(listed)
