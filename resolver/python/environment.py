"""Which variables of the daemon's environment a resolution for somebody's project gets to know.

What a project lists decides where requests go and what is put into addresses, and uv, git and ssh
hand their environment on. So a resolution that nobody has asked for by a command knows only what is
listed here: where things are, how the network is reached, and which indexes are the user's own. A
password for an index by its name (`UV_INDEX_<NAME>_PASSWORD`) is among them if the user's own
settings give that name its address; by a project's settings it goes to wherever the project says.

Beyond that there is what the user has said yes to for this project (`resolver.python.choices`).

A relative path is one of the directory where uv runs, which is the project's: there it would be the
project that says what the user's variable holds. So it counts only for who works in that directory,
with a command.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.python.choices.phrases import index_names, variable_choice, variable_part
from resolver.python.index import user_named_indexes

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT = frozenset(
    (
        # Who and where
        *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH"),
        *("PYENV_ROOT", "PYENV_VERSION", "NETRC"),
        # How the network is reached
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST"),
        *("PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"),
        *("UV_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_HTTP_TIMEOUT"),
        *("UV_HTTP_RETRIES", "UV_REQUEST_TIMEOUT", "UV_CONCURRENT_DOWNLOADS", "UV_OFFLINE"),
        # Which indexes
        *("PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
        *("PIP_NO_INDEX", "PIP_KEYRING_PROVIDER"),
        *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
        *("UV_INDEX_STRATEGY", "UV_KEYRING_PROVIDER"),
        # How it resolves
        *("UV_CONFIG_FILE", "UV_NO_CONFIG", "UV_CACHE_DIR", "UV_NO_CACHE", "UV_LINK_MODE"),
        *("UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_RESOLUTION", "UV_CONSTRAINT", "UV_OVERRIDE"),
        *("UV_PYTHON_INSTALL_DIR", "UV_REQUIRE_HASHES", "PIP_REQUIRE_HASHES"),
    )
)
_PREFIXES = ("LC_", "XDG_", "PKGVIEW_")
_PROXIES = frozenset(("http_proxy", "https_proxy", "all_proxy", "no_proxy"))
_OF_SSH = frozenset(("SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND"))
"""What git needs where packages come from repositories, which are among a project's choices."""

_LISTS = frozenset(("PATH", "LD_LIBRARY_PATH", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS"))
"""Directories with `:` between them, of which the relative ones are left out; "" is one, too."""

_DIRECTORIES = frozenset(
    (
        *(
            "TMPDIR",
            "NETRC",
            "PYENV_ROOT",
            "SSH_AUTH_SOCK",
            "UV_CACHE_DIR",
            "UV_PYTHON_INSTALL_DIR",
        ),
        *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
        *("XDG_RUNTIME_DIR", "XDG_BIN_HOME"),
    )
)
"""One path each, for which there is another where it is left out."""

_FILES = frozenset(
    (
        *("UV_CONFIG_FILE", "PIP_CONFIG_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "PIP_CLIENT_CERT"),
    )
)
_WORDS = {
    **dict.fromkeys(("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")),
    **dict.fromkeys(("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")),
    **dict.fromkeys(("UV_CONSTRAINT", "UV_OVERRIDE")),
    "UV_FIND_LINKS": ",",
}
"""Several paths or addresses each, and what is between them; None: blanks. Without one of these, or
of `_FILES`, other packages would come, or from elsewhere."""

_OF_INDEX = re.compile(r"UV_INDEX_(.+)_(?:USERNAME|PASSWORD)")


def for_project(environ: Mapping[str, str], agreed: frozenset[str]) -> dict[str, str]:
    """The variables that a resolution gets whose user has said yes to these choices."""
    named = {variable_part(name) for name in (*user_named_indexes(environ), *index_names(agreed))}

    def is_known(name: str) -> bool:
        if name in _KEPT or name.startswith(_PREFIXES) or name.lower() in _PROXIES:
            return True
        if (of := _OF_INDEX.fullmatch(name)) is not None and of[1] in named:
            return True
        return variable_choice(name) in agreed or (name in _OF_SSH and bool(agreed))

    known = {name: value for name, value in environ.items() if is_known(name)}
    for name in known.keys() & _LISTS:
        known[name] = ":".join(one for one in known[name].split(":") if one.startswith("/"))
    relative = {name for name in known.keys() & _DIRECTORIES if not known[name].startswith("/")}
    # A name without a slash is looked for on PATH.
    relative |= {name for name in known.keys() & _OF_SSH if re.match(r"[^/\s]+/", known[name])}
    return {name: value for name, value in known.items() if name not in relative}


def refuse_relative(environ: Mapping[str, str]) -> None:
    """`PkgviewError` where a variable that decides which packages come has a relative path.

    It cannot be left out, as those above: what the user's own settings keep away would come.
    """
    for name in sorted(environ.keys() & (_FILES | _WORDS.keys())):
        value = environ[name]
        for one in [value] if name in _FILES else value.split(_WORDS[name]):
            path = re.sub(r"^[\w.-]+=", "", one) if "INDEX" in name else one.strip()
            if path and "://" not in path and not path.startswith("/"):
                raise PkgviewError(
                    f"{name} is {value} in the environment of pkgview's daemon: a relative path, "
                    "so that each project would have its own",
                    remedy="Set it to an absolute path, and end the daemon with `pkgview umount`.",
                )
