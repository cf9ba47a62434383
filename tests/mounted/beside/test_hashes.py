"""Hashes that are given are checked, wherever they stand.

Rows are lines in which words in braces are replaced: `{sha256}` by the digest of demo's wheel,
`{!sha256}` by a wrong one, `{other}` by that of another distribution's wheel, `{url}` and `{path}`
by where demo's wheel is.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from typing import TYPE_CHECKING

import pytest

from resolver.python.uv.run import uv_binary
from tests.mounted.beside.conftest import tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]

ALL = bool(os.environ.get("PKGVIEW_TEST_ALL"))
"""pip takes longest, and changes least."""

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
DIRECTORY = {"d/pyproject.toml": '[project]\nname = "dd"\nversion = "1"\n'}

TAKEN = {
    "of an index": ("demo==1.0 --hash=sha256:{sha256}", "both"),
    "not pinned by ==": ("demo<2 --hash=sha256:{sha256}", "uv"),
    "with a blank": ("demo==1.0 --hash sha256:{sha256}", "both"),
    "one of two": ("demo==1.0 --hash=sha256:{!sha256} --hash=sha256:{sha256}", "both"),
    "one of two algorithms": ("demo==1.0 --hash=sha256:{!sha256} --hash=sha512:{sha512}", "both"),
    "SHA-384": ("demo==1.0 --hash=sha384:{sha384}", "both"),
    "SHA-512": ("demo==1.0 --hash=sha512:{sha512}", "both"),
    "MD5, which uv takes": ("demo==1.0 --hash=md5:{md5}", "uv"),
    "BLAKE2b of 32 bytes, which uv takes": ("demo==1.0 --hash=blake2b:{blake2b}", "uv"),
    "a path": ("./{file} --hash=sha256:{sha256}", "both"),
    "a path, SHA-512": ("./{file} --hash=sha512:{sha512}", "both"),
    "a URL": ("{url} --hash=sha256:{sha256}", "both"),
    "a fragment": ("demo @ {url}#sha256={sha256}", "both"),
    "a fragment, no name": ("{url}#sha256={sha256}", "both"),
    "a fragment, SHA-512": ("demo @ {url}#sha512={sha512}", "both"),
    "a fragment, MD5": ("demo @ {url}#md5={md5}", "both"),
    "a fragment of a file": ("demo @ file://{path}#sha256={sha256}", "both"),
    "a fragment with others": ("demo @ {url}#egg=demo&sha256={sha256}", "both"),
    "two in a fragment: the first": ("demo @ {url}#sha256={sha256}&md5={!md5}", "both"),
    "a fragment and an option": ("demo @ {url}#sha256={sha256} --hash=sha256:{sha256}", "both"),
    "a fragment beside a line": ("other==1.0 --hash=sha256:{other}\ndemo @ {url}#sha256={sha256}",
                                 "both"),
    "a file's fragment beside a line": (
        "other==1.0 --hash=sha256:{other}\ndemo @ file://{path}#sha256={sha256}", "both"),
    "a path beside a line": (
        "other==1.0 --hash=sha256:{other}\n./{file} --hash=sha256:{sha256}", "both"),
    "an address in a variable": ("demo @ ${URL}#sha256={sha256}", "both"),
    "a line in a variable": ("${URL} --hash=sha256:{sha256}", "both"),
    "a fragment, and none": ("other\ndemo @ {url}#sha256={sha256}", "both"),
    "none, for another system": (
        "demo==1.0 --hash=sha256:{sha256}\nother==1.0 ; sys_platform == 'win32'", "both"),
    "another one, for another system": (
        "demo==1.0 --hash=sha256:{sha256}\nother==1.0 ; os_name == 'nt' --hash=sha256:{!sha256}",
        "both"),
    "a wrong one, for another system": (
        ("demo==1.0 ; sys_platform == 'linux' --hash=sha256:{sha256}\n"
        "demo==1.0 ; sys_platform == 'win32' --hash=sha256:{!sha256}"), "both"),
    "a wrong one, for another Python": (
        ("demo==1.0;python_version>='3.8' --hash=sha256:{sha256}\n"
        "demo==1.0;python_version<'3.8' --hash=sha256:{!sha256}"), "both"),
    "a constraint's, for another system": (
        ("-c c.txt\ndemo==1.0 --hash=sha256:{sha256}\n"
        "# c.txt: demo==1.0 ; sys_platform == 'win32' --hash=sha256:{!sha256}"), "both"),
    "required, and there": ("--require-hashes\ndemo==1.0 --hash=sha256:{sha256}", "both"),
    "required, and in a fragment": ("--require-hashes\ndemo @ {url}#sha256={sha256}", "both"),
    "required, and in a file's": ("--require-hashes\ndemo @ file://{path}#sha256={sha256}", "both"),
    "a constraint's": ("-c c.txt\ndemo\n# c.txt: demo==1.0 --hash=sha256:{sha256}", "both"),
    "a line's, not a constraint's": (
        "-c c.txt\ndemo==1.0 --hash=sha256:{sha256}\n# c.txt: demo==1.0 --hash=sha256:{!sha256}",
        "both"),
    "of what is needed, too": (
        "needs==1.0 --hash=sha256:{needs}\nother==1.0 --hash=sha256:{other}", "both"),
}  # fmt: skip
"""Ours equals uv, or uv and pip."""

REFUSED = {
    "of an index": ("demo==1.0 --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "with a blank": ("demo==1.0 --hash sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "in quotes": ('demo==1.0 --hash="sha256:{!sha256}"', "both", "no file of demo 1.0 has"),
    "too short": ("demo==1.0 --hash=sha256:abc", "both", "no file of demo 1.0 has"),
    "continued": ("demo==1.0 \\\n    --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "for another system": (
        ("demo==1.0 ; sys_platform == 'linux' --hash=sha256:{!sha256}\n"
        "demo==1.0 ; sys_platform == 'win32' --hash=sha256:{sha256}"), "both",
        "no file of demo 1.0 has"),
    "for another Python": (
        ("demo==1.0;python_version>='3.8' --hash=sha256:{!sha256}\n"
        "demo==1.0;python_version<'3.8' --hash=sha256:{sha256}"), "both",
        "no file of demo 1.0 has"),
    "SHA-512, for another system": (
        ("demo==1.0 ; sys_platform == 'linux' --hash=sha512:{!sha512}\n"
        "demo==1.0 ; sys_platform == 'win32' --hash=sha512:{sha512}"), "both", "sha512:0000"),
    "a path, for another system": (
        ("./{file} ; sys_platform == 'linux' --hash=sha256:{!sha256}\n"
        "./{file} ; sys_platform == 'win32' --hash=sha256:{sha256}"), "both",
        "no file of demo 1.0 has"),
    "only for another system, and needed": (
        ("needs==1.0 --hash=sha256:{needs}\n"
        "other==1.0 ; sys_platform == 'win32' --hash=sha256:{other}"), "pip",
        "other 1.0 has no --hash"),
    "SHA-384": ("demo==1.0 --hash=sha384:{!sha384}", "both", "sha384:0000"),
    "SHA-512": ("demo==1.0 --hash=sha512:{!sha512}", "both", "sha512:0000"),
    "MD5": ("demo==1.0 --hash=md5:{!md5}", "both", "md5:0000"),
    "BLAKE2b": ("demo==1.0 --hash=blake2b:{!blake2b}", "both", "blake2b:0000"),
    "SHA-1, which nobody takes": ("demo==1.0 --hash=sha1:{sha1}", "both", "no hash that pip or uv"),
    "in capitals": ("demo==1.0 --hash=SHA256:{sha256}", "both", "no hash that pip or uv"),
    "a path": ("./{file} --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "a path, SHA-512": ("./{file} --hash=sha512:{!sha512}", "both", "sha512:0000"),
    "a path, MD5": ("./{file} --hash=md5:{!md5}", "both", "md5:0000"),
    "a URL": ("{url} --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "a fragment": ("demo @ {url}#sha256={!sha256}", "both", "0000"),
    "a fragment, no name": ("{url}#sha256={!sha256}", "both", "0000"),
    "a fragment, too short": ("demo @ {url}#sha256=abc", "both", "sha256:abc"),
    "a fragment with others": ("demo @ {url}#egg=demo&sha256={!sha256}", "both", "0000"),
    "two in a fragment: the first": ("demo @ {url}#md5={!md5}&sha256={sha256}", "both", "md5:0000"),
    "a fragment and another option": (
        "demo @ {url}#sha256={sha256} --hash=sha256:{!sha256}", "uv", "contradict"),
    "another fragment and an option": (
        "demo @ {url}#sha256={!sha256} --hash=sha256:{sha256}", "uv", "contradict"),
    "a relative path's": ("demo @ ./{file}#sha256={!sha256}", "both", "no file of demo 1.0 has"),
    "an address in a variable": ("demo @ ${URL} --hash=sha256:{!sha256}", "both", "0000"),
    "a fragment in a variable": ("demo @ ${WRONG}", "both", "0000"),
    "a line in a variable": ("${URL} --hash=sha256:{!sha256}", "both", "no file of demo 1.0 has"),
    "all in a variable": ("${WRONG}", "both", "0000"),
    "required": ("--require-hashes\ndemo==1.0", "both", "demo 1.0 has no --hash"),
    "required by a nested file": ("-r c.txt\nother==1.0\n# c.txt: --require-hashes", "both",
                                  "other 1.0 has no --hash"),
    "required by a constraint": ("-c c.txt\nother==1.0\n# c.txt: --require-hashes", "both",
                                 "other 1.0 has no --hash"),
    "a constraint's fragment": ("-c c.txt\ndemo\n# c.txt: demo @ {url}#sha256={!sha256}", "both",
                                "0000"),
    "a line's, not a constraint's": (
        "-c c.txt\ndemo==1.0 --hash=sha256:{!sha256}\n# c.txt: demo==1.0 --hash=sha256:{sha256}",
        "both", "no file of demo 1.0 has"),
    "a directory with a hash": ("./d --hash=sha256:{!sha256}", "both", "dd.* is a directory"),
    # As with pip, one with a hash means that all have to have one; uv takes the others as they are.
    "one with, one without": ("demo==1.0 --hash=sha256:{sha256}\nother==1.0", "pip",
                              "other 1.0 has no --hash"),
    "one without that is needed": ("needs==1.0 --hash=sha256:{needs}", "pip",
                                   "other 1.0 has no --hash"),
    "a constraint's": ("-c c.txt\ndemo\n# c.txt: demo==1.0 --hash=sha256:{!sha256}", "pip",
                       "no file of demo 1.0 has"),
    "a constraint of another": ("-c c.txt\nother==1.0\n# c.txt: demo==1.0 --hash=sha256:{sha256}",
                                "pip", "other 1.0 has no --hash"),
    "one with, and a directory": ("demo==1.0 --hash=sha256:{sha256}\n./d", "pip",
                                  "dd.* is a directory"),
    "one with, and an editable": ("demo==1.0 --hash=sha256:{sha256}\n-e ./d", "pip",
                                  "dd.* is a directory"),
}  # fmt: skip
"""Ours is refused as by uv, pip, or both."""


def digest(path: Path, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def filled(beside: Beside) -> Callable[[str], str]:
    """demo, other, and needs, which needs other; fills a row in."""
    index = beside.index
    wheel, other = index.wheel("demo"), index.wheel("other")
    newer = index.wheel("demo", "2.0")
    known = {algorithm: digest(wheel, algorithm) for algorithm in ALGORITHMS}
    known["blake2b"] = hashlib.blake2b(wheel.read_bytes(), digest_size=32).hexdigest()
    known |= {f"!{name}": "0" * len(value) for name, value in known.items()}
    known |= {
        "other": digest(other),
        "newer": digest(newer),
        "needs": digest(index.wheel("needs", requires=["other==1.0"])),
        "file": wheel.name,
        "path": str(wheel),
        "url": f"{index.url.removesuffix('simple')}packages/{wheel.name}",
    }

    def fill(text: str) -> str:
        return re.sub(r"\{(!?\w+)\}", lambda found: known.get(found[1], found[0]), text)

    return fill


def files_of(beside: Beside, text: str) -> dict[str, str | bytes]:
    """A row's files: `# c.txt: …` at its end is another one."""
    wheel = beside.index.directory / "demo-1.0-py3-none-any.whl"
    listed, _, further = text.partition("\n# c.txt: ")
    files: dict[str, str | bytes] = {"requirements.txt": f"{listed}\n", **DIRECTORY}
    return {**files, "c.txt": f"{further}\n", wheel.name: wheel.read_bytes()}


