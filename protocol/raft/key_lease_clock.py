"""Key lease clock: when the leader lets each lease on keys expire, by its own clock.

Times are microseconds of the leader's clock. A lease whose clock has not started yet is ``fresh``:
messages are handled with the time from before they were received.
"""

import heapq
import math
from collections.abc import Iterable, Mapping

from protocol.raft.clock_rates import LEASE_SHARE

STALE_MAX = 1000  # places in the queue of leases that have ended, besides those of live ones


class KeyLeaseClock:
    """The deadlines of the leases that the leader knows."""

    def __init__(self, leases: Iterable[int]) -> None:
        """Start every lease anew, with the next ``start_fresh``."""
        self._fresh = set(leases)
        self._deadlines: dict[int, int] = {}
        self._queue: list[tuple[int, int]] = []  # earliest deadline and lease, as once set
        self._ending: dict[int, int] = {}  # index of the entry that ends a lease

    def add(self, lease: int) -> None:
        """Add a lease that was granted."""
        self._fresh.add(lease)

    def drop(self, lease: int) -> None:
        """Forget a lease that has ended."""
        self._fresh.discard(lease)
        self._deadlines.pop(lease, None)
        self._ending.pop(lease, None)
        if len(self._queue) > 2 * len(self._deadlines) + STALE_MAX:
            self._queue = [(at, each) for each, at in self._deadlines.items()]
            heapq.heapify(self._queue)

    def start_fresh(self, ttls_ms: Mapping[int, int], left_ms: Mapping[int, int], now: int) -> None:
        """Start the fresh leases, of these milliseconds each, or those that are left to it."""
        lasting = ((lease, left_ms.get(lease) or ttls_ms[lease]) for lease in self._fresh)
        fresh = [(_deadline(each_ms, now), lease) for lease, each_ms in lasting]
        self._fresh.clear()
        self._deadlines.update((lease, at) for at, lease in fresh)
        if len(fresh) > len(self._queue):  # as when a leader begins
            self._queue += fresh
            heapq.heapify(self._queue)
        else:
            for each in fresh:
                heapq.heappush(self._queue, each)

    def extend(self, lease: int, ttl_ms: int, since: int) -> None:
        """Let a lease last for as many milliseconds from a time on."""
        if lease in self._deadlines:
            self._deadlines[lease] = max(self._deadlines[lease], _deadline(ttl_ms, since))

    def left_ms(self, lease: int, now: int) -> int:
        """Return the milliseconds that its holder may count on from now on; 0 if it is to end."""
        deadline = self._deadlines.get(lease, now)
        if deadline <= now or lease in self._ending:
            return 0
        return math.ceil((deadline - now) * LEASE_SHARE / 1000)  # no later deadline is earlier

    def is_due(self, now: int) -> bool:
        """Whether some lease may have expired."""
        return bool(self._queue) and self._queue[0][0] <= now

    def take_due(self, now: int, count_max: int) -> list[int]:
        """Return leases that have expired; each is returned once, unless it is put back."""
        due: list[int] = []
        while self.is_due(now) and len(due) < count_max:
            _, lease = heapq.heappop(self._queue)
            deadline = self._deadlines.get(lease)
            if deadline is not None and deadline > now:
                heapq.heappush(self._queue, (deadline, lease))
            elif deadline is not None and lease not in self._ending:
                due.append(lease)
        return due

    @property
    def ending(self) -> int:
        """The number of leases that unapplied entries end."""
        return len(self._ending)

    def begin_end(self, leases: Iterable[int], index: int) -> None:
        """Note that the entry at an index ends these leases."""
        for lease in leases:
            self._ending[lease] = index

    def ended_by(self, lease: int) -> int:
        """Return the index of the entry that ends a lease; 0 if there is none."""
        return self._ending.get(lease, 0)

    def put_back(self, applied_index: int) -> None:
        """Queue the leases again that an applied entry should have ended, and has not."""
        for lease, index in list(self._ending.items()):
            if index <= applied_index:
                del self._ending[lease]
                heapq.heappush(self._queue, (self._deadlines[lease], lease))


def _deadline(ttl_ms: int, since: int) -> int:
    """Return when a lease has expired by any clock that may be slower than the leader's."""
    return since + int(ttl_ms * 1000 / LEASE_SHARE)
