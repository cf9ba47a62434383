"""Lines and files by which a shell uses the mount: the hook, completion, direnv's `use pkgview`.

bash and zsh get one line in their start-up file that reads the hook, `<state>/shell/hook.sh`. fish
and direnv read files of their own directories. A line that we wrote, or printed for somebody to
write down, ends in a comment by which `remove` knows it.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import get_completion_class

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from unionfs.cli.enabling import made
from unionfs.cli.enabling.service import own_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import click

    from resolver.places import Places

TEXTS = Path(__file__).parents[1] / "shells"

HOOKED = ("bash", "zsh", "fish", "direnv")

MARK = "# pkgview enable --shell"

_ASK = """\
here=$(readlink "$1/current") && [ "$here" != "$(cd / && readlink "$1/current")" ] || exit 1
if [ "$2/.venv" -ef "$1/$here" ]; then echo "$2/.venv"; else echo "$1"; fi"""
"""What all hooks ask: whether the mount at $1 shows another view here, in the project $2, than
where there is no project. Then the path of an environment that is this view: `.venv`, where it
leads there (uv complains of any other in VIRTUAL_ENV), else the mount."""

STARTED_WITH = (
    ".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zshrc",
    ".login", ".cshrc", ".tcshrc", ".kshrc", ".mkshrc",
)  # fmt: skip
"""Files of a home in which such a line may stand."""


def line(places: Places, environ: Mapping[str, str]) -> str:
    """For a profile: puts the mount's commands on PATH, and mounts where that was not done."""
    commands = shlex.quote(os.fspath(places.mount / "bin"))
    program = shlex.quote(own_command())
    shell = Path(environ.get("SHELL", "")).name
    if shell == "fish":
        text = f"set -gx PATH {commands} $PATH; {program} mount >/dev/null 2>&1 & disown"
    elif shell in {"csh", "tcsh"}:
        text = f"set path = ({commands} $path:q); ( {program} mount >& /dev/null & )"
    else:
        text = f'export PATH={commands}:"$PATH"; ({program} mount >/dev/null 2>&1 &)'
    return f"{text} {MARK}"


def install(
    places: Places, shell: str, environ: Mapping[str, str], command: click.Command
) -> list[Path]:
    """Write the hook and the completion of one of `HOOKED`: the files that are new or changed."""
    home, files = Path(environ["HOME"]), places.state / "shell"
    config = _config(environ)
    if shell == "direnv":
        return [_write(places, config / "direnv/lib/pkgview.sh", _text("direnv.sh", places))]
    if shell == "fish":
        return [
            _write(places, config / "fish/conf.d/pkgview.fish", _text("hook.fish", places)),
            _write(places, config / "fish/completions/pkgview.fish", completion(command, shell)),
        ]
    hook = _write(places, files / "hook.sh", _text("hook.sh", places))
    written = [hook, _write(places, files / f"completion.{shell}", completion(command, shell))]
    start = Path(environ.get("ZDOTDIR") or home, ".zshrc") if shell == "zsh" else home / ".bashrc"
    quoted = shlex.quote(os.fspath(hook))
    reads, before = f"[ ! -r {quoted} ] || . {quoted} {MARK} {shell}", _read(start)
    if reads not in before.split("\n"):
        made.remember(places, start, itself=True)
        newline = "" if not before or before.endswith("\n") else "\n"
        written.append(_replace(start, f"{before}{newline}{reads}\n"))
    return written


def remove(places: Places, environ: Mapping[str, str]) -> list[Path]:
    """Take it all away, lines that were printed included: what has changed or is gone."""
    changed = []
    for path in _start_files(environ):
        before = _read(path)
        after = "\n".join(one for one in before.split("\n") if not _is_ours(one, places))
        if after != before:
            changed.append(_replace(path, after))
    config, files = _config(environ), places.state / "shell"
    for path in (
        config / "fish/conf.d/pkgview.fish",
        config / "fish/completions/pkgview.fish",
        config / "direnv/lib/pkgview.sh",
        *(files / name for name in ("hook.sh", "completion.bash", "completion.zsh")),
    ):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _stuck(path, error) from error
        changed.append(path)
    return changed


def completion(command: click.Command, shell: str) -> str:
    """What a shell reads to complete `pkgview`; it asks `pkgview` at each time."""
    if shell == "bash":  # click's knows either words or files
        return (TEXTS / "completion.bash").read_text()
    found = get_completion_class(shell)
    if found is None:
        raise TypeError(f"click knows no {shell}")
    made = found(command, {}, "pkgview", "_PKGVIEW_COMPLETE")
    return made.source_template % made.source_vars()


def _is_ours(text: str, places: Places) -> bool:
    """A line of `install` or `line`, today's or that of a version before it had a mark."""
    code, mark, _ = text.partition(f" {MARK}")
    if mark:
        return True
    commands = shlex.quote(os.fspath(places.mount / "bin"))
    starts = (
        f'export PATH={commands}:"$PATH"; (',
        f"set -gx PATH {commands} $PATH; ",
        f"set path = ({commands} $path:q); ",
    )
    return code.startswith(starts) and " mount >" in code


def _start_files(environ: Mapping[str, str]) -> Iterator[Path]:
    places = dict.fromkeys((environ["HOME"], environ.get("ZDOTDIR") or environ["HOME"]))
    for directory in places:
        for name in STARTED_WITH:
            yield Path(directory, name)
    yield _config(environ) / "fish/config.fish"


def _config(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path(environ["HOME"], ".config"))


def _text(name: str, places: Places) -> str:
    text = (TEXTS / name).read_text()
    for word, value in (
        ("@ASK@", _ASK),
        ("@MOUNT@", places.mount),
        ("@PKGVIEW@", own_command()),
        ("@FILES@", places.state / "shell"),
        ("@TRUSTED@", places.state / "trusted"),
    ):
        text = text.replace(word, shlex.quote(os.fspath(value)))
    return text


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _stuck(path, error) from error


def _replace(path: Path, text: str) -> Path:
    """Write a file of the user's, which may be a link to where those are kept, with its mode."""
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    write_atomically(target, text.encode("utf-8", "surrogateescape"))
    target.chmod(mode)
    return path


def _write(places: Places, path: Path, text: str) -> Path:
    made.remember(places, path)
    write_atomically(path, text.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
    return path


def _stuck(path: Path, error: OSError) -> PkgviewError:
    return PkgviewError(
        f"{path} cannot be changed: {error.strerror}",
        remedy="Take what pkgview wrote there away by hand.",
    )
