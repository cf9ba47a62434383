from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from resolver.atomic import ABANDONED_AFTER
from resolver.errors import PkgviewError
from tests.unionfs.store.test_local import KEY, META, tree
from unionfs.store.local import Store
from unionfs.store.sources import IMPORTED
from unionfs.store.vouched import Word

if TYPE_CHECKING:
    from resolver.places import Places

WORD = Word(said=b'{"a":"\xc3\xa9"}', signatures=("sig",), store="oci://x/y", signer="al", key="K")
OTHER = "sha256-" + "cd" * 32


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


def test_a_word_is_kept_beside_what_it_is_for(store: Store) -> None:
    assert list(store.vouched.all()) == []
    name = store.add(tree(), META)
    store.vouch({KEY: name, OTHER: name}, WORD)
    store.vouch({}, WORD)
    assert store.archive_of(KEY) == name
    assert store.known_sources() == {KEY: name, OTHER: name}
    assert list(store.vouched.all()) == [(KEY, name, WORD), (OTHER, name, WORD)]
    assert len(os.listdir(store.root / "statements")) == 1
    assert str(WORD) == "al (K)"


def test_what_is_known_stays(store: Store) -> None:
    """Nobody's word changes what was made or taken before."""
    name, other = store.add(tree(), META), store.add(tree(1), META)
    store.record_source(KEY, name)
    store.record_source(OTHER, name, IMPORTED)
    store.vouch({KEY: other, OTHER: other}, WORD)
    assert (store.archive_of(KEY), store.archive_of(OTHER)) == (name, name)
    assert list(store.vouched.all()) == []


def test_what_is_made_here_counts_more(store: Store) -> None:
    name, other = store.add(tree(), META), store.add(tree(1), META)
    store.vouch({KEY: other}, WORD)
    store.record_source(KEY, name)
    assert store.archive_of(KEY) == name
    store.forget_source(KEY)
    assert store.archive_of(KEY) is None


def test_what_is_no_key_and_no_archive_is_refused(store: Store) -> None:
    name = store.add(tree(), META)
    with pytest.raises(PkgviewError, match="cannot name the source"):
        store.vouch({"../x": name}, WORD)
    with pytest.raises(PkgviewError, match="is no archive's name"):
        store.vouch({KEY: "../x"}, WORD)
    assert list(store.vouched.all()) == []


def test_a_damaged_word_is_none(store: Store) -> None:
    name = store.add(tree(), META)
    store.vouch({KEY: name}, WORD)
    (path,) = (store.root / "statements").iterdir()
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"oci:", b"ocj:"))
    assert list(store.vouched.all()) == [(KEY, name, None)]
    store.vouched.forget(KEY)
    store.vouch({KEY: name}, WORD)
    assert list(store.vouched.all()) == [(KEY, name, WORD)]


def test_words_go_with_what_they_are_for(store: Store) -> None:
    name, other = store.add(tree(), META), store.add(tree(1), META)
    store.vouch({KEY: name, OTHER: other}, WORD)
    store.remove(name)
    store.forget_sources()
    assert [one.key for one in store.vouched.all()] == [OTHER]
    assert os.listdir(store.root / "vouched-by") == [OTHER]
    store.vouched.forget(OTHER)
    store.forget_sources()
    (path,) = (store.root / "statements").iterdir()  # it may be on its way
    before = time.time() - ABANDONED_AFTER - 60
    os.utime(path, (before, before))
    store.forget_sources()
    assert os.listdir(store.root / "statements") == []
