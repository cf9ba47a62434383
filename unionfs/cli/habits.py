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
    **{name: f"uv {name}" for name in ("init", "build", "publish")},
    "pip tree": "pkgview tree",
    "pip compile": "pkgview lock",
    "tool add": "pkgview tool install",
    "tool ls": "pkgview tool list",
    "tool update": "pkgview tool upgrade",
    "update": "pkgview up --upgrade",
    "deactivate": "pkgview down",
    "exec": "pkgview run",
    "rm": "pkgview remove",
    "self update": "uv tool upgrade pkgview",
    "python": "pkgview run python",
    "which": "pkgview why",
    "allow": "pkgview trust",
    "cache": "pkgview store",
    "start": "pkgview mount",
    "doctor": "pkgview status",
    "version": "pkgview --version",
}
"""Words after `pkgview` -> the command; `…`: with an argument. A command that there is wins."""

_TOLD = {
    "--package --all-packages":
        "A member is a project of its own: name its directory, as in `pkgview up packages/lib`.",
    "--project --directory":
        "Name the directory: `pkgview up DIRECTORY`, `pkgview run --directory DIRECTORY`.",
    "--dev --only-dev --only-group --no-default-groups":
        "Default groups, such as dev, are there unless --no-group or --no-dev is given.",
    "--no-extra --group --no-group --all-groups --no-dev":
        "Options of `pkgview up`, `run`, `shell` and `lock` say which lists a view is for.",
    "--index --default-index --index-url -i --extra-index-url --find-links -f --no-index":
        "List indexes in [[tool.uv.index]], or set UV_DEFAULT_INDEX and UV_INDEX.",
    "--reinstall --reinstall-package --exact --inexact --link-mode --strict":
        "A view holds exactly what is locked, and nothing in it can be damaged: leave it out.",
    "--requirements --requirement --constraints -c --bounds --raw --tag --branch --rev --lfs "
    "--marker -m --workspace --no-workspace --frozen --locked":
        "`uv add --no-sync`, `uv remove --no-sync` know it; `pkgview up` then follows.",
    "--index-strategy --keyring-provider --resolution --prerelease --prerelease-package "
    "--fork-strategy --exclude-newer --exclude-newer-package --no-sources --no-sources-package "
    "--config-setting -C --config-setting-package --config-settings-package --no-build-isolation "
    "--no-build-isolation-package --no-build --no-build-package --no-binary --no-binary-package "
    "--require-build-hashes --no-require-build-hashes --system-certs --allow-insecure-host "
    "--torch-backend":
        "It counts as a setting of uv's, in [tool.uv] of pyproject.toml or in uv.toml.",
    "--config-file --no-config --cache-dir --no-cache -n --refresh --refresh-package":
        "uv's UV_CONFIG_FILE, UV_NO_CONFIG, UV_CACHE_DIR and UV_NO_CACHE count.",
    "--upgrade -U --upgrade-package -P --upgrade-group":
        "`pkgview up --upgrade` takes newer versions, `up --upgrade-package NAME` of one.",
    "--dry-run --check --check-exists":
        "`uv sync --dry-run`, `uv lock --check` say it; `pkgview up --locked` fails instead.",
    "--output-format": "`--json` prints it for programs.",
    "--python-platform --python-version --universal":
        "A view is for this machine, and the Python that --python names.",
    "--managed-python --no-managed-python --no-python-downloads --python -p --python-preference "
    "--python-downloads":
        "`pkgview up --python` names a Python; `--python-fetch` has uv fetch one that is missing.",
    "--no-editable --no-editable-package --no-install-project --no-install-workspace "
    "--no-install-local --no-install-package":
        "A view has the project, as editable, unless [tool.uv] says `package = false`.",
    "--show-paths --show-with --show-extras --show-python --show-version-specifiers --outdated":
        "`pkgview tool list --json` has all that is known of tools.",
    "--overrides --excludes --build-constraints -b":
        "Say with --with what is to be beside it, and in which version: --with 'rich<14'.",
    "--editable -e --exclude-editable --exclude --cert --system --target -t --prefix --prune "
    "--show-sizes":
        "`uv pip list` and `uv pip tree` know it, and read the view in .venv.",
    "-r":
        "In a file: `pkgview up`, in its directory. For one run: `--with-requirements FILE`. "
        "To add them: `uv add --no-sync`; `pkgview up` then follows.",
    "--extra": "Extras of what is added are written as 'httpx[http2]'; the project's: --optional.",
    "--no-sync":
        "Only `pkgview run` has it. To edit without a view: `uv add --no-sync`, "
        "`uv remove --no-sync`.",
    "--env-file --no-env-file":
        "No such file is read. Have the shell read one: `(set -a; . ./.env; pkgview run …)`.",
    "--active": "A view belongs to its project, whichever environment is active: leave it out.",
    "--script": "Name the script as the project: `pkgview up script.py`.",
    "--gui-script": "It is run as any other: `pkgview run script.pyw`.",
    "--isolated": "Each tool has a view of its own anyway: leave it out.",
    "--force": "Remove what is in the way, as the error names it: it is not replaced.",
    "--with-executables-from": "Install that as a tool, too: each has its own commands linked.",
    "--all": "Name them: `pkgview tool list` shows which there are.",
    "--quiet -q": "An option of what says what it does: `pkgview up -q`.",
    "--verbose -v": "`pkgview up -v` lists what a view has, `pkgview why` explains a file.",
    "--color": "Nothing is coloured: leave it out.",
    "--no-progress": "Progress is shown on a terminal only, and by none that is told -q.",
    "--compile-bytecode": "It is done in the background; `pkgview up --compile` waits for it.",
    "--offline": "No network is asked: leave it out.",
}  # fmt: skip

OPTIONS = {name: said for names, said in _TOLD.items() for name in names.split()}
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
