"""Fuzz one target, its coverage being the guide: `python -m tests.fuzz.guided zip CORPUS…`.

What follows the target's name is libFuzzer's (https://llvm.org/docs/LibFuzzer.html). It is a
process of its own, since atheris changes what is imported, and ends its process when it is done,
without Python's exit: whoever starts it removes the TMPDIR that it was given.
"""

from __future__ import annotations

import logging
import shlex
import sys

import atheris


def main() -> None:
    """Does not return."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(
        include=["installer", "resolver.node", "tests.fuzz.targets", "unionfs"]
    ):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - what is imported here is followed
    # What hostile input has the file system say.
    logging.getLogger("unionfs").addHandler(logging.NullHandler())
    logging.getLogger("unionfs").propagate = False
    # As libFuzzer calls itself again, by a shell, to merge and to minimise.
    command = shlex.join([sys.executable, "-m", "tests.fuzz.guided", name])
    atheris.Setup([command, "-max_len=4096", "-timeout=60", *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
