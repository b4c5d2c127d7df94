"""Key range: the keys under a prefix that a page begins with, in either direction."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from protocol.keys import encode_prefix
from protocol.state.key_value import FIRST_USER_KEY
from protocol.state.tables import Row

AFTER_UTF8 = b"\xff"  # sorts after every byte of UTF-8


class KeyRange(NamedTuple):
    """The keys under a prefix after another key; with ``reverse``, from there down."""

    prefix: bytes
    start_after: bytes | None
    reverse: bool

    @property
    def first(self) -> bytes:
        """Where the range begins in its direction; ``start_after`` itself does not count."""
        if self.reverse:
            last = self.prefix + AFTER_UTF8
            return last if self.start_after is None else min(last, self.start_after)
        return max(self.prefix, FIRST_USER_KEY, self.start_after or b"")

    def keys(self, sorted_keys: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the keys of the range, of all keys from its first one on."""
        for key in sorted_keys:
            if not self._contains(key):
                return
            if key != self.start_after:
                yield key

    def rows(self, sorted_rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of the range, of all rows from its first one on."""
        for row in sorted_rows:
            if not self._contains(row[0]):
                return
            if row[0] != self.start_after:
                yield row

    def _contains(self, key: bytes) -> bool:
        return key.startswith(self.prefix) and key >= FIRST_USER_KEY


def key_range(prefix: str, start_after: str | None, *, reverse: bool = False) -> KeyRange:
    """Return the range that a client asks for."""
    after = None if start_after is None else start_after.encode()
    return KeyRange(encode_prefix(prefix), after, reverse)
