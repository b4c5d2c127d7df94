"""Rights: decides what each user may do, by its roles.

A prefix is text that keys begin with, as it is for every read: ``jobs`` also has ``jobs2/1`` under
it, ``jobs/`` has not. A right on a prefix holds for the keys under it, and for each prefix that
begins with it, so that whole lists, scans and watches need one grant that contains them.
"""

from collections.abc import Iterable

from protocol.keys import SEPARATOR
from protocol.state.user_commands import Denied, Right, Role, User

ADMIN = Role("admin", tuple((right, "") for right in Right))  # built in
PLACE_LENGTH_MAX = 200  # characters of a key or prefix in a result, which sessions keep
UNKNOWN = Denied(None)

Prefixes = dict[Right, tuple[str, ...]]


class Rights:
    """The users and roles. A user is given by its public key; empty for no restrictions."""

    def __init__(self, users: Iterable[User] = (), roles: Iterable[Role] = ()) -> None:
        self.users = {each.name: each for each in users}
        self.roles = {each.name: each for each in roles}
        self._names = {key: each.name for each in self.users.values() for key in each.keys}
        self._prefixes: dict[str, Prefixes] = {}  # by user, as far as they were asked for

    @property
    def keys(self) -> frozenset[bytes]:
        """The public keys of all users."""
        return frozenset(self._names)

    def name_of(self, user: bytes) -> str | None:
        """Return the name of the user with a key; None if there is none."""
        return self._names.get(user)

    def find(self, user: bytes) -> User | None:
        """Return the user with a key; None if there is none."""
        name = self._names.get(user)
        return None if name is None else self.users[name]

    def role(self, name: str) -> Role | None:
        """Return a role, the built-in one included."""
        return ADMIN if name == ADMIN.name else self.roles.get(name)

    def denial(self, user: bytes, right: Right, place: str = "") -> Denied | None:
        """Return that a right on a key, or on a whole prefix other than ``"/"``, is missing."""
        if not user:
            return None
        name = self._names.get(user)
        if name is None:
            return UNKNOWN
        if place.startswith(self.prefixes(name, right)):
            return None
        return Denied(right, place[:PLACE_LENGTH_MAX])

    def denial_of_prefix(self, user: bytes, right: Right, prefix: str) -> Denied | None:
        """Return that a right on all keys under a prefix is missing."""
        return self.denial(user, right, whole(prefix))

    def has_any(self, user: bytes, right: Right) -> bool:
        """Whether a user has a right on some prefix."""
        name = self._names.get(user)
        return not user or (name is not None and bool(self.prefixes(name, right)))

    def prefixes(self, name: str, right: Right) -> tuple[str, ...]:
        """Return the prefixes on which the user of a name has a right."""
        prefixes = self._prefixes.get(name)
        if prefixes is None:
            prefixes = self._prefixes[name] = self._collect(name)
        return prefixes.get(right, ())

    def put(self, user: User) -> None:
        """Add or replace a user."""
        self.drop(user.name)
        self.users[user.name] = user
        self._names.update(dict.fromkeys(user.keys, user.name))

    def drop(self, name: str) -> None:
        """Remove a user, if there is one of this name."""
        user = self.users.pop(name, None)
        self._prefixes.pop(name, None)
        for key in () if user is None else user.keys:
            del self._names[key]

    def put_role(self, role: Role) -> None:
        """Add or replace a role."""
        self.roles[role.name] = role
        self._prefixes.clear()

    def drop_role(self, name: str) -> None:
        """Remove a role, which no user has."""
        del self.roles[name]

    def _collect(self, name: str) -> Prefixes:
        """Return the prefixes of each right that a user has."""
        found: dict[Right, list[str]] = {}
        for role in filter(None, map(self.role, self.users[name].roles)):
            for right, prefix in role.grants:
                found.setdefault(right, []).append(prefix)
        return {right: tuple(prefixes) for right, prefixes in found.items()}


def whole(prefix: str) -> str:
    """Return a prefix, empty for both that mean all keys."""
    return "" if prefix == SEPARATOR else prefix
