"""`pkgview store copy`, `export`, `import`: archives for another place, or another machine."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.atomic import claim_file
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import absolute, json_of, project_at
from unionfs.cli.commands.store.push import (
    ALSO_PYTHON,
    PUSHED,
    SIGN,
    is_insecure,
    parcel_of,
    refuse_no_tag,
    say,
    send,
    views_of,
)
from unionfs.cli.progress import Display
from unionfs.publishing.publish import tell_needs
from unionfs.store.local import Store
from unionfs.store.ordered import Stores
from unionfs.store.remote.addresses import address, is_remote
from unionfs.upkeep import bundle
from unionfs.view.catalog import VIEW_ID
from unionfs.view.opened import load_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import BinaryIO

    from unionfs.store.remote.static.directory import DirectoryTransport
    from unionfs.store.remote.static.s3 import S3Transport

_MOVED = "{archives, size, kept, sources}"
_BUNDLE = "Name a file that `pkgview store export` wrote, or - for standard input."
_STREAM = Path("-")
_TEMPORARY = ".pkgview-export-"
_PROJECTS = click.argument("projects", nargs=-1, type=click.Path(path_type=Path))
_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command(
    epilog="""\b
Examples:
  pkgview store copy .pkgview .             what this project needs, beside its files
  pkgview store copy /mnt/team/pkgview      the whole store
  pkgview store copy --views /srv/www/env .     what a web server gives to others
  pkgview store copy s3://bucket/env .          the same in a bucket
"""
)
@click.argument("directory", metavar="DIRECTORY|s3://BUCKET/PATH")
@_PROJECTS
@click.option("--views", is_flag=True, help="With the views, for a web server (docs/remote.md).")
@click.option("--tag", metavar="TAG", default="", help="A name for the view, with --views.")
@click.option(
    "--url", metavar="ADDRESS", default="", help="What others call it, with --tag: https://…"
)
@ALSO_PYTHON
@SIGN
@json_of(f"{_MOVED}; with --views: {PUSHED}")
def copy(  # noqa: PLR0913 - one parameter an option
    directory: str,
    projects: tuple[Path, ...],
    *,
    views: bool,
    tag: str,
    url: str,
    pythons: tuple[str, ...],
    key: str | None,
    as_json: bool,
) -> None:
    """Copy the store, or what the views of PROJECTS need, into the store at DIRECTORY.

    Every archive is verified whole. What is there already stays; what is missing is made. With
    --views it is a store for `pkgview store add https://…`; a view's id may stand for a project.
    Whoever signs what a tag means says of which store: --url. A bucket's always has the views.
    """
    if is_remote(directory):
        _copy_views(
            _in_bucket(directory), projects, (tag, url or None), pythons, key, as_json=as_json
        )
        return
    root = absolute(Path(directory))
    if views:
        if tag and key and not url:
            raise click.UsageError("a tag is signed for one store: name its address with --url")
        place = address(url).url if url else ""
        from unionfs.store.remote.static.directory import DirectoryTransport  # noqa: PLC0415 - `-h` does without

        there = DirectoryTransport(root)
        _copy_views(there, projects, (tag, place), pythons, key, as_json=as_json)
        return
    if tag or url or pythons or key:
        raise click.UsageError("--tag, --url, --also-python and --sign are for --views")
    stores, names = _wanted(projects)
    with Display(quiet=as_json) as display:
        moved = bundle.copy(stores, names, root, display)
    _say(moved, f"in {root}", as_json=as_json)


def _copy_views(  # noqa: PLR0913 - one parameter an option
    there: DirectoryTransport | S3Transport,
    named: tuple[Path, ...],
    called: tuple[str, str | None],
    pythons: tuple[str, ...],
    key: str | None,
    *,
    as_json: bool,
) -> None:
    places = Places.from_environ()
    tag, place = called
    if not named or (tag and len(named) > 1):
        raise click.UsageError("name the project, or the views, and one only with --tag")
    if tag:
        refuse_no_tag(tag)
    found = []
    for one in named:
        if VIEW_ID.fullmatch(str(one)) and not one.exists():
            found.append((load_manifest(places, ViewId(str(one))), tag))
        else:
            found += views_of(places, one, tag, pythons=pythons)
    parcel = parcel_of(places, found, all_archives=False, quiet=as_json)
    with Display(quiet=as_json) as display:
        done = send(there, places, parcel, display, key, place)
    say(done, found, there.url, as_json=as_json)


def _in_bucket(named: str) -> S3Transport:
    from unionfs.store.remote.stores import bucket  # noqa: PLC0415 - `-h` does without

    at = address(named)
    if at.scheme != "s3":
        raise PkgviewError(
            f"{named} is not written by `pkgview store copy`",
            remedy="For a registry: `pkgview push`. For a web server name its directory.",
        )
    return bucket(at, insecure=is_insecure(Places.from_environ(), at.url))


@click.command(
    epilog="""\b
