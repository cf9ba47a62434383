"""A job from both sides."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import trio

from unionfs.control.forking import Forked, Template
from unionfs.control.jobs import Job

SAYS = """
import os
from pathlib import Path
from unionfs.control.job import begin, write
request, output = begin()
write(output, {"nice": os.nice(0), "oom": Path("/proc/self/oom_score_adj").read_text().strip()})
"""


async def test_it_leaves_everything_else_the_first_turn() -> None:
    environ = {"PATH": os.environ["PATH"]}
    async with Job((sys.executable, "-P", "-c", SAYS), {}, environ) as job:
        told = [message async for message in job.messages(30)]
        assert job.memory() >= 0
    assert told == [{"nice": os.nice(0) + 10, "oom": "1000"}]


FORKED = """
import os, signal, sys, time
MARK = os.getpid()
from unionfs.control.job import begin, forked_for_each, write
forked_for_each()
request, output = begin()
write(output, {"mark": MARK, "parent": os.getppid(), "session": os.getsid(0), "pid": os.getpid(),
               "environ": dict(os.environ), "open": sorted(map(int, os.listdir("/proc/self/fd")))})
if request["do"] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if request["do"] == "wait":
    time.sleep(60)
sys.exit(request["do"])
"""

COMMAND = (sys.executable, "-P", "-c", FORKED)


async def _told(job: Job) -> dict[str, Any]:
    return [message async for message in job.messages(30)][-1]


async def _forked(template: Template) -> Forked:
    """One, as soon as it is there."""
    with trio.fail_after(30):
        while (found := await template.forked()) is None:  # noqa: ASYNC110 - it has no event
            await trio.sleep(0.02)
    return found


async def test_jobs_are_forked_from_one_process() -> None:
    """Each is as one that was started: its own session, environment and streams, no more."""
    environ = {"PATH": os.environ["PATH"], "OWN": "1"}
    template = Template(COMMAND, 0.0)
    assert await template.forked() is None, "there is none yet"
    async with trio.open_nursery() as nursery:
        template = Template(COMMAND, 60.0)
        nursery.start_soon(template.keep, {"PATH": os.environ["PATH"]})
        said = []
        for do, code in ((0, 0), (3, 3), ("die", -signal.SIGKILL)):
            async with Job(COMMAND, {"do": do}, environ, await _forked(template)) as job:
                said.append(await _told(job))
                assert job.pid == said[-1]["pid"]
            assert job.returncode == code
        mark = said[0]["mark"]
        for one in said:
            assert one["mark"] == one["parent"] == mark != one["pid"] == one["session"]
            assert one["environ"] == environ
            # Its streams, where it writes to, what reads the list; and no other's.
            assert len(one["open"]) == 5
        # Two at once; one is ended, and the other is not.
        waits = Job(COMMAND, {"do": "wait"}, environ, await _forked(template))
        async with waits, Job(COMMAND, {"do": 1}, environ, await _forked(template)) as job:
            assert (await _told(job))["mark"] == mark
            codes = [waits.returncode]
        codes += [job.returncode, waits.returncode]
        assert codes == [None, 1, 2], "2: it ended before it was told anything"
        # It is killed: who asks is told that there is none, and the next one is another.
        os.kill(mark, signal.SIGKILL)
        assert await template.forked() is None
        nursery.cancel_scope.cancel()


async def test_what_jobs_are_forked_from_ends_when_nobody_asks() -> None:
    """But not before what it has forked has."""
    environ = {"PATH": os.environ["PATH"]}
    template = Template(COMMAND, 2.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(template.keep, environ)
        async with Job(COMMAND, {"do": 0}, environ, await _forked(template)) as job:
            mark = (await _told(job))["mark"]
            nursery.start_soon(template.keep, environ)  # there is one: this ends at once
    assert not os.path.exists(f"/proc/{mark}")  # noqa: ASYNC240, PTH110 - it does not wait
