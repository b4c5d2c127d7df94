"""Counter: an integer of 64 bits that many change at once, each change exactly once."""

from skiff.arguments import CLIENT_DEFAULT, Timeout, check_increment, check_key
from skiff.bound import BoundToProcess
from skiff.recipes.coordinator import Coordinator


class Counter(BoundToProcess):
    """A counter of a blocking client; its value is that of a key, 0 if it is absent."""

    def __init__(self, coordinator: Coordinator, name: str) -> None:
        """Name the key; see ``Client.counter``."""
        self._client = coordinator.client
        self._key = check_key(name)

    def __repr__(self) -> str:
        return f"<Counter {self._key!r} of {self._client!r}>"

    def value(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Return the value.

        Raises:
            DeserializeFailed: the key holds no integer.
            RequestTimeout: the deadline passed.
        """
        return self._client.get(self._key, int, default=0, timeout=timeout)

    def increment(self, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Add to the value and return the sum; see ``Client.increment`` for the errors."""
        return self._client.increment(self._key, by, timeout=timeout)

    def decrement(self, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Subtract from the value and return the rest; see ``Client.increment`` for the errors."""
        check_increment(by)
        return self._client.increment(self._key, -by, timeout=timeout)