Examples:
  pkgview store export project.tar .        what this project needs
  pkgview store export - | ssh HOST pkgview store import -
"""
)
@_FILE
@_PROJECTS
@json_of(_MOVED)
def export(file: Path, projects: tuple[Path, ...], *, as_json: bool) -> None:
    """Write the store, or what the views of PROJECTS need, to FILE (- is standard output).

    It is one tar file, for `pkgview store import`. It appears whole or not at all.
    """
    if file == _STREAM and as_json:
        raise click.UsageError("--json and the bundle cannot both go to standard output")
    stores, names = _wanted(projects)
    with Display(quiet=as_json) as display, _written(file) as out:
        moved = bundle.export(stores, names, out, display)
    _say(moved, "on standard output" if file == _STREAM else f"in {file}", as_json=as_json)


@click.command(
    name="import",
    epilog="""\b
Examples:
  pkgview store import project.tar
  ssh HOST pkgview store export - | pkgview store import -
""",
)
@_FILE
@json_of(_MOVED)
def import_(file: Path, *, as_json: bool) -> None:
    """Take the archives of a bundle that `pkgview store export` wrote (- is standard input).

    Every archive is verified whole. What wheels became is believed: import from whom you trust.
    """
    places = Places.from_environ()
    tell_needs(places)
    try:
        with Display(quiet=as_json) as display, _read(file) as source:
            moved = bundle.import_(Store(places.store), source, display)
    except PkgviewError as error:
        raise PkgviewError(f"{file}: {error.what}", remedy=error.remedy or _BUNDLE) from error
    _say(moved, f"in {places.store}", as_json=as_json)


def _wanted(projects: Collection[Path]) -> tuple[Stores, Collection[str]]:
    """All that is in the user's own store, or what these projects' views need."""
    places = Places.from_environ()
    stores = Stores(places)
    if not projects:
        return stores, bundle.carried(stores.own)
    return stores, bundle.needed(places, [str(project_at(path).root) for path in projects])


def _say(moved: bundle.Moved, where: str, *, as_json: bool) -> None:
    if as_json:
        console.as_json(asdict(moved))
        return
    console.note(
        f"{console.count(moved.archives, 'archive')}, {console.size(moved.size)}, {where}"
        + (f"; there already: {moved.kept}." if moved.kept else ".")
    )


@contextmanager
def _read(file: Path) -> Iterator[BinaryIO]:
    if file == _STREAM:
        if sys.stdin is None:
            raise PkgviewError("standard input is closed", remedy="Name a file, or use a pipe.")
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise PkgviewError(f"it cannot be read: {error.strerror}") from error
    with source:
        yield source


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when it is whole, or standard output."""
    if file == _STREAM:
        if sys.stdout is None or sys.stdout.isatty():
            raise PkgviewError(
                "a bundle is nothing to look at", remedy="Name a file or use a pipe."
            )
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
            yield out
        return
    try:
        if file.exists() and not stat.S_ISREG(file.stat().st_mode):
            raise PkgviewError(f"{file} is no regular file", remedy="Name another, or use `-`.")
        temporary, descriptor = claim_file(file.parent, _TEMPORARY)
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
                out.flush()
                os.umask(mask := os.umask(0o077))
                os.fchmod(descriptor, 0o666 & ~mask)
                os.fsync(descriptor)
                Path(temporary).replace(file)  # still locked: nobody takes it for abandoned
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise PkgviewError(
            f"cannot write {file}: {error.strerror}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error
