"""The compiler: turns sources into bytecode, in a process of the interpreter that will read it.

Started by `unionfs.bytecode.compilers` as `python -I -S -B -W ignore compiler.py SECONDS TOTAL
MEMORY IDLE`, in any Python that a view may be for; it imports nothing but the standard library, and
nothing of what it compiles. All numbers are little-endian.

    in      name length (4), source length (4), name, source; the end of the input is the end
    out     once: length (4), then "<cache tag> <magic number, hexadecimal>"
            for each source: status (1), length (4), and the bytecode (0) or why there is none (1)

A source is hostile: it may bring the compiler to use up memory or the processor, or to crash. So
the process limits itself, and a source that ends it ends nothing else. SECONDS are of processor
time, for one source and in TOTAL, so that a busy machine makes no difference.
"""

import marshal
import os
import resource
import struct
import sys
import time
from importlib.util import MAGIC_NUMBER, source_hash

REQUEST = struct.Struct("<II")
UNCHECKED = 1
"""Flags of a hash-based .pyc whose source is never looked at (PEP 552)."""


def main() -> None:
    """Compile until the input ends."""
    seconds, total, memory, idle = map(int, sys.argv[1:])
    if idle:
        os.nice(19)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _limit(resource.RLIMIT_AS, memory)
    source, output = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nobody else's words shall get between the answers
    told = f"{sys.implementation.cache_tag} {MAGIC_NUMBER.hex()}"
    output.write(struct.pack("<I", len(told)) + told.encode())
    output.flush()
    while True:
        header = source.read(REQUEST.size)
        if len(header) < REQUEST.size:
            return
        name_size, size = REQUEST.unpack(header)
        name = source.read(name_size)
        data = source.read(size)
        _limit(resource.RLIMIT_CPU, min(int(time.process_time()) + 1 + seconds, total))
        status, answer = _compiled(data, os.fsdecode(name))
        del data
        output.write(struct.pack("<BI", status, len(answer)) + answer)
        output.flush()


def _compiled(data: bytes, name: str) -> "tuple[int, bytes]":
    """As importlib would (`SourceLoader.source_to_code`); whatever goes wrong is the source's."""
    try:
        code = compile(data, name, "exec", dont_inherit=True, optimize=0)
        body = marshal.dumps(code)
    except Exception as error:  # noqa: BLE001 - see above
        return 1, repr(error)[:1000].encode("utf-8", "replace")
    return 0, MAGIC_NUMBER + struct.pack("<I", UNCHECKED) + source_hash(data) + body


def _limit(what: int, most: int) -> None:
    """A limit that holds, and no higher one than there was."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
