"""`pkgview store`: the archives, and the stores that they are in."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver import config
from resolver.errors import PkgviewError
from resolver.places import Places
from resolver.project.trust import believes_store
from unionfs.cli import console
from unionfs.cli.asked import absolute, json_of
from unionfs.cli.commands.store import bundle, pinning, remotes, verify
from unionfs.cli.commands.store.push import INSECURE
from unionfs.cli.completing import paths
from unionfs.cli.group import Group
from unionfs.store.claims import Claims, can_be_told, is_told
from unionfs.store.local import Store
from unionfs.store.ordered import Stores, problem, remedy_for
from unionfs.store.partial import Partials
from unionfs.store.remote.addresses import address, is_remote
from unionfs.upkeep.references import read_references
from unionfs.upkeep.usage import usage

if TYPE_CHECKING:
    from resolver.project.project import Project
    from unionfs.store.ordered import Place


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="""\b
Examples:
  pkgview store                          the archives that are kept
  pkgview store verify --repair          read every byte, mend what is damaged
  pkgview store du                       who takes how much
  pkgview store add /mnt/team/pkgview    search another store, too
  pkgview store add oci://HOST/REPO      and one beyond this machine
  pkgview store copy .pkgview .          what the project here needs, beside its files
""",
)
@json_of("{path, size, archives: [{archive, size, of, views}]}; of: the whole size in bytes")
@click.pass_context
def store(context: click.Context, *, as_json: bool) -> None:
    """Show the archives that are kept, their sizes and how many views use each."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json stands behind the command that it is for", context)
        return

    places = Places.from_environ()
    sizes = Store(places.store).sizes()
    whole = dict(sizes)
    partials = Partials(places.store)
    for name, here in partials.sizes().items():
        with suppress(FileNotFoundError):  # it became an ordinary one
            whole[name] = partials.path(name).stat().st_size
            sizes[name] = min(here, whole[name])
    views = read_references(places).views_of()
    used = {name: len(views.get(name, ())) for name in sizes}
    if as_json:
        console.as_json(
            {
                "path": str(places.store),
                "size": sum(sizes.values()),
                "archives": [
                    {"archive": name, "size": size, "of": whole[name], "views": used[name]}
                    for name, size in sorted(sizes.items())
                ],
            }
        )
        return
    console.table(
        [
            (short(name), _how_much(size, whole[name]), str(used[name]))
            for name, size in sorted(sizes.items())
        ],
        header=("archive", "size", "views"),
        right=" rr",
        empty="No archives yet: `pkgview up` in a project brings some.",
    )
    total = _how_much(sum(sizes.values()), sum(whole.values()))
    console.answer(f"{console.count(len(sizes), 'archive')}, {total} in {places.store}")


def _how_much(here: int, whole: int) -> str:
    """A size; of what a remote store has not all is here."""
    size = console.size(whole)
    return size if here == whole else f"{console.size(here)} of {size}"


for command in (
    verify.verify,
    bundle.copy,
    bundle.export,
    bundle.import_,
    pinning.pin,
    pinning.unpin,
):
    store.add_command(command)


def short(name: str) -> str:
    """An archive's name without its digest."""
    return name.rsplit(".", 3)[0]


@store.command(
    name="list",
    epilog="""\b
Examples:
  pkgview store list
  pkgview store list --json
""",
)
@json_of(
    "[{path, rank, shared, passed_over, believed, held: {…}}]; path: or an address; passed_over: "
    "why, else null; believed: of a remote store, whose word counts; held: {archives, size, here, "
    "fetched, requests}, of a remote store"
)
def list_(*, as_json: bool) -> None:
    """Show the stores in the order in which they are searched."""
    places = Places.from_environ()
    order = Stores(places, Path.cwd() if _is_there() else None).order
    beyond = remotes.listed(places)
    if as_json:
        console.as_json(
            [
                {
                    "path": str(place.root),
                    "rank": place.rank,
                    "shared": place.shared,
                    "passed_over": place.problem or None,
                    "believed": None,
                    "held": None,
                }
                for place in order
            ]
            + beyond
        )
        return
    console.table(
        [(place.rank, str(place.root), _remark(place)) for place in order]
        + [
            (
                one["rank"],
                one["path"],
                f"believed: {one['believed']}{remotes.held_in_words(one['held'])}",
            )
            for one in beyond
        ],
        header=("rank", "store", ""),
    )


def _is_there() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109 - whether it fails is the question
    except FileNotFoundError:
        return False


def _remark(place: Place) -> str:
    if place.problem:
        return f"passed over: {place.problem}"
    return "shared" if place.shared else ""


