"""Rights: the part of the messages between a client and a gateway that is about users."""

import msgspec

from protocol.ranges import Number
from protocol.state.user_commands import Right, Role, User


class ListUsers(msgspec.Struct, frozen=True, array_like=True, tag=46, gc=False):
    """Read all users and roles."""


class WhoAmI(msgspec.Struct, frozen=True, array_like=True, tag=47, gc=False):
    """Ask for the user of the connection, with its roles."""


class CheckRight(msgspec.Struct, frozen=True, array_like=True, tag=48, gc=False):
    """Ask whether the user has a right, and may use leases, without any effect."""

    right: Right | None  # to check; None for the leases alone
    prefix: str = ""  # of the keys, all of which the right must hold for
    leases: tuple[Number, ...] = ()  # ids; 1,000 at most


class Users(msgspec.Struct, frozen=True, array_like=True, tag=49):
    """All users and roles."""

    users: tuple[User, ...]  # by their names
    roles: tuple[Role, ...]  # by their names, without the built-in one


class Identity(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """The user of the connection."""

    user: str  # its name; empty for none in particular, without restrictions
    roles: tuple[Role, ...] = ()  # of the user, by their names
