"""A pip that only reads, for views that list none; lies there as `_pkgview_pip_reader.py`.

In an activated environment without pip, `pip install x` reaches the next pip on PATH, and installs
into another Python. So each view has one: what reads says what pip would say, as far as
`importlib.metadata` knows it; whatever writes is refused, with the view's own EXTERNALLY-MANAGED.

It is no distribution, and no package of the name `pip` that a program could import: `-m pip` finds
it (`pip_guard.py`) after all else, so that the real one wins where it is listed.
"""

import functools
import importlib.metadata
import json
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from importlib.metadata import Distribution
    from typing import Any

VERSION = "0+pkgview"
"""What `pip --version` says: older than any pip, so that nobody expects more of it."""

WRITING = frozenset({"install", "uninstall"})

_WITH_VALUE = frozenset(
    (*("--cache-dir", "--exclude", "--exists-action", "--find-links", "--format", "--index-url"),
     *("--keyring-provider", "--log", "--path", "--proxy", "--python", "--retries", "--timeout"),
     "--trusted-host")
)  # fmt: skip
_TOOLS = ("distribute", "setuptools", "wheel")
_ASKS_INDEX = frozenset({"--outdated", "-o", "--uptodate", "-u", "--path", "--python"})

_DEBIAN = "/usr/share/python-wheels/pip-*.whl"
"""Where Debian keeps what `ensurepip` installs."""

_ROOT = os.path.abspath(f"{__file__}/../../../..")

_USAGE = """\
Usage: pip list|freeze|show|check|inspect|--version

This environment is a pkgview view without pip: what is here can be read, and nothing changed.
To have a package here: pkgview add PACKAGE
The real one, for once: pkgview run --with pip -- pip ...
"""

_NO_PIP = """\
ERROR: there is no pip in this environment, which is a copy of a pkgview view.
List it in the project that the copy is made of, or use another one: uv pip install --python ...
"""


class _Refusal(Exception):  # noqa: N818 - it is no error of the program
    """What is said instead, and the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.text, self.status = text, status


class _Asked:
    """Options, by their first name, and words."""

    def __init__(self, arguments: "Sequence[str]") -> None:
        self.words: list[str] = []
        self.options: dict[str, list[str]] = {}
        rest = list(arguments)
        while rest:
            one = rest.pop(0)
            name, equals, value = one.partition("=")
            if not one.startswith("-") or one == "-":
                self.words.append(one)
                continue
            if name in _WITH_VALUE and not equals:
                if not rest:
                    raise _Refusal(f"ERROR: {name} option requires 1 argument\n", 2)
                value = rest.pop(0)
            self.options.setdefault(name, []).append(value)

    def has(self, *names: str) -> bool:
        return any(name in self.options for name in names)


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Do it: the exit status."""
    try:
        return _do(_Asked(sys.argv[1:] if arguments is None else arguments))
    except _Refusal as refusal:
        sys.stderr.write(refusal.text)
        return refusal.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _do(asked: _Asked) -> int:
    command, asked.words = (asked.words or [""])[0], asked.words[1:]
    if command in WRITING:
        from _pkgview_pip import is_copy

        raise _Refusal(_NO_PIP if is_copy(_ROOT) else managed())
    if asked.has("--version", "-V") and not command:
        place = os.path.dirname(os.path.abspath(__file__))
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        print(f"pip {VERSION} from {place} (python {version})")
        return 0
    if not command or command == "help" or asked.has("--help", "-h"):
        sys.stdout.write(_USAGE)
        return 0
    if command not in _COMMANDS or asked.has(*_ASKS_INDEX):
        what = " ".join([command, *sorted(_ASKS_INDEX & asked.options.keys())])
        raise _Refusal(
            f"ERROR: `pip {what}` needs pip, which this project does not list.\n"
            f"Run `pkgview run --with pip -- pip {what}`.\n"
        )
    return _COMMANDS[command](asked)


def managed() -> str:
    """What pip says of an environment that something else manages, in its words."""
    import configparser

    library = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(library + "/EXTERNALLY-MANAGED", encoding="utf-8")
    error = parser.get("externally-managed", "Error", fallback="It is a pkgview view.")
    indented = error.replace("\n", "\n    ")
    return (
        "error: externally-managed-environment\n\n"
        f"× This environment is externally managed\n╰─> {indented}\n"
    )


# What is there


