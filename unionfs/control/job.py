"""A job, from inside: a process that does one piece of work for the daemon.

Meanwhile the daemon answers everybody else, and it can end the job. Standard input is one line of
JSON, the request with its environment, and stays open. When it ends, nobody wants the work any
more, and the job ends. Standard output is lines of JSON. Only `unionfs.control.jobs` starts jobs.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

_GIVEN = 3
"""Descriptors that come with each request to be forked: its standard streams, and a pipe on which
is told how it has ended."""

NICENESS = 10
"""Serving comes first, and so does whatever the user does meanwhile."""


def begin() -> tuple[dict[str, Any], int]:
    """Become such a process: the request, and the descriptor that `write` takes."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # if memory runs out, it goes first, with all it starts
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.umask(0o077)
    # The daemon may have been started with it ignored, as shells do for what runs behind them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    # Nobody else's words shall get between the lines.
    output = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    request: dict[str, Any] = json.loads(_first_line())
    # How our modules were found is no business of what we start; and it may have begun earlier.
    os.environ.clear()
    os.environ.update(request.pop("environ"))
    time.tzset()
    threading.Thread(target=_end_with_input, daemon=True).start()
    return request, output


def forked_for_each() -> None:
    """Be forked for each job that is asked for on standard input, a socket; returns in these.

    The answer is the pid of one, with a descriptor of it (pidfd_open(2)). Ends when nobody asks any
    more.
    """
    gc.collect()
    gc.freeze()  # what is here now stays shared with all that are forked
    asked = socket.socket(fileno=os.dup(0))
    running: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(asked, select.POLLIN)
    listening = True
    while listening or running:
        for number, _ in poll.poll():
            if number in running:
                pid, tells = running.pop(number)
                poll.unregister(number)
                _, status = os.waitpid(pid, 0)
                with contextlib.suppress(OSError):  # the daemon has ended
                    os.write(tells, str(os.waitstatus_to_exitcode(status)).encode())
                os.close(tells)
                os.close(number)
                continue
            said, given, _, _ = socket.recv_fds(asked, 1, _GIVEN)
            if len(given) != _GIVEN or not said:
                listening = False
                poll.unregister(asked)
                continue
            pid = os.fork()
            if not pid:
                os.setsid()
                asked.close()
                os.dup2(given[0], 0)
                os.dup2(given[1], 1)
                for other in (*given, *running, *(tells for _, tells in running.values())):
                    os.close(other)
                return
            descriptor = os.pidfd_open(pid)
            running[descriptor] = pid, given[2]
            poll.register(descriptor, select.POLLIN)
            for other in given[:2]:
                os.close(other)
            with contextlib.suppress(OSError):  # it hears by its own input that nobody wants it
                socket.send_fds(asked, [str(pid).encode()], [descriptor])
    raise SystemExit(0)


def write(output: int, message: Any) -> None:  # noqa: ANN401 - as wide as JSON
    """One line, whole."""
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(output, data) :]


def _end_with_input() -> None:
    """In a thread: wait for standard input to end, and then end as by Ctrl-C, which tidies up."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGINT)  # not raised here: the main thread shall hear it


def _first_line() -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        part = os.read(0, 1)  # no more than the line: the thread reads on
        if not part:
            raise SystemExit(2)
        line += part
    return bytes(line)
