"""LeasePool: idle leases, which one client's recipes reuse.

A lease serves one holder at a time. Granting one costs a write, so that a few idle ones are kept
for the next holder. They are not kept alive: one that finds no use soon expires.
"""

from protocol.client.held_lease import HeldLease
from skiff.arguments import milliseconds_of

IDLE_MAX = 4  # leases kept
FRESH_SHARE = 0.5  # of its TTL that must remain of a lease for its next use


class LeasePool:
    """Idle leases without keys. Times are seconds of the steady clock."""

    def __init__(self) -> None:
        self._idle: list[HeldLease] = []

    def take(self, ttl: float, now: float) -> HeldLease | None:
        """Return a lease for one holder, None if there is no fresh one."""
        self._idle = [each for each in self._idle if _is_fresh(each, now)]
        for held in self._idle:
            if round(held.ttl * 1000) == milliseconds_of(ttl):
                self._idle.remove(held)
                return held
        return None

    def put(self, held: HeldLease) -> None:
        """Take a lease that has no keys; of many, only the newest are kept."""
        self._idle = [*self._idle, held][-IDLE_MAX:]


def _is_fresh(held: HeldLease, now: float) -> bool:
    return held.remaining(now) > held.ttl * FRESH_SHARE
