"""Key-value table: keys with revisions, and the writes that change them."""

import msgspec

from protocol.encoding import encode
from protocol.keys import parent_of
from protocol.state.commands import Event, Insert, Inserted, Remove, Removed, RevisionMismatch
from protocol.state.limits import PREV_BYTES_MAX
from protocol.state.tables import Table

FIRST_USER_KEY = b"\1"  # lower keys are skiff's own


class StoredValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key's value, and the revisions and number of its writes."""

    create_revision: int
    revision: int
    version: int
    value: bytes


_decode_value = msgspec.msgpack.Decoder(StoredValue).decode
_decode_count = msgspec.msgpack.Decoder(int).decode

decode_stored_value, decode_count = _decode_value, _decode_count


def written(before: StoredValue | None, value: bytes, revision: int) -> StoredValue:
    """Return the row of a key after a write at a revision."""
    if before is None:
        return StoredValue(revision, revision, 1, value)
    return StoredValue(before.create_revision, revision, before.version + 1, value)


class KeyValue:
    """Keys with their values, and the number of keys under each parent path.

    The revision counts the commands that changed a key since the cluster was founded. It is the
    same on every node, because every node applies the same entries.
    """

    def __init__(
        self, values: Table, prefixes: Table, revision: int = 0, state_bytes: int = 0
    ) -> None:
        self._values = values
        self._prefixes = prefixes
        self._counts: dict[str, int] = {}  # of keys, by parent, that are not in the table yet
        self.revision = revision
        self.state_bytes = state_bytes  # of all keys and values
        self._prev_bytes_left = PREV_BYTES_MAX  # of previous values, in the events of this entry

    def begin_entry(self) -> None:
        """Begin the writes of an entry, whose events keep so many bytes of previous values."""
        self._prev_bytes_left = PREV_BYTES_MAX

    def insert(self, command: Insert, events: list[Event]) -> Inserted | RevisionMismatch:
        """Write the value if the key has the required revision."""
        key = command.key.encode()
        before = self.read(key)
        current = before.revision if before else 0
        if command.if_revision not in (None, current):
            return RevisionMismatch(current)
        self.revision += 1
        self.write(command.key, key, before, command.value, events)
        return Inserted(self.revision)

    def remove(self, command: Remove, events: list[Event]) -> Removed | RevisionMismatch:
        """Remove the key, if it exists and has the required revision."""
        key = command.key.encode()
        before = self.read(key)
        current = before.revision if before else 0
        if command.if_revision not in (None, current):
            return RevisionMismatch(current)
        if before is None:
            return Removed(existed=False, revision=self.revision)
        self.revision += 1
        self.write(command.key, key, before, None, events)
        return Removed(existed=True, revision=self.revision)

    def read(self, key: bytes) -> StoredValue | None:
        """Return the value of a key with its history."""
        stored = self._values.get(key)
        return None if stored is None else _decode_value(stored)

    def keys_under(self, prefix: bytes, count_max: int) -> list[bytes]:
        """Return the first keys with a prefix, in order, at most ``count_max``."""
        return self._values.keys_under(prefix, FIRST_USER_KEY, count_max)

    def write(
        self,
        name: str,
        key: bytes,
        before: StoredValue | None,
        value: bytes | None,
        events: list[Event],
        position: int = 0,
    ) -> None:
        """Write or remove a key at the present revision, as one of its changes.

        ``key`` is the encoded ``name``; it is removed if ``value`` is None, and must exist then.
        """
        previous, prev_value = 0, None
        if before is not None:
            previous, prev_value = before.revision, self._kept(before.value)
            self.state_bytes -= len(key) + len(before.value)
        if value is None:
            self._values.delete(key)
            self._count(name, -1)
        else:
            self._values.put(key, encode(written(before, value, self.revision)))
            self.state_bytes += len(key) + len(value)
            if before is None:
                self._count(name, 1)
        events.append(Event(self.revision, name, value, previous, position, prev_value))

    def _kept(self, value: bytes) -> bytes | None:
        """Return a previous value if the events of this entry have room for it.

        One removal by a prefix may replace any number of bytes, and memory must hold its events.
        """
        if len(value) > self._prev_bytes_left:
            return None
        self._prev_bytes_left -= len(value)
        return value

    def _count(self, key: str, change: int) -> None:
        """Update the number of keys under the key's parent, which makes listing prefixes cheap."""
        parent = parent_of(key)
        if not parent:
            return
        if parent not in self._counts:
            stored = self._prefixes.get(parent.encode())
            self._counts[parent] = 0 if stored is None else _decode_count(stored)
        self._counts[parent] += change

    def store_counts(self) -> None:
        """Put the numbers of keys into their table, each once however many keys have changed."""
        for parent, count in self._counts.items():
            if count:
                self._prefixes.put(parent.encode(), encode(count))
            else:
                self._prefixes.delete(parent.encode())
        self._counts.clear()
