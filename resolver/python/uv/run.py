"""uv, run as a child: a prepared environment in, its output or one `PkgviewError` out.

uv explains its failures well. Its explanation is kept in `what`, word for word but for commands of
uv's that would change a view; the remedy is chosen here, because it names pkgview's commands.
Progress and warnings are left out.

A child runs in a session of its own and the whole session is killed when we stop waiting for it:
uv starts git and build back ends, which must not go on working for nobody.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from resolver.errors import PkgviewError
from resolver.fetch.addresses import masked
from resolver.python.uv.watch import Watch
from resolver.running.session import run_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ELSEWHERE = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX",
})  # fmt: skip
"""By which git tells a hook, which may have started us, what its repository is: a build that asks
for its version would be told that one's."""

NO_INDEX = "UV_NO_INDEX"
"""Among the variables of `index.uv_environment`: no variable of uv's, which has only the option."""

_FORGOTTEN = ELSEWHERE | frozenset(
    {
        # Each would make uv look at another Python or project than the one it is told.
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_WORKING_DIR",
        "UV_WORKING_DIRECTORY",
        "UV_CUSTOM_COMPILE_COMMAND",
        "UV_FROZEN",
        "UV_LOCKED",
        "UV_OFFLINE",
        "UV_OUTPUT_FORMAT",
    }
)
"""UV_OFFLINE is an option of ours: the command line reads it, not uv."""

_NOISE = re.compile(
    r"^(warning:|hint: If you want to add the package regardless"
    r"|Using (CPython|PyPy|Python)|Resolved |Prepared |Installed |Audited |\s*$"
    r"|\s+(Updating|Updated|Building|Built|Cloning|Downloading|Downloaded) )"
)

_OURS = {"add": "add", "remove": "remove", "sync": "up"}
"""Commands that uv's hints name, and those of ours with the same options: a view is read-only."""

_SELF_UPDATE = re.compile(r"\s*Update\s+`uv`\s+by\s+running\s+`[^`]*`\.?")
"""It would renew another uv than the one that pkgview runs."""

_SPLIT_USER = re.compile(r"(?<=://)[^\s/?#@]*(?:\\\n\s*[^\s/?#@]*)+@")
"""User and password of an address over the end of a line, as uv shows it in its place."""

