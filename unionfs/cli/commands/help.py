"""`pkgview help`: how a command is used, and the pages of the docs."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import fill

import click

from unionfs.cli import console
from unionfs.cli.completing import names_of
from unionfs.cli.group import COMMANDS
from unionfs.cli.habits import meant

_PACKAGE = Path(__file__).parents[2]
_PLACES = (_PACKAGE / "docs", _PACKAGE.parent / "docs")
"""Where the pages are: beside our modules if those were installed, in a checkout beside them."""


def _pages() -> dict[str, Path]:
    return {path.stem: path for place in _PLACES for path in sorted(place.glob("*.md"))}


def _words(context: click.Context) -> list[str]:
    """What may come next: a command, or at first a page."""
    words = context.params.get("words") or ()
    found = _named(context.find_root(), words)
    if found is None or not isinstance(found.command, click.Group):
        return []
    return [*found.command.list_commands(found), *([] if words else _pages())]


@click.command(
    name="help",
    epilog="""\b
Examples:
  pkgview help                           all commands, and the names of all pages
  pkgview help store verify              a command
  pkgview help bindings                  a page
  pkgview help store.md                  a page that is called like a command
""",
)
@click.argument("words", nargs=-1, metavar="[COMMAND|PAGE]", shell_complete=names_of(_words))
@click.pass_context
def help_(context: click.Context, words: tuple[str, ...]) -> None:
    """Show how a command is used, or a page of the docs."""
    pages, named = _pages(), _named(context.find_root(), words)
    usage = None if named is None else named.get_help()
    page = pages.get(words[0].removesuffix(".md")) if len(words) == 1 else None
    if not words:
        console.text(f"{usage}\n\nPages (`pkgview help PAGE`):\n{_wrapped(sorted(pages))}")
    elif usage is not None:
        console.text(usage)
    elif page is not None:
        _show(page.read_text("utf-8"))
    else:
        typed = " ".join(words)
        known = {one: f"pkgview help {one}" for one in (*COMMANDS, *pages)}
        raise click.UsageError(
            f"there is no command and no page {typed!r}{meant(typed, known)}", context
        )


def _named(context: click.Context, words: tuple[str, ...]) -> click.Context | None:
    """The command of these words; None where there is none."""
    for word in words:
        command = context.command
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            return None
        context = click.Context(found, info_name=word, parent=context)
    return context


def _wrapped(names: list[str]) -> str:
    """As a paragraph, in which each name can be copied whole: none is broken at its hyphen."""
    return fill(
        ", ".join(names), 78, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )


def _show(page: str) -> None:
    """On a terminal in the user's pager, like a manual page."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        click.echo_via_pager(page)
    else:
        console.text(page.rstrip())
