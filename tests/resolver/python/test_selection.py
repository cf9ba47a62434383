from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.pylock import PackageWheel

from resolver.errors import PkgviewError
from resolver.python.lockfile import Lock
from resolver.python.project import Origin, PythonProject
from resolver.python.requirements import locked_name
from resolver.python.selection import Source, remark_on, select

if TYPE_CHECKING:
    from resolver.python.interpreter import Interpreter

HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'


def written(tmp_path: Path, text: str, **project: Any) -> Lock:  # noqa: ANN401 - any field
    path = tmp_path / "pylock.toml"
    path.write_text(HEAD + text)
    return Lock(
        path=path, project=PythonProject(root=tmp_path, origin=Origin.PYLOCK, inputs=(), **project)
    )


def package(name: str, *lines: str, version: str = "1") -> str:
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' + "".join(
        f"{line}\n" for line in lines
    )


def wheels(name: str, *tags: str) -> str:
    files = [
        f'{{ url = "https://x/{name}-1-{tag}.whl", hashes = {{ sha256 = "AB" }}, size = 3 }}'
        for tag in tags
    ]
    return f"wheels = [{', '.join(files)}]"


def sdist(name: str) -> str:
    return f'sdist = {{ url = "https://x/{name}-1.tar.gz", hashes = {{ sha256 = "cd" }} }}'


def test_order_and_fields_of_the_lock(tmp_path: Path, interpreter: Interpreter) -> None:
    text = package("zeta", wheels("zeta", "py3-none-any")) + package("alpha", sdist("alpha"))
    first, second = select(written(tmp_path, text), interpreter)
    assert (first.name, first.kind, first.filename) == (
        "zeta",
        Source.WHEEL,
        "zeta-1-py3-none-any.whl",
    )
    assert (first.url, first.path, first.size) == ("https://x/zeta-1-py3-none-any.whl", None, 3)
    assert first.hashes == (("sha256", "ab"),)
    assert (second.name, second.kind, second.version) == ("alpha", Source.SDIST, "1")


