"""Tables: interfaces of the sorted bytes-to-bytes tables that hold a node's state."""

from collections.abc import Iterable, Iterator
from typing import Protocol

Row = tuple[bytes, bytes]


class Table(Protocol):
    """The part of a table that the state machine uses."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value, including changes that are not yet written."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""

    def delete(self, key: bytes) -> None:
        """Delete the key, if it exists."""

    def keys_under(self, prefix: bytes, first: bytes, count_max: int) -> list[bytes]:
        """Return the keys with a prefix from ``first`` on, in order, ``count_max`` at most.

        Changes that are not yet written count.
        """


class SortedTable(Table, Protocol):
    """A table that can be scanned; scans see only written rows."""

    def delete_range(self, first: bytes, end: bytes) -> None:
        """Delete all keys from ``first`` up to, but not including, ``end``."""

    def scan(self, first: bytes) -> Iterable[Row]:
        """Yield the written rows from a key on, in key order."""

    def keys(self, first: bytes, *, reverse: bool = False) -> Iterable[bytes]:
        """Yield the written keys from one on, in order; with ``reverse``, from there down."""

    def rows_estimate(self) -> int:
        """Return the approximate number of written rows."""

    def view(self) -> "TableView":
        """Return an immutable view of the rows written so far."""


class TableView(Protocol):
    """A table as it was at one moment."""

    def scan(self, first: bytes, *, reverse: bool = False) -> Iterator[Row]:
        """Yield the rows of the view from a key on, in order; with ``reverse``, from there down."""


class Database(Protocol):
    """Tables that are written together: all changes between two writes are one batch."""

    def table(self, name: str) -> SortedTable:
        """Return the table with this name."""

    def write(self, *, sync: bool) -> None:
        """Write all changes since the last call as one atomic batch.

        A crash may undo batches that no ``sync`` followed, the latest first. It never leaves a part
        of a batch, nor a batch without its predecessors.
        """
