"""`pkgview export`: a project's view for places without pkgview."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.places import Places
from resolver.python.target import python_of
from unionfs.archive.layer import LayerError
from unionfs.cli import console
from unionfs.cli.asked import DIRECTORY, QUIET, absolute, json_of, projects_at
from unionfs.cli.commands.store.pull import fetched
from unionfs.cli.commands.store.push import INSECURE
from unionfs.cli.progress import Display
from unionfs.kinds import NODE, PYTHON
from unionfs.store.ordered import Stores
from unionfs.store.remote.addresses import address, is_remote
from unionfs.store.remote.oci.artifacts import digest_of
from unionfs.view.opened import load_manifest, open_manifest, project_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from resolver.manifest import Manifest
    from unionfs.exporting.base import Below
    from unionfs.exporting.items import Item
    from unionfs.view.opened import OpenedView

_AT = "/opt/venv"
_FORMS = ("venv", "flat", "tar", "oci", "node-modules")
_MANY = 1000
"""Files between two words of progress."""


@dataclass(slots=True, kw_only=True)
class _Export:
    """What is to be written, and then what that was: bytes of files, a SHA-256 where it has one.

    `at` is where an environment will lie, `interpreter` the Python there. `base` and `insecure` are
    for images. `time` is what SOURCE_DATE_EPOCH says.
    """

    form: str
    to: str
    at: str
    interpreter: str
    base: str
    insecure: bool
    force: bool
    time: int | None
    files: int = 0
    size: int = 0
    digest: str = ""


@click.command(
    epilog="""\b
Examples:
  pkgview export --venv /srv/app/venv
  pkgview export --tar env.tar.zst --at /opt/app --interpreter /usr/bin/python3.12
  pkgview export --oci app.tar --base python-3.12.tar
  pkgview export --node-modules build/node_modules
