"""MemoryTable: a table of the state machine as a dict."""


class MemoryTable(dict[bytes, bytes]):
    """A table in memory."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""
        self[key] = value

    def delete(self, key: bytes) -> None:
        """Delete the key, if it exists."""
        self.pop(key, None)

    def keys_under(self, prefix: bytes, first: bytes, count_max: int) -> list[bytes]:
        """Return the keys with a prefix from ``first`` on, in order."""
        under = [key for key in self if key >= first and key.startswith(prefix)]
        return sorted(under)[:count_max]
