from __future__ import annotations

import time

import pytest

from resolver.python.git.lfs import VARIABLE, is_wanted, noted

LOCK = b"""[[packages]]
name = "demo-lib"
version = "1"
vcs = { type = "git", url = "https://host/demo", commit-id = "00" }

[[packages]]
name = "other"
vcs = { type = "git", url = "https://host/other", commit-id = "00" }
"""
NOTE = b'commit-id = "00" }\ntool = { pkgview = { lfs = true } }\n'


@pytest.mark.parametrize(
    "text",
    [
        "Demo_Lib @ git+https://host/demo@v1#lfs=true\n",
        "demo.lib[x, y]@git+https://host/demo#subdirectory=in/it&lfs=true ; python_version > '3'\n",
        "[project]\ndependencies = ['a', 'demo-lib @ git+https://host/demo#lfs=true']\n",
        "[tool.uv.sources]\ndemo_lib = {git = 'https://host/demo', lfs = true}\n",
        "[tool.uv.sources]\ndemo-lib = [{git = 'https://host/demo', lfs = true, marker = 'x'}]\n",
        "[[package]]\nname = 'demo-lib'\nsource = {git = 'https://h/d?lfs=true&rev=v1#00'}\n",
        "[[package]]\nname = 'demo-lib'\nsource = {git = 'https://h/d?rev=v1&lfs=true#00'}\n",
    ],
)
def test_who_asks_for_it(text: str) -> None:
    made = noted(LOCK, [text.encode()])
    assert made == LOCK.replace(b'commit-id = "00" }\n', NOTE, 1)


@pytest.mark.parametrize(
    "text",
    [
        "demo-lib @ git+https://host/demo#lfs=false\n",
        "demo-lib @ git+https://host/lfs=true\n",
        "demo-lib @ git+https://host/demo#egg=lfs=true\n",
        "# lfs=true\n[tool.uv.sources]\ndemo-lib = {git = 'https://host/demo'}\n",
        "[tool.uv]\nsources = 'lfs=true'\n",
        "[[package]]\nname = 'demo-lib'\nsource = 'lfs'\n",
        "[[package]]\nname = 'demo-lib'\nsource = {git = 'https://h/lfs=true#00'}\n",
    ],
)
def test_who_does_not(text: str) -> None:
    assert noted(LOCK, [text.encode()]) == LOCK


@pytest.mark.parametrize(
    "text", ["a" * 2**20, "git+" * 2**18, "git+x#" * 2**17, "git+x#" + "a&" * 2**19]
)
def test_in_time_that_grows_as_the_text_does(text: str) -> None:
    began = time.process_time()
    noted(LOCK, [f"lfs {text}".encode()])
    assert time.process_time() - began < 5


def test_what_a_lock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_wanted({"pkgview": {"lfs": True}})
    assert not any(map(is_wanted, ({"pkgview": {"lfs": "true"}}, {"pkgview": 1}, {}, None)))
    monkeypatch.setenv(VARIABLE, "1")
    assert is_wanted(None)
