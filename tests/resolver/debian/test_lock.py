from __future__ import annotations

import json

import pytest

from resolver.debian.apt import _packages, checked
from resolver.debian.lock import Lock
from resolver.errors import PkgviewError

DIGEST = "13c419c0daec7733adaa92efeb24b6cf52c9e7722e2cfe81f2b1a9464e4fc94c"
URIS = (
    "'http://deb.debian.org/debian/pool/main/a/ann/libann0_1.1.2%2bdoc-9%2bb1_amd64.deb' "
    f"libann0_1.1.2+doc-9+b1_amd64.deb 25092 SHA256:{DIGEST}\n"
    f"'file:/srv/x_1%3a2_all.deb' x_1%3a2_all.deb 7 SHA256:{DIGEST}\n"
)
PLAN = (
    "Inst libann0 (1.1.2+doc-9+b1 Debian:12.15/oldstable, Debian-Security:12 [amd64]) []\n"
    "Inst x [1:1] (1:2 localhost [all])\nConf x (1:2 localhost [all])\n"
)


def test_what_apt_says_becomes_a_lock() -> None:
    first, second = packages = tuple(_packages(URIS, PLAN))
    assert (first.name, first.version, first.architecture) == ("libann0", "1.1.2+doc-9+b1", "amd64")
    assert (first.size, first.sha256) == (25092, DIGEST)
    assert first.origin == "Debian:12.15/oldstable, Debian-Security:12"
    assert (second.version, second.url) == ("1:2", "file:///srv/x_1%3a2_all.deb")
    lock = Lock(asked=("x",), packages=packages)
    assert Lock.from_bytes(lock.to_bytes()) == lock


def test_what_is_no_lock() -> None:
    good = json.loads(Lock(asked=("x",), packages=tuple(_packages(URIS, PLAN))).to_bytes())
    for key, value in {"sha256": "0", "filename": "../x.deb", "size": "1", "more": 1}.items():
        bad = {**good, "packages": [{**good["packages"][0], key: value}]}
        with pytest.raises(ValueError, match=r"no package|unexpected keyword"):
            Lock.from_bytes(json.dumps(bad).encode())
    for data in (b"", b"[]", b"{}", b'{"format": 2}'):
        with pytest.raises(ValueError, match=r"Expecting|indices|format"):
            Lock.from_bytes(data)


def test_a_plan_that_is_another_one() -> None:
    with pytest.raises(PkgviewError, match="does not say that it would be used"):
        list(_packages(URIS, ""))
    cdrom = URIS.replace("http://deb.debian.org", "cdrom:[x]")
    with pytest.raises(PkgviewError, match="would come from cdrom"):
        list(_packages(cdrom, PLAN))


def test_an_empty_plan() -> None:
    assert not list(_packages("", ""))


@pytest.mark.parametrize("name", ["-o", "x-", "", "X", "x y", "../x.deb", "./x.deb", "x=", "a\n"])
def test_what_names_no_package(name: str) -> None:
    with pytest.raises(PkgviewError, match="names no Debian package"):
        checked([name])


def test_names() -> None:
    names = ("g++", "libc6:i386", "jq/bookworm-backports", "jq=1:2.0~rc1+b2", "7zip")
    assert set(checked([*names, "g++"])) == set(names)
