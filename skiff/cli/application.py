"""The command ``skiff``: its subcommands, and the exit code of each error."""

from collections.abc import Sequence
from typing import Annotated

import typer

import skiff
from skiff.cli import (
    backup,
    barrier,
    demo,
    elect,
    health,
    keygen,
    lease,
    lock,
    member,
    node,
    output,
    queue,
    reading,
    recover,
    restore,
    role,
    status,
    transact,
    user,
    watch,
    writing,
)
from skiff.cli.failures import CommandFailed, ExitCode, describe, exit_code_of
from skiff.cli.options import add_key_options
from skiff.cli.output import ReaderGone
from skiff.errors import SkiffError

EXIT_CODES = (
    "Exit codes: 0 done, 1 error, 2 wrong usage, 3 not found, 4 conflict, 5 unavailable, "
    "6 timeout or unknown outcome, 7 the node was removed, 8 permission denied."
)

# Plain help: at 80 columns, boxes leave too little room for the sentences in them.
app = typer.Typer(
    epilog=EXIT_CODES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # inherited by all subcommands
)

app.command()(writing.insert)
app.command()(reading.get)
app.command()(reading.get_many)
app.command()(reading.scan)
app.command()(writing.increment)
app.command()(writing.remove)
app.command()(transact.transact)
app.command("list")(reading.list_keys)
app.command()(reading.prefixes)
app.command()(reading.count)
app.command()(watch.watch)
app.add_typer(lease.app, name="lease")
app.command()(lock.lock)
app.command()(elect.elect)
app.add_typer(queue.app, name="queue")
app.add_typer(barrier.app, name="barrier")
app.add_typer(node.app, name="node")
app.add_typer(member.app, name="member")
app.add_typer(keygen.app, name="keygen")
app.add_typer(user.app, name="user")
app.add_typer(role.app, name="role")
app.command()(user.whoami)
app.command()(status.status)
app.command()(health.health)
app.command()(backup.backup)
app.command()(restore.restore)
app.command()(recover.recover)
app.command()(demo.demo)
add_key_options(app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A strongly consistent, replicated key-value store."""
    if version:
        output.line(f"skiff {skiff.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        output.line(context.get_help())


def run(arguments: Sequence[str] | None) -> int:
    """Run one command; return the exit code."""
    try:
        return app(arguments, prog_name="skiff", standalone_mode=False) or ExitCode.OK
    except typer.TyperException as error:
        return _fail(error)
    except ReaderGone:
        return _end_unread()
    except SystemExit as ended:
        # Click ends like this when the reader of its help text is gone.
        if isinstance(ended.__context__, BrokenPipeError):
            return _end_unread()
        raise
    except (SkiffError, CommandFailed, OSError) as error:
        return _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED


def _end_unread() -> int:
    output.abandon(output.STANDARD_OUTPUT)
    return ExitCode.READER_GONE


def _fail(error: Exception) -> int:
    output.error(describe(error))
    return exit_code_of(error)
