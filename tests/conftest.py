"""Fixtures that several test modules share."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from resolver.places import Places

if TYPE_CHECKING:
    from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job in the background of a script ignores it, and so would every program that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the names of the tests that failed to `scripts/test`, which tries them once more.

    Where the run was cut short (`-x`, an interrupt) it may not: the others have not been tried.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    cache = session.config.cache
    if reporter is None or cache is None or session.shouldfail or session.shouldstop:
        return
    reports = (*reporter.stats.get("failed", ()), *reporter.stats.get("error", ()))
    cache.set("pkgview/failed", sorted({report.nodeid for report in reports}))


@pytest.fixture
def isolated_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Everything pkgview would write, below `tmp_path`, for this process and its children."""
    home = tmp_path / "home"
    runtime = tmp_path / "run"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PKGVIEW_MOUNT", str(home / ".pkgview"))
    for variable in ("PKGVIEW_PROJECT", "PKGVIEW_VIEW", "VIRTUAL_ENV"):
        monkeypatch.delenv(variable, raising=False)
    return Places.from_environ()
