"""Layers that pkgview makes itself: a view's skeleton, and notices.

Each is a small archive like any other. What it contains follows from its arguments alone, so it
is made once, found again under that content as its source, and made again where it is damaged.
"""

from __future__ import annotations

import hashlib
import io
from functools import partial
from typing import TYPE_CHECKING

from resolver.manifest import LayerSpec, Manifest
from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.environment import PIN_FILE, SkeletonFile, skeleton, waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.manifest import Python
    from resolver.python.interpreter import Interpreter
    from unionfs.store.local import Store

_NOTICE_FILE = f"{PIN_FILE}_notice"

_PYTHONS = (*(f"3.{minor}" for minor in range(9, 21)), *(f"3.{minor}t" for minor in range(13, 21)))
"""Interpreters that may read a notice: its view is not made for one of them."""


def skeleton_layer(store: Store, interpreter: Interpreter) -> LayerSpec:
    """What every virtual environment of that interpreter has besides its distributions."""
    files = skeleton(
        interpreter.python,
        full_version=interpreter.full,
        implementation=interpreter.environment["platform_python_implementation"],
    )
    return _layer(store, f"skeleton-{interpreter.full}", files)


def notice_layer(store: Store, text: str) -> LayerSpec:
    """A layer that makes every interpreter say `text` on stderr when it starts, and go on.

    `site` reads the line twice where the pin changes the prefix meanwhile (Python before 3.14). A
    stderr that nobody reads any more must not keep the interpreter from starting.
    """
    code = (
        "if sys.stderr and not hasattr(sys, '_pkgview_notice'):\n"
        " sys._pkgview_notice = True\n"
        f" try: sys.stderr.write({text!a})\n"
        " except Exception: pass\n"
    )
    line = f"import sys; exec({code!a})\n".encode()
    return _layer(
        store,
        "notice",
        [
            SkeletonFile(
                path=f"data/lib/python{python}/site-packages/{_NOTICE_FILE}.pth", content=line
            )
            for python in _PYTHONS
        ],
    )


def waiting_layer(store: Store, python: Python, socket: str) -> LayerSpec:
    """A layer that makes an interpreter wait for its project's view: `environment.wait`."""
    return _layer(store, "waiting", waiting(python, socket))


def bare_manifest(store: Store, interpreter: Interpreter) -> Manifest:
    """An environment without any distribution."""
    return Manifest(python=interpreter.python, layers=(skeleton_layer(store, interpreter),))


def _layer(store: Store, stem: str, files: Sequence[SkeletonFile]) -> LayerSpec:
    source = f"made-{hashlib.sha256(repr(files).encode()).hexdigest()}"
    archive = store.archive_of(source)
    if archive is None or not _is_whole(store, archive):
        meta = Meta(kind="skeleton", name="", version="", stem=stem)
        archive = store.add([_member(file) for file in files], meta)
        store.record_source(source, archive)
    return LayerSpec(archive=archive)


def _is_whole(store: Store, archive: str) -> bool:
    """These archives are small and need no network: a damaged one is simply made again."""
    try:
        store.verify(archive)
    except LayerError:
        return False
    return True


def _member(file: SkeletonFile) -> Member:
    path = file.path.encode("utf-8", "surrogateescape")
    if file.target is not None:
        target = file.target.encode("utf-8", "surrogateescape")
        return Member(path=path, kind=Kind.SYMLINK, target=target)
    return Member(
        path=path,
        executable=file.executable,
        size=len(file.content),
        open=partial(io.BytesIO, file.content),
    )
