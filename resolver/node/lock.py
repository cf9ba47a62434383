"""npm's locks (package-lock.json, npm-shrinkwrap.json; lockfileVersion 2 and 3) as hostile input.

What counts of one is `packages`: a place below the project's directory, such as
`node_modules/a/node_modules/@b/c`, to what lies there. Places become paths in a view, so nothing
that is no plain place gets further than this module.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from resolver.node.start import LOCKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMES: Final = LOCKS

_NAME = re.compile(r"(?:@[^/\\\s%@.][^/\\\s%@]*/)?[^/\\\s%@.][^/\\\s%@]*")
_HUGE = re.compile(r"[v=\s]*(?:\d+\.){0,2}\d{17}")
"""A version with a number that npm does not read: above 2**53."""
_LONGEST = 214
_LONGEST_PLACE = 4000
"""Characters: no path is longer (PATH_MAX, with a file's name)."""
_SIZES = {"sha512": 64, "sha384": 48, "sha256": 32, "sha1": 20, "md5": 16}
"""Algorithms of an integrity, the strongest first, and the bytes of their digests."""

_MOST = 200_000
"""Places of one lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What lies at one place.

    `location` is the place, `name` what it is called there, `package` what the package calls
    itself. `parent` is the place that it lies below: "" for the project's own node_modules, or a
    member's directory. `dependencies` are of all sorts: name to (range, sort), where the sort is
    "prod", "optional", "peer", "peerOptional" or "dev". `raw` is as the lock has it.
    """

    location: str
    name: str
    package: str
    parent: str
    version: str = ""
    resolved: str = ""
    integrity: tuple[tuple[str, str], ...] = ()
    link: bool = False
    bundled: bool = False
    optional: bool = False
    dev: bool = False
    dev_optional: bool = False
    peer: bool = False
    has_script: bool = False
    os: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()
    libc: tuple[str, ...] = ()
    engine: str = ""
    bins: Mapping[str, str] = field(default_factory=dict)
    dependencies: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_package(self) -> bool:
        """Whether it lies in some node_modules; else it is the project, or a directory of its."""
        return bool(self.name)

    @property
    def title(self) -> str:
        """For messages: "left-pad 1.3.0"."""
        return f"{self.package} {self.version}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock that was found in order. `entries` by place, in the lock's order; "" is the root."""

    path: Path
    entries: Mapping[str, Entry]
    raw: Mapping[str, Any] = field(repr=False)
    indent: str = "  "

    @property
    def root(self) -> Entry:
        """What the lock says of the project itself."""
        return self.entries[""]


class OldLockError(PkgviewError):
    """It has a format that only npm reads (lockfileVersion 1)."""


@lru_cache(maxsize=2)  # for what a project chooses, and then for what is made of it
def read(path: Path, data: bytes) -> Lock:
    """The lock in a file's bytes; `PkgviewError` with all that is wrong, or `OldLockError`."""
    remedy = "Mend it; or remove it, and `pkgview up` has npm make it anew."
    try:
        text = data.decode("utf-8-sig")
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        conflict = b"<<<<<<< " in data
        why = "it has conflicts of a merge" if conflict else no_json(error)
        raise PkgviewError(f"{path} is no JSON: {why}", remedy=remedy) from error
    if not isinstance(raw, dict):
        raise PkgviewError(f"{path} is no lock of npm's", remedy=remedy)
    version = raw.get("lockfileVersion", 1)
    if version == 1 or "packages" not in raw:
        raise OldLockError(f"{path} has lockfileVersion {version!a}", remedy=remedy)
    if version not in {2, 3}:
        raise PkgviewError(
            f"{path} has lockfileVersion {version!a}; 2 and 3 are read",
            remedy="Use a newer pkgview, or write it with an npm that knows version 3.",
        )
    packages = raw["packages"]
    faults: list[str] = []
    entries: dict[str, Entry] = {}
    if not isinstance(packages, dict) or len(packages) > _MOST:
        faults.append("packages is no object, or too large")
        packages = {}
    for location, fields in packages.items():
        try:
            entries[location] = _entry(location, fields)
        except _Fault as fault:
            faults.append(f"{_named(location)}{fault}")
    entries.setdefault("", Entry(location="", name="", package="", parent=""))
    faults += _of_tree(entries)
    if faults:
        shown = "; ".join(faults[:5])
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""  # noqa: PLR2004 - a line
        raise PkgviewError(f"{path} is refused: {shown}{more}", remedy=remedy)
    found = re.match(r"\s*\{\r?\n([ \t]+)", text)
    return Lock(path=path, entries=entries, raw=raw, indent=found[1] if found else "  ")


def no_json(error: Exception) -> str:
    """What `json` says of a text, in words that concern whoever wrote it."""
    return "a number has too many digits" if "int_max_str_digits" in str(error) else str(error)


def _named(location: str) -> str:
    """A place in a message, on a line."""
    most = _LONGEST
    short = location if len(location) <= most else f"{location[:most]}…"
    return f"packages[{short!a}]"


class _Fault(Exception):  # noqa: N818 - a part of one
    """What is wrong with an entry, to follow its name."""


def is_name(name: str) -> bool:
    """Whether a package can be called so, and a directory for it."""
    return (
        _NAME.fullmatch(name) is not None
        and len(name) <= _LONGEST
        and name.isprintable()
        and "node_modules" not in name.split("/")
    )


def split(location: str) -> tuple[str, str]:
    """A place as (what it lies below, the name there); the name is "" outside node_modules."""
    parent, found, name = location.rpartition("node_modules/")
    if not found or (parent and not parent.endswith("/")):
        return "", ""
    return parent.removesuffix("/"), name


def _entry(location: str, fields: Any) -> Entry:  # noqa: ANN401 - from a file
    if not isinstance(fields, dict):
        raise _Fault(" is no object")
    parent, name = split(location)
    parts = location.split("/") if location else []
    if len(location) > _LONGEST_PLACE:
        raise _Fault(" is no place: it is too long")
    if "\\" in location or "\0" in location or not location.isprintable() or {"", "."} & set(parts):
        raise _Fault(" is no place")
    if name:
        if ".." in parts or not is_name(name):
            raise _Fault(" is no place of a package")
    elif "node_modules" in parts or location.startswith("/") or ".." in parts[_ups(parts) :]:
        raise _Fault(" is no place")
    link = _flag(fields, "link")
    package = _text(fields, "name") or name
    if package and not is_name(package) and name:
        raise _Fault(f".name {package!a} is no package's name")
    version = _text(fields, "version")
    if _HUGE.match(version):
        raise _Fault(f".version {version[:_LONGEST]!a} is no version")
    return Entry(
        location=location,
        name=name,
        package=package,
        parent=parent,
        version=version,
        resolved=_text(fields, "resolved"),
        integrity=_integrity(_text(fields, "integrity")),
        link=link,
        bundled=_flag(fields, "inBundle"),
        optional=_flag(fields, "optional"),
        dev=_flag(fields, "dev"),
        dev_optional=_flag(fields, "devOptional"),
        peer=_flag(fields, "peer"),
        has_script=_flag(fields, "hasInstallScript"),
        os=_texts(fields, "os"),
        cpu=_texts(fields, "cpu"),
        libc=_texts(fields, "libc"),
        engine=_engine(fields.get("engines")),
        bins=commands(fields.get("bin"), package),
        dependencies={} if link else dependencies(fields, root=not name),
        raw=fields,
    )


def _ups(parts: list[str]) -> int:
    return next((at for at, one in enumerate(parts) if one != ".."), len(parts))


def _of_tree(entries: Mapping[str, Entry]) -> list[str]:
    """What is wrong with places as the tree that they are."""
    faults = []
    for entry in entries.values():
        if not entry.name:
            continue
        above = entries.get(entry.parent)
        if above is None and entry.parent:
            faults.append(f"{_named(entry.location)} lies below what is not there")
        elif above is not None and above.link:
            faults.append(f"{_named(entry.location)} lies below a link")
        if entry.link and entry.resolved and entry.resolved not in entries:
            target = entry.resolved.removeprefix("./")
            if target not in entries:
                faults.append(f"{_named(entry.location)} leads to what is not there")
    return faults


def dependencies(fields: Mapping[str, Any], *, root: bool) -> dict[str, tuple[str, str]]:
    """What a package.json, or an entry of a lock, says that it needs: `Entry.dependencies`."""
    meta = fields.get("peerDependenciesMeta")
    meta = meta if isinstance(meta, dict) else {}
    # Of several sorts that name one the last counts, as npm loads them.
    found: dict[str, tuple[str, str]] = {}
    for name, wanted in _ranges(fields, "peerDependencies").items():
        one = meta.get(name)
        free = isinstance(one, dict) and one.get("optional") is True
        found[name] = (wanted, "peerOptional" if free else "peer")
    for sort, key in (
        ("prod", "dependencies"),
        ("optional", "optionalDependencies"),
        *((("dev", "devDependencies"),) if root else ()),
    ):
        found |= {name: (wanted, sort) for name, wanted in _ranges(fields, key).items()}
    return found


def _ranges(fields: Mapping[str, Any], key: str) -> dict[str, str]:
    value = fields.get(key)
    if value is None or isinstance(value, list):
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise _Fault(f".{key} names no ranges")
    return value


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None or value is False:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise _Fault(f".{key} is no text")
    return value


def _flag(fields: Mapping[str, Any], key: str) -> bool:
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise _Fault(f".{key} is neither true nor false")
    return value


def _texts(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = fields.get(key)
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise _Fault(f".{key} is no list of texts")
    return tuple(listed)


def _engine(value: Any) -> str:  # noqa: ANN401 - from a file
    """The range of Node's versions. Very old packages have a list."""
    found = value.get("node") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def commands(value: Any, package: str) -> dict[str, str]:  # noqa: ANN401 - from a file
    """Commands to paths in the package, made safe as npm makes them (npm-normalize-package-bin)."""
    if isinstance(value, str):
        value = {package.rpartition("/")[2]: value}
    if not isinstance(value, dict):
        return {}
    found = {}
    for key, path in value.items():
        name = _normal(re.split(r"[\\:/]", key.rstrip("\\:/"))[-1])
        target = _normal(path.replace("\\", "/")) if isinstance(path, str) else ""
        if name and target and "\0" not in name + target:
            found[name] = target
    return found


def _normal(path: str) -> str:
    """Below "/", without any `.` and `..`."""
    done: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del done[-1:]
        elif part not in {"", "."}:
            done.append(part)
    return "/".join(done)


def _integrity(text: str) -> tuple[tuple[str, str], ...]:
    """The hashes of the strongest algorithm, of which a file has to have one: (name, hex)."""
    found: dict[str, list[str]] = {}
    for word in text.split():
        name, _, rest = word.partition("-")
        if name not in _SIZES:
            continue
        try:
            digest = base64.b64decode(rest.partition("?")[0], validate=True)
        except (ValueError, binascii.Error) as error:
            raise _Fault(f".integrity {word!a} is no base64") from error
        if len(digest) != _SIZES[name]:
            raise _Fault(f".integrity {word!a} has another length than {name}")
        found.setdefault(name, []).append(digest.hex())
    if text and not found:
        raise _Fault(f".integrity {text!a} has no hash that is known")
    best = next((name for name in _SIZES if name in found), "")
    return tuple((best, digest) for digest in dict.fromkeys(found.get(best, ())))
