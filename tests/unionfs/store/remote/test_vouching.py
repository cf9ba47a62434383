"""What counts by whose word: every threat of docs/security.md that a registry can pose."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from resolver import config
from resolver.config import RemoteStore
from resolver.errors import PkgviewError
from resolver.manifest import LayerSpec, Manifest
from tests.unionfs.store.remote.conftest import Statement
from unionfs.store.remote import believing, seen, vouching
from unionfs.store.remote.signers import listed
from unionfs.store.remote.statement import Derived, StatementError, View
from unionfs.store.remote.vouching import NotBelievedError, Trust

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places
    from tests.unionfs.store.remote.conftest import Keys

STORE = "oci://registry.example.org/team/env"
NOW = 1_796_055_715.0
KEY = "sha256-" + "ef" * 32
OTHER_KEY = "sha256-" + "01" * 32
SIX = f"six-1.17.0.{'ab' * 32}.tar.zst"
WRONG = f"six-1.17.0.{'ac' * 32}.tar.zst"
SKELETON = f"view.{'cd' * 32}.tar.zst"
COMPILED = f"six.pyc.{'cf' * 32}.tar.zst"
MADE = f"made-{'12' * 32}"
BYTECODE = "bytecode-six"

SAID = Derived(source=KEY, archive=SIX)


def tagged(
    serial: int = 7, *, name: str = "latest", store: str = STORE, version: str = "1"
) -> View:
    grafts = (("", ""),)
    layers = (
        LayerSpec(archive=SKELETON, grafts=grafts),
        LayerSpec(archive=SIX, grafts=grafts, name="six", version=version, bytecode=COMPILED),
    )
    return View(
        manifest=Manifest(kind="python", target={}, layers=layers),
        sources={KEY: SIX, MADE: SKELETON, BYTECODE: COMPILED},
        made=int(NOW) - 60,
        serial=serial,
        name=name,
        store=store,
    )


@pytest.fixture
def trust(keys: Keys) -> Trust:
    return Trust(store=STORE, signers=(listed(keys["ed25519"].line),))


def test_a_listed_signature_counts(keys: Keys, trust: Trust) -> None:
    statement = keys["ed25519"].statement(SAID.to_bytes())
    found = vouching.derived([statement], KEY, trust, NOW)
    assert found is not None
    assert found.sources == {KEY: SIX}
    assert (found.word.signer, found.word.key) == (
        "ed25519@example.org",
        trust.signers[0].key.fingerprint,
    )
    assert (found.word.said, found.word.signatures) == (statement.said, statement.signatures)
    assert (found.word.store, found.word.taken) == (STORE, int(NOW))
    # One of several signatures is enough, whatever the others are.
    other = keys["other"].sign(statement.said)
    mixed = Statement(statement.said, ("junk", other, *statement.signatures))
    assert vouching.derived([mixed], KEY, trust, NOW) is not None
    assert vouching.derived([], KEY, trust, NOW) is None


def test_the_registrys_operator_signs_nothing(keys: Keys, trust: Trust) -> None:
    """Whoever can write to the registry, or sits before it, and has no key."""
    good = keys["ed25519"].statement(SAID.to_bytes())
    forged = replace(SAID, archive=WRONG).to_bytes()
    for statement, why in [
        (Statement(forged), "nobody has signed it"),
        (Statement(forged, good.signatures), "is not of what it stands beside"),
        (Statement(forged, ("junk",)), "its signature is no SSH signature"),
        (keys["other"].statement(forged), "which you have not listed"),
        (Statement(forged, (keys["ed25519"].sign(forged, namespace="git"),)), "is for 'git'"),
    ]:
        with pytest.raises(NotBelievedError, match=why):
            vouching.derived([statement], KEY, trust, NOW)
        # And it does not keep what counts from counting.
        found = vouching.derived([statement, good], KEY, trust, NOW)
        assert found is not None
        assert found.sources == {KEY: SIX}


def test_the_remedy_names_the_key_and_where_to_list_it(keys: Keys, trust: Trust) -> None:
    with pytest.raises(NotBelievedError) as raised:
        vouching.derived([keys["other"].statement(SAID.to_bytes())], KEY, trust, NOW)
    key = " ".join(keys["other"].line.split()[:2])
    assert f"pkgview store add {STORE} --key '{key}'" in raised.value.remedy
    with pytest.raises(NotBelievedError, match="you have listed no key") as raised:
        vouching.derived([Statement(SAID.to_bytes())], KEY, Trust(store=STORE), NOW)
    assert "--trust" in raised.value.remedy


def test_a_word_is_for_what_was_asked_for(keys: Keys, trust: Trust) -> None:
    """Mix and match: right signatures, of something else."""
    sign = keys["ed25519"].statement
    for statement in (sign(SAID.to_bytes()), sign(tagged().to_bytes())):
        with pytest.raises(NotBelievedError, match="with what is said of something else"):
            vouching.derived([statement], OTHER_KEY, trust, NOW)
    for statement, reference, why in [
        (sign(tagged().to_bytes()), "stable", "answers for 'stable' with latest"),
        (sign(tagged(name="").to_bytes()), "latest", "answers for 'latest' with"),
        (sign(tagged().to_bytes()), "0" * 32, "with latest"),
        (sign(SAID.to_bytes()), "latest", "with no view"),
        (
            sign(tagged(store="oci://registry.example.org/other").to_bytes()),
            "latest",
            "was said of",
        ),
    ]:
        with pytest.raises(NotBelievedError, match=why):
            vouching.view(statement, reference, trust, NOW)
    # By its id a view is the same everywhere, and a mirror's user says what it is a mirror of.
    elsewhere = tagged(store="oci://registry.example.org/other")
    assert vouching.view(sign(elsewhere.to_bytes()), elsewhere.id, trust, NOW).view == elsewhere
    mirror = replace(trust, known_as="oci://registry.example.org/other/")
    assert vouching.view(sign(elsewhere.to_bytes()), "latest", mirror, NOW).view == elsewhere
    anywhere = tagged(store="")
    assert vouching.view(sign(anywhere.to_bytes()), "latest", trust, NOW).view == anywhere


def test_two_believed_words_that_differ_cancel_each_other(keys: Keys, trust: Trust) -> None:
    both = [
        keys["ed25519"].statement(replace(SAID, archive=one).to_bytes()) for one in (SIX, WRONG)
    ]
    with pytest.raises(NotBelievedError, match="two words for") as raised:
        vouching.derived(both, KEY, trust, NOW)
    assert SIX in raised.value.what
    assert WRONG in raised.value.what
    # Many are not looked at: nobody is kept busy.
    many = [Statement(b"{}")] * 10_000
    with pytest.raises(NotBelievedError, match="nobody has signed it"):
        vouching.derived([*many, both[0]], KEY, trust, NOW)


def test_what_nobody_signed_is_not_understood(
    trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vouching, "read", lambda said: pytest.fail(f"{said} was read"))
    for statement in (Statement(SAID.to_bytes()), Statement(b"{}", ("junk",))):
        with pytest.raises(NotBelievedError):
            vouching.derived([statement], KEY, trust, NOW)
        with pytest.raises(NotBelievedError):
            vouching.view(statement, "latest", trust, NOW)


def test_a_stolen_key_counts_no_more_once_it_is_revoked(keys: Keys, trust: Trust) -> None:
    statement = keys["ed25519"].statement(SAID.to_bytes())
    revoked = replace(trust, revoked=frozenset({trust.signers[0].key.fingerprint}))
    with pytest.raises(NotBelievedError, match="which is revoked"):
        vouching.derived([statement], KEY, revoked, NOW)
    again = Statement(statement.said, (*statement.signatures, keys["other"].sign(statement.said)))
    two = replace(revoked, signers=(*trust.signers, listed(keys["other"].line)))
    found = vouching.derived([again], KEY, two, NOW)
    assert found is not None
    assert found.word.signer == "other@example.org"


def test_a_key_counts_within_its_time_whatever_the_statement_says(keys: Keys) -> None:
    line = f'valid-after="20260101Z",valid-before="20261201Z" {keys["ed25519"].line}'
    trust = Trust(store=STORE, signers=(listed(line),))
    statement = keys["ed25519"].statement(tagged().to_bytes())
    assert vouching.view(statement, "latest", trust, NOW).view.made < NOW
    with pytest.raises(NotBelievedError, match="counts until 2026-12-01T00:00:00Z"):
        vouching.view(statement, "latest", trust, NOW + 86400 * 2)
    with pytest.raises(NotBelievedError, match="counts from 2026-01-01T00:00:00Z"):
        vouching.view(statement, "latest", trust, NOW - 86400 * 366)
    longer = replace(trust, signers=(*trust.signers, listed(keys["ed25519"].line)))
    assert vouching.view(statement, "latest", longer, NOW + 86400 * 2)


def test_a_store_that_is_believed_as_a_whole(keys: Keys) -> None:
    trust = Trust(store=STORE, whole=True)
    found = vouching.derived([Statement(SAID.to_bytes())], KEY, trust, NOW)
    assert found is not None
    assert (found.word.signer, str(found.word)) == ("", f"{STORE}, unsigned")
    view = vouching.view(Statement(tagged().to_bytes()), "latest", trust, NOW)
    assert view.sources == {KEY: SIX}
    assert view.unproved == tuple(sorted((SKELETON, COMPILED)))
    assert vouching.remembered(view) is None
    # What no package file proves needs a listed key even then.
    for key, archive in ((MADE, SKELETON), (BYTECODE, COMPILED)):
        said = Derived(source=key, archive=archive).to_bytes()
        with pytest.raises(NotBelievedError, match="listed no key"):
            vouching.derived([Statement(said)], key, trust, NOW)
        listing = Trust(store=STORE, signers=(listed(keys["ed25519"].line),))
        assert vouching.derived([keys["ed25519"].statement(said)], key, listing, NOW) is not None


def test_a_signed_view_vouches_for_all_of_it(keys: Keys, trust: Trust) -> None:
    found = vouching.view(keys["ed25519"].statement(tagged().to_bytes()), "latest", trust, NOW)
    assert found.sources == {KEY: SIX, MADE: SKELETON, BYTECODE: COMPILED}
    assert found.unproved == ()


def test_a_hostile_manifest(keys: Keys, trust: Trust) -> None:
    """Even a listed key's: its form is looked at before anything of it is used."""
    fields = json.loads(tagged().to_bytes())
    fields["manifest"] = fields["manifest"].replace(SIX, "../../../etc/passwd")
    said = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(StatementError, match="is damaged"):
        vouching.view(keys["ed25519"].statement(said), "latest", trust, NOW)


