"""Keygen: the commands that make the keys of a cluster and of its users."""

from pathlib import Path
from typing import Annotated

import typer

from protocol.security.key_files import SECRET_SUFFIX
from skiff.addresses import SERVER_KEY_VARIABLE
from skiff.cli import output
from skiff.errors import InvalidKey
from skiff.key_files import make_cluster_keys, make_user_keys, read_server_keys

NOTES = {"cluster": "the nodes", "admin": "the first administrator"}

app = typer.Typer(help="Make the keys of a cluster and of its users.")

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory of the files.", show_default=False)
]


@app.command()
def cluster(directory: Directory) -> None:
    """Make the keys of a new cluster, and those of its first administrator.

    Copy cluster.key_secret to each node, for 'skiff node start --key', and admin.key, for
    --admin-key at its founding. Clients of the administrator use admin.key_secret. Nothing is
    overwritten; the holder of a secret file can act as its owner.
    """
    _show(make_cluster_keys(directory))


@app.command()
def user(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of the files.")
    ] = Path(),
    *,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            envvar=SERVER_KEY_VARIABLE,
            metavar="FILE",
            help="The cluster's public key file, cluster.key, or its key as text.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the keys of a user of a cluster.

    NAME.key_secret is all that the user's clients need, for --key. NAME.key is for those who
    give the user rights. Nothing is overwritten.
    """
    if cluster is None:
        raise InvalidKey("no key of a cluster: give --cluster cluster.key, or set SKIFF_SERVER_KEY")
    _show(make_user_keys(name, directory, read_server_keys(cluster)))


def _show(files: list[Path]) -> None:
    for file in files:
        kind = "secret" if file.suffix == SECRET_SUFFIX else "public"
        of = NOTES.get(file.stem, f"user {file.stem}")
        output.line(f"{file}  {kind} key of {of}")
