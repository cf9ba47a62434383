from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.fetch.addresses import EVERYBODYS
from resolver.python.index import (
    Credential,
    DownloadSettings,
    download_settings,
    user_indexes,
    uv_environment,
)
from resolver.python.uv.pips import not_followed, pip_settings
from resolver.python.uv.settings import effective


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """No settings but those in /etc itself, which `PIP_CONFIG_FILE` does not hide."""
    empty = str(tmp_path / "xdg")
    return {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "XDG_CONFIG_DIRS": empty}


def with_pip(env: dict[str, str], text: str) -> dict[str, str]:
    path = Path(env["HOME"], ".config/pip/pip.conf")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return {name: value for name, value in env.items() if name != "PIP_CONFIG_FILE"}


def test_nothing_set_changes_nothing(env: dict[str, str]) -> None:
    assert uv_environment(None, env) == {}


def test_what_pip_resolves_with_for_uv(env: dict[str, str], tmp_path: Path) -> None:
    env |= {"PIP_PRE": "1", "PIP_CONSTRAINT": "a.txt\nb.txt", "PIP_UPLOADED_PRIOR_TO": "2024-01-01"}
    env |= {"PIP_BUILD_CONSTRAINT": "c.txt"}
    assert uv_environment(tmp_path, env) == {
        "UV_PRERELEASE": "allow",
        "UV_CONSTRAINT": "a.txt b.txt",
        "UV_EXCLUDE_NEWER": "2024-01-01",
        "UV_BUILD_CONSTRAINT": "c.txt",
    }
    assert uv_environment(tmp_path, env, indexes=False) == {}
    (tmp_path / "uv.toml").write_text('exclude-newer = "2025-01-01"\nprerelease = "explicit"\n')
    assert uv_environment(tmp_path, env | {"UV_CONSTRAINT": "d.txt"}) == {
        "UV_BUILD_CONSTRAINT": "c.txt"
    }


def test_a_scripts_own_index_is_uvs(env: dict[str, str], tmp_path: Path) -> None:
    """With its password, and none of pip's beside it; a relative place is its directory's."""
    script = tmp_path / "s.py"
    script.write_text(
        "# /// script\n# dependencies = []\n# [[tool.uv.index]]\n# name = 'corp'\n"
        "# url = 'https://index.example/simple'\n# [tool.uv]\n# find-links = ['wheels']\n# ///\n"
    )
    env |= {"PIP_INDEX_URL": "https://pip.example/simple", "UV_INDEX_CORP_PASSWORD": "secret"}
    assert uv_environment(script, env) == {}
    found = download_settings(script, env)
    credential = found.credential_for("https://index.example/simple/x/x-1.whl")
    assert credential == Credential(user="", password="secret")  # noqa: S106 - of nobody
    assert found.credential_for("https://pip.example/simple/x") is None
    assert effective(env, script)["find-links"] == [str(tmp_path / "wheels")]
    (tmp_path / "uv.toml").write_text('find-links = ["more"]\nresolution = "lowest"\n')
    whole = effective(env, script)
    assert whole["find-links"] == [str(tmp_path / "wheels"), str(tmp_path / "more")]
    assert whole["resolution"] == "lowest"


def test_a_members_settings_are_those_of_its_workspace(tmp_path: Path) -> None:
    member = tmp_path / "packages/a"
    member.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["packages/*"]\n[tool.uv]\nresolution = "lowest"\n'
    )
    (member / "pyproject.toml").write_text('[project]\nname = "a"\n[tool.uv]\nno-build = true\n')
    environ = {"HOME": str(tmp_path)}
    assert effective(environ, member).keys() == {"workspace", "resolution"}
    (tmp_path / "packages/b").mkdir()
    (tmp_path / "packages/b/pyproject.toml").write_text("[tool.uv]\nno-build = true\n")
    assert effective(environ, tmp_path / "packages/b") == {"no-build": True}, "no project"
    with (member / "pyproject.toml").open("a") as file:
        file.write('[[tool.uv.index]]\nurl = "https://a:b@index.example/simple"\n')
    for place in (tmp_path, member):
        assert download_settings(place, environ).credential_for("https://index.example/simple/x")


def test_pip_indexes_for_uv(env: dict[str, str], tmp_path: Path) -> None:
    links = tmp_path / "wheels"
    links.mkdir()
    env = with_pip(
        env,
        "[global]\nindex_url = https://ada:secret@index.example/simple\n"
        f"extra-index-url = file:///a\n   /b c\nfind-links = {links} /not/there\n"
        "no-index = false\n[install]\nextra-index-url = https://two.example/simple /b\n",
    )
    added = uv_environment(None, env | {"SSL_CERT_FILE": "/etc may name one"})
    assert added == {
        "UV_DEFAULT_INDEX": "https://ada:secret@index.example/simple",
        "UV_INDEX": "https://two.example/simple file:///b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(links),
    }


