"""Members: the commands that show and change who belongs to the cluster."""

from typing import Annotated

import typer

from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.member_status import trouble
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.cli.status import survey
from skiff.client import DEFAULT_TIMEOUT
from skiff.records import Member

app = typer.Typer(help="Show and change who is a member.")

COLUMNS = ("id", "address", "votes")


@app.command("list")
def list_members(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Print the members, whether they are up or not.

    The exit code is 5 where the node belongs to no cluster yet, or a node of another cluster
    answers at one of the addresses.
    """
    standings = survey(url, timeout)
    members = [each.member for each in standings if each.is_member]
    if as_json:
        output.json(members)
    else:
        _show(members)
    if not members or any(each.is_foreign for each in standings):
        raise CommandFailed(trouble(standings), ExitCode.UNAVAILABLE)


def _show(members: list[Member]) -> None:
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    rows = [(str(each.id), each.address, "yes" if each.voter else "not yet") for each in members]
    table.show(COLUMNS, rows)


@app.command()
def add(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS", help="Where the node is reached: host:port.", show_default=False
        ),
    ],
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Bring in a node that was started with --standby.

    Returns when the node votes.
    """
    with connect(url, timeout) as client:
        client.add_member(address)
    if as_json:
        output.json({"address": address})
    else:
        output.note(f"{address} is a member now and votes")


@app.command()
def remove(
    nodes: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE...",
            help="Ids, their beginnings (four digits or more), or addresses.",
            show_default=False,
        ),
    ],
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Remove it even if the voters that answer are no majority then: nothing is "
            "written until enough of those that are left are back.",
        ),
    ] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Take nodes out of the cluster, one after the other; they need not be up."""
    with connect(url, timeout) as client:
        for node in nodes:
            removed = client.remove_node(node, force=force)
            if as_json:
                output.json({"id": removed})
            else:
                output.note(f"{removed} is no member any more")


@app.command()
def transfer(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]",
            help="Who is to lead: an id, its beginning, or an address; without it, any other "
            "voter that is close to the leader.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Let another member lead, for instance before its leader is stopped.

    Returns when it leads.
    """
    with connect(url, timeout) as client:
        leader = client.transfer_leadership(node)
    if as_json:
        output.json({"leader": leader})
    else:
        output.note(f"{leader} leads now")
