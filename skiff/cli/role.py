"""Roles: the commands that grant, revoke and list the rights of roles."""

from typing import Annotated

import typer

from protocol.state.rights import whole
from protocol.state.user_commands import PREFIX_RIGHTS
from skiff.arguments import RightName
from skiff.cli import output
from skiff.cli.options import DEFAULT_URL, Json, Timeout, Url, connect
from skiff.cli.user import RoleName, report
from skiff.client import DEFAULT_TIMEOUT
from skiff.records import RoleInfo

app = typer.Typer(help="Grant, revoke and list the rights of roles.")

COLUMNS = ("role", "right", "prefix")
NAMES_WITH_PREFIX = tuple(each.name.lower() for each in PREFIX_RIGHTS)

Right = Annotated[
    RightName,
    typer.Argument(
        metavar="RIGHT",
        help="read, write or watch, under a prefix; or members, backup or users.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str,
    typer.Argument(
        metavar="[PREFIX]",
        help="The beginning of the keys, like jobs/; without it, all keys. jobs has jobs2/1 under "
        "it, too.",
        show_default=False,
    ),
]


@app.command()
def grant(
    role: RoleName,
    right: Right,
    prefix: Prefix = "",
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Give a role a right; the first one creates the role."""
    with connect(url, timeout) as client:
        client.grant(role, right, prefix)
    facts: dict[str, object] = {"role": role, "right": right, "prefix": prefix}
    report(facts, f"the role {role} has the right {_named(right, prefix)}", as_json=as_json)


@app.command()
def revoke(
    role: RoleName,
    right: Right,
    prefix: Prefix = "",
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Take a right from a role; with its last one, the role ends."""
    with connect(url, timeout) as client:
        client.revoke(role, right, prefix)
    facts: dict[str, object] = {"role": role, "right": right, "prefix": prefix}
    text = f"the role {role} no longer has the right {_named(right, prefix)}"
    report(facts, text, as_json=as_json)


@app.command()
def remove(
    role: RoleName,
    *,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """End a role, and take it from all its users."""
    with connect(url, timeout) as client:
        client.remove_role(role)
    report({"role": role}, f"the role {role} has ended", as_json=as_json)


@app.command("list")
def list_roles(
    *, as_json: Json = False, url: Url = DEFAULT_URL, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Print the roles and their rights; the role admin, which has all, is left out."""
    with connect(url, timeout) as client:
        roles = client.roles()
    if as_json:
        output.json(roles)
    else:
        _show(roles)


def _named(right: str, prefix: str) -> str:
    place = _place(right, prefix)
    return f"{right} on {place}" if place else right


def _place(right: str, prefix: str) -> str:
    """Return where a right holds; nothing for those in the whole cluster."""
    return whole(prefix) or ("all keys" if right in NAMES_WITH_PREFIX else "")


def _show(roles: list[RoleInfo]) -> None:
    from skiff.cli import table  # noqa: PLC0415 - commands without a table start sooner

    rows = [
        (role.name, each.right, _place(each.right, each.prefix))
        for role in roles
        for each in role.grants
    ]
    table.show(COLUMNS, rows)