def test_what_has_no_file_counts_only_where_it_is_wanted(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    elsewhere = package("cffi", "marker = \"os_name == 'nt'\"")
    text = package("demo", wheels("demo", "py3-none-any"))
    assert [one.name for one in select(written(tmp_path, elsewhere + text), interpreter)] == [
        "demo"
    ]
    for wanted in (package("cffi"), package("cffi", "marker = \"os_name != 'nt'\"")):
        with pytest.raises(PkgviewError, match="cffi 1 has no file for this Python") as caught:
            select(written(tmp_path, wanted + text), interpreter)
        assert "lock" not in caught.value.remedy
    of_an_extra = package("cffi", "marker = \"'fast' in extras\"")
    lock = dataclasses.replace(written(tmp_path, 'extras = ["fast"]\n' + of_an_extra + text))
    assert len(select(lock, interpreter)) == 1
    with pytest.raises(PkgviewError, match="cffi 1 has no file"):
        select(dataclasses.replace(lock, extras=("fast",)), interpreter)


def test_of_several_builds_the_highest(tmp_path: Path, interpreter: Interpreter) -> None:
    text = package("demo", wheels("demo", "py3-none-any", "2-py3-none-any", "10-py3-none-any"))
    (choice,) = select(written(tmp_path, text), interpreter)
    assert choice.filename == "demo-1-10-py3-none-any.whl"


def test_names_that_packaging_does_not_understand(tmp_path: Path, interpreter: Interpreter) -> None:
    """Wheel variants, several underscores, older endings: one has it refuse all of the lock."""
    text = package("a-b", wheels("a__b", "py3-none-any", "py3-none-any-x86_64_v3"))
    text += package(
        "c", wheels("c", "cp311-cp311-win_amd64-null"), sdist("c").replace(".gz", ".xz")
    )
    text += package("d", sdist("d").replace(".tar.gz", ".tgz"))
    text += package("e", wheels("e", "nonsense"), "marker = \"sys_platform == 'win32'\"")
    first, second, third = select(written(tmp_path, text), interpreter)
    assert first.filename == "a_b-1-py3-none-any.whl"
    assert first.url == "https://x/a__b-1-py3-none-any.whl"
    assert first.passed_over == ("a__b-1-py3-none-any-x86_64_v3.whl",)
    assert (second.kind, second.filename) == (Source.SDIST, "c-1.tar.xz")
    assert second.passed_over == ("c-1-cp311-cp311-win_amd64-null.whl",)
    assert (third.kind, third.filename, third.version) == (Source.SDIST, "d-1.tgz", "1")
    assert remark_on([first, second, third]).endswith(
        "(PEP 817): a__b-1-py3-none-any-x86_64_v3.whl, c-1-cp311-cp311-win_amd64-null.whl."
    )
    assert not remark_on([third])


def test_versions_of_such_names(tmp_path: Path, interpreter: Interpreter) -> None:
    """Where the lock does not say it."""
    text = package("a-b", wheels("a__b", "py3-none-any")) + package("d", sdist("d"))
    text = text.replace('version = "1"\n', "").replace("d-1.tar.gz", "d-1.tgz")
    assert [one.version for one in select(written(tmp_path, text), interpreter)] == ["1", "1"]


@pytest.mark.parametrize("url", ["http://[x/a-1-nonsense.whl", "", "a/../.whl"])
def test_wheels_without_any_name(tmp_path: Path, interpreter: Interpreter, url: str) -> None:
    text = package("a", f'wheels = [{{ url = "{url}", hashes = {{ sha256 = "AB" }} }}]')
    with pytest.raises(PkgviewError, match=r"no valid lock|has no file"):
        select(written(tmp_path, text), interpreter)


def test_a_wheel_for_free_threaded_pythons(tmp_path: Path, interpreter: Interpreter) -> None:
    """PEP 803: its ABI is one of several that a wheel may be for."""
    linux = "manylinux_2_28_x86_64"
    text = package("a", wheels("a", f"cp315-abi3t-{linux}", f"cp315-abi3.abi3t-{linux}"))
    threaded = dataclasses.replace(interpreter, tags=(f"cp315-abi3t-{linux}",))
    (choice,) = select(written(tmp_path, text), threaded)
    assert "abi3t" in (choice.filename or "")
    locked = dataclasses.replace(interpreter, tags=(f"cp315-abi3-{linux}",))
    (choice,) = select(written(tmp_path, text), locked)
    assert choice.filename == f"a-1-cp315-abi3.abi3t-{linux}.whl"


def test_best_wheel_and_sdist_where_none_fits(tmp_path: Path, interpreter: Interpreter) -> None:
    best = f"cp{interpreter.minor.replace('.', '')}-abi3-manylinux_2_5_x86_64"
    if best not in interpreter.tags:
        pytest.skip("another platform")
    text = package("a", wheels("a", "py3-none-any", best, "cp311-cp311-win_amd64"))
    text += package("b", wheels("b", "cp311-cp311-win_amd64"), sdist("b"))
    first, second = select(written(tmp_path, text), interpreter)
    assert first.filename == f"a-1-{best}.whl"
    assert second.kind is Source.SDIST


def test_wheels_for_other_platforms_only(tmp_path: Path, interpreter: Interpreter) -> None:
    text = package("a", wheels("a", "cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64"))
    text += package("b", wheels("b", *(f"cp3{n}-none-win32" for n in range(1, 10))))
    text += package("c", wheels("c", "py3-none-any"))
    with pytest.raises(PkgviewError) as caught:
        select(written(tmp_path, text), interpreter)
    what = caught.value.what
    assert "a 1 has wheels only for cp311 macosx_11_0_arm64, cp311 win_amd64, and no sdist" in what
    assert "b 1 has wheels only for" in what
    assert "…" in what
    assert "c 1" not in what
    assert f"this is cp{interpreter.minor.replace('.', '')} " in what
    assert caught.value.remedy


def test_marker_of_another_platform_is_passed_over(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    text = package("a", "marker = \"sys_platform == 'win32'\"", wheels("a", "cp311-none-win32"))
    assert select(written(tmp_path, text), interpreter) == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('requires-python = ">=3.99"\npackages = []\n', r"is for Python >=3\.99"),
        ("packages = 3\n", "no valid lock"),
        ("", "no valid lock"),
        ("[[packages\n", "not valid TOML"),
        (package("a"), "a 1 has no file"),
        (package("A_b", sdist("a")), "normalized"),
        ("environments = [\"sys_platform == 'win32'\"]\npackages = []\n", "does not fit"),
        (package("a", wheels("a", "py3-none-any")) * 2, "ambiguous"),
        (package("a", 'requires-python = "<3"', wheels("a", "py3-none-any")), "does not fit"),
        (
            package("a", 'vcs = { type = "hg", url = "https://x", commit-id = "1" }'),
            "cannot use hg",
        ),
        (
            package("a", 'vcs = { type = "git", url = "https://x", commit-id = "--upload-pack" }'),
            "cannot use git",
        ),
        (
            package("a", 'directory = { path = ".", subdirectory = "../../x" }'),
            "leaves its tree",
        ),
        (
            package("a", 'archive = { url = "https://x/%2e%2e", hashes = { sha256 = "00" } }'),
            "no file name",
        ),
        (
            package("a", 'archive = { url = "https://x/a.zip", hashes = { sha256 = "../x" } }'),
            "no hexadecimal hash",
        ),
        (
            package("a", 'archive = { path = "a.zip", hashes = {} }'),
            "At least one hash",
        ),
    ],
)
def test_what_cannot_be_selected(
    tmp_path: Path, interpreter: Interpreter, text: str, named: str
) -> None:
    with pytest.raises(PkgviewError, match=named) as caught:
        select(written(tmp_path, text), interpreter)
    assert str(tmp_path) in caught.value.what
    assert caught.value.remedy


