"""Lease model: a second, plain implementation of the leases on keys."""

from protocol.state import key_leases
from protocol.state.commands import Inapplicable, Insert, NoLease, Obstacle


class LeaseModel:
    """The leases, and the one that each key goes with."""

    def __init__(self) -> None:
        self.granted = 0
        self.ttls: dict[int, int] = {}  # milliseconds, by the id of a lease that has not ended
        self.own: set[int] = set()  # ids of those that were granted for one key
        self.of_key: dict[str, int] = {}
        self._attached: dict[int, int] = {}  # by the present change

    def copy(self) -> "LeaseModel":
        """Return a copy, for a change that may not be made."""
        copy = LeaseModel()
        copy.granted = self.granted
        copy.ttls, copy.own, copy.of_key = dict(self.ttls), set(self.own), dict(self.of_key)
        return copy

    def grant(self, ttl_ms: int, *, own: bool = False) -> int:
        """Begin a lease; return its id."""
        self.granted += 1
        self.ttls[self.granted] = ttl_ms
        if own:
            self.own.add(self.granted)
        return self.granted

    def shared(self) -> dict[int, int]:
        """Return the leases that clients know, with their milliseconds."""
        return {lease: ttl_ms for lease, ttl_ms in self.ttls.items() if lease not in self.own}

    def missing(self, lease: int) -> NoLease | None:
        """Return the result of a command with this lease, if clients know none."""
        if lease in self.ttls and lease not in self.own:
            return None
        return NoLease(lease, 0 < lease <= self.granted)

    def keys_of(self, lease: int) -> list[str]:
        """Return the keys of a lease, in order."""
        keys = [key for key, its in self.of_key.items() if its == lease]
        return sorted(keys, key=str.encode)

    def shown(self, key: str) -> tuple[int, int]:
        """Return the lease of a key that clients know, and the milliseconds of one of its own."""
        lease = self.of_key.get(key, 0)
        return (0, self.ttls[lease]) if lease in self.own else (lease, 0)

    def lease_for(self, insert: Insert, before: "LeaseModel") -> int | NoLease | Inapplicable:
        """Return the lease of a key that is inserted, 0 for none, or why it cannot be.

        ``before`` are the leases before the change.
        """
        if insert.ttl_ms:
            return self.grant(insert.ttl_ms, own=True)
        lease = insert.lease
        if not lease or self.of_key.get(insert.key) == lease:
            return lease
        why_not = before.missing(lease)
        if why_not is not None:
            return why_not
        count = len(before.keys_of(lease)) + self._attached.get(lease, 0)
        if count >= key_leases.LEASE_KEYS_MAX:
            return Inapplicable(Obstacle.LEASE_FULL, str(lease))
        self._attached[lease] = self._attached.get(lease, 0) + 1
        return lease

    def move(self, key: str, lease: int) -> None:
        """Let a key go with a lease, 0 for none."""
        before = self.of_key.pop(key, 0)
        if lease:
            self.of_key[key] = lease
        if before in self.own and before not in self.of_key.values():
            self.end(before)

    def end(self, lease: int) -> None:
        """End a lease."""
        self.ttls.pop(lease, None)
        self.own.discard(lease)
