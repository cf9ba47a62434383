"""`pkgview` as a click group: its commands, its errors, and how it ends.

This module imports click and nothing else that takes time.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from resolver.errors import PkgviewError
from resolver.private import close_to_others
from resolver.where import where
from unionfs.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

COMMANDS = {
    "up": ("up:up", "Make a project's view and link .venv to it."),
    "down": ("links.down:down", "Take the links to the views away."),
    "run": ("run:run", "Run a command with a project's view."),
    "shell": ("shell:shell", "Start a shell that sees a project's view."),
    "tool": ("tool:tool", "Run or install programs, each with a view of its own."),
    "add": ("add:add", "Add requirements; lock and view follow."),
    "remove": ("add:remove", "Take requirements out; lock and view follow."),
    "lock": ("lock:lock", "Write a project's pylock.toml."),
    "view": ("view:view", "Show a project's view: path, layers, sizes."),
    "list": ("packages:list_", "List a project's distributions, as `pip list` does."),
    "tree": ("packages:tree", "Show which distribution needs which, as `uv tree` does."),
    "outdated": ("packages:outdated", "List distributions that there is a newer version of."),
    "why": ("why:why", "Show which distribution gives a file or module."),
    "ps": ("ps:ps", "Show which process sees which view."),
    "explain": ("ps:explain", "Show why a process sees its view."),
    "bind": ("bind:bind", "Bind a process, cgroup or container to a project."),
    "unbind": ("bind:unbind", "Take a binding by hand back."),
    "enable": ("enable:enable", "Let an installed Python see its project's view."),
    "disable": ("enable:disable", "Undo enable."),
    "trust": ("trust:trust", "Say yes to a project: a clone, or one that others may write to."),
    "projects": ("projects:projects", "Show the projects that have a view."),
    "forget": ("projects:forget", "Have a project no more, though it is there."),
    "store": ("store.store:store", "Show the archives that are kept, verify, add stores."),
    "push": ("store.push:push", "Send a project's view to a registry."),
    "export": ("store.export:export", "Write a view for places without pkgview."),
    "pull": ("store.pull:pull", "Fetch all of a view that a remote store has."),
    "gc": ("gc:gc", "Remove archives and views that nothing needs."),
    "mount": ("mount:mount", "Mount, unless it is mounted; mend a stale mount."),
    "umount": ("mount:umount", "Unmount and end the daemon."),
    "upgrade": ("upgrade:upgrade", "Have a new version go on with the mount."),
    "status": ("status:status", "Show the mount and what its daemon did."),
    "help": ("help:help_", "Show how a command is used, or a page of the docs."),
}
"""Name -> "module:attribute" in `unionfs.cli.commands`, and its line in `pkgview -h`."""

_ROOM = "Make room there and run the command again."
_WRITABLE = (
    "Make it accessible, or name other places in XDG_DATA_HOME, XDG_STATE_HOME, XDG_CACHE_HOME."
)

SURROUNDINGS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.ENAMETOOLONG: "Give it a shorter name.",
    errno.ELOOP: "Take the symbolic links apart that lead in a circle.",
    errno.EMFILE: "Raise the limit of open files, `ulimit -n`.",
    errno.ENFILE: "End other programs: the system has no open files left.",
    errno.ENOMEM: "End other programs: the system has no memory left.",
    errno.EAGAIN: "End other programs, or raise the limit of processes, `ulimit -u`.",
    errno.EIO: "Look at the disk: `dmesg` may say more.",
    errno.ESTALE: "Mount the network file system anew.",
    errno.ENOTCONN: "Run `pkgview mount`: it mends a mount whose daemon died.",
}
"""What the system says of itself at a place that has no sentence of its own for it: its errno,
and the remedy. Any other error of the system is a bug of ours and keeps its traceback."""


class Group(click.Group):
    """A group that says in the words of all other errors that it has no such command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, or say which was perhaps meant."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            from unionfs.cli.habits import instead  # noqa: PLC0415 - only for a wrong name

            raise click.UsageError(
                f"there is no command `{ctx.command_path} {name}`"
                + instead(ctx.command_path, args, known),
                ctx,
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command; an error of its command line says whose it is, which click leaves out.

        Such as that of an option without its value.
        """
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, info_name=ctx.invoked_subcommand, parent=ctx)
            raise


class Commands(Group):
    """A group whose commands are imported when they run, and whose errors are sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the table's order: what is used most comes first."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module  # noqa: PLC0415 - `--version` does without

        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"unionfs.cli.commands.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that help imports nothing."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(  # type: ignore[override]  # always ends the process, as `standalone_mode` does
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401 - click's own signature
    ) -> NoReturn:
        """Run, and turn every way to end into an exit status: 1 for failures, 2 for usage."""
        extra.pop("standalone_mode", None)
        try:
            sys.exit(super().main(args, prog_name or "pkgview", standalone_mode=False, **extra))
        except PkgviewError as error:
            console.report(error)
            sys.exit(error.status)
        except click.exceptions.NoArgsIsHelpError as error:
            console.text(error.format_message())  # a group's name alone asks what it can do
            sys.exit(0)
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "pkgview"
            console.explain(
                _wrong_usage(error), f"{_way_on(error)}`{where} -h` shows how it is used."
            )
            sys.exit(error.exit_code)
        except click.ClickException as error:
            console.explain(_sentence(error))
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(console.INTERRUPTED)
        except BrokenPipeError:
            console.discard_stdout()
            sys.exit(1)
        except OSError as error:
            if error.errno not in SURROUNDINGS:
                raise
            named = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            console.explain(f"{named}{error.strerror}", SURROUNDINGS[error.errno])
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command; an interrupt ends it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(console.INTERRUPTED)


def _wrong_usage(error: click.UsageError) -> str:
    """Its sentence; click's guess at an option is left out where what is meant is known."""
    if isinstance(error, click.NoSuchOption) and _way_on(error):
        return f"no such option {error.option_name}"
    return _sentence(error)


def _way_on(error: click.UsageError) -> str:
    """What to do instead of what was typed, as a line of its own; mostly nothing."""
    if isinstance(error, click.NoSuchOption):
        from unionfs.cli.habits import OPTIONS  # noqa: PLC0415 - only for a wrong option

        said = OPTIONS.get(error.option_name, "")
        return f"{said}\n" if said else ""
    params = error.ctx.command.params if error.ctx else []
    if "unexpected extra argument" not in error.message or any(
        isinstance(one, click.Argument) for one in params
    ):
        return ""
    named = [one.opts[0] for one in params if isinstance(one, click.Option) and not one.is_flag]
    return f"Say what it is: {', '.join(named)}.\n" if named else ""


def _sentence(error: click.ClickException) -> str:
    """What click says, written as our own sentences are."""
    said = error.format_message().rstrip(".")
    return said[:1].lower() + said[1:]


def _close_to_others() -> None:
    """Before anything is written or waited for in them."""
    try:
        places = where(os.environ)
    except PkgviewError:  # there is no home: the command says so, if it needs one
        return
    for sentence in close_to_others(places):
        console.note(sentence)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click calls it so
    if wanted and not ctx.resilient_parsing:
        from unionfs.environment.skeleton import own_version  # noqa: PLC0415 - if it was asked for

        console.answer(f"pkgview {own_version()}")
        ctx.exit()


@click.group(
    name="pkgview",
    cls=Commands,
    context_settings=CONTEXT,
    epilog="""\b
Examples:
  cd project && pkgview up && . .venv/bin/activate
  pkgview run --with rich -- python -m rich
  pkgview why numpy
  pkgview help up                        how a command is used; `pkgview help` names all pages
""",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Every project sees its own packages, all of them kept once.

    pkgview keeps each package as one read-only archive and mounts, for every process, exactly
    those that its project lists.
    """
    _close_to_others()
