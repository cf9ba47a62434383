"""User and password in the addresses that a project names, beside uv.

A row is a requirements.txt in which `{ann}` and `{bob}` are indexes of theirs on one host, with
passwords, and `{links}` is a page of links of eve's. `demo` is ann's, `other` bob's, eve has both.
What begins with `{odd-` is for a password of characters that end many a pattern, but no address.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.beside.conftest import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.mounted.beside.conftest import Beside
    from tests.mounted.conftest import Index

pytestmark = [pytest.mark.fuse]

USERS = ("annslogin", "bobslogin", "eveslogin", "oddslogin")
ODD = "'<>~,;=!"
"""The end of a password that is written as it is."""

NO_INDEX = {"UV_DEFAULT_INDEX": "", "UV_INDEX_URL": "", "PIP_INDEX_URL": ""}
ENVIRON = {**NO_INDEX, "UV_HTTP_RETRIES": "0", "LOGIN": USERS[0], "WORD": USERS[0][::-1]}

ROWS = {
    "an index": "--index-url {ann}\ndemo",
    "by its letter": "-i {ann}\ndemo",
    "with =, and a slash": "--index-url={ann}/\ndemo",
    "in quotes": '--index-url="{ann}"\ndemo',
    "in a nested file": "-r sub/more.txt\ndemo\n# sub/more.txt: --index-url {ann}",
    "by variables": "--index-url {variables}\ndemo",
    "quoted": "--index-url {quoted}\ndemo",
    "two on one host": "--index-url {ann}\n--extra-index-url {bob}\ndemo\nother",
    "the other way round": "--index-url {bob}\n--extra-index-url {ann}\nother\ndemo",
    "a page of links": "--no-index\n--find-links {links}\ndemo\nother",
    "a page by its letter": "--no-index\n-f {links}\ndemo\nother",
    "a file": "demo @ {file}",
    "a file without a name": "{file}",
    "a file by variables": "demo @ {file-by-variables}",
    "a file of an index": "--index-url {ann}\ndemo @ {plain-file}",
    "a file with a hash": "demo @ {file} --hash=sha256:{digest}",
    "an index in a variable": "--index-url ${WHOLE_INDEX}\ndemo",
    "its user in a variable": "--index-url=http://${WHOLE_USER}@{index-at-host}\ndemo",
    "a page in a variable": "--no-index\n--find-links ${WHOLE_LINKS}\ndemo",
    "a file in a variable": "demo @ ${WHOLE_FILE}",
    "a file without a name in a variable": "${WHOLE_FILE}",
    "its start in a variable": "demo @ ${WHOLE_PLACE}/packages/{wheel}",
    "its scheme in a variable": "demo @ ${SCHEME}{file-after-scheme}",
    "an index of odd characters": "-i {odd-index}\ndemo",
    "an index of them in quotes": '--index-url "{odd-index}"\ndemo',
    "a page of them": "--no-index\n-f {odd-links}\ndemo",
    "a file of odd characters": "demo @ {odd-file}",
}


@pytest.fixture(scope="module")
def index(beside: Beside) -> Index:
    index = beside.index
    index.wheel("demo")
    index.wheel("other")
    theirs = (("demo",), ("other",), ("demo", "other"), ("demo",))
    for user, names in zip(USERS, theirs, strict=True):
        index.guard(f"/{user[:3]}", user, *names)
    guard = index.guards["/odd"]
    index.guards["/odd"] = dataclasses.replace(guard, said=f"{guard.said}{ODD}")
    return index


def environ_of(index: Index, version: str) -> dict[str, str]:
    """With variables that hold whole addresses, or a good part of one."""
    wheel = f"/packages/demo-{version}-py3-none-any.whl"
    return {
        **ENVIRON,
        "SCHEME": "http",
        "WHOLE_FILE": index.guarded("/ann", wheel),
        "WHOLE_INDEX": index.guarded("/ann"),
        "WHOLE_LINKS": index.guarded("/eve", "/links.html"),
        "WHOLE_PLACE": index.guarded("/ann", ""),
        "WHOLE_USER": index.guards["/ann"].said,
    }


def by_metadata(text: str) -> dict[str, str | bytes]:
    """A source tree of which only its back end says what it needs."""
    files = tree("tree")
    del files["PKG-INFO"]
    needs = f"[options]\ninstall_requires =\n    demo @ {text}\n"
    files["pyproject.toml"] = files["pyproject.toml"].replace(
        "[build", 'dynamic = ["dependencies"]\n[build'
    )
    said = "Requires-Dist: {open('setup.cfg').read().partition('    ')[2]}"
    back = files["back.py"].replace("Version: 1.0\\n", f"Version: 1.0\\n{said}")
    files |= {"setup.cfg": needs, "back.py": f"{back}\nbuild_editable = build_wheel\n"}
    return {f"tree/{name}": content for name, content in files.items()}


def filled(text: str, index: Index, version: str = "1.0") -> dict[str, str | bytes]:
    """The files of a row."""
    import hashlib  # noqa: PLC0415

    wheel = index.directory / f"demo-{version}-py3-none-any.whl"
    file = f"/packages/{wheel.name}"
    user, word = USERS[0], USERS[0][::-1]
    known = {
        "ann": index.guarded("/ann"),
        "bob": index.guarded("/bob"),
        "variables": index.guarded("/ann", said="${LOGIN}:${WORD}"),
        "quoted": index.guarded("/ann", said=f"%61{user[1:]}:{word}"),
        "links": index.guarded("/eve", "/links.html"),
        "file": index.guarded("/ann", file),
        "file-by-variables": index.guarded("/ann", file, said="${LOGIN}:${WORD}"),
        "wheel": wheel.name,
        "index-at-host": index.guarded("/ann").partition("@")[2],
        "file-after-scheme": index.guarded("/ann", file).removeprefix("http"),
        "odd-index": index.guarded("/odd"),
        "odd-links": index.guarded("/odd", "/links.html"),
        "odd-file": index.guarded("/odd", file),
        "plain-file": index.guarded("/ann", file).replace(f"{user}:{word}@", ""),
        "digest": hashlib.sha256(wheel.read_bytes()).hexdigest(),
    }
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value)
    listed, _, further = text.partition("\n# sub/more.txt: ")
    return {"requirements.txt": f"{listed}\n", "sub/more.txt": f"{further}\n"}


@pytest.fixture(scope="module")
def command_lines() -> Iterator[set[bytes]]:
    """Those that a password was seen in, of all processes of the machine, meanwhile."""
    seen: set[bytes] = set()
    over = threading.Event()
    secrets = [user[::-1].encode() for user in USERS]

    def look() -> None:
        while not over.wait(0.005):
            for directory in Path("/proc").iterdir():
                try:
                    line = (directory / "cmdline").read_bytes() if directory.name.isdigit() else b""
                except OSError:
                    continue
                if any(secret in line for secret in secrets):
                    seen.add(line)

    watcher = threading.Thread(target=look)
    watcher.start()
    yield seen
    over.set()
    watcher.join()


def written(beside: Beside) -> list[str]:
    """What has a password in it of all that pkgview has written, but for the projects' files."""
    home = beside.site.home
    theirs = [one for one in home.iterdir() if one.name.startswith(("row", "uv-", "pip-"))]
    places = [beside.site.places.state, beside.site.places.cache, beside.site.places.store]
    others = [one for one in home.iterdir() if one not in theirs and one.name != ".pkgview"]
    found = []
    for place in {*places, *others}:
        for path in [place, *place.rglob("*")] if place.is_dir() else [place]:
            if path.is_file() and not path.is_symlink() and "/uv/" not in str(path):
                data = path.read_bytes()
                found += [str(path) for user in USERS if user[::-1].encode() in data]
    return found


