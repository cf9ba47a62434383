"""What a build gets of uv's settings. Pure.

`uv sync` builds with the settings of the project, not those of what it builds. `uv build` knows no
name of what it builds: settings for one package (`config-settings-package`,
`extra-build-variables`, `no-build-isolation-package`) it leaves out without a word, and for
`match-runtime` it knows no environment. So it is told here, as the one package's own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from resolver.errors import PkgviewError
from resolver.fetch.addresses import EVERYBODYS, canonical, without_userinfo
from resolver.python.uv.settings import BUILD_SETTINGS, truth
from resolver.toml import every_text, key_text, table_of, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OF_PROJECTS = frozenset((
    "build-backend", "conflicts", "default-groups", "dependency-groups", "dev-dependencies",
    "environments", "managed", "minimum-libc-version", "package", "required-environments",
    "sources", "workspace",
))  # fmt: skip
"""What a uv.toml cannot have."""

_OF_RESOLUTIONS = frozenset((
    "cache-keys", "constraint-dependencies", "exclude-dependencies", "override-dependencies", "pip",
    "reinstall", "reinstall-package", "upgrade", "upgrade-package",
))  # fmt: skip
"""What is for the packages that are resolved, not for those that a build needs."""

_OF_INDEXES = ("index", "index-url", "extra-index-url", "find-links", "no-index")

_MAKES_NO_OTHER = frozenset((
    "add-bounds", "audit", "check-url", "compile-bytecode", "concurrent-builds",
    "concurrent-downloads", "concurrent-installs", "graalpy-install-mirror", "keyring-provider",
    "link-mode", "native-tls", "no-cache", "offline", "preview", "preview-features", "publish-url",
    "pypy-install-mirror", "pyodide-install-mirror", "python-downloads",
    "python-downloads-json-url", "python-install-mirror", "python-preference", "required-version",
    "system-certs", "trusted-publishing",
))  # fmt: skip
"""What does not decide what a build is made with. All others do, those that we do not know, too."""

_ADDRESS = re.compile(r"(?!(?:git\+)?file:)\b[A-Za-z][A-Za-z0-9+.-]*://\S*")

_ELSEWHERE = {"git": "git+{}", "url": "{}", "path": "file://{}"}
"""Keys of a source that lead away from indexes, and the address of a requirement from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """For the build of one package: the text of a uv.toml, options of `uv build`, variables.

    `isolated`: it gets an environment of its own, made of what it asks for; else the one that it is
    for.
    """

    text: str
    options: tuple[str, ...] = ()
    variables: Mapping[str, str]
    isolated: bool = True


def build_settings_of(
    name: str, settings: Mapping[str, Any], versions: Mapping[str, str], environ: Mapping[str, str]
) -> BuildSettings:
    """What the build of the package `name` (normalised) gets of `settings.effective`.

    `versions` are those of the lock, for what has to match it. `PkgviewError` for what cannot be
    honoured.
    """
    extra = extra_requirements(name, settings, versions)
    own = _of_package(table_of(settings, "config-settings-package"), name)
    options = (
        f"--config-setting={key}={one}"
        for key, value in own.items()
        for one in (value if isinstance(value, list) else [value])
    )
    variables = _of_package(table_of(settings, "extra-build-variables"), name)
    return BuildSettings(
        text=configuration(settings, {name: extra} if extra else {}),
        options=tuple(options),
        variables={key: str(value) for key, value in variables.items()},
        isolated=not _is_shared(name, settings, environ),
    )


def own_settings(settings: Mapping[str, Any], users: Mapping[str, Any]) -> tuple[str, bool]:
    """What of the settings for a project's builds is not its user's: what it is made with.

    And whether some of it may lead to a place on this machine. "" where the project says no more
    than the user does. Without passwords, which change; and without `BUILD_SETTINGS`, which count
    whoever says them.
    """
    keys = (settings.keys() | users.keys()) - _OF_PROJECTS - _OF_RESOLUTIONS - _MAKES_NO_OTHER
    other = {
        key: settings.get(key)
        for key in sorted(keys - {*_OF_INDEXES})
        if settings.get(key) != users.get(key)
    }
    if (offered := _offered(settings)) != _offered(users):
        other["index"] = offered
    texts = [_ADDRESS.sub("", text) for text in every_text(other)]
    is_local = "cache-dir" in other or any("/" in text or "file:" in text for text in texts)
    counted = {key: value for key, value in other.items() if key not in BUILD_SETTINGS}
    said = json.dumps(counted, sort_keys=True, default=str) if counted or is_local else ""
    return said, is_local


