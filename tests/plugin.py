"""How the tests run: several processes at once, some tests alone; and what failed is left behind.

`scripts/test` has pytest-xdist start processes that take one module after the other. Every test
holds a lock while it runs, shared by all but those marked `alone`: these measure, or look at what
a machine has one of. They come first, so that all others wait for them once only.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    # `large` takes half a minute to make, so one process makes it for all who look at it.
    f"tests/mounted/test_{name}.py": "large"
    for name in ("environment_equal", "export", "shared", "tools")
}  # fmt: skip
"""Modules that one process takes, and what they share."""

# Locked themselves, as `scripts/bootstrap` does it: no file is left, and the kernel lets go.
_DOOR = Path(__file__)
_ROOM = Path(__file__).parent


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    number = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(number, how)
        yield
    finally:
        fcntl.flock(number, fcntl.LOCK_UN)  # whoever was forked meanwhile has it open too
        os.close(number)


class Turns:
    """The tests of one process among several: beside those of the others, or alone."""

    def __init__(self) -> None:
        self._held = ExitStack()
        """The lock of a test that is alone, until one comes that is not."""
        self._alone = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Wait for a turn: outside of pytest-timeout's hook, for it is nobody's fault."""
        if not self._alone:
            self._alone = is_alone(item)
            # Whoever waits to be alone keeps the door, so that others do not go on before.
            with _locked(_DOOR, fcntl.LOCK_EX):
                how = fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH
                self._held.enter_context(_locked(_ROOM, how))
        try:
            return (yield)
        finally:
            if not (self._alone and nextitem is not None and is_alone(nextitem)):
                self._alone = False
                self._held.close()

    @staticmethod
    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable() -> Generator[None, object, object]:
        """Escape what no file name, log or message may say in UTF-8: xdist would end the run."""
        return _sayable((yield))

    @staticmethod
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Have those that are alone come first."""
        items.sort(key=is_alone, reverse=True)


def _sayable(said: object) -> object:
    """The same, in which every string is one that UTF-8 has."""
    match said:
        case str():
            return said.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_sayable(name): _sayable(value) for name, value in said.items()}
        case list() | tuple():
            return type(said)(map(_sayable, said))
    return said


def is_alone(item: pytest.Item) -> bool:
    """Whether no other test may run beside it."""
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(tryfirst=True)  # before pytest takes note of its temporary directory
def pytest_configure(config: pytest.Config) -> None:
    """Take turns where there are others."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns())
        # Sockets lie below, of at most 107 bytes: ten more for `popen-gw0` are too many.
        given = Path(config.option.basetemp)
        config.option.basetemp = os.fspath(given.with_name(given.name.removeprefix("popen-gw")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give a process whole modules, whose fixtures are made once then, in their order."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - it need not be installed

    class ByModule(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return TOGETHER.get(module, module)

    # By default those with the most tests come first, which are not those that take longest.
    config.option.loadscopereorder = False
    return ByModule(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the names of the tests that failed to `scripts/test`, which tries them once more.

    Where the run was cut short (`-x`, an interrupt) it may not: the others have not been tried.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    cache = getattr(session.config, "cache", None)  # not there with `-p no:cacheprovider`
    if reporter is None or cache is None or session.shouldfail or session.shouldstop:
        return
    reports = (*reporter.stats.get("failed", ()), *reporter.stats.get("error", ()))
    cache.set("pkgview/failed", sorted({report.nodeid for report in reports}))
