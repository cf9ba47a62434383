"""`pkgview push`: a project's views, and all that they need, to a registry or a bucket."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from resolver.places import Places
from resolver.project import resolved
from unionfs.cli import console
from unionfs.cli.asked import KIND, QUIET, json_of, projects_at
from unionfs.cli.commands.store.pull import fetched
from unionfs.cli.progress import Display
from unionfs.store.ordered import Stores
from unionfs.store.remote.addresses import address, tagged
from unionfs.view.opened import load_manifest, project_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.manifest import Manifest
    from unionfs.store.remote.oci.repository import OciTransport
    from unionfs.store.remote.static.directory import DirectoryTransport
    from unionfs.store.remote.static.s3 import S3Transport
    from unionfs.upkeep.pushing import Parcel, Pushed

PUSHED = "{store, archives, size, kept, statements, views: [{view, tag}]}"
INSECURE = click.option(
    "--insecure", is_flag=True, help="Speak HTTP without TLS where the store has none."
)
SIGN = click.option(
    "--sign",
    "key",
    metavar="KEY",
    help="Sign all that is said with that SSH key: the file of a private one, or of a public one "
    "that ssh-agent has.",
)
ALSO_PYTHON = click.option(
    "--also-python",
    "pythons",
    multiple=True,
    metavar="X.Y",
    help="The project's view for that Python, too; may be repeated.",
)


@click.command(
    epilog="""\b
Examples:
  pkgview push oci://registry.example.org/team/env
  pkgview push ~/project oci://registry.example.org/team/env:main --also-python 3.12
  pkgview push s3://bucket/env:main --sign ~/.ssh/id_ed25519
"""
)
@click.argument("words", nargs=-1, required=True, metavar="[DIRECTORY] ADDRESS[:TAG]")
@ALSO_PYTHON
@KIND
@click.option("--all-archives", is_flag=True, help="All archives of your own store, too.")
@click.option(
    "--image",
    metavar="oci://HOST/REPOSITORY:TAG",
    help="That image and the view upon it, as an image that podman runs; tagged TAG-image.",
)
@SIGN
@INSECURE
@QUIET
@json_of(PUSHED)
def push(  # noqa: PLR0913 - one parameter an option
    words: tuple[str, ...],
    *,
    pythons: tuple[str, ...],
    kinds: tuple[str, ...],
    all_archives: bool,
    image: str | None,
    key: str | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Send a project's view, and all that it needs, to an OCI registry or an S3 bucket.

    ADDRESS is oci://HOST/REPOSITORY or s3://BUCKET/PATH.

    What is there is not sent again, so a push that broke off is gone on with by the next. The view
    can be asked for by its id, and by TAG; those of other kinds and Pythons by TAG-KIND-PYTHON.
    Users and passwords are those of `docker login`, `podman login`, or ~/.netrc; keys of a bucket
    those of AWS_ACCESS_KEY_ID or ~/.aws.
    """
    from unionfs.store.remote import stores as remotes  # noqa: PLC0415 - `-h` does without

    base = None if image is None else address(image)
    if base is not None and not base.tag:
        raise click.UsageError("--image needs the tag of an image")
    *directories, named = words
    if len(directories) > 1:
        raise click.UsageError("name one directory, and the repository last")
    at = tagged(named)
    if at.tag:
        refuse_no_tag(at.tag)
    if at.scheme not in {"oci", "s3"}:
        raise PkgviewError(
            f"{named} is only read",
            remedy="Name a registry, oci://HOST/REPOSITORY, or a bucket, s3://BUCKET/PATH. For a "
            "web server, fill its directory with `pkgview store copy --views`.",
        )
    if base is not None and at.scheme != "oci":
        raise click.UsageError("--image is for registries")
    places = Places.from_environ()
    directory = Path(directories[0] if directories else ".")
    views = views_of(places, directory, at.tag, kinds=kinds, pythons=pythons)
    parcel = parcel_of(places, views, all_archives=all_archives, quiet=as_json)
    insecure = insecure or is_insecure(places, at.url)
    if at.scheme == "s3":
        bucket = remotes.bucket(at, insecure=insecure)
        with Display(quiet=as_json) as display:
            done = send(bucket, places, parcel, display, key)
        say(done, views, at.url, as_json=as_json)
        return
    beside = remotes.beside(places, at)
    if base is not None and base.host == at.host and base.path != at.path:
        beside = [base.path, *beside]
    remote = remotes.repository(at, insecure=insecure, beside=beside)
    with Display(quiet=as_json) as display:
        done = send(remote, places, parcel, display, key)
        if base is not None:
            below = remotes.repository(base, insecure=insecure)
            _send_image(remote, below, base.tag, places, views[0])
    say(done, views, at.url, as_json=as_json)


def refuse_no_tag(name: str) -> None:
    """A view cannot be called like another's id."""
    from unionfs.store.remote.statement import is_tag  # noqa: PLC0415 - `-h` does without

    if not is_tag(name):
        raise PkgviewError(
            f"{name!a} cannot be a tag", remedy="Take a name; every view has its id as one anyway."
        )


