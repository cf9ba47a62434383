"""A view that somebody has pushed, taken from a remote store: `pkgview run oci://…`.

Of a view only the distributions are taken, in their order, and the bytecode that belongs to them.
Everything else is made here, for an interpreter of this machine: its skeleton, and the paths in it.
So neither the pusher's paths nor whatever else a manifest says are used, and nothing of
it is run but what the distributions hold.

What a tag meant is kept (`<state>/taken/<digest>.json`), with the view that it became here: the
next start asks for one statement, and none where there is no network.

Concurrency: one trio run; archives are begun side by side (`unionfs.store.remote.use.asking`).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Final

import trio
from packaging.utils import parse_wheel_filename

from resolver import config
from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.manifest import ViewId
from resolver.python.discovery import find_interpreter
from resolver.python.target import KIND
from unionfs.archive.layer import LayerError
from unionfs.bytecode.companion import companion_key, with_companions
from unionfs.formats.python.generated import skeleton_layer
from unionfs.publishing.publish import publish, tell_needs
from unionfs.publishing.up import ATTEMPTS, Made, whole_manifest
from unionfs.store.ordered import Stores
from unionfs.store.remote import seen
from unionfs.store.remote import stores as remotes
from unionfs.store.remote.addresses import address, tagged
from unionfs.store.remote.believing import trust_by_command
from unionfs.store.remote.statement import is_id, is_tag, time_text
from unionfs.store.remote.transport import RemoteError
from unionfs.store.remote.use.asking import PATIENCE, have_begun
from unionfs.store.remote.vouching import NotBelievedError, view
from unionfs.store.sources import is_made_here
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from resolver.manifest import LayerSpec, Manifest
    from resolver.places import Places
    from resolver.python.interpreter import Interpreter
    from unionfs.store.remote.addresses import Address
    from unionfs.store.remote.transport import Transport
    from unionfs.store.remote.vouching import Trust, VouchedView

_VERSION = re.compile(r"3\.\d{1,2}t?")
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A view in a remote store, and whom one believes for it by this command alone.

    `reference` is a tag or a view's id. `python` as `--python` has it.
    """

    at: Address
    reference: str
    keys: tuple[str, ...] = ()
    whole: bool = False
    allow_older: bool = False
    offline: bool = False
    python: str | None = None


def named(text: str) -> tuple[Address, str]:
    """The store and the tag or id in `oci://HOST/REPOSITORY:TAG`, `https://HOST/PATH:TAG`."""
    at = tagged(text)
    reference, at = at.tag, replace(at, tag="")
    if not (is_tag(reference) or is_id(reference)):
        raise PkgviewError(
            f"{text} names no view", remedy=f"Name its tag, or its id: {at.url}:main."
        )
    return at, reference


def take(places: Places, wanted: Named, believed: Callable[[], None] = lambda: None) -> Made:
    """That view as one of this machine, made here if need be. `PkgviewError`.

    `believed` is called as soon as it is known what shall be made, which then takes a while.
    """
    memory = _Memory.of(places, wanted)
    if wanted.offline:
        return memory.there()
    insecure = any(
        one.insecure and address(one.url).url == wanted.at.url
        for one in config.load(places).remotes
    )
    trust = trust_by_command(places, wanted.at.url, wanted.keys, whole=wanted.whole)
    remote = remotes.transport(wanted.at, insecure=insecure, patience=PATIENCE)

    async def run() -> Made:
        async with remote:
            try:
                found = await _said(remote, wanted, trust)
            except RemoteError as error:
                return memory.instead(error)
            seen.admit(places, found, trust, allow_older=wanted.allow_older)
            known = memory.made_of(found.view.id)
            if known is not None:
                return known
            believed()
            return await _made(places, wanted, found, remote, memory)

    with single_failure():
        return trio.run(run)


async def _said(remote: Transport, wanted: Named, trust: Trust) -> VouchedView:
    statement = await remote.view(wanted.reference)
    if statement is None:
        raise PkgviewError(
            f"{remote.url} has no view {wanted.reference}",
            remedy="Push one with `pkgview push`, or name another.",
        )
    return view(statement, wanted.reference, trust, time.time())


async def _made(
    places: Places, wanted: Named, found: VouchedView, remote: Transport, memory: _Memory
) -> Made:
    await trio.to_thread.run_sync(tell_needs, places)
    manifest, stores = found.view.manifest, Stores(places)
    interpreter = await trio.to_thread.run_sync(_interpreter, places, wanted, manifest)
    layers = [layer for layer in manifest.layers if layer.name]
    _must_fit(wanted, layers, interpreter)
    if unproved := {layer.archive for layer in layers} & set(found.unproved):
        raise NotBelievedError(
            f"{remote.url}: {min(unproved)} is of no package file, and nobody has signed it",
            remedy="Have it pushed with `--sign KEY`, by whom you believe.",
        )
    sources = dict(_sources(found, layers, interpreter))
    for attempt in count(1):
        try:
            names = [layer.archive for layer in layers]
            await have_begun(places, remote, stores, [*names, *sources.values()])
        except LayerError as error:
            raise PkgviewError(
                str(error), remedy="Have it pushed anew: what is there is damaged."
            ) from error
        with stores.held():
            if attempt < ATTEMPTS and not all(map(stores.has, names)):
                continue  # collected meanwhile
            stores.vouch(sources, found.word)
            made = _published(places, stores, layers, interpreter)
        break
    memory.keep(found, made.id)
    return Made(view=made.id, manifest=made, fresh=True, remark=_described(found))


