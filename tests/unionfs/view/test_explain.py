from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.target import Python, Schemes
from unionfs.archive.layer import Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.view.explain import Origin, find
from unionfs.view.tree import union_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places

    Make = Callable[..., Callable[..., Origin | None]]

SITE = "lib/python3.11/site-packages"
PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3.11",
    schemes=Schemes(purelib=SITE, platlib=SITE, scripts="bin", headers="include", data=""),
)
MOUNT = Path("/home/me/.pkgview")
PROJECT = Path("/home/me/project")


@pytest.fixture
def view(isolated_places: Places) -> Make:
    """`find` for a view of these layers."""
    store = Store(isolated_places.store)

    def member(path: bytes, data: bytes) -> Member:
        if data.startswith(b"-> "):
            return Member(path=path, kind=Kind.SYMLINK, target=data[3:])
        return Member(path=path, size=len(data), open=partial(io.BytesIO, data))

    def make(**layers: dict[bytes, bytes]) -> Callable[..., Origin | None]:
        names = [
            store.add(
                [member(path, data) for path, data in files.items()],
                Meta(kind="distribution", name=name, version="1", stem=f"{name}-1"),
            )
            for name, files in layers.items()
        ]
        specs = tuple(
            PYTHON.layer(archive, name=name, version="1")
            for archive, name in zip(names, layers, strict=True)
        )
        manifest = PYTHON.manifest(specs)
        union = union_of(manifest, [store.open(name) for name in names], store.open)

        def why(query: str, cwd: Path = PROJECT) -> Origin | None:
            return find(union, manifest, query, roots=[SITE], mount=MOUNT, cwd=cwd)

        return why

    return make


def said(found: Origin | None) -> tuple[str, list[str], list[str]]:
    """The path, who gives it, whom it hides."""
    assert found is not None
    return (
        found.path,
        [provider.layer.name for provider in found.given_by],
        [provider.layer.name for provider in found.hides],
    )


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("pkg", f"{SITE}/pkg/__init__.py"),
        ("pkg.sub", f"{SITE}/pkg/sub.py"),
        ("single", f"{SITE}/single.py"),
        ("fast", f"{SITE}/fast.cpython-311-x86_64-linux-gnu.so"),
        ("pkg.faster", f"{SITE}/pkg/faster.abi3.so"),
        ("pkg/sub.py", f"{SITE}/pkg/sub.py"),
        ("pkg/", f"{SITE}/pkg"),
        ("bin/tool", "bin/tool"),
        ("./.venv/bin/tool", "bin/tool"),
        (".venv/lib/../bin/tool", "bin/tool"),
        ("/elsewhere/.venv/bin/tool", "bin/tool"),
        (f"/home/me/.pkgview/views/{'0' * 32}/bin/tool", "bin/tool"),
        ("/home/me/.pkgview/projects/project-0123456789/bin/tool", "bin/tool"),
        ("/home/me/.pkgview/current/bin/tool", "bin/tool"),
        ("/home/me/.pkgview/bin/tool", "bin/tool"),
        ("/home/me/.pkgview/bin/../bin//./tool", "bin/tool"),
        ("/home/me/.pkgview/site-packages/single.py", f"{SITE}/single.py"),
        ("lib64/python3.11/site-packages/single.py", f"{SITE}/single.py"),
        ("site-packages/pkg/sub.py", f"{SITE}/pkg/sub.py"),
        ("lib64", "lib64"),
        (f"{SITE}/single.py", f"{SITE}/single.py"),
        ("pkg-1.dist-info/METADATA", f"{SITE}/pkg-1.dist-info/METADATA"),
    ],
)
def test_what_a_user_may_mean(view: Make, query: str, path: str) -> None:
    why = view(
        pkg={
            b"purelib/pkg/__init__.py": b"1",
            b"purelib/pkg/sub.py": b"2",
            b"purelib/pkg/faster.abi3.so": b"3",
            b"purelib/pkg-1.dist-info/METADATA": b"4",
            b"purelib/single.py": b"5",
            b"platlib/fast.cpython-311-x86_64-linux-gnu.so": b"6",
            b"scripts/tool": b"7",
            b"data/lib64": b"-> lib",
            b"data/site-packages": b"-> " + SITE.encode(),
        }
    )
    assert said(why(query)) == (path, ["pkg"], [])


