"""Package indexes, certificates, proxies and passwords: those that pip and uv users already have.

uv reads its own settings (`uv.toml`, `[tool.uv]`, `UV_*`, netrc, keyring). Where indexes are set
for pip only (`pip.conf`, `PIP_*`), they are translated into `UV_*` variables for the uv that we
start; a variable that is already set is never overridden, and the indexes of the two are never
mixed, because a uv user's first index wins where a pip user's best version does.

The same settings, as values, are what our own downloads need: `download_settings`.
"""

from __future__ import annotations

import netrc
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from resolver.fetch.addresses import (
    EVERYBODYS,
    canonical,
    file_places,
    links_places,
    nearest,
    without_userinfo,
)
from resolver.python.uv.once import once
from resolver.python.uv.pips import pip_settings
from resolver.python.uv.settings import effective, member_tables, truth, uv_tables
from resolver.toml import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_UV_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
)
_UV_INDEX_KEYS = ("index", "index-url", "extra-index-url", "find-links", "no-index")
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What an index wants to hear. Its `repr` does not tell the password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSettings:
    """What a download needs besides its URL.

    `certificates` is a PEM file, `certificate_directory` one that OpenSSL's rehash made (both
    None: the system's), `client_certificate` a PEM file with certificate and key; `proxies` maps
    "http", "https" and "all" to a proxy's URL and `no_proxy` lists the hosts reached without;
    `credentials` maps the addresses below which an index and its files lie
    (`resolver.fetch.addresses.file_places`) to what it wants, `netrc` a host's name;
    `insecure_hosts` ("host" or "host:port") may show any certificate; `timeout` is in seconds.
    """

    certificates: Path | None = None
    certificate_directory: Path | None = None
    client_certificate: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    no_proxy: tuple[str, ...] = ()
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    netrc: Mapping[str, Credential] = field(default_factory=dict)
    insecure_hosts: frozenset[str] = frozenset()
    timeout: float = 60.0

    def credential_for(self, url: str) -> Credential | None:
        """The credential for one URL: its own, its index's, else netrc's for its host."""
        parts = urlsplit(url)
        if parts.username:
            return _credential(parts.username, parts.password)
        place = nearest(url, self.credentials)
        found = self.credentials[place] if place else None
        # netrc knows no schemes; what it tells is not sent in the clear.
        if found is None and parts.scheme == "https":
            found = self.netrc.get(parts.hostname or "")
        return found

    def verifies(self, url: str) -> bool:
        """Whether the certificate of that URL's host has to be a good one."""
        parts = urlsplit(url)
        names = {parts.hostname or "", f"{parts.hostname}:{_port(url)}"}
        return not names & self.insecure_hosts


def uv_environment(
    place: Path | None = None, environ: Mapping[str, str] | None = None, *, indexes: bool = True
) -> dict[str, str]:
    """The variables to add for uv: pip's settings, where uv has none of its own.

    `place`: a project's directory, or a script (`resolver.python.uv.settings`). Unless `indexes`,
    those are left out that change what is resolved: a `uv.lock` is for uv's own.
    """
    if environ is None:
        return dict(once(("added", place, indexes), lambda: _added(place, os.environ, indexes)))
    return _added(place, environ, indexes)


def _added(place: Path | None, env: Mapping[str, str], indexes: bool) -> dict[str, str]:  # noqa: FBT001 - as above
    pip = pip_settings(env)
    added: dict[str, str] = {}
    if indexes:
        added |= _resolving_variables(pip, env, place)
        added |= {} if _uv_has_indexes(env, place) else _index_variables(pip)
    added |= {
        name: value
        for name, value in (
            ("SSL_CLIENT_CERT", pip.get("client-cert", "")),
            ("UV_INSECURE_HOST", " ".join(pip.get("trusted-host", "").split())),
            ("UV_HTTP_TIMEOUT", _seconds(pip.get("timeout") or pip.get("default-timeout") or "")),
            ("UV_KEYRING_PROVIDER", _keyring(pip.get("keyring-provider", ""))),
        )
        if value and not env.get(name)
    }
    if not any(env.get(name) for name in _CERTIFICATE_VARIABLES) and (
        bundle := _pip_bundle(pip, env)
    ):
        # requests, so pip, takes a directory of certificates in the same place.
        added["SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE"] = bundle
    if pip.get("proxy") and not _proxies(env):
        added["ALL_PROXY"] = pip["proxy"]
    return added


