"""Members: the commands that list, add and remove members, and transfer leadership."""

from typing import Annotated

import typer

from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode
from skiff.cli.member_status import trouble
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.cli.status import survey
from skiff.client import DEFAULT_TIMEOUT
from skiff.records import Member

app = typer.Typer(help="List and change the members of the cluster.")

COLUMNS = ("id", "address", "votes", "level")


@app.command("list")
def list_members(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Print the members, up or down.

    The exit code is 5 if the node belongs to no cluster yet, or a node of another cluster
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

    table.show(COLUMNS, [_row(each) for each in members])


def _row(member: Member) -> tuple[str, ...]:
    votes = "yes" if member.voter else "not yet"
    return str(member.id), member.address, votes, str(member.level)


@app.command()
def add(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS", help="The node's address: host:port.", show_default=False
        ),
    ],
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Add a node that was started with --standby.

    Returns when the node is a voter.
    """
    with connect(url, timeout) as client:
        client.add_member(address)
    if as_json:
        output.json({"address": address})
    else:
        output.note(f"{address} is now a member and a voter")


@app.command()
def remove(
    nodes: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE...",
            help="Ids, prefixes of ids (four digits or more), or addresses.",
            show_default=False,
        ),
    ],
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Remove it even if the voters that answer would be no majority: no write then "
            "succeeds until enough of the remaining voters are back.",
        ),
    ] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Remove nodes from the cluster, one after another, up or down."""
    with connect(url, timeout) as client:
        for node in nodes:
            removed = client.remove_node(node, force=force)
            if as_json:
                output.json({"id": removed})
            else:
                output.note(f"{removed} is no longer a member")


@app.command()
def transfer(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]",
            help="The new leader: an id, a prefix of an id, or an address; without it, any other "
            "voter whose log is close to the leader's.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Transfer leadership, for instance before the leader is stopped.

    Returns when another member leads.
    """
    with connect(url, timeout) as client:
        leader = client.transfer_leadership(node)
    if as_json:
        output.json({"leader": leader})
    else:
        output.note(f"{leader} leads now")