def _installed(asked: _Asked) -> "list[Distribution]":
    """Each distribution once, by name."""
    found: dict[str, Distribution] = {}
    for one in importlib.metadata.distributions():
        if one.metadata["Name"]:
            found.setdefault(_plain(one.metadata["Name"]), one)
    for name in asked.options.get("--exclude", []):
        found.pop(_plain(name), None)
    if asked.has("--editable", "-e"):
        found = {name: one for name, one in found.items() if _editable(one)}
    if asked.has("--exclude-editable"):
        found = {name: one for name, one in found.items() if not _editable(one)}
    if asked.has("--user"):
        found = {}
    if asked.has("--not-required"):
        needed = {_plain(name) for one in found.values() for name in _needs(one)}
        found = {name: one for name, one in found.items() if name not in needed}
    return [found[name] for name in sorted(found)]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needs(one: "Distribution") -> "list[str]":
    """Names of what it requires here; extras that were not asked for are left out."""
    names = []
    for text in one.requires or ():
        applies = "extra" not in text.partition(";")[2]
        packaging = _packaging()
        if packaging is not None:
            marker = packaging(text).marker
            applies = marker is None or marker.evaluate({"extra": ""})
        if applies:
            names.append(re.match(r"[\w.-]+", text.strip())[0])  # type: ignore[index]
    return names


def _direct_url(one: "Distribution") -> "dict[str, Any]":
    return dict(json.loads(one.read_text("direct_url.json") or "{}"))


def _editable(one: "Distribution") -> str:
    """The directory of an editable one, else ""."""
    from urllib.parse import unquote, urlsplit

    said = _direct_url(one)
    if not said.get("dir_info", {}).get("editable"):
        return ""
    return unquote(urlsplit(said["url"]).path)


@functools.cache
def _packaging() -> "Callable[[str], Any] | None":
    """`packaging.requirements.Requirement`: the view's own, or that of the pip Python came with."""
    import glob

    try:
        from packaging.requirements import Requirement
    except ImportError:
        own = os.path.dirname(os.__file__) + "/ensurepip/_bundled"  # as PyPA's pip is shipped
        sys.path += [*glob.glob(own + "/pip-*.whl"), *glob.glob(_DEBIAN)]
        try:
            from pip._vendor.packaging import requirements
        except ImportError:
            return None
        return requirements.Requirement  # type: ignore[no-any-return,unused-ignore]
    return Requirement


# The commands


def _list(asked: _Asked) -> int:
    found = _installed(asked)
    form = (asked.options.get("--format") or ["columns"])[-1]
    if form == "json":
        listed = [
            {"name": one.metadata["Name"], "version": one.version}
            | ({"editable_project_location": place} if (place := _editable(one)) else {})
            for one in found
        ]
        print(json.dumps(listed))
    elif form == "freeze":
        for one in found:
            print(f"{one.metadata['Name']}=={one.version}")
    elif form == "columns":
        rows = [(one.metadata["Name"], one.version, _editable(one)) for one in found]
        head = ["Package", "Version", "Editable project location"]
        columns = 3 if any(row[2] for row in rows) else 2
        if rows:
            _print_table(head[:columns], [row[:columns] for row in rows])
    else:
        raise _Refusal(f"ERROR: option --format: invalid choice: {form!r}\n", 2)
    return 0


def _freeze(asked: _Asked) -> int:
    if not asked.has("--all"):
        # What an environment comes with, as pip has it.
        tools = ["pip"] if sys.version_info >= (3, 12) else ["pip", *_TOOLS]
        asked.options.setdefault("--exclude", []).extend(tools)
    for one in sorted(_installed(asked), key=lambda one: one.metadata["Name"].lower()):
        name, said = one.metadata["Name"], _direct_url(one)
        if place := _editable(one):
            print(f"# Editable install with no version control ({name}=={one.version})")
            print(f"-e {place}")
        elif vcs := said.get("vcs_info"):
            print(f"{name} @ {vcs['vcs']}+{said['url']}@{vcs['commit_id']}")
        elif "url" in said:
            digest = said.get("archive_info", {}).get("hash", "")
            print(f"{name} @ {said['url']}" + (f"#{digest}" if digest else ""))
        else:
            print(f"{name}=={one.version}")
    return 0


