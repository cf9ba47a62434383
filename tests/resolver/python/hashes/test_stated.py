"""What is read of lines and addresses. What uv and pip make of each: tests/mounted/beside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.hashes.lines import Some, counting
from resolver.python.hashes.stated import Stated, place_of, stated
from resolver.python.project import project_at, project_of_script

if TYPE_CHECKING:
    from pathlib import Path

X, Y = "a" * 64, "b" * 64
WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [one for one in os.environ if one.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WHERE", "h.example/x")
    monkeypatch.setenv("where", "x")  # which is no name of one, for uv and pip


def of(tmp_path: Path, **files: str) -> Stated:
    for name, text in files.items():
        suffix = ".toml" if name == "pyproject" else ".txt"
        (tmp_path / f"{name}{suffix}").write_text(text)
    project = project_at(str(tmp_path))
    assert project is not None
    return stated(project)


def hashes_of(said: Stated, name: str, place: str = "") -> frozenset[str] | None:
    return counting(said.of(name, place), name)


@pytest.mark.parametrize(
    ("line", "hashes"),
    [
        (f"demo==1.0 --hash=sha256:{X}", {f"sha256:{X}"}),
        (f"De_mo==1.0 --hash=sha256:{X.upper()}", None),
        (f"demo --hash sha256:{X} --hash = sha512:{Y}{Y}", {f"sha256:{X}", f"sha512:{Y}{Y}"}),
        (f"demo[extra]==1.0 ; python_version>'3' --hash=\"md5:{X[:32]}\"", {f"md5:{X[:32]}"}),
        (f"demo==1.0 # --hash=sha256:{X}", None),
        ("demo==1.0", None),
    ],
)
def test_by_name(tmp_path: Path, line: str, hashes: set[str] | None) -> None:
    said = of(tmp_path, requirements=f"{line}\n")
    assert hashes_of(said, "demo") == hashes
    assert said.required == (" --hash" in line.partition("#")[0])


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("demo @ https://h.example/x/{file}#{hash}", "https://h.example/x/{file}"),
        ("demo[a] @ https://h.example/x/{file}#{hash} ; python_version>'3'",
         "https://h.example:443/x/{file}"),
        ("https://h.example/x/{file}#{hash}", "https://h.example/x/{file}"),
        ("https://h.example/x/{file}#egg=demo&{hash}&md5=0", "https://h.example/x/{file}"),
        ("https://ann:secret@h.example/x/{file}#{hash}", "https://h.example/x/{file}"),
        ("demo @ https://h.example/%78/{file}#{hash}", "https://h.example/x/{file}"),
        ("demo @ https://${{WHERE}}/{file}#{hash}", "https://h.example/x/{file}"),
        ("demo @ https://h.example/${{where}}/{file}#{hash}", "https://h.example/$%7Bwhere%7D/{file}"),
        ("https://h.example/x/{file} --hash={option}", "https://h.example/x/{file}"),
        ("demo @ file://{here}/{file}#{hash}", "{here}/{file}"),
        ("demo @ file://${{PROJECT_ROOT}}/{file}#{hash}", "{here}/{file}"),
        ("demo @ ./{file}#{hash}", "{here}/{file}"),
        ("file://{here}/{file} --hash={option}", "{here}/{file}"),
        ("./{file} --hash={option}", "{here}/{file}"),
        ("./{file}[extra] --hash={option}", "{here}/{file}"),
        ("../{name}/{file} ; python_version>'3' --hash={option}", "{here}/{file}"),
        ("{file} --hash={option}", "{here}/{file}"),
        ("demo @ https://elsewhere.example/{file}#{hash}", "https://h.example/x/{file}"),
    ],
)  # fmt: skip
def test_by_place(tmp_path: Path, line: str, place: str) -> None:
    fields = {"file": WHEEL, "here": tmp_path, "name": tmp_path.name}
    text = line.format(hash=f"sha256={X}", option=f"sha256:{X}", **fields)
    said = of(tmp_path, requirements=f"{text}\n")
    assert hashes_of(said, "demo", place_of(place.format(**fields), tmp_path)) == frozenset(
        (f"sha256:{X}",)
    )
    assert said.required == ("--hash" in line)


def test_which_counts_of_several(tmp_path: Path) -> None:
    said = of(
        tmp_path,
        requirements="-c limits.txt\n-r more.txt\n"
        f"demo==1 --hash=sha256:{X}\ndemo==2 --hash=sha256:{Y}\nother\n"
        f"https://h/a/x.whl#sha256={X} --hash=sha512:0 --hash=sha256:{X}\n",
        more=f"https://h/b/x.whl#sha256={Y}\n",
        limits=f"demo --hash=sha256:cc\nother --hash=sha256:{Y}\n",
    )
    assert hashes_of(said, "demo") == frozenset(
        (
            f"sha256:{X}",
            f"sha256:{Y}",
        )
    )  # a constraint does not add
    assert hashes_of(said, "other") == frozenset((f"sha256:{Y}",))
    assert hashes_of(said, "x", "https://h:443/a/x.whl") == frozenset((f"sha256:{X}",))
    assert hashes_of(said, "x", "https://h:443/b/x.whl") == frozenset((f"sha256:{Y}",))
    assert hashes_of(said, "x", "https://h:443/c/x.whl") == frozenset(
        (
            f"sha256:{X}",
            f"sha256:{Y}",
        )
    )
    assert hashes_of(said, "x", "https://h:443/c/y.whl") is None


@pytest.mark.parametrize(
    "line",
    [
        "demo==1.0 --hash=sha1:" + "0" * 40,
        "demo==1.0 --hash=SHA256:" + X,
        "demo==1.0 --hash=sha256:zz",
        "demo==1.0 --hash=abc",
        f"demo @ https://ann:secret@h/x.whl#sha256={X} --hash=sha256:{Y}",
    ],
)
def test_what_nobody_takes_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(PkgviewError, match="demo") as caught:
        of(tmp_path, requirements=f"{line}\n")
    assert "secret" not in caught.value.what


@pytest.mark.parametrize(
    ("files", "environ"),
    [
        ({"requirements": "demo\n--require-hashes\n"}, {}),
        ({"requirements": "-r more.txt\n", "more": "--pre --require-hashes\n"}, {}),
        ({"requirements": "-c more.txt\n", "more": "--require-hashes\n"}, {}),
        ({"requirements": "demo\n"}, {"UV_REQUIRE_HASHES": "true"}),
        ({"requirements": "demo\n"}, {"PIP_REQUIRE_HASHES": "1"}),
        ({"requirements": "demo\n", "pyproject": "[tool.uv.pip]\nrequire-hashes = true\n"}, {}),
    ],
)
def test_hashes_may_be_required(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    environ: dict[str, str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    said = of(tmp_path, **files)
    assert said.required
    assert said.facts
    if environ or "pyproject" in files:
        monkeypatch.setenv("UV_REQUIRE_HASHES", "0")  # a variable goes before uv's files, only
        assert of(tmp_path, **files).required == ("PIP_REQUIRE_HASHES" in environ)


def test_what_only_uv_reads_is_named(tmp_path: Path) -> None:
    lines = "-r https://a:b@h/r.txt\n--constraint=https://h/c.txt\n-r more.txt\n"
    said = of(tmp_path, requirements=lines, more="six\n")
    assert "https://****@h/r.txt, https://h/c.txt are not looked at" in said.remark
    assert not of(tmp_path, requirements="-r more.txt\n").remark


@pytest.mark.parametrize(
    "text",
    [
        'dependencies = ["demo @ {it}"]',
        'dependencies = []\n[project.optional-dependencies]\nx = ["demo @ {it} ; os_name=="]',
        'dependencies = []\n[dependency-groups]\nx = ["demo @ {it}"]',
        'dependencies = []\n[tool.uv]\nconstraint-dependencies = ["demo @ {it}"]',
        'dependencies = []\n[tool.uv]\noverride-dependencies = ["demo @ {it}"]',
    ],
)
def test_addresses_in_pyproject(tmp_path: Path, text: str) -> None:
    head = '[project]\nname = "p"\ndescription = "# demo --hash=sha256:00"\nversion = "1"\n'
    it = f"file:///x/{WHEEL}#sha256={X}"
    said = of(tmp_path, pyproject=head + text.replace("{it}", it))
    assert hashes_of(said, "demo", f"/x/{WHEEL}") == frozenset((f"sha256:{X}",))
    assert (said.names, said.required) == ({}, False)


def test_addresses_in_a_script(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    it = f"demo @ file:///x/{WHEEL}#sha256={X}"
    script.write_text(f"# /// script\n# dependencies = ['{it}']\n# ///\n'#sha256=0'\n")
    project = project_of_script(script)
    assert project is not None
    assert hashes_of(stated(project), "demo", f"/x/{WHEEL}") == frozenset((f"sha256:{X}",))
    only = stated(project, [f"./{WHEEL}#sha256={Y}"])
    assert hashes_of(only, "demo", f"{tmp_path}/{WHEEL}") == frozenset((f"sha256:{Y}",))
    assert not stated(project, ["demo"]).facts


@pytest.mark.parametrize(
    ("line", "marker", "specifier"),
    [
        ("demo==1.0 ; os_name == 'nt'", "os_name == 'nt'", "==1.0"),
        ("demo==1.0;os_name=='nt'", "os_name=='nt'", "==1.0"),
        ("demo[x] (>=1,<2);os_name=='nt'", "os_name=='nt'", ">=1,<2"),
        ("demo", "", ""),
        ("demo @ https://h/demo.whl ; os_name == 'nt'", "os_name == 'nt'", ""),
        ("demo @ https://h/demo.whl;os_name", "", ""),
    ],
)
def test_where_a_line_holds(tmp_path: Path, line: str, marker: str, specifier: str) -> None:
    said = of(tmp_path, requirements=f"{line} --hash=sha256:{X}\n")
    (some,) = said.direct.get("demo") or said.names["demo"]
    assert (some.marker, some.specifier) == (marker, specifier)


def test_what_cannot_be_read_holds() -> None:
    some = Some(hashes=frozenset(), marker="os_name =", specifier="=1")
    assert some.holds({})
    assert some.is_of("2")
