"""AsyncCounter: an integer that many change at once, for an asyncio client; see ``counter``."""

from skiff.arguments import CLIENT_DEFAULT, Timeout, check_increment, check_key
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.counter import Counter


@described_by(Counter)
class AsyncCounter(BoundToProcess):
    """A counter of an asyncio client; its value is that of a key, 0 if it is absent."""

    def __init__(self, coordinator: AsyncCoordinator, name: str) -> None:
        """Name the key; see ``Client.counter``."""
        self._client = coordinator.client
        self._key = check_key(name)

    def __repr__(self) -> str:
        return f"<AsyncCounter {self._key!r} of {self._client!r}>"

    async def value(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Return the value; see ``Counter.value``."""
        return await self._client.get(self._key, int, default=0, timeout=timeout)

    async def increment(self, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Add to the value and return the sum; see ``Client.increment`` for the errors."""
        return await self._client.increment(self._key, by, timeout=timeout)

    async def decrement(self, by: int = 1, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Subtract from the value and return the rest; see ``Client.increment`` for the errors."""
        check_increment(by)
        return await self._client.increment(self._key, -by, timeout=timeout)
