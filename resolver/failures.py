"""Of the failures of tasks that ran side by side, the one that a person is told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def single_failure() -> Iterator[None]:
    """Of a group of failures raise the one that counts: what nobody foresaw, else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _single(group) from group


def _single(group: BaseExceptionGroup) -> BaseException:
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending = [*error.exceptions, *pending]
        else:
            leaves.append(error)
    unforeseen = (leaf for leaf in leaves if not isinstance(leaf, PkgviewError))
    return next(unforeseen, leaves[0])
