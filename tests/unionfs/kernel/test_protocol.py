"""Requests as the kernel writes them, and the bytes it gets back; nothing is mounted."""

from __future__ import annotations

import errno
import io
import stat
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest

from unionfs.archive.layer import EntryNo
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.kernel import abi, protocol
from unionfs.kernel.abi import Opcode
from unionfs.kernel.gains import Gain
from unionfs.kernel.protocol import END_UNKEPT, Interrupt, Link, Protocol, Read
from unionfs.store.local import Store
from unionfs.view.attributes import FOREVER, Attributes
from unionfs.view.catalog import Catalog
from unionfs.view.filesystem import Filesystem
from unionfs.view.nodeid import PACKING, NodeId
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places
    from tests.conftest import Served
    from unionfs.kernel.protocol import Answer

UNIQUE = 4242
READ_IN_REST = bytes(20)


class Kernel:
    """Asks one protocol."""

    def __init__(self, filesystem: Filesystem, *, refuse: bool = True) -> None:
        gain = Gain(on=refuse, why="")
        self.requests: Counter[str] = Counter()
        self.protocol = Protocol(filesystem, self.requests, opens=gain, opendirs=gain)

    def ask(self, opcode: int, node: int, body: bytes = b"", *, pid: int = 7) -> Answer:
        size = abi.IN_HEADER.size + len(body)
        header = abi.IN_HEADER.pack(size, opcode, UNIQUE, node, 1000, 1000, pid, 0, 0)
        # What lies behind a message in its slot is another's.
        return self.protocol.answer(memoryview(header + body + b"\xff" * 64))

    def reply(self, opcode: int, node: int, body: bytes = b"") -> bytes:
        """The payload; `OSError` with the errno."""
        answer = self.ask(opcode, node, body)
        assert isinstance(answer, list)
        whole = b"".join(answer)
        size, error, unique = abi.OUT_HEADER.unpack_from(whole)
        assert (size, unique) == (len(whole), UNIQUE)
        if error:
            assert size == abi.OUT_HEADER.size
            raise OSError(-error, "")
        return whole[abi.OUT_HEADER.size :]

    def refused(self, opcode: int, node: int, body: bytes = b"") -> str:
        try:
            self.reply(opcode, node, body)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "no error"

    def read(self, opcode: int, node: int, offset: int, size: int) -> bytes:
        return self.reply(opcode, node, abi.READ_IN.pack(0, offset, size) + READ_IN_REST)


@pytest.fixture
def kernel(served: Served) -> Kernel:
    return Kernel(served.filesystem)


def entry_of(payload: bytes) -> tuple[int, int, int, tuple[int, ...]]:
    """(node id, seconds for the name, seconds for the attributes, attributes)."""
    node, generation, name, attributes, nano, nano2 = abi.ENTRY_OUT_HEAD.unpack_from(payload)
    assert (generation, nano, nano2) == (0, 0, 0)
    return node, name, attributes, abi.ATTR.unpack_from(payload, abi.ENTRY_OUT_HEAD.size)


def entries_plus(payload: bytes) -> Iterator[tuple[bytes, int, int, tuple[int, ...]]]:
    """(name, type, offset of the next, attributes) of READDIRPLUS."""
    at = 0
    while at < len(payload):
        node, _, _, attributes = entry_of(payload[at:])
        at += abi.ENTRY_OUT_SIZE
        number, offset, size, kind = abi.DIRENT.unpack_from(payload, at)
        assert number == node == attributes[0]
        at += abi.DIRENT.size
        yield payload[at : at + size], kind, offset, attributes
        at += abi.aligned(size)
    assert at == len(payload)


