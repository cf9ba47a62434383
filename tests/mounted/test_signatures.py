"""Archives that were taken by somebody's word, and what becomes of them when it counts no more."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from resolver import config
from resolver.config import RemoteStore
from tests.unionfs.store.remote.conftest import Keys
from unionfs.store.local import Store
from unionfs.store.remote import believing, vouching
from unionfs.store.remote.statement import Derived

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

STORE = "oci://registry.example.org/team/env"
SHOW = "import alpha; print(alpha.who)"


def asked(shop: Site, *command: str, cwd: Path | None = None, code: int = 0) -> Any:  # noqa: ANN401 - JSON
    said = shop.pkgview(*command, "--json", cwd=cwd or shop.home, code=code)
    return json.loads(said.stdout)


@dataclass(frozen=True)
class Taken:
    """A project whose alpha is another than its file says, by the word of a listed key."""

    project: Path
    key: str
    archive: str
    keys: Keys

    def who(self, shop: Site) -> str:
        return shop.run(self.project / ".venv/bin/python", "-c", SHOW, cwd=self.project).stdout


@pytest.fixture
def taken(shop: Site, index: Index, tmp_path: Path, needs: Callable[..., None]) -> Taken:
    needs("ssh-keygen")
    keys = Keys(tmp_path)
    project = shop.project("project")
    (project / "requirements.txt").write_text("alpha\n")
    # What a thief makes of it: packed here once, so that there is such an archive.
    index.wheel("alpha", files={"alpha.py": b"who = 'thief'\n"})
    shop.up(project)
    store = Store(shop.places.store)
    (path,) = store.archives.glob("alpha*")
    for key in list(store.known_sources()):
        if key.startswith("sha256-"):
            store.forget_source(key)
    honest = index.wheel("alpha", files={"alpha.py": b"who = 'honest'\n"})
    key = f"sha256-{hashlib.sha256(honest.read_bytes()).hexdigest()}"
    # And what they say of it, with a key that the user believes.
    config.add_store(shop.places, RemoteStore(url=STORE, keys=(keys["ed25519"].line,)))
    trust = believing.trust_in(shop.places, STORE)
    statement = keys["ed25519"].statement(Derived(source=key, archive=path.name).to_bytes())
    found = vouching.derived([statement], key, trust, time.time())
    assert found is not None
    store.vouch(found.sources, found.word)
    (project / "requirements.txt").write_text("alpha==1.0\n")
    assert shop.up(project)["fetched"] == 0
    return Taken(project, key, path.name, keys)


@pytest.mark.parametrize("by", ["repair", "up"])
def test_a_revoked_key(shop: Site, index: Index, taken: Taken, by: str) -> None:
    assert taken.who(shop) == "thief\n"
    fingerprint = believing.trust_in(shop.places, STORE).signers[0].key.fingerprint
    shown = asked(shop, "view", "--provenance", cwd=taken.project)["archives"]
    assert {one["name"]: (one["word"], one["source"]) for one in shown} == {
        "": ("made", shown[0]["source"]),
        "alpha": ("vouched", taken.key),
    }
    (alpha,) = (one for one in shown if one["name"] == "alpha")
    assert (alpha["signer"], alpha["key"]) == ("ed25519@example.org", fingerprint)
    assert (alpha["store"], alpha["archive"]) == (STORE, taken.archive)
    table = shop.pkgview("view", "--provenance", cwd=taken.project).stdout
    assert f"ed25519@example.org ({fingerprint}), in {STORE}, 20" in table
    assert f"sha256 {taken.key[7:19]}…" in table
    verify = ("store", "verify", "--signatures")
    assert asked(shop, *verify)["records"] == 1
    assert "every word" in shop.pkgview(*verify, cwd=shop.home).stdout

    # The theft is noticed.
    believing.revoked_path(shop.places).write_text(taken.keys["ed25519"].line)
    (doubt,) = asked(shop, *verify, code=1)["doubted"]
    assert (doubt["source"], doubt["archive"]) == (taken.key, taken.archive)
    assert f"signed by {fingerprint}, which is revoked" in doubt["said"]
    said = shop.pkgview(*verify, cwd=shop.home, code=1)
    assert "counts no more" in said.stderr
    assert "--signatures --repair" in said.stderr

    # It is dropped, and what has it is made anew; that has to wait for the index.
    offered = list(index.directory.iterdir())
    for path in offered:
        path.rename(path.with_name(f"{path.name}.away"))
    failed = asked(shop, *verify, "--repair", code=1)["projects"]
    assert [(one["project"], one["repair"]["settled"]) for one in failed] == [
        (str(taken.project), False)
    ]
    assert taken.who(shop) == "thief\n"
    (left,) = asked(shop, *verify, code=1)["doubted"]
    assert "a view still has it" in left["said"]
    (alpha,) = (
        one
        for one in asked(shop, "view", "--provenance", cwd=taken.project)["archives"]
        if one["name"] == "alpha"
    )
    assert alpha["word"] == "doubted"
    for path in offered:
        path.with_name(f"{path.name}.away").rename(path)
    if by == "up":
        assert shop.up(taken.project)["fetched"] == 1
    else:
        said = shop.pkgview(*verify, "--repair", cwd=shop.home)
        assert "It is dropped" in said.stderr
        assert f"{taken.project} has a view that was made by such a word: made" in said.stderr
    assert taken.who(shop) == "honest\n"
    assert asked(shop, *verify) == {
        "path": str(shop.places.store), "records": 0, "doubted": [], "projects": [],
    }  # fmt: skip
    shown = asked(shop, "view", "--provenance", cwd=taken.project)["archives"]
    assert {one["word"] for one in shown} == {"made", "derived"}


def test_a_store_that_is_removed_and_words_that_are_damaged(shop: Site, taken: Taken) -> None:
    verify = ("store", "verify", "--signatures")

    def said() -> str:
        (doubt,) = asked(shop, *verify, code=1)["doubted"]
        return str(doubt["said"])

    config.remove_store(shop.places, STORE)
    assert f"you have listed no key for {STORE}" in said()
    config.add_store(shop.places, RemoteStore(url=STORE, keys=(taken.keys["other"].line,)))
    assert "which you have not listed" in said()
    # A time that is over says nothing of what was taken within it.
    within = f'valid-before="{time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + 1))}Z"'
    line = f"{within} {taken.keys['ed25519'].line}"
    config.add_store(shop.places, RemoteStore(url=STORE, keys=(line,)))
    time.sleep(2)
    assert asked(shop, *verify)["doubted"] == []
    (path,) = (shop.places.store / "statements").iterdir()
    path.unlink()
    assert said() == "the word that it was taken by is gone, or damaged"
    shown = shop.pkgview("view", "--provenance", cwd=taken.project).stdout
    assert "a word that is lost, unsigned" in shown
    both = shop.pkgview(*verify, "--all", cwd=shop.home, code=2).stderr
    assert "--signatures looks at your own store" in both
