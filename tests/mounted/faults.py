"""Runs pkgview with faults: `LD_PRELOAD=faults.so python faults.py`, a line a run.

Each run is a fork of this process, which has imported all that a run imports, so it takes no
longer than what it does. A line is JSON: `arguments`, `directory`, and how to `arm` faults.c. So
is the answer: `status` as `os.waitstatus_to_exitcode` has it (None: it had to be ended), `stdout`,
`stderr`, and what was `met`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import sys
import traceback
from typing import Any

SAID = ("stdout", "stderr", "met")

PATIENCE = 60.0
"""Seconds after which a run waits for ever."""


def run(asked: dict[str, Any], met: int) -> int:
    """What the console script does; its exit status."""
    os.chdir(asked["directory"])
    sys.argv = ["pkgview", *asked["arguments"]]
    from unionfs.cli import main  # noqa: PLC0415 - an import of the run's own

    if "arm" in asked:
        below, fault, number, least, at = asked["arm"]
        ctypes.CDLL(None).arm(
            os.fsencode(below), ctypes.c_char(fault.encode()), number, least, ctypes.c_long(at), met
        )
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1


def forked(asked: dict[str, Any]) -> dict[str, Any]:
    """One run."""
    # In memory: a disk that is full is not to swallow what is said about it.
    files = [open(os.memfd_create(name), "r+b") for name in SAID]  # noqa: PTH123, SIM115 - see below
    child = os.fork()
    if not child:
        os.setsid()
        os.dup2(files[0].fileno(), 1)
        os.dup2(files[1].fileno(), 2)
        status = run(asked, files[2].fileno())
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        if asked.get("modules"):
            os.write(files[2].fileno(), "\n".join(sys.modules).encode())
        os._exit(status)
    watched = os.pidfd_open(child)
    ended, _, _ = select.select([watched], [], [], PATIENCE)
    os.close(watched)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    answer: dict[str, Any] = {"status": os.waitstatus_to_exitcode(status) if ended else None}
    for name, file in zip(SAID, files, strict=True):
        file.seek(0)
        answer[name] = file.read().decode("utf-8", "replace")
        file.close()
    return answer


def main() -> None:
    """Answer every line."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer = forked(asked)
        if asked.get("modules"):
            for name in answer.pop("met").splitlines():
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