def variables(filled: Callable[[str], str]) -> dict[str, str]:
    """Those that rows name."""
    return {"URL": filled("{url}"), "WRONG": filled("{url}#sha256={!sha256}")}


@pytest.mark.parametrize("row", TAKEN)
def test_right_ones_are_taken(row: str, beside: Beside, filled: Callable[[str], str]) -> None:
    text, by = TAKEN[row]
    files = files_of(beside, filled(text))
    # Of a file uv keeps the hash in direct_url.json, which is in no lock.
    environ = variables(filled)
    beside.same(files, exact=not ("file://" in text and "#" in text), environ=environ)
    if by == "both" and ALL:
        directory = beside.project(files)
        assert beside.pip(directory, environ=environ).status == 0


@pytest.mark.parametrize("row", REFUSED)
def test_wrong_ones_are_refused(row: str, beside: Beside, filled: Callable[[str], str]) -> None:
    text, by, says = REFUSED[row]
    files = files_of(beside, filled(text))
    environ = variables(filled)
    beside.refused(files, says=says, by="pip" if by == "pip" else "uv", environ=environ)
    if by == "both" and ALL:
        assert beside.pip(beside.project(files), environ=environ).status != 0


@pytest.mark.parametrize(
    "it",
    [
        "file://{path}#sha256={!sha256}",
        "file://{path}#md5={!md5}",
        "{url}#sha1={!sha1}",
        "{url}#md5={!md5}",
        "{url}#sha256={!sha256}",
    ],
)
def test_addresses_elsewhere(it: str, beside: Beside, filled: Callable[[str], str]) -> None:
    """uv ignores these (of http in scripts and --with only): a lock has what the file had then."""
    it = filled(it)
    line, head = f'["demo @ {it}"]', '[project]\nname = "p"\nversion = "1"\n'
    head += 'requires-python = ">=3.11"\n'
    script = beside.project({"s.py": f"# /// script\n# dependencies = {line}\n# ///\n"})
    for directory, what in (
        (beside.project({"pyproject.toml": f"{head}dependencies = {line}\n"}), ()),
        (beside.project({"pyproject.toml": f"dependency-groups.dev = {line}\n{head}"}), ()),
        (script, ("s.py",)),
    ):
        ended = beside.pkgview(directory, *what)
        assert ended.status == 1, it
        assert "00000000" in ended.said, ended.said
        assert not os.path.lexists(ended.root)
    plain = beside.project({"requirements.txt": "other\n"})
    ran = beside.site.pkgview("run", "--with", f"demo @ {it}", "true", cwd=plain, code=1)
    assert "00000000" in ran.stderr


