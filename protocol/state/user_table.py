"""User table: users and roles as rows of a table, and the commands that change them.

All of it is in memory, too, and is sent as a whole to the gateway when it changes.
"""

from typing import assert_never

import msgspec

from protocol.encoding import encode
from protocol.state.rights import ADMIN, Rights, whole
from protocol.state.tables import Table
from protocol.state.user_commands import (
    AddUser,
    AddUserKey,
    AssignRole,
    Grant,
    Objection,
    RemoveRole,
    RemoveUser,
    RemoveUserKey,
    Revoke,
    Right,
    RightsChanged,
    RightsRefused,
    Role,
    UnassignRole,
    User,
    UserCommand,
)

USERS_MAX = 1000
ROLES_MAX = 1000
USER_KEYS_MAX = 2
USER_ROLES_MAX = 100
ROLE_GRANTS_MAX = 100
RIGHTS_BYTES_MAX = 4 << 20  # of all rows: every node holds them in memory, and sends them around

USER_ROW, ROLE_ROW = b"u", b"r"  # before the name, in the key of a row

_CHANGED = RightsChanged()
_decode_user = msgspec.msgpack.Decoder(User).decode
_decode_role = msgspec.msgpack.Decoder(Role).decode


class _Refused(Exception):
    """The command is not applied, for the reason in the result."""

    def __init__(self, objection: Objection, detail: str) -> None:
        super().__init__()
        self.result = RightsRefused(objection, detail)


