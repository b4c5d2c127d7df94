"""Key leases: leases with the keys that go with them, as rows of two tables.

The state knows how long a lease lasts, but no time: the leader finds that it has expired
(``raft.key_leases``), and an entry of the log ends it on every node. A lease of a key's own, which
an insert with a TTL grants, ends with its key. Its id is told to no client.
"""

import msgspec

from protocol.encoding import encode
from protocol.state.commands import Inapplicable, Insert, NoLease, Obstacle
from protocol.state.limits import REMOVED_MAX
from protocol.state.tables import Table

LEASES_MAX = 100_000  # in the state
LEASE_KEYS_MAX = REMOVED_MAX  # of one lease, which ends by one change
ENDED_KEYS_MAX = REMOVED_MAX  # of all leases that one command ends, unless a single one has more
ID_BYTES = 8  # of a lease, big-endian, in the keys of both tables


class LeaseRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The row of a lease, under its id."""

    ttl_ms: int  # milliseconds without a keep-alive that it lasts at least
    is_own: bool  # whether it was granted for one key, with which it ends
    keys: int  # number of keys attached
    left_ms: int = 0  # milliseconds that the next leader lets it last, as recorded; 0: ttl_ms
    user: str = ""  # name of the user that it was granted to; empty for none in particular


class LeaseChanges(msgspec.Struct):
    """The leases that were granted and ended since the changes were taken."""

    granted: list[tuple[int, int]] = msgspec.field(default_factory=list)  # id and ttl_ms
    ended: list[int] = msgspec.field(default_factory=list)  # ids
    left: list[tuple[int, int]] = msgspec.field(default_factory=list)  # id and left_ms
    is_new_term: bool = False  # whether the first entry of some leader's term was applied


_decode_row = msgspec.msgpack.Decoder(LeaseRow).decode


class KeyLeases:
    """The leases of the state."""

    def __init__(self, leases: Table, keys: Table, granted: int = 0, count: int = 0) -> None:
        """Load leases: ``granted`` is the last id, ``count`` the number that have not ended."""
        self._leases = leases
        self._keys = keys
        self.granted = granted
        self.count = count
        self._changes = LeaseChanges()

    def take_changes(self) -> LeaseChanges:
        """Return what has changed since the last call."""
        changes, self._changes = self._changes, LeaseChanges()
        return changes

    def begin_term(self) -> None:
        """Note the first entry of a term: its leader waits for it, if there are leases."""
        self._changes.is_new_term = self.count > 0

    def checkpoint(self, lease: int, left_ms: int) -> None:
        """Record how long a lease lasts for the next leader, if it has not ended."""
        row = self.find(lease)
        if row is not None:
            self._put(lease, msgspec.structs.replace(row, left_ms=left_ms))
            self._changes.left.append((lease, left_ms))

    def find(self, lease: int) -> LeaseRow | None:
        """Return a lease that has not ended."""
        return find_lease(self._leases, lease)

    def find_shared(self, lease: int) -> LeaseRow | None:
        """Return a lease that clients know: one that is no key's own."""
        return find_shared_lease(self._leases, lease)

    def missing(self, lease: int) -> NoLease:
        """Return the result of a command whose lease is missing."""
        return NoLease(lease, 0 < lease <= self.granted)

    def why_not_grant(self, more: int = 0) -> Inapplicable | None:
        """Return why no lease can be granted, besides ``more`` that are about to be."""
        if self.count + more >= LEASES_MAX:
            return Inapplicable(Obstacle.TOO_MANY_LEASES)
        return None

    def why_not_attach(self, insert: Insert, more: int = 0) -> NoLease | Inapplicable | None:
        """Return why a new key cannot go with the lease of an insert, besides ``more`` keys."""
        row = self.find_shared(insert.lease)
        if row is None:
            return self.missing(insert.lease)
        if row.keys + more >= LEASE_KEYS_MAX:
            return Inapplicable(Obstacle.LEASE_FULL, str(insert.lease))
        return None

    def grant(self, ttl_ms: int, *, is_own: bool = False, user: str = "") -> int:
        """Begin a lease, of the user with a name; return its id."""
        self.granted += 1
        self.count += 1
        self._put(self.granted, LeaseRow(ttl_ms, is_own, 0, user=user))
        self._changes.granted.append((self.granted, ttl_ms))
        return self.granted

    def end(self, lease: int) -> None:
        """End a lease without keys."""
        self._leases.delete(id_of(lease))
        self.count -= 1
        self._changes.ended.append(lease)

    def move(self, key: bytes, before: int, after: int) -> None:
        """Let a key go with another lease than before; 0 for none."""
        if before == after:
            return
        if before:
            self._detach(key, before)
        if after:
            self._attach(key, after)

    def keys_of(self, lease: int) -> list[bytes]:
        """Return the keys of a lease, in order."""
        prefix = id_of(lease)
        rows = self._keys.keys_under(prefix, prefix, LEASE_KEYS_MAX)
        return [row[ID_BYTES:] for row in rows]

    def _attach(self, key: bytes, lease: int) -> None:
        row = self.find(lease)
        assert row is not None, "a key is attached to a lease that exists"
        self._keys.put(id_of(lease) + key, b"")
        self._put(lease, msgspec.structs.replace(row, keys=row.keys + 1))

    def _detach(self, key: bytes, lease: int) -> None:
        row = self.find(lease)
        assert row is not None, "a lease ends after its keys"
        self._keys.delete(id_of(lease) + key)
        self._put(lease, msgspec.structs.replace(row, keys=row.keys - 1))
        if row.is_own and row.keys == 1:
            self.end(lease)

    def _put(self, lease: int, row: LeaseRow) -> None:
        self._leases.put(id_of(lease), encode(row))


def find_lease(leases: Table, lease: int) -> LeaseRow | None:
    """Return a lease from its table."""
    stored = leases.get(id_of(lease))
    return None if stored is None else _decode_row(stored)


def find_shared_lease(leases: Table, lease: int) -> LeaseRow | None:
    """Return a lease from its table, unless it is a key's own."""
    row = find_lease(leases, lease)
    return None if row is None or row.is_own else row


def decode_lease(key: bytes, value: bytes) -> tuple[int, LeaseRow]:
    """Return id and content of a row of the leases table.

    Raises:
        ValueError: the row is invalid; ``msgspec.MsgspecError`` is a subclass.
    """
    if len(key) != ID_BYTES:
        raise ValueError("not the id of a lease")
    return int.from_bytes(key, "big"), _decode_row(value)


def check_lease_key(key: bytes, value: bytes) -> None:
    """Check a row of the table of the leases' keys.

    Raises:
        ValueError: the row is invalid.
    """
    if len(key) <= ID_BYTES or value:
        raise ValueError("not a key of a lease")


def id_of(lease: int) -> bytes:
    """Return the id of a lease as in the keys of both tables."""
    return lease.to_bytes(ID_BYTES, "big")