def test_an_older_view_under_the_same_tag(
    keys: Keys, trust: Trust, isolated_places: Places
) -> None:
    """Rollback: everything is signed, and was true once."""

    def admit(
        view: View, *, by: str = "ed25519", trust: Trust = trust, older: bool = False
    ) -> None:
        found = vouching.view(keys[by].statement(view.to_bytes()), "latest", trust, NOW)
        seen.admit(isolated_places, found, trust, allow_older=older)

    old, new = tagged(7, version="1"), tagged(8, version="2")
    admit(old)
    admit(new)
    admit(new)
    with pytest.raises(NotBelievedError, match=r"an older view than.*serial 7.*serial 8") as raised:
        admit(old)
    assert "--allow-older" in raised.value.remedy
    with pytest.raises(NotBelievedError, match="another view of the same age as"):
        admit(tagged(8, version="3"))
    # Of another tag and another store nothing is said by that; a mirror is the same store.
    beside = replace(trust, store="oci://registry.example.org/other")
    admit(tagged(1, store=""), trust=beside)
    mirror = replace(trust, store="https://mirror.example.org/", known_as=STORE)
    with pytest.raises(NotBelievedError, match="an older view"):
        admit(old, trust=mirror)
    # Who asks for the old one gets it, from then on.
    admit(old, older=True)
    admit(old)
    admit(new)
    # A thief's last word, by a key that is revoked, stands in nobody's way.
    both = replace(trust, signers=(*trust.signers, listed(keys["other"].line)))
    admit(tagged(1 << 52, version="evil"), by="other", trust=both)
    assert seen.latest(isolated_places, both, "latest") is not None
    with pytest.raises(NotBelievedError, match="an older view"):
        admit(new, trust=both)
    thief = frozenset({both.signers[1].key.fingerprint})
    assert seen.latest(isolated_places, replace(both, revoked=thief), "latest") is None
    admit(new, trust=replace(both, revoked=thief))
    latest = seen.latest(isolated_places, trust, "latest")
    assert latest is not None
    assert (latest.serial, latest.view) == (8, new.id)


