"""`pkgview run` and `tool run` where the view is there: checked as in `unionfs.cli.quick`, started.

What is run is decided as in `unionfs.cli.commands.run`, by the same functions; whatever needs a
closer look (a script that may have an inline block, another Python, an option that is not known
here) is left to it, and so is every error. Nothing but the binding is done here, so it may begin
anew.
"""

from __future__ import annotations

import os
import sys

from resolver import remembered
from resolver.atomic import Held
from resolver.buildenv import relative_indexes
from resolver.errors import PkgviewError
from resolver.local import named_place
from resolver.naming import (
    executable_in,
    identity_text,
    nothing_at,
    project_key,
    project_record,
    trust_record,
)
from resolver.ownership import faults, identity, parents
from resolver.private import close_to_others
from resolver.where import where
from unionfs.bindings.tag import put_on
from unionfs.cli import command, console, quick_node
from unionfs.cli.quick import (
    ANSWER_SECONDS,
    ask,
    content,
    is_plain,
    is_whole,
    serves,
)
from unionfs.kinds import NODE, link_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FLAGS = ("--offline", "--frozen")
"""Options that change nothing where nothing has to be resolved or fetched."""

_KINDS = {"-m": "module", "--module": "module", "-s": "script", "--script": "script"}
_AS_IT_IS = "--no-sync"
"""Where the view is what the files say, it is as it is anyway."""


class Arguments:
    """What can be asked for here."""

    __slots__ = ("added", "command", "directory", "extras", "groups", "source")

    def __init__(self) -> None:
        self.directory = "."
        self.source = ""
        self.added: list[str] = []
        self.extras: list[str] = []
        self.groups: list[str] = []
        self.command: list[str] = []

    @property
    def is_plain(self) -> bool:
        """Whether it is for the project's own view."""
        return not (self.added or self.extras or self.groups)


def run(arguments: Sequence[str], *, tool: bool = False) -> bool:
    """Become the command if it is a `run` as above, with these arguments; False if it is not."""
    try:
        places = where(os.environ)
        asked = understood(arguments, tools(places) if tool else "")
        if asked is None or not _is_plain_command(asked.command):
            return False
        environ = dict(os.environ) if tool else _with_nodes(asked, places)
        found = None if environ is None else _situation(asked, places)
        if not environ or not found or any(faults(found.holding, os.geteuid(), found.files)):
            return False
        for sentence in close_to_others(places):
            console.note(sentence)
        entry = _entry(found, places, asked)
        if entry is None or not is_plain(found.directory, places):
            return False
        with Held(f"{places['store']}/archives", ANSWER_SECONDS):
            ready = _ready(found.directory, entry, places, own=asked.is_plain, tool=tool)
    except (OSError, PkgviewError, ValueError):
        return False
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)
    if not ready:
        return False
    if asked.added and entry.said:
        console.note(entry.said)
    view = f"{places['mount']}/views/{entry.view}"
    return _become(asked.command, view, environ, tool=tool)


def _become(words: list[str], view: str, environ: Mapping[str, str], *, tool: bool) -> bool:
    """Become the command; False where it is none of a tool's, whose others are not known here."""
    if tool:
        environ = command.on_path(view, environ)
    else:
        environ = command.environment(view, os.path.basename(view), environ)
    try:
        command.replace_by(words, environ)
    except PkgviewError as error:
        if tool:
            return False
        console.report(error)
        sys.exit(error.status)


def tools(places: dict[str, str]) -> str:
    """Where the tools are that are installed (`unionfs.publishing.tools`)."""
    return f"{os.path.dirname(places['store'])}/tools"


def understood(arguments: Sequence[str], tools: str = "") -> Arguments | None:
    """What the arguments ask for; None: something that is not known here.

    `tools`, where they are, is given for `tool run`.
    """
    asked, rest = Arguments(), list(arguments)
    kind = set()
    while rest and rest[0].startswith("-") and rest[0] not in {"-", "--"}:
        name, equals, value = rest.pop(0).partition("=")
        if name in console.QUIET and not equals:
            console.hush(quiet=True)
            continue
        if name in _FLAGS or name in _KINDS or name == _AS_IT_IS:
            if equals:
                return None
            kind.add(_KINDS.get(name, name))
            continue
        values = [value] if equals else rest[:1]
        rest = rest[0 if equals else 1 :]
        if not values or not _take(asked, name, values[0], rest):
            return None
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest or {"module", "script"} <= kind:
        return None
    if tools:
        return None if kind.difference(_FLAGS) else _of_tool(asked, rest, tools)
    if asked.source or (_AS_IT_IS in kind and not asked.is_plain):
        return None
    asked.command = command.command_line(rest, module="module" in kind, script="script" in kind)
    return asked


def _of_tool(asked: Arguments, words: list[str], tools: str) -> Arguments | None:
    """The same for a tool: its own project, or the one that lists nothing."""
    if asked.directory != "." or asked.extras or asked.groups:
        return None
    if named_place(words[0]) is not None:
        return None
    requirement, name = command.tool_requirement(words[0])
    asked.command = words if asked.source else [name, *words[1:]]
    own = f"{tools}/{name.lower().replace('_', '-').replace('.', '-')}"
    if not (asked.source or asked.added) and requirement == name and os.path.isdir(own):
        asked.directory = own
    else:
        asked.added.insert(0, asked.source or requirement)
        asked.directory = ""
    return asked


