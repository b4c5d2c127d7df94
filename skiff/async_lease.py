"""AsyncLease: a lease of an asyncio client, kept alive by a task."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from protocol.client.held_lease import HeldLease
from protocol.client.lease_keeping import LeaseKeeping
from protocol.deadlines import NEVER
from skiff import leasing
from skiff.arguments import CLIENT_DEFAULT, Timeout, seconds_of
from skiff.descriptions import described_by
from skiff.errors import LeaseExpired, SkiffError
from skiff.lease import Lease
from skiff.lease_handle import LeaseHandle
from skiff.method import Method
from skiff.releases import Releases
from skiff.steady import steady_seconds

ReturnT = TypeVar("ReturnT")

Run = Callable[[Method[object], Timeout], Coroutine[Any, Any, object]]


@described_by(Lease)
class AsyncLease(LeaseHandle):
    """A lease, kept alive in the background until it is revoked or its client is closed.

    Its keys are removed with it. ``lost`` is set once this client can no longer count on it: it has
    ended, or no keep-alive was confirmed in time. Leaving an ``async with`` block revokes it.
    """

    def __init__(self, held: HeldLease, keeper: "AsyncLeaseKeeper") -> None:
        """Wrap a lease that a keeper keeps alive."""
        super().__init__(held)
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()

    async def keep_alive(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Keep the lease alive now, besides the background; see ``Lease.keep_alive``."""
        self._check_process()
        try:
            await self.perform(leasing.keep_one_alive(self._held), timeout)
        except LeaseExpired:
            self._drop()
            raise

    async def revoke(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """End the lease and remove its keys; return their number; see ``Lease.revoke``."""
        self._check_process()
        seconds_of(timeout, None)
        self._drop()
        count = await self.finish(self.perform(leasing.revoke(self._held), timeout))
        assert isinstance(count, int)
        return count

    async def perform(self, method: Method[object], timeout: Timeout) -> object:
        """Return the result of a method on the lease, which does not queue behind other calls."""
        return await self._keeper.run(method, timeout)

    async def finish(self, release: Coroutine[Any, Any, ReturnT]) -> ReturnT:
        """Give up what was held with this lease; see ``Releases.finish``."""
        return await self._keeper.releases.finish(release)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_inherited:
            return  # a forked child leaves the block of its parent
        with suppress(SkiffError):  # it expires otherwise
            await self.revoke()

    def note_lost(self) -> None:
        """Set ``lost``; its waiting tasks go on, unless their loop is closed."""
        try:
            self.lost.set()
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _drop(self) -> None:
        self._keeper.drop(self)
        self.note_lost()


class AsyncLeaseKeeper:
    """Keeps the leases of one client alive, by a task that runs while there are any."""

    def __init__(self, run: Run) -> None:
        """Perform methods by ``run``, which does not queue them behind other calls.

        Else a busy client would lose leases, though it and its cluster are well. One request keeps
        all leases alive; besides, there are few for each lease: to keep, release or revoke it.
        """
        self.run = run
        self.releases = Releases()
        self._keeping = LeaseKeeping()
        self._leases: dict[int, AsyncLease] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._looks_at = -NEVER  # when the task will look at the leases, by the steady clock

    def add(self, held: HeldLease) -> AsyncLease:
        """Keep a lease alive."""
        lease = self._leases[held.id] = AsyncLease(held, self)
        self._keeping.add(held, steady_seconds())
        if self._task is None or self._task.done():  # its end may not be noted yet
            self._task = asyncio.create_task(self._work(), name="skiff leases")
            self._task.add_done_callback(self._end)
        if self._keeping.next_deadline() < self._looks_at:
            self._changed.set()
        return lease

    def drop(self, lease: AsyncLease) -> None:
        """Keep a lease alive no longer."""
        self._keeping.drop(lease.id)
        self._leases.pop(lease.id, None)
        if not self._keeping:
            self._changed.set()

    def close(self) -> None:
        """Keep no lease alive any more."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()
        self._lose(self._keeping.take_all())

    async def closed(self) -> None:
        """Wait for the end of the task, after ``close``."""
        task = self._task
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([task])

    async def _work(self) -> None:
        while self._keeping:
            now = steady_seconds()
            self._lose(self._keeping.take_lost(now))
            if due := self._keeping.take_due(now):
                await self._keep_alive(due, now)
            else:
                await self._wait(now, self._keeping.next_deadline())

    def _end(self, task: asyncio.Task[None]) -> None:
        """Note the end of a task; leases are left if it was cancelled, or has failed."""
        if task is self._task:
            self._task = None
            self._lose(self._keeping.take_all())

    async def _wait(self, now: float, deadline: float) -> None:
        """Wait for a deadline, or an earlier one, or the end of the last lease."""
        self._changed.clear()
        self._looks_at = deadline
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), deadline - now)
        finally:
            self._looks_at = -NEVER

    async def _keep_alive(self, leases: tuple[int, ...], since: float) -> None:
        try:
            ttls_ms = await self.run(leasing.keep_alive(leases), self._keeping.reply_timeout(since))
        except SkiffError:
            return  # it is repeated until the lease is lost
        assert isinstance(ttls_ms, tuple)
        self._keeping.answered(leases, ttls_ms, since)

    def _lose(self, lost: Iterable[HeldLease]) -> None:
        for held in lost:
            held.lose()
            lease = self._leases.pop(held.id, None)
            if lease is not None:
                lease.note_lost()
