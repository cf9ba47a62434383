"""Where a project's files write a place or a file name that uv refuses without saying where."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from resolver.errors import PkgviewError
from resolver.inputs import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_REFUSED = re.compile(r"not found at:\s+file://(\S+)|wheel filename `([^`]+)`")


def located(error: PkgviewError, inputs: Iterable[Path]) -> PkgviewError:
    """The error with the lines that its place may be written in; itself where there are none."""
    found = _REFUSED.search(error.what)
    if found is None:
        return error
    place = unquote(found[1] or found[2]).rstrip("/")
    name = os.path.basename(place)  # noqa: PTH119 - as text
    places = list(dict.fromkeys(_lines(inputs, name)))
    if not places:
        return error
    return PkgviewError(f"{error.what} ({', '.join(places)})", remedy=error.remedy)


def _lines(inputs: Iterable[Path], name: str) -> Iterable[str]:
    whole = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")
    for path in inputs:
        if path.suffix == ".lock":
            continue
        with suppress(PkgviewError):
            for number, line in enumerate(read_text(path).splitlines(), 1):
                if whole.search(line):
                    yield f"{path}, line {number}"