def _take(asked: Arguments, name: str, value: str, rest: list[str]) -> bool:
    """Take an option with its value down; False where it is not known here."""
    name = "--with" if name == "-w" else name
    if name == "--with" and value in command.EDITABLE and rest:
        name, value = "--with-editable", rest.pop(0)
    if name == "--with":
        asked.added += command.several(value)
    elif name == "--with-editable":
        asked.added.append(f"-e {value}")
    elif name == "--extra":
        asked.extras.append(value)
    elif name == "--group":
        asked.groups.append(value)
    elif name == "--project":
        asked.directory = value
    elif name == "--from":
        asked.source = value
    else:
        return False
    return True


def _is_plain_command(words: Sequence[str]) -> bool:
    """Whether it is no Python script that might be a project of its own, and no remote view."""
    if "://" in words[0]:
        return False
    if not command.runs_python(words) or words[1:2] in ([], ["-c"], ["-m"]):
        return True
    if words[1] == "-":
        return not command.block_on_stdin()
    return not words[1].startswith("-") and not command.may_have_block(words[1])


def _situation(asked: Arguments, places: dict[str, str]) -> remembered.Situation | None:
    named = asked.directory or nothing_at(places["state"])
    if not os.path.isdir(named):
        return None  # a script, or nothing at all
    directory = os.path.realpath(named)
    if asked.added and named == "." and remembered.is_outside(directory):
        if relative_indexes(os.environ) or remembered.sets_uv(directory):
            return None
        directory = nothing_at(places["state"])
    return remembered.situation(
        directory, places["state"], asked.extras, asked.groups, os.environ, added=asked.added
    )


def _with_nodes(asked: Arguments, places: dict[str, str]) -> dict[str, str] | None:
    """The variables, with the commands on PATH of the project of Node's here, if one counts.

    None: it is for `run` to see. Where there is no other kind's, this becomes the command.
    """
    here = os.path.realpath(asked.directory)
    above = (here, *parents(here))
    root = next(filter(quick_node.may_be, above), "")
    if not root:
        return dict(os.environ)
    alone = not any(map(remembered.is_marked, above))
    if not is_plain(root, places):
        return None
    if not quick_node.has_view(root, places):
        unasked = remembered.is_marked(root) and not quick_node.is_below(root)
        return dict(os.environ) if unasked else None
    if alone and (not asked.is_plain or command.runs_python(asked.command)):
        return None
    if not _has_nodes_view(root, places):
        return None
    environ = quick_node.environment(f"{root}/{link_of(NODE)}/.bin", os.environ)
    if alone:
        command.replace_by(asked.command, environ)
    return environ


def _has_nodes_view(root: str, places: dict[str, str]) -> bool:
    """Whether all is there of the project's view of Node's, and as it should be."""
    found = quick_node.situation(root, places["state"], os.environ)
    if found is None or any(faults(found.holding, os.geteuid(), found.files)):
        return False
    for sentence in close_to_others(places):
        console.note(sentence)
    entry = remembered.recall(places["state"], found.here)
    if entry is None:
        return False
    with Held(f"{places['store']}/archives", ANSWER_SECONDS):
        return (
            os.fsencode(entry.made) in (_record(root, places) or b"")
            and _is_agreed(root, entry, places)
            and is_whole(places, entry)
            and quick_node.is_linked(root, entry.view, places)
            and serves(places, entry.view)
        )


def _record(root: str, places: dict[str, str]) -> bytes | None:
    return content(f"{places['state']}/projects/{project_key(root)}.json")


def _is_agreed(root: str, entry: remembered.Entry, places: dict[str, str]) -> bool:
    agreed = trust_record(f'"{root}"', identity(root), "[]", entry.choices)
    return content(f"{places['state']}/trusted/{project_key(root)}.json") == agreed


def _entry(
    found: remembered.Situation, places: dict[str, str], asked: Arguments
) -> remembered.Entry | None:
    """The view that the project's link shows; for one run, another one of the same Python."""
    views = f"{places['mount']}/views/"
    try:
        shown = os.readlink(f"{found.directory}/.venv")
    except OSError:
        shown = ""
    manifest = b""
    record = _record(found.directory, places) or b""
    if shown.startswith(views):
        view = shown.removeprefix(views)
        manifest = content(f"{places['state']}/manifests/{view}.json") or b""
        if asked.is_plain:
            entry = remembered.recall(places["state"], found.shown(view, executable_in(manifest)))
            # The last `up` may have asked for more than these files have come to by then.
            return entry if entry is not None and os.fsencode(entry.made) in record else None
    entry = remembered.recall(places["state"], found.here)
    if entry is None or (manifest and executable_in(manifest) != entry.executable):
        return None
    if asked.is_plain:
        which = identity_text(identity(found.directory))
        if record != project_record(f'"{found.directory}"', which, [entry.made]):
            return None  # it has others, or none
    elif record.count(b'"extras": [], "groups": []') != record.count(b'"extras": ['):
        return None  # what the last `up` asked for counts, too
    return entry


def _ready(
    directory: str, entry: remembered.Entry, places: dict[str, str], *, own: bool, tool: bool
) -> bool:
    """Whether the view can be used, with the store held, as for `up`; but for a `tool`, bound."""
    if not _is_agreed(directory, entry, places) or not is_whole(places, entry):
        return False
    if tool:
        return serves(places, entry.view, used=True)
    python = entry.made.partition('"variant": "')[2].partition('"')[0]
    request = f'"process": "self", "enclose": true, "said": "run", "view": "{entry.view}"'
    if own:
        request += f', "project": "{directory}"'
    for name in ("state", "store", "config"):
        request += f', "{name}": "{places[name]}"'
    put_on()
    said = ask(places, f'{{"op": "bind", "python": "{python}", {request}}}\n'.encode())
    return said.startswith(b'{"ok": true, ')
