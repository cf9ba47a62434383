"""npm's locks as hostile input, and the tree that they describe."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.node.hidden import hidden_lock
from resolver.node.lock import OldLockError, read
from resolver.node.machine import Machine
from resolver.node.npmrc import settings
from resolver.node.selection import select
from resolver.node.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.node.lock import Lock

PATH = Path("/p/package-lock.json")
MACHINE = Machine(os="linux", cpu="x64", libc="glibc", node="20.1.0")
SHA512 = "sha512-" + "A" * 86 + "=="


def lock_of(packages: Mapping[str, Any], **fields: Any) -> Lock:  # noqa: ANN401 - JSON
    return read(PATH, json.dumps({"lockfileVersion": 3, "packages": packages, **fields}).encode())


def entry(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"version": "1.0.0", "resolved": "https://r.test/a.tgz", "integrity": SHA512, **fields}


@pytest.mark.parametrize(
    "place",
    [
        "node_modules/..", "node_modules/.", "node_modules/", "node_modules/a/..",
        "node_modules/../../etc", "node_modules/.bin", "node_modules/.bin/x",
        "node_modules/.package-lock.json", "node_modules/.cache", "node_modules/a//b",
        "node_modules/@a", "node_modules/@a/.b", "node_modules/@a/b/c", "node_modules/a\0b",
        "node_modules/a\\b", "node_modules/a\nb", "node_modules/node_modules",
        "node_modules/" + "a" * 215, "/node_modules/a", "./node_modules/a",
        "packages/../../x", "/etc", "a/./b", "a//b", "a/node_modules", "node_modules",
        "node_modules/a/b", "node_modules/a%2fb", "node_modules/a b", "packages/..",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(PkgviewError, match=r"is no place|lies below what is not there"):
        lock_of({"": {}, place: entry()})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"version": 1}, ".version is no text"),
        ({"resolved": ["x"]}, ".resolved is no text"),
        ({"resolved": "https://x\n/"}, ".resolved is no text"),
        ({"integrity": "sha512-AAAA"}, "has another length than sha512"),
        ({"integrity": "sha512-!!"}, "is no base64"),
        ({"integrity": "md4-AAAA"}, "has no hash that is known"),
        ({"dependencies": {"a": 1}}, ".dependencies names no ranges"),
        ({"dependencies": "a"}, ".dependencies names no ranges"),
        ({"optional": "yes"}, ".optional is neither true nor false"),
        ({"link": 1}, ".link is neither true nor false"),
        ({"os": {"x": 1}}, ".os is no list of texts"),
        ({"name": "../x"}, ".name '../x' is no package's name"),
        ({"link": True, "resolved": "nowhere"}, "leads to what is not there"),
        ({"version": f"{'9' * 32}.0.0"}, f".version '{'9' * 32}.0.0' is no version"),
    ],
)
def test_what_is_no_entry_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(PkgviewError, match=r"package-lock.json is refused") as caught:
        lock_of({"": {}, "node_modules/a": entry(**fields)})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is no JSON"),
        (b"[]", "is no lock of npm's"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"<<<<<<< HEAD\n{}", "it has conflicts of a merge"),
        (b'{"lockfileVersion": 4, "packages": {}}', "lockfileVersion 4; 2 and 3 are read"),
        (b'{"lockfileVersion": 3, "packages": []}', "packages is no object"),
        (b'{"lockfileVersion": 3, "packages": {"node_modules/a": 3}}', "is no object"),
        (b'{"lockfileVersion": %s}' % (b"9" * 5000), "is no JSON: a number has too many digits"),
    ],
)
def test_what_is_no_lock_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(PkgviewError) as caught:
        read(PATH, text)
    assert said in str(caught.value)


def test_a_long_place_is_named_on_a_line() -> None:
    with pytest.raises(PkgviewError) as caught:
        lock_of({"": {}, "/".join(["node_modules/a"] * 400 + [".."]): entry()})
    assert len(str(caught.value)) < 500


def test_an_old_one_is_known_as_such() -> None:
    for text in (b'{"lockfileVersion": 1, "dependencies": {}}', b'{"dependencies": {}}', b"{}"):
        with pytest.raises(OldLockError):
            read(PATH, text)


def test_below_a_link_there_is_nothing() -> None:
    with pytest.raises(PkgviewError, match="lies below a link"):
        lock_of({
            "": {}, "lib": {}, "node_modules/a": {"link": True, "resolved": "lib"},
            "node_modules/a/node_modules/b": entry(),
        })  # fmt: skip


def test_commands_stay_inside() -> None:
    bins = {"../../x": "../../../etc/passwd", "a:b\\c": "./x/../y.js", "": "x", "d": "", "e": 1}
    lock = lock_of({"": {}, "node_modules/@s/a": entry(bin=bins)})
    assert lock.entries["node_modules/@s/a"].bins == {"x": "etc/passwd", "c": "y.js"}
    lock = lock_of({"": {}, "node_modules/@s/a": entry(bin="./cli.js")})
    assert lock.entries["node_modules/@s/a"].bins == {"a": "cli.js"}


def test_of_several_hashes_the_strongest_counts() -> None:
    weak = "sha1-" + "A" * 27 + "="
    lock = lock_of({"": {}, "node_modules/a": entry(integrity=f"{weak} {SHA512}?x {SHA512}")})
    assert lock.entries["node_modules/a"].integrity == (("sha512", "00" * 64),)


def test_what_is_optional_goes_with_what_only_it_needs() -> None:
    elsewhere = {"os": ["!linux"], "optional": True}
    lock = lock_of({
        "": {"optionalDependencies": {"a": "1", "w": "1"}, "dependencies": {"k": "1"}},
        "node_modules/a": entry(optional=True, dependencies={"b": "1", "k": "1"}),
        "node_modules/b": entry(**elsewhere, dependencies={"c": "1"}),
        "node_modules/c": entry(optional=True),
        "node_modules/a/node_modules/d": entry(optional=True),
        "node_modules/k": entry(),
        "node_modules/w": entry(optional=True, optionalDependencies={"x": "1"}),
        "node_modules/x": entry(**elsewhere),
    })  # fmt: skip
    kept = Tree(lock).kept(MACHINE, ())
    # `a` needs `b`, which is not for here: so `a` goes, and all that only they reach.
    assert set(kept) == {"node_modules/k", "node_modules/w"}
    # What has to be there is an error.
    lock = lock_of({"": {"dependencies": {"b": "1"}}, "node_modules/b": entry(cpu="arm64")})
    with pytest.raises(PkgviewError, match=r"not for this machine \(linux, x64, glibc\): b 1.0.0"):
        Tree(lock).kept(MACHINE, ())


def test_names_are_looked_up_as_node_does() -> None:
    lock = lock_of({
        "": {}, "node_modules/a": entry(), "node_modules/b": entry(),
        "node_modules/b/node_modules/a": entry(), "packages/m": {"version": "1.0.0"},
        "packages/m/node_modules/b": entry(), "../out": {"version": "1.0.0"},
        "node_modules/m": {"link": True, "resolved": "packages/m"},
    })  # fmt: skip
    tree = Tree(lock)
    assert tree.found("node_modules/b", "a") == "node_modules/b/node_modules/a"
    assert tree.found("node_modules/b/node_modules/a", "b") == "node_modules/b"
    assert tree.found("packages/m", "b") == "packages/m/node_modules/b"
    assert tree.found("packages/m/node_modules/b", "a") == "node_modules/a"
    assert tree.found("../out", "a") is None
    assert tree.found("", "packages") is None


def test_where_packages_come_from(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text(
        "registry=https://mirror.test/npm/\n@s:registry=https://s.test"
    )
    own = settings(tmp_path, {"HOME": str(tmp_path / "home")})
    lock = lock_of({
        "": {},
        "node_modules/a": entry(resolved="https://registry.npmjs.org/a/-/a-1.0.0.tgz"),
        "node_modules/b": entry(resolved="https://other.test/b.tgz"),
        "node_modules/@s/c": {"version": "2.0.0", "integrity": SHA512},
        "node_modules/d": {"version": "1.0.0", "resolved": "git+ssh://git@h/x.git#" + "a" * 40},
        "node_modules/e": entry(integrity="sha1-" + "A" * 27 + "="),
        "node_modules/f": entry(inBundle=True),
    })  # fmt: skip
    chosen = {one.entry.name: one for one in select(lock, MACHINE, (), own).choices}
    urls = {name: one.download.url for name, one in chosen.items() if one.download}
    assert urls == {
        "a": "https://mirror.test/npm/a/-/a-1.0.0.tgz",
        "b": "https://other.test/b.tgz",
        "@s/c": "https://s.test/@s/c/-/c-2.0.0.tgz",
        "e": "https://r.test/a.tgz",
    }
    assert chosen["d"].packed.startswith("git+ssh://")
    download = chosen["e"].download
    assert download is not None
    assert download.stated == (("sha1", "00" * 20),)
    for resolved in ("", "ftp://x/a.tgz", "git+https://x/y", "git+https://x/y#main", "x"):
        broken = lock_of({"": {}, "node_modules/a": {"resolved": resolved, "version": "1.0.0"}})
        with pytest.raises(PkgviewError, match=r"does not say where a 1\.0\.0"):
            select(broken, MACHINE, (), own)


@pytest.mark.timeout(20)
def test_a_hostile_lock_takes_no_longer_than_it_is() -> None:
    """Each of these took minutes, or ended in a traceback."""
    many = [f"u{number}" for number in range(4000)]
    chain = [f"p{number}" for number in range(4001)]
    lock = lock_of({
        "": {"optionalDependencies": dict.fromkeys(many, "*"), "dependencies": {"p0": "*"}},
        **{f"node_modules/{name}": entry(optional=True, os=["win32"], dependencies={"p0": "*"})
           for name in many},
        **{f"node_modules/{name}": entry(dependencies={after: "*"})
           for name, after in pairwise(chain)},
    })  # fmt: skip
    assert len(Tree(lock).kept(MACHINE, ())) == 4000
    for engine in (" " * 200_000 + ">", ">" + "v" * 200_000 + " - ", "1" * 200_000, "a-" * 99_999):
        lock = lock_of({"": {}, "node_modules/a": entry(engines={"node": engine})})
        assert Tree(lock).kept(MACHINE, ())
        list(Tree(lock).problems(peers=True))
    with pytest.raises(PkgviewError, match="too long"):
        lock_of({"": {}, "node_modules/a" + "/node_modules/a" * 300: entry()})
    nested: list[Any] = []
    for _ in range(700):
        nested = [nested]
    lock = lock_of({"": {}, "node_modules/a": entry(funding=nested)})
    with pytest.raises(PkgviewError, match="lists within lists"):
        hidden_lock(lock, lock.entries)
