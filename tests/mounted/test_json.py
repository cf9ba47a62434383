"""What `--json` prints, of all commands: one document, of the shape that `-h` gives."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import click
import pytest

from tests.docs.pages import commands
from unionfs import cli
from unionfs.cli.enabling import service

if TYPE_CHECKING:
    from tests.mounted.conftest import Index, Site

WITHOUT = {"", "run", "shell", "tool", "tool run", "help"}
"""They become another program, or print a text."""

CALLS = """
up
up --compile
view
view --provenance
why common
list
tree
outdated
add gamma
remove gamma
lock
ps
explain {pid}
bind --pid {pid}
ps
unbind --all
trust
trust --list
trust --revoke
store
store list
store du
store pin
store pin --list
store unpin
store verify
store verify --signatures
store copy {home}/team
store copy --views {home}/www .
pull
store add --trust oci://registry.example.org/team/env
store list
store remove oci://registry.example.org/team/env
store add {home}/team
store list
store remove {home}/team
store export {home}/archives.tar
store import {home}/archives.tar
export --tar {home}/exported.tar
gc --dry-run
enable
enable --shell bash
enable --service
disable
projects
tool install gamma
tool list
tool upgrade gamma
tool uninstall gamma
status
upgrade
down
forget
mount
umount
status
"""
"""In an order in which each has something to say."""

WORDS = {
    "explain {pid}": "by rule 'directory' (its working directory: ",
    "trust --list": "/project: trusted\n",
    "upgrade": "as before, by a new process of it",
}
"""What some of them say to people, which no JSON does."""


def parsed(text: str) -> Any:  # noqa: ANN401 - as wide as JSON
    """`{a, b: {c}, d: [e]}` as {"a": None, "b": {"c": None}, "d": [None]}; "…" is a key, too."""
    tokens = re.findall(r"[{}\[\],:]|[^{}\[\],:\s]+", text)

    def value() -> Any:  # noqa: ANN401
        match tokens.pop(0):
            case "{":
                found: dict[str, Any] = {}
                while tokens[0] != "}":
                    name = tokens.pop(0)
                    found[name] = None
                    if tokens[0] == ":":
                        tokens.pop(0)
                        found[name] = value()
                    if tokens[0] == ",":
                        tokens.pop(0)
                tokens.pop(0)
                return found
            case "[":
                inner = value()
                assert tokens.pop(0) == "]"
                return [inner]
            case _:
                return None

    shape = value()
    assert not tokens, text
    return shape


def faults(shape: Any, said: Any, place: str = "") -> list[str]:  # noqa: ANN401
    """Where an answer differs; null fits everywhere but at the top."""
    if said is None and place:
        return []
    if isinstance(shape, dict) and isinstance(said, dict):
        named = shape.keys() - {"…"}
        wrong = (named - said.keys()) if "…" in shape else (named ^ said.keys())
        return [f"{place}.{key}" for key in wrong] + [
            fault for key in named & said.keys()
            for fault in faults(shape[key], said[key], f"{place}.{key}")
        ]  # fmt: skip
    if isinstance(shape, list) and isinstance(said, list):
        return [fault for one in said for fault in faults(shape[0], one, f"{place}[]")]
    plain = shape is None and not isinstance(said, dict | list)
    return [] if plain else [f"{place}: {said!r}"]


def shapes() -> dict[str, Any]:
    """By the words of the command, with the option of a further answer behind it."""
    found: dict[str, Any] = {}
    for name, command in commands().items():
        option = next((one for one in command.params if "--json" in one.opts), None)
        assert (option is None) == (name in WITHOUT), f"pkgview {name}"
        if isinstance(option, click.Option):
            said = (option.help or "").removeprefix("Print it as JSON: ")
            first, *others = said.split("; ")
            found[name] = parsed(first)
            for other in others:
                if match := re.fullmatch(r"with (--[a-z-]+)(?: [A-Z]+)?: (.*)", other):
                    found[f"{name} {match[1]}"] = parsed(match[2])
    return found


def test_each_answer_has_the_shape_that_the_help_gives(
    shop: Site, index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: thirty that start one after the other would take ten seconds."""
    for name in ("alpha", "beta"):
        needs = [] if name == "alpha" else ["alpha"]
        index.wheel(name, files={"common.py": name.encode()}, requires=needs)
    index.wheel("gamma", scripts=["gamma=gamma:hello"])
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\nbeta\n")
    for variable in os.environ.keys() - shop.environ.keys():
        monkeypatch.delenv(variable)
    for variable, value in shop.environ.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(directory)
    # Else it would speak to the systemd of whoever runs the tests.
    monkeypatch.setattr(service, "RUNNING", shop.home / "no-systemd")
    expected, covered = shapes(), set()
    shop.pkgview("up", cwd=directory)
    program = "import sys; print('begun', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [shop.places.mount / "bin/python", "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory, env=dict(shop.environ),
    ) as asking:  # fmt: skip
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"begun\n"
        for call, words_said in WORDS.items():
            with pytest.raises(SystemExit):
                cli.main(call.format(pid=asking.pid).split())
            assert words_said in "".join(capsys.readouterr())
        for call in CALLS.format(pid=asking.pid, home=shop.home).split("\n")[1:-1]:
            words = shlex.split(call)
            key = next(
                key
                for key in sorted(expected, key=len, reverse=True)
                if set(key.split()) <= set(words) and words[0] == key.split()[0]
            )
            if words == ["umount"]:
                asking.communicate()  # or it would be in use
            answer = said(words, capsys)
            assert faults(expected[key], answer) == [], call
            covered.add(key)
            if words == ["tree"]:
                tree_as_of_uv(answer, said(["tree", "--invert", "--format", "json"], capsys))
    # `push` needs a registry: `test_push` compares its answer.
    assert covered == expected.keys() - {"push"}


def tree_as_of_uv(tree: Any, inverted: Any) -> None:  # noqa: ANN401 - as wide as JSON
    """The distributions and what they need, in the form of `uv tree --format json`."""
    alpha, beta = {"id": "alpha==1.0"}, {"id": "beta==1.0"}
    assert (tree["roots"], inverted["roots"]) == ([beta], [alpha])
    assert (tree["inverted"], inverted["inverted"]) == (False, True)
    assert tree["resolution"]["beta==1.0"] == {
        "name": "beta", "version": "1.0", "dependencies": [alpha],
    }  # fmt: skip
    assert inverted["resolution"]["alpha==1.0"]["dependencies"] == [beta]


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401
    with pytest.raises(SystemExit):
        cli.main([*words, "--json"])
    return json.loads(capsys.readouterr().out)
