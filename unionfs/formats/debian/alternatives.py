"""The links that `update-alternatives` would have made, read from what packages' scripts say.

No script is run. Read are calls of `update-alternatives --install` whose words are all written
out, or come from a `for` loop over such words; a package with others is named. The links lead to
the alternative itself, not by way of /etc/alternatives, which may be the machine's. What the
machine has an alternative for stays as it is.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from unionfs.archive.layer import Kind
from unionfs.formats.deb.reader import CONTROL_TOP
from unionfs.store.generated import GeneratedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from unionfs.archive.reader import Archive

TOP = "view"
"""The top directory of the generated archive."""

ADMINISTERED = "/etc/alternatives"

_CALL = re.compile(r"update-alternatives\s[^;&|]*?--install\s+([^;&|\n]*)")
_LOOP = re.compile(
    r"^[ \t]*for (\w+) in ([^$`;\n]*?)\s*(?:;|\n)\s*do\b(.*?)^[ \t]*done\b",
    re.MULTILINE | re.DOTALL,
)
_INNER = re.compile(r"^[ \t]*for \w+ in ", re.MULTILINE)
_TURNS = 100
_UNMERGED = re.compile(r"/(bin|sbin|lib|lib32|lib64|libx32)/")
_PLAIN = re.compile(r"(/[A-Za-z0-9@+_:.-]+)+")
_PRIORITY = re.compile(r"-?[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z0-9+_:.-]+")


class Link(NamedTuple):
    """One link of a group, of the name `name`: at `link`, to `path`."""

    link: str
    name: str
    path: str


class Alternative(NamedTuple):
    """One call: `links` has the group's own first."""

    priority: int
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The links as files of an archive, and what a person should know, a sentence each."""

    files: Sequence[GeneratedFile]
    said: Sequence[str]


def alternatives(packages: Iterable[tuple[str, Archive]]) -> Generated:
    """What the scripts of these packages (name, archive) would have made."""
    packages = list(packages)
    groups: dict[str, Alternative] = {}
    said = []
    for name, archive in packages:
        found, unread = calls(_script(archive))
        if unread:
            said.append(f"{name}: its script registers alternatives that are not made here.")
        for one in found:
            group = one.links[0].name
            if group not in groups or groups[group].priority < one.priority:
                groups[group] = one
    files: dict[str, GeneratedFile] = {}
    for group, chosen in sorted(groups.items()):
        if os.path.lexists(f"{ADMINISTERED}/{group}"):  # the machine has chosen
            continue
        for link in chosen.links:
            path = f"{TOP}{merged(link.link)}"
            if _is_there(link.path, packages) and not _is_there(link.link, packages):
                files.setdefault(path, GeneratedFile(path=path, target=link.path))
    return Generated(files=[files[path] for path in sorted(files)], said=said)


def calls(script: str) -> tuple[list[Alternative], bool]:
    """The calls that can be read, and whether there are others."""
    found, unread = [], False
    for match in _CALL.finditer(_LOOP.sub(_unrolled, script.replace("\\\n", " "))):
        try:
            words = shlex.split(match[1], comments=True)
        except ValueError:
            words = []
        one = _alternative(words)
        if one is None:
            unread = True
        else:
            found.append(one)
    return found, unread


def _unrolled(loop: re.Match[str]) -> str:
    """What a loop does, one turn after the other; a loop of many, or around another, as it is."""
    variable, words, body = loop.groups()
    turns = words.split()
    if len(turns) > _TURNS or _INNER.search(body):
        return loop[0]
    use = re.compile(rf"\$(?:{variable}\b|\{{{variable}\}})")
    return "\n".join(use.sub(lambda _, word=word: word, body) for word in turns)


def merged(path: str) -> str:
    """A path as it is where /usr is merged."""
    return f"/usr{path}" if _UNMERGED.match(path) else path


def _alternative(words: Sequence[str]) -> Alternative | None:
    """LINK NAME PATH PRIORITY [--slave LINK NAME PATH]..."""
    if len(words) < 4 or not _PRIORITY.fullmatch(words[3]):  # noqa: PLR2004 - as above
        return None
    links, rest = [Link(*words[:3])], list(words[4:])
    while rest[:1] == ["--slave"]:
        if len(rest) < 4:  # noqa: PLR2004 - the same
            return None
        links.append(Link(*rest[1:4]))
        del rest[:4]
    rest = [one for one in rest if not one.startswith((">", "2>", "1>"))]
    if rest or not all(map(_is_plain, links)):
        return None
    return Alternative(int(words[3]), tuple(links))


def _is_plain(one: Link) -> bool:
    return bool(
        _PLAIN.fullmatch(one.link)
        and _PLAIN.fullmatch(one.path)
        and _NAME.fullmatch(one.name)
        and not {".", ".."} & {*one.link.split("/"), *one.path.split("/"), one.name}
    )


def _variants(path: str) -> Iterator[bytes]:
    yield path.removeprefix("/").encode()
    whole = merged(path)
    yield whole.removeprefix("/").encode()
    yield whole.removeprefix("/usr/").encode()


def _is_there(path: str, packages: Sequence[tuple[str, Archive]]) -> bool:
    return any(archive.find(one) is not None for one in _variants(path) for _, archive in packages)


def _script(archive: Archive) -> str:
    number = archive.find(f"{CONTROL_TOP}/postinst".encode())
    if number is None or archive.entry(number).kind is not Kind.FILE:
        return ""
    content = archive.read(number, 0, archive.entry(number).size)
    return content.decode("utf-8", "replace")
