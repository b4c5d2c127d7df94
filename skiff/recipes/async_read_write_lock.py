"""AsyncReadWriteLock: many readers or one writer, on asyncio; see ``read_write_lock``."""

from skiff.bound import BoundToProcess
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.async_holder import AsyncHolder
from skiff.recipes.read_write_lock import Sides


class AsyncReadLock(AsyncHolder):
    """The side of a reader; ``async with`` acquires and releases it. It is not reentrant."""


class AsyncWriteLock(AsyncHolder):
    """The side of a writer; ``async with`` acquires and releases it. It is not reentrant."""


class AsyncReadWriteLock(BoundToProcess):
    """A read/write lock of an asyncio client."""

    def __init__(
        self, coordinator: AsyncCoordinator, name: str, ttl: float, timeout: float | None
    ) -> None:
        """Name the lock; see ``Client.read_write_lock``."""
        self._coordinator = coordinator
        self._contests = Sides(name, ttl, timeout)

    def __repr__(self) -> str:
        return (
            f"<AsyncReadWriteLock {self._contests.reader.name!r} of {self._coordinator.client!r}>"
        )

    def read_lock(self) -> AsyncReadLock:
        """Return one more reader."""
        return AsyncReadLock(self._coordinator, self._contests.reader)

    def write_lock(self) -> AsyncWriteLock:
        """Return one more writer."""
        return AsyncWriteLock(self._coordinator, self._contests.writer)
