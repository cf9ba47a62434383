"""What a process that is forked for commands imports (`unionfs.forkserver`), and what it does."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

from unionfs.cli import group
from unionfs.cli.forked import SERVED
from unionfs.publishing.ahead import import_all

if TYPE_CHECKING:
    from collections.abc import Sequence

for _name in (
    *(f"unionfs.cli.commands.{group.COMMANDS[name][0].partition(':')[0]}" for name in SERVED),
    "unionfs.cli.commands.store.store", "unionfs.cli.progress", "unionfs.daemon.launch",
    "resolver.node.locked", "resolver.node.selection", "unionfs.formats.node.generated",
    "unionfs.formats.node.kind", "unionfs.formats.node.packages", "unionfs.formats.node.writable",
):  # fmt: skip
    importlib.import_module(_name)
import_all()


def warm() -> None:
    """Touch what commands will: objects, whose users are counted in themselves, and their code."""
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()):
            members = list(vars(value).values()) if isinstance(value, type) else [value]
            codes = [getattr(one, "__code__", None) for one in members]
            del members, codes


def serve(arguments: Sequence[str]) -> NoReturn:
    """Do a command, and end the process."""
    group.main(arguments)
    raise AssertionError("a group ends the process")
