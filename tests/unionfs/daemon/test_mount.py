from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import trio

from unionfs.daemon import mount
from unionfs.publishing import publish
from unionfs.publishing.publish import tell_needs

if TYPE_CHECKING:
    import pytest

    from resolver.places import Places


def test_a_daemon_that_lives_goes_on_telling(
    isolated_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount, "TELL_SECONDS", 0.01)
    users = isolated_places.store / "users"
    tell_needs(isolated_places)
    # As in a state that was restored to what it was before it told.
    (isolated_places.state / "manifests").mkdir()
    (isolated_places.state / "manifests/restored.json").touch()
    monkeypatch.setattr(publish, "read_manifest", lambda *_: SimpleNamespace(archives=["restored"]))

    async def told_anew() -> None:
        (own,) = users.iterdir()
        os.utime(own, (1, 1))
        while own.stat().st_mtime == 1:  # noqa: ASYNC110 - a file says nothing
            await trio.sleep(0.01)
        assert own.read_text().endswith("\nrestored\n")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mount._tell, isolated_places)
            with trio.fail_after(30):
                await told_anew()
                users.rename(users.with_name("elsewhere"))
                users.touch()  # it goes on though it cannot tell
                await trio.sleep(0.1)
                users.unlink()
                users.with_name("elsewhere").rename(users)
                await told_anew()
            nursery.cancel_scope.cancel()

    trio.run(main)