def test_a_damaged_memory_is_none(keys: Keys, trust: Trust, isolated_places: Places) -> None:
    found = vouching.view(keys["ed25519"].statement(tagged().to_bytes()), "latest", trust, NOW)
    seen.admit(isolated_places, found, trust)
    (path,) = (isolated_places.state / "seen").iterdir()
    for text in ("", "[" * 9999, "{}", '{"view": 1, "serial": "x", "made": 1, "key": ""}'):
        path.write_text(text)
        assert seen.latest(isolated_places, trust, "latest") is None
        seen.admit(isolated_places, found, trust)
        assert seen.latest(isolated_places, trust, "latest") is not None


# -- whom the settings say -------------------------------------------------------------------------


def test_whom_the_settings_say(keys: Keys, isolated_places: Places, tmp_path: Path) -> None:
    places = isolated_places
    assert believing.trust_in(places, STORE) == Trust(store=STORE)
    signers = tmp_path / "signers"
    signers.write_text(f"bob@example.org {keys['rsa'].line}\n")
    remote = RemoteStore(
        url=STORE, keys=(keys["ed25519"].line,), signers=str(signers), known_as="oci://x/y"
    )
    config.add_store(places, remote)
    assert config.load(places).remotes == (remote,)
    found = believing.trust_in(places, STORE + "/")
    assert [one.name for one in found.signers] == ["ed25519@example.org", "bob@example.org"]
    assert (found.identity, found.whole) == ("oci://x/y", False)
    config.add_store(places, RemoteStore(url=STORE, trust=True))
    assert believing.trust_in(places, STORE).whole
    config.remove_store(places, STORE)
    assert not config.load(places).remotes


