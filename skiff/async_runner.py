"""AsyncRunner: the base of an asyncio client's methods, which performs them."""

from abc import ABC, abstractmethod

from skiff.arguments import Timeout
from skiff.method import Method, ReturnT


class AsyncRunner(ABC):
    """An asyncio client, as its methods on one subject see it."""

    @abstractmethod
    async def _run(self, method: Method[ReturnT], timeout: Timeout) -> ReturnT:
        """Return the result of a method; the timeout holds for each of its requests."""
