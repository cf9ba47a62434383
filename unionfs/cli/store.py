"""`pkgview store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import JSON

if TYPE_CHECKING:
    from unionfs.store import Store


@click.command(
    epilog="""\b
Examples:
  pkgview store
  pkgview store --verify                 read every byte against the archives' names
  pkgview store --verify --mend          set damaged ones aside, to be fetched again
"""
)
@click.option("--verify", is_flag=True, help="Check every archive against its name.")
@click.option("--mend", is_flag=True, help="Set damaged archives aside; needs --verify.")
@JSON
@click.pass_context
def store(context: click.Context, *, verify: bool, mend: bool, as_json: bool) -> None:
    """Show the archives that are kept, their sizes and how many views use each."""
    if mend and not verify:
        raise click.UsageError("--mend needs --verify, which finds what is to be mended", context)
    from unionfs.store import Store  # noqa: PLC0415 - `-h` does without

    places = Places.from_environ()
    found = Store(places.store)
    sizes = found.sizes()
    used = _uses(places)
    damaged = _damaged(found, list(sizes)) if verify else {}
    if mend:
        for name in damaged:
            found.set_aside(name)
    if as_json:
        console.as_json(
            {
                "path": str(places.store),
                "size": sum(sizes.values()),
                "archives": [
                    {"archive": name, "size": size, "views": used.get(name, 0)}
                    | ({"damage": damaged.get(name)} if verify else {})
                    for name, size in sorted(sizes.items())
                ],
            }
        )
    else:
        console.table(
            [
                (name.rsplit(".", 3)[0], console.size(size), str(used.get(name, 0)))
                for name, size in sorted(sizes.items())
            ],
            header=("archive", "size", "views"),
            right=" rr",
        )
        console.answer(
            f"{len(sizes)} archives, {console.size(sum(sizes.values()))} in {places.store}"
        )
        _report(damaged, mended=mend)
        if verify and not damaged:
            console.answer("every archive is what its name says")
    if damaged and not mend:
        context.exit(1)


def _report(damaged: dict[str, str], *, mended: bool) -> None:
    remedy = "Run `pkgview up` in the projects that use it, which fetches it again."
    for name, damage in damaged.items():
        if mended:
            console.explain(f"{name} was damaged and is set aside: {damage}", remedy)
        else:
            console.explain(f"{name} is damaged: {damage}", "Run `pkgview store --verify --mend`.")


def _uses(places: Places) -> dict[str, int]:
    """How many views have each archive as a layer."""
    used: dict[str, int] = {}
    for path in (places.state / "manifests").glob("*.json"):
        try:
            manifest = Manifest.from_bytes(path.read_bytes(), expected=ViewId(path.stem))
            for name in set(manifest.archives):
                used[name] = used.get(name, 0) + 1
        except (OSError, PkgviewError):
            continue  # `pkgview up` names a damaged manifest to whoever needs it
    return used


def _damaged(found: Store, names: list[str]) -> dict[str, str]:
    """What is wrong with each damaged archive."""
    from unionfs.cli.progress import Display  # noqa: PLC0415 - the same
    from unionfs.layer import LayerError  # noqa: PLC0415 - `-h` does without

    damaged = {}
    with Display() as display:
        for number, name in enumerate(names, 1):
            display.verifying(name, number, len(names))
            try:
                found.verify(name)
            except LayerError as error:
                damaged[name] = str(error)
    return damaged
