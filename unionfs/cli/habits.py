"""What other programs call it, and what it is here: for who types a command or option of theirs.

It is imported only where something was typed that there is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HABITS = {
    **dict.fromkeys(("sync", "install", "pip", "pip sync", "venv", "create"), "pkgview up"),
    **dict.fromkeys(("install …", "pip install"), "pkgview add"),
    **dict.fromkeys(("uninstall", "pip uninstall"), "pkgview remove"),
    **dict.fromkeys(("pip list", "ls"), "pkgview list"),
    **dict.fromkeys(("pip freeze", "freeze"), "pkgview list --format freeze"),
    **dict.fromkeys(("pip show", "show", "info"), "pkgview view"),
    **dict.fromkeys(("activate", "enter"), "pkgview shell"),
    **dict.fromkeys(("prune", "clean"), "pkgview gc"),
    **dict.fromkeys(("unmount", "stop"), "pkgview umount"),
    **dict.fromkeys(("uvx", "pipx", "x"), "pkgview tool run"),
    **{name: f"pkgview store {name}" for name in ("verify", "pin", "unpin", "du", "import")},
    **dict.fromkeys(("tool remove", "tool rm"), "pkgview tool uninstall"),
    **{name: f"uv {name}" for name in ("init", "build", "publish", "export")},
    "pip tree": "pkgview tree",
    "pip compile": "pkgview lock",
    "tool add": "pkgview tool install",
    "tool ls": "pkgview tool list",
    "tool update": "pkgview tool upgrade",
    "update": "pkgview up --upgrade",
    "deactivate": "pkgview down",
    "exec": "pkgview run",
    "python": "pkgview run python",
    "which": "pkgview why",
    "allow": "pkgview trust",
    "cache": "pkgview store",
    "start": "pkgview mount",
    "doctor": "pkgview status",
    "version": "pkgview --version",
}
"""Words after `pkgview` -> the command; `…`: with an argument. A command that there is wins."""

_MEMBER = "A member is a project of its own: name its directory, as in `pkgview up packages/lib`."
_PLACE = "Name the directory: `pkgview up DIRECTORY`, `pkgview run --directory DIRECTORY`."
_DEV = "The group dev is there unless --no-dev is given."
_INDEX = "List indexes in [[tool.uv.index]], or set UV_DEFAULT_INDEX and UV_INDEX."
_WHOLE = "A view holds exactly what is locked, and nothing in it can be damaged: leave it out."
_BY_UV = "`uv add --no-sync` knows it; `pkgview up` then follows."

OPTIONS = {
    **dict.fromkeys(("--package", "--all-packages"), _MEMBER),
    **dict.fromkeys(("--project", "--directory"), _PLACE),
    **dict.fromkeys(("--dev", "--only-dev", "--only-group"), _DEV),
    **dict.fromkeys(("--index", "--default-index", "--index-url", "--extra-index-url"), _INDEX),
    **dict.fromkeys(("--reinstall", "--reinstall-package", "--exact", "--inexact"), _WHOLE),
    **dict.fromkeys(("--requirements", "--requirement", "--bounds", "--raw", "--tag"), _BY_UV),
    **dict.fromkeys(("--branch", "--rev", "--marker", "--index-strategy"), _BY_UV),
    "-r": "In a file: `pkgview up`, in its directory. For one run: `--with-requirements FILE`. "
    f"To add them: {_BY_UV}",
    "--no-sync": "Only `pkgview run` has it. To edit without a view: `uv add --no-sync`, "
    "`uv remove --no-sync`.",
    "--env-file": "Have the shell read it: `(set -a; . ./.env; pkgview run …)`.",
    "--active": "A view belongs to its project, whichever environment is active: leave it out.",
    "--script": "Name the script as the project: `pkgview up script.py`.",
    "--quiet": "Notes are on standard error: `2>/dev/null`.",
    "--no-install-project": "Set `package = false` in [tool.uv] of pyproject.toml.",
}
"""An option of uv's or pip's that a command has not -> what to do instead."""


def instead(path: str, words: Sequence[str], known: Sequence[str]) -> str:
    """`; did you mean …?` for the words after the group `path`, which has the commands `known`."""
    before = path.split()[1:]
    first = words[0].lower()
    named = not words[1:2] or words[1].startswith("-")
    tried = (*([] if named else [f"{first} {words[1]}", f"{first} …"]), first)
    for one in tried:
        habit = HABITS.get(" ".join((*before, one)))
        if habit is not None:
            return f"; did you mean `{habit}`?"
    usual = {} if before else {name: here for name, here in HABITS.items() if " " not in name}
    return meant(first, usual | {one: f"{path} {one}" for one in known})


def meant(name: str, known: Mapping[str, str]) -> str:
    """`; did you mean …?` for a name like one of `known`, which gives what to type; or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a wrong name

    near = get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    return f"; did you mean `{known[near[0]]}`?" if near else ""
