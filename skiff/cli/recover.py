"""Recover: the command that starts a new cluster from the surviving directories of one."""

from pathlib import Path
from typing import Annotated

import typer

import skiff
from skiff.cli import output
from skiff.cli.options import Json
from skiff.offline import Recovery

COLUMNS = ("", "dir", "id", "last term", "last index", "applied", "revision", "members")


def recover(
    directories: Annotated[
        list[Path],
        typer.Option(
            "--dir", metavar="PATH", help="The directory of a surviving node; name all of them."
        ),
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the directories, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recover a cluster that has permanently lost its majority.

    The directory with the most up-to-date log becomes that of the first node of a new cluster.
    Then run 'skiff node start --dir PATH' with it, and let other nodes join it with new
    directories.
    """
    recovery = skiff.recover(directories, dry_run=dry_run)
    if as_json:
        output.json(recovery)
        return
    _show(recovery)
    output.note(_losses(recovery))
    for sentence in _uncertain(recovery):
        output.note(sentence)
    output.note(_outcome(recovery, dry_run=dry_run))


def _show(recovery: Recovery) -> None:
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    rows = [
        (
            "*" if each is recovery.chosen else "",
            each.dir,
            str(each.id),
            *map(str, (each.last_term, each.last_index, each.applied_index, each.revision)),
            " ".join(member.address for member in each.members),
        )
        for each in recovery.survivors
    ]
    table.show(COLUMNS, rows)


def _losses(recovery: Recovery) -> str:
    if recovery.is_complete:
        return "no acknowledged write is lost: these include a majority of the voters"
    missing = ", ".join(member.address for member in recovery.missing)
    return f"every acknowledged write that only {missing} held is lost"


def _uncertain(recovery: Recovery) -> list[str]:
    chosen = recovery.chosen
    count = chosen.last_index - chosen.applied_index
    if not count or recovery.is_alone:
        return []
    entries = "1 entry" if count == 1 else f"{count} entries"
    where = f"{entries} after index {chosen.applied_index}"
    return [f"{where} may never have been acknowledged; from now on they are committed"]


def _outcome(recovery: Recovery, *, dry_run: bool) -> str:
    chosen = recovery.chosen
    if recovery.is_alone:
        return f"node {chosen.id} is the only voter and needs no recovery; nothing was changed"
    if dry_run:
        return f"nothing was changed; without --dry-run, {chosen.dir} starts a new cluster"
    return (
        f"{chosen.dir} holds node {chosen.id} of the new cluster {recovery.cluster_id}; start it "
        f"by 'skiff node start --dir {chosen.dir}', and never the other directories again"
    )
