"""MemoryTable: a table of the state machine as a dict."""


class MemoryTable(dict[bytes, bytes]):
    """A table in memory."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""
        self[key] = value

    def delete(self, key: bytes) -> None:
        """Delete the key, if it exists."""
        self.pop(key, None)
