"""`pkgview pull`, and what other commands take of remote stores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver import config
from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import KIND, QUIET, json_of, projects_at
from unionfs.cli.progress import Display
from unionfs.view.opened import load_manifest, project_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from resolver.manifest import Manifest
    from unionfs.publishing.up import Made

KEYS = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Of an address: believe what that SSH key has signed, for this once; may be repeated.",
)
ALLOW_OLDER = click.option(
    "--allow-older", is_flag=True, help="Of an address: take an older view than was seen there."
)
LAZY = click.option(
    "--lazy",
    type=click.Choice(config.LAZY),
    help="When what no program has read yet is fetched of a remote store: always lazily, beside "
    "all else, or never lazily but now. Default: what config.toml says, else always.",
)


@click.command(
    epilog="""\b
Examples:
  pkgview pull                           all that the view of the project here lacks
  pkgview pull oci://registry.example.org/team/env:main
"""
)
@click.argument("what", required=False, default=".", metavar="[DIRECTORY|ADDRESS:TAG]")
@KIND
@click.option("--trust", is_flag=True, help="Of an address: believe all that is said there.")
@KEYS
@ALLOW_OLDER
@QUIET
@json_of("{views: [view], size}; size: bytes that were lacking")
def pull(  # noqa: PLR0913 - one parameter an option
    what: str,
    *,
    kinds: tuple[str, ...],
    trust: bool,
    keys: tuple[str, ...],
    allow_older: bool,
    as_json: bool,
) -> None:
    """Fetch all of a view now, that else would be fetched as it is read. Then it works offline.

    Of a project it is the view that `pkgview up` has made; of an address the view of that tag.
    """
    places = Places.from_environ()
    if "://" in what:
        manifests = [taken(places, what, trust=trust, keys=keys, allow_older=allow_older).manifest]
    else:
        manifests = _of_project(places, Path(what), kinds)
    size = fetched(places, manifests, "never", quiet=as_json)
    if as_json:
        console.as_json({"views": [one.id for one in manifests], "size": size})
    elif size:
        console.note(f"Fetched {console.size(size)}: all is here now.")
    else:
        console.note("All is here already.")


def _of_project(places: Places, directory: Path, kinds: Sequence[str]) -> list[Manifest]:
    return [
        load_manifest(places, project_view(places, project, kind=kind.name))
        for kind, project in projects_at(directory, kinds)
    ]


def taken(  # noqa: PLR0913 - one parameter an option
    places: Places,
    address: str,
    *,
    trust: bool = False,
    keys: tuple[str, ...] = (),
    allow_older: bool = False,
    offline: bool = False,
    python: str | None = None,
    believed: Callable[[], None] = lambda: None,
) -> Made:
    """The view that has that address, as one of this machine; who says so is said.

    `believed` as in `unionfs.publishing.taken.take`.
    """
    from unionfs.publishing import taken as views  # noqa: PLC0415 - `-h` does without

    if trust and keys:
        raise click.UsageError("name one of --trust, which believes all, and --key")
    at, reference = views.named(address)
    made = views.take(
        places,
        views.Named(
            at=at, reference=reference, keys=keys, whole=trust, allow_older=allow_older,
            offline=offline, python=python,
        ),
        believed,
    )  # fmt: skip
    if made.remark:
        console.note(made.remark)
    return made


def fetched(
    places: Places, manifests: Iterable[Manifest], lazy: str | None, *, quiet: bool = False
) -> int:
    """Fetch of views what is to be fetched before it is read: how many bytes were waited for.

    Always what a trace says; that comes meanwhile.
    """
    # Before `config` is read: nearly nobody has any.
    if not os.path.isdir(places.store / "partial"):  # noqa: PTH112 - with every `up`
        return 0
    from unionfs.daemon.logfile import log_path, open_log  # noqa: PLC0415 - as above
    from unionfs.store.remote.use.fetching import (  # noqa: PLC0415 - as above
        follow,
        have_whole,
        touched_first,
    )

    how = lazy or config.load(places).lazy
    names = [name for one in manifests for name in one.archives]
    log = open_log(log_path(places))
    try:
        if how == "never":
            with Display(quiet=quiet) as display:
                return have_whole(places, names, display, log=log)
        touched_first(places, names, log=log)
        if how == "background":
            follow(places, names, log=log)
    finally:
        os.close(log)
    return 0


def not_for_addresses(*given: object) -> None:
    """Refuse options that are for projects alone."""
    if any(given):
        raise PkgviewError(
            "a view of a remote store is taken as it is: nothing can be added to it",
            remedy="Leave --project, --with, --deb, --extra, --group, --isolated, --no-sync out.",
        )
