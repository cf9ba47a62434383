"""Ending a process as an interpreter does, but for taking apart what the kernel frees anyway.

With all modules that a command imports, that alone takes some 80 ms.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_NOT_WRITTEN = 120
"""The status of an interpreter that cannot write what it has still to write."""


def end_with(work: Callable[[], object]) -> NoReturn:
    """Do the work, then what was registered for the end, and end as the work has ended."""
    status = 1
    try:
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)  # noqa: T201 - as an interpreter does
    except BaseException:  # noqa: BLE001 - as an interpreter ends with it
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing ends what it forked
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None: it was never open
            try:
                stream.flush()
            except (OSError, ValueError):  # nobody reads any more; it was closed
                status = status or _NOT_WRITTEN
        os._exit(status)