@pytest.mark.parametrize("row", ROWS)
def test_rows(row: str, beside: Beside, index: Index, command_lines: set[bytes]) -> None:
    index.heard.clear()
    version = f"1.{1 + list(ROWS).index(row)}"  # that nobody has fetched before
    index.wheel("demo", version)
    index.wheel("other", version)
    environ = environ_of(index, version)
    made = beside.same(filled(ROWS[row], index, version), environ=environ)
    assert set(made.distributions.values()) == {version}
    for path in made.root.glob("lib/python3*/site-packages/*.dist-info/*"):
        assert not any(user[::-1] in path.read_text() for user in USERS), path
    places = {user: f"/{user[:3]}" for user in USERS}
    assert {place for place, _ in index.heard} <= set(places.values())
    assert not written(beside)
    assert not command_lines
    # Nor has what is committed.
    beside.site.pkgview("lock", cwd=made.root.parent, environ=environ)
    lock = (made.root.parent / "pylock.toml").read_text()
    assert not any(user[::-1] in lock for user in USERS)
    assert beside.pkgview(made.root.parent, environ=environ).status == 0


def test_a_password_goes_to_its_own_place(beside: Beside, index: Index) -> None:
    """Not to what a lock names elsewhere on that host."""
    directory = beside.project(filled("--index-url {ann}\ndemo==1.0", index))
    assert beside.pkgview(directory, environ=ENVIRON).status == 0
    beside.site.pkgview("lock", cwd=directory, environ=ENVIRON)
    lock = directory / "pylock.toml"
    assert USERS[0] not in lock.read_text()
    lock.write_text(lock.read_text().replace("/ann/packages/demo-1.0", "/bob/packages/other-1.0"))
    index.heard.clear()
    ended = beside.pkgview(directory, "--frozen", environ=ENVIRON)
    assert ended.status == 1
    assert "401" in ended.said or "is not" in ended.said
    assert ("/bob", f"{USERS[0]}:{USERS[0][::-1]}") not in index.heard


