"""What a resolution that nobody asked for gets to know of the daemon's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver.python.choices.phrases import index_choice, variable_choice
from resolver.python.environment import for_project

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