def test_whom_a_command_says(keys: Keys, isolated_places: Places) -> None:
    places = isolated_places
    file = keys["ed25519"].path.with_suffix(".pub")
    config.add_store(places, RemoteStore(url=STORE, keys=(keys["rsa"].line,)))
    for key in (str(file), keys["ed25519"].line):
        assert believing.key_line(key) == keys["ed25519"].line
        found = believing.trust_by_command(places, STORE, [key])
        assert [one.name for one in found.signers] == ["ed25519@example.org"]
        assert found.by_command
    assert believing.trust_by_command(places, STORE, whole=True).whole
    assert not believing.trust_by_command(places, STORE).by_command
    for key, why in [("/nosuch", "cannot be used"), ("ssh-ed25519 x", "has a key"), ("", "cannot")]:
        with pytest.raises(PkgviewError, match=why):
            believing.trust_by_command(places, STORE, [key])
    with pytest.raises(PkgviewError, match="cannot be used"):
        believing.key_line(str(keys["ed25519"].path))  # the private one


def test_settings_that_cannot_be_believed(
    keys: Keys, isolated_places: Places, tmp_path: Path
) -> None:
    places = isolated_places
    signers = tmp_path / "signers"
    config.add_store(places, RemoteStore(url=STORE, signers=str(signers)))
    with pytest.raises(PkgviewError, match=f"{signers} cannot be used: .*cannot be examined"):
        believing.trust_in(places, STORE)
    signers.write_text("bob@example.org nonsense\n")
    with pytest.raises(PkgviewError, match=f"{signers} cannot be used: line 1"):
        believing.trust_in(places, STORE)
    signers.write_text(f"bob@example.org {keys['rsa'].line}\n")
    signers.chmod(0o666)
    with pytest.raises(PkgviewError, match=f"everybody may write to {signers}"):
        believing.trust_in(places, STORE)
    signers.chmod(0o600)
    revoked = believing.revoked_path(places)
    revoked.write_text(keys["rsa"].line)
    assert believing.trust_in(places, STORE).revoked == {
        believing.trust_in(places, STORE).signers[0].key.fingerprint
    }
    revoked.write_bytes(b"SSHKRL\n\0\0\0\0\x01")
    with pytest.raises(PkgviewError, match=f"{revoked} cannot be used: line 1") as raised:
        believing.trust_in(places, "oci://another/one")
    assert "until it is read none does" in raised.value.remedy


def test_what_a_remote_store_may_say_in_the_settings(isolated_places: Places) -> None:
    isolated_places.config.mkdir(parents=True)
    for text, why in [
        ("url = 1", "its url"),
        ('url = "registry"', "its url"),
        ('url = "oci://x/y"\npath = "/x"', "a url, or a path"),
        ('url = "oci://x/y"\nkeys = "ssh-ed25519"', "a list of public keys"),
        ('url = "oci://x/y"\nkeys = [1]', "a list of public keys"),
        ('url = "oci://x/y"\nsigners = "relative"', "absolute"),
        ('url = "oci://x/y"\nknown-as = "z"', "an address"),
        ('url = "oci://x/y"\ntrust = "yes"', "true or false"),
        ('url = "oci://x/y"\ntrust = true\nkeys = ["k"]', "not both"),
    ]:
        config.path(isolated_places).write_text(f"[[store]]\n{text}\n")
        with pytest.raises(PkgviewError, match=why):
            config.load(isolated_places)