def test_what_is_set_binds_every_line(beside: Beside, filled: Callable[[str], str]) -> None:
    """Also where there is nothing to do, and no longer than it is set."""
    free = beside.project({"requirements.txt": "demo==1.0\n"})
    held = beside.project(files_of(beside, filled("demo==1.0 --hash=sha256:{sha256}")))
    settings = beside.site.home / "pip.conf"
    settings.write_text("[install]\nrequire-hashes = yes\n")
    for name, value in (
        ("UV_REQUIRE_HASHES", "1"),
        ("PIP_REQUIRE_HASHES", "true"),
        ("PIP_CONFIG_FILE", os.fspath(settings)),
    ):
        assert beside.pkgview(free).status == 0
        ended = beside.pkgview(free, environ={name: value})
        assert (ended.status, "demo 1.0 has no --hash" in ended.said) == (1, True), ended.said
        assert beside.pkgview(held, environ={name: value}).status == 0
    assert beside.pkgview(free).status == 0


NAMED = {
    "a line": ("demo==1.0 --hash=sha256:{!sha256}", "no file of demo 1.0 has"),
    "a line, SHA-512": ("demo==1.0 --hash=sha512:{!sha512}", "sha512:0000"),
    "a fragment": ("demo @ {url}#sha256={!sha256}", "0000"),
    "a file's fragment": ("demo @ file://{path}#sha256={!sha256}", "no file of demo 1.0 has"),
    "a nested file": ("-r more.txt", "no file of demo 1.0 has"),
    "required": ("--require-hashes\ndemo==1.0", "demo 1.0 has no --hash"),
}
"""What the file has that a setting names: refused as by uv."""

