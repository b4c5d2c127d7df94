"""AsyncDoubleBarrier: parties begin and end together, on asyncio; see ``double_barrier``."""

from types import TracebackType

from protocol.coordination.barrier import await_absence, look
from skiff.arguments import check_wait
from skiff.descriptions import described_by
from skiff.errors import LockTimeout
from skiff.recipes.async_holder import AsyncHolder
from skiff.recipes.double_barrier import DoubleBarrier
from skiff.recipes.turn import LATE, late


@described_by(DoubleBarrier)
class AsyncDoubleBarrier(AsyncHolder):
    """One party of a double barrier; ``async with`` enters and leaves it."""

    async def enter(self, *, timeout: float | None = None) -> None:
        """Wait until all parties are there; see ``acquire`` for the errors."""
        await self.acquire(timeout=timeout)

    async def leave(self, *, timeout: float | None = None) -> None:
        """Leave, and wait until all parties have; see ``DoubleBarrier.leave``."""
        check_wait(timeout)
        coordinator, prefix = self._coordinator, self._contest.line.prefix
        limits = coordinator.time_limits(timeout)
        self._held()
        try:
            try:
                before = await coordinator.perform(look(prefix), limits)
            finally:
                lasted = await self._end()
            if lasted:
                await coordinator.perform(await_absence(prefix, before), limits)
        except LATE as error:
            raise LockTimeout(late(f"{self._contest.described} was not empty", timeout)) from error
        if not lasted:
            raise self._was_lost()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None or self._turn is None:
            await super().__aexit__(kind, error, traceback)
        else:
            self._end_guard(None)
            await self.leave(timeout=self._contest.timeout)
