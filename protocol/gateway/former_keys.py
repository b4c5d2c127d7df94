"""Former keys: public keys that no longer belong to a user, as far as one gateway knows.

Their connections may be open still. Requests over them are denied at once, so that none burdens the
log. Storage denies it as well: whatever is not noted here is judged in the order of the log, such
as a key of which this node has not heard yet.
"""

KEYS_MAX = 4096  # beyond it, earlier ones are forgotten


class FormerKeys:
    """The keys that were users' since this gateway began."""

    def __init__(self) -> None:
        self._keys: frozenset[bytes] = frozenset()

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def learn(self, before: frozenset[bytes], now: frozenset[bytes]) -> None:
        """Note the keys that all users had before, and have now."""
        former = (self._keys | before) - now
        self._keys = former if len(former) <= KEYS_MAX else before - now