def test_lock_of_a_later_version(tmp_path: Path, interpreter: Interpreter) -> None:
    lock = written(tmp_path, "packages = []\n")
    lock.path.write_text(lock.path.read_text().replace('"1.0"', '"2.0"'))
    with pytest.raises(PkgviewError, match="not supported") as caught:
        select(lock, interpreter)
    assert "newer pkgview" in caught.value.remedy


def test_places(tmp_path: Path, interpreter: Interpreter) -> None:
    commit = "0123456789" * 4
    text = package("a", 'directory = { path = "../lib", editable = true }')
    text += package("b", f'vcs = {{ type = "git", url = "u", commit-id = "{commit}" }}')
    digest = 'hashes = { sha256 = "00" }'
    text += package("c", f'archive = {{ path = "w/c-1-py3-none-any.whl", {digest} }}')
    text += package("d", f'archive = {{ url = "file:///s%20p/d.tar.gz", {digest} }}')
    text += package(
        "e",
        f'wheels = [{{ path = "nowhere/e-1-py3-none-any.whl", url = "https://x/y", {digest} }}]',
    )
    choices = {choice.name: choice for choice in select(written(tmp_path, text), interpreter)}
    assert (choices["a"].path, choices["a"].editable) == (tmp_path.parent / "lib", True)
    assert (choices["b"].url, choices["b"].commit) == ("u", commit)
    assert choices["c"].kind is Source.WHEEL
    assert choices["c"].path == tmp_path / "w/c-1-py3-none-any.whl"
    assert (choices["d"].kind, choices["d"].path) == (Source.ARCHIVE, Path("/s p/d.tar.gz"))
    assert choices["e"].url == "https://x/y"


def test_project_itself_comes_last_unless_it_is_listed(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    other = package("a", wheels("a", "py3-none-any"))
    own = select(written(tmp_path, other, package=True, name="shop", version="3"), interpreter)
    assert [choice.name for choice in own] == ["a", "shop"]
    assert (own[-1].path, own[-1].editable, own[-1].version) == (tmp_path, True, "3")
    listed = package("shop", 'directory = { path = "." }')
    once = select(written(tmp_path, listed, package=True, name="shop"), interpreter)
    assert [choice.editable for choice in once] == [None]


@pytest.mark.parametrize(
    "url",
    [
        "https://x/y/demo-1.0+a-py3-none-any.whl",
        "https://x/demo-1-2-py3-none-any.whl?a=/other-1-py3-none-any.whl",
        "https://x/demo-1-py3-none-any.whl#/other-1-py3-none-any.whl",
        "https://x/demo-1-%70y3-none-any.whl",
        "https://x/demo-1-py3-none-any.whl;a",
        "file:///x/demo-1-py3-none-any.whl",
    ],
)
def test_a_locked_name_is_what_packaging_takes_for_it(url: str) -> None:
    found = PackageWheel(url=url, hashes={"sha256": "AB"})
    named = dataclasses.replace(found, name="demo-1-py2-none-any.whl")
    for wheel in (found, named, dataclasses.replace(found, path="a/demo-3-py3-none-any.whl")):
        assert locked_name(wheel) == wheel.filename
