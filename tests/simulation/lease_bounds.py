"""Lease bounds: no lease expires while a client counts on it, and clients hear of no other end.

Times are seconds of true time.
"""

from protocol.messages.client import KeepAlive, KeptAlive
from tests.harness.breach import expect
from tests.simulation.events import Events
from tests.simulation.model import Model
from tests.simulation.totals import Totals


class LeaseBounds:
    """When leases have expired, and until when their holders count on them."""

    def __init__(self, events: Events, model: Model, totals: Totals) -> None:
        self._totals = totals
        self._events = events
        self._model = model
        self._expired_at: dict[int, float] = {}
        self._held_until: dict[int, float] = {}

    def committed(self) -> None:
        """Note the leases that the last entry has let expire."""
        for lease in self._model.expired[len(self._expired_at) :]:
            self._expired_at[lease] = self._events.now
            self._totals.leases_expired += 1
            self._judge(lease)

    def held(self, lease: int, until: float) -> None:
        """Note that a client counts on a lease."""
        self._held_until[lease] = max(until, self._held_until.get(lease, 0.0))
        self._judge(lease)

    def until(self, lease: int) -> float:
        """Return until when its client counts on a lease."""
        return self._held_until.get(lease, 0.0)

    def hears(self, request: KeepAlive, answer: KeptAlive) -> None:
        """Check which leases a client is told have ended."""
        for lease, ttl_ms in zip(request.leases, answer.ttls_ms, strict=True):
            if ttl_ms:
                right = self._model.all_ttls[lease]
                expect(ttl_ms <= right, "a keep-alive is confirmed for another time")
            else:
                self.hears_of_end(lease)

    def hears_of_end(self, lease: int) -> None:
        """Check that a lease has ended of which a client hears that."""
        has_ended = lease not in self._model.leases.ttls
        expect(has_ended, "a client hears that a lease has ended, and it has not")

    def _judge(self, lease: int) -> None:
        expired_at = self._expired_at.get(lease)
        if expired_at is not None:
            held_until = self._held_until.get(lease, 0.0)
            expect(expired_at >= held_until, "a lease expired while its holder counted on it")
