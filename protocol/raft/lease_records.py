"""Lease records: what a leader has proposed to record of the leases on keys, and when it is due."""

from collections.abc import Iterable

import msgspec


class LeaseRecord(msgspec.Struct, frozen=True):
    """The last proposal for a lease."""

    index: int  # of its entry
    left_ms: int  # milliseconds that are left to the lease; 0: its whole time


class LeaseRecords(msgspec.Struct):
    """The records of one leader's term. Times are microseconds of its clock."""

    next_at: int | None = None  # when leases are recorded again; None before the first turn
    due: list[int] = msgspec.field(default_factory=list)  # leases to record at the next turns
    proposed: dict[int, LeaseRecord] = msgspec.field(default_factory=dict)  # and not applied yet

    def last_index(self, leases: tuple[int, ...]) -> int:
        """Return the index of the last entry proposed for any of these leases; 0 for none."""
        if not self.proposed:
            return 0
        found = (self.proposed.get(lease) for lease in leases)
        return max((each.index for each in found if each is not None), default=0)

    def drop(self, lease: int) -> None:
        """Forget a lease that has ended."""
        self.proposed.pop(lease, None)

    def applied(self, index: int) -> None:
        """Forget the proposals up to an entry that storage has applied."""
        for lease, record in list(self.proposed.items()):
            if record.index <= index:
                del self.proposed[lease]


def by_lease(times: Iterable[tuple[int, int, int]]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the milliseconds of each lease, and those recorded as left, where there are such."""
    listed = list(times)
    left = {lease: left_ms for lease, _, left_ms in listed if left_ms}
    return {lease: ttl_ms for lease, ttl_ms, _ in listed}, left
