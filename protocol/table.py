"""The sorted bytes-to-bytes mappings that a node's state lives in, and what holds them together."""

from collections.abc import Iterable, Iterator
from typing import Protocol

Row = tuple[bytes, bytes]


class Table(Protocol):
    """What the state machine needs of a table: a column family on disk, or a dict."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value, seeing what was put and is not written yet."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""

    def delete(self, key: bytes) -> None:
        """Forget the key, if it is there."""


class SortedTable(Table, Protocol):
    """A table that can be walked through; walks see what is written, not what is pending."""

    def delete_range(self, first: bytes, end: bytes) -> None:
        """Forget all keys from the first up to, but not including, the end."""

    def scan(self, first: bytes) -> Iterable[Row]:
        """Yield what is written, from a key on, in the order of the keys."""

    def keys(self, first: bytes) -> Iterable[bytes]:
        """Yield the keys that are written, from one on, in their order."""

    def rows_estimate(self) -> int:
        """Return about how many rows are written."""

    def view(self) -> "TableView":
        """Return the table as it is written now, whatever is written later."""


class TableView(Protocol):
    """A table as it was at one moment."""

    def scan(self, first: bytes) -> Iterator[Row]:
        """Yield what was there, from a key on, in the order of the keys."""


class Database(Protocol):
    """Tables that are written together: what is put between two writes is one batch."""

    def table(self, name: str) -> SortedTable:
        """Return a table by its name."""

    def write(self, *, sync: bool) -> None:
        """Write all that was put and deleted since the last call, in one step.

        A crash may take back what was written without ``sync``, the latest first; it never
        leaves a part of a batch, nor a batch without those before it.
        """
