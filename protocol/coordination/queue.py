"""Queue: items in order of their numbers, each claimed by one consumer at a time.

name/next           the last number given
name/item-NUMBER    an item
name/claim-NUMBER   the claim of a consumer, with its lease: when that ends, the item is free
"""

import msgspec

from protocol.coordination.procedure import AwaitChange, Commit, Entries, Procedure, ReadEntries
from protocol.state.commands import Check, Insert, NoLease, Transact, Transacted

DIGITS = 16  # hexadecimal, of a number in a key, so that keys are in order of the numbers
SPARE = 16  # items read besides those that are claimed


class QueueKeys(msgspec.Struct, frozen=True):
    """The keys of one queue."""

    name: str

    @property
    def counter(self) -> str:
        """The key of the last number given."""
        return f"{self.name}/next"

    @property
    def items(self) -> str:
        """The prefix of the items' keys."""
        return f"{self.name}/item-"

    @property
    def claims(self) -> str:
        """The prefix of the claims' keys."""
        return f"{self.name}/claim-"

    def item(self, number: int) -> str:
        """Return the key of an item."""
        return f"{self.items}{number:0{DIGITS}x}"

    def claim_of(self, item: str) -> str:
        """Return the key of an item's claim."""
        return self.claims + item[-DIGITS:]

    def may_free(self, key: str, is_removed: bool) -> bool:
        """Whether a change may have freed an item: it is a new one, or the end of a claim."""
        return key.startswith(self.claims if is_removed else self.items)


class Claim(msgspec.Struct, frozen=True):
    """An item that was claimed."""

    item: str  # its key
    value: bytes
    key: str  # of the claim
    token: int  # the revision that created the claim


def take(keys: QueueKeys, holder: bytes, lease: int) -> Procedure[Claim | None]:
    """Claim the first item that is free; wait for one if none is; None if the lease has ended."""
    while True:
        claims: Entries = yield ReadEntries(keys.claims)
        claimed = {each.key for each in claims.entries}
        items: Entries = yield ReadEntries(keys.items, len(claimed) + SPARE)
        own = items.of(keys.items)
        if len(own) < len(items.entries):  # keys of a longer name may be before the queue's own
            own = (yield ReadEntries(keys.items)).of(keys.items)
        free = [each for each in own if keys.claim_of(each.key) not in claimed]
        for item in free:
            claim = keys.claim_of(item.key)
            checks = (Check(item.key, exists=True), Check(claim, exists=False))
            result = yield Commit(Transact(checks, (Insert(claim, holder, None, lease),)))
            if isinstance(result, NoLease):
                return None
            if isinstance(result, Transacted) and result.succeeded:
                return Claim(item.key, item.value, claim, result.revision)
        if not free:
            yield AwaitChange(f"{keys.name}/", claims.revision, keys.may_free)
