"""What making a view imports only when it does: for processes that begin before they are asked.

A command that has nothing to make shall not wait for any of it.
"""

from __future__ import annotations

import sysconfig
from importlib import import_module

_LATE = (
    "concurrent.futures.thread", "encodings.ascii", "encodings.utf_8_sig", "importlib.metadata",
    "trio", "uv", "resolver.fetch.web", "resolver.python.outdated.refresh",
    "resolver.python.probe",
    "unionfs.formats.python.certificates", "unionfs.formats.python.fetching",
    "unionfs.formats.python.generated", "unionfs.formats.python.kind",
    "unionfs.formats.python.packages",
    "unionfs.publishing.assemble", "unionfs.publishing.publish",
)  # fmt: skip


def import_all() -> None:
    """Import it."""
    for name in _LATE:
        import_module(name)
    from unionfs.environment.skeleton import own_version  # noqa: PLC0415 - one of them

    own_version()
    sysconfig.get_config_vars()
