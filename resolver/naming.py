"""Names of views and projects, and the few facts of their files that `up` needs, as text.

`pkgview up` with nothing to do imports this: it loads nothing that takes time. What is more to say
of a manifest and of a project's record is said in `resolver.manifest`,
`resolver.project.resolved` and `resolver.project.trust`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256  # noqa: PLC0414 - others have it from here
else:
    # Python's own SHA-256. `hashlib` loads OpenSSL for the same digest, which takes 2 ms.
    try:
        sha256 = __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    except ImportError:  # a Python that was built without it
        from hashlib import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable


def manifest_digest(manifest: bytes) -> str:
    """The view's id: the first 128 bits of its manifest's SHA-256."""
    return sha256(manifest).hexdigest()[:32]


def archives_in(manifest: bytes) -> list[str]:
    """The archives that a manifest names: canonical JSON, where quotes in texts are escaped."""
    parts = manifest.replace(b'"bytecode":"', b'"archive":"').split(b'"archive":"')
    return [part.partition(b'"')[0].decode() for part in parts[1:]]


def executable_in(manifest: bytes) -> str:
    """The interpreter that a view of Python's is for, in the same way; "" where it has none."""
    return os.fsdecode(manifest.partition(b'"executable":"')[2].partition(b'"')[0])


def project_key(root: str) -> str:
    """`<name>-<hash>`: the directory's (or script's) name and 40 bits of its path's SHA-256."""
    name = os.path.basename(root.rstrip("/"))
    plain = "".join(
        one if one.isascii() and (one.isalnum() or one in "._-") else "\0" for one in name
    )
    while "\0\0" in plain:
        plain = plain.replace("\0\0", "\0")
    name = plain.replace("\0", "_") or "root"
    return f"{name[:100]}-{sha256(os.fsencode(root)).hexdigest()[:10]}"


def spelled(text: str, *, keep: str = "") -> str:
    """A path as it may be shown: what a terminal would obey, such as a line's end, as in Python.

    But for `keep`; and a byte that is no UTF-8 as that byte.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else _spelled(character)
        for character in text
    )


def _spelled(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def shell_word(path: object) -> str:
    """A path as one word of a command that can be typed; as for bash where it cannot be shown.

    A byte that is no UTF-8 stays that byte.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
    if not text.isprintable():
        shown = "".join(
            _octal(one) if not one.isprintable() else f"\\{one}" if one in "\\'" else one
            for one in text
        )
        return f"$'{shown}'"
    safe = text and all(one.isascii() and (one.isalnum() or one in "@%+=:,./-_") for one in text)
    return text if safe else "'" + text.replace("'", "'\"'\"'") + "'"


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def visible(text: str, path: str) -> str:
    """The same for a text in which that path, or its beginning, may be; its lines stay lines."""
    if not path.isprintable():
        for name in path.split("/"):
            text = text if name.isprintable() else text.replace(name, spelled(name))
    return text


def project_record(root: str, directory: str, views: Iterable[str]) -> bytes:
    """A project's file: its root and each of its views, all of them in JSON already.

    `directory` is `identity_text` of its directory, "" where that is not known.
    """
    return f'{{"root": {root}, "directory": "{directory}", "views": [{", ".join(views)}]}}'.encode()


def identity_text(identity: tuple[int, int, int]) -> str:
    """`resolver.ownership.identity` as it stands there."""
    return " ".join(map(str, identity))


def trust_record(
    root: str, directory: tuple[int, int, int], faults: str, choices: str, *, agreed: bool = True
) -> bytes:
    """What a user said of a project: root, faults and choices in JSON already."""
    numbers = ", ".join(map(str, directory))
    return (
        f'{{"root": {root}, "directory": [{numbers}], "faults": {faults}, "choices": {choices}, '
        f'"agreed": {"true" if agreed else "false"}}}'
    ).encode()


def directory_names(directory: str, identity: tuple[int, int, int]) -> tuple[str, str]:
    """What tells a project's directory: its place (`project_key`), and which one it is.

    The second is 40 bits of a SHA-256, and the same wherever it is moved.
    """
    return project_key(directory), sha256(identity_text(identity).encode()).hexdigest()[:10]


def nothing_at(state: str) -> str:
    """The directory in the state that stands for a project which lists nothing."""
    return f"{os.path.realpath(state)}/nothing"


def said_scripts(cache: str) -> str:
    """Where scripts with an inline block are kept that came by standard input."""
    return f"{os.path.realpath(cache)}/scripts"


def is_nobodys(root: str, state: str, cache: str) -> bool:
    """Whether it is one of these two, and so in no list of projects."""
    return root == nothing_at(state) or root.startswith(f"{said_scripts(cache)}/")