def test_a_lock_has_no_password_of_a_variable(beside: Beside, index: Index) -> None:
    """And a new password needs no new lock."""
    for text in ("demo @ {file-by-variables}", "--index-url {variables}\ndemo==1.0"):
        directory = beside.project(filled(text, index))
        beside.site.pkgview("lock", cwd=directory, environ=ENVIRON)
        assert USERS[0][::-1] not in (directory / "pylock.toml").read_text()
        assert beside.pkgview(directory, environ=ENVIRON).distributions == {"demo": "1.0"}
    old = index.guards["/ann"]
    try:
        wheel = index.wheel("demo", files={"demo.py": b"again = True\n"})
        index.guard("/ann", "annagain", "demo")
        again = {**ENVIRON, "LOGIN": "annagain", "WORD": "niaganna"}
        directory = beside.project(filled("demo @ {file-by-variables}", index))
        assert beside.pkgview(directory, environ=again).status == 0
        assert wheel.exists()
    finally:
        index.guards["/ann"] = old


SETTINGS: Mapping[str, tuple[dict[str, str], str]] = {
    "UV_FIND_LINKS": ({"UV_FIND_LINKS": "{links}"}, ""),
    "uv.toml": ({}, 'find-links = ["{links}"]\nno-index = true\n'),
    "[pip]": ({}, '[pip]\nfind-links = ["{links}"]\nno-index = true\n'),
    "[pip] index-url": ({}, '[pip]\nindex-url = "{ann}"\n'),
}


@pytest.mark.parametrize("row", SETTINGS)
def test_of_settings(row: str, beside: Beside, index: Index) -> None:
    variables, text = SETTINGS[row]
    environ = {name: str(filled(value, index)["requirements.txt"]).strip()
               for name, value in variables.items()}  # fmt: skip
    files = {"requirements.txt": "demo\n", "uv.toml": filled(text, index)["requirements.txt"]}
    beside.same(files, environ={**ENVIRON, **environ})


@pytest.mark.parametrize("line", ["./tree", "-e ./tree"])
def test_of_what_a_back_end_says(line: str, beside: Beside, index: Index, tmp_path: Path) -> None:
    """By a cache of its own each time: uv's has **** for the password, and gets 401 with that."""
    needs = str(filled("{file}", index)["requirements.txt"]).strip()
    directory = beside.project({"requirements.txt": f"{line}\n", **by_metadata(needs)})
    made = beside.pkgview(directory, environ={**ENVIRON, "UV_CACHE_DIR": f"{tmp_path}/1"})
    assert (made.status, made.distributions) == (0, {"demo": "1.0", "tree": "1.0"}), made.said
    assert not written(beside)
    again = {**ENVIRON, "UV_CACHE_DIR": f"{tmp_path}/2"}
    beside.site.pkgview("lock", cwd=directory, environ=again)
    assert "@" not in (directory / "pylock.toml").read_text()


NAMED = ("UV_CONSTRAINT", "UV_OVERRIDE", "PIP_CONSTRAINT")


@pytest.mark.parametrize("row", NAMED)
@pytest.mark.parametrize("listed", ["requirements.txt", "pyproject.toml"])
def test_of_files_that_settings_name(
    row: str, listed: str, beside: Beside, index: Index, tmp_path: Path
) -> None:
    named = tmp_path / "named.txt"
    named.write_text(str(filled("demo @ {file}", index)["requirements.txt"]))
    text = "demo\n"
    if listed == "pyproject.toml":
        text = '[project]\nname = "p"\nversion = "1"\ndependencies = ["demo"]\n'
    directory = beside.project({listed: text})
    environ = {**ENVIRON, row: os.fspath(named)}
    made = beside.pkgview(directory, environ=environ)
    assert (made.status, made.distributions) == (0, {"demo": "1.0"}), made.said
    if listed == "requirements.txt":
        theirs = {**environ, "UV_CONSTRAINT": os.fspath(named)} if row[0] == "P" else environ
        assert beside.uv(directory, environ=theirs).distributions == made.distributions
    assert not written(beside)
    beside.site.pkgview("lock", cwd=directory, environ=environ)
    assert USERS[0][::-1] not in (directory / "pylock.toml").read_text()


