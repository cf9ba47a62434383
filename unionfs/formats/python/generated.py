"""Layers of Python's views that pkgview makes itself: the skeleton, notices, and waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unionfs.environment import PIN_FILE, skeleton, waiting
from unionfs.store.generated import GeneratedFile, add_generated

if TYPE_CHECKING:
    from resolver.manifest import LayerSpec, Manifest
    from resolver.python.interpreter import Interpreter
    from resolver.python.target import Python
    from unionfs.store.local import Store

_NOTICE_FILE = f"{PIN_FILE}_notice"

_PYTHONS = (*(f"3.{minor}" for minor in range(9, 21)), *(f"3.{minor}t" for minor in range(13, 21)))
"""Interpreters that may read a notice: its view is not made for one of them."""


def skeleton_layer(store: Store, interpreter: Interpreter, *, with_pip: bool = False) -> LayerSpec:
    """What every virtual environment of that interpreter has besides its distributions.

    `with_pip`: pip is one of them.
    """
    files = skeleton(
        interpreter.python,
        full_version=interpreter.full,
        implementation=interpreter.environment["platform_python_implementation"],
        with_pip=with_pip,
    )
    archive = add_generated(store, f"skeleton-{interpreter.full}", files)
    return interpreter.python.layer(archive)


def notice_layer(store: Store, python: Python, text: str) -> LayerSpec:
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
    files = [
        GeneratedFile(
            path=f"data/lib/python{version}/site-packages/{_NOTICE_FILE}.pth", content=line
        )
        for version in _PYTHONS
    ]
    return python.layer(add_generated(store, "notice", files))


def waiting_layer(store: Store, python: Python, socket: str) -> LayerSpec:
    """A layer that makes an interpreter wait for its project's view: `environment.wait`."""
    return python.layer(add_generated(store, "waiting", waiting(python, socket)))


def bare_manifest(store: Store, interpreter: Interpreter) -> Manifest:
    """An environment without any distribution."""
    return interpreter.python.manifest([skeleton_layer(store, interpreter)])