UNSEEN = {("UV_OVERRIDE", "required")}
"""uv does not look for it there; we do."""


@pytest.mark.parametrize("row", NAMED)
@pytest.mark.parametrize("name", ["UV_CONSTRAINT", "UV_OVERRIDE", "PIP_CONSTRAINT"])
def test_of_files_that_settings_name(
    name: str, row: str, beside: Beside, filled: Callable[[str], str]
) -> None:
    text, says = NAMED[row]
    files = {
        "requirements.txt": "demo==1.0\n",
        "named.txt": filled(f"{text}\n"),
        "more.txt": filled("demo==1.0 --hash=sha256:{!sha256}\n"),
    }
    directory = beside.project(files)
    environ = {name: "named.txt"}
    assert beside.pkgview(directory).status == 0
    ours = beside.pkgview(directory, environ=environ)  # nothing else has changed
    assert ours.status == 1, ours.said
    assert re.search(says, ours.said), ours.said
    if (name, row) not in UNSEEN:
        by = beside.pip if name == "PIP_CONSTRAINT" else beside.uv
        theirs = by(directory, environ=environ)
        assert theirs.status != 0, theirs.said
    if name != "PIP_CONSTRAINT":  # it is no one's that has no requirements file
        head = '[project]\nname = "p"\nversion = "1"\n'
        project = {**files, "pyproject.toml": f'{head}dependencies = ["demo==1.0"]\n'}
        del project["requirements.txt"]
        ended = beside.pkgview(beside.project(project), environ=environ)
        assert ended.status == 1, ended.said
    # An edit of that file alone is seen.
    (directory / "named.txt").write_text(filled("demo==1.0 --hash=sha256:{sha256}\n"))
    ours = beside.pkgview(directory, environ=environ)
    assert ours.status == 0, ours.said
    (directory / "named.txt").write_text(filled(f"{text}\n"))
    assert beside.pkgview(directory, environ=environ).status == 1