def _show(asked: _Asked) -> int:
    if not asked.words:
        sys.stderr.write("WARNING: ERROR: Please provide a package name or names.\n")
        return 1
    everything = {_plain(one.metadata["Name"]): one for one in _installed(_Asked([]))}
    shown = [everything[name] for name in map(_plain, asked.words) if name in everything]
    missing = [name for name in asked.words if _plain(name) not in everything]
    if missing:
        sys.stderr.write(f"WARNING: Package(s) not found: {', '.join(missing)}\n")
    for place, one in enumerate(shown):
        said, own = one.metadata, _plain(one.metadata["Name"])
        users = [
            user.metadata["Name"]
            for user in everything.values()
            if own in map(_plain, _needs(user))
        ]
        licence = "License-Expression" if said["License-Expression"] else "License"
        if place:
            print("---")
        lines = {
            "Name": said["Name"],
            "Version": one.version,
            "Summary": said["Summary"],
            "Home-page": said["Home-page"] or _homepage(one),
            "Author": said["Author"],
            "Author-email": said["Author-email"],
            licence: said[licence],
            "Location": str(one.locate_file("")).rstrip("/"),
            **({"Editable project location": at} if (at := _editable(one)) else {}),
            "Requires": ", ".join(sorted(_needs(one), key=str.lower)),
            "Required-by": ", ".join(sorted(users, key=str.lower)),
        }
        for name, value in lines.items():
            print(f"{name}: {value or ''}")
        if asked.has("--files", "-f"):
            print("Files:")
            for file in sorted(map(os.fspath, one.files or ())):
                print(f"  {file}")
    return 0 if shown else 1


def _homepage(one: "Distribution") -> str:
    for text in one.metadata.get_all("Project-URL") or ():
        label, _, url = text.partition(",")
        if re.sub(r"[\W_]", "", label).lower() == "homepage":
            return str(url.strip())
    return ""


def _check(asked: _Asked) -> int:
    requirement = _packaging()
    if requirement is None:
        raise _Refusal(
            "ERROR: `pip check` needs `packaging`, or pip, which this project does not list.\n"
            "Run `pkgview run --with pip -- pip check`.\n"
        )
    versions = {_plain(one.metadata["Name"]): one.version for one in _installed(asked)}
    broken = False
    for one in _installed(asked):
        about = f"{_plain(one.metadata['Name'])} {one.version}"
        for text in one.requires or ():
            wanted = requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            name = _plain(wanted.name)
            there = versions.get(name)
            if there is None:
                print(f"{about} requires {name}, which is not installed.")
            elif not wanted.specifier.contains(there, prereleases=True):
                print(f"{about} has requirement {wanted}, but you have {name} {there}.")
            else:
                continue
            broken = True
    if not broken:
        print("No broken requirements found.")
    return int(broken)


def _inspect(asked: _Asked) -> int:
    report = {
        "version": "1",
        "pip_version": VERSION,
        "installed": [_report(one) for one in _installed(asked)],
        "environment": _environment(),
    }
    print(json.dumps(report))
    return 0


def _report(one: "Distribution") -> "Mapping[str, Any]":
    """One of pip's `inspect`: https://pip.pypa.io/en/stable/reference/inspect-report/."""
    metadata = dict(one.metadata.json)
    # Where Python's own reading differs from pip's.
    if files := one.metadata.get_all("License-File"):
        metadata["license_file"] = files
    if words := one.metadata["Keywords"]:
        metadata["keywords"] = re.split(r"\s*,\s*" if "," in words else r"\s+", words.strip())
    report: dict[str, Any] = {
        "metadata": metadata,
        "metadata_location": str(getattr(one, "_path", "")),
        "requested": one.read_text("REQUESTED") is not None,
    }
    if installer := (one.read_text("INSTALLER") or "").strip():
        report["installer"] = installer
    if said := _direct_url(one):
        report["direct_url"] = said
    return report


def _environment() -> "Mapping[str, str]":
    """The variables of markers (PEP 508)."""
    import platform

    given = sys.implementation.version
    level = "" if given.releaselevel == "final" else f"{given.releaselevel[0]}{given.serial}"
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": f"{given.major}.{given.minor}.{given.micro}{level}",
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def _print_table(head: "Sequence[str]", rows: "Iterable[Sequence[str]]") -> None:
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    for row in cells:
        print(" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


_COMMANDS = {"list": _list, "freeze": _freeze, "show": _show, "check": _check, "inspect": _inspect}

if __name__ == "__main__":
    sys.exit(main())
