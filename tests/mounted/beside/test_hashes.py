"""Hashes that are given are checked, wherever they stand."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]


def test_of_what_an_index_has(beside: Beside) -> None:
    wheel = beside.index.wheel("demo")
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    beside.same({"requirements.txt": f"demo==1.0 --hash=sha256:{right}\n"})
    beside.same({"requirements.txt": f"demo==1.0 --hash=sha256:{right}\n"}, by="pip")
    beside.refused({"requirements.txt": f"demo==1.0 --hash=sha256:{'0' * 64}\n"}, says="no file of")
