"""A project's link, kept out of what git shows as new.

An environment that uv makes has a `.gitignore` of its own. Ours is a link, into which git does not
look, and which the usual pattern `.venv/` does not match. So where no pattern of the repository
does, the link is named in `info/exclude` of the repository: that is this clone's alone, and
nobody's file. The line goes with the link, unless another worktree has one at the same place.

The repository is found as git finds it (gitrepository-layout(5)): `.git` is a directory, or a file
or link that leads to one (worktrees, submodules) and is named by it, and worktrees have their
`info` in common, in the repository that has them in its `worktrees`. git is not run. Nothing is
written where the repository is another user's, or not one.

`pkgview up` with nothing to do imports this where the link is new: so paths are texts.
"""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatch

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.inputs import read_input, read_text
from resolver.ownership import parents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "# pkgview made the link:"
"""The line above each of ours."""

_SPECIAL = frozenset("\\*?[ ")


def hide(link: str) -> str:
    """Keep a link that is new from being shown by git; a clause that says what was done, or ""."""
    found = _repository(os.path.dirname(link))
    if found is None:
        return ""
    top, common = found
    if _is_ignored(link, top, common):
        return ""
    try:
        _append(common, f"{MARK}\n{_pattern(link, top)}\n")
    except OSError:
        return ", which git shows as new until a .gitignore lists it"
    return ", which git ignores here (info/exclude)"


def show(link: str) -> None:
    """The link is gone: take its line away, if it is ours and no other worktree needs it."""
    found = _repository(os.path.dirname(link))
    if found is None:
        return
    top, common = found
    path, ours = f"{common}/info/exclude", os.fsencode(f"{MARK}\n{_pattern(link, top)}\n")
    inside = os.path.relpath(link, top)
    try:
        before, status = read_input(path), os.lstat(path)
        _refuse_others(status)
        _refuse_others(os.lstat(f"{common}/info"))
        if ours in before and not any(
            os.path.lexists(os.path.join(other, inside)) for other in _worktrees(common)
        ):
            write_atomically(path, before.replace(ours, b""))
            os.chmod(path, stat.S_IMODE(status.st_mode))
    except (OSError, PkgviewError):
        return  # it harms nobody


def _repository(directory: str) -> tuple[str, str] | None:
    """The top of the work tree that a directory is in, and the repository's common directory."""
    for top in (directory, *parents(directory)):
        git = os.path.join(top, ".git")
        if os.path.lexists(git):
            leads = os.path.islink(git)
            if not os.path.isdir(git):
                git, leads = os.path.join(top, _line(git).removeprefix("gitdir: ")), True
            if leads and not _is_of(git, top):
                return None
            common = _common(git)
            return (top, common) if common and _is_own(common) else None
    return None


def _common(git: str) -> str:
    """What a worktree's directory has in common with others, if that has it; else itself.

    "" where it names a repository that knows nothing of it.
    """
    named = _line(f"{git}/commondir")
    common = os.path.normpath(os.path.join(git, named))
    if not named:
        return common
    try:
        is_there = os.path.samefile(f"{git}/..", f"{common}/worktrees")
    except OSError:
        return ""
    return common if is_there else ""


def _is_of(git: str, top: str) -> bool:
    """Whether a directory that a file `.git` names says itself that it is of this work tree.

    A worktree's names that file, a submodule's the tree, as `core.worktree` (git-config(1)). Else
    an archive that was unpacked could name any repository of the user's.
    """
    told = _line(f"{git}/gitdir")
    section = ""
    ours = f"{top}/.git" if told else top
    for line in [] if told else _text(f"{git}/config").splitlines():
        key, _, value = line.strip().partition("=")
        section = key if key.startswith("[") else section
        if (section.lower(), key.strip().lower()) == ("[core]", "worktree"):
            told = value.strip().strip('"')
    try:
        return bool(told) and os.path.samefile(os.path.join(git, told), ours)
    except OSError:
        return False


def _is_own(common: str) -> bool:
    """Whether it is a repository, of this user."""
    parts = [f"{common}/{name}" for name in ("", "objects", "refs")]
    try:
        return all(os.stat(part).st_uid == os.geteuid() for part in parts) and os.path.lexists(
            f"{common}/HEAD"
        )
    except OSError:
        return False


def _worktrees(common: str) -> Iterator[str]:
    """The tops of all worktrees of a repository, as far as it names them."""
    yield os.path.dirname(common)
    try:
        names = os.listdir(f"{common}/worktrees")
    except OSError:
        return
    for name in names:
        yield os.path.dirname(_line(f"{common}/worktrees/{name}/gitdir"))


def _is_ignored(link: str, top: str, common: str) -> bool:
    """Whether a plain pattern matches it; one that is not understood counts as none."""
    name, home = os.path.basename(link), os.path.dirname(link)
    settings = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    files = [f"{directory}/.gitignore" for directory in (home, *parents(home))]
    files = [file for file in files if file.startswith(f"{top.rstrip('/')}/")]
    for file in (*files, f"{common}/info/exclude", f"{settings}/git/ignore"):
        base = os.path.dirname(file) if file in files else top
        for line in _text(file).splitlines():
            pattern = line.strip()
            anchored = pattern.startswith("/") and base == home
            if fnmatch(name, pattern[1:] if anchored else pattern):
                return True
            if file not in files and pattern == _pattern(link, top):
                return True
    return False


def _pattern(link: str, top: str) -> str:
    """That matches this link alone (gitignore(5))."""
    inside = os.path.relpath(link, top)
    return "/" + "".join(f"\\{one}" if one in _SPECIAL else one for one in inside)


def _append(common: str, lines: str) -> None:
    """`OSError` where that cannot be, or is not to be, written."""
    if lines.count("\n") != 2:  # noqa: PLR2004 - a name with a line's end in it
        raise OSError
    os.makedirs(f"{common}/info", exist_ok=True)
    _refuse_others(os.lstat(f"{common}/info"))
    path = f"{common}/info/exclude"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0) as file:
        found = os.fstat(file.fileno())
        _refuse_others(found)
        if not stat.S_ISREG(found.st_mode):
            raise OSError
        ends = found.st_size == 0 or os.pread(file.fileno(), 1, found.st_size - 1) == b"\n"
        file.write(os.fsencode(lines if ends else f"\n{lines}"))


def _refuse_others(found: os.stat_result) -> None:
    """`OSError` for what is another user's, or a link."""
    if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode):
        raise PermissionError


def _line(path: str) -> str:
    """The first line of a small file; "" where there is none."""
    return _text(path).partition("\n")[0].strip()


def _text(path: str) -> str:
    try:
        return read_text(path)
    except PkgviewError:
        return ""
