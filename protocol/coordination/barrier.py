"""Barriers: contenders that wait for a key to go, or for each other.

Each party of a double barrier replays the history from before its own join: a faster party may
have left, or joined again, by the time a slower one reads.
"""

from collections.abc import Callable

from protocol.coordination.line import Removals
from protocol.coordination.procedure import (
    AwaitChange,
    Commit,
    Entries,
    Procedure,
    ReadEntries,
    is_of,
)
from protocol.state.commands import Insert, Inserted


def await_removal(key: str) -> Procedure[None]:
    """Wait until a key is absent."""
    while True:
        present: Entries = yield ReadEntries(key)
        if all(each.key != key for each in present.entries):
            return
        yield AwaitChange(key, present.revision, Removals((key,), 1).take)


def enter(prefix: str, key: str, value: bytes, lease: int, parties: int) -> Procedure[int | None]:
    """Join a double barrier, and wait until ``parties`` have been there at the same time.

    Returns the token of this one; None means that its lease or its key is gone.
    """
    before: Entries = yield ReadEntries(prefix)
    joined = yield Commit(Insert(key, value, None, lease))
    if not isinstance(joined, Inserted):
        return None
    while True:
        present: Entries = yield ReadEntries(prefix)
        keys = [each.key for each in present.of(prefix)]
        if len(keys) >= parties:
            return joined.revision
        if key not in keys:
            return None
        presence = Presence(prefix, before, lambda count: count >= parties)
        yield AwaitChange(prefix, before.revision, presence.take)
        if presence.is_reached:
            return joined.revision
        before = present  # the history of the changes before is gone


def look(prefix: str) -> Procedure[Entries]:
    """Return who is there, for ``await_absence``."""
    present: Entries = yield ReadEntries(prefix)
    return present


def await_absence(prefix: str, before: Entries) -> Procedure[None]:
    """Wait until all had left at some time since they were there ``before``."""
    while True:
        present: Entries = yield ReadEntries(prefix)
        if not present.of(prefix):
            return
        presence = Presence(prefix, before, lambda count: count == 0)
        yield AwaitChange(prefix, before.revision, presence.take)
        if presence.is_reached:
            return
        before = present  # the history of the changes before is gone


class Presence:
    """Keys that come and go, until their number is the wanted one."""

    def __init__(self, prefix: str, present: Entries, wanted: Callable[[int], bool]) -> None:
        """Begin with the keys that are there."""
        self._prefix = prefix
        self._keys = {each.key for each in present.of(prefix)}
        self._wanted = wanted
        self.is_reached = False  # whether it has been the wanted one

    def take(self, key: str, is_removed: bool) -> bool:
        """Take a change; return whether their number is the wanted one."""
        if is_removed:
            self._keys.discard(key)
        elif is_of(self._prefix, key):
            self._keys.add(key)
        self.is_reached = self._wanted(len(self._keys))
        return self.is_reached
