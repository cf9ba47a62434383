"""What a page of the docs refers to, and what of that does not exist.

A page is Markdown. References are looked for where a reader would follow them: links anywhere;
paths of the repository anywhere; module names and commands only in code (`…`, fenced or indented).
All but `commands` is pure text over a `Tree`, the repository's files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from unionfs.cli.group import main
from unionfs.cli.habits import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("resolver", "unionfs", "tests", "scripts", "docs", "findings")

EXAMPLES = {"NAME.py", "activate_this.py", "app.py", "other.py", "script.py", "setup.py", "test.py",
            "x.py"}  # fmt: skip
"""File names that are a user's, or other programs' own."""

FOREIGN = {
    "--cap-add", "--cgroup-parent", "--check-hash-based-pycs", "--device", "--hash",
    "--require-hashes", "--user", "--userns", *OPTIONS,
}  # fmt: skip
"""Options of other programs that a page names by themselves."""

_FENCE = re.compile(r"^ *(```+).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:(?<=\n\n)|^)(?: {4}.*\n)+", re.MULTILINE)
_SPAN = re.compile(r"(\*\*)?(`+)(.+?)(?<!`)\2(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PATH = re.compile(rf"(?<![\w./~>-])(?:\.\./|\./)*((?:{'|'.join(FOLDERS)})/[\w.*<>/-]*[\w*>/])")
_DOTTED = re.compile(r"(?<![\w./-])((?:resolver|unionfs)(?:\.\w+)+)(?![\w/])")
_MODULE = re.compile(r"(?<![\w./<>*~-])((?:\w+/)*\w+\.py)\b")
_COMMAND = re.compile(r"(?<![\w./-])pkgview +((?:[a-z]|--?[a-z]).*)")
_OPTION = re.compile(r"--?[a-z][\w-]*")
_VARIABLE = re.compile(r"\bPKGVIEW_[A-Z_]+")
_ENDS = {"--", "#", "|", "||", "&&", ">", ">>", "<", ";"}


@dataclass(frozen=True)
class Tree:
    """The repository: its files, with "/" between names, and what is in them."""

    root: Path

    @cached_property
    def files(self) -> frozenset[str]:
        """All but what programs leave behind."""
        found = (
            path.relative_to(self.root).as_posix()
            for name in FOLDERS
            for path in (self.root / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        beside = (path.name for path in self.root.iterdir() if path.is_file())
        return frozenset({*found, *beside, ".ci/run"})

    @cached_property
    def folders(self) -> frozenset[str]:
        return frozenset(str(one) for path in self.files for one in PurePosixPath(path).parents)

    def text(self, path: str) -> str:
        return (self.root / path).read_text("utf-8")

    def has(self, path: str) -> bool:
        """A file or folder; `*` and `<kind>` stand for any name."""
        pattern = re.sub(r"<\w+>", "*", path.rstrip("/"))
        if "*" not in pattern:
            return pattern in self.files or pattern in self.folders
        depth = pattern.count("/")
        return any(
            fnmatch(one, pattern) and one.count("/") == depth for one in self.files | self.folders
        )

    def ends(self, path: str) -> bool:
        """The last part of some file's path."""
        return any(f"/{one}".endswith(f"/{path}") for one in self.files)

    def has_dotted(self, name: str) -> bool:
        """A package or module, or something that a module defines, at any depth below it."""
        path, *rest = name.split(".")
        while rest and f"{path}/{rest[0]}" in self.folders:
            path = f"{path}/{rest.pop(0)}"
        module = f"{path}/{rest.pop(0)}.py" if rest else f"{path}/__init__.py"
        if module not in self.files:
            return False
        return all(
            re.search(rf"^\s*(?:(?:async )?def|class) {one}\b|^\s*{one}\b.* = |^ +{one}: ",
                      self.text(module), re.MULTILINE)
            for one in rest
        )  # fmt: skip


def faults(tree: Tree, page: str, text: str) -> Iterator[str]:
    """Whatever the page refers to and is not there, a line each."""
    code = list(code_of(text))
    prose = _FENCE.sub("", text)
    for target in _LINK.findall(_SPAN.sub("", prose)):
        if not _leads_somewhere(tree, page, text, target):
            yield f"{page}: the link {target} leads nowhere"
    yield from path_faults(tree, page, text)
    for one in code:
        for name in _MODULE.findall(one):
            example = name.rpartition("/")[2] in EXAMPLES
            if not example and not tree.ends(name) and not _PATH.match(name):
                yield f"{page}: there is no module {name}"
        for variable in _VARIABLE.findall(one):
            if not _known_variable(tree, variable):
                yield f"{page}: nothing reads {variable}"
        yield from _command_faults(tree, page, one)


