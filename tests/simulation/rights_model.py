"""Rights model: a second, plain implementation of users and roles."""

from protocol.state.commands import Command
from protocol.state.user_commands import (
    AddUser,
    AddUserKey,
    AssignRole,
    Denied,
    Grant,
    Objection,
    RemoveRole,
    RemoveUser,
    RemoveUserKey,
    Revoke,
    Right,
    RightsChanged,
    RightsRefused,
    UnassignRole,
    UserCommand,
)
from tests.harness.rights import SOMEWHERE, Grants, covers, missing

ALL: Grants = {(right, "") for right in Right}


class RightsModel:
    """The users with their keys and roles, and the roles with their grants."""

    def __init__(self) -> None:
        self.keys: dict[str, list[bytes]] = {}  # by user
        self.roles_of: dict[str, set[str]] = {}  # by user
        self.grants: dict[str, Grants] = {}  # by role
        # By user: another number once the leases granted to it are no longer its own.
        self.owners: dict[str, int] = {}
        self._numbers = 0  # given to owners

    def copy(self) -> "RightsModel":
        """Return a copy, which later commands do not change."""
        copy = RightsModel()
        copy.keys = {name: list(keys) for name, keys in self.keys.items()}
        copy.roles_of = {name: set(roles) for name, roles in self.roles_of.items()}
        copy.grants = {role: set(grants) for role, grants in self.grants.items()}
        copy.owners = dict(self.owners)
        return copy

    def name_of(self, key: bytes) -> str | None:
        """Return the user with a key."""
        return next((name for name, keys in self.keys.items() if key in keys), None)

    def owner(self, key: bytes) -> int | None:
        """Return the number of the user with a key, as an owner of leases; None if there is none.

        It is 0 for a client that is no user.
        """
        return self.owners.get(self.name_of(key) or "") if key else 0

    def grants_of(self, key: bytes) -> Grants | None:
        """Return what the user with a key may do; None if there is none."""
        name = self.name_of(key)
        if name is None:
            return None
        roles = self.roles_of[name]
        held = [self.grants[role] for role in roles if role != "admin"]
        return ALL if "admin" in roles else set().union(*held)

    def denial(self, key: bytes, command: Command, own_leases: set[int]) -> Denied | None:
        """Return that a user may not have a command applied."""
        if not key:
            return None
        grants = self.grants_of(key)
        if grants is None:
            return Denied(None)
        lacking = missing(grants, command, own_leases)
        if lacking is None:
            return None
        right, place = lacking
        return Denied(right, "" if place == SOMEWHERE else place)

    def apply(self, command: UserCommand) -> RightsChanged | RightsRefused:
        """Apply a command."""
        refused = self._why_not(command)
        if refused is not None:
            return RightsRefused(*refused)
        before = self.copy()
        self._change(command)
        for name in self.keys:
            if name not in before.keys or self._writes_less(name, before):
                self._numbers += 1
                self.owners[name] = self._numbers
        return RightsChanged()

    def _writes_less(self, name: str, before: "RightsModel") -> bool:
        key = self.keys[name][0]
        had, has = before.grants_of(before.keys[name][0]), self.grants_of(key)
        assert had is not None
        assert has is not None
        places = [place for right, place in had if right is Right.WRITE]
        return not all(covers(has, Right.WRITE, place) for place in places)

    def _why_not(self, command: UserCommand) -> tuple[Objection, str] | None:
        match command:
            case AddUser():
                return self._why_not_add(command)
            case Grant() | Revoke() | RemoveRole():
                return self._why_not_grant(command)
            case RemoveUser(name=name):
                return self._unknown(name) or self._last(name)
            case AddUserKey(name=name, key=key):
                return self._unknown(name) or self._taken(key) or self._many_keys(name)
            case RemoveUserKey(name=name, key=key):
                return self._unknown(name) or self._last_key(name, key)
            case AssignRole() | UnassignRole():
                return self._unknown(command.user) or self._why_not_role(command.user, command)

    def _why_not_add(self, command: AddUser) -> tuple[Objection, str] | None:
        if command.only_first and self.keys:
            return Objection.NOT_FIRST, command.name
        if command.name in self.keys:
            return Objection.USER_EXISTS, command.name
        return self._taken(command.key)

    def _unknown(self, name: str) -> tuple[Objection, str] | None:
        return None if name in self.keys else (Objection.UNKNOWN_USER, name)

    def _taken(self, key: bytes) -> tuple[Objection, str] | None:
        owner = self.name_of(key)
        return None if owner is None else (Objection.KEY_TAKEN, owner)

    def _last(self, name: str) -> tuple[Objection, str] | None:
        administrators = [each for each, roles in self.roles_of.items() if "admin" in roles]
        return (Objection.LAST_ADMINISTRATOR, name) if administrators == [name] else None

    def _many_keys(self, name: str) -> tuple[Objection, str] | None:
        return (Objection.KEY_COUNT, name) if len(self.keys[name]) == 2 else None

    def _last_key(self, name: str, key: bytes) -> tuple[Objection, str] | None:
        if key not in self.keys[name]:
            return Objection.UNKNOWN_KEY, name
        return (Objection.KEY_COUNT, name) if len(self.keys[name]) == 1 else None

    def _why_not_role(
        self, name: str, command: AssignRole | UnassignRole
    ) -> tuple[Objection, str] | None:
        role = command.role
        if role != "admin" and role not in self.grants:
            return Objection.UNKNOWN_ROLE, role
        if isinstance(command, AssignRole):
            return None
        if role not in self.roles_of[name]:
            return Objection.NOT_GRANTED, role
        return self._last(name) if role == "admin" else None

    def _why_not_grant(self, command: Grant | Revoke | RemoveRole) -> tuple[Objection, str] | None:
        role = command.role
        if role == "admin":
            return Objection.BUILT_IN, role
        if isinstance(command, Grant):
            return None
        if role not in self.grants:
            return Objection.UNKNOWN_ROLE, role
        if isinstance(command, Revoke) and (command.right, command.prefix) not in self.grants[role]:
            return Objection.NOT_GRANTED, command.right.name.lower()
        return None

    def _change(self, command: UserCommand) -> None:
        match command:
            case AddUser(name=name, key=key, only_first=only_first):
                self.keys[name] = [key]
                self.roles_of[name] = {"admin"} if only_first else set()
            case RemoveUser(name=name):
                del self.keys[name], self.roles_of[name], self.owners[name]
            case AddUserKey(name=name, key=key):
                self.keys[name].append(key)
            case RemoveUserKey(name=name, key=key):
                self.keys[name].remove(key)
            case AssignRole(user=name, role=role):
                self.roles_of[name].add(role)
            case UnassignRole(user=name, role=role):
                self.roles_of[name].remove(role)
            case Grant() | Revoke() | RemoveRole():
                self._change_role(command)

    def _change_role(self, command: Grant | Revoke | RemoveRole) -> None:
        match command:
            case Grant(role=role, right=right, prefix=prefix):
                self.grants.setdefault(role, set()).add((right, prefix))
            case Revoke(role=role, right=right, prefix=prefix):
                self.grants[role].remove((right, prefix))
                if not self.grants[role]:
                    self._end(role)
            case RemoveRole(role=role):
                self._end(role)

    def _end(self, role: str) -> None:
        del self.grants[role]
        for roles in self.roles_of.values():
            roles.discard(role)