def test_of_a_script(beside: Beside, index: Index) -> None:
    """uv's own form of its lock has it, too, from which pkgview goes on."""
    for address in ("{file}", "{odd-file}"):
        needs = str(filled(address, index)["requirements.txt"]).strip()
        script = f'# /// script\n# dependencies = ["demo @ {needs}"]\n# ///\nimport demo\n'
        directory = beside.project({"s.py": script})
        assert beside.pkgview(directory, "s.py", environ=ENVIRON).status == 0
        assert not written(beside)
        (directory / "s.py").write_text(script.replace('"]', '", "other"]'))
        more = {**ENVIRON, "UV_INDEX": index.guarded("/bob")}
        ended = beside.pkgview(directory, "s.py", environ=more)
        assert ended.status == 0, ended.said
        assert not written(beside)


def test_none_is_in_a_message(beside: Beside, index: Index, tmp_path: Path) -> None:
    directory = beside.project({"requirements.txt": "", "pyproject.toml": ""})
    gone = index.guarded("/ann", "/packages/gone-1.0-py3-none-any.whl")
    for arguments in (
        ("run", "--with", f"--index-url {index.guarded('/ann')}", "--", "true"),
        ("run", "--with", f"gone @ {gone}", "--", "true"),
        ("add", f"gone=={index.guarded('/ann')}"),
        ("remove", f"gone @ {gone}"),
    ):
        ended = beside.site.pkgview(*arguments, cwd=directory, environ=ENVIRON, code=None)
        assert ended.returncode == 1, arguments
        assert "****@" in ended.stderr, ended.stderr
        assert USERS[0][::-1] not in ended.stderr
    listed = tmp_path / "listed.txt"
    listed.write_text(f"--index-url {index.guarded('/ann')}\ndemo\n")
    run = ("run", "--with-requirements", listed, "--", "true")
    ended = beside.site.pkgview(*run, cwd=directory, environ=ENVIRON, code=None)
    assert USERS[0][::-1] not in ended.stderr


def test_a_wrong_one_is_not_shown(beside: Beside, index: Index) -> None:
    wrong = index.guarded("/ann", said="annslogin:mistaken")
    ended = beside.refused(
        {"requirements.txt": f"--index-url {wrong}\ndemo\n"}, says="401", environ=ENVIRON
    )
    assert "mistaken" not in ended.said
    assert not os.path.lexists(ended.root)


def test_one_over_the_end_of_a_line(beside: Beside, index: Index) -> None:
    """pip joins it, uv refuses it; the file's own words are shown, and kept as agreed to."""
    for text in ("demo @ {file}\n", "--find-links {links}\ndemo\n"):
        written_so = str(filled(text, index)["requirements.txt"])
        cut = re.sub(r"(:[a-z]{3})([a-z]+@)", r"\1\\\n\2", written_so)
        assert cut != written_so
        ended = beside.refused({"requirements.txt": cut}, says="cannot resolve", environ=ENVIRON)
        for user in USERS:
            assert user[::-1][3:] not in ended.said
            for path in beside.site.places.state.rglob("*.json"):
                assert user[::-1][3:] not in path.read_text()


def test_a_repository(beside: Beside) -> None:
    """git is told by its own settings that the address with the token leads to a directory."""
    source = beside.site.project("cloned")
    for name, text in tree("cloned").items():
        (source / name).write_text(text)
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "It")):
        beside.site.run("git", *arguments, cwd=source)
    environ = {
        **ENVIRON,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{source}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://nigolsnna@h.example/g.git",
    }
    for text in (
        "cloned @ git+https://${WORD}@h.example/g.git",
        "git+https://nigolsnna@h.example/g.git",
    ):
        directory = beside.project({"requirements.txt": f"{text}\n"})
        made = beside.pkgview(directory, environ=environ)
        assert made.distributions == {"cloned": "1.0"}, made.said
        assert not written(beside)
        beside.site.pkgview("lock", cwd=directory, environ=environ)
        assert "nigolsnna" not in (directory / "pylock.toml").read_text()
        assert beside.pkgview(directory, environ=environ).status == 0
