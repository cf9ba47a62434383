"""Addresses of remote stores, and those that the user has named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver import config
from resolver.errors import PkgviewError
from unionfs.store.remote.addresses import address, is_remote, tagged
from unionfs.store.remote.stores import beside, configured, transport

if TYPE_CHECKING:
    from resolver.places import Places


@pytest.mark.parametrize(
    ("text", "url", "tag"),
    [
        ("oci://Host.example:5000/team/env:main", "oci://host.example:5000/team/env", "main"),
        ("oci://[::1]:5000/x", "oci://[::1]:5000/x", ""),
        ("OCI://docker.io/team/env", "oci://docker.io/team/env", ""),
        ("https://example.org", "https://example.org/", ""),
        ("s3://my.bucket-1/a/b", "s3://my.bucket-1/a/b/", ""),
        ("s3://bucket", "s3://bucket/", ""),
        ("https://example.org//a/b/", "https://example.org/a/b/", ""),
    ],
)
def test_addresses(text: str, url: str, tag: str) -> None:
    found = address(text)
    assert (found.url, found.tag) == (url, tag)
    assert address(found.url).url == found.url


@pytest.mark.parametrize(
    ("text", "url", "tag"),
    [
        ("oci://host/env:main", "oci://host/env", "main"),
        ("https://host:80/env:main", "https://host:80/env/", "main"),
        ("https://host:80/env", "https://host:80/env/", ""),
        ("s3://bucket/env:main", "s3://bucket/env/", "main"),
        ("s3://bucket/env/:main", "s3://bucket/env/", "main"),
        ("s3://bucket/:main", "s3://bucket/", "main"),
    ],
)
def test_addresses_with_a_tag(text: str, url: str, tag: str) -> None:
    found = tagged(text)
    assert (found.url, found.tag) == (url, tag)


@pytest.mark.parametrize(
    "text",
    [
        "oci://host", "oci://host/", "oci:///x", "oci://host/Team", "oci://host/a//b",
        "oci://host/x:", "oci://host/x:-", "oci://host/x:archive-1", "oci://u:p@host/x",
        "oci://ho st/x", "oci://host/x?y", "oci://host:port/x", "ftp://host/x", "s3://bucket:1/x",
        "s3://b/x", "s3://[::1]/x", "s3://bucket/../x", "s3:///x",
        "https://host/a/../b", "https://host/x#y", "https://hö/x", "https://-x/", "https://",
        "oci://host/x\n", "https://host/" + "x" * 2000, "host/x", "",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(PkgviewError) as caught:
        address(text)
    assert "u:p" not in str(caught.value)


def test_a_path_is_no_address() -> None:
    assert is_remote("oci://host/x")
    assert not is_remote("/mnt/team")
    assert not is_remote("C:/x")


def test_plain_http_is_for_this_machine_and_who_says_so() -> None:
    for host in ("localhost", "127.0.0.1:80", "[::1]", "a.localhost"):
        transport(address(f"http://{host}/x"))
    for host in ("example.org", "192.168.0.1", "localhost.example.org", "127.0.0.1.example.org"):
        with pytest.raises(PkgviewError, match="without TLS"):
            transport(address(f"http://{host}/x"))
    transport(address("http://example.org/x"), insecure=True)


def test_those_of_the_settings_in_their_order(isolated_places: Places) -> None:
    urls = ["oci://a/x", "https://b/", "oci://a/y"]
    for url in urls:
        config.add_store(isolated_places, config.RemoteStore(url=url))
    assert [one.url for one in configured(isolated_places)] == urls
    assert beside(isolated_places, address("oci://a/x:main")) == ["y"]
