"""Users and passwords for registries, where people have them already.

In this order, the first file that has an entry for the registry:

1. `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json` and
   `~/.config/containers/auth.json`: what podman, skopeo and buildah write
   (containers-auth.json(5));
2. `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`: what `docker login` writes;
3. netrc, `$NETRC` or `~/.netrc`.

An entry is for a host (`host:port`) or, in podman's, for a part of it (`host/team`). Either file
may name a program for it: `credHelpers` by host, `credsStore` for all; `docker-credential-NAME get`
has the host on standard input and answers in JSON. No secret is ever logged, said in an error, or
written anywhere.
"""

from __future__ import annotations

import base64
import binascii
import json
import netrc
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LARGEST: Final = 1 << 20
"""Bytes of a file of credentials, and of a helper's answer."""

_PATIENCE: Final = 60.0
"""Seconds for a helper, which may ask its user for a password of its own."""

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

HUB: Final = "docker.io"
_HUB_KEYS = ("docker.io", "index.docker.io", "registry-1.docker.io")
"""What Docker's own registry is called; it is known in files by the second one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user with a password; `is_token`: with a token that others are had for (OAuth 2)."""

    user: str
    secret: str = field(repr=False)
    is_token: bool = False

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header (RFC 7617)."""
        pair = f"{self.user}:{self.secret}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


async def for_registry(
    host: str, repository: str, environ: Mapping[str, str] | None = None
) -> Credential | None:
    """What is known for `host` (with its port, if it is named so); None: nothing is.

    `PkgviewError` where a file or a helper that is named for it cannot be used.
    """
    environ = os.environ if environ is None else environ
    for file in _files(environ):
        found = await _in_file(file, host, repository)
        if found is not None:
            return found
    return of_netrc(host, environ)


def of_netrc(host: str, environ: Mapping[str, str] | None = None) -> Credential | None:
    """What netrc(5) has for a host, whatever its port."""
    environ = os.environ if environ is None else environ
    name = re.sub(r":\d+$", "", host).strip("[]")
    with suppress(OSError, netrc.NetrcParseError, RuntimeError, UnicodeError):
        found = netrc.netrc(environ.get("NETRC")).authenticators(name)
        if found is not None:
            return Credential(user=found[0], secret=found[2] or "")
    return None


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    home = Path(environ.get("HOME") or Path.home())
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers/auth.json")
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json")
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker", "config.json")


async def _in_file(file: Path, host: str, repository: str) -> Credential | None:
    fields = _read(file)
    hosts = _HUB_KEYS if host in _HUB_KEYS else (host,)
    for one in hosts:
        if isinstance(name := _table(fields, "credHelpers").get(one), str):
            return await _helped(name, one, file)
    known = {_plain(key): entry for key, entry in _table(fields, "auths").items()}
    for one in hosts:
        for place in _places(one, repository):
            if isinstance(entry := known.get(place), dict):
                found = _of_entry(entry, file, place)
                if found is not None:
                    return found
    if isinstance(name := fields.get("credsStore"), str) and name:
        asked = "https://index.docker.io/v1/" if host in _HUB_KEYS else host
        return await _helped(name, asked, file)
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            fields = json.loads(stream.read(_LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise PkgviewError(
            f"{file} cannot be used: {said}",
            remedy="It holds passwords for registries: mend it, or log in again with its program.",
        ) from None
    return fields if isinstance(fields, dict) else {}


def _table(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def _plain(key: str) -> str:
    """`https://host/v1/` is a way to write `host`; a path of podman's stays."""
    key = re.sub(r"^https?://", "", key).rstrip("/")
    return re.sub(r"/v[12]$", "", key)


def _places(host: str, repository: str) -> Iterator[str]:
    """The repository itself, what is above it, its host."""
    parts = [host, *repository.split("/")]
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count])


def _of_entry(entry: Mapping[str, Any], file: Path, place: str) -> Credential | None:
    token, both = entry.get("identitytoken"), entry.get("auth")
    user = secret = ""
    if isinstance(both, str) and both:
        try:
            user, _, secret = base64.b64decode(both).decode().partition(":")
        except (binascii.Error, ValueError):
            raise PkgviewError(
                f"{file} has no user and password for {place} that could be read",
                remedy="Log in to it again, with podman, skopeo or docker.",
            ) from None
        secret = secret.rstrip("\0")
    elif isinstance(entry.get("username"), str) and isinstance(entry.get("password"), str):
        user, secret = entry["username"], entry["password"]
    if isinstance(token, str) and token:
        return Credential(user=user, secret=token, is_token=True)
    return Credential(user=user, secret=secret) if user else None


async def _helped(name: str, host: str, file: Path) -> Credential | None:
    """What `docker-credential-NAME get` knows; None where it knows nothing of that host."""
    program = f"docker-credential-{name}"
    failed = f"{program}, which {file} names, cannot be asked for a password for {host}"
    remedy = "Install it, or log in again, with podman, skopeo or docker."
    if not _HELPER.fullmatch(name):
        raise PkgviewError(f"{file} names a program {name!a}, which is no name", remedy=remedy)
    try:
        with trio.fail_after(_PATIENCE):
            ended = await trio.run_process(
                [program, "get"], stdin=host.encode(), capture_stdout=True, check=False,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
    except OSError as error:
        raise PkgviewError(f"{failed}: {error.strerror}", remedy=remedy) from None
    except trio.TooSlowError:
        raise PkgviewError(f"{failed}: it does not answer", remedy=remedy) from None
    if ended.returncode:
        if b"credentials not found" in ended.stdout:
            return None
        raise PkgviewError(f"{failed}: it ends with status {ended.returncode}", remedy=remedy)
    try:
        answer = json.loads(ended.stdout[:_LARGEST])
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, LookupError, TypeError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise PkgviewError(f"{failed}: its answer is none", remedy=remedy)
    return Credential(user=user, secret=secret, is_token=user == "<token>")
