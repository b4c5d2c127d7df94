"""Key-value table: inserts and removals with revisions and conditions."""

import msgspec

from protocol.commands import Event, Insert, Inserted, Remove, Removed, RevisionMismatch
from protocol.encoding import encode
from protocol.keys import parent_of
from protocol.table import Table


class StoredValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key's value, and the revisions and number of its writes."""

    create_revision: int
    revision: int
    version: int
    value: bytes


_decode_value = msgspec.msgpack.Decoder(StoredValue).decode
_decode_count = msgspec.msgpack.Decoder(int).decode

decode_stored_value, decode_count = _decode_value, _decode_count


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
        self._counts: dict[bytes, int] = {}  # of keys, by parent, that are not in the table yet
        self.revision = revision
        self.state_bytes = state_bytes  # of all keys and values

    def insert(self, command: Insert, events: list[Event]) -> Inserted | RevisionMismatch:
        """Write the value if the key has the required revision."""
        key = command.key.encode()
        before = self._read(key)
        current = before.revision if before else 0
        if command.if_revision not in (None, current):
            return RevisionMismatch(current)
        self.revision += 1
        self._values.put(key, encode(self._written(before, command.value)))
        self.state_bytes += len(command.value) - (
            -len(key) if before is None else len(before.value)
        )
        if before is None:
            self._count(command.key, 1)
        events.append(Event(self.revision, command.key, command.value, current))
        return Inserted(self.revision)

    def remove(self, command: Remove, events: list[Event]) -> Removed | RevisionMismatch:
        """Remove the key, if it exists and has the required revision."""
        key = command.key.encode()
        before = self._read(key)
        current = before.revision if before else 0
        if command.if_revision not in (None, current):
            return RevisionMismatch(current)
        if before is None:
            return Removed(existed=False, revision=self.revision)
        self.revision += 1
        self._values.delete(key)
        self.state_bytes -= len(key) + len(before.value)
        self._count(command.key, -1)
        events.append(Event(self.revision, command.key, None, current))
        return Removed(existed=True, revision=self.revision)

    def _read(self, key: bytes) -> StoredValue | None:
        stored = self._values.get(key)
        return None if stored is None else _decode_value(stored)

    def _written(self, before: StoredValue | None, value: bytes) -> StoredValue:
        if before is None:
            return StoredValue(self.revision, self.revision, 1, value)
        return StoredValue(before.create_revision, self.revision, before.version + 1, value)

    def _count(self, key: str, change: int) -> None:
        """Update the number of keys under the key's parent, which makes listing prefixes cheap."""
        parent = parent_of(key).encode()
        if not parent:
            return
        if parent not in self._counts:
            stored = self._prefixes.get(parent)
            self._counts[parent] = 0 if stored is None else _decode_count(stored)
        self._counts[parent] += change

    def store_counts(self) -> None:
        """Put the numbers of keys into their table, each once however many keys have changed."""
        for parent, count in self._counts.items():
            if count:
                self._prefixes.put(parent, encode(count))
            else:
                self._prefixes.delete(parent)
        self._counts.clear()