def _offered(settings: Mapping[str, Any]) -> list[object]:
    """Where packages are from by these settings, in one form, however they say it."""
    listed = [one for one in _list(settings.get("index")) if isinstance(one, dict)]
    default = [one.get("url") for one in listed if one.get("default")]
    default += [settings.get("index-url"), EVERYBODYS]
    others = [
        {key: value for key, value in one.items() if key not in {"authenticate", "name", "default"}}
        for one in listed
        if not one.get("default")
    ]
    others += [{"url": url} for url in _list(settings.get("extra-index-url"))]
    others = [one | {"url": _address(one.get("url"))} for one in others]
    links = sorted({_address(one) for one in _list(settings.get("find-links"))})
    return [
        [one for number, one in enumerate(others) if one not in others[:number]],
        _address(next(filter(None, default))),
        links,
        settings.get("no-index") is True,
    ]


def _address(value: object) -> str:
    plain = without_userinfo(str(value))
    return canonical(plain) or plain


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def configuration(settings: Mapping[str, Any], extra: Mapping[str, list[str]] | None = None) -> str:
    """The text of a uv.toml; `extra` are the extra build dependencies, None: the settings' own."""
    kept = {
        key: value
        for key, value in settings.items()
        if key not in _OF_PROJECTS and key not in _OF_RESOLUTIONS
    }
    if extra is not None:
        kept["extra-build-dependencies"] = dict(extra)
    return "".join(f"{key_text(key)} = {value_text(value)}\n" for key, value in kept.items())


def extra_requirements(
    name: str, settings: Mapping[str, Any], versions: Mapping[str, str]
) -> list[str]:
    """`extra-build-dependencies` of a package as plain requirements.

    Sources that lead elsewhere become addresses, and what has to match the lock has its version.
    """
    listed = _of_package(table_of(settings, "extra-build-dependencies"), name, default=[])
    found = table_of(settings, "sources").items()
    sources: dict[str, object] = {canonicalize_name(key): one for key, one in found}
    return list(_plain(listed, sources, versions, name))


def _plain(
    listed: object, sources: Mapping[str, object], versions: Mapping[str, str], of: str
) -> Iterator[str]:
    for one in listed if isinstance(listed, list) else []:
        matches = isinstance(one, dict) and one.get("match-runtime")
        text = str(one.get("requirement")) if isinstance(one, dict) else str(one)
        found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
        name = canonicalize_name(found[0]) if found else ""
        source = sources.get(name)
        if matches:
            if name not in versions:
                raise PkgviewError(
                    f"{of} is to be built with the {name} of the project (match-runtime), which "
                    "has none",
                    remedy=f"List {name} among the project's dependencies.",
                )
            yield f"{name}=={versions[name]}"
        elif source is not None:
            yield _from(source, text, name, of)
        else:
            yield text


def _from(source: object, text: str, name: str, of: str) -> str:
    """A requirement that has a source."""
    found = source if isinstance(source, dict) else {}
    for key, address in _ELSEWHERE.items():
        if key in found and found.keys() <= {key, "rev", "tag", "branch", "editable"}:
            revision = next((found[one] for one in ("rev", "tag", "branch") if one in found), "")
            return f"{name} @ {address.format(found[key])}" + (f"@{revision}" if revision else "")
    raise PkgviewError(
        f"extra-build-dependencies of {of} lists {text}, whose source in [tool.uv.sources] builds "
        "cannot be given",
        remedy=f"Write it there by its address, as in {name!r} @ https://….",
    )


def _is_shared(name: str, settings: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether it is built in the environment that it is for (`no-build-isolation`)."""
    listed = settings.get("no-build-isolation-package")
    if isinstance(listed, list) and name in [canonicalize_name(str(one)) for one in listed]:
        return True
    return truth(environ.get("UV_NO_BUILD_ISOLATION")) or settings.get("no-build-isolation") is True


def _of_package(tables: Mapping[str, Any], name: str, *, default: Any = None) -> Any:  # noqa: ANN401 - TOML's
    found = next((one for key, one in tables.items() if canonicalize_name(key) == name), None)
    return found if found is not None else {} if default is None else default