def _described(found: VouchedView) -> str:
    """Who says it, and when, for a person."""
    said = found.view
    return f"{said.name or said.id} of {found.word}, made {time_text(said.made)}."


def _sources(
    found: VouchedView, layers: Sequence[LayerSpec], interpreter: Interpreter
) -> Iterator[tuple[str, str]]:
    """What is believed and used of what the view says that archives became from."""
    archives = {layer.archive for layer in layers}
    compiled = {companion_key(name, interpreter) for name in archives}
    for key, name in found.sources.items():
        if key in compiled or (name in archives and not is_made_here(key)):
            yield key, name


def _published(
    places: Places, stores: Stores, layers: Sequence[LayerSpec], interpreter: Interpreter
) -> Manifest:
    python = interpreter.python
    own = skeleton_layer(stores, interpreter, with_pip=any(one.name == "pip" for one in layers))
    placed = [
        python.layer(layer.archive, name=layer.name, version=layer.version) for layer in layers
    ]
    manifest = python.manifest([own, *placed])
    manifest = with_companions(manifest, interpreter, stores.archive_of)
    registry = Registry.of(places)
    try:
        publish(places, manifest, stores, registry)
    finally:
        registry.close()
    return manifest


def _interpreter(places: Places, wanted: Named, manifest: Manifest) -> Interpreter:
    """One of this machine that the view is for; nothing of what is said of the pusher's counts."""
    version = manifest.target.get("version", "")
    if manifest.kind != KIND or not _VERSION.fullmatch(version):
        raise PkgviewError(
            f"{wanted.reference} is a view for {manifest.kind:.40} {version:.40}, and no Python "
            "environment",
            remedy="Name one of Python's.",
        )
    found = find_interpreter(None, wanted.python or version, places.state)
    if found.python.version != version:
        raise PkgviewError(
            f"{wanted.reference} is for Python {version}, and {found.executable} is "
            f"{found.python.version}",
            remedy="Leave --python out, or name one that fits.",
        )
    return found


def _must_fit(wanted: Named, layers: Sequence[LayerSpec], interpreter: Interpreter) -> None:
    """`PkgviewError` where a distribution was built for another machine, as its name says."""
    tags = set(interpreter.tags)
    for layer in layers:
        # An archive is called as its wheel was; what was built of sources may have no tags.
        stem = layer.archive.removesuffix(".tar.zst").rpartition(".")[0]
        try:
            said = {str(tag) for tag in parse_wheel_filename(f"{stem}.whl")[3]}
        except ValueError:
            continue
        if not said & tags:
            raise PkgviewError(
                f"{wanted.reference} was made for another machine: {stem} does not fit "
                f"{interpreter.executable} ({interpreter.tag})",
                remedy="Push a view of the same lock from a machine like this one.",
            )


class _Memory:
    """What a reference came to here."""

    def __init__(self, places: Places, path: Path, wanted: Named) -> None:
        self._places = places
        self._path = path
        self._wanted = wanted

    @classmethod
    def of(cls, places: Places, wanted: Named) -> _Memory:
        what = f"{wanted.at.url}\n{wanted.reference}\n{wanted.python or ''}"
        digest = hashlib.sha256(what.encode()).hexdigest()[:32]
        return cls(places, places.state / "taken" / f"{digest}.json", wanted)

    def keep(self, found: VouchedView, here: ViewId) -> None:
        """For the next start."""
        said = {"there": found.view.id, "here": here, "said": _described(found)}
        self._path.parent.mkdir(exist_ok=True)
        write_atomically(self._path, json.dumps(said).encode())

    def made_of(self, there: str) -> Made | None:
        """The same view as it was made here, if it is whole."""
        known = self._read()
        return self._made(known) if known.get("there") == there else None

    def there(self) -> Made:
        """Whatever it came to the last time; `PkgviewError` where that is nothing."""
        known = self._read()
        made = self._made(known)
        if made is None:
            raise PkgviewError(
                f"{self._wanted.at.url} was not asked for {self._wanted.reference} before",
                remedy="Without --offline it is.",
            )
        return made

    def instead(self, error: RemoteError) -> Made:
        """The same for who cannot ask just now, which is said; the error where it is nothing."""
        made = self._made(self._read())
        if made is None:
            raise error
        return replace(made, remark=f"{error.what}. As it was when it was asked: {made.remark}")

    def _read(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                known = json.loads(file.read(_LONGEST))
            return {name: str(known[name]) for name in ("there", "here", "said")}
        except (OSError, ValueError, TypeError, LookupError):
            return {}

    def _made(self, known: dict[str, str]) -> Made | None:
        if not re.fullmatch(r"[0-9a-f]{32}", known.get("here", "")):
            return None
        manifest = whole_manifest(self._places, ViewId(known["here"]))
        if manifest is None:
            return None
        executable = manifest.target.get("executable", "")
        fresh = find_interpreter(
            None, self._wanted.python or manifest.target["version"], self._places.state
        )
        if fresh.executable != executable:
            return None
        return Made(view=manifest.id, manifest=manifest, fresh=False, remark=known["said"])
