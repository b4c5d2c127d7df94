"""Consumers: clients that put items into a queue, take them and acknowledge them, or forget to."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.client.held_lease import HeldLease
from protocol.coordination.queue import Claim, QueueKeys, take
from protocol.encoding import encode
from protocol.state.commands import (
    Fence,
    Inapplicable,
    Increment,
    Incremented,
    Insert,
    Inserted,
    Remove,
    Removed,
    Transact,
    Transacted,
)
from tests.simulation.contenders import TTLS_MS
from tests.simulation.lease_user import LeaseUser
from tests.simulation.performing import Act, Performing, at_once
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

NAMES = QueueKeys("q")
VALUE = encode(None)
PUTS = 0.5  # share of turns; others take
PATIENCE_SECONDS = (0.2, 2.0)
RELEASES, FORGETS = 0.1, 0.2  # shares of deliveries; others are acknowledged
WORK_SECONDS_MAX = 0.5
CLAIMED_BEFORE, ACKNOWLEDGED_BEFORE = 0.4, 0.2  # shares of claims


class Consumer(LeaseUser):
    """The items of one client. It keeps no claim alive, so that some are lost."""

    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__(setting, f"consumer {name}")

    def begin(self, thread: "Thread") -> None:
        """Put an item, or take one."""
        if self._chance.random() < PUTS:
            self._put(thread)
        else:
            late = partial(self._commit_late, thread)
            self._take(thread, partial(self._work, thread), thread.go_on, late)

    def _put(self, thread: "Thread") -> None:
        def numbered(ending: Ending) -> None:
            if not isinstance(ending.outcome, Incremented):
                thread.go_on()
                return
            item = NAMES.item(ending.outcome.value)
            thread.write_loosely(Insert(item, VALUE), self._deadline(), partial(written, item))

        def written(item: str, ending: Ending) -> None:
            if isinstance(ending.outcome, Inserted):
                self._setting.judge.turn_bounds.was_put(item)
            thread.go_on()

        thread.write_loosely(Increment(NAMES.counter), self._deadline(), numbered)

    def _take(
        self,
        thread: "Thread",
        claimed: Callable[[Claim, HeldLease], None],
        failed: Act,
        commit: Callable[[Act], None] = at_once,
    ) -> None:
        """Take an item; call ``claimed`` with its claim, or ``failed``."""

        def granted(held: HeldLease | None) -> None:
            if held is None:
                failed()
                return
            done = partial(ended, held)
            taking = take(NAMES, VALUE, held.id)
            Performing(thread, taking, self._deadline(), done, commit).go_on()

        def ended(held: HeldLease, claim: Claim | None = None) -> None:
            if claim is None or not held.remaining(self._now):
                failed()
                return
            self._setting.judge.turn_bounds.delivered(claim.item, claim.key, held.id)
            claimed(claim, held)

        self._grant(thread, self._deadline(), granted, TTLS_MS)

    def _commit_late(self, thread: "Thread", commit: Act) -> None:
        """Claim an item, sometimes after another consumer has claimed one, or acknowledged it."""
        drawn = self._chance.random()
        if drawn > CLAIMED_BEFORE:
            commit()
            return
        other = thread.client.new_helper(f"{thread.name}.other")
        if drawn < ACKNOWLEDGED_BEFORE:
            self._take(other, partial(self._acknowledge, other, commit), commit)
        else:
            self._take(other, lambda *_: commit(), commit)

    def _work(self, thread: "Thread", claim: Claim, held: HeldLease) -> None:
        delay = self._chance.uniform(0, WORK_SECONDS_MAX)
        self._setting.events.after(delay, self._decide, thread, claim, held)

    def _decide(self, thread: "Thread", claim: Claim, held: HeldLease) -> None:
        drawn = self._chance.random()
        if drawn < FORGETS:
            thread.go_on()
        elif drawn < FORGETS + RELEASES:
            self._setting.judge.turn_bounds.ends(claim.item, claim.key)
            release = Transact((), (Remove(claim.key),), (), (Fence(claim.key, claim.token),))
            thread.write_loosely(release, self._deadline(), lambda _: thread.go_on())
        else:
            self._acknowledge(thread, thread.go_on, claim, held)

    def _acknowledge(self, thread: "Thread", then: Act, claim: Claim, held: HeldLease) -> None:
        bounds = self._setting.judge.turn_bounds

        def ended(ending: Ending) -> None:
            match ending.outcome:
                case Transacted(results=(Removed(existed=existed), _)):
                    bounds.acknowledged(claim.item, existed=existed)
                case Inapplicable():
                    bounds.fenced_off(held.remaining(self._now) > 0)
            then()

        bounds.acknowledges(claim.item)
        operations = (Remove(claim.item), Remove(claim.key))
        command = Transact((), operations, (), (Fence(claim.key, claim.token),))
        thread.write_loosely(command, self._deadline(), ended)

    def _deadline(self) -> float:
        return self._setting.events.now + self._chance.uniform(*PATIENCE_SECONDS)
