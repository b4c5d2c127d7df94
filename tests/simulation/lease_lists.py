"""Lease lists: pages of the leases, which show each that there is throughout the read."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from protocol.client.calls import Ending
from protocol.messages.client import LeasePage, ListLeases
from tests.harness.breach import expect
from tests.simulation.lease_model import LeaseModel
from tests.simulation.setting import Setting

if TYPE_CHECKING:
    from tests.simulation.client import Thread

PAGE_LEASES_MAX = 3  # in a page
FROM_START = 0.6  # share of pages that begin with the first lease


class LeaseList:
    """One page of the leases, compared with those before the read and after it.

    Leases have no history by revisions: the page may show those of any moment between.
    """

    def __init__(self, setting: Setting, chance: Random) -> None:
        self._setting = setting
        self._before = self._leases.copy()
        is_first = chance.random() < FROM_START
        after = 0 if is_first else chance.randint(0, self._before.granted)
        self._request = ListLeases(chance.randint(1, PAGE_LEASES_MAX), after)

    def read(self, thread: "Thread", deadline: float, done: Callable[[], None]) -> None:
        """Read the page, and compare it."""

        def ended(ending: Ending) -> None:
            if isinstance(ending.outcome, LeasePage):
                self._setting.totals.leases_listed += 1
                self._check(ending.outcome)
            done()

        thread.drive_loosely(self._request, deadline, ended)

    @property
    def _leases(self) -> LeaseModel:
        return self._setting.judge.log.model.leases

    def _check(self, page: LeasePage) -> None:
        before, after = self._before.shared(), self._leases.shared()
        ttls = {**before, **self._setting.judge.log.model.all_ttls}
        listed = {each.lease: each.ttl_ms for each in page.leases}
        expect(list(listed) == sorted(listed), "leases are not listed by their ids")
        for lease, ttl_ms in listed.items():
            is_new = lease > self._before.granted
            expect(lease in before or is_new, f"lease {lease} is listed after its end")
            expect(ttls.get(lease) == ttl_ms, f"lease {lease} is listed with another TTL")
        for lease in before.keys() & after.keys():
            is_within = self._request.start_after < lease and (lease <= page.end or not page.more)
            expect(not is_within or lease in listed, f"lease {lease} is not listed")
