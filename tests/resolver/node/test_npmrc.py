"""npm's settings: which count, and for whom passwords are."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.node.npmrc import pairs, settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_most_special_counts(tmp_path: Path) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    home.mkdir()
    (home / ".npmrc").write_text("registry=https://home.test/\nomit=optional\ncafile=/x.pem\n")
    (project / ".npmrc").write_text("registry = https://project.test\n; no\n# no\nomit[]=dev\n")
    environ = {"HOME": str(home)}
    found = settings(project, environ)
    assert found.registry_of("a") == "https://project.test/"
    assert found.omitted == {"dev"}
    assert found.values["cafile"] == "/x.pem"
    environ |= {"NPM_CONFIG_REGISTRY": "https://said.test", "npm_config_include": "dev"}
    found = settings(project, environ)
    assert found.registry_of("@s/a") == "https://said.test/"
    assert found.omitted == frozenset()


def test_passwords_are_for_their_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_ENV", raising=False)
    word = base64.b64encode(b"a:b:c").decode()
    (tmp_path / ".npmrc").write_text(
        "//one.test/team/:_authToken=${TOKEN}\n"
        f"//two.test/:_auth={word}\n"
        "//three.test:8443/:username=u\n"
        f"//three.test:8443/:_password={base64.b64encode(b'p w').decode()}\n"
        "_authToken=nobodys\n"
    )
    found = settings(tmp_path, {"HOME": "/nowhere", "TOKEN": "t"})
    assert dict(found.bearer) == {"https://one.test/team/": "t", "http://one.test/team/": "t"}
    assert found.basic["https://two.test/"] == ("a", "b:c")
    assert found.basic["https://three.test:8443/"] == ("u", "p w")
    assert "t'" not in repr(found)
    (tmp_path / ".npmrc").write_text("//two.test/:_auth=%%%\n")
    with pytest.raises(PkgviewError, match="is no base64"):
        settings(tmp_path, {"HOME": "/nowhere"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a=b", ("a", "b")),
        ("a = 'b c' ", ("a", "b c")),
        ('a="b;c"', ("a", "b;c")),
        ("a=b ; c", ("a", "b")),
        ("a=b\\;c", ("a", "b;c")),
        ("a", ("a", "true")),
        ("${X}=${X}", ("x", "x")),
        ("a=${NONE}", ("a", "${NONE}")),
        ("a=${NONE?}", ("a", "")),
        ("a=\\${X}", ("a", "${X}")),
    ],
)
def test_a_line(line: str, said: tuple[str, str]) -> None:
    assert list(pairs(line, {"X": "x"})) == [said]