def path_faults(tree: Tree, page: str, text: str) -> Iterator[str]:
    """The same of paths and dotted names only, for docstrings and comments.

    `scripts/` is, in the code, a directory of archives, too.
    """
    for path in _PATH.findall(text):
        if not tree.has(path) and not (page.endswith(".py") and path.startswith("scripts/")):
            yield f"{page}: there is no {path}"
    for name in _DOTTED.findall(text):
        if not tree.has_dotted(name.removesuffix(".py")) and not name.endswith(".py"):
            yield f"{page}: there is no {name}"


def code_of(text: str) -> Iterator[str]:
    """Lines of fenced and indented blocks, and spans with their line breaks undone.

    Bold ones are messages, not something to type.
    """
    for block in (*_FENCE.finditer(text), *_INDENTED.finditer(_FENCE.sub("", text))):
        yield from block[0].splitlines()
    for span in _SPAN.finditer(_FENCE.sub("", text)):
        if not span[1]:
            yield " ".join(span[3].split())


def anchors(text: str) -> set[str]:
    """Those that GitHub gives to headings."""
    found: set[str] = set()
    seen: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        again = seen.get(slug, 0)
        seen[slug] = again + 1
        found.add(f"{slug}-{again}" if again else slug)
    return found


def _leads_somewhere(tree: Tree, page: str, text: str, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return True
    path, _, anchor = target.partition("#")
    if path:
        parts: list[str] = []
        for part in (*PurePosixPath(page).parent.parts, *PurePosixPath(path).parts):
            if part == "..":
                if not parts:
                    return False
                parts.pop()
            elif part != ".":
                parts.append(part)
        path = "/".join(parts)
        if not tree.has(path):
            return False
        text = tree.text(path) if anchor else ""
    return not anchor or anchor in anchors(text)


@cache
def _known_variable(tree: Tree, variable: str) -> bool:
    sources = (path for path in tree.files if path.endswith((".py", "bootstrap")))
    return any(variable in tree.text(path) for path in sources if not path.startswith("tests/docs"))


@cache
def commands() -> dict[str, click.Command]:
    """Every command by its words, such as "store verify"; "" is pkgview itself."""

    def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for one in command.list_commands(context):
                found = command.get_command(context, one)
                assert found is not None
                yield from below(f"{name} {one}".strip(), found)

    return dict(below("", main))


def _options(command: click.Command) -> dict[str, click.Parameter]:
    params = command.get_params(click.Context(command, help_option_names=["-h", "--help"]))
    return {name: one for one in params for name in (*one.opts, *one.secondary_opts)}


def _command_faults(tree: Tree, page: str, code: str) -> Iterator[str]:
    words = code.split()
    if code.startswith("--"):
        option = words[0].partition("=")[0]
        known = any(option in _options(command) for command in commands().values())
        if not (known or option in FOREIGN or _is_scripts(tree, option)):
            yield f"{page}: no command has {option}"
    if words and words[0] in commands() and any(_OPTION.match(word) for word in words[1:]):
        code = f"pkgview {code}"
    for said in _COMMAND.findall(code):
        yield from (f"{page}: {fault}" for fault in _call_faults(said))


@cache
def _is_scripts(tree: Tree, option: str) -> bool:
    """Whether one of the repository's own scripts knows it."""
    return any(option in tree.text(path) for path in tree.files if path.startswith("scripts/"))


def _call_faults(said: str) -> Iterator[str]:
    """Of one command line without its first word."""
    words = re.split(r"[ \[\]]+", said.replace(";", " ;").replace(")", " ;"))
    name, command = "", commands()[""]
    while words and f"{name} {words[0]}".strip() in commands():
        name = f"{name} {words.pop(0)}".strip()
        command = commands()[name]
    if isinstance(command, click.Group) and words and re.fullmatch(r"[a-z]+", words[0]):
        yield f"there is no command `pkgview {name} {words[0]}`".replace("  ", " ")
        return
    options = _options(command)
    takes_value = False
    for word in words:
        if word in _ENDS:
            return
        option = _OPTION.match(word)
        if option is None:
            if (
                not takes_value
                and not click.Context(command, **command.context_settings).allow_interspersed_args
            ):
                return  # the rest belongs to another program
            takes_value = False
        elif option[0] not in options:
            yield f"`pkgview {name}` has no {option[0]}"
        else:
            one = options[option[0]]
            takes_value = isinstance(one, click.Option) and not one.is_flag and "=" not in word
