"""Whatever bytes come in the kernel's place: no exception, and never an answer to another."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz import oracles
from unionfs.kernel import abi
from unionfs.kernel.abi import Opcode
from unionfs.kernel.gains import Gain
from unionfs.kernel.protocol import Protocol
from unionfs.kernel.slots import SLOT_SIZE

if TYPE_CHECKING:
    from tests.conftest import Served

PATHS = ("", "views", "projects", "packages", "current", "lib", "views/{view}",
         "views/{view}/large", "views/{view}/link", "views/{view}/many")  # fmt: skip

u64 = st.integers(0, 2**64 - 1)
opcodes = st.sampled_from([int(opcode) for opcode in Opcode]) | st.integers(0, 2**32 - 1)
names = st.binary(max_size=1025).map(lambda name: name + b"\0") | st.just(b"one\0")
reads = st.builds(
    lambda fh, offset, size, rest: abi.READ_IN.pack(fh, offset, size) + rest,
    u64, u64 | st.integers(0, 600), st.integers(0, 2**32 - 1), st.binary(max_size=20),
)  # fmt: skip
bodies = st.binary(max_size=SLOT_SIZE) | names | reads
nodes = u64 | st.sampled_from(PATHS)


# The protocol keeps nothing but listings, so one of them serves all examples.
relaxed = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def protocol_of(served: Served) -> Protocol:
    gain = Gain(on=False, why="")
    return Protocol(served.filesystem, Counter(), opens=gain, opendirs=gain)


@relaxed
@given(opcode=opcodes, node=nodes, body=bodies, claimed=st.none() | st.integers(0, 2**32 - 1),
       unique=u64, owner=st.tuples(*[st.integers(0, 2**32 - 1)] * 3))  # fmt: skip
@example(opcode=int(Opcode.READ), node="views/{view}/large", unique=3, claimed=0, owner=(0, 0, 0),
         body=abi.READ_IN.pack(0, 2**63, 2**32 - 1))  # fmt: skip
@example(opcode=int(Opcode.READDIRPLUS), node="views", unique=3, claimed=2**32 - 1,
         owner=(0, 0, 0), body=abi.READ_IN.pack(0, 2**64 - 1, 0))  # fmt: skip
@example(opcode=int(Opcode.LOOKUP), node=2**63, unique=1, claimed=None, owner=(0, 0, 0),
         body=b"one\0")  # fmt: skip
def test_any_request_is_answered_to_its_own_caller(  # noqa: PLR0913 - a message's fields
    served: Served, *, opcode: int, node: int | str, body: bytes, claimed: int | None,
    unique: int, owner: tuple[int, int, int],
) -> None:  # fmt: skip
    number = node if isinstance(node, int) else served.node(node.format(view=served.view))
    size = abi.IN_HEADER.size + len(body) if claimed is None else claimed
    header = abi.IN_HEADER.pack(size, opcode, unique, number, *owner, 0, 0)
    oracles.message(served.filesystem, protocol_of(served), header + body)


@relaxed
@given(st.binary(max_size=300))
def test_any_bytes_at_all(served: Served, message: bytes) -> None:
    oracles.message(served.filesystem, protocol_of(served), message)
