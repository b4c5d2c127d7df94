"""MemoryTable: a table of the state machine as a dict."""


class MemoryTable(dict[bytes, bytes]):
    """A table that lives as long as the process."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""
        self[key] = value

    def delete(self, key: bytes) -> None:
        """Forget the key, if it is there."""
        self.pop(key, None)