def test_indexes_of_uv_keep_those_of_pip_out(env: dict[str, str], tmp_path: Path) -> None:
    env |= {"PIP_INDEX_URL": "https://pip.example/simple"}
    assert "UV_DEFAULT_INDEX" in uv_environment(tmp_path, env)
    assert uv_environment(tmp_path, env | {"UV_INDEX": "https://uv.example"}) == {}
    (tmp_path / "pyproject.toml").write_text('[[tool.uv.index]]\nurl = "https://uv.example"\n')
    assert uv_environment(tmp_path, env) == {}
    (tmp_path / "pyproject.toml").write_text("[tool.uv]\npackage = false\n")
    assert "UV_DEFAULT_INDEX" in uv_environment(tmp_path, env)
    user = tmp_path / ".config/uv/uv.toml"
    user.parent.mkdir(parents=True)
    user.write_text('[pip]\nindex-url = "https://uv.example"\n')
    assert uv_environment(tmp_path, env) == {}


def test_certificates_proxies_and_hosts(env: dict[str, str], tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    env |= {
        "PIP_CERT": str(bundle),
        "PIP_CLIENT_CERT": "/client.pem",
        "PIP_PROXY": "http://proxy.example:8080",
        "PIP_TRUSTED_HOST": "a.example b.example:8443",
        "PIP_DEFAULT_TIMEOUT": "12.6",
        "PIP_NO_INDEX": "1",
    }
    added = uv_environment(None, env)
    assert added == {
        "SSL_CERT_FILE": str(bundle),
        "SSL_CLIENT_CERT": "/client.pem",
        "ALL_PROXY": "http://proxy.example:8080",
        "UV_INSECURE_HOST": "a.example b.example:8443",
        "UV_HTTP_TIMEOUT": "13",
        "UV_NO_INDEX": "1",
    }
    for name in ("SSL_CERT_FILE", "ALL_PROXY", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT"):
        assert name not in uv_environment(None, env | {name: "1"})
    assert "ALL_PROXY" not in uv_environment(None, env | {"https_proxy": "http://other"})
    settings = download_settings(None, env)
    assert settings.certificates == bundle
    assert settings.proxies == {"all": "http://proxy.example:8080"}
    assert settings.timeout == 13
    assert not settings.verifies("https://a.example/x")
    assert settings.verifies("https://b.example/x")
    assert not settings.verifies("https://b.example:8443/x")


def test_environment_wins_over_files_and_later_files_over_earlier(env: dict[str, str]) -> None:
    extra = Path(env["HOME"], "extra.conf")
    extra.write_text("[global]\ntimeout = 3\n")
    env = with_pip(env, "[global]\ntimeout = 2\nproxy = p\n")
    assert pip_settings(env)["timeout"] == "2"
    env["PIP_CONFIG_FILE"] = str(extra)
    assert pip_settings(env)["timeout"] == "3"
    assert pip_settings(env)["proxy"] == "p"
    env["PIP_TIMEOUT"] = "4"
    assert pip_settings(env)["timeout"] == "4"


def test_files_are_merged_as_pip_merges_them(env: dict[str, str]) -> None:
    env = with_pip(env, "[global]\nextra-index-url = file:///x\n[download]\ntimeout = 7\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env=env | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split("=", 1) for line in done.stdout.splitlines())
    ours = pip_settings(env)
    for name, value in told.items():
        section, _, key = name.rpartition(".")
        if section in {"global", "download"}:
            assert ours[key] == value.strip("'\"")


def test_broken_pip_conf_is_named(env: dict[str, str]) -> None:
    env = with_pip(env, "index-url = x\n")
    with pytest.raises(PkgviewError, match=r"pip\.conf"):
        pip_settings(env)


def test_credentials(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine net.example login n password p\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "in-house"\nurl = "https://house.example/simple"\n'
    )
    env |= {
        "UV_INDEX": "https://a%40b:s%2Fs@index.example/simple two=https://u:v@two.example:8443/x",
        "UV_INDEX_IN_HOUSE_USERNAME": "ada",
        "UV_INDEX_IN_HOUSE_PASSWORD": "byron",
    }
    settings = download_settings(tmp_path, env)

    def told(url: str) -> tuple[str, str] | None:
        found = settings.credential_for(url)
        return (found.user, found.password) if found else None

    assert told("https://index.example/packages/x.whl") == ("a@b", "s/s")
    assert told("https://INDEX.example:443/simple/x.whl") == ("a@b", "s/s")
    # Others may have a place on the same host.
    assert told("https://index.example/team/x.whl") is None
    assert told("https://index.example/simple/../team/x.whl") is None
    assert told("https://two.example:8443/x.whl") is None
    assert told("http://index.example/x.whl") is None
    assert told("https://index.example:8443/x.whl") is None
    assert told("https://two.example:8443/x/y.whl") == ("u", "v")
    assert told("https://house.example/packages/x.whl") == ("ada", "byron")
    assert told("https://net.example/x.whl") == ("n", "p")
    assert told("http://net.example/x.whl") is None
    assert told("https://own:pass@net.example/x.whl") == ("own", "pass")
    assert told("https://files.example/x.whl") is None
    assert settings.credentials["https://index.example/simple/"].user == "a@b"
    own = {"https://index.example/simple/", "https://two.example:8443/x/"}
    assert user_indexes(env) == own | {EVERYBODYS}
    assert "byron" not in repr(settings)


@given(netrc=st.binary(max_size=60), toml=st.binary(max_size=60), index=st.text(max_size=40))
def test_broken_settings_of_others_never_stop_us(
    tmp_path_factory: pytest.TempPathFactory, netrc: bytes, toml: bytes, index: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".netrc").write_bytes(netrc)
    (home / "uv.toml").write_bytes(b"index-url = 3\n" + toml)
    env = {"HOME": str(home), "PIP_CONFIG_FILE": "/dev/null", "UV_INDEX": index}
    assert isinstance(download_settings(home, env), DownloadSettings)


def test_what_only_uvs_files_say_holds_for_downloads(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text(
        'https-proxy = "http://proxy.example"\nno-proxy = ["a.example"]\n'
        'allow-insecure-host = ["b.example"]\n'
    )
    found = download_settings(tmp_path, env)
    assert found.proxies == {"https": "http://proxy.example"}
    assert found.no_proxy == ("a.example",)
    assert not found.verifies("https://b.example/x")
    found = download_settings(tmp_path, env | {"HTTPS_PROXY": "http://other.example"})
    assert found.proxies == {"https": "http://other.example"}


def test_what_is_not_followed_is_named(env: dict[str, str]) -> None:
    assert not_followed(env, pip=True) == ""
    env |= {"UV_NO_DEV": "1", "PIP_NO_DEPS": "yes", "PIP_PREFER_BINARY": "0"}
    assert not_followed(env, pip=False) == "Not followed: UV_NO_DEV."
    assert not_followed(env, pip=True) == "Not followed: UV_NO_DEV, pip's no-deps."


@pytest.mark.parametrize(
    ("variables", "toml", "pip", "has"),
    [
        ({}, "", "", True),
        (
            {"UV_INDEX": "x=https://x/simple", "UV_EXTRA_INDEX_URL": "https://y/s"},
            "",
            "",
            True,
        ),
        ({"UV_DEFAULT_INDEX": "https://x/simple"}, "", "", False),
        ({"UV_DEFAULT_INDEX": "https://pypi.org/simple"}, "", "", True),
        ({"UV_INDEX_URL": "https://x/simple"}, "", "", False),
        ({"UV_NO_INDEX": "1"}, "", "", False),
        ({"PIP_INDEX_URL": "https://x/simple"}, "", "", False),
        ({"PIP_EXTRA_INDEX_URL": "https://x/simple"}, "", "", True),
        ({}, 'index-url = "https://x/simple"', "", False),
        ({}, '[[index]]\nurl = "https://x/simple"', "", True),
        ({}, '[[index]]\nurl = "https://x/simple"\ndefault = true', "", False),
        ({}, '[[pip.index]]\nurl = "https://x/simple"\ndefault = true', "", False),
        ({}, '[pip]\nindex-url = "https://x/simple"', "", False),
        ({}, "no-index = true", "", False),
        ({}, "", "[global]\nindex-url = https://x/simple", False),
        ({}, "", "[global]\nno-index = true", False),
    ],
)
def test_pypi_is_an_index_of_those_who_have_put_none_in_its_place(
    tmp_path: Path, variables: dict[str, str], toml: str, pip: str, *, has: bool
) -> None:
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), **variables}
    for name, text in (("uv/uv.toml", toml), ("pip/pip.conf", pip)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert (EVERYBODYS in user_indexes(env)) is has