@store.command(
    epilog="""\b
Examples:
  pkgview store add /mnt/team/pkgview
  pkgview store add --shared /srv/pkgview    others may write there, and are trusted
  pkgview store add oci://registry.example.org/team/env --key alice.pub
  pkgview store add https://example.org/env
"""
)
@click.argument("directory", metavar="DIRECTORY|ADDRESS", shell_complete=paths)
@click.option("--shared", is_flag=True, help="Believe whoever may write there.")
@click.option("--trust", is_flag=True, help="Believe all that a remote store says, signed or not.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Believe what that SSH key has signed: a public key, or the file of one; may be repeated.",
)
@INSECURE
@json_of("{path, shared}; with --trust: {path, shared, trust, keys: [key], insecure}")
def add(  # noqa: PLR0913 - one parameter an option
    directory: str,
    *,
    shared: bool,
    trust: bool,
    keys: tuple[str, ...],
    insecure: bool,
    as_json: bool,
) -> None:
    """Search another store, after the user's own and those that were added before.

    It is only read. Every archive is verified whole before it is used first. That a wheel became a
    certain archive is what the store says: a directory has to be yours or root's alone, unless
    --shared; of a store beyond this machine (oci://, https://) it counts only with --key, if that
    key has signed it, or with --trust.
    """
    places = Places.from_environ()
    if not is_remote(directory):
        if trust or insecure or keys:
            raise click.UsageError(
                "--trust, --key and --insecure are for addresses; for a directory: --shared"
            )
        _add_directory(places, directory, shared=shared, as_json=as_json)
        return
    if shared:
        raise click.UsageError("--shared is for directories; for an address: --trust")
    if trust and keys:
        raise click.UsageError("name one of --trust, which believes all, and --key")
    added = remotes.add(places, directory, keys, trust=trust, insecure=insecure)
    if as_json:
        said = {"path": added.url, "shared": False, "trust": added.trust}
        console.as_json(said | {"keys": list(added.keys), "insecure": added.insecure})
    else:
        console.note(
            f"{added.url} is searched from now on. Believed of what it says of packages: "
            f"{remotes.believed(added)}."
        )


def _add_directory(places: Places, directory: str, *, shared: bool, as_json: bool) -> None:
    root = Path(os.path.normpath(absolute(Path(directory))))
    if not root.is_dir():
        raise PkgviewError(
            f"there is no directory {root}",
            remedy=f"Fill one with `pkgview store copy {root}`, or name another.",
        )
    why = problem(root, shared=shared)
    if why:
        forgivable = not problem(root, shared=True)
        raise PkgviewError(
            f"{root} is no store to be searched: {why}",
            remedy="Whoever may write there decides what a wheel becomes. If you trust them all: "
            f"`pkgview store add --shared {root}`."
            if forgivable
            else f"Fill one with `pkgview store copy {root}`, or name another directory.",
        )
    if root == places.store:
        raise PkgviewError(
            f"{root} is your own store, which is searched first anyway",
            remedy="`pkgview store list` shows all that are searched.",
        )
    try:
        os.fspath(root).encode()
    except UnicodeEncodeError as error:
        raise PkgviewError(
            f"{root} has a name that is no UTF-8", remedy="Name it by another path, e.g. a link."
        ) from error
    config.add_store(places, config.ConfiguredStore(path=str(root), shared=shared))
    if as_json:
        console.as_json({"path": str(root), "shared": shared})
    else:
        console.note(f"{root} is searched from now on.")
        if is_told(root) and not can_be_told(root):
            console.note(
                "It is somebody's own store, and you cannot write there that you need something "
                "of it. What is collected there the next `pkgview up` in a project gets again."
            )


@store.command(
    epilog="""\b
Examples:
  pkgview store remove /mnt/team/pkgview
"""
)
@click.argument("directory", metavar="DIRECTORY|ADDRESS", shell_complete=paths)
@json_of("{path}")
def remove(directory: str, *, as_json: bool) -> None:
    """Search a store no longer. Nothing in it is removed.

    Views that need its archives are made whole by the next `pkgview up` in their projects.
    """
    places = Places.from_environ()
    known = config.load(places)
    if is_remote(directory):
        named = {directory, address(directory).url}
        found = next((one.url for one in known.remotes if one.url in named), None)
    else:
        named = {directory, os.path.normpath(absolute(Path(directory)))}
        found = next((one.path for one in known.stores if one.path in named), None)
    if found is None:
        raise PkgviewError(
            f"{directory} was not added", remedy="`pkgview store list` shows which were."
        )
    config.remove_store(places, found)
    if not is_remote(found) and os.path.realpath(found) != os.path.realpath(places.store):
        Claims(Path(found), places.state).withdraw()
    if as_json:
        console.as_json({"path": found})
    else:
        console.note(f"{found} is not searched any more.")


@store.command(
    epilog="""\b
Examples:
  pkgview store du
  pkgview store du --json
"""
)
@json_of("{size, shared, nobody, projects: [{project, archives, size, alone, part}]}")
def du(*, as_json: bool) -> None:
    """Show which project takes how much, and what would be free without it.

    "alone" is what no other project needs, "part" its fair share of all that it needs.
    """
    found = usage(Places.from_environ())
    if as_json:
        console.as_json(asdict(found))
        return
    console.table(
        [
            (one.project, str(one.archives), *map(console.size, (one.size, one.alone, one.part)))
            for one in found.projects
        ],
        header=("project", "archives", "size", "alone", "part"),
        right=" rrrr",
        empty="No project has a view yet.",
    )
    console.answer(
        f"{console.size(found.size)} in all, {console.size(found.shared)} shared by projects, "
        f"{console.size(found.nobody)} of no project (`pkgview gc --dry-run`)"
    )


def say_passed_over(places: Places, project: Project) -> None:
    """Name the stores that do not count, and what to do about it."""
    believed = believes_store(project, places.state)
    for place in Stores(places, project.directory, believed=believed).passed_over:
        console.explain(
            f"the store {place.root} is passed over: {place.problem}", remedy_for(place)
        )