def entries(payload: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """(name, type, offset of the next, inode) of READDIR."""
    at = 0
    while at < len(payload):
        number, offset, size, kind = abi.DIRENT.unpack_from(payload, at)
        at += abi.DIRENT.size
        yield payload[at : at + size], kind, offset, number
        at += abi.aligned(size)


def test_lookup(kernel: Kernel, served: Served) -> None:
    view = served.node(f"views/{served.view}")
    node, name, attributes, attr = entry_of(kernel.reply(Opcode.LOOKUP, view, b"program\0"))
    assert node == served.node(f"views/{served.view}/program")
    assert name == attributes == FOREVER
    assert attr[0] == node
    assert attr[1] == 2
    assert attr[9] == stat.S_IFREG | 0o755
    assert attr[11:13] == (1, 2)
    absent = kernel.reply(Opcode.LOOKUP, view, b"no\0")
    assert entry_of(absent)[:2] == (0, FOREVER)
    # Kept only where it stays so.
    assert kernel.refused(Opcode.LOOKUP, served.node("views"), b"no\0") == "ENOENT"
    assert kernel.refused(Opcode.LOOKUP, view, b"x" * 256 + b"\0") == "ENAMETOOLONG"
    assert kernel.refused(Opcode.LOOKUP, served.node(f"views/{served.view}/one"), b"x\0") == (
        "ENOTDIR"
    )


def test_getattr(kernel: Kernel, served: Served) -> None:
    node = served.node(f"views/{served.view}/large")
    payload = kernel.reply(Opcode.GETATTR, node, bytes(16))
    assert abi.ATTR_OUT_HEAD.unpack_from(payload) == (FOREVER, 0, 0)
    attr = abi.ATTR.unpack_from(payload, abi.ATTR_OUT_HEAD.size)
    assert attr[:3] == (node, 400_000, 782)
    assert kernel.refused(Opcode.GETATTR, 1 << 62, bytes(16)) == "ENOENT"


def test_links(kernel: Kernel, served: Served) -> None:
    assert kernel.reply(Opcode.READLINK, served.node(f"views/{served.view}/link")) == b"one"
    assert kernel.reply(Opcode.READLINK, served.node("lib")) == b"current/lib"
    current = served.node("current")
    assert kernel.ask(Opcode.READLINK, current, pid=99) == Link(UNIQUE, current, 99)
    assert kernel.refused(Opcode.READLINK, served.node("views")) == "EINVAL"


def test_read(kernel: Kernel, served: Served) -> None:
    node = served.node(f"views/{served.view}/large")
    content = served.files["large"]
    for offset, size in ((0, 131_072), (130_000, 131_072), (399_999, 4096), (1 << 62, 10)):
        assert kernel.read(Opcode.READ, node, offset, size) == content[offset : offset + size]
    assert kernel.read(Opcode.READ, served.node(f"views/{served.view}/empty"), 0, 4096) == b""
    assert kernel.refused(Opcode.READ, served.node("views"), bytes(40)) == "EINVAL"


def test_what_would_take_long_is_left_to_who_drives_this(kernel: Kernel, served: Served) -> None:
    node = served.node(f"views/{served.view}/large")
    body = abi.READ_IN.pack(0, 0, 1 << 20) + READ_IN_REST
    assert kernel.ask(Opcode.READ, node, body) == Read(UNIQUE, node, 0, 1 << 20, 7)
    (reader,) = served.filesystem.readers(node)
    assert reader(0, 1 << 20) == served.files["large"]
    assert kernel.reply(Opcode.READ, node, body) == served.files["large"]


def test_listings_have_room_for_some(
    isolated_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few large directories, and one that is larger; none once it was listed to its end."""
    monkeypatch.setattr(protocol, "LISTINGS_ROOM", 1 << 20)
    store = Store(isolated_places.store)
    members = [
        Member(path=f"purelib/{name}/f{number:07}.py".encode(), size=0, open=io.BytesIO)
        for name, count in (*((f"some{one}", 2000) for one in range(8)), ("many", 8000))
        for number in range(count)
    ]
    store.add(members, Meta(kind="distribution", name="much", version="1", stem="much-1"))
    registry = Registry(isolated_places.state / "registry.sqlite3")
    (name,) = store.names()
    number = registry.register_archive(store.open(name), store.open)
    files = Filesystem(Catalog(isolated_places, store, registry), AsyncMock(), uid=1, gid=2)
    asked = Kernel(files)
    top = PACKING.in_archive(number, EntryNo(0))

    def node(parent: int, name: str) -> int:
        found = files.lookup(NodeId(parent), name.encode())
        assert isinstance(found, Attributes)
        return found.node

    def listed(directory: int, *, to_the_end: bool = True) -> int:
        offset = 0
        while page := asked.read(Opcode.READDIRPLUS, directory, offset, 1 << 16):
            offset = list(entries_plus(page))[-1][2]
            if not to_the_end:
                break
        return offset  # behind the last name: how many there are

    site = node(top, "purelib")
    directories = [node(site, f"some{one}") for one in range(8)]
    many = node(site, "many")
    tracemalloc.start()
    try:
        for directory in directories:
            assert listed(directory, to_the_end=False) < 2000
        assert 0.7 * (1 << 20) < tracemalloc.get_traced_memory()[0] < 1.5 * (1 << 20)
        for directory in directories:
            assert listed(directory) == 2000
        assert tracemalloc.get_traced_memory()[0] < 0.5 * (1 << 20)
        assert listed(many, to_the_end=False) < 8000
        assert listed(many) == 8000
        assert tracemalloc.get_traced_memory()[0] < 0.5 * (1 << 20)
    finally:
        tracemalloc.stop()
        registry.close()


@pytest.mark.parametrize("size", [200, 4096, 1 << 20])
@pytest.mark.parametrize("plus", [True, False])
def test_a_listing_page_by_page(kernel: Kernel, served: Served, size: int, *, plus: bool) -> None:
    node = served.node(f"views/{served.view}/many")
    opcode = Opcode.READDIRPLUS if plus else Opcode.READDIR
    listed: list[tuple[bytes, int, int, int]] = []
    offset = 0
    while payload := kernel.read(opcode, node, offset, size):
        assert len(payload) <= size
        page = [
            (name, kind, after, attributes[0])
            for name, kind, after, attributes in entries_plus(payload)
        ] if plus else list(entries(payload))  # fmt: skip
        listed += page
        offset = page[-1][2]
    names = sorted([b"%03d" % number for number in range(500)] + [b"other"])
    assert [name for name, *_ in listed] == [b".", b"..", *names]
    directories = [(stat.S_IFDIR >> 12, served.node(f"views/{served.view}{at}"))
                   for at in ("/many", "")]  # fmt: skip
    files = [(stat.S_IFREG >> 12, served.node(f"views/{served.view}/many/{name.decode()}"))
             for name in names]  # fmt: skip
    assert [(kind, number) for _, kind, _, number in listed] == directories + files
    # What a version that gave no dots has begun goes on here.
    assert [after for _, _, after, _ in listed[2:]] == list(range(1, len(names) + 1))
    behind_one = kernel.read(opcode, node, 1, 1 << 20)
    assert behind_one == kernel.read(opcode, node, 0, 1 << 20)[-len(behind_one) :]
    assert b"000" not in behind_one[:200]
    assert kernel.read(opcode, node, 1 << 60, size) == b""


def test_no_room_for_one_entry(kernel: Kernel, served: Served) -> None:
    node = served.node(f"views/{served.view}/many")
    body = abi.READ_IN.pack(0, 0, 64) + READ_IN_REST
    assert kernel.refused(Opcode.READDIRPLUS, node, body) == "EINVAL"
    assert kernel.refused(Opcode.READDIR, served.node(f"views/{served.view}/one"), body) == (
        "ENOTDIR"
    )


def test_a_directory_that_grows_has_an_end_that_is_not_kept(kernel: Kernel, served: Served) -> None:
    for name in ("views", "projects", "packages"):
        node = served.node(name)
        listed = list(entries_plus(kernel.read(Opcode.READDIRPLUS, node, 0, 1 << 20)))
        assert [name for name, *_ in listed[:2]] == [b".", b".."]
        assert (len(listed) == 2) == (name == "projects")
        assert kernel.read(Opcode.READDIRPLUS, node, listed[-1][2], 1 << 20) == END_UNKEPT
    for path in ("", f"views/{served.view}", f"views/{served.view}/many"):
        assert kernel.read(Opcode.READDIRPLUS, served.node(path), 10_000, 1 << 20) == b""
    assert len(END_UNKEPT) < abi.DIRENT.size


def test_what_is_refused_once_is_not_asked_again(served: Served) -> None:
    refusing, answering = Kernel(served.filesystem), Kernel(served.filesystem, refuse=False)
    view = served.node(f"views/{served.view}")
    for opcode in ("OPEN", "OPENDIR", "FLUSH", "ACCESS", "GETXATTR", "LISTXATTR", "IOCTL", "STATX",
                   "LSEEK", "FSYNC", "POLL", "BMAP", "SYNCFS"):  # fmt: skip
        assert refusing.refused(Opcode[opcode], view, bytes(64)) == "ENOSYS"
    assert refusing.refused(777, view, bytes(64)) == "ENOSYS"
    assert refusing.requests["OPCODE_777"] == 1
    fh, flags, _ = abi.OPEN_OUT.unpack(answering.reply(Opcode.OPENDIR, view, bytes(8)))
    assert (fh, flags) == (0, abi.OpenFlag.KEEP_CACHE | abi.OpenFlag.CACHE_DIR)
    one = served.node(f"views/{served.view}/one")
    fh, flags, _ = abi.OPEN_OUT.unpack(answering.reply(Opcode.OPEN, one, bytes(8)))
    assert (fh, flags) == (0, abi.OpenFlag.KEEP_CACHE)
    assert answering.refused(Opcode.OPEN, view, bytes(8)) == "EISDIR"
    assert answering.reply(Opcode.RELEASE, one, bytes(24)) == b""


def test_nothing_is_written(kernel: Kernel, served: Served) -> None:
    for opcode in ("SETATTR", "MKDIR", "UNLINK", "WRITE", "CREATE", "RENAME2", "SETXATTR"):
        assert kernel.refused(Opcode[opcode], served.node("views"), bytes(64)) == "EROFS"


def test_what_is_not_answered(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.FORGET, 1, bytes(8)) is None
    assert kernel.ask(Opcode.BATCH_FORGET, 0, bytes(8)) is None
    assert kernel.ask(Opcode.INTERRUPT, 0, abi.INTERRUPT_IN.pack(88)) == Interrupt(88)


def test_statfs_is_that_of_a_full_medium(kernel: Kernel) -> None:
    found = abi.STATFS_OUT.unpack(kernel.reply(Opcode.STATFS, 1))
    assert found == (1, 0, 0, 1, 0, 4096, 255, 4096, 0)


@pytest.mark.parametrize(
    ("opcode", "body"),
    [
        (Opcode.LOOKUP, b""),
        (Opcode.LOOKUP, b"no-end"),
        (Opcode.LOOKUP, b"\0"),
        (Opcode.LOOKUP, b"a/b\0"),
        (Opcode.LOOKUP, b"two\0names\0"),
        (Opcode.READ, b"short"),
        (Opcode.READDIR, b""),
        (Opcode.READDIRPLUS, b"1234567"),
    ],
)
def test_a_malformed_message_is_an_error_for_its_own_caller(
    kernel: Kernel, opcode: Opcode, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert kernel.refused(opcode, 1, body) == "EIO"
    assert "malformed" in caplog.text
    assert kernel.reply(Opcode.GETATTR, 1, bytes(16))


def test_what_cannot_be_answered_is_left(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    assert kernel.protocol.answer(memoryview(b"short")) is None
    assert "no header" in caplog.text
    assert kernel.ask(Opcode.INTERRUPT, 0, b"") is None
