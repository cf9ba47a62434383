"""What a resolution that nobody asked for gets to know of the daemon's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.choices.phrases import index_choice, variable_choice
from resolver.python.environment import for_project, refuse_relative

if TYPE_CHECKING:
    from pathlib import Path

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv/uv.toml").write_text(
        '[[index]]\nname = "in-file"\nurl = "https://f.example/"\n'
    )
    names = (
        *("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "TOKEN", "SSH_AUTH_SOCK", "PYTHONPATH"),
        *("UV_INDEX_CORP_USERNAME", "UV_INDEX_CORP_PASSWORD", "UV_INDEX_MINE_PASSWORD"),
        *("UV_INDEX_IN_FILE_PASSWORD", "UV_PUBLISH_TOKEN", "PIP_SECRET", "PIP_PASSWORD"),
        *("LD_PRELOAD", "GIT_ASKPASS", "UV_PYTHON", "KEYRING_PASSWORD", "HTTPS_PROXY", "no_proxy"),
    )
    return {
        **dict.fromkeys(names, "hidden"), "HOME": str(tmp_path), "PATH": "/usr/bin",
        "XDG_CONFIG_HOME": str(tmp_path), "UV_INDEX": "mine=https://mine.example/simple",
        "UV_DEFAULT_INDEX": "https://default.example/simple", "LC_ALL": "C",
        "SSH_AUTH_SOCK": "/hidden",
    }  # fmt: skip


def known(environ: dict[str, str], agreed: frozenset[str] = NOTHING) -> set[str]:
    found = for_project(environ, agreed)
    assert all(environ[name] == value for name, value in found.items())
    return set(found)


PLAIN = {
    "HOME", "PATH", "XDG_CONFIG_HOME", "LC_ALL", "UV_INDEX", "UV_DEFAULT_INDEX", "HTTPS_PROXY",
    "no_proxy", "UV_INDEX_MINE_PASSWORD", "UV_INDEX_IN_FILE_PASSWORD",
}  # fmt: skip


def test_what_it_needs_and_no_more(environ: dict[str, str]) -> None:
    assert known(environ) == PLAIN


def test_what_its_user_has_said_yes_to(environ: dict[str, str]) -> None:
    agreed = frozenset({variable_choice("TOKEN")})
    assert known(environ, agreed) == PLAIN | {"TOKEN", "SSH_AUTH_SOCK"}
    agreed = frozenset({index_choice("https://evil.example/simple", "corp")})
    corp = {"UV_INDEX_CORP_USERNAME", "UV_INDEX_CORP_PASSWORD"}
    assert known(environ, agreed) == PLAIN | corp | {"SSH_AUTH_SOCK"}


def test_a_relative_path_would_be_the_projects(environ: dict[str, str]) -> None:
    """What only says where something is goes without; what decides about packages is refused."""
    wrong = {
        "PATH": ".:/usr/bin::bin", "LD_LIBRARY_PATH": "/lib:", "XDG_CONFIG_DIRS": "x:/etc/xdg",
        "UV_CACHE_DIR": "cache", "TMPDIR": "", "NETRC": "netrc", "XDG_CACHE_HOME": "c",
    }  # fmt: skip
    found = for_project(environ | wrong, NOTHING)
    assert set(found) == PLAIN | {"LD_LIBRARY_PATH", "XDG_CONFIG_DIRS"}
    lists = (found["PATH"], found["LD_LIBRARY_PATH"], found["XDG_CONFIG_DIRS"])
    assert lists == ("/usr/bin", "/lib", "/etc/xdg")
    agreed = frozenset({variable_choice("TOKEN")})
    ssh = {"GIT_SSH": "bin/ssh", "GIT_SSH_COMMAND": "ssh -i key/x"}
    assert "GIT_SSH_COMMAND" in for_project(environ | ssh, agreed)
    assert "GIT_SSH" not in for_project(environ | ssh, agreed)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("UV_CONSTRAINT", "/a/c.txt c.txt", "/a/c.txt https://x/c.txt"),
        ("UV_OVERRIDE", "c.txt", "/c.txt"),
        ("UV_CONFIG_FILE", "my.toml", "/my.toml"),
        ("UV_FIND_LINKS", "https://x,wheels", "https://x,/wheels"),
        ("UV_INDEX", "mine=./simple", "mine=https://x/simple /srv/simple"),
        ("UV_DEFAULT_INDEX", "simple", ""),
        ("PIP_CONFIG_FILE", "x=/pip.conf", "/dev/null"),
        ("PIP_FIND_LINKS", "wheels", "/wheels https://x"),
        ("SSL_CERT_FILE", "ca.pem", "/etc/ca.pem"),
    ],
)
def test_a_relative_path_that_decides_about_packages(name: str, value: str, right: str) -> None:
    with pytest.raises(PkgviewError, match=name):
        refuse_relative({name: value})
    refuse_relative({name: right, "UV_EXCLUDE_NEWER": "2026-01-01", "PIP_SECRET": "x"})