def test_who_is_bound_by_them(beside: Beside, filled: Callable[[str], str]) -> None:
    """One hash in pip's file means that all have to have one; in uv's it is of that one alone."""
    files = {"requirements.txt": "demo==1.0\nother==1.0\n"}
    files["named.txt"] = filled("demo==1.0 --hash=sha256:{sha256}\n")
    environ = {"UV_CONSTRAINT": "named.txt"}
    beside.same(files, environ=environ)
    environ = {"PIP_CONSTRAINT": "named.txt"}
    beside.refused(files, says="other 1.0 has no --hash", by="pip", environ=environ)
    # What overrides a line goes before it; what constrains it has to have a hash in common.
    files["requirements.txt"] = filled("demo==1.0 --hash=sha256:{!sha256}\n")
    environ = {"UV_OVERRIDE": "named.txt"}
    assert beside.pkgview(beside.project(files), environ=environ).status == 0
    environ = {"UV_CONSTRAINT": "named.txt"}
    beside.refused(files, says="other hashes of demo 1.0", environ=environ)


@pytest.mark.parametrize("name", ["UV_CONSTRAINT", "PIP_CONSTRAINT"])
def test_of_constraints_that_settings_name(
    name: str, beside: Beside, filled: Callable[[str], str]
) -> None:
    """Those for other machines say nothing here. With uv's a file has to have a hash of both."""
    windows, linux = (f"demo==1.0 ; sys_platform == '{one}'" for one in ("win32", "linux"))
    wrong, right = (filled(f" --hash=sha256:{{{one}}}") for one in ("!sha256", "sha256"))
    environ = {name: "named.txt"}
    by_uv = name == "UV_CONSTRAINT"
    plain, pinned = "demo==1.0\n", f"demo==1.0{right}\n"
    for listed, named, says in (
        (plain if by_uv else pinned, windows + wrong, ""),
        (plain, f"{linux}{right}\n{windows}{wrong}", ""),
        (plain, f"{linux}{wrong}\n{windows}{right}", "no file of demo 1.0 has"),
        (pinned, linux + wrong, "other hashes of demo 1.0" if by_uv else ""),
        (pinned, f"demo==1.0{wrong}", "other hashes of demo 1.0" if by_uv else ""),
        (pinned, f"demo==1.0{wrong}{right}", ""),
    ):
        files = {"requirements.txt": listed, "named.txt": f"{named}\n"}
        if says:
            by = "uv" if by_uv else "pip"
            beside.refused(files, says=says, by=by, environ=environ)
        elif by_uv:
            beside.same(files, environ=environ)
        else:
            directory = beside.project(files)
            ours, pips = (one(directory, environ=environ) for one in (beside.pkgview, beside.pip))
            assert (ours.status, pips.status) == (0, 0), (named, ours.said, pips.said)