@pytest.mark.parametrize(
    "query",
    ["absent", "pkg.absent", "pkg/absent", "bin/tool/below", "../pkg", "away", "away/x", "loop/x",
     "/etc/passwd", "a b", "\udcff", "pkg\0", "x" * 5000],
)  # fmt: skip
def test_what_nothing_gives(view: Make, query: str) -> None:
    why = view(
        pkg={
            b"purelib/pkg/__init__.py": b"",
            b"scripts/tool": b"",
            b"data/out": b"-> /etc",
            b"data/loop": b"-> loop",
            b"data/gone": b"-> nowhere",
        }
    )
    assert why(query) is None


def test_links_out_of_the_view_lead_nowhere_but_are_given(
    view: Make,
) -> None:
    why = view(pkg={b"data/out": b"-> /etc", b"data/up": b"-> .."})
    assert said(why("out")) == ("out", ["pkg"], [])
    assert said(why("out/passwd")) == ("out", ["pkg"], [])  # as by a live layer
    # As for the kernel, nothing is above the root; here the root is the view's.
    assert said(why("up/out")) == ("out", ["pkg"], [])


def test_a_file_hides_the_same_path_of_later_layers(
    view: Make,
) -> None:
    files = {b"purelib/pkg/x.py": b"1"}
    why = view(one=files, two=files, three={b"purelib/pkg/x.py/y": b"2"})
    assert said(why("pkg/x.py")) == (f"{SITE}/pkg/x.py", ["one"], ["two", "three"])


def test_a_shared_directory_is_given_by_all_that_merge(
    view: Make,
) -> None:
    why = view(
        one={b"purelib/zope/one/a.py": b""},
        two={b"purelib/zope/two/b.py": b""},
        three={b"purelib/zope": b"a file"},
        four={b"purelib/zope/four/c.py": b""},
    )
    assert said(why("zope")) == (f"{SITE}/zope", ["one", "two"], ["three", "four"])
    assert said(why("zope/two")) == (f"{SITE}/zope/two", ["two"], [])
    assert why("zope/four") is None


def test_what_a_file_hides_higher_up_is_hidden(
    view: Make,
) -> None:
    why = view(
        one={b"purelib/ns/d/a.py": b"1"},
        two={b"purelib/ns": b"a file"},
        three={b"purelib/ns/d/a.py": b"3", b"purelib/ns/d/b.py": b"3"},
    )
    assert said(why("ns/d")) == (f"{SITE}/ns/d", ["one"], ["three"])
    assert said(why("ns/d/a.py")) == (f"{SITE}/ns/d/a.py", ["one"], ["three"])
    assert why("ns/d/b.py") is None


def test_kinds_and_sizes_are_told(view: Make) -> None:
    why = view(pkg={b"scripts/tool": b"12345", b"scripts/link": b"-> tool", b"data/share/x": b""})
    for query, kind, size in (
        ("bin/tool", Kind.FILE, 5),
        ("bin/link", Kind.SYMLINK, 4),
        ("share", Kind.DIRECTORY, 0),
    ):
        found = why(query)
        assert found is not None
        assert [(one.kind, one.size) for one in found.given_by] == [(kind, size)]


def test_names_that_are_no_text(view: Make) -> None:
    why = view(pkg={b"purelib/fast.\xff.so": b"", b"purelib/\xff\xfe": b""})
    assert said(why("fast")) == (f"{SITE}/fast.\udcff.so", ["pkg"], [])
    assert said(why("\udcff\udcfe")) == (f"{SITE}/\udcff\udcfe", ["pkg"], [])


def test_where_the_user_is_counts(view: Make) -> None:
    why = view(pkg={b"purelib/pkg/__init__.py": b""})
    inside = MOUNT / "views" / ("0" * 32) / SITE / "pkg"
    assert said(why("./__init__.py", inside)) == (f"{SITE}/pkg/__init__.py", ["pkg"], [])
    assert said(why("../pkg/__init__.py", inside)) == (f"{SITE}/pkg/__init__.py", ["pkg"], [])


def test_the_views_root(view: Make) -> None:
    why = view(pkg={b"data/a": b"", b"purelib/b.py": b""})
    assert said(why(str(MOUNT / "current") + "/"))[0] == ""
    assert said(why("lib"))[0] == "lib"  # a directory that only the schemes bring