"""
)
@DIRECTORY
@click.option("--venv", metavar="DIR", help="An ordinary virtual environment, which is used there.")
@click.option("--flat", metavar="DIR", help="What is in site-packages alone, for PYTHONPATH.")
@click.option("--tar", metavar="FILE", help="A tar file of it; compressed if it is called *.zst.")
@click.option(
    "--oci",
    metavar="FILE|oci://HOST/REPOSITORY:TAG",
    help="An image with a layer for each distribution: an OCI archive, or in a registry.",
)
@click.option("--node-modules", metavar="DIR", help="Node: an ordinary node_modules.")
@click.option(
    "--at", metavar="PATH", help=f"Where it will lie, for --tar and --oci. Default: {_AT}."
)
@click.option(
    "--interpreter",
    metavar="PATH",
    help="The Python there. Default: the view's; for --oci /usr/local/bin/pythonX.Y.",
)
@click.option(
    "--base",
    metavar="FILE|oci://HOST/REPOSITORY:TAG",
    help="The image below, for --oci. Default: none; then it is the layers alone.",
)
@click.option("--python", metavar="X.Y", help="The view for that Python, not the newest.")
@click.option("--no-bytecode", is_flag=True, help="Leave bytecode out.")
@click.option("--force", is_flag=True, help="Replace what an earlier export made.")
@INSECURE
@QUIET
@json_of("{project, view, form, to, files, size, digest, elsewhere: [sentence]}")
def export(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    at: str | None,
    interpreter: str | None,
    base: str | None,
    python: str | None,
    no_bytecode: bool,
    force: bool,
    insecure: bool,
    as_json: bool,
    **forms: str | None,
) -> None:
    """Write a project's view so that it is used without pkgview.

    All are copies: nothing of them leads into the mount or a store. The same view gives the same
    bytes, twice and on every machine; SOURCE_DATE_EPOCH says which time files have. What is written
    appears whole or not at all.

    A lock for other tools is what `pkgview lock` writes, or `uv export`.
    """
    from unionfs.exporting import items, placing  # noqa: PLC0415 - `-h` does without
    from unionfs.exporting import python as environments  # noqa: PLC0415 - the same

    form, to = _named(forms)
    if form not in {"tar", "oci"} and at:
        raise click.UsageError("--at is for --tar and --oci: the others lie where they are written")
    if form != "oci" and (base or insecure or is_remote(to)):
        raise click.UsageError("--base, --insecure and addresses are for --oci")
    if form == "node-modules" and (interpreter or python or no_bytecode):
        raise click.UsageError("--interpreter, --python and --no-bytecode are for Python")
    if not is_remote(to):
        to = str(absolute(Path(to)))
        placing.refuse_existing(Path(to), force=force)
    places, kind = Places.from_environ(), NODE if form == "node-modules" else PYTHON
    _, project = projects_at(directory, (kind,))[0]
    view = project_view(places, project, python, kind=kind)
    manifest = load_manifest(places, view)
    fetched(places, [manifest], "never", quiet=as_json)
    if kind == PYTHON:
        manifest = _compiled(places, manifest, without=no_bytecode, quiet=as_json)
        named = python_of(manifest)
        usual = f"/usr/local/bin/python{named.version}" if form == "oci" else named.executable
        interpreter = interpreter or usual
        at = to if form == "venv" else (at or _AT).rstrip("/")
        environments.refuse_bad_path(at, "the environment's place")
        environments.refuse_bad_path(interpreter, "the interpreter")
    wanted = _Export(
        form=form, to=to, at=at or "", interpreter=interpreter or "", base=base or "",
        insecure=insecure, force=force, time=items.epoch(),
    )  # fmt: skip
    try:
        with Stores(places).held():
            elsewhere = _write(open_manifest(places, manifest), wanted, quiet=as_json)
    except LayerError as error:
        raise PkgviewError(
            f"view {view} cannot be read: {error}", remedy="Run `pkgview store verify --repair`."
        ) from error
    _say(wanted, str(project.root), manifest.id, elsewhere, as_json=as_json)


def _named(forms: dict[str, str | None]) -> tuple[str, str]:
    found = [(form, to) for form in _FORMS if (to := forms[form.replace("-", "_")])]
    if len(found) != 1:
        raise click.UsageError(f"name one of {', '.join(f'--{form}' for form in _FORMS)}")
    form, to = found[0]
    if form == "oci" and is_remote(to) and not address(to).tag:
        raise click.UsageError("--oci needs the tag that the image is to have")
    return form, to


def _compiled(places: Places, manifest: Manifest, *, without: bool, quiet: bool) -> Manifest:
    """The view with all its bytecode, or with none."""
    if without:
        layers = tuple(replace(layer, bytecode="") for layer in manifest.layers)
        return replace(manifest, layers=layers)
    from unionfs.publishing.precompile import precompile  # noqa: PLC0415 - `-h` does without

    with Display(quiet=quiet) as display:
        return precompile(places, manifest.id, idle=False, done=display.compiled)[1]


def _write(opened: OpenedView, wanted: _Export, *, quiet: bool) -> list[str]:
    """Write it; what of it leads elsewhere."""
    from unionfs.exporting import node  # noqa: PLC0415 - `-h` does without
    from unionfs.exporting import python as environments  # noqa: PLC0415 - the same
    from unionfs.exporting.items import fixed_time, mark  # noqa: PLC0415 - the same
    from unionfs.exporting.placing import new_directory, new_file  # noqa: PLC0415 - the same
    from unionfs.exporting.writing import Written, hashed, write_directory, write_tar  # noqa: PLC0415 - the same

    if wanted.form == "node-modules":
        found, elsewhere = node.modules(opened), node.elsewhere(opened)
    else:
        elsewhere = environments.elsewhere(opened)
        found = (
            environments.flat(opened)
            if wanted.form == "flat"
            else environments.environment(opened, wanted.at, wanted.interpreter)
        )
    first, path = mark(), Path(wanted.to)
    with Display(quiet=quiet) as display:
        shown = _shown(found, display)
        if wanted.form == "oci":
            _write_image(shown, wanted)
        elif wanted.form == "tar":
            done = Written()
            with (
                new_file(path, force=wanted.force) as made,
                hashed(made, done, compressed=path.suffix == ".zst") as out,
            ):
                wanted.files, wanted.size = write_tar([first, *shown], out, fixed_time())
            wanted.digest = done.digest
        else:
            with new_directory(path, force=wanted.force) as made:
                wanted.files, wanted.size = write_directory(
                    chain([first], shown), made, wanted.time
                )
                if wanted.form == "node-modules":
                    node.newest(made, wanted.time)
    return elsewhere


def _shown(found: Iterable[Item], display: Display) -> Iterator[Item]:
    for number, item in enumerate(found, 1):
        if not number % _MANY:
            display.copying(item.path.decode("utf-8", "replace"), number, 0)
        yield item


def _write_image(found: Iterable[Item], wanted: _Export) -> None:
    import trio  # noqa: PLC0415 - `-h` does without

    from unionfs.exporting import image  # noqa: PLC0415 - the same
    from unionfs.exporting.base import InArchive, InRegistry, Nothing  # noqa: PLC0415 - the same
    from unionfs.exporting.items import fixed_time  # noqa: PLC0415 - the same
    from unionfs.exporting.placing import new_file, scratch  # noqa: PLC0415 - the same
    from unionfs.store.remote.oci.image import read_base  # noqa: PLC0415 - the same
    from unionfs.store.remote.stores import repository  # noqa: PLC0415 - the same

    time = fixed_time()
    named = address(wanted.base) if is_remote(wanted.base) else None
    target = address(wanted.to) if is_remote(wanted.to) else None

    async def run() -> None:
        async with AsyncExitStack() as stack:
            below: Below = InArchive(Path(wanted.base)) if wanted.base and not named else Nothing()
            if named is not None:
                remote = await stack.enter_async_context(
                    repository(named, insecure=wanted.insecure)
                )
                below = InRegistry(await read_base(remote.registry, named.tag or "latest"))
            beside = [named.path] if named and target and named.host == target.host else []
            place = Path(tempfile.gettempdir(), "image") if target else Path(wanted.to)
            directory = stack.enter_context(scratch(place))
            made = image.build(found, below, wanted.at, directory, time)
            wanted.files, wanted.size = made.files, made.size
            if target is None:
                with new_file(place, force=wanted.force) as out:
                    wanted.digest = await image.write_archive(made, below, out, directory, time)
                return
            there = await stack.enter_async_context(
                repository(target, insecure=wanted.insecure, beside=beside)
            )
            await image.push(made, below, there.registry, target.tag, directory)
            wanted.digest = digest_of(made.manifest).removeprefix("sha256:")

    with single_failure():
        trio.run(run)


def _say(
    done: _Export, project: str, view: str, elsewhere: Sequence[str], *, as_json: bool
) -> None:
    if as_json:
        console.as_json(
            {
                "project": project, "view": view, "form": done.form, "to": done.to,
                "files": done.files, "size": done.size, "digest": done.digest or None,
                "elsewhere": list(elsewhere),
            }
        )  # fmt: skip
        return
    for sentence in elsewhere:
        console.note(f"{sentence}.")
    said = f", sha256 {done.digest}" if done.digest else ""
    console.note(f"{console.count(done.files, 'file')}, {console.size(done.size)}{said}")
    console.answer(done.to)
