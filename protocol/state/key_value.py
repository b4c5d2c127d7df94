"""Key-value table: keys with revisions, and the writes that change them."""

import msgspec

from protocol.encoding import encode
from protocol.keys import parent_of
from protocol.state.commands import (
    Event,
    Inapplicable,
    Insert,
    Inserted,
    NoLease,
    Remove,
    Removed,
    RevisionMismatch,
)
from protocol.state.key_leases import KeyLeases
from protocol.state.limits import PREV_BYTES_MAX
from protocol.state.tables import Table

FIRST_USER_KEY = b"\1"  # lower keys are skiff's own


class StoredValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key's value, the revisions and number of its writes, and its lease."""

    create_revision: int
    revision: int
    version: int
    value: bytes
    lease: int = 0  # id of the lease that the key goes with; 0: none
    ttl_ms: int = 0  # milliseconds of that lease, if it is the key's own; 0: it is not

    @property
    def lease_fields(self) -> tuple[int, int]:
        """The last fields of a ``Found`` or ``ScannedEntry``: no client knows a key's own lease."""
        return (0, self.ttl_ms) if self.ttl_ms else (self.lease, 0)


decode_stored_value = msgspec.msgpack.Decoder(StoredValue).decode
decode_count = msgspec.msgpack.Decoder(int).decode


def written(
    before: StoredValue | None, value: bytes, revision: int, lease: int = 0, ttl_ms: int = 0
) -> StoredValue:
    """Return the row of a key after a write at a revision; see ``StoredValue`` for its lease."""
    if before is None:
        return StoredValue(revision, revision, 1, value, lease, ttl_ms)
    version = before.version + 1
    return StoredValue(before.create_revision, revision, version, value, lease, ttl_ms)


class KeyValue:
    """Keys with their values, and the number of keys under each parent path.

    The revision counts the commands that changed a key since the cluster was founded. It is the
    same on every node, because every node applies the same entries.
    """

    def __init__(
        self,
        values: Table,
        prefixes: Table,
        leases: KeyLeases,
        revision: int = 0,
        state_bytes: int = 0,
    ) -> None:
        self.leases = leases
        self._values = values
        self._prefixes = prefixes
        self._counts: dict[str, int] = {}  # of keys, by parent, that are not in the table yet
        self.revision = revision
        self.state_bytes = state_bytes  # of all keys and values
        self._prev_bytes_left = PREV_BYTES_MAX  # of previous values, in the events of this entry

    def begin_entry(self) -> None:
        """Begin the writes of an entry, whose events keep so many bytes of previous values."""
        self._prev_bytes_left = PREV_BYTES_MAX

    def insert(
        self, command: Insert, events: list[Event]
    ) -> Inserted | RevisionMismatch | NoLease | Inapplicable:
        """Write the value if the key has the required revision, and its lease has room."""
        key = command.key.encode()
        before = self.read(key)
        current = before.revision if before else 0
        if command.if_revision not in (None, current):
            return RevisionMismatch(current)
        lease = command.lease
        if lease or command.ttl_ms:
            why_not = self.why_not_attach(command, before)
            if why_not is not None:
                return why_not
            if command.ttl_ms:
                lease = self.leases.grant(command.ttl_ms, is_own=True)
        self.revision += 1
        after = written(before, command.value, self.revision, lease, command.ttl_ms)
        self.write(command.key, key, before, after, events)
        return Inserted(self.revision)

    def why_not_attach(
        self, insert: Insert, before: StoredValue | None
    ) -> NoLease | Inapplicable | None:
        """Return why an insert with a lease or a TTL cannot be applied."""
        if insert.ttl_ms:
            return self.leases.why_not_grant()
        if before is not None and before.lease == insert.lease:
            return None
        return self.leases.why_not_attach(insert)

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

    def end_lease(self, lease: int, events: list[Event]) -> int:
        """End a lease, and remove its keys at one revision; return their number."""
        keys = self.leases.keys_of(lease)
        self.revision += bool(keys)
        for position, key in enumerate(keys):
            self.write(key.decode(), key, self.read(key), None, events, position)
        if self.leases.find(lease) is not None:  # one of a key's own has ended with its key
            self.leases.end(lease)
        return len(keys)

    def read(self, key: bytes) -> StoredValue | None:
        """Return the value of a key with its history."""
        stored = self._values.get(key)
        return None if stored is None else decode_stored_value(stored)

    def keys_under(self, prefix: bytes, count_max: int) -> list[bytes]:
        """Return the first keys with a prefix, in order, at most ``count_max``."""
        return self._values.keys_under(prefix, FIRST_USER_KEY, count_max)

    def write(
        self,
        name: str,
        key: bytes,
        before: StoredValue | None,
        after: StoredValue | None,
        events: list[Event],
        position: int = 0,
    ) -> None:
        """Write or remove a key at the present revision, as one of its changes.

        ``key`` is the encoded ``name``; it is removed if ``after`` is None, and must exist then.
        """
        previous, prev_value = 0, None
        left, joined = before.lease if before else 0, after.lease if after else 0
        if left or joined:
            self.leases.move(key, left, joined)
        if before is not None:
            previous, prev_value = before.revision, self._kept(before.value)
            self.state_bytes -= len(key) + len(before.value)
        value = None
        if after is None:
            self._values.delete(key)
            self._count(name, -1)
        else:
            value = after.value
            self._values.put(key, encode(after))
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
            self._counts[parent] = 0 if stored is None else decode_count(stored)
        self._counts[parent] += change

    def store_counts(self) -> None:
        """Put the numbers of keys into their table, each once however many keys have changed."""
        for parent, count in self._counts.items():
            if count:
                self._prefixes.put(parent.encode(), encode(count))
            else:
                self._prefixes.delete(parent.encode())
        self._counts.clear()
