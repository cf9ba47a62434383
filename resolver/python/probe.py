"""The probe: one isolated run of an interpreter that makes it describe itself as JSON.

Any file can be named as an interpreter, so its answer is read under a limit of time and of size,
and nothing that it starts outlives the probe.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from pathlib import Path

PROBE_SECONDS = 15.0
"""A cold interpreter on a slow disk needs about two; one that needs longer hangs."""
PROBE_BYTES = 4 * 1024 * 1024
"""The probe of a 3.13 prints 40 KiB."""

_MARK = "pkgview-probe:"
_PROBE = r"""
import json, os, sys
told = {"version": list(sys.version_info[:3]), "implementation": sys.implementation.name}
if sys.version_info >= (3, 10):
    import sysconfig
    sys.path.append(sys.argv[1])
    from importlib.util import MAGIC_NUMBER
    from packaging import markers, tags
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    if sys.implementation.name == "pypy" and scheme not in sysconfig.get_scheme_names():
        scheme = "pypy"
    base = {name: "/B" for name in ("base", "platbase", "installed_base", "installed_platbase")}
    paths = sysconfig.get_paths(scheme=scheme, vars=base)
    told.update(
        executable=getattr(sys, "_base_executable", None) or sys.executable,
        full=markers.default_environment()["python_full_version"],
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        paths={name: os.path.relpath(paths[name], "/B") for name in
               ("purelib", "platlib", "scripts", "data")},
        tags=[str(tag) for tag in tags.sys_tags()],
        environment=dict(markers.default_environment()),
        cache_tag=sys.implementation.cache_tag,
        magic=MAGIC_NUMBER.hex(),
    )
sys.stdout.write("\n" + sys.argv[2] + json.dumps(told) + "\n")
"""


def probe(executable: Path, packaging: str) -> dict[str, Any]:
    """What the interpreter says of itself; PkgviewError where it says nothing sensible.

    `packaging` is the directory that our own copy of packaging can be imported from.
    """

    def failed(why: str) -> PkgviewError:
        return PkgviewError(
            f"{executable} is not a usable Python: {why}",
            remedy="Name another one, of Python 3.10 or newer, with --python PATH.",
        )

    if not os.access(executable, os.X_OK):
        raise failed("it cannot be executed")
    command = [str(executable), "-I", "-S", "-B", "-c", _PROBE, packaging, _MARK]
    try:
        process = subprocess.Popen(  # its pipe is read under a limit of time and of size
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            cwd="/",
        )
    except OSError as error:
        raise failed(error.strerror or str(error)) from error
    try:
        output = _read(process)
    except TimeoutError as error:
        raise failed(f"it did not answer within {PROBE_SECONDS:.0f} s") from error
    finally:
        # The whole session: a shell script's own child would keep the pipe open for ever.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
    for line in output.decode("utf-8", "replace").splitlines():
        if line.startswith(_MARK):
            with suppress(ValueError):
                told = json.loads(line.removeprefix(_MARK))
                if isinstance(told, dict) and "version" in told:
                    return told
    raise failed("it did not answer as one")


def _read(process: subprocess.Popen[bytes]) -> bytes:
    """All it prints, up to `PROBE_BYTES`; TimeoutError if it is not done in `PROBE_SECONDS`."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    deadline = time.monotonic() + PROBE_SECONDS
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) < PROBE_BYTES:
            if not selector.select(deadline - time.monotonic()):
                raise TimeoutError
            if not (chunk := os.read(process.stdout.fileno(), 65536)):
                break
            output += chunk
            if time.monotonic() > deadline:
                raise TimeoutError
    return bytes(output)
