"""Lines and files for shells, in a home of their own, and read by the real ones."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs.cli import group
from unionfs.cli.enabling import made, service, shells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from resolver.places import Places


def install(places: Places, *names: str) -> None:
    for name in names:
        shells.install(places, name, os.environ, group.main)


def test_a_users_own_file_keeps_what_it_was(isolated_places: Places) -> None:
    home = Path(os.environ["HOME"])
    kept = home / "dotfiles"
    kept.mkdir()
    own = b"export A=1\r\n# \xff\nlast"
    (kept / "bashrc").write_bytes(own)
    (kept / "bashrc").chmod(0o600)
    (home / ".bashrc").symlink_to(kept / "bashrc")
    install(isolated_places, "bash", "bash")
    text = (kept / "bashrc").read_bytes()
    assert text.startswith(own + b"\n[ ! -r ")
    assert text.count(b"hook.sh") == 2
    shells.remove(isolated_places, os.environ)
    assert (kept / "bashrc").read_bytes() == own + b"\n"
    assert (home / ".bashrc").is_symlink()
    assert (kept / "bashrc").stat().st_mode & 0o777 == 0o600
    assert shells.remove(isolated_places, os.environ) == []


def test_what_was_made_is_taken_away_unless_others_use_it(isolated_places: Places) -> None:
    home = Path(os.environ["HOME"])
    config = Path(os.environ["XDG_CONFIG_HOME"])
    (config / "fish/functions").mkdir(parents=True)
    before = sorted(home.rglob("*")), sorted(config.rglob("*"))
    install(isolated_places, "bash", "zsh", "fish", "direnv")
    (config / "direnv/lib/mine.sh").write_text("")
    shells.remove(isolated_places, os.environ)
    made.take_away(isolated_places)
    left = [config / name for name in ("direnv", "direnv/lib", "direnv/lib/mine.sh")]
    assert [
        one
        for one in sorted(home.rglob("*"))
        if config not in (one, *one.parents)
        and isolated_places.state not in (one, *one.parents)
        and one not in isolated_places.state.parents
    ] == [one for one in before[0] if config not in (one, *one.parents)]
    assert sorted(config.rglob("*")) == sorted([*before[1], *left])
    (home / ".bashrc").touch()
    install(isolated_places, "bash")
    shells.remove(isolated_places, os.environ)
    made.take_away(isolated_places)
    assert (home / ".bashrc").read_text() == "", "an empty one that was there stays"


@pytest.mark.parametrize("shell", ["sh", "fish", "csh"])
def test_a_printed_line_is_known_again_with_its_mark_and_without(
    isolated_places: Places, shell: str
) -> None:
    line = shells.line(isolated_places, {"SHELL": f"/bin/{shell}"})
    before = line.removesuffix(f" {shells.MARK}")
    assert before != line
    profile = Path(os.environ["HOME"], ".profile")
    profile.write_text(f"first\n{line}\n{before}\nexport PATH=~/bin:$PATH\n")
    assert shells.remove(isolated_places, os.environ) == [profile]
    assert profile.read_text() == "first\nexport PATH=~/bin:$PATH\n"


def test_no_file_is_there_where_a_name_is_odd(
    isolated_places: Places, needs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is quoted: a shell that reads it says nothing, and goes on."""
    needs("bash", "zsh", "fish")
    odd = Path(os.environ["HOME"]).parent / "it's $(touch x) @FILES@"
    odd.mkdir()
    monkeypatch.setenv("HOME", str(odd))
    monkeypatch.setenv("XDG_STATE_HOME", str(odd / "state"))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    places = type(isolated_places).from_environ()
    # Somebody has mounted already.
    (places.mount / "bin").mkdir(parents=True)
    (places.mount / "bin/python").symlink_to("/bin/true")
    install(places, "bash", "zsh", "fish", "direnv")
    for shell in ("bash", "zsh", "fish"):
        ended = subprocess.run(
            [shell, "-i"], cwd=odd, input="echo on\nexit\n", capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert "on" in ended.stdout, ended
        lines = [line for line in ended.stderr.splitlines() if "it's" in line and "$(" not in line]
        assert lines == []
    checked = subprocess.run(["bash", "-n", odd / ".config/direnv/lib/pkgview.sh"], check=False)
    assert checked.returncode == 0
    assert not (odd / "x").exists()


def test_commands_and_options_are_completed(
    isolated_places: Places, needs: Callable[..., None], tmp_path: Path
) -> None:
    needs("bash", "zsh", "fish")
    install(isolated_places, "bash", "zsh", "fish")
    script = tmp_path / "try"
    script.write_text(
        f". {isolated_places.state}/shell/completion.bash\n"
        "COMP_WORDS=(pkgview un); COMP_CWORD=1; _pkgview_completion pkgview; echo ${COMPREPLY[@]}\n"
        "COMPREPLY=(); COMP_WORDS=(pkgview up --off); COMP_CWORD=2\n"
        "_pkgview_completion pkgview; echo ${COMPREPLY[@]}\n"
        "COMPREPLY=(); COMP_WORDS=(pkgview up --extra p); COMP_CWORD=3\n"
        "_pkgview_completion pkgview; echo ${COMPREPLY[@]}\n"
    )
    # A clone's, whose text would stand on the command line as it is.
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "a"\nversion = "1"\n[project.optional-dependencies]\n'
        'plain = []\n"p$(touch x)" = []\n"p\\u001b[2J" = []\n"p;x" = []\n'
    )
    environ = os.environ | {
        "PATH": f"{service.own_command().rpartition('/')[0]}:{os.environ['PATH']}"
    }
    done = subprocess.run(
        ["bash", script], capture_output=True, text=True, check=True, env=environ, cwd=tmp_path
    )
    assert done.stdout.splitlines() == ["unbind", "--offline", "plain"]
    (isolated_places.mount / "bin").mkdir(parents=True)  # as if it were mounted
    (isolated_places.mount / "bin/python").symlink_to("/bin/true")
    # zsh's own may begin after the line that reads ours, or never.
    start = Path(os.environ["HOME"], ".zshrc")
    for more, known in (("autoload -Uz compinit; compinit -u\n", "1"), ("", "0")):
        start.write_text(f". {isolated_places.state}/shell/hook.sh\n{more}")
        done = subprocess.run(
            ["zsh", "-i"], input="echo ,${+_comps[pkgview]}\nexit\n", capture_output=True,
            text=True, check=False, env=environ, timeout=60,
        )  # fmt: skip
        assert f",{known}\n" in done.stdout, done
        assert "compdef" not in done.stderr
    done = subprocess.run(
        ["fish", "-c", "complete -C 'pkgview umo'"],
        capture_output=True, text=True, check=True, env=environ,
    )  # fmt: skip
    assert done.stdout.startswith("umount")
    # Values, too; files wherever the shell alone would have completed them.
    here = tmp_path / "here"
    (here / "zlib 1").mkdir(parents=True)
    (here / "zapp.py").write_text("")
    (here / "pyproject.toml").write_text(
        '[project]\nname = "here"\nversion = "1"\ndependencies = ["zope-interface>=5"]\n'
        "[dependency-groups]\nzgroup = []\n"
    )
    (here / "bin").mkdir()
    (here / "bin/zunique").write_text("")
    (here / "bin/zunique").chmod(0o755)
    environ["PATH"] += f":{here}/bin"
    wanted = {
        "run za": "run zapp.py",
        "run -- za": "run -- zapp.py",
        "run zun": "run zunique",
        "run python za": "run python zapp.py",
        "run -w zl": r"run -w zlib\ 1",
        "store export za": "store export zapp.py",
        "up --group zg": "up --group zgroup",
        "remove zo": "remove zope-interface",
        "enable --shell fi": "enable --shell fish",
        "help coming": "help coming-from",
        "help store verif": "help store verify",
    }
    start.write_text(f"autoload -Uz compinit; compinit -u; . {isolated_places.state}/shell/hook.sh")
    for shell in (["bash", "--rcfile", f"{isolated_places.state}/shell/completion.bash", "-i"],
                  ["zsh", "-i"]):  # fmt: skip
        assert on_a_terminal(shell, wanted, here, environ) == list(wanted.values())
    for words, expected in wanted.items():
        done = subprocess.run(
            ["fish", "-c", f"complete -C 'pkgview {words}'"], cwd=here,
            capture_output=True, text=True, check=True, env=environ,
        )  # fmt: skip
        last = expected.replace("\\ ", " ").removeprefix(words.rpartition(" ")[0]).strip()
        assert done.stdout.partition("\t")[0].strip("\n/") == last, done


def on_a_terminal(
    shell: list[str], typed: Iterable[str], cwd: Path, environ: Mapping[str, str]
) -> list[str]:
    """What `pkgview WORDS`, a tab behind it, has become, for each."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        shell, cwd=cwd, env={**environ, "TERM": "dumb"}, start_new_session=True,
        stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    for words in typed:
        os.write(master, f"pkgview {words}\t\x01printf '<%s>\\n' '\x05'\n".encode())
    os.write(master, b"exit\n")
    said = b""
    with suppress(OSError):  # its end
        while part := os.read(master, 1 << 16):
            said += part
    os.close(master)
    process.wait(60)
    return [one.strip(" /") for one in re.findall(r"^<pkgview (.*)>", said.decode(), re.MULTILINE)]
