"""Lease keeping: when one client keeps its leases alive, and which of them it has lost.

Times are seconds of the client's steady clock.
"""

from collections.abc import Iterable, Sequence

import msgspec

from protocol.client.held_lease import HeldLease
from protocol.deadlines import NEVER
from protocol.state.limits import LEASES_NAMED_MAX

KEEPS = 3.0  # keep-alives in the time of a lease
RETRIES = 12.0  # in the time of a lease, while no keep-alive is confirmed
TOGETHER = 0.25  # share of the time between two keep-alives by which one may come early
ATTEMPT_SECONDS_MIN = 0.05


class _Kept(msgspec.Struct):
    """A lease, and when its next keep-alive is due."""

    held: HeldLease
    send_at: float


class LeaseKeeping:
    """The leases that a client keeps alive."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, held: HeldLease, now: float) -> None:
        """Keep a lease alive from now on: at once if it was idle for a while."""
        confirmed_at = held.valid_until - held.ttl
        self._kept[held.id] = _Kept(held, max(now, confirmed_at + held.ttl / KEEPS))

    def drop(self, lease: int) -> None:
        """Keep a lease alive no longer."""
        self._kept.pop(lease, None)

    def next_deadline(self) -> float:
        """Return when a keep-alive is due, or a lease is lost."""
        kept = self._kept.values()
        return min((min(each.send_at, each.held.valid_until) for each in kept), default=NEVER)

    def take_due(self, now: float) -> tuple[int, ...]:
        """Return the leases to keep alive together now; a failed request may be repeated soon."""
        if not any(each.send_at <= now for each in self._kept.values()):
            return ()
        due = [each for each in self._kept.values() if each.send_at <= now + _early(each.held)]
        for each in due[:LEASES_NAMED_MAX]:
            each.send_at = now + each.held.ttl / RETRIES
        return tuple(each.held.id for each in due[:LEASES_NAMED_MAX])

    def patience(self, now: float) -> float:
        """Return for how many seconds an answer may be awaited: until some lease is lost."""
        first = min((each.held.valid_until for each in self._kept.values()), default=now)
        return max(first - now, ATTEMPT_SECONDS_MIN)

    def answered(self, leases: Sequence[int], ttls_ms: Sequence[int], since: float) -> None:
        """Take the answer to a keep-alive that was sent at ``since``."""
        for lease, ttl_ms in zip(leases, ttls_ms, strict=True):
            kept = self._kept.get(lease)
            if kept is not None:
                kept.held.kept(ttl_ms / 1000, since)
                kept.send_at = since + min(kept.held.ttl, ttl_ms / 1000) / KEEPS

    def take_lost(self, now: float) -> list[HeldLease]:
        """Remove and return the leases that are lost."""
        lost = [each.held for each in self._kept.values() if not each.held.remaining(now)]
        for held in lost:
            held.lose()
            self.drop(held.id)
        return lost

    def take_all(self) -> Iterable[HeldLease]:
        """Remove and return all leases: the client keeps none alive any more."""
        kept, self._kept = self._kept, {}
        return [each.held for each in kept.values()]


def _early(held: HeldLease) -> float:
    return held.ttl / KEEPS * TOGETHER
