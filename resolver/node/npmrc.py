"""npm's settings as far as they say where packages come from and which are left out.

As npm reads them, the first that has a key wins: variables (`npm_config_…`), `.npmrc` of the
project, of the user, of the installation (config(7) of npm's documentation). `${NAME}` stands for
a variable. A password is for what lies below the address that it is written for, and nobody else.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import canonical
from resolver.inputs import read_text
from resolver.node.start import PREFIX, SETTINGS, settings_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REGISTRY: Final = "https://registry.npmjs.org/"
"""What npm asks unless it is told otherwise; in a lock it stands for whatever registry is set."""

NAME: Final = SETTINGS

_VARIABLE = re.compile(r"(?<!\\)(\\*)\$\{([^${}?]+)(\?)?\}")
_SECRET = ("_authtoken", "_auth", "username", "_password", "certfile", "keyfile", "email")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What counts of them. `registries` are by scope ("" for all others), each ending with "/".

    `basic` and `bearer` are by addresses as `canonical` has them. `values` are all plain ones, the
    most special first.
    """

    registries: Mapping[str, str]
    basic: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    bearer: Mapping[str, str] = field(default_factory=dict, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def registry_of(self, name: str) -> str:
        """Where a package of that name comes from."""
        scope = name.partition("/")[0] if name.startswith("@") else ""
        return self.registries.get(scope, self.registries[""])

    def says(self, key: str) -> bool:
        """Whether a setting is true."""
        return self.values.get(key, "") in {"true", "1", ""} and key in self.values

    @property
    def omitted(self) -> frozenset[str]:
        """The sorts that are left out."""
        production = os.environ.get("NODE_ENV") == "production"
        omitted = set(self.values.get("omit", "").split())
        if "omit" not in self.values and production:
            omitted = {"dev"}
        if self.says("production") or self.values.get("only", "").startswith("prod"):
            omitted.add("dev")
        if self.values.get("optional") == "false":
            omitted.add("optional")
        return frozenset(omitted - set(self.values.get("include", "").split()))

    def address(self, resolved: str, name: str) -> str:
        """Where to fetch what a lock names: the usual registry stands for the one that is set."""
        replaced = self.values.get("replace-registry-host", "npmjs")
        host = urlsplit(resolved).hostname or ""
        wanted = urlsplit(REGISTRY).hostname if replaced == "npmjs" else replaced
        registry = urlsplit(self.registry_of(name))
        if replaced == "never" or (replaced != "always" and host != wanted):
            return resolved
        path, prefix = urlsplit(resolved).path, registry.path.rstrip("/")
        if prefix and path != prefix and not path.startswith(f"{prefix}/"):
            path = prefix + path
        return (
            urlsplit(resolved)
            ._replace(scheme=registry.scheme, netloc=registry.netloc, path=path)
            .geturl()
        )


def settings(directory: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Those that count in a project; None: without any project's.

    `PkgviewError` where a file of them cannot be read.
    """
    env = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for path in reversed([one for one in files(directory, env) if one.is_file()]):
        values |= dict(pairs(read_text(path), env))
    values |= _of_environment(env)
    return _understood(values)


def files(directory: Path | None, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where they may be, the most special first."""
    if directory is not None:
        yield directory / NAME
    yield from map(Path, settings_files(environ))


def pairs(text: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each setting of a file (the format of npm's `ini`); a list's values are joined by a blank."""
    lists: dict[str, list[str]] = {}
    for key, value in lines(text):
        name, said = (_with_variables(_unquoted(one), environ) for one in (key, value))
        if name.endswith("[]"):
            lists.setdefault(name[:-2].rstrip(), []).append(said)
        elif name and not name.startswith("["):
            yield name, said
    yield from ((name, " ".join(values)) for name, values in lists.items())


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Each setting of a file as it is written."""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and stripped[0] not in ";#":
            key, equals, value = stripped.partition("=")
            yield key.strip(), value.strip() if equals else "true"


def variables(text: str) -> set[str]:
    """The variables that a file of settings names."""
    return {found[2] for found in _VARIABLE.finditer(text)}


def is_secret(key: str) -> bool:
    """Whether a setting is for one address only."""
    return key.startswith("//")


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in environ.items():
        if name[: len(PREFIX)].lower() == PREFIX and value:
            key = name[len(PREFIX) :]
            # As npm: what is for an address keeps its letters.
            if not key.startswith("//"):
                key = re.sub(r"(?!^)_", "-", key.lower())
            found[key] = value
    return found


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        with suppress(ValueError):
            value = json.loads(text if text[0] == '"' else f'"{text[1:-1]}"')
            return str(value)
        return text
    # A comment begins at the first mark that is not escaped.
    cut = re.split(r"(?<!\\)[;#]", text, maxsplit=1)[0].strip()
    return re.sub(r"\\([;#\\])", r"\1", cut)


def _with_variables(text: str, environ: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        escapes, name, free = found[1], found[2], found[3]
        if len(escapes) % 2:
            return found[0][(len(escapes) + 1) // 2 :]
        given = environ.get(name, "" if free else f"${{{name}}}")
        return escapes[len(escapes) // 2 :] + given

    return _VARIABLE.sub(value, text)


def _understood(values: Mapping[str, str]) -> Settings:
    registries = {"": _directory(values.get("registry", REGISTRY))}
    basic: dict[str, tuple[str, str]] = {}
    bearer: dict[str, str] = {}
    secrets: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        if key.startswith("@") and key.endswith(":registry"):
            registries[key.removesuffix(":registry")] = _directory(value)
        elif is_secret(key):
            place, _, name = key.rpartition(":")
            if name.lower() in _SECRET:
                secrets.setdefault(place, {})[name.lower()] = value
    for place, said in secrets.items():
        for address in {canonical(f"{scheme}:{place}") for scheme in ("https", "http")} - {""}:
            if token := said.get("_authtoken"):
                bearer[address] = token
            elif pair := _basic(said):
                basic[address] = pair
    return Settings(registries=registries, basic=basic, bearer=bearer, values=values)


def _basic(said: Mapping[str, str]) -> tuple[str, str] | None:
    try:
        if "_auth" in said:
            user, _, word = _decoded(said["_auth"]).partition(":")
            return user, word
        if "username" in said and "_password" in said:
            return said["username"], _decoded(said["_password"])
    except (ValueError, binascii.Error) as error:
        raise PkgviewError(
            "an _auth or _password of npm's settings is no base64",
            remedy="Log in again: `npm login`.",
        ) from error
    return None


def _decoded(text: str) -> str:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()


def _directory(address: str) -> str:
    return f"{address.rstrip('/')}/"
