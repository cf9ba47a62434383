"""From a project to its view: what `pkgview up` and `pkgview run` do.

Two halves. `known_view` answers when nothing has changed, and imports nothing that resolves,
fetches or draws; `make_view` does the work. Options, inputs and the interpreter are compared by
fingerprint, so the two never disagree about what "changed" means.

Both see to it that the next start that finds the same need not come here (`resolver.remembered`).
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.atomic import Alone
from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from resolver.project import resolved
from resolver.project.project import Kind, fingerprint
from resolver.project.resolved import ResolvedView
from resolver.python.interpreter import find_interpreter, is_first
from resolver.remembered import FORMAT
from unionfs.store.ordered import Stores
from unionfs.view.catalog import read_manifest, used_until_now
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from resolver.fetch.web import FetchSettings
    from resolver.manifest import LayerSpec
    from resolver.places import Places
    from resolver.project.project import Project
    from resolver.python.index import DownloadSettings
    from resolver.python.interpreter import Interpreter
    from resolver.python.selection import Choice
    from unionfs.publishing.assemble import Progress

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


ATTEMPTS = 5
"""How often archives are made again that `pkgview gc` took just then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for.

    Unless `kept`, the view is for this one run, and the project's own stays what it was. With
    `no_build` no code of any distribution is run: what would need that is an error, and the
    project itself is taken as its files say.
    """

    project: Project
    python: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    upgrade: bool = False
    offline: bool = False
    frozen: bool = False
    kept: bool = True
    no_build: bool = False

    def fingerprint(self, interpreter: Interpreter) -> str:
        """Equal as long as the same view would come out, newer releases aside."""
        # The project itself is the one thing that comes out differently if nothing is built.
        unbuilt = ("unbuilt",) if self.no_build and self.project.package else ()
        return fingerprint(
            self.project,
            FORMAT,
            interpreter.executable,
            interpreter.full,
            "\0".join(self.extras),
            "\0".join(self.groups),
            *unbuilt,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A view that is there. `fresh`: it was not the project's view before."""

    view: ViewId
    manifest: Manifest
    fresh: bool

    @property
    def distributions(self) -> int:
        """How many there are in it."""
        return sum(1 for layer in self.manifest.layers if layer.name)

    @property
    def described(self) -> str:
        """Such as "3 distributions, Python 3.11"."""
        what = f"{self.distributions} distribution{'' if self.distributions == 1 else 's'}"
        return f"{what}, Python {self.manifest.python.version}"


def known_view(places: Places, wish: Wish) -> Made | None:
    """The project's view if nothing has changed since it was made and it is whole."""
    if wish.upgrade or wish.requirements:
        return None  # what either gives is known only when it has been resolved
    record = resolved.load(places.state / "projects", str(wish.project.root))
    if not record.views:
        return None
    before = _situation(wish)
    interpreter = find_interpreter(wish.project, wish.python, places.state)
    found = record.view_for(interpreter.python.version)
    if found is None or found.fingerprint != wish.fingerprint(interpreter):
        return None
    manifest = whole_manifest(places, found.view)
    if manifest is None:
        return None
    if wish.kept and found is not record.views[-1]:
        # Asked for again after one for another Python: what is no Python is shown this one now.
        _record(places, record.root, found)
    made = Made(view=found.view, manifest=manifest, fresh=False)
    _remember(places, wish, before, made, found)
    return made


def whole_manifest(places: Places, view: ViewId) -> Manifest | None:
    """A view's manifest if all of its archives are in the store and the registry knows it."""
    try:
        manifest = read_manifest(places, view)
    except (OSError, PkgviewError):
        return None
    store = Stores(places)
    if not all(map(store.has, manifest.archives)):
        return None
    registry = _registry(places)
    try:
        return None if registry.view_number(view) is None else manifest
    finally:
        registry.close()


