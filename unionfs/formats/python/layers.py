"""Layers by hand in a view of Python's: which archives they are, and what they take the place of.

A distribution is there once, since `importlib.metadata` would find two: what is laid in front takes
the place of the lock's of that name, and of what comes later by hand only the files are shown.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from packaging.utils import canonicalize_name

from resolver.errors import PkgviewError
from resolver.python.editable import static_editable
from resolver.python.fit.tags import refuse_others
from resolver.python.layers.listed import HandLayer, What, refuse_missing
from resolver.python.layers.trees import eggs_in
from resolver.python.project import PythonProject, project_at
from unionfs.archive.layer import Kind
from unionfs.formats.byhand.infos import SITE, Distribution, meta_of
from unionfs.formats.byhand.live import Tree, members, tree_of
from unionfs.formats.byhand.packed import Packed
from unionfs.formats.wheel.editable import editable_members
from unionfs.formats.wheel.reader import open_wheel
from unionfs.formats.zip.check import SIZE_LIMIT
from unionfs.formats.zip.stream import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from resolver.manifest import LayerSpec
    from resolver.python.interpreter import Interpreter
    from resolver.python.target import Python
    from unionfs.store.local import Store

WHEEL = ".whl"

_PACKED = "layer-1"
"""Raised where the same file shall be packed anew."""


class Laid(NamedTuple):
    """All layers of the distributions and by hand, in order; `said` is for a person, a sentence."""

    layers: tuple[LayerSpec, ...]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hand:
    """One in the making: an `archive` that is there, or a live `tree`."""

    layer: HandLayer
    distributions: tuple[Distribution, ...]
    archive: str = ""
    tree: Tree | None = None


def laid(
    store: Store,
    interpreter: Interpreter,
    layers: Sequence[LayerSpec],
    by_hand: Sequence[HandLayer],
) -> Laid:
    """Lay them over and behind the layers of a lock; `PkgviewError` where one cannot be had."""
    if not by_hand:
        return Laid(tuple(layers), "")
    wheels = [one.place.name for one in by_hand if one.place.suffix == WHEEL]
    refuse_others(wheels, interpreter)
    hands = [_hand(store, one) for layer in by_hand for one in _each(layer)]
    over = {one.key for hand in hands if hand.layer.over for one in hand.distributions}
    kept = [one for one in layers if canonicalize_name(one.name) not in over]
    said = [
        f"{new.name} {new.version} ({hand.layer.named}) instead of {one.name} {one.version}."
        for one in layers
        if one not in kept
        for hand in hands
        for new in hand.distributions
        if hand.layer.over and new.key == canonicalize_name(one.name)
    ]
    taken: set[str] = {canonicalize_name(one.name) for one in kept if one.name}
    making = _Making(store, interpreter.python, hands, kept)
    front = [making.layer(hand, taken) for hand in hands if hand.layer.over]
    behind = [making.layer(hand, taken) for hand in hands if not hand.layer.over]
    return Laid((*filter(None, front), *kept, *filter(None, behind)), " ".join(said))


def _each(layer: HandLayer) -> Iterator[HandLayer]:
    refuse_missing(layer)
    yield layer
    yield from eggs_in(layer)


def _hand(store: Store, layer: HandLayer) -> _Hand:
    if layer.what is What.FILE:
        archive = _packed(store, layer.place)
        meta = store.open(archive).meta
        own = Distribution(info="", name=meta.name, version=meta.version)
        return _Hand(layer=layer, distributions=(own,) if meta.name else (), archive=archive)
    tree = tree_of(layer)
    own_project = _named_project(layer)
    if own_project is not None:
        own = Distribution(info="", name=own_project.name or "", version=own_project.version or "0")
        # What a build has left there says the same, and is older.
        names = {one.info for one in tree.distributions}
        top = {name: place for name, place in tree.top.items() if name not in names}
        tree = Tree(place=tree.place, top=top, distributions=(own,))
    return _Hand(layer=layer, distributions=tree.distributions, tree=tree)


def _named_project(layer: HandLayer) -> PythonProject | None:
    """What its pyproject.toml says, if that names a distribution."""
    if layer.what is not What.PROJECT:
        return None
    found = project_at(str(layer.place), own_lock=False)
    return found if found is not None and found.name else None


class _Making:
    """The layers of one view."""

    def __init__(
        self, store: Store, python: Python, hands: Sequence[_Hand], kept: Sequence[LayerSpec]
    ) -> None:
        self._store, self._python = store, python
        names = [*(one.archive for one in kept), *(one.archive for one in hands if one.archive)]
        self._archives = [store.open(name) for name in dict.fromkeys(names)]
        self._trees = [one.tree for one in hands if one.tree is not None]

    def layer(self, hand: _Hand, taken: set[str]) -> LayerSpec | None:
        """One by hand; None if it is a distribution that is there already. Adds to `taken`."""
        without = {one.key for one in hand.distributions} & taken
        taken |= {one.key for one in hand.distributions}
        if hand.tree is None:
            if without:
                return None
            meta = self._store.open(hand.archive).meta
            return self._python.layer(hand.archive, name=meta.name, version=meta.version)
        shown = [one for one in hand.distributions if one.key not in without]
        named = shown[0] if len(shown) == 1 else None
        archive = self._live(hand, hand.tree, without, shown)
        return self._python.layer(
            archive, name=named.name if named else "", version=named.version if named else ""
        )

    def _live(
        self, hand: _Hand, tree: Tree, without: set[str], shown: Sequence[Distribution]
    ) -> str:
        links = members(tree, self._shared(tree), without)
        project = _named_project(hand.layer) if shown else None
        if project is None:
            return self._store.add(links, meta_of(shown, tree.place.name))
        with tempfile.TemporaryDirectory(prefix="pkgview-layer-") as made:
            into = static_editable(project, Path(made) / "built")
            for path in (into / SITE).glob("*.pth"):
                path.unlink()  # its code is found by links
            headers = self._python.schemes.headers
            _, own, _ = editable_members(into, name=project.name or "", headers=headers)
            return self._store.add([*own, *links], meta_of(shown, tree.place.name))

    def _shared(self, tree: Tree) -> Callable[[tuple[str, ...]], bool]:
        others = [one for one in self._trees if one is not tree]

        def is_shared(path: tuple[str, ...]) -> bool:
            return any(one.has_directory(path) for one in others) or self._is_packed(path)

        return is_shared

    def _is_packed(self, path: tuple[str, ...]) -> bool:
        below = "/".join(path).encode("utf-8", "surrogateescape")
        for archive in self._archives:
            for scheme in (b"purelib/", b"platlib/"):
                number = archive.find(scheme + below)
                if number is not None and archive.entry(number).kind is Kind.DIRECTORY:
                    return True
        return False


def _packed(store: Store, path: Path) -> str:
    """A wheel, an egg or another Zip file as an archive: its name.

    Packed from a copy: who can change the file meanwhile would else say what another file became.
    """
    archive = store.archive_of(_key(path, _digest(path)))
    if archive is None:
        with tempfile.TemporaryDirectory(prefix="pkgview-layer-") as made:
            copy = Path(made) / path.name
            with copy.open("wb") as out:
                digest = _digest(path, out)
            archive = _add(store, copy, f"sha256:{digest}", str(path))
        store.record_source(_key(path, digest), archive)
    return archive


def _key(path: Path, digest: str) -> str:
    return f"{_PACKED}-{hashlib.sha256(os.fsencode(f'{digest} {path.name}')).hexdigest()}"


def _digest(path: Path, out: BinaryIO | None = None) -> str:
    """SHA-256 of a file in hexadecimal, copied to `out`; `PkgviewError` for what is none."""
    digest = hashlib.sha256()
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a FIFO would be waited for
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > SIZE_LIMIT:
                raise PkgviewError(
                    f"the layer {path} is no file of at most {SIZE_LIMIT} bytes",
                    remedy="Take that layer out.",
                )
            left = status.st_size  # what is written to it meanwhile is not read
            while left and (block := file.read(min(left, 1 << 20))):
                left -= len(block)
                digest.update(block)
                if out is not None:
                    out.write(block)
    except OSError as error:
        raise PkgviewError(
            f"the layer {path} cannot be read: {error.strerror}", remedy="Take that layer out."
        ) from error
    return digest.hexdigest()


def _add(store: Store, path: Path, origin: str, named: str) -> str:
    if path.suffix == WHEEL:
        with open_wheel(path, origin=origin) as wheel:
            return store.add(wheel.members(), wheel.meta)
    with Packed(path, origin, named) as packed:
        try:
            return store.add(packed.members(), packed.meta)
        except ContentError as error:
            raise PkgviewError(
                f"{named} is refused: a member {error}", remedy="Make it anew, or take it out."
            ) from error