def views_of(
    places: Places,
    directory: Path,
    tag: str = "",
    *,
    kinds: Sequence[str] = (),
    pythons: Sequence[str] = (),
) -> list[tuple[Manifest, str]]:
    """The views of the project there, each with its tag; "" where none was named.

    Its own first, by whose tag it is known.
    """
    found: dict[str, tuple[Manifest, str]] = {}
    for kind, project in projects_at(directory, kinds):
        known = resolved.load(places.state / "projects", str(project.root))
        wanted = [None, *pythons] if kind.name == resolved.PYTHON else [None]
        for variant in wanted:
            view = project_view(places, project, variant, kind=kind.name)
            if view not in found:
                which = next((one.variant for one in known.views if one.view == view), "")
                further = f"{tag}-{kind.name}-{which}".rstrip("-") if tag else ""
                shown = re.sub(r"[^A-Za-z0-9._-]", "_", further)[:128] if found else tag
                found[view] = load_manifest(places, view), shown
    return list(found.values())


def parcel_of(
    places: Places,
    views: Sequence[tuple[Manifest, str]],
    *,
    all_archives: bool,
    quiet: bool,
) -> Parcel:
    """All that these views need, here as a whole: what is lacking of it is fetched."""
    from unionfs.upkeep.pushing import parcel  # noqa: PLC0415 - `-h` does without

    fetched(places, [manifest for manifest, _ in views], "never", quiet=quiet)
    stores = Stores(places)
    return parcel(stores, views, further=stores.own.names() if all_archives else (), places=places)


def send(  # noqa: PLR0913, PLR0917 - what, whereto, and by whom
    remote: OciTransport | DirectoryTransport | S3Transport,
    places: Places,
    parcel: Parcel,
    display: Display,
    key: str | None = None,
    address: str | None = None,
) -> Pushed:
    """Have it there, signed with that key; `address` as in `unionfs.upkeep.pushing.push`."""
    import trio  # noqa: PLC0415 - `-h` does without

    from unionfs.store.remote.believing import trust_in  # noqa: PLC0415 - the same
    from unionfs.store.remote.seen import latest  # noqa: PLC0415 - the same
    from unionfs.store.remote.sshsig import sign_all  # noqa: PLC0415 - the same
    from unionfs.upkeep.pushing import push as send_all  # noqa: PLC0415 - the same
    from unionfs.upkeep.pushing import unsigned  # noqa: PLC0415 - the same

    trust = trust_in(places, address or remote.url)

    def sign(texts: Sequence[bytes]) -> Sequence[tuple[str, ...]]:
        return unsigned(texts) if key is None else [(one,) for one in sign_all(texts, key)]

    def seen(tag: str) -> int:
        known = latest(places, trust, tag) if tag else None
        return 0 if known is None else known.serial

    async def run() -> Pushed:
        async with remote:
            return await send_all(
                remote, Stores(places), parcel, display, sign, seen=seen, address=address
            )

    remote.sent = display.sent
    return trio.run(run)


def _send_image(
    remote: OciTransport,
    below: OciTransport,
    reference: str,
    places: Places,
    view: tuple[Manifest, str],
) -> None:
    """The first of the views as an image."""
    import trio  # noqa: PLC0415 - `-h` does without

    from unionfs.store.remote.oci.image import push_image, read_base  # noqa: PLC0415 - the same

    manifest, tag = view
    stores = Stores(places)

    async def run() -> None:
        async with remote, below:
            base = await read_base(below.registry, reference)
            archives = []
            for name in (one for layer in manifest.layers if layer.name for one in layer.archives):
                blob = await remote.find(name)
                path = next(path for path in stores.paths(name) if path.is_file())
                assert blob is not None  # noqa: S101 - it was sent just now
                archives.append((blob, path))
            # As the first of a view wins; a companion has no file of its source's.
            references = [f"{manifest.id}-image", *([f"{tag}-image"] if tag else [])]
            await push_image(remote.registry, base, archives, references)

    trio.run(run)


def say(done: Pushed, views: Sequence[tuple[Manifest, str]], store: str, *, as_json: bool) -> None:
    """What was done, for a person or a program."""
    tags = {manifest.id: tag for manifest, tag in views}
    if as_json:
        shown: dict[str, Any] = asdict(done)
        shown["views"] = [{"view": view, "tag": tags[view] or None} for view in done.views]
        console.as_json({"store": store, **shown})
        return
    console.note(
        f"{console.count(done.archives, 'archive')}, {console.size(done.size)}, in {store}"
        + (f"; there already: {done.kept}." if done.kept else ".")
    )
    for view in done.views:
        console.answer(f"{store}:{tags[view] or view}")


def is_insecure(places: Places, url: str) -> bool:
    """Whether the user said so when that store was added."""
    from resolver import config  # noqa: PLC0415 - `-h` does without

    return any(one.insecure for one in config.load(places).remotes if one.url == url)
