"""LeaseUser: a client that is granted leases and keeps them alive, by a clock that drifts.

It may pause between looking at its clock and sending.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.client.held_lease import HeldLease
from protocol.client.link import Link
from protocol.messages.client import KeepAlive, KeptAlive
from protocol.state.commands import GrantLease, LeaseGranted
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

TTLS_MS = (20, 60, 200, 600)
PAUSES, PAUSE_SECONDS_MAX = 0.05, 0.3  # share of requests that are sent late, and how late
STAYS = 0.5  # share of clients whose keep-alives stay with one node


class LeaseUser:
    """The leases of one client. Times are seconds of its own clock."""

    def __init__(self, setting: Setting, name: str) -> None:
        self._setting = setting
        self._chance = Random(f"{name} {setting.options.seed}")
        spread = setting.options.clock_spread
        self._rate = self._chance.uniform(1 - spread, 1 + spread)
        self._stays = self._chance.random() < STAYS
        self._own_link: Link | None = None

    @property
    def _now(self) -> float:
        return self._setting.events.now * self._rate

    def _true_time(self, own: float) -> float:
        return own / self._rate

    def _count_on(self, held: HeldLease) -> None:
        """Note until when this client counts on a lease."""
        self._setting.judge.lease_bounds.held(held.id, self._true_time(held.valid_until))

    def _after_a_pause(self, act: Callable[[], None]) -> None:
        paused = self._chance.random() < PAUSES
        delay = self._chance.uniform(0, PAUSE_SECONDS_MAX) if paused else 0.0
        self._setting.events.after(delay, act)

    def _grant(
        self,
        thread: "Thread",
        deadline: float,
        done: Callable[[HeldLease | None], None],
        ttls_ms: tuple[int, ...] = TTLS_MS,
    ) -> None:
        ttl_ms, since = self._chance.choice(ttls_ms), self._now

        def ended(ending: Ending) -> None:
            held = None
            if isinstance(ending.outcome, LeaseGranted):
                self._setting.totals.leases += 1
                held = HeldLease(ending.outcome.lease, ttl_ms / 1000, since)
                self._count_on(held)
            done(held)

        self._after_a_pause(partial(thread.write_loosely, GrantLease(ttl_ms), deadline, ended))

    def _send(
        self,
        thread: "Thread",
        kept: list[HeldLease],
        patience: float,
        then: Callable[[], None],
        link: Link | None = None,
    ) -> None:
        """Keep leases alive, by a link of its own or by the usual one."""
        request = KeepAlive(tuple(held.id for held in kept))
        since = self._now

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, KeptAlive):
                self._setting.totals.keep_alives += 1
                self._setting.judge.lease_bounds.hears(request, ending.outcome)
                for held, ttl_ms in zip(kept, ending.outcome.ttls_ms, strict=True):
                    self._hear(held, ttl_ms, since)
            then()

        def send() -> None:
            deadline = self._setting.events.now + patience
            thread.drive_loosely(request, deadline, ended, link or self._link(thread))

        self._after_a_pause(send)

    def _link(self, thread: "Thread") -> Link | None:
        """Return the node that this client stays with, also when it leads no longer."""
        if self._stays and self._own_link is None:
            self._own_link = Link(thread.client.route, stays=True)
        return self._own_link

    def _hear(self, held: HeldLease, ttl_ms: int, since: float) -> None:
        held.extend(ttl_ms / 1000, since)
        if ttl_ms:
            self._count_on(held)
        else:
            self._drop(held)

    def _drop(self, held: HeldLease) -> None:
        held.lose()
