"""Rights: the methods on users, roles and rights, as generators; see ``method``."""

from typing import get_args

from protocol.messages.rights import Identity as WireIdentity
from protocol.messages.rights import ListUsers, Users, WhoAmI
from protocol.security import z85
from protocol.state import user_commands
from protocol.state.user_commands import (
    Objection,
    RightsChanged,
    RightsRefused,
    UserCommand,
)
from skiff.arguments import RightName, check_bool, check_change, plain_text
from skiff.errors import (
    InvalidRequest,
    LastAdministrator,
    RoleNotFound,
    SkiffError,
    UserExists,
    UserNotFound,
)
from skiff.method import ExactlyOnce, Idempotent, Method
from skiff.outcomes import expect
from skiff.records import GrantInfo, Identity, RoleInfo, UserInfo
from skiff.user_keys import decode_user_key

OBJECTIONS: dict[Objection, tuple[type[SkiffError], str]] = {
    Objection.USER_EXISTS: (UserExists, "is the name of a user already"),
    Objection.KEY_TAKEN: (UserExists, "is the user of this key already"),
    Objection.NOT_FIRST: (UserExists, "would not be the first user"),
    Objection.UNKNOWN_USER: (UserNotFound, "is not a user"),
    Objection.UNKNOWN_ROLE: (RoleNotFound, "is not a role"),
    Objection.NOT_GRANTED: (RoleNotFound, "is not there to be taken away"),
    Objection.LAST_ADMINISTRATOR: (LastAdministrator, "is the last user with the role admin"),
    Objection.UNKNOWN_KEY: (InvalidRequest, "does not have this key"),
    Objection.KEY_COUNT: (InvalidRequest, "has one key at least, and two at most"),
    Objection.BUILT_IN: (InvalidRequest, "is built in and cannot be changed"),
    Objection.TOO_MANY: (InvalidRequest, "would exceed a limit on users, roles or grants"),
}


def add_user(name: str, key: str, *, only_first: bool) -> Method[None]:
    """Add a user with a public key."""
    check_bool("only_first", only_first)
    return _change(user_commands.AddUser(_text(name), decode_user_key(key), only_first))


def remove_user(name: str) -> Method[None]:
    """Remove a user."""
    return _change(user_commands.RemoveUser(_text(name)))


def add_user_key(name: str, key: str) -> Method[None]:
    """Add a second key to a user."""
    return _change(user_commands.AddUserKey(_text(name), decode_user_key(key)))


def remove_user_key(name: str, key: str) -> Method[None]:
    """Remove one of a user's two keys."""
    return _change(user_commands.RemoveUserKey(_text(name), decode_user_key(key)))


def assign_role(user: str, role: str) -> Method[None]:
    """Give a user a role."""
    return _change(user_commands.AssignRole(_text(user), _text(role)))


def unassign_role(user: str, role: str) -> Method[None]:
    """Take a role from a user."""
    return _change(user_commands.UnassignRole(_text(user), _text(role)))


def grant(role: str, right: RightName, prefix: str) -> Method[None]:
    """Give a role a right."""
    return _change(user_commands.Grant(_text(role), _right(right), _text(prefix)))


def revoke(role: str, right: RightName, prefix: str) -> Method[None]:
    """Take a right from a role."""
    return _change(user_commands.Revoke(_text(role), _right(right), _text(prefix)))


def remove_role(role: str) -> Method[None]:
    """End a role."""
    return _change(user_commands.RemoveRole(_text(role)))


def users() -> Method[list[UserInfo]]:
    """Return all users."""
    found = expect((yield Idempotent(ListUsers())), Users)
    return [
        UserInfo(each.name, tuple(map(z85.encode, each.keys)), each.roles) for each in found.users
    ]


def roles() -> Method[list[RoleInfo]]:
    """Return all roles but the built-in one."""
    found = expect((yield Idempotent(ListUsers())), Users)
    return [_role_info(each) for each in found.roles]


def whoami() -> Method[Identity]:
    """Return the user of the client."""
    found = expect((yield Idempotent(WhoAmI())), WireIdentity)
    return Identity(found.user or None, tuple(map(_role_info, found.roles)))


def _change(command: UserCommand) -> Method[None]:
    check_change(command)
    outcome = yield ExactlyOnce(command)
    if isinstance(outcome, RightsRefused):
        error, reason = OBJECTIONS[outcome.objection]
        raise error(f"{outcome.detail!r} {reason}; nothing was changed")
    expect(outcome, RightsChanged)


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise InvalidRequest(f"a name or prefix is a str, not {given!r}")
    text: str = plain_text(given)
    return text


def _right(name: object) -> user_commands.Right:
    if name not in get_args(RightName):
        known = ", ".join(map(repr, get_args(RightName)))
        raise InvalidRequest(f"a right is one of {known}, not {name!r}")
    return user_commands.Right[plain_text(name).upper()]


def _role_info(role: user_commands.Role) -> RoleInfo:
    grants = tuple(GrantInfo(right.name.lower(), prefix) for right, prefix in role.grants)
    return RoleInfo(role.name, grants)
