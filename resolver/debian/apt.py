"""apt-get, run as whoever we are: its indices and caches are ours, all else is the machine's.

Sources, keys, preferences and settings are the machine's own, and so is the list of what it has
installed: what is there counts as there. Nothing is locked, installed or removed. apt verifies its
indices by their signatures; of each file they have the SHA-256, which the fetched file must have.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from resolver.atomic import Alone, make_private, write_atomically
from resolver.debian.lock import Lock, LockedPackage
from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.naming import sha256
from resolver.running.session import run_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FRESH: Final = 24 * 60 * 60
"""Seconds for which apt's indices, and what was made of them, count."""

STATUS: Final = "/var/lib/dpkg/status"
_SOURCES: Final = ("/etc/apt", "/etc/apt/sources.list.d", "/etc/apt/preferences.d")

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](?::[a-z0-9-]+)?(?:[=/][A-Za-z0-9.+~:-]+)?")
_URI = re.compile(r"'([^']+)' (\S+) ([0-9]+) SHA256:([0-9a-f]{64})")
_INST = re.compile(r"Inst (\S+) (?:\[[^]]*\] )?\((\S+) (.*) \[([a-z0-9-]+)\]\)")
_SCHEMES = ("http://", "https://", "file:/")
_STAMP = "updated"

_ANOTHER = "It cannot stand beside what the machine has installed: name another package or version."
_REMEDIES = (
    (r"Unable to locate package", "Check the name, and that a source of the machine's has it."),
    (r"has no installation candidate", "A source that has it is not among the machine's."),
    (r"[Pp]ackages need to be removed", _ANOTHER),
    (r"held broken packages|unmet dependencies", "`apt-get --simulate install` of it says more."),
    (
        r"Could not (resolve|connect)|Failed to fetch",
        "Check the network and the sources.",
    ),
)


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once and in order; `PkgviewError` for what names no package."""
    for name in names:
        # apt takes `x-` for "remove x", and what begins with "-" for an option.
        if not _NAME.fullmatch(name):
            raise PkgviewError(
                f"{name!r} names no Debian package",
                remedy="Write NAME, NAME=VERSION or NAME/SUITE, as for apt-get install.",
            )
    return tuple(sorted(set(names)))


class Apt:
    """apt-get with its state and caches below `directory`, which is ours."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        found = shutil.which("apt-get")
        if found is None:
            raise PkgviewError(
                "apt-get is needed for Debian packages, and is not on PATH",
                remedy="They are for Debian and what is made of it.",
            )
        self._program = found

    async def lock(
        self, names: Sequence[str], *, offline: bool, told: Callable[[str], None]
    ) -> Lock:
        """What apt would install for these names; one that was made less than a day ago counts.

        Unless what the machine has installed, or its sources, are others since. `told` is told what
        is looked at.
        """
        asked = checked(names)
        sources = _state(_SOURCES)
        key = sha256("\0".join((*asked, sources, _state((STATUS,)))).encode()).hexdigest()
        path = self._directory / f"{key[:32]}.json"
        known = _read(path)
        if known is not None and (offline or _is_fresh(path)):
            return known
        make_private(self._directory)
        told("apt")
        with Alone(self._directory):
            for below in ("lists/partial", "cache/archives/partial"):
                (self._directory / below).mkdir(parents=True, exist_ok=True)
            stamp = self._directory / _STAMP
            if not offline and not (_is_fresh(stamp) and stamp.read_bytes() == sources.encode()):
                await self._run(["update"], asked)
                write_atomically(stamp, sources.encode())
            install = ["--no-remove", "--assume-yes", "install"]
            uris = await self._run(["--print-uris", *install, "--", *asked], asked)
            plan = await self._run(["--simulate", *install, "--", *asked], asked)
        lock = Lock(asked=asked, packages=tuple(_packages(uris, plan)))
        write_atomically(path, lock.to_bytes())
        return lock

    async def _run(self, arguments: Sequence[str], asked: Sequence[str]) -> str:
        settings = {
            "Dir::State::lists": f"{self._directory}/lists",
            "Dir::Cache": f"{self._directory}/cache",
            "Acquire::ForceHash": "SHA256",
            # Root's apt would fetch as another user, who may not look into a directory of root's.
            "APT::Sandbox::User": "",
            # What the machine does after an update is for its own lists.
            "APT::Update::Post-Invoke-Success": "",
        }
        said = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        code, stdout, stderr = await run_session(
            [self._program, "-qq", *said, *arguments],
            cwd=self._directory,
            environ={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
        if code:
            lines = [line for line in stderr.splitlines() if line.startswith("E: ")]
            text = masked(" ".join(line[3:] for line in lines) or stderr.strip())
            remedy = next((r for pattern, r in _REMEDIES if re.search(pattern, text)), "")
            raise PkgviewError(f"{', '.join(asked)}: apt-get: {text}", remedy=remedy)
        return stdout


def _state(paths: Sequence[str]) -> str:
    """What tells whether these files, and those in these directories, are as they were."""
    parts = [os.environ.get("APT_CONFIG", "")]
    for path in map(Path, paths):
        for one in (path, *(sorted(path.iterdir()) if path.is_dir() else ())):
            with suppress(OSError):
                status = one.stat()
                parts.append(f"{one} {status.st_mtime_ns} {status.st_size} {status.st_ino}")
    return "\n".join(parts)


def _read(path: Path) -> Lock | None:
    try:
        return Lock.from_bytes(path.read_bytes())
    except (OSError, ValueError):
        return None


def _is_fresh(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) < FRESH
    except OSError:
        return False


def _packages(uris: str, plan: str) -> Iterator[LockedPackage]:
    """The files that `--print-uris` lists, with what `--simulate` says of each."""
    said = {}
    for match in map(_INST.match, plan.splitlines()):
        if match is not None:
            name, version, origin, architecture = match.groups()
            said[name.partition(":")[0], version, architecture] = origin
    for line in uris.splitlines():
        match = _URI.fullmatch(line.strip())
        if match is None:
            continue
        url, filename, size, digest = match.groups()
        name, _, rest = unquote(filename).removesuffix(".deb").partition("_")
        version, _, architecture = rest.rpartition("_")
        if (name, version, architecture) not in said:
            raise PkgviewError(f"apt-get names {filename}, and does not say that it would be used")
        if not url.startswith(_SCHEMES):
            raise PkgviewError(
                f"{filename} would come from {masked(url)}, which is not fetched here",
                remedy="Packages come by http, https or from a directory (file:).",
            )
        yield LockedPackage(
            name=name, version=version, architecture=architecture, sha256=digest,
            size=int(size), url=url.replace("file:/", "file:///", 1)
            if url.startswith("file:/") and not url.startswith("file://") else url,
            filename=filename, origin=said[name, version, architecture],
        )  # fmt: skip
