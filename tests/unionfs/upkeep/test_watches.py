from __future__ import annotations

import io
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from resolver.manifest import ViewId
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.upkeep.watches import named_by, watched
from unionfs.view.nodeid import BEFORE, PACKING, ArchiveNo, MergedNo, ViewNo
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places
    from unionfs.archive.reader import Archive

INOTIFY = """\
pos:\t0
flags:\t02004000
mnt_id:\t16
ino:\t{0:x}
inotify wd:2 ino:{1:x} sdev:2a mask:fce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:01
inotify wd:1 ino:3f7e8 sdev:fe00000 mask:fff ignored_mask:0 fhandle-bytes:8 fhandle-type:1
"""
FANOTIFY = """\
fanotify flags:10 event-flags:0
fanotify mnt_id:12 mflags:40 mask:38 ignored_mask:40000003
fanotify ino:{0:x} sdev:2a mflags:0 mask:3b ignored_mask:40000000
"""


def packed(store: Store, version: str) -> Archive:
    data = {b"same": b"", b"other": version.encode()}
    members = [
        Member(path=path, size=len(content), open=partial(io.BytesIO, content))
        for path, content in data.items()
    ]
    meta = Meta(kind="distribution", name="demo", version=version, stem=f"demo-{version}")
    return store.open(store.add(members, meta))


def test_what_proc_says_of_watches(tmp_path: Path) -> None:
    (tmp_path / "fdinfo").mkdir()
    (tmp_path / "fdinfo/4").write_text(INOTIFY.format(1 << 51, 3 << 50 | 7))
    (tmp_path / "fdinfo/5").write_text(FANOTIFY.format(1 << 60 | 1))
    (tmp_path / "fdinfo/6").write_text(INOTIFY.format(0, 1 << 50))
    files = {
        "4": "anon_inode:inotify", "5": "anon_inode:[fanotify]", "6": "/a/file",
        "7": "anon_inode:inotify",
    }  # fmt: skip
    assert set(watched(str(tmp_path), files)) == {3 << 50 | 7, 1 << 60 | 1}


def test_a_directory_is_a_view_s_and_a_file_is_all_archives_that_have_it(
    isolated_places: Places,
) -> None:
    store = Store(isolated_places.store)
    assert named_by(isolated_places, []) == (set(), set())
    with closing(Registry.of(isolated_places)) as registry:
        versions = [packed(store, str(number)) for number in range(3)]
        numbers = [registry.register_archive(archive, store.open) for archive in versions]
        views = [registry.register_view(ViewId(f"{number:032x}")) for number in range(4)]
    same, other = (versions[0].find(path) for path in (b"same", b"other"))
    assert same is not None
    assert other is not None
    names = [archive.name for archive in versions]
    directories = PACKING.owned(views[0], 5), PACKING.merged(views[2], MergedNo(3))
    unknown = (
        PACKING.owned(ViewNo(views[-1] + 1), 5),
        PACKING.in_archive(ArchiveNo(numbers[-1] + 1), same),
    )
    assert named_by(isolated_places, [*directories, *unknown]) == (
        {ViewId(f"{0:032x}"), ViewId(f"{2:032x}")},
        set(),
    )
    for packing in (PACKING, BEFORE):
        of_one = packing.in_archive(numbers[0], other)
        assert named_by(isolated_places, [of_one]) == (set(), {names[0]})
        of_all = packing.in_archive(numbers[0], same)
        assert named_by(isolated_places, [of_all]) == (set(), set(names))
