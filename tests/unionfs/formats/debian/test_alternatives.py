from __future__ import annotations

import io
from typing import TYPE_CHECKING

from unionfs.archive.framecache import FrameCache
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member, pack
from unionfs.archive.reader import Archive
from unionfs.formats.debian import alternatives as module
from unionfs.formats.debian.alternatives import Alternative, Link, alternatives, calls

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BLAS = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    update-alternatives --quiet --install /usr/lib/libblas.so.3 \\
        libblas.so.3 /usr/lib/blas/libblas.so.3 10 \\
        --slave /usr/share/man/blas.gz blas.gz /usr/share/man/none.gz || true
fi
"""


def archive(tmp_path: Path, name: str, script: str, *paths: str) -> tuple[str, Archive]:
    members = [Member(path=path.encode(), open=io.BytesIO) for path in paths]
    content = script.encode()
    members.append(
        Member(path=b"DEBIAN/postinst", size=len(content), open=lambda: io.BytesIO(content))
    )
    out = tmp_path / name
    with out.open("wb") as file:
        meta = Meta(kind="distribution", name=name, version="1", stem=name)
        called = pack(members, meta, file)
    return name, Archive.open(out, FrameCache(), name=called)


def test_calls() -> None:
    first = Link("/usr/lib/libblas.so.3", "libblas.so.3", "/usr/lib/blas/libblas.so.3")
    second = Link("/usr/share/man/blas.gz", "blas.gz", "/usr/share/man/none.gz")
    assert calls(BLAS) == ([Alternative(10, (first, second))], False)
    assert calls("update-alternatives --remove x /usr/bin/x") == ([], False)
    for words in (
        "/usr/bin/$prog $prog /usr/bin/$prog-im6 10",
        "/usr/bin/x x /usr/bin/y",
        "/usr/bin/x x /usr/bin/../../etc/y 10",
        "usr/bin/x x /usr/bin/y 10",
        "/usr/bin/x ../x /usr/bin/y 10",
        "/usr/bin/x x '/usr/bin/y 10",
        "/usr/bin/x x /usr/bin/y 10 --slave /usr/bin/z z",
        "/usr/bin/x x /usr/bin/y 10 $(slaves)",
    ):
        assert calls(f"update-alternatives --install {words}") == ([], True)


def test_loops() -> None:
    call = "update-alternatives --install /usr/bin/$p $p /usr/bin/${p}-6 1"
    script = f"for p in a \\\n  b; do\n  {call}\ndone\n"
    found = [Alternative(1, (Link(f"/usr/bin/{p}", p, f"/usr/bin/{p}-6"),)) for p in "ab"]
    assert calls(script) == (found, False)
    assert calls(f"for q in x y; do\n{script}done\n") == ([], True)
    assert calls(script.replace("a ", "$(ls) ")) == ([], True)


def test_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADMINISTERED", str(tmp_path))
    editor = "update-alternatives --install /usr/bin/editor editor /bin/{0} {1}\n"
    packages = [
        archive(tmp_path, "blas", BLAS, "usr/lib/blas/libblas.so.3"),
        archive(tmp_path, "nano", editor.format("nano", 40), "bin/nano"),
        archive(tmp_path, "ed", editor.format("ed", 10), "usr/bin/ed"),
        archive(tmp_path, "absent", editor.format("absent", 99).replace("editor", "other")),
        archive(tmp_path, "odd", "update-alternatives --install /usr/bin/$p $p /bin/x 1", "bin/x"),
    ]
    made = alternatives(packages)
    assert {file.path: file.target for file in made.files} == {
        "view/usr/lib/libblas.so.3": "/usr/lib/blas/libblas.so.3",
        "view/usr/bin/editor": "/bin/nano",
    }
    assert made.said == ["odd: its script registers alternatives that are not made here."]
    (tmp_path / "editor").touch()  # the machine's own
    assert len(alternatives(packages).files) == 1
