from __future__ import annotations

import contextlib
import errno
import io
import itertools
import random
import sqlite3
import stat
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver.manifest import ViewId
from resolver.places import Places
from resolver.project import resolved, trust
from resolver.project.resolved import Resolved, ResolvedView
from resolver.python.target import Python, Schemes
from unionfs.archive.layer import EntryNo, Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view import nodeid
from unionfs.view.attributes import BRIEFLY, FOREVER, Absent, Attributes, FileSystemError
from unionfs.view.catalog import Catalog, manifest_path
from unionfs.view.filesystem import Filesystem
from unionfs.view.nodeid import BEFORE, PACKING, ArchiveNo, Fixed, NodeId, NodeKind, Packing
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

ROOT = nodeid.fixed(Fixed.ROOT)
PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3.11",
    schemes=Schemes(purelib="site", platlib="site", scripts="bin", headers="include", data=""),
)


class Leaf(NamedTuple):
    """A file's content or a link's target, and the mode `stat` shows."""

    mode: int
    data: bytes


class Tree(dict[bytes, "Tree | Leaf"]):
    """A directory."""


def file(data: bytes, *, executable: bool = False) -> Leaf:
    return Leaf(stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(target: bytes) -> Leaf:
    return Leaf(stat.S_IFLNK | 0o777, target)


def members(tree: Tree, path: bytes = b"data") -> Iterator[Member]:
    if not tree:
        yield Member(path=path, kind=Kind.DIRECTORY)
    for name, node in tree.items():
        below = path + b"/" + name
        if isinstance(node, Tree):
            yield from members(node, below)
        elif stat.S_ISLNK(node.mode):
            yield Member(path=below, kind=Kind.SYMLINK, target=node.data)
        else:
            yield Member(
                path=below,
                size=len(node.data),
                open=partial(io.BytesIO, node.data),
                executable=bool(node.mode & 0o100),
            )


class World:
    """A store, a registry, and the file system of a daemon that runs meanwhile."""

    def __init__(self, root: Path, packing: Packing = PACKING) -> None:
        self.places = Places.from_environ({"HOME": str(root)})
        self.store = Store(self.places.store)
        self.registry = Registry(self.places.state / "registry.sqlite3")
        # A store of its own: what is opened here is not yet opened there.
        self.catalog = Catalog(self.places, Store(self.places.store), self.registry, packing)
        self.filesystem = Filesystem(self.catalog, self._current, uid=1, gid=2)
        self.bound = ViewId("0" * 32)
        self.asked: list[int] = []
        self._names = itertools.count()

    async def _current(self, tid: int) -> ViewId:
        self.asked.append(tid)
        return self.bound

    def archive(self, tree: Tree) -> str:
        stem = f"demo-{next(self._names)}"
        meta = Meta(kind="distribution", name="demo", version="1", stem=stem)
        return self.store.add(members(tree), meta)

    def publish(self, *archives: str) -> ViewId:
        layers = tuple(PYTHON.layer(name) for name in archives)
        manifest = PYTHON.manifest(layers)
        return publish(self.places, manifest, self.store, self.registry)

    def view(self, *trees: Tree) -> NodeId:
        """Publish, and walk to the view."""
        return self.walk(f"views/{self.publish(*map(self.archive, trees))}")

    def attributes(self, path: str) -> Attributes:
        found = self.filesystem.getattr(ROOT)
        for name in path.encode().split(b"/"):
            step = self.filesystem.lookup(found.node, name)
            assert isinstance(step, Attributes), path
            found = step
        return found

    def walk(self, path: str) -> NodeId:
        return self.attributes(path).node

    def read(self, node: NodeId, offset: int = 0, size: int = 1 << 30) -> bytes:
        """As a transport does it."""
        data = self.filesystem.cached(node, offset, size)
        if data is not None:
            return data
        for read in self.filesystem.readers(node):
            with contextlib.suppress(FileSystemError):
                return read(offset, size)
        raise FileSystemError(errno.EIO)

    def listed(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        """What is in a directory, without `.` and `..`."""
        itself, above, *rest = self.filesystem.listdir(node)
        assert (itself[0], above[0]) == (b".", b"..")
        assert itself[1] == self.filesystem.getattr(node)
        assert above[1] == self.filesystem.getattr(above[1].node)
        return rest

    def tree(self, node: NodeId) -> Tree | Leaf:
        """All below a node; on the way it is seen whether all answers agree."""
        filesystem = self.filesystem
        found = filesystem.getattr(node)
        assert found.node == node
        if stat.S_ISLNK(found.mode):
            target = filesystem.readlink(node)
            assert len(target) == found.size
            return Leaf(found.mode, target)
        if stat.S_ISREG(found.mode):
            filesystem.open(node)
            data = self.read(node)
            assert len(data) == found.size
            assert self.read(node, 1, 2) == data[1:3]
            return Leaf(found.mode, data)
        assert found.mode == stat.S_IFDIR | 0o755
        filesystem.opendir(node)
        tree = Tree()
        for name, attributes in self.listed(node):
            assert filesystem.lookup(node, name) == attributes
            assert filesystem.getattr(attributes.node) == attributes
            if stat.S_ISDIR(attributes.mode):
                assert filesystem.listdir(attributes.node)[1][1] == found
            assert name not in tree
            tree[name] = self.tree(attributes.node)
        return tree


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.registry.close()


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(FileSystemError) as caught:
        call()
    return errno.errorcode[caught.value.errno]


# What is shown


def union_model(trees: list[Tree]) -> Tree:
    """The union's rules, said in the shortest way there is."""
    merged = Tree()
    for name in {name for tree in trees for name in tree}:
        stacked = [tree[name] for tree in trees if name in tree]
        directories = list(itertools.takewhile(lambda node: isinstance(node, Tree), stacked))
        merged[name] = union_model(directories) if directories else stacked[0]  # type: ignore[arg-type]
    return merged


names = st.sampled_from([b"a", b"b", b"bin", b"\xff", b"__init__.py", b"x" * 255])
leaves = st.one_of(
    st.builds(file, st.binary(max_size=6), executable=st.booleans()),
    st.builds(link, st.sampled_from([b"a", b"../b", b"/etc", b"\xff"])),
)
trees = st.recursive(
    leaves, lambda below: st.dictionaries(names, below, max_size=4).map(Tree), max_leaves=12
).filter(lambda tree: isinstance(tree, Tree))
a_few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@a_few
@given(st.lists(trees, min_size=1, max_size=4))
def test_a_view_is_the_union_of_its_archives(
    tmp_path_factory: pytest.TempPathFactory, layers: list[Tree]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    try:
        view = world.view(*layers)
        assert world.tree(view) == union_model(layers)
        # A server that has seen nothing of this answers the same.
        fresh = World(world.places.state.parents[2])
        assert fresh.places == world.places
        assert fresh.tree(view) == union_model(layers)
        fresh.registry.close()
    finally:
        world.registry.close()


def test_the_root(world: World) -> None:
    listed = dict(world.listed(ROOT))
    assert set(listed) == {
        b"current", b"views", b"projects", b"packages", b"bin", b"lib", b"lib64", b"include",
        b"share", b"pyvenv.cfg", b"site-packages",
    }  # fmt: skip
    links = {name: node for name, node in listed.items() if stat.S_ISLNK(node.mode)}
    assert {name: world.filesystem.readlink(node.node) for name, node in links.items()
            if name != b"current"} == {
        name: b"current/" + name for name in links if name != b"current"
    }  # fmt: skip
    assert all(
        node.size == len(b"current/" + name) for name, node in links.items() if name != b"current"
    )
    assert all(node.keep == FOREVER for node in listed.values())
    for name, node in listed.items():
        assert world.filesystem.lookup(ROOT, name) == node == world.filesystem.getattr(node.node)
    assert world.filesystem.lookup(ROOT, b"absent") == Absent(FOREVER)
    world.view(Tree({b"a": file(b"")}))
    for path in ("", "views", "projects", "packages"):  # the root is above itself
        top = world.walk(path) if path else ROOT
        for one in (top, *(below.node for _, below in world.listed(top)[:1] if path)):
            (_, above) = world.filesystem.listdir(one)[1]
            assert above.node == (ROOT if one == top else top)


async def test_the_magic_link(world: World) -> None:
    node = world.walk("current")
    assert world.filesystem.is_magic(node)
    assert not any(world.filesystem.is_magic(nodeid.fixed(other)) for other in Fixed if other != 2)
    target = await world.filesystem.current(1234)
    assert target == b"views/" + b"0" * 32
    assert len(target) == world.filesystem.getattr(node).size
    assert world.asked == [1234]


def test_views_are_listed_without_being_opened(world: World) -> None:
    names = [world.archive(Tree({b"a": file(b"%d" % number)})) for number in range(3)]
    views = [world.publish(name) for name in names]
    directory = world.walk("views")
    assert [name.decode() for name, _ in world.listed(directory)] == views
    assert world.catalog.loaded_views == 0
    for view in views:
        assert world.filesystem.lookup(directory, view.encode()) in [
            attributes for _, attributes in world.listed(directory)
        ]
    assert world.catalog.loaded_views == 0


def test_what_may_come_later_is_not_remembered_as_absent(world: World) -> None:
    for parent in ("views", "projects", "packages"):
        assert world.filesystem.lookup(world.walk(parent), b"0" * 32) == Absent(0)


def test_what_is_absent_in_a_view_is_so_for_ever(world: World) -> None:
    view = world.view(Tree({b"a": Tree({b"b": file(b"")})}))
    one = world.walk("packages")
    ((name, _),) = world.listed(one)
    for parent in (
        view,
        world.listed(view)[0][1].node,
        world.walk("packages/" + name.decode()),
    ):
        assert world.filesystem.lookup(parent, b"absent") == Absent(FOREVER)


def test_a_package_is_its_archive(world: World) -> None:
    tree = Tree({b"x": file(b"1"), b"y": Tree({b"z": link(b"../x"), b"e": file(b"1")})})
    other = Tree({b"x": file(b"1"), b"e": file(b"1")})
    world.publish(world.archive(tree))
    world.publish(world.archive(other))
    listed = world.listed(world.walk("packages"))
    shown = [world.tree(attributes.node) for _, attributes in listed]
    assert shown == [Tree({b"data": tree}), Tree({b"data": other})]
    old, new = (f"packages/{name.decode()}/data" for name, _ in listed)
    assert world.walk(f"{new}/x") == world.walk(f"{old}/x")
    paths = (f"{old}/x", f"{old}/y/e", f"{old}/y", f"{new}/e", new, old)
    assert len(set(map(world.walk, paths))) == len(paths)


def agree(world: World, root: str) -> None:
    """Its user has said yes to it, or there is no link."""
    trust._save(world.places.state, trust.Trusted(root=root, directory=(1, 2, 3)))


def test_a_project_leads_to_its_view(world: World) -> None:
    view = world.publish(world.archive(Tree({b"a": file(b"")})))
    record = Resolved(
        root="/srv/shop",
        views=(ResolvedView(kind="python", variant="3.11", view=view, fingerprint=""),),
    )
    resolved.save(world.places.state / "projects", record)
    agree(world, record.root)
    found = world.attributes(f"projects/{record.key}")
    assert world.filesystem.readlink(found.node) == b"../views/" + view.encode()
    assert found == world.filesystem.getattr(found.node)
    assert (found.size, found.keep) == (len("../views/") + 32, BRIEFLY)
    assert dict(world.listed(world.walk("projects"))) == {record.key.encode(): found}
    (world.places.state / "projects" / f"{record.key}.json").unlink()
    assert refused(lambda: world.filesystem.readlink(found.node)) == "ENOENT"
    assert refused(lambda: world.filesystem.getattr(found.node)) == "ENOENT"


def test_one_member_is_one_node_in_views_and_packages(world: World) -> None:
    name = world.archive(Tree({b"a": file(b"same"), b"b": file(b"same")}))
    views = [world.publish(name), world.publish(name, world.archive(Tree({b"c": file(b"same")})))]
    ((package, _), *_) = world.listed(world.walk("packages"))
    places = [*(f"views/{view}" for view in views), f"packages/{package.decode()}/data"]
    assert len({world.walk(f"{place}/a") for place in places}) == 1
    assert len({world.walk(f"{places[1]}/{name}") for name in "abc"}) == 3


def test_the_next_version_shares_what_is_at_the_same_path(world: World) -> None:
    old = world.view(
        Tree({
            b"d": Tree({b"a": file(b"1"), b"b": file(b"2"), b"c": file(b"3")}),
            b"l": link(b"d"), b"m": link(b"d"), b"p": file(b"4"),
        })
    )  # fmt: skip
    new = world.view(
        Tree({
            b"d": Tree({b"a": file(b"1"), b"aa": file(b"2"), b"b": file(b"x"), b"c": file(b"3")}),
            b"l": link(b"d"), b"m": link(b"e"), b"p": file(b"4", executable=True),
        })
    )  # fmt: skip
    before, after = (dict(everything(world, view)) for view in (old, new))
    assert {path for path in after if before.get(path) == after[path]} == {b"d/a", b"d/c", b"l"}
    assert len({found.node for found in after.values()}) == len(after)
    changed = after.keys() - {b"d/a", b"d/c", b"l"}
    assert {after[path].time for path in changed - {b"d"}} == {after[b"p"].time}
    assert after[b"p"].time > before[b"p"].time
    assert after[b"d"].time > before[b"d"].time


def everything(world: World, node: NodeId, path: bytes = b"") -> Iterator[tuple[bytes, Attributes]]:
    for name, found in world.listed(node):
        below = path + b"/" + name if path else name
        yield below, found
        if stat.S_ISDIR(found.mode):
            yield from everything(world, found.node, below)


def test_every_path_below_a_view_is_a_node_of_its_own(world: World) -> None:
    empty: dict[bytes, Tree | Leaf] = {b"1": file(b""), b"x": Tree({b"2": file(b"")})}
    view = world.view(Tree({b"a": Tree(empty)}), Tree({b"b": Tree(empty)}), Tree({b"c": file(b"")}))
    nodes = [found.node for _, found in everything(world, view)]
    assert len(set(nodes)) == len(nodes)
    assert max(nodes) < 1 << 53


def test_times_are_the_same_for_every_server(world: World) -> None:
    began = time.time_ns()
    view = world.view(Tree({b"a": Tree({b"b": file(b"1")}), b"l": link(b"a")}))
    found = dict(everything(world, view))
    assert len({one.time for one in found.values()}) == 2
    assert found[b"a"].time == world.filesystem.getattr(view).time
    assert all(began - 1_000_000 < one.time <= time.time_ns() + 2_000_000 for one in found.values())
    fresh = World(world.places.state.parents[2])
    assert dict(everything(fresh, view)) == found
    assert fresh.filesystem.getattr(found[b"a/b"].node) == found[b"a/b"]
    fresh.registry.close()
    (_, package), *_ = world.listed(world.walk("packages"))
    below = dict(everything(world, package.node))
    assert {one.time for one in below.values()} == {found[b"a/b"].time, package.time}


def test_what_has_no_time_has_the_earliest(world: World) -> None:
    root = world.filesystem.getattr(ROOT)
    assert {one.time for _, one in world.listed(ROOT)} == {root.time}
    assert root.time == nodeid.EARLIEST
    assert time.gmtime(root.time // 10**9)[:3] == (1980, 1, 2)


def test_a_mount_that_was_begun_before_keeps_numbers_and_times(tmp_path: Path) -> None:
    world = World(tmp_path, BEFORE)
    with sqlite3.connect(world.registry.path) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 4711")
    trees = [Tree({b"a": Tree({b"b": file(b"1"), b"n%d" % n: Tree({b"x": link(b"b")})})})
             for n in range(2)]  # fmt: skip
    view = world.view(*trees)
    assert world.tree(view) == union_model(trees)
    found = dict(everything(world, ROOT))
    found |= dict(everything(world, view))
    assert {one.time for one in found.values()} == {nodeid.EPOCH}
    assert all(one.node >> 60 or one.node <= max(Fixed) for one in found.values())
    number = BEFORE.merged_parts(view)[0]
    assert number == world.registry.views()[0][0]
    assert BEFORE.owned_parts(found[b"a/n1"].node) == (number, 1 << 28 | 4)
    (first, *_) = world.registry.archives()
    assert BEFORE.archive_parts(found[b"a/b"].node)[0] == first[0]
    with pytest.raises(FileSystemError):
        world.filesystem.getattr(PACKING.merged(number, nodeid.MergedNo(0)))
    world.registry.close()


def test_what_is_new_comes_last_in_a_listing(world: World) -> None:
    def publish_one(number: int) -> None:
        world.publish(world.archive(Tree({b"a": file(b"%d" % number)})))
        record = Resolved(
            root=f"/p/{10 - number}",
            views=(
                ResolvedView(kind="python", variant="3.11", view=ViewId("1" * 32), fingerprint=""),
            ),
        )
        resolved.save(world.places.state / "projects", record)
        agree(world, record.root)

    publish_one(0)
    directories = [world.walk(name) for name in ("views", "projects", "packages")]
    for number in range(1, 8):
        before = []
        for directory in directories:
            world.filesystem.opendir(directory)
            before.append([name for name, _ in world.listed(directory)])
        publish_one(number)
        for directory, known in zip(directories, before, strict=True):
            # Whoever is in the middle of it sees what it was, whoever begins sees what is new.
            assert [name for name, _ in world.listed(directory)] == known
            world.filesystem.opendir(directory)
            listed = [name for name, _ in world.listed(directory)]
            assert listed[: len(known)] == known
            assert len(listed) == len(known) + 1


# Errors


def test_refusals(world: World) -> None:
    view = world.view(
        Tree({b"f": file(b"1"), b"l": link(b"f"), b"d": Tree({b"x": file(b"")}), b"e": Tree()})
    )
    filesystem = world.filesystem
    nodes = {name.decode(): attributes.node for name, attributes in world.listed(view)}
    nodes |= {"root": ROOT, "bin": world.walk("bin"), "current": world.walk("current")}
    directories, links = ("d", "e", "root"), ("l", "bin", "current")
    for name in directories:
        assert refused(lambda: filesystem.open(nodes[name])) == "EISDIR"  # noqa: B023 - called at once
        assert refused(lambda: filesystem.readlink(nodes[name])) == "EINVAL"  # noqa: B023
        filesystem.opendir(nodes[name])
    for name in links:
        assert refused(lambda: filesystem.open(nodes[name])) == "ELOOP"  # noqa: B023
    for name in (*links, "f"):
        assert refused(lambda: filesystem.opendir(nodes[name])) == "ENOTDIR"  # noqa: B023
        assert refused(lambda: filesystem.listdir(nodes[name])) == "ENOTDIR"  # noqa: B023
        assert refused(lambda: filesystem.lookup(nodes[name], b"x")) == "ENOTDIR"  # noqa: B023
    assert refused(lambda: filesystem.readlink(nodes["f"])) == "EINVAL"
    for name in (*directories, "bin", "current", "l"):
        for call in (lambda n: filesystem.cached(n, 0, 1), lambda n: next(filesystem.readers(n))):
            assert refused(partial(call, nodes[name])) in {"EISDIR", "EINVAL"}
    for parent in (view, ROOT, world.walk("views"), nodes["d"]):
        assert refused(lambda: filesystem.lookup(parent, b"x" * 256)) == "ENAMETOOLONG"  # noqa: B023
        assert isinstance(filesystem.lookup(parent, b"x" * 255), Absent)


def test_beyond_the_end_there_is_nothing(world: World) -> None:
    view = world.view(Tree({b"a": file(b"0123456789"), b"empty": file(b"")}))
    node, empty = (attributes.node for _, attributes in world.listed(view))
    assert world.read(node, 4, 3) == b"456"
    assert world.read(node, 8, 30) == b"89"
    assert world.read(node, 10, 1) == world.read(node, 1 << 62, 1) == b""
    assert world.read(node, 3, 0) == b""
    assert world.read(empty) == b""


def every_call(filesystem: Filesystem, node: NodeId, name: bytes) -> list[Callable[[], object]]:
    return [
        lambda: filesystem.lookup(node, name),
        lambda: filesystem.getattr(node),
        lambda: filesystem.opendir(node),
        lambda: filesystem.listdir(node),
        lambda: filesystem.open(node),
        lambda: filesystem.readlink(node),
        lambda: filesystem.is_magic(node),
        lambda: filesystem.cached(node, 0, 10),
        lambda: list(filesystem.readers(node)),
    ]


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("populated"))
    made.view(
        Tree({b"a": Tree({b"b": file(b"1"), b"c": link(b"b")}), b"f": file(b"2")}),
        Tree({b"a": Tree({b"d": Tree({b"e": file(b"1")})}), b"g": Tree({b"h": Tree()})}),
    )
    view = ViewId("1" * 32)
    resolved.save(
        made.places.state / "projects",
        Resolved(
            root="/p", views=(ResolvedView(kind="python", variant="3", view=view, fingerprint=""),)
        ),
    )
    agree(made, "/p")
    yield made
    made.registry.close()


def known_nodes(world: World) -> list[NodeId]:
    found = []
    pending = [ROOT]
    while pending:
        node = pending.pop()
        found.append(node)
        if stat.S_ISDIR(world.filesystem.getattr(node).mode):
            pending += [attributes.node for _, attributes in world.listed(node)]
    return found


hostile_names = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([b"", b".", b"..", b"/", b"a/b", b"a\0", b"\xff" * 32, b"0" * 32, b"a"]),
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, (1 << 64) - 1).map(NodeId), hostile_names)
def test_hostile_numbers_and_names_get_an_errno(
    populated: World, node: NodeId, name: bytes
) -> None:
    for call in every_call(populated.filesystem, node, name):
        with contextlib.suppress(FileSystemError):
            call()


def test_numbers_near_to_real_ones_get_an_errno(populated: World) -> None:
    known = set(known_nodes(populated))
    assert {PACKING.kind(node) for node in known} == set(NodeKind)
    seeded = random.Random(20251123)  # noqa: S311 - repeatable
    near = {NodeId(node ^ 1 << bit) for node in known for bit in range(64)} | {
        NodeId(max(node + seeded.randrange(-40, 40), 0)) for node in known for _ in range(10)
    }
    for node in near:
        for call in every_call(populated.filesystem, node, b"a"):
            try:
                call()
            except FileSystemError as error:
                assert error.errno in {  # noqa: PT017 - any of these, or none
                    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP,
                }  # fmt: skip


def test_a_number_that_nobody_gave_names_nothing(populated: World) -> None:
    known = set(known_nodes(populated))
    for node in known:
        if PACKING.kind(node) is NodeKind.FIXED:
            continue
        for bit in (45, 49, 53, 63):
            other = NodeId(node | 1 << bit)
            if other not in known:
                assert refused(partial(populated.filesystem.getattr, other)) == "ENOENT"
    # An owned directory's number with a file's entry in it is no number, either.
    (owned,) = [
        node
        for node in known
        if PACKING.kind(node) is NodeKind.OWNED and populated.tree(node) == Tree({b"e": file(b"1")})
    ]
    number, at = PACKING.owned_parts(owned)
    view = populated.catalog.view_numbered(number)
    assert view is not None
    layer, entry = view.owned(at)
    file_entry = view.members[layer].archive.lookup(EntryNo(entry), b"e")
    assert file_entry is not None
    node = PACKING.owned(number, at + file_entry - entry)
    assert refused(lambda: populated.filesystem.getattr(node)) == "ENOENT"


# Damage


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_flipped_bit_is_eio_and_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    name, other = (world.archive(Tree({b"a": file(text * 99)})) for text in (b"1", b"2"))
    node = world.walk(f"views/{world.publish(name)}/a")
    whole = world.walk(f"views/{world.publish(other)}/a")
    flip(world.store.path(name), 20)
    assert refused(lambda: world.read(node)) == "EIO"
    assert name in caplog.text
    assert other not in caplog.text
    assert world.read(whole) == b"2" * 99


def test_an_archive_that_cannot_be_opened_is_eio_and_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    name = world.archive(Tree({b"a": file(b"1")}))
    view = world.publish(name)
    flip(world.store.path(name), -1)
    node = world.walk(f"views/{view}")
    for call in every_call(world.filesystem, node, b"a")[:5]:
        assert refused(call) == "EIO"
    assert name in caplog.text
    flip(world.store.path(name), -1)
    assert world.tree(node) == Tree({b"a": file(b"1")})


def test_a_damaged_manifest_is_eio_and_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    view = world.publish(world.archive(Tree({b"a": file(b"1")})))
    manifest_path(world.places, view).write_bytes(b"[]")
    assert refused(lambda: world.listed(world.walk(f"views/{view}"))) == "EIO"
    assert f"manifest {view} is damaged" in caplog.text


def test_listings_name_what_is_damaged_beside_the_rest(world: World) -> None:
    names = [world.archive(Tree({b"a": file(b"%d" % number)})) for number in range(3)]
    views = [world.publish(name) for name in names]
    flip(world.store.path(names[1]), -1)
    manifest_path(world.places, views[2]).write_bytes(b"")
    for directory in ("views", "packages"):
        assert len(world.listed(world.walk(directory))) == 3
    manifest_path(world.places, views[2]).unlink()
    world.filesystem.opendir(world.walk("views"))
    assert len(world.listed(world.walk("views"))) == 2
    assert world.filesystem.lookup(world.walk("views"), views[2].encode()) == Absent(0)
    assert world.tree(world.walk(f"views/{views[0]}")) == Tree({b"a": file(b"0")})


def test_another_archive_stands_in_for_a_damaged_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one = world.archive(Tree({b"a": file(b"same"), b"l": link(b"a"), b"own": file(b"mine")}))
    two = world.archive(Tree({b"a": file(b"same"), b"l": link(b"a")}))
    views = [world.publish(name) for name in (one, two)]
    mine = world.walk(f"views/{views[0]}/own")
    shared = world.walk(f"views/{views[1]}/a")
    assert shared == world.walk(f"views/{views[0]}/a")
    flip(world.store.path(one), 20)
    assert refused(lambda: world.read(mine)) == "EIO"
    caplog.clear()
    assert world.read(shared) == b"same"
    assert one in caplog.text
    fresh = World(world.places.state.parents[2])
    flip(world.store.path(one), -1)
    caplog.clear()
    assert fresh.tree(shared) == file(b"same")
    assert one in caplog.text
    fresh.registry.close()


def test_a_collected_archive_costs_nobody_anything(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (
        world.archive(Tree({b"a": file(b"same"), b"l": link(b"a"), b"own": file(b"%d" % number)}))
        for number in range(3)
    )
    views = [world.publish(name) for name in (one, two, three)]
    mine = world.walk(f"views/{views[0]}/own")
    time = world.attributes(f"views/{views[0]}/a").time
    world.store.path(one).unlink()
    fresh = World(world.places.state.parents[2])
    view = fresh.walk(f"views/{views[1]}")
    found = dict(everything(fresh, view))
    caplog.clear()
    assert fresh.tree(view) == Tree({b"a": file(b"same"), b"l": link(b"a"), b"own": file(b"1")})
    assert found[b"a"] == fresh.filesystem.getattr(found[b"a"].node)
    assert found[b"a"].time == time < found[b"own"].time
    assert caplog.text == ""
    # From now on nobody is asked: it is as if the other archive were the one that is named.
    with monkeypatch.context() as patch:
        patch.setattr(fresh.catalog, "registry", None)
        patch.setattr(fresh.catalog, "store", None)
        assert fresh.tree(found[b"a"].node) == file(b"same")
        assert fresh.tree(found[b"l"].node) == link(b"a")
    assert refused(lambda: fresh.filesystem.getattr(mine)) == "EIO"
    assert one in caplog.text
    # Where that one is collected as well, still another is found; and in the end none.
    world.store.path(two).unlink()
    later = World(world.places.state.parents[2])
    caplog.clear()
    assert later.tree(found[b"a"].node) == file(b"same")
    assert caplog.text == ""
    world.store.path(three).unlink()
    last = World(world.places.state.parents[2])
    assert refused(lambda: last.read(found[b"a"].node)) == "EIO"
    for made in (fresh, later, last):
        made.registry.close()


def test_a_lost_registry_is_eio_for_what_is_new_only(world: World) -> None:
    view = world.publish(world.archive(Tree({b"a": file(b"1")})))
    other = world.publish(world.archive(Tree({b"a": file(b"2")})))
    node = world.walk(f"views/{view}")
    tree = world.tree(node)
    world.registry.path.write_bytes(b"damaged" * 1000)
    assert world.tree(node) == tree
    views = nodeid.fixed(Fixed.VIEWS)
    assert refused(lambda: world.filesystem.lookup(views, other.encode())) == "EIO"
    assert refused(lambda: world.listed(views)) == "EIO"


def test_what_the_operating_system_refuses_is_eio(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied() -> list[tuple[bytes, ArchiveNo]]:
        raise PermissionError(errno.EACCES, "Permission denied", "/store")

    monkeypatch.setattr(world.catalog, "packages", denied)
    assert refused(lambda: world.listed(nodeid.fixed(Fixed.PACKAGES))) == "EIO"
    assert "/store" in caplog.text


def test_entries_that_do_not_exist_are_enoent(world: World) -> None:
    name = world.archive(Tree({b"a": file(b"1")}))
    world.publish(name)
    number = world.registry.archive_number(name)
    assert number is not None
    for entry in (3, 1000, (1 << 24) - 1):
        node = PACKING.in_archive(number, EntryNo(entry))
        assert refused(partial(world.filesystem.getattr, node)) == "ENOENT"
        assert refused(partial(world.filesystem.cached, node, 0, 1)) == "ENOENT"