def user_indexes(environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """The user's own indexes, as `resolver.fetch.addresses.canonical` has them.

    By what the user and root have set, not what a project says. PyPI is one of them unless they
    have put another in its place, or none: who did so does not want packages of the same names.
    """
    env = {**(os.environ if environ is None else environ), **uv_environment(None, environ)}
    urls = (index.get("url") for index in _named_indexes(env, None))
    own = frozenset(_place(url) for url in urls if isinstance(url, str)) - {""}
    return own if _has_another_default(env) else own | {EVERYBODYS}


def user_named_indexes(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The address of each index to which the user's and root's own settings give a name."""
    env = os.environ if environ is None else environ
    named = ((index.get("name"), index.get("url")) for index in _named_indexes(env, None))
    return {name: str(url) for name, url in named if isinstance(name, str)}


def requires_hashes(place: Path, environ: Mapping[str, str] | None = None) -> bool:
    """Whether pip or uv, by their settings, take only what has a hash in a requirements file."""
    env = os.environ if environ is None else environ
    said = env.get("UV_REQUIRE_HASHES", "")
    tables = [table_of(table, "pip") for table in uv_tables(env, place)]
    uvs = [truth(said)] if said else [one.get("require-hashes") is True for one in tables]
    return any(uvs) or truth(pip_settings(env).get("require-hashes"))


def download_settings(
    place: Path | None = None, environ: Mapping[str, str] | None = None
) -> DownloadSettings:
    """What our own downloads need, from the same sources that uv gets."""
    env = {**(os.environ if environ is None else environ), **uv_environment(place, environ)}
    whole = effective(env, place)
    for key in ("http-proxy", "https-proxy"):
        name = key.upper().replace("-", "_")
        if isinstance(proxy := whole.get(key), str) and not env.get(name.lower()):
            env[name] = env.get(name) or proxy
    credentials: dict[str, Credential] = {}
    for index in _named_indexes(env, place):
        credentials |= _index_credential(index, env)
    for page in _find_links(env, place):
        credentials |= _page_credential(page)
    bundle, directories, client = map(env.get, ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"))
    no_proxy = env.get("NO_PROXY") or env.get("no_proxy") or _joined(whole.get("no-proxy"), ",")
    insecure = env.get("UV_INSECURE_HOST") or _joined(whole.get("allow-insecure-host"), " ")
    return DownloadSettings(
        certificates=Path(bundle) if bundle else None,
        certificate_directory=Path(directories.split(os.pathsep)[0]) if directories else None,
        client_certificate=Path(client) if client else None,
        proxies=_proxies(env),
        no_proxy=tuple(host.strip() for host in no_proxy.split(",") if host.strip()),
        credentials=credentials,
        netrc=_netrc(env),
        insecure_hosts=frozenset(insecure.replace(",", " ").split()),
        timeout=float(_seconds(env.get("UV_HTTP_TIMEOUT", "")) or 60),
    )


def _joined(value: object, by: str) -> str:
    return by.join(map(str, value)) if isinstance(value, list) else ""


def _named_indexes(env: Mapping[str, str], place: Path | None) -> list[dict[str, Any]]:
    """Every index that the settings name, `url` and perhaps `name`, uv's tables first."""
    named: list[dict[str, Any]] = []
    for table in _with_pips((*uv_tables(env, place), *member_tables(place))):
        indexes = table.get("index", [])
        named += [one for one in indexes if isinstance(one, dict)] if _is_list(indexes) else []
        for key in ("index-url", "extra-index-url"):
            value = table.get(key, [])
            texts = value if _is_list(value) else [value]
            named += [{"url": text} for text in texts if isinstance(text, str)]
    for variable in _UV_INDEX_VARIABLES[:4]:
        for word in env.get(variable, "").split():
            name, equals, url = word.partition("=")
            known = bool(equals) and "/" not in name
            named.append({"name": name, "url": url} if known else {"url": word})
    return named


def _find_links(env: Mapping[str, str], place: Path | None) -> list[str]:
    """Pages of links that the settings name, and directories."""
    pages = [*env.get("UV_FIND_LINKS", "").replace(",", " ").split()]
    for table in _with_pips(uv_tables(env, place)):
        said = table.get("find-links", [])
        pages += [one for one in said if isinstance(one, str)] if _is_list(said) else []
    return pages


def _with_pips(tables: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tables of uv, each with its `[pip]`, which `uv pip` reads, too."""
    for table in tables:
        yield table
        yield table_of(table, "pip")


def _resolving_variables(
    pip: Mapping[str, str], env: Mapping[str, str], place: Path | None
) -> dict[str, str]:
    """What of pip's settings changes a resolution, where uv has no setting for that."""
    set_by_uv = effective(env, place).keys() if pip else ()
    pairs = (
        ("UV_PRERELEASE", "prerelease", "allow" if truth(pip.get("pre")) else ""),
        ("UV_EXCLUDE_NEWER", "exclude-newer", pip.get("uploaded-prior-to", "")),
        ("UV_CONSTRAINT", "", " ".join(pip.get("constraint", "").split())),
        ("UV_BUILD_CONSTRAINT", "", " ".join(pip.get("build-constraint", "").split())),
    )
    return {
        name: value
        for name, key, value in pairs
        if value and not env.get(name) and key not in set_by_uv
    }


def _index_variables(pip: Mapping[str, str]) -> dict[str, str]:
    added: dict[str, str] = {}
    if main := pip.get("index-url"):
        added["UV_DEFAULT_INDEX"] = _as_url(main)
    if extra := pip.get("extra-index-url", "").split():
        added["UV_INDEX"] = " ".join(map(_as_url, extra))
        # pip takes the best version of all indexes; uv's default is the first that has the name.
        added["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    # pip passes over places that do not exist; uv refuses to start.
    if links := [link for link in pip.get("find-links", "").split() if _exists(link)]:
        added["UV_FIND_LINKS"] = ",".join(map(_as_link, links))
    if truth(pip.get("no-index")):
        added["UV_NO_INDEX"] = "1"
    return added


def _as_url(index: str) -> str:
    """A local path, which pip takes too, as the URL that uv wants."""
    if "://" in index:
        return index
    return "file://" + quote(str(Path(index).expanduser().absolute()))


def _as_link(link: str) -> str:
    """A local path is relative to where we are, as for pip: not to where uv runs."""
    is_url = "://" in link or link.startswith("file:")
    return link if is_url else str(Path(link).expanduser().absolute())


def _exists(link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).exists()
    return "://" in link or Path(link).expanduser().exists()


def _seconds(text: str) -> str:
    """A whole number of seconds, as uv wants it; "" where it is none."""
    with suppress(ValueError, OverflowError):
        return str(max(1, round(float(text))))
    return ""


def _keyring(provider: str) -> str:
    # pip's "auto" and "import" use a keyring in pip's own environment, which uv cannot.
    return "subprocess" if provider == "subprocess" else ""


def _pip_bundle(pip: Mapping[str, str], env: Mapping[str, str]) -> str | None:
    """The certificates pip uses: its own setting, else those that requests looks for."""
    named = (pip.get("cert"), env.get("REQUESTS_CA_BUNDLE"), env.get("CURL_CA_BUNDLE"))
    return next((path for path in named if path and Path(path).exists()), None)


def _proxies(env: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in _PROXY_VARIABLES:
        # A CGI program's HTTP_PROXY may come from a request's header; lower case wins, as in curl.
        if value := env.get(name.lower()) or env.get(name):
            found[name.removesuffix("_PROXY").lower()] = value
    return found


def _uv_has_indexes(env: Mapping[str, str], place: Path | None) -> bool:
    if any(env.get(name) for name in _UV_INDEX_VARIABLES):
        return True
    tables = uv_tables(env, place)
    return any(
        key in table or key in table_of(table, "pip") for table in tables for key in _UV_INDEX_KEYS
    )


def _has_another_default(env: Mapping[str, str]) -> bool:
    """Whether uv is told, for whatever command, to look elsewhere than on PyPI."""
    if env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL"):
        return True
    if truth(env.get("UV_NO_INDEX")):
        return True
    tables = [one for table in uv_tables(env, None) for one in (table, table_of(table, "pip"))]
    indexes = (table.get("index") for table in tables)
    listed = [one for found in indexes if isinstance(found, list) for one in found]
    return any(table.get("index-url") or table.get("no-index") for table in tables) or any(
        isinstance(one, dict) and one.get("default") for one in listed
    )


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _index_credential(index: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Credential]:
    """From the URL itself, or from `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD`."""
    url, name = index.get("url"), index.get("name")
    if not isinstance(url, str) or "://" not in url:
        return {}
    try:
        parts = urlsplit(url)
    except ValueError:
        return {}
    user, password = parts.username, parts.password
    if isinstance(name, str) and name:
        prefix = "UV_INDEX_" + "".join(c if c.isalnum() else "_" for c in name.upper())
        user = env.get(f"{prefix}_USERNAME") or user
        password = env.get(f"{prefix}_PASSWORD") or password
    if not user and not password:
        return {}
    return dict.fromkeys(file_places(_place(url)), _credential(user or "", password))


def _page_credential(page: str) -> dict[str, Credential]:
    """As an index's, from the address itself."""
    try:
        parts = urlsplit(page)
        places = links_places(without_userinfo(page))
    except ValueError:
        return {}
    if not parts.username:
        return {}
    return dict.fromkeys(places, _credential(parts.username, parts.password))


def _place(url: str) -> str:
    """The index, whatever user and password its address has."""
    try:
        return canonical(without_userinfo(url))
    except ValueError:
        return ""


def _credential(user: str, password: str | None) -> Credential:
    return Credential(user=unquote(user), password=unquote(password or ""))


def _netrc(env: Mapping[str, str]) -> dict[str, Credential]:
    home = Path(env.get("HOME") or Path.home())
    found: dict[str, Credential] = {}
    # An unreadable or malformed netrc is another program's affair; pip passes over it too.
    with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        entries = netrc.netrc(env.get("NETRC") or home / ".netrc")
        for host, (login, _, password) in entries.hosts.items():
            if host != "default":
                found[host.lower()] = Credential(user=login, password=password or "")
    return found


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