def make_view(places: Places, wish: Wish, progress: Progress) -> Made:
    """Lock, fetch, pack, publish; the project's record is written last.

    `PkgviewError` for what cannot be had, and `KeyboardInterrupt` as itself.
    """
    import trio  # noqa: PLC0415 - nothing to do needs none of this

    from unionfs.bytecode.companion import with_companions  # noqa: PLC0415 - the same
    from unionfs.publishing.generated import skeleton_layer  # noqa: PLC0415 - the same

    interpreter = find_interpreter(wish.project, wish.python, places.state)
    # Taken before the inputs are read: an edit meanwhile makes the next `up` look again.
    before = _situation(wish)
    taken, inputs = wish.fingerprint(interpreter), fingerprint(wish.project)
    store = Stores(places, wish.project.directory)
    for attempt in count(1):
        with single_failure():
            choices, distributions = trio.run(_layers, places, wish, interpreter, store, progress)
        manifest = Manifest(
            python=interpreter.python,
            layers=(
                skeleton_layer(store, interpreter),
                *preferred(distributions, wish.project.settings.prefer),
            ),
        )
        manifest = with_companions(manifest, interpreter, store.archive_of)
        with store.held():
            if attempt < ATTEMPTS and not all(map(store.has, manifest.archives)):
                continue  # collected meanwhile, since nothing said yet that they are needed
            view = _published(places, manifest, store)
            if not wish.kept:
                return Made(view=view, manifest=manifest, fresh=True)
            made = ResolvedView(
                python=interpreter.python.version,
                view=view,
                fingerprint=taken,
                inputs=inputs,
                extras=wish.extras,
                groups=wish.groups,
                unbuilt=wish.no_build and wish.project.package,
            )
            fresh = _record(places, str(wish.project.root), made)
            break
    done = Made(view=view, manifest=manifest, fresh=fresh)
    anywhere = (
        wish.project.kind in {Kind.PYLOCK, Kind.UV}
        and not wish.project.package
        and all(choice.path is None for choice in choices)
    )
    _remember(places, wish, before, done, made, anywhere=anywhere)
    return done


def _published(places: Places, manifest: Manifest, store: Stores) -> ViewId:
    from unionfs.publishing.publish import publish  # noqa: PLC0415 - nothing to do needs none of this

    registry = _registry(places)
    try:
        return publish(places, manifest, store, registry)
    finally:
        registry.close()


def _situation(wish: Wish) -> remembered.Situation | None:
    """What a start that looks at bytes alone would find; None where it would not do."""
    project = wish.project
    if wish.python is not None or not wish.kept or wish.no_build or project.source_trees:
        return None
    try:
        found = remembered.situation(str(project.root), wish.extras, wish.groups, os.environ)
    except (OSError, PkgviewError):
        return None
    if found is None or found.directory != str(project.root):
        return None  # a script, for one
    return found if set(map(str, project.inputs)) <= set(found.files) else None


def _remember(  # noqa: PLR0913 - what came of what
    places: Places,
    wish: Wish,
    before: remembered.Situation | None,
    view: Made,
    made: ResolvedView,
    *,
    anywhere: bool = False,
) -> None:
    """Keep what this came to, unless something has changed meanwhile or more counts than bytes.

    `anywhere`: the view is the same wherever the project lies.
    """
    now = before and _situation(wish)
    if before is None or now is None or now.here != before.here:
        return
    interpreter = find_interpreter(wish.project, wish.python, places.state)
    if made.fingerprint != wish.fingerprint(interpreter) or not is_first(
        interpreter, wish.project, wish.python, places.state
    ):
        return
    entry = remembered.Entry(
        view.view, interpreter.executable, view.described, resolved.to_json(made)
    )
    keys = (now.here, now.anywhere) if anywhere else (now.here,)
    with suppress(PkgviewError):  # it only saves time
        remembered.remember(str(places.state), keys, entry)


def _record(places: Places, root: str, made: ResolvedView) -> bool:
    """Write down what the project's view is now; whether that is another one than before."""
    projects = places.state / "projects"
    with Alone(projects):
        record = resolved.load(projects, root)
        before = next((one for one in record.views if one.python == made.python), None)
        resolved.save(projects, record.with_view(made))
    if before is not None and before.view != made.view:
        used_until_now(places, before.view)
    return before is None or before.view != made.view


