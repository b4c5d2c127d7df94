"""Holdings: the entries of a bounded table by user, of whom the one with the most makes room.

A user with fewer entries than another never loses one to it, and a user alone may have them all. Of
users with equally many, the one whose oldest entry is the least recently used makes room. This
follows from the order of uses alone, so that state machines decide alike.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Entry = TypeVar("Entry")


class Holdings(Generic[Key, Entry]):
    """The entries of all users, given by their public keys; empty for no restrictions."""

    def __init__(self, limit: int) -> None:
        """Keep ``limit`` entries at most."""
        self._limit = limit
        self._count = 0
        self._uses = 0
        # By user: its entries with their last use, the least recently used one first.
        self._held: dict[bytes, OrderedDict[Key, tuple[int, Entry]]] = {}
        self._users: dict[int, set[bytes]] = {}  # by their numbers of entries

    def __iter__(self) -> Iterator[tuple[bytes, Key, Entry]]:
        """Yield all entries with their users and keys; each may be dropped meanwhile."""
        for user, held in list(self._held.items()):
            yield from [(user, key, entry) for key, (_, entry) in held.items()]

    def find(self, user: bytes, key: Key) -> Entry | None:
        """Return an entry; None if this user has no such one."""
        held = self._held.get(user)
        found = None if held is None else held.get(key)
        return None if found is None else found[1]

    def use(self, user: bytes, key: Key) -> Entry | None:
        """Return an entry as ``find`` does, and mark it as most recently used."""
        held = self._held.get(user)
        found = None if held is None else held.get(key)
        if held is None or found is None:
            return None
        self._uses += 1
        held[key] = (self._uses, found[1])
        held.move_to_end(key)
        return found[1]

    def add(self, user: bytes, key: Key, entry: Entry) -> None:
        """Add an entry, as most recently used; ``make_room`` is due."""
        self._uses += 1
        held = self._held.setdefault(user, OrderedDict())
        before = len(held)
        held[key] = (self._uses, entry)
        self._note(user, before)

    def make_room(self) -> tuple[Key, Entry] | None:
        """Drop an entry if there are too many, and return it."""
        surplus = self.find_surplus()
        if surplus is None:
            return None
        user, key, entry = surplus
        self.drop(user, key)
        return key, entry

    def find_surplus(self) -> tuple[bytes, Key, Entry] | None:
        """Return the entry that ``make_room`` drops, with its user; None if there is room."""
        if self._count <= self._limit:
            return None
        user = min(self._users[max(self._users)], key=self._oldest_use)
        key, (_, entry) = next(iter(self._held[user].items()))
        return user, key, entry

    def drop(self, user: bytes, key: Key) -> Entry | None:
        """Drop an entry and return it; None if this user has no such one."""
        entry = self.find(user, key)
        if entry is not None:
            held = self._held[user]
            del held[key]
            self._note(user, len(held) + 1)
        return entry

    def drop_all(self, user: bytes) -> list[tuple[Key, Entry]]:
        """Drop all entries of a user and return them."""
        held = self._held.get(user)
        dropped = [] if held is None else [(key, entry) for key, (_, entry) in held.items()]
        for key, _ in dropped:
            self.drop(user, key)
        return dropped

    def _oldest_use(self, user: bytes) -> int:
        last_use, _ = next(iter(self._held[user].values()))
        return last_use

    def _note(self, user: bytes, before: int) -> None:
        """Note that a user had another number of entries before."""
        now = len(self._held[user])
        self._count += now - before
        if before:
            self._users[before].discard(user)
            if not self._users[before]:
                del self._users[before]
        if now:
            self._users.setdefault(now, set()).add(user)
        else:
            del self._held[user]
