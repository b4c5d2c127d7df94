"""BlockGuard: cancels the block of a task when an event is set."""

import asyncio


class BlockGuard:
    """The guard of the block that the present task has entered, as ``asyncio.timeout`` is one."""

    def __init__(self, lost: asyncio.Event) -> None:
        """Begin to wait for the event."""
        task = asyncio.current_task()
        assert task is not None
        self._block = task
        self._cancels_before = task.cancelling()
        self._has_cancelled = False
        self._lost = lost
        self._waiting = asyncio.create_task(self._wait(), name="skiff guard")

    def end(self, error: BaseException | None) -> bool:
        """End with the block; return whether its ``error`` is the cancellation by this guard."""
        self._waiting.cancel()
        if not self._has_cancelled:
            return False
        others = self._block.uncancel() > self._cancels_before
        return isinstance(error, asyncio.CancelledError) and not others

    async def _wait(self) -> None:
        await self._lost.wait()
        self._has_cancelled = True
        self._block.cancel()