_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"Required uv version",
        "It is the uv of pkgview's own environment: renew that, or change required-version.",
    ),
    (
        r"Building source distributions is disabled|because building from source is disabled",
        "Run `pkgview up` in the project: it may build distributions from source.",
    ),
    (
        r"[Nn]etwork (was|connectivity is) disabled|--offline",
        "Run it once without --offline.",
    ),
    (
        r"invalid peer certificate|UnknownIssuer|certificate verify",
        "Set SSL_CERT_FILE to the certificates that the index's host is signed with.",
    ),
    (
        r"\b40[137]\b|[Uu]nauthorized|[Ff]orbidden|credentials",
        "Give the credentials for that index: in its URL, in ~/.netrc, or as UV_INDEX_*.",
    ),
    (
        r"No space left on device|os error 28",
        "Make room on that disk and run the command again.",
    ),
    (
        r"(?i)\bcache\b.*(Permission denied|Read-only file system|os error (13|30)\b)",
        "Make that place writable; UV_CACHE_DIR moves uv's own cache.",
    ),
    (
        r"Permission denied|Read-only file system|os error (13|30)\b",
        "Make that place writable.",
    ),
    (
        r"Git operation failed|git (fetch|clone)",
        "Check the repository's address and the revision, and that you may read it.",
    ),
    (
        r"Failed to build|build backend returned|Build backend|Failed to download and build",
        "Install what its build asks for, or ask for a version that has a wheel.",
    ),
    (
        r"error sending request|tcp connect|dns error|timed out|Failed to fetch|Connection re",
        "Check the network, the proxy and the index's address; --offline works from what is there.",
    ),
    (
        r"[Hh]ash mismatch",
        "Do not install it: the index serves other bytes than those that were pinned.",
    ),
    (
        r"does not satisfy Python|requires Python|current Python version|Python.{0,3} requirement",
        "Use another Python with --python, or ask for a version that supports this one.",
    ),
    (
        r"not found in the (package registry|provided package locations|cache)",
        "Check how the name is written, and that the index which has it is set.",
    ),
    (
        r"there (is|are) no versions? of|only .{1,200} (is|are) available",
        "Ask for a version that exists, or set the index which has it.",
    ),
    (
        r"([Ee]xtra|[Gg]roup)\b.{0,120}\bnot (found|defined)",
        "Ask for one that pyproject.toml defines.",
    ),
    (
        r"No solution found|unsatisfiable|incompatible",
        "Loosen one of the requirements named above.",
    ),
    (
        r"No `pyproject.toml` found",
        "Leave the group out, or define it in a pyproject.toml there.",
    ),
    (
        r"Distribution not found at",
        "Name a file or a directory that is there, where the requirement is written.",
    ),
    (
        r"wheel filename .{1,200} is invalid",
        "Give the file the name that it was built with: NAME-VERSION-PYTHON-ABI-PLATFORM.whl.",
    ),
    (
        r"Failed to parse: `(?!\S*\.(toml|lock|txt)`)",  # what was named to uv, no file
        "Write the requirement as in 'rich>=14'.",
    ),
    (
        r"(^|[\s:])-:\d+:\d+|requirement in `-`",
        "Write the requirement that was given with --with as in --with 'rich>=14'.",
    ),
    (
        r"Failed to parse: `[^`]*[<>=!~;][^`]*`",
        "Write the requirement as in 'rich>=14'.",
    ),
    (
        r"Distribution not found at|wheel filename .{1,200} is invalid",
        "Name a directory that holds a distribution, a wheel or an sdist, as it lies there.",
    ),
    (
        r"Couldn't parse|Failed to parse|TOML parse error|Unexpected|expected",
        "Mend the file at the place named above.",
    ),
)
"""The first that is found in uv's explanation decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a successful run printed."""

    stdout: str
    stderr: str


async def run_uv(  # noqa: PLR0913 - one run, by keyword
    arguments: Sequence[str],
    *,
    cwd: Path,
    added: Mapping[str, str],
    offline: bool = False,
    stdin: bytes = b"",
    doing: str = "",
) -> Output:
    """Run `uv ARGUMENTS` in `cwd`; `added` are those of `index.uv_environment`.

    `doing` opens the error's sentence, such as "cannot resolve /home/ada/shop". May be cancelled.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _FORGOTTEN}
    environ |= added
    environ |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    offline = offline or os.environ.get("UV_OFFLINE", "").lower() in {"1", "true"}
    # In front: what follows a `--` in the arguments is no option.
    command = [uv_binary(), *(["--offline"] if offline else []), *told(arguments, added)]
    refuse_undecodable(command)
    code, stdout, stderr = await run_child(command, cwd=cwd, environ=environ, stdin=stdin)
    if code == 0:
        return Output(stdout=stdout, stderr=stderr)
    raise explained(stderr, code=code, doing=doing or "uv failed", offline=offline)


def told(arguments: Sequence[str], added: Mapping[str, str]) -> list[str]:
    """The arguments with the options of what `added` says by variables that uv (0.13.9) has not."""
    words = list(arguments)
    if added.get(NO_INDEX) and words[0] not in {"cache", "python"}:
        words.insert(2 if words[0] == "pip" else 1, "--no-index")
    return words


def refuse_undecodable(command: Sequence[str]) -> None:
    """Name the path that uv would refuse without saying which."""
    for argument in command:
        try:
            os.fsencode(argument).decode()
        except UnicodeDecodeError as error:
            raise PkgviewError(
                f"{argument} cannot be used: its name is not UTF-8, and uv takes no other",
                remedy="Give it, or the directory it is in, another name.",
            ) from error


async def run_child(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], stdin: bytes = b""
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a child in its own session; nothing of it outlives us.

    Nobody but the user may write to what it makes: uv's cache, from which the next build runs code.
    Nor may anybody bring settings of uv's meanwhile, where its search for them comes: then it is
    killed, and that is a `PkgviewError`.
    """
    os.umask(mask := os.umask(0o077))
    ended = (1, "", "")
    with Watch(_places(command, cwd, environ)) as watch, trio.CancelScope() as running:
        # uv is named by its path, and reads settings; git is not, and reads none.
        gated = command[0].startswith("/") and os.access(command[0], os.X_OK)
        gate = watch.begin(running, gated=gated)
        try:
            ended = await run_session(
                command if gate is None else gate.command(command),
                cwd=cwd,
                environ=environ,
                stdin=stdin,
                umask=mask | 0o022,
                at_once=lambda: bool(watch.came),
                passed=() if gate is None else (gate.theirs.fileno(),),
            )
        finally:
            watch.end()
    return ended


