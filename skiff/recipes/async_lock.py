"""AsyncLock: at most one holder at a time, for an asyncio client; see ``lock``."""

from skiff.recipes.async_holder import AsyncHolder


class AsyncLock(AsyncHolder):
    """A lock of an asyncio client; ``async with`` acquires and releases it. It is not reentrant.

    When the lock is lost, the ``async with`` block is cancelled, and ends with ``LockLost``.
    """
