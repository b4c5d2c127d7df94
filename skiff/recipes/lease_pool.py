"""LeasePool: the leases that recipes of one client have no use for at present.

A lease serves one holder at a time. Granting one costs a write, so that a few are kept alive.
"""

from typing import Generic

from skiff.recipes.turn import LeaseT

IDLE_MAX = 4  # leases kept for one TTL
FRESH_SHARE = 0.5  # of its TTL that must remain of a lease for its next use


class LeasePool(Generic[LeaseT]):
    """Idle leases, by their TTL in seconds."""

    def __init__(self) -> None:
        self._idle: dict[float, list[LeaseT]] = {}

    def take(self, ttl: float) -> LeaseT | None:
        """Return a lease for one holder, None if there is no fresh one."""
        idle = self._idle.get(ttl, [])
        while idle:
            lease = idle.pop()
            if lease.remaining > ttl * FRESH_SHARE:
                return lease
        return None

    def put(self, lease: LeaseT) -> bool:
        """Keep a lease that has no keys; return False if there are enough."""
        idle = self._idle.setdefault(lease.ttl, [])
        if len(idle) >= IDLE_MAX or not lease.remaining:
            return False
        idle.append(lease)
        return True
