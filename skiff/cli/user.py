"""Users: the commands that add, remove and list users, their keys and their roles."""

from pathlib import Path
from typing import Annotated

import typer

from protocol.security import z85
from protocol.state.rights import ADMIN
from skiff import key_files
from skiff.cli import output
from skiff.cli.failures import CommandFailed, ExitCode, exit_code_of
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.client import DEFAULT_TIMEOUT, Client
from skiff.errors import RoleNotFound, SkiffError, UserExists
from skiff.records import UserInfo

app = typer.Typer(help="Add, remove and list users.")

COLUMNS = ("name", "keys", "roles")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]
RoleName = Annotated[
    str, typer.Argument(metavar="ROLE", help="The role's name.", show_default=False)
]
KeyFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="The user's public key file, as 'skiff keygen user' makes it.",
        show_default=False,
    ),
]


@app.command()
def add(
    name: Name,
    file: KeyFile,
    *,
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="A role to assign; may be repeated."),
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Add a user with a public key; roles must be there already.

    Repeated after a failure, it assigns the roles that are still missing.
    """
    key = read_public_key(file)
    with connect(url, timeout) as client:
        if roles:
            _check_roles(client, roles)
        _assign_all(client, name, _add(client, name, key, roles or []))
    report({"user": name, "roles": roles or []}, f"{name} is a user now", as_json=as_json)


@app.command()
def remove(
    name: Name, *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Remove a user, whose connections are denied everything from then on."""
    with connect(url, timeout) as client:
        client.remove_user(name)
    report({"user": name}, f"{name} is no longer a user", as_json=as_json)


@app.command()
def add_key(
    name: Name,
    file: KeyFile,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Add a second public key to a user, as before the first one is removed."""
    key = read_public_key(file)
    with connect(url, timeout) as client:
        client.add_user_key(name, key)
    report({"user": name, "key": key}, f"{name} has another key now", as_json=as_json)


@app.command()
def remove_key(
    name: Name,
    file: KeyFile,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Remove one of the two public keys of a user."""
    key = read_public_key(file)
    with connect(url, timeout) as client:
        client.remove_user_key(name, key)
    report({"user": name, "key": key}, f"{name} no longer has this key", as_json=as_json)


@app.command()
def assign(
    name: Name,
    role: RoleName,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Give a user a role; the role admin has all rights."""
    with connect(url, timeout) as client:
        client.assign_role(name, role)
    report({"user": name, "role": role}, f"{name} has the role {role} now", as_json=as_json)


@app.command()
def unassign(
    name: Name,
    role: RoleName,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Take a role from a user."""
    with connect(url, timeout) as client:
        client.unassign_role(name, role)
    report({"user": name, "role": role}, f"{name} no longer has the role {role}", as_json=as_json)


@app.command("list")
def list_users(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Print the users, with their public keys and roles."""
    with connect(url, timeout) as client:
        users = client.users()
    if as_json:
        output.json(users)
    else:
        _show(users)


def whoami(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Print the user that this command acts as, and its roles.

    With the cluster's own key, or on a cluster without keys, nothing is restricted and the user is
    "-".
    """
    with connect(url, timeout) as client:
        identity = client.whoami()
    if as_json:
        output.json(identity)
    else:
        names = ", ".join(each.name for each in identity.roles)
        output.line(f"{identity.user or '-'}{f' ({names})' if names else ''}")


def read_public_key(file: Path) -> str:
    """Return the public key of a file, as text.

    Raises:
        InvalidKey: it is not the public key file of a user.
    """
    return z85.encode(key_files.read_public_key(file))


def report(facts: dict[str, object], text: str, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        output.json(facts)
    else:
        output.note(text)


def _check_roles(client: Client, roles: list[str]) -> None:
    """Check, before a user is added, that there are these roles.

    Raises:
        RoleNotFound: one of them does not exist.
    """
    known = {ADMIN.name, *(each.name for each in client.roles())}
    for role in roles:
        if role not in known:
            raise RoleNotFound(f"{role!r} is not a role; nothing was changed")


def _add(client: Client, name: str, key: str, roles: list[str]) -> list[str]:
    """Add a user; return the roles that it lacks, as one that was added by an earlier attempt."""
    try:
        client.add_user(name, key)
    except UserExists:
        held = [each.roles for each in client.users() if (each.name, each.keys) == (name, (key,))]
        missing = [role for role in roles if role not in held[0]] if held else []
        if not missing:
            raise
        return missing
    return roles


def _assign_all(client: Client, name: str, roles: list[str]) -> None:
    """Assign roles to a user that was added; an error tells so, and which are left."""
    for done, role in enumerate(roles):
        try:
            client.assign_role(name, role)
        except SkiffError as error:
            left = ", ".join(roles[done:])
            reason = str(error).removesuffix("; nothing was changed")
            message = f"the user {name} was added, but its roles {left} are not confirmed: {reason}"
            code = ExitCode(exit_code_of(error))
            raise CommandFailed(f"{message}; repeat the command", code) from None


def _show(users: list[UserInfo]) -> None:
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    rows = [(each.name, " ".join(each.keys), " ".join(each.roles)) for each in users]
    table.show(COLUMNS, rows)
