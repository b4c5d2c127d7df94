"""Line: contenders for a name, in the order in which their keys were created.

lock               one slot
semaphore          several slots
read/write lock    one slot, which readers share with each other
election           one slot; the key's value is what the leader proclaims
"""

from collections.abc import Iterable, Sequence

import msgspec

from protocol.coordination.procedure import AwaitChange, Commit, Entries, Procedure, ReadEntries
from protocol.messages.client import ScannedEntry
from protocol.state.commands import Insert, Inserted


class Line(msgspec.Struct, frozen=True):
    """The line of one name."""

    prefix: str  # of the contenders' keys, which are all of one length
    slots: int = 1  # contenders that may have their turn at the same time
    shared: str = ""  # prefix of the keys that share a slot with each other; empty: none do

    def shares(self, key: str) -> bool:
        """Whether a contender shares its slot with others that do."""
        return bool(self.shared) and key.startswith(self.shared)

    def in_order(self, present: Entries) -> list[ScannedEntry]:
        """Return the contenders in order of arrival."""
        return sorted(present.of(self.prefix), key=_arrival)

    def wait_for(self, key: str, present: Entries) -> AwaitChange | None:
        """Return what a contender waits for, None if it has its turn; it must be present."""
        arrival = next(each.create_revision for each in present.entries if each.key == key)
        ahead = [each for each in self.in_order(present) if each.create_revision < arrival]
        if self.shares(key):
            ahead = [each for each in ahead if not self.shares(each.key)]
        keys = [each.key for each in ahead]
        surplus = len(keys) - self.slots + 1
        if surplus <= 0:
            return None
        if self.slots == 1:
            return AwaitChange(keys[-1], present.revision, Removals(keys[-1:], 1).take)
        return AwaitChange(self.prefix, present.revision, Removals(keys, surplus).take)


class Removals:
    """A number of keys that have to be removed, of some."""

    def __init__(self, keys: Iterable[str], count: int) -> None:
        """Count up to ``count`` of the keys."""
        self._keys = set(keys)
        self._left = count

    def take(self, key: str, is_removed: bool) -> bool:
        """Take a change; return whether enough of the keys are gone."""
        if is_removed and key in self._keys:
            self._keys.remove(key)
            self._left -= 1
        return self._left <= 0


def contend(line: Line, key: str, value: bytes, lease: int) -> Procedure[int | None]:
    """Join a line and wait for the turn; return the token, None if the lease or the key is gone.

    The token is the revision that created the key: that of each later holder is greater.
    """
    joined = yield Commit(Insert(key, value, None, lease))
    if not isinstance(joined, Inserted):
        return None
    while True:
        present: Entries = yield ReadEntries(line.prefix)
        if not _is_present(key, joined.revision, present.entries):
            return None
        wait = line.wait_for(key, present)
        if wait is None:
            return joined.revision
        yield wait


def _is_present(key: str, token: int, entries: Sequence[ScannedEntry]) -> bool:
    return any(each.key == key and each.create_revision == token for each in entries)


def _arrival(entry: ScannedEntry) -> int:
    return entry.create_revision
