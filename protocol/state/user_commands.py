"""User commands: what log entries carry about users, roles and rights, and their results."""

from enum import IntEnum

import msgspec

from protocol.ranges import Number

USER_BYTES = 32  # of a user's public key, a raw key of Curve25519


class Right(IntEnum):
    """What a role lets its users do: under a prefix, or in the whole cluster."""

    READ = 1  # keys under a prefix
    WRITE = 2  # keys under a prefix
    WATCH = 3  # changes of the keys under a prefix
    MEMBERS = 4  # add and remove members, and transfer leadership
    BACKUP = 5  # read all keys and users as a backup
    USERS = 6  # change users and roles, one's own rights included


PREFIX_RIGHTS = (Right.READ, Right.WRITE, Right.WATCH)  # the others are of the whole cluster


class AddUser(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Add a user with a public key, and without roles."""

    name: str  # 1 to 64 characters of a-z, 0-9, dot, underscore and hyphen
    key: bytes  # 32 bytes
    # Whether it is done only while there are no users; this one then has the role admin.
    only_first: bool = False


class RemoveUser(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Remove a user."""

    name: str  # of the user


class AddUserKey(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """Add a second public key to a user, for instance before the first one is removed."""

    name: str  # of the user
    key: bytes  # 32 bytes


class RemoveUserKey(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """Remove one of a user's two public keys."""

    name: str  # of the user
    key: bytes  # 32 bytes


class AssignRole(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Give a user a role; nothing changes if it has it."""

    user: str  # its name
    role: str  # its name


class UnassignRole(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """Take a role from a user."""

    user: str  # its name
    role: str  # its name


class Grant(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """Give a role a right; the first one creates the role. Nothing changes if it has it."""

    role: str  # 1 to 64 characters of a-z, 0-9, dot, underscore and hyphen
    right: Right  # to give
    prefix: str = ""  # of the keys; ``""`` and ``"/"`` for all, as also for rights without a prefix


class Revoke(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """Take a right from a role; with the last one, the role ends."""

    role: str  # its name
    right: Right  # to take
    prefix: str = ""  # as it was granted


class RemoveRole(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """End a role, and take it from all its users."""

    role: str  # its name


UserCommand = (
    AddUser
    | RemoveUser
    | AddUserKey
    | RemoveUserKey
    | AssignRole
    | UnassignRole
    | Grant
    | Revoke
    | RemoveRole
)


class RightsChanged(msgspec.Struct, frozen=True, array_like=True, tag=43, gc=False):
    """The users and roles are as the command demands."""


class Objection(IntEnum):
    """Why a command about users and roles was not applied."""

    USER_EXISTS = 1  # a user of this name
    UNKNOWN_USER = 2
    UNKNOWN_ROLE = 3
    KEY_TAKEN = 4  # a user has this key
    UNKNOWN_KEY = 5  # the user does not have it
    KEY_COUNT = 6  # the user has two keys already, or no other one
    LAST_ADMINISTRATOR = 7  # no other user has the role admin
    NOT_GRANTED = 8  # the role does not have the right for this prefix, or the user not the role
    BUILT_IN = 9  # the role admin cannot be changed
    TOO_MANY = 10  # users, roles, roles of a user, grants of a role, or bytes of all
    NOT_FIRST = 11  # there are users


class RightsRefused(msgspec.Struct, frozen=True, array_like=True, tag=44, gc=False):
    """The command was not applied; no user and no role was changed."""

    objection: Objection  # why not
    detail: str  # name, right or key concerned


class Denied(msgspec.Struct, frozen=True, array_like=True, tag=45, gc=False):
    """The user lacks a right; nothing was changed, and nothing is told about the state."""

    right: Right | None  # that is missing; None if no user has the key
    place: str = ""  # key or prefix; empty for all keys, and for rights without a prefix


class User(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A user, as it is stored and listed."""

    name: str  # which identifies it
    keys: tuple[bytes, ...]  # one or two public keys, in the order in which they were added
    roles: tuple[str, ...]  # names, sorted
    leases_after: Number = 0  # id: of the leases granted to its name, only later ones are its own


class Role(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A role, as it is stored and listed."""

    name: str  # which identifies it
    grants: tuple[tuple[Right, str], ...]  # right and prefix, sorted
