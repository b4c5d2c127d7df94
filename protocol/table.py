"""The sorted bytes-to-bytes mapping that the state machine lives in."""

from typing import Protocol


class Table(Protocol):
    """A column family in the storage writer, a dict in a simulation."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value, seeing what was put before in the same turn."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""

    def delete(self, key: bytes) -> None:
        """Forget the key, if it is there."""


class MemoryTable(dict[bytes, bytes]):
    """A table that lives as long as the process."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""
        self[key] = value

    def delete(self, key: bytes) -> None:
        """Forget the key, if it is there."""
        self.pop(key, None)