def _places(command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """From where on upwards uv may look for settings: where it runs, what it is told of, its cache.

    In the cache it unpacks what it builds.
    """
    yield str(cwd.absolute())
    for word in command[1:]:
        _, _, value = word.partition("=") if word.startswith("-") else ("", "", word)
        if value.startswith("/"):
            yield os.path.normpath(value)
    for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        if environ.get(name, "").startswith("/"):
            yield f"{environ[name]}/uv"


def uv_binary() -> str:
    """The binary of the `uv` distribution, which is one of our dependencies."""
    import uv  # noqa: PLC0415 - only where uv is run

    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise PkgviewError(
            "the uv program is missing", remedy="Install it again: pip install --force-reinstall uv"
        ) from error


def explained(stderr: str, *, code: int, doing: str, offline: bool) -> PkgviewError:
    """What uv wrote to stderr as an error of ours: its own words, and the remedy that fits."""
    if code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return PkgviewError(f"{doing}: uv was ended by {name}", remedy="Run the command again.")
    explanation = explanation_of(stderr) or f"uv exited with code {code} and said nothing"
    # uv breaks its lines where they get long, which a long path in them decides.
    words = " ".join(explanation.split())
    fitting = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, words))
    remedy = next(fitting, "")
    if offline and re.search(r"No solution found|not found|no versions? of", words):
        remedy = "Without the network only what uv has seen before is known: try without --offline."
    return PkgviewError(f"{masked(doing)}: {explanation}", remedy=remedy)


_SAID = re.compile(
    r"^warning: ((?:Ignoring unsupported option|Failed to parse|The package `).*(?:\n\s+\S.*)*)",
    re.MULTILINE,
)
"""Warnings of something that a user has written and uv passes over."""


def warnings_of(stderr: str) -> str:
    """What uv has passed over, for the user; "" where there is nothing."""
    found = (" ".join(one.split()) for one in _SAID.findall(masked(stderr)))
    return " ".join(f"uv: {one.rstrip('.')}." for one in dict.fromkeys(found))


def explanation_of(stderr: str) -> str:
    """From uv's own "error:" on, without its warnings and progress."""
    lines = [line.rstrip() for line in stderr.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith("error:")]
    lines = lines[starts[0] :] if starts else lines
    kept = [line for line in lines if not _NOISE.match(line)]
    if kept:
        kept[0] = kept[0].removeprefix("error: ")
    text = re.sub(
        rf"`uv ({'|'.join(_OURS)})\b", lambda found: f"`pkgview {_OURS[found[1]]}", "\n".join(kept)
    )
    text = _SELF_UPDATE.sub("", text)
    # uv masks passwords; git, which it quotes, does not.
    return masked(_SPLIT_USER.sub("****@", text))
