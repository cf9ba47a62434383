"""How packages of Python's are fetched: with the settings that pip and uv users have.

And with the passwords that a project's own files name, which a lock has none of.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from resolver.fetch.client import FetchSettings
from resolver.python.index import download_settings
from resolver.python.passwords.written import written
from unionfs.formats.python.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resolver.python.index import DownloadSettings
    from resolver.python.project import PythonProject
    from resolver.python.selection import Choice

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def fetch_settings(project: PythonProject, requirements: Iterable[str]) -> FetchSettings:
    """For the files of a project's lock, and of what is added by `--with`."""
    found = download_settings(project.root)
    of_settings = {place: (one.user, one.password) for place, one in found.credentials.items()}
    return FetchSettings(
        verify=certificates(found),
        # The environment is read by itself; what only pip's settings name it cannot know.
        proxy=None if any(map(os.environ.get, _PROXIES)) else _proxy(found),
        auth=of_settings | written(project, requirements).credentials,
    )


def _proxy(found: DownloadSettings) -> str | None:
    """The one for all addresses; of two the one for https, which nearly all of them are."""
    return next(filter(None, map(found.proxies.get, ("all", "https", "http"))), None)


def with_passwords(
    choices: Iterable[Choice], project: PythonProject, requirements: Iterable[str]
) -> tuple[Choice, ...]:
    """The choices with what the project's files, or `--with`, say to their addresses."""
    ask = written(project, requirements).with_password
    return tuple(replace(one, url=ask(one.url)) if one.url else one for one in choices)
