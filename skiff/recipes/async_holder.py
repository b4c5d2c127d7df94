"""AsyncHolder: a contender of a line for one event loop."""

import asyncio
import os
from types import TracebackType
from typing import Self

from skiff.arguments import check_wait
from skiff.async_lease import AsyncLease
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.errors import LockLost, LockMisused, LockTimeout
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.block_guard import BlockGuard
from skiff.recipes.holder import Holder
from skiff.recipes.turn import LATE, NOT_HELD, WAS_LOST, Contest, Turn, late, this_process
from skiff.records import Fence


@described_by(Holder)
class AsyncHolder(BoundToProcess):
    """One contender; each task uses one of its own.

    An ``async with`` block is cancelled when the turn is lost, and ends with ``LockLost``.
    """

    def __init__(self, coordinator: AsyncCoordinator, contest: Contest) -> None:
        """Contend by the client of a coordinator; see ``Holder``."""
        self._coordinator = coordinator
        self._contest = contest.check()
        self._in_use = False
        self._pid = os.getpid()
        self._turn: Turn[AsyncLease] | None = None
        self._lost = asyncio.Event()
        self._guard: BlockGuard | None = None  # of the present block

    def __repr__(self) -> str:
        state = f"held with token {self._turn.token}" if self._turn is not None else "not held"
        return f"<{type(self).__name__} of {self._contest.described}, {state}>"

    @property
    def is_held(self) -> bool:
        """Whether this process holds it, and can count on that now."""
        turn = self._turn
        return turn is not None and self._pid == os.getpid() and turn.lease.remaining > 0

    @property
    def token(self) -> int:
        """The fencing token; see ``Holder.token``."""
        return self._held().token

    @property
    def fence(self) -> Fence:
        """The key and the token, for fenced writes; see ``Holder.fence``."""
        return self._held().fence

    @property
    def remaining(self) -> float:
        """The seconds for which it is certainly held, unless it is kept alive; 0 if it is not."""
        return self._turn.lease.remaining if self._turn is not None and self.is_held else 0.0

    @property
    def lost(self) -> asyncio.Event:
        """The event that is set once the present turn, or the last one, can not be counted on."""
        return self._lost

    async def acquire(self, *, timeout: float | None = None) -> None:
        """Wait for the turn, ``timeout`` seconds at most; see ``Holder.acquire``."""
        await self._acquire(this_process(), timeout)

    async def release(self) -> None:
        """End the turn; the next contender has it at once; see ``Holder.release``."""
        if not await self._end():
            raise LockLost(f"{self._contest.described} {WAS_LOST}")

    async def __aenter__(self) -> Self:
        await self.acquire()
        self._guard = BlockGuard(self._lost)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        guard, self._guard = self._guard, None
        assert guard is not None
        was_cancelled = guard.end(error)
        if self._turn is None or self._pid != os.getpid():
            return  # released within the block, or left by a forked child
        lasted = await self._end()
        if was_cancelled or (not lasted and kind is None):
            raise LockLost(f"{self._contest.described} {WAS_LOST}") from error

    # ---

    async def _acquire(self, value: bytes, timeout: float | None) -> None:
        seconds = self._contest.timeout if timeout is None else timeout
        check_wait(seconds)
        if self._in_use and self._pid == os.getpid():
            raise LockMisused(
                f"{self._contest.described} is held or being acquired by this object already; "
                "each task, and each nested block, needs a lock object of its own"
            )
        self._in_use, self._pid, self._turn = True, os.getpid(), None
        try:
            turn = await self._coordinator.take_turn(self._contest, value, seconds)
        except BaseException as error:
            self._in_use = False
            if isinstance(error, LATE):
                raise LockTimeout(late(self._contest.not_yet, seconds)) from error
            raise
        self._lost = turn.lease.lost
        self._turn = turn

    async def _rewrite(self, value: object) -> None:
        """Write another value to the contender's key."""
        turn = self._held()
        await self._coordinator.client.insert(turn.key, value, lease=turn.lease, fence=turn.fence)

    async def _end(self) -> bool:
        """End the turn; return whether it has lasted until now."""
        turn = self._held()
        self._turn = None
        try:
            return await self._coordinator.end_turn(turn)
        finally:
            self._in_use = False

    def _held(self) -> Turn[AsyncLease]:
        turn = self._turn
        if turn is None:
            raise LockMisused(f"{self._contest.described} {NOT_HELD}")
        if self._pid != os.getpid():
            raise LockMisused(f"{self._contest.described} is held by the parent of this process")
        return turn