class UserTable:
    """The users and roles of the state."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._bytes = 0
        self._removed_keys: list[bytes] = []
        self.rights = self._load()
        self.has_changed = bool(self.rights.users)  # since the caller has cleared it

    def apply(self, command: UserCommand, last_lease: int) -> RightsChanged | RightsRefused:
        """Apply a command; change nothing if it is refused.

        ``last_lease`` is the last id that was given to a lease: a user that is added does not own
        those of former users of its name, and one that may write less owns none any more.
        """
        written = {
            each: self.rights.prefixes(each, Right.WRITE) for each in self._users_of(command)
        }
        try:
            self._apply(command, last_lease)
        except _Refused as refused:
            return refused.result
        for name, prefixes in written.items():
            left = self.rights.prefixes(name, Right.WRITE)
            if not all(prefix.startswith(left) for prefix in prefixes):
                self._disown_leases(name, last_lease)
        self.has_changed = True
        return _CHANGED

    def take_removed_keys(self) -> list[bytes]:
        """Return the public keys that users had at the last call, and no user has any more."""
        removed, self._removed_keys = self._removed_keys, []
        return removed

    def _load(self) -> Rights:
        users: list[User] = []
        roles: list[Role] = []
        for key in self._table.keys_under(b"", b"", USERS_MAX + ROLES_MAX):
            value = self._table.get(key)
            assert value is not None, "the table has this key"
            row = decode_rights_row(key, value)
            self._bytes += len(key) + len(value)
            if isinstance(row, User):
                users.append(row)
            else:
                roles.append(row)
        return Rights(users, roles)

    def _apply(self, command: UserCommand, last_lease: int) -> None:
        match command:
            case AddUser():
                self._add(command, last_lease)
            case RemoveUser(name=name):
                self._remove(self._user(name))
            case AddUserKey(name=name, key=key):
                self._add_key(self._user(name), key)
            case RemoveUserKey(name=name, key=key):
                self._remove_key(self._user(name), key)
            case AssignRole(user=name, role=role):
                self._assign(self._user(name), role)
            case UnassignRole(user=name, role=role):
                self._unassign(self._user(name), role)
            case Grant() | Revoke() | RemoveRole():
                self._apply_to_role(command)
            case unknown:
                assert_never(unknown)

    # --- users

    def _add(self, command: AddUser, last_lease: int) -> None:
        name, users = command.name, self.rights.users
        _refuse_if(command.only_first and bool(users), Objection.NOT_FIRST, name)
        _refuse_if(name in users, Objection.USER_EXISTS, name)
        _refuse_if(len(users) >= USERS_MAX, Objection.TOO_MANY, name)
        self._refuse_taken(command.key)
        roles = (ADMIN.name,) if command.only_first else ()
        self._put_user(User(name, (command.key,), roles, last_lease))

    def _remove(self, user: User) -> None:
        self._keep_an_administrator(user)
        self._delete(USER_ROW, user.name)
        self.rights.drop(user.name)
        self._removed_keys += user.keys

    def _add_key(self, user: User, key: bytes) -> None:
        self._refuse_taken(key)
        _refuse_if(len(user.keys) >= USER_KEYS_MAX, Objection.KEY_COUNT, user.name)
        self._put_user(msgspec.structs.replace(user, keys=(*user.keys, key)))

    def _remove_key(self, user: User, key: bytes) -> None:
        _refuse_if(key not in user.keys, Objection.UNKNOWN_KEY, user.name)
        _refuse_if(len(user.keys) == 1, Objection.KEY_COUNT, user.name)
        left = tuple(each for each in user.keys if each != key)
        self._put_user(msgspec.structs.replace(user, keys=left))
        self._removed_keys.append(key)

    def _assign(self, user: User, role: str) -> None:
        _refuse_if(self.rights.role(role) is None, Objection.UNKNOWN_ROLE, role)
        roles = tuple(sorted({*user.roles, role}))
        _refuse_if(len(roles) > USER_ROLES_MAX, Objection.TOO_MANY, user.name)
        self._put_user(msgspec.structs.replace(user, roles=roles))

    def _unassign(self, user: User, role: str) -> None:
        _refuse_if(self.rights.role(role) is None, Objection.UNKNOWN_ROLE, role)
        _refuse_if(role not in user.roles, Objection.NOT_GRANTED, role)
        if role == ADMIN.name:
            self._keep_an_administrator(user)
        self._drop_role_of(user, role)

    def _drop_role_of(self, user: User, role: str) -> None:
        left = tuple(each for each in user.roles if each != role)
        self._put_user(msgspec.structs.replace(user, roles=left))

    def _users_of(self, command: UserCommand) -> list[str]:
        """Return the users that may lose a right by a command, and stay."""
        match command:
            case UnassignRole(user=name):
                return [name] if name in self.rights.users else []
            case Revoke(role=role) | RemoveRole(role=role):
                users = self.rights.users.values()
                return [each.name for each in users if role in each.roles]
            case _:
                return []

    def _disown_leases(self, name: str, last_lease: int) -> None:
        user = msgspec.structs.replace(self._user(name), leases_after=last_lease)
        self._store(USER_ROW, user)
        self.rights.put(user)

    def _user(self, name: str) -> User:
        user = self.rights.users.get(name)
        if user is None:
            raise _Refused(Objection.UNKNOWN_USER, name)
        return user

    def _refuse_taken(self, key: bytes) -> None:
        owner = self.rights.name_of(key)
        _refuse_if(owner is not None, Objection.KEY_TAKEN, owner or "")

    def _keep_an_administrator(self, user: User) -> None:
        """Refuse to take away the only one who may add another."""
        others = (each for each in self.rights.users.values() if each.name != user.name)
        is_last = ADMIN.name in user.roles and not any(ADMIN.name in each.roles for each in others)
        _refuse_if(is_last, Objection.LAST_ADMINISTRATOR, user.name)

    def _put_user(self, user: User) -> None:
        self._put(USER_ROW, user)
        self.rights.put(user)

    # --- roles

    def _apply_to_role(self, command: Grant | Revoke | RemoveRole) -> None:
        _refuse_if(command.role == ADMIN.name, Objection.BUILT_IN, command.role)
        role = self.rights.roles.get(command.role)
        if isinstance(command, Grant):
            self._grant(role or Role(command.role, ()), command)
        elif role is None:
            raise _Refused(Objection.UNKNOWN_ROLE, command.role)
        elif isinstance(command, Revoke):
            self._revoke(role, command)
        else:
            self._remove_role(role.name)

    def _grant(self, role: Role, command: Grant) -> None:
        is_new = role.name not in self.rights.roles
        _refuse_if(is_new and len(self.rights.roles) >= ROLES_MAX, Objection.TOO_MANY, role.name)
        grants = tuple(sorted({*role.grants, (command.right, whole(command.prefix))}))
        _refuse_if(len(grants) > ROLE_GRANTS_MAX, Objection.TOO_MANY, role.name)
        self._put_role(Role(role.name, grants))

    def _revoke(self, role: Role, command: Revoke) -> None:
        revoked = (command.right, whole(command.prefix))
        _refuse_if(revoked not in role.grants, Objection.NOT_GRANTED, command.right.name.lower())
        left = tuple(each for each in role.grants if each != revoked)
        if left:
            self._put_role(Role(role.name, left))
        else:
            self._remove_role(role.name)

    def _remove_role(self, name: str) -> None:
        """End a role; a later one of its name begins without users."""
        for user in [each for each in self.rights.users.values() if name in each.roles]:
            self._drop_role_of(user, name)
        self._delete(ROLE_ROW, name)
        self.rights.drop_role(name)

    def _put_role(self, role: Role) -> None:
        self._put(ROLE_ROW, role)
        self.rights.put_role(role)

    # --- rows

    def _put(self, kind: bytes, record: User | Role) -> None:
        key = kind + record.name.encode()
        more = len(key) + len(encode(record)) - _size(key, self._table.get(key))
        is_too_much = more > 0 and self._bytes + more > RIGHTS_BYTES_MAX
        _refuse_if(is_too_much, Objection.TOO_MANY, record.name)
        self._store(kind, record)

    def _store(self, kind: bytes, record: User | Role) -> None:
        key, value = kind + record.name.encode(), encode(record)
        self._bytes += len(key) + len(value) - _size(key, self._table.get(key))
        self._table.put(key, value)

    def _delete(self, kind: bytes, name: str) -> None:
        key = kind + name.encode()
        self._bytes -= _size(key, self._table.get(key))
        self._table.delete(key)


def decode_rights_row(key: bytes, value: bytes) -> User | Role:
    """Return the user or role of a row.

    Raises:
        ValueError: the row is invalid; ``msgspec.MsgspecError`` is a subclass.
    """
    if key[:1] not in (USER_ROW, ROLE_ROW):
        raise ValueError("neither a user nor a role")
    record = _decode_user(value) if key[:1] == USER_ROW else _decode_role(value)
    if record.name.encode() != key[1:]:
        raise ValueError("the row of another name")
    return record


def _size(key: bytes, value: bytes | None) -> int:
    return 0 if value is None else len(key) + len(value)


def _refuse_if(holds: bool, objection: Objection, detail: str) -> None:
    if holds:
        raise _Refused(objection, detail)
