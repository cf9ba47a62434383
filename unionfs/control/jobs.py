"""Jobs, from the daemon's side: processes that work for it and end with it.

`unionfs.control.job` is the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from trio.abc import ReceiveStream, SendStream


class Process(Protocol):
    """What a job needs of a `trio.Process`."""

    @property
    def pid(self) -> int:
        """The process."""
        ...

    @property
    def returncode(self) -> int | None:
        """As `subprocess` has it; None while it runs."""
        ...

    @property
    def stdin(self) -> SendStream | None:
        """Where its request goes."""
        ...

    @property
    def stdout(self) -> ReceiveStream | None:
        """What it says."""
        ...

    async def wait(self) -> int:
        """Until it has ended."""
        ...


END_SECONDS = 2.0
"""Seconds that a job has to tidy up when it is ended."""

LONGEST_LINE = 64 * 1024


def command(module: str) -> tuple[str, ...]:
    """How a module of ours is run as a job."""
    return (sys.executable, "-P", "-m", module)


async def start(
    command: Sequence[str], environ: Mapping[str, str], stdin: int = subprocess.PIPE
) -> trio.Process:
    """Such a process, which waits for its request."""
    return await trio.lowlevel.open_process(
        list(command),
        stdin=stdin,
        stdout=subprocess.PIPE,
        cwd="/",
        # Found as we are, however we were: the daemon has forgotten its own PYTHONPATH.
        env={**environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )


async def end(process: Process) -> None:
    """End it and all that it started; it is given time to do that itself."""
    # What it has started may have sessions of their own, and is nobody's child any more after it.
    started = list(_descriptors(_tree(process.pid)[1:]))
    if process.stdin is not None:
        await process.stdin.aclose()  # which it hears
    with trio.move_on_after(END_SECONDS):
        await process.wait()
    if process.returncode is None:
        started += _descriptors(_tree(process.pid))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own
    for descriptor in started:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


def _tree(pid: int) -> list[int]:
    """A process and those that it and its have started, as far as their parents live.

    Where the kernel does not list children (CONFIG_PROC_CHILDREN), it is that process alone.
    """
    found = [pid]
    for one in found:  # which grows
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _descriptors(pids: Iterable[int]) -> Iterator[int]:
    """Of those that live: a pid may be another's by the time that it is used."""
    for pid in pids:
        with contextlib.suppress(OSError):
            yield os.pidfd_open(pid)


def _memory_of(pid: int) -> int:
    """Bytes that a process has for itself, swapped out or not; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = (line.split() for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap")))
    return sum(int(size) for _, size, _ in sizes) * 1024


class Job:
    """One process: `messages` until there are none, then `returncode`; a context that ends it.

    `environ` is all that it, and what it starts, gets to know of ours. One that was `forked` for it
    is used instead of a new one.
    """

    def __init__(
        self,
        command: Sequence[str],
        request: dict[str, Any],
        environ: Mapping[str, str],
        forked: Process | None = None,
    ) -> None:
        self._command = command
        self._request = {**request, "environ": dict(environ)}
        self._environ = environ
        self._forked = forked

    async def __aenter__(self) -> Self:
        self._process: Process = self._forked or await start(self._command, self._environ)
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):
            await end(self._process)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As `subprocess` has it; None while it runs."""
        return self._process.returncode

    def memory(self) -> int:
        """Bytes that it and all that it has started have for themselves, swapped out or not."""
        return sum(map(_memory_of, _tree(self.pid)))

    async def messages(self, silent: float) -> AsyncIterator[dict[str, Any]]:
        """Tell it the request; the objects that come, a line each; what is none is passed over.

        `trio.TooSlowError` where nothing comes for so many seconds.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - it was started with both
        assert stdout is not None  # noqa: S101 - the same
        with contextlib.suppress(trio.BrokenResourceError):  # it ended before it read that
            await stdin.send_all(json.dumps(self._request).encode() + b"\n")
        received = bytearray()
        while True:
            with trio.fail_after(silent):
                part = await stdout.receive_some(LONGEST_LINE)
            received += part
            *lines, rest = received.split(b"\n")
            if not part or len(rest) > LONGEST_LINE:
                return
            received = bytearray(rest)
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        yield message
