"""A job from both sides."""

from __future__ import annotations

import os
import sys

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