def test_of_what_one_run_adds(beside: Beside, filled: Callable[[str], str]) -> None:
    directory = beside.project({"requirements.txt": "other==1.0\n"})
    named = beside.site.home / "named-for-a-run.txt"
    named.write_text(filled("demo==1.0 --hash=sha256:{!sha256}\n"))
    environ = {"UV_CONSTRAINT": os.fspath(named)}
    run = ("run", "--with", "demo", "python", "-c", "import demo")
    ended = beside.site.pkgview(*run, cwd=directory, environ=environ, code=1)
    assert "no file of demo 1.0 has" in ended.stderr
    beside.site.pkgview(*run, cwd=directory)


def test_what_is_added_keeps_its_hash(beside: Beside, filled: Callable[[str], str]) -> None:
    """`uv add` drops it: the source that it writes has no place for one."""
    head = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = []\n'
    project = beside.project({"pyproject.toml": head})
    locked = beside.project({"pyproject.toml": head})
    beside.site.run(uv_binary(), "lock", "-q", "--python", beside.site.python, cwd=locked)
    script = beside.project({"s.py": "import demo\n"})
    for directory, what, where in (
        (project, (), "pyproject.toml"),
        (locked, (), "pyproject.toml"),
        (script, ("--script", "s.py"), "s.py"),
    ):
        before = {path: path.read_bytes() for path in directory.iterdir()}
        for place in ("file://{path}", "{url}"):
            for wrong in ("#sha256={!sha256}", "#sha512={!sha512}"):
                asked = filled(f"demo @ {place}{wrong}")
                ended = beside.site.pkgview("add", *what, asked, cwd=directory, code=1)
                assert "00000000" in ended.stderr
                assert {path: path.read_bytes() for path in directory.iterdir()} == before
        asked = filled("demo @ {url}#sha256={sha256}")
        beside.site.pkgview("add", *what, asked, "other", cwd=directory)
        text = (directory / where).read_text()
        assert asked in text
        assert '"other' in text


def test_a_file_is_read_once(beside: Beside, filled: Callable[[str], str]) -> None:
    """Nobody knows that a file has such a hash but who has read it; that is kept."""
    text = filled("demo==2.0 --hash=sha512:{!sha512} --hash=sha384:{!sha384}")
    wheel = beside.index.directory / "demo-2.0-py3-none-any.whl"
    text = f"{text} --hash=sha512:{digest(wheel, 'sha512')}\n"

    def fetched() -> int:
        return sum(one.endswith(wheel.name) for one in beside.index.asked)

    assert beside.pkgview(beside.project({"requirements.txt": "demo==2.0\n"})).status == 0
    before = fetched()
    for _ in range(2):
        assert beside.pkgview(beside.project({"requirements.txt": text})).status == 0
        assert fetched() == before + 1