def preferred(layers: Sequence[LayerSpec], prefer: Sequence[str]) -> list[LayerSpec]:
    """The layers whose distributions are preferred first, in that order; the rest as they are."""
    ranks = {name: rank for rank, name in enumerate(prefer)}
    return sorted(layers, key=lambda layer: ranks.get(layer.name, len(ranks)))


async def _layers(
    places: Places, wish: Wish, interpreter: Interpreter, store: Stores, progress: Progress
) -> tuple[tuple[Choice, ...], tuple[LayerSpec, ...]]:
    from resolver.python.lock import lock  # noqa: PLC0415 - nothing to do needs none of this
    from resolver.python.selection import select  # noqa: PLC0415 - the same
    from unionfs.publishing.assemble import Means, assemble  # noqa: PLC0415 - the same

    progress.locking(str(wish.project.root))
    found = await lock(
        wish.project,
        interpreter,
        extras=wish.extras,
        groups=wish.groups,
        state=places.state,
        upgrade=wish.upgrade,
        offline=wish.offline,
        frozen=wish.frozen,
        with_requirements=wish.requirements,
        no_build=wish.no_build,
    )
    means = Means(
        places=places,
        store=store,
        interpreter=interpreter,
        settings=_fetch_settings(wish.project),
        progress=progress,
        offline=wish.offline,
        unbuilt=wish.project if wish.no_build else None,
        earlier=_earlier_build(places, wish, interpreter) if wish.no_build else None,
    )
    choices = select(found, interpreter, no_build=wish.no_build)
    return choices, await assemble(choices, means)


def _earlier_build(places: Places, wish: Wish, interpreter: Interpreter) -> str | None:
    """The archive of the project itself in its last view, if it was built for that one."""
    root = str(wish.project.root)
    record = resolved.load(places.state / "projects", root)
    last = record.exactly(interpreter.python.version)
    if last is None or last.unbuilt:
        return None
    try:
        manifest = read_manifest(places, last.view)
    except (OSError, PkgviewError):
        return None
    own = (layer.archive for layer in manifest.layers if layer.name == wish.project.name)
    return next(own, None)


@contextmanager
def single_failure() -> Iterator[None]:
    """Of a group of failures raise the one that counts: what nobody foresaw, else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _single(group) from group


def _single(group: BaseExceptionGroup) -> BaseException:
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending = [*error.exceptions, *pending]
        else:
            leaves.append(error)
    unforeseen = (leaf for leaf in leaves if not isinstance(leaf, PkgviewError))
    return next(unforeseen, leaves[0])


def _fetch_settings(project: Project) -> FetchSettings:
    from resolver.fetch.web import FetchSettings  # noqa: PLC0415 - nothing to do needs none of this
    from resolver.python.index import download_settings  # noqa: PLC0415 - the same

    found = download_settings(project.directory)
    return FetchSettings(
        verify=_certificates(found),
        # httpx reads the environment by itself; what only pip's settings name it cannot know.
        proxy=None if any(map(os.environ.get, _PROXIES)) else found.proxies.get("all"),
        auth={host: (one.user, one.password) for host, one in found.credentials.items()},
    )


def _certificates(found: DownloadSettings) -> ssl.SSLContext | Path | None:
    """A file of certificates as it is; what needs more than a file as a context."""
    if found.certificate_directory is None and found.client_certificate is None:
        return found.certificates
    import ssl  # noqa: PLC0415 - mostly a file, or the system's

    try:
        context = ssl.create_default_context(
            cafile=found.certificates, capath=found.certificate_directory
        )
        if found.client_certificate is not None:
            context.load_cert_chain(found.client_certificate)
    except OSError as error:
        named = (found.certificates, found.certificate_directory, found.client_certificate)
        raise PkgviewError(
            f"the certificates in {', '.join(str(path) for path in named if path)} cannot be "
            f"used: {error}",
            remedy="Name files in PEM form in SSL_CERT_FILE, SSL_CLIENT_CERT or pip's settings.",
        ) from error
    return context


def _registry(places: Places) -> Registry:
    return Registry(places.state / "registry.sqlite3")
