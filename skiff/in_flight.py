"""In-flight limit: how many calls of an asyncio client may be in flight; further ones queue."""

import asyncio
from collections import OrderedDict

from protocol.deadlines import NEVER
from skiff.errors import RequestTimeout

TOO_MANY = "too many calls were in flight until the deadline; nothing was sent"


class InFlightLimit:
    """Slots for calls, granted to the waiting ones in their order. Used by one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    @property
    def has_room(self) -> bool:
        """Whether a slot can be taken without waiting."""
        return self._free > 0

    def take(self) -> None:
        """Take a slot at once, in excess if none is free: later calls wait the longer."""
        self._free -= 1

    async def wait(self, deadline: float) -> None:
        """Wait for a slot, and take it; the deadline is in seconds of the loop's clock.

        Raises:
            RequestTimeout: none became free in time.
        """
        if self.has_room:
            self.take()
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue[given] = None
        try:
            async with asyncio.timeout_at(None if deadline == NEVER else deadline):
                await given
        except BaseException as error:
            if given.done() and not given.cancelled():
                self.leave()  # it was granted one just as it ended
            self._queue.pop(given, None)
            if isinstance(error, TimeoutError):
                raise RequestTimeout(TOO_MANY) from None
            raise

    def leave(self) -> None:
        """Give up a slot: the first call that still waits gets it, unless it was in excess."""
        self._free += 1
        while self._free > 0 and self._queue:
            given, _ = self._queue.popitem(last=False)
            if not given.done() and not given.get_loop().is_closed():
                self._free -= 1
                given.set_result(None)