def test_a_lock_for_others_lacks_nothing(beside: Beside, filled: Callable[[str], str]) -> None:
    right = filled("demo==1.0 --hash=sha256:{sha256}\n")
    elsewhere = "other==1.0 ; sys_platform == 'win32'\n"
    directory = beside.project({"requirements.txt": right + elsewhere})
    ended = beside.site.pkgview("lock", cwd=directory, code=1)
    assert "other 1.0 has no --hash" in ended.stderr
    sha512 = filled("demo==1.0 --hash=sha512:{sha512}\n")
    (directory / "requirements.txt").write_text(sha512)
    beside.site.pkgview("lock", cwd=directory)
    assert "sha512" in (directory / "pylock.toml").read_text()
    assert beside.pkgview(directory).status == 0
    # Which lines hold is looked at where the lock is used, and all have to have a file in it.
    lines = filled(
        "demo==1.0 ; sys_platform == 'linux' --hash=sha256:{!sha256}\n"
        "demo==1.0 ; sys_platform == 'win32' --hash=sha256:{sha256}\n"
    )
    (directory / "requirements.txt").write_text(lines)
    ended = beside.site.pkgview("lock", cwd=directory, code=1)
    assert "no file of demo 1.0 has a hash of sha256:0000" in ended.stderr
    (directory / "requirements.txt").write_text(filled(
        "demo==1.0 ; sys_platform == 'linux' --hash=sha256:{sha256}\n"
        "demo==2.0 ; sys_platform == 'win32' --hash=sha256:{newer}\n"
    ))  # fmt: skip
    beside.site.pkgview("lock", cwd=directory)
    assert beside.pkgview(directory).distributions == {"demo": "1.0"}
    # uv goes on from such a lock, too.
    (directory / "requirements.txt").write_text(f"{sha512}{filled('other --hash=sha256:{other}')}")
    beside.site.pkgview("lock", cwd=directory)
    assert beside.pkgview(directory).distributions == {"demo": "1.0", "other": "1.0"}
    assert beside.uv(directory).distributions == {"demo": "1.0", "other": "1.0"}


def test_what_a_build_needs_has_none(beside: Beside, filled: Callable[[str], str]) -> None:
    """`uv build` alone would want hashes for that, too, and has no place for them here."""
    filled("")
    sdist = beside.index.directory / "sourced-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as file:
        for name, text in tree("sourced", "other==1.0").items():
            member = tarfile.TarInfo(f"sourced-1.0/{name}")
            member.size = len(text.encode())
            file.addfile(member, io.BytesIO(text.encode()))
    for algorithm in ("sha256", "sha512"):
        text = f"sourced==1.0 --hash={algorithm}:{digest(sdist, algorithm)}\n"
        beside.same({"requirements.txt": text}, environ={"UV_REQUIRE_HASHES": "1"})
    wrong = f"sourced==1.0 --hash=sha512:{'0' * 128}\n"
    beside.refused({"requirements.txt": wrong}, says="sha512:0000")


def test_files_that_only_uv_reads(beside: Beside, filled: Callable[[str], str]) -> None:
    """Their hashes are not checked, which is said, or have to be stated here."""
    further = beside.index.directory / "further.txt"
    further.write_text(filled("other==1.0 --hash=sha256:{!sha256}\n"))
    line = f"-r {beside.index.url.removesuffix('simple')}packages/further.txt\n"
    ended = beside.pkgview(beside.project({"requirements.txt": line}))
    assert (ended.status, ended.distributions) == (0, {"other": "1.0"}), ended.said
    assert "further.txt are not looked at" in ended.said
    pinned = filled("demo==1.0 --hash=sha256:{sha256}\n")
    beside.refused({"requirements.txt": pinned + line}, says="other 1.0 has no --hash")
