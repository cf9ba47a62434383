"""What somebody says of archives, as text that can be signed.

Two statements are known, each one JSON object in canonical form: keys sorted, no white space, text
as it is (UTF-8). So one statement is one text, and its signatures are over exactly these bytes.

    {"archive": NAME, "pkgview": 1, "source": KEY, "type": "derived"}
        The file of that key (`unionfs.store.sources`) became that archive.

    {"id": VIEW, "made": "2026-11-30T16:21:55Z", "manifest": TEXT, "name": TAG, "pkgview": 1,
     "serial": N, "sources": {KEY: NAME, …}, "store": URL, "type": "view"}
        That view is what TAG means in that store since then ("": no tag, whatever store), and its
        archives became from these files. Of two with one tag the higher serial is the later one.

They come from anybody: what is longer, has other keys, another form or another version is refused
by name, as are manifests whose own form is another one than ours or that are of other archives.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from unionfs.archive.meta import digest_of_name
from unionfs.store.sources import is_source_key

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1

LARGEST: Final = 8 << 20
"""Bytes of a statement."""

LARGEST_SERIAL: Final = (1 << 53) - 1
"""What every reader of JSON takes for the number that it is."""

LONGEST_STORE: Final = 1000
"""Characters of a store's address."""

MOST_LAYERS: Final = 20_000
MOST_GRAFTS: Final = 100
"""Of one manifest, and of one layer."""

_DERIVED: Final = {"pkgview", "type", "source", "archive"}
_VIEW: Final = {
    "pkgview", "type", "id", "manifest", "sources", "made", "serial", "name", "store"
}  # fmt: skip
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ID = re.compile(r"[0-9a-f]{32}")
_DAY: Final = 86400
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class StatementError(PkgviewError):
    """What was read is no statement of ours."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what, remedy="Have it pushed anew, by a pkgview that is as new as this one or older."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """The file of the key `source` became the archive of that name."""

    source: str
    archive: str

    def to_bytes(self) -> bytes:
        """What is signed."""
        return _written(
            {"pkgview": FORMAT, "type": "derived", "source": self.source, "archive": self.archive}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view that was pushed.

    `sources` are keys and their archives, some of the manifest's. `made` is in seconds since 1970,
    `name` a tag or "", `store` the address of the store that it is for or "".
    """

    manifest: Manifest
    sources: Mapping[str, str]
    made: int
    serial: int
    name: str = ""
    store: str = ""

    @property
    def id(self) -> ViewId:
        """The view's."""
        return self.manifest.id

    def to_bytes(self) -> bytes:
        """What is signed."""
        return _written(
            {
                "pkgview": FORMAT,
                "type": "view",
                "id": self.id,
                "manifest": self.manifest.to_bytes().decode("ascii"),
                "sources": dict(self.sources),
                "made": time_text(self.made),
                "serial": self.serial,
                "name": self.name,
                "store": self.store,
            }
        )


def read(said: bytes) -> Derived | View:
    """What `to_bytes` wrote, and nothing else: `StatementError`."""
    if len(said) > LARGEST:
        raise StatementError(f"a statement of {len(said)} bytes is too long")
    try:
        fields = json.loads(
            said.decode(), object_pairs_hook=_object, parse_float=_refused, parse_constant=_refused
        )
        if not isinstance(fields, dict) or "pkgview" not in fields:
            raise StatementError("it is no statement of pkgview's")
        version, what = fields["pkgview"], fields.get("type")
        if type(version) is not int or version != FORMAT:
            raise StatementError(f"a statement has format {version!r:.40}, this pkgview reads 1")
        if what == "derived":
            found: Derived | View = _derived(fields)
        elif what == "view":
            found = _view(fields)
        else:
            raise StatementError(f"a statement of the type {what!r:.40} is not known here")
        canonical = found.to_bytes() == said
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StatementError(f"it is no statement of pkgview's: {error!s:.200}") from error
    if not canonical:
        raise StatementError("a statement is not in canonical form")
    return found


