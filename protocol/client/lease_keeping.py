"""Lease keeping: when one client keeps its leases alive, and which of them it has lost.

No call looks at all leases. Times are seconds of the client's steady clock.
"""

from collections.abc import Iterable, Sequence

from protocol.client.agenda import Agenda
from protocol.client.held_lease import HeldLease
from protocol.deadlines import NEVER
from protocol.state.limits import LEASES_NAMED_MAX

KEEPS = 3.0  # keep-alives in the time of a lease
RETRIES = 12.0  # in the time of a lease, while no keep-alive is confirmed
TOGETHER = 0.25  # share of the time between two keep-alives by which one may come early
ATTEMPT_SECONDS_MIN = 0.05


class LeaseKeeping:
    """The leases that a client keeps alive."""

    def __init__(self) -> None:
        self._kept: dict[int, HeldLease] = {}
        self._sends = Agenda()  # when the next keep-alive of each is due
        self._joins = Agenda()  # when it may go out early, together with one that is due
        self._ends = Agenda()  # when each is lost, as far as was noted

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, held: HeldLease, now: float) -> None:
        """Keep a lease alive from now on: at once if it was idle for a while."""
        confirmed_at = held.valid_until - held.ttl
        self._kept[held.id] = held
        self._ends.set(held.id, _end_of(held))
        self._send_at(held, max(now, confirmed_at + held.ttl / KEEPS))

    def drop(self, lease: int) -> None:
        """Keep a lease alive no longer."""
        self._kept.pop(lease, None)  # first: one that no call finds may stay on the agendas
        for agenda in (self._sends, self._joins, self._ends):
            agenda.drop(lease)

    def next_deadline(self) -> float:
        """Return when a keep-alive is due, or a lease is lost."""
        first = self._first_to_end()
        end = NEVER if first is None else first.valid_until
        return min(self._sends.next_deadline(), end)

    def take_due(self, now: float) -> tuple[int, ...]:
        """Return the leases to keep alive together now; a failed request may be repeated soon."""
        due = self._sends.take_due(now, LEASES_NAMED_MAX)
        if due:
            for lease in due:
                self._joins.drop(lease)
            due += self._joins.take_due(now, LEASES_NAMED_MAX - len(due))
        kept = [self._kept[lease] for lease in due if lease in self._kept]
        for held in kept:
            self._send_at(held, now + held.ttl / RETRIES)
        return tuple(held.id for held in kept)

    def reply_timeout(self, now: float) -> float:
        """Return for how many seconds an answer may be awaited: until some lease is lost."""
        first = self._first_to_end()
        end = now if first is None else first.valid_until
        return max(end - now, ATTEMPT_SECONDS_MIN)

    def answered(self, leases: Sequence[int], ttls_ms: Sequence[int], since: float) -> None:
        """Take the answer to a keep-alive that was sent at ``since``."""
        for lease, ttl_ms in zip(leases, ttls_ms, strict=True):
            held = self._kept.get(lease)
            if held is not None:
                held.extend(ttl_ms / 1000, since)
                self._ends.set(lease, _end_of(held))
                self._send_at(held, since + min(held.ttl, ttl_ms / 1000) / KEEPS)

    def take_lost(self, now: float) -> list[HeldLease]:
        """Remove and return the leases that are lost."""
        lost: list[HeldLease] = []
        while (held := self._first_to_end()) is not None and not held.remaining(now):
            held.lose()
            self.drop(held.id)
            lost.append(held)
        return lost

    def take_all(self) -> Iterable[HeldLease]:
        """Remove and return all leases: the client keeps none alive any more."""
        kept = list(self._kept.values())
        for held in kept:
            self.drop(held.id)
        return kept

    def _send_at(self, held: HeldLease, at: float) -> None:
        self._sends.set(held.id, at)
        self._joins.set(held.id, at - held.ttl / KEEPS * TOGETHER)

    def _first_to_end(self) -> HeldLease | None:
        """Return the lease that is lost first; its holder may have extended others meanwhile."""
        first = None
        while (lease := self._ends.first()) is not None:
            held = self._kept.get(lease)
            if held is None:
                self._ends.drop(lease)
            elif held is first:
                break
            else:
                self._ends.set(lease, _end_of(held))
                first = held
        return first


def _end_of(held: HeldLease) -> float:
    return -NEVER if held.is_lost else held.valid_until
