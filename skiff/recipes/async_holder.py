"""AsyncHolder: a contender of a line for one event loop."""

import asyncio
import os
from types import TracebackType
from typing import Self

from skiff.arguments import CLIENT_DEFAULT, Timeout, check_wait, seconds_of
from skiff.async_lease import AsyncLease
from skiff.descriptions import described_by
from skiff.errors import LockTimeout
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.block_guard import BlockGuard
from skiff.recipes.holder import Holder
from skiff.recipes.turn import LATE, Contest, late, this_process
from skiff.recipes.turn_holder import TurnHolder


@described_by(Holder)
class AsyncHolder(TurnHolder[AsyncLease]):
    """One contender; each task uses one of its own.

    An ``async with`` block is cancelled when the turn is lost, and ends with ``LockLost``.
    """

    def __init__(self, coordinator: AsyncCoordinator, contest: Contest) -> None:
        """Contend by the client of a coordinator; see ``Holder``."""
        super().__init__(contest)
        self._coordinator = coordinator
        self._in_use = False
        self._pid = os.getpid()
        self._lost = asyncio.Event()
        self._guard: BlockGuard | None = None  # of the present block

    @property
    def lost(self) -> asyncio.Event:
        """The event that is set once the present turn, or the last one, can not be counted on."""
        return self._lost

    async def acquire(self, *, timeout: float | None = None) -> None:
        """Wait for the turn, ``timeout`` seconds at most; see ``Holder.acquire``."""
        await self._acquire(this_process(), timeout)

    async def release(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """End the turn; the next contender has it at once; see ``Holder.release``."""
        if not await self._end(timeout):
            raise self._was_lost()

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self._begin_block()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        was_cancelled = self._end_guard(error)
        lasted = True
        if self._turn is not None and self._is_own_process():  # else it was released in the block
            lasted = await self._end()
        if was_cancelled or (not lasted and kind is None):
            raise self._was_lost() from error

    # ---

    def _begin_block(self) -> Self:
        """Begin the block of the turn, which its guard cancels; there is one for each."""
        self._held()
        if self._guard is not None:
            raise self._is_in_use()
        self._guard = BlockGuard(self._lost)
        return self

    async def _acquire(self, value: bytes, timeout: float | None) -> None:
        seconds = self._contest.timeout if timeout is None else timeout
        check_wait(seconds)
        if self._in_use and self._is_own_process():
            raise self._is_in_use()
        self._in_use, self._pid, self._turn, self._guard = True, os.getpid(), None, None
        try:
            turn = await self._coordinator.take_turn(self._contest, value, seconds)
        except BaseException as error:
            self._in_use = False
            if isinstance(error, LATE):
                raise LockTimeout(late(self._contest.not_yet, seconds)) from error
            raise
        self._lost = turn.lease.lost
        self._turn = turn

    async def _rewrite(self, value: object, timeout: Timeout) -> None:
        """Write another value to the contender's key."""
        turn = self._held()
        await self._coordinator.client.insert(
            turn.key, value, lease=turn.lease, fence=turn.fence, timeout=timeout
        )

    async def _end(self, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """End the turn; return whether it has lasted until now."""
        seconds_of(timeout, None)  # checks it before anything is done
        turn = self._held()
        self._turn = None
        self._end_guard(None)  # the end of the turn sets its event, too
        try:
            return await self._coordinator.end_turn(turn, timeout)
        finally:
            self._in_use = False

    def _end_guard(self, error: BaseException | None) -> bool:
        """End the guard of the block; return whether its error is that guard's cancellation."""
        guard, self._guard = self._guard, None
        return guard is not None and guard.end(error)

    def _is_own_process(self) -> bool:
        return self._pid == os.getpid()
