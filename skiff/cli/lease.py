"""Lease: the commands that grant, keep alive, revoke and list leases."""

import time
from typing import Annotated

import typer

from protocol.client.lease_keeping import KEEPS, RETRIES
from skiff.cli import output
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.errors import NoNodeReached, Overloaded, RequestTimeout
from skiff.records import LeaseInfo

app = typer.Typer(help="Grant, keep alive, revoke and list leases.")

COLUMNS = ("id", "ttl", "keys")

Id = Annotated[int, typer.Argument(metavar="ID", help="The lease's id.", show_default=False)]


@app.command()
def grant(
    ttl: Annotated[
        float,
        typer.Argument(
            metavar="TTL",
            help="The seconds that it lasts without a keep-alive, from 1 on.",
            show_default=False,
        ),
    ],
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Begin a lease and print its id; nothing keeps it alive.

    Keys that are inserted with --lease ID are removed when it ends.
    """
    with connect(url, timeout) as client:
        lease = client.lease(ttl)
    if as_json:
        output.json({"id": lease.id, "ttl": lease.ttl})
    else:
        output.line(str(lease.id))


@app.command()
def keep(
    lease: Id,
    *,
    once: Annotated[bool, typer.Option("--once", help="Keep it alive once only.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Keep a lease alive, until Ctrl-C or its end.

    The TTL is printed, in seconds, after the first keep-alive. The command goes on while no node
    answers. When the lease has ended, the exit code is 4.
    """
    with connect(url, timeout) as client:
        ttl = client.keep_lease_alive(lease)
        _print_ttl(lease, ttl, as_json=as_json)
        if not once:
            _keep_on(client, lease, ttl)


@app.command()
def revoke(
    lease: Id, *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """End a lease, remove its keys, and print their number.

    If it has ended already, the exit code is 4.
    """
    with connect(url, timeout) as client:
        count = client.revoke_lease(lease)
    if as_json:
        output.json({"id": lease, "count": count})
    else:
        output.line(str(count))


@app.command("list")
def list_leases(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Print the leases, with their TTL and number of keys.

    A TTL is in seconds. Keys that were inserted with --ttl have none of these leases:
    'skiff get --json' shows their TTL.
    """
    with connect(url, timeout) as client:
        leases = client.leases()
    if as_json:
        output.json(leases)
    else:
        _show(leases)


def _keep_on(client: Client, lease: int, ttl: float) -> None:
    """Keep a lease alive until it has ended."""
    is_cut_off = False
    while True:
        time.sleep(ttl / (RETRIES if is_cut_off else KEEPS))
        try:
            ttl = client.keep_lease_alive(lease)
        except (NoNodeReached, Overloaded, RequestTimeout) as error:
            if not is_cut_off:
                output.note(f"no keep-alive was confirmed, going on: {error}")
            is_cut_off = True
        else:
            is_cut_off = False


def _print_ttl(lease: int, ttl: float, *, as_json: bool) -> None:
    if as_json:
        output.json({"id": lease, "ttl": ttl})
    else:
        output.line(f"{ttl:g}")


def _show(leases: list[LeaseInfo]) -> None:
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    table.show(COLUMNS, [(str(each.id), f"{each.ttl:g}", str(each.keys)) for each in leases])
