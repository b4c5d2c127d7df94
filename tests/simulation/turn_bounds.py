"""Turn bounds: no more holders than slots, tokens that grow, and items that are delivered.

Times are seconds of true time.
"""

import msgspec

from protocol.coordination.line import Line
from protocol.state.commands import Fence
from tests.harness.breach import expect
from tests.simulation.events import Events
from tests.simulation.lease_bounds import LeaseBounds
from tests.simulation.model import Model
from tests.simulation.totals import Totals


class Held(msgspec.Struct, frozen=True):
    """A turn, or the claim of an item."""

    key: str
    lease: int


class TurnBounds:
    """The holders of each line, and the consumers of each item."""

    def __init__(self, events: Events, model: Model, leases: LeaseBounds, totals: Totals) -> None:
        self._events = events
        self._model = model
        self._leases = leases
        self._totals = totals
        self._held: dict[str, list[Held]] = {}  # by the prefix of a line, or the key of an item
        self._tokens: dict[str, int] = {}  # last token of each line of one
        self._fenced: dict[str, int] = {}  # token of the last fenced write of each line
        self._judged = 0  # fenced writes
        self._put: set[str] = set()  # keys of items
        self._leaving: set[str] = set()  # those that may be acknowledged
        self._acknowledged: set[str] = set()

    # --- lines

    def begins(self, line: Line, key: str, token: int, lease: int) -> None:
        """Check a turn that has come."""
        self._totals.turns += 1
        conflicting = [
            each
            for each in self._holders(line.prefix)
            if not (line.shares(key) and line.shares(each.key))
        ]
        expect(len(conflicting) < line.slots, f"{line.prefix} has more holders than slots")
        if line.slots == 1 and not line.shared:
            expect(token > self._tokens.get(line.prefix, 0), "a token does not grow")
            self._tokens[line.prefix] = token
        self._held.setdefault(line.prefix, []).append(Held(key, lease))

    def ends(self, where: str, key: str) -> None:
        """Note that a holder counts no more on its turn, or a consumer on its claim."""
        self._held[where] = [each for each in self._held[where] if each.key != key]

    def fenced_off(self, counts_on_it: bool) -> None:
        """Check that a write was refused only once its holder does not count on its turn."""
        self._totals.fenced_off += 1
        expect(not counts_on_it, "a holder is fenced off while it counts on its turn")

    def committed(self) -> None:
        """Check the fenced writes of the last entry: none of an older holder after a newer one."""
        for fence in self._model.fenced[self._judged :]:
            self._judged += 1
            self._totals.fenced_writes += 1
            self._judge_order(fence)

    def _judge_order(self, fence: Fence) -> None:
        prefix, _, rest = fence.key.rpartition("-")
        if prefix == "x/lock" or rest.startswith("w"):
            expect(
                fence.token >= self._fenced.get(prefix, 0), "an older holder writes after a newer"
            )
            self._fenced[prefix] = fence.token

    def _holders(self, where: str) -> list[Held]:
        """Return those who count on their turn now."""
        now = self._events.now
        return [each for each in self._held.get(where, []) if self._leases.until(each.lease) > now]

    # --- items

    def was_put(self, item: str) -> None:
        """Note an item that is in the queue; a consumer may have taken it meanwhile."""
        if item not in self._leaving:
            self._put.add(item)

    def delivered(self, item: str, claim: str, lease: int) -> None:
        """Check the delivery of an item."""
        self._totals.deliveries += 1
        expect(item not in self._acknowledged, "an acknowledged item is delivered again")
        expect(not self._holders(item), "an item is delivered to two consumers")
        self._held.setdefault(item, []).append(Held(claim, lease))

    def acknowledges(self, item: str) -> None:
        """Note that an item may be acknowledged from now on."""
        self._leaving.add(item)
        self._put.discard(item)

    def acknowledged(self, item: str, *, existed: bool) -> None:
        """Check that an item is acknowledged for the first time."""
        expect(existed, "an item is acknowledged twice")
        self._acknowledged.add(item)

    def check_items(self) -> None:
        """Check that no item was lost."""
        lost = self._put - self._model.rows.keys()
        expect(not lost, f"items {sorted(lost)} are lost")
