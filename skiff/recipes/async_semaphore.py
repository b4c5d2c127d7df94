"""AsyncSemaphore: at most ``slots`` holders at a time, for an asyncio client; see ``semaphore``."""

from skiff.recipes.async_holder import AsyncHolder


class AsyncSemaphore(AsyncHolder):
    """One slot of a semaphore of an asyncio client; ``async with`` acquires and releases it."""