def next_serial(now: float, latest: int = 0, *, seen: int = 0) -> int:
    """The serial of what is pushed now: later than any before.

    By the time, so that two who push side by side need not know of each other. `latest` is the one
    there, by whosever word: it counts up to a day from now, as far as a clock may be wrong. Nobody
    has a signer use up the numbers. `seen` was believed (`seen.latest`) and counts as it is.
    """
    return max(int(now), min(latest, int(now) + _DAY) + 1, seen + 1)


def is_tag(name: str) -> bool:
    """Whether a view can be called that: what OCI registries allow, and no view's id."""
    return _TAG.fullmatch(name) is not None and not is_id(name)


def is_id(reference: str) -> bool:
    """Whether that asks for a view by its id, not by a tag."""
    return _ID.fullmatch(reference) is not None


def time_text(moment: int) -> str:
    """Seconds since 1970 as "2026-11-30T16:21:55Z"."""
    return datetime.fromtimestamp(moment, UTC).strftime(_TIME)


def _derived(fields: dict[str, Any]) -> Derived:
    _keys(fields, _DERIVED)
    return Derived(source=_source(fields["source"]), archive=_archive(fields["archive"]))


def _view(fields: dict[str, Any]) -> View:
    _keys(fields, _VIEW)
    text, name, store = (_text(fields[key]) for key in ("manifest", "name", "store"))
    serial, sources = fields["serial"], fields["sources"]
    if name and not is_tag(name):
        raise ValueError(f"{name!r:.60} is no tag")
    if len(store) > LONGEST_STORE or not (store.isascii() and store.isprintable()) or " " in store:
        raise ValueError("store is no address")
    if type(serial) is not int or not 0 <= serial <= LARGEST_SERIAL:
        raise ValueError("serial is no number of ours")
    if not isinstance(sources, dict):
        raise TypeError("sources are no object")
    manifest = _manifest(text, _text(fields["id"]))
    known = {_source(key): _archive(value) for key, value in sources.items()}
    if strange := set(known.values()).difference(manifest.archives):
        raise ValueError(f"{min(strange)} is no archive of that view")
    return View(
        manifest=manifest,
        sources=known,
        made=_moment(_text(fields["made"])),
        serial=serial,
        name=name,
        store=store,
    )


def _manifest(text: str, view: str) -> Manifest:
    # Each layer looks at all of its grafts: so much that many of both would take hours.
    fields = json.loads(text)
    grafts, layers = fields.get("grafts", []), fields.get("layers", [])
    if max(map(len, grafts), default=0) > MOST_GRAFTS or len(layers) > MOST_LAYERS:
        raise ValueError(f"manifest {view:.40} is of too many layers, or grafts")
    try:
        found = Manifest.from_bytes(text.encode("ascii"), expected=ViewId(view))
    except PkgviewError as error:
        raise ValueError(error.what) from error
    # It is written down here as we write one: under the same id only where it is the same text.
    if found.id != view:
        raise ValueError(f"manifest {view} is not in canonical form")
    for name in found.archives:
        _archive(name)
    return found


def _moment(text: str) -> int:
    return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refused(text: str) -> Any:  # noqa: ANN401 - it returns nothing
    raise ValueError(f"{text:.40} is no number of ours")


def _keys(fields: dict[str, Any], expected: set[str]) -> None:
    if odd := expected.symmetric_difference(fields):
        raise ValueError(f"it has {'no' if min(odd) in expected else 'a'} {min(odd)!r:.60}")


def _text(value: Any) -> str:  # noqa: ANN401 - from anybody
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value


def _source(value: Any) -> str:  # noqa: ANN401 - from anybody
    if not is_source_key(_text(value)):
        raise ValueError(f"{value!r:.60} cannot name the source of an archive")
    return _text(value)


def _archive(value: Any) -> str:  # noqa: ANN401 - from anybody
    if digest_of_name(_text(value)) is None:
        raise ValueError(f"{value!r:.60} is no archive's name")
    return _text(value)


def _written(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
