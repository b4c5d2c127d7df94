"""AsyncCoordinator: performs the procedures of recipes by an asyncio client."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from protocol.client.held_lease import HeldLease
from protocol.coordination.procedure import (
    AwaitChange,
    Commit,
    Entries,
    Procedure,
    ReadEntries,
    ReturnT,
    Step,
)
from protocol.coordination.queue import Claim, QueueKeys, take
from skiff import reads, writes
from skiff.arguments import Timeout, seconds_of
from skiff.async_lease import AsyncLease
from skiff.errors import Compacted, RequestTimeout, SkiffError
from skiff.method import Method
from skiff.recipes.coordinator import LEAVE_SECONDS, LOOK_SECONDS, LeaseLost
from skiff.recipes.lease_pool import LeasePool
from skiff.recipes.time_limits import NotFree, TimeLimits, time_limits_of
from skiff.recipes.turn import Contest, Turn, this_process
from skiff.records import EventKind
from skiff.steady import steady_seconds

if TYPE_CHECKING:
    from skiff.async_client import AsyncClient

Run = Callable[[Method[Any], Timeout], Coroutine[Any, Any, Any]]
Keep = Callable[[HeldLease], AsyncLease]


class AsyncCoordinator:
    """The part of an asyncio client that its recipes share."""

    def __init__(
        self, client: "AsyncClient", run: Run, keep: Keep, request_seconds: float | None
    ) -> None:
        """Perform procedures by a client; see ``Coordinator``."""
        self.client = client
        self.run = run
        self._keep = keep
        self._request_seconds = request_seconds
        self._idle: LeasePool = LeasePool()

    # --- turns

    async def take_turn(
        self, contest: Contest, value: bytes, timeout: float | None
    ) -> Turn[AsyncLease]:
        """Wait for a turn in a line; see ``Coordinator.take_turn``."""
        limits = self.time_limits(timeout)
        while True:
            turn = await self._contend(contest, value, limits)
            if turn is not None:
                return turn

    async def end_turn(self, turn: Turn[AsyncLease], timeout: Timeout) -> bool:
        """Leave the line; return whether the turn had lasted until now."""
        if not turn.lease.remaining:
            turn.lease.abandon()
            return False
        return await turn.lease.finish(self._leave(turn.key, turn.lease, timeout))

    async def _contend(
        self, contest: Contest, value: bytes, limits: TimeLimits
    ) -> Turn[AsyncLease] | None:
        """Contend once; return None if the lease or the key was lost meanwhile."""
        lease = await self._take_lease(contest.ttl, limits)
        key = contest.new_key()
        try:
            procedure = contest.join(key, value, lease.id)
            token = await self.perform(procedure, limits, lease.lost)
        except LeaseLost:
            token = None
        except BaseException:
            await lease.finish(self._leave(key, lease, LEAVE_SECONDS))
            raise
        if token is not None and lease.remaining:
            return Turn(key, token, lease)
        lease.abandon()
        return None

    async def take_item(
        self, keys: QueueKeys, ttl: float, timeout: float | None
    ) -> tuple[Claim, AsyncLease]:
        """Claim the first free item of a queue; see ``Coordinator.take_item``."""
        limits = self.time_limits(timeout).with_last_look
        while True:
            lease = await self._take_lease(ttl, limits)
            try:
                procedure = take(keys, this_process(), lease.id)
                claim = await self.perform(procedure, limits, lease.lost)
            except LeaseLost:
                claim = None
            except RequestTimeout:
                self.give_back(lease)
                raise
            except BaseException:
                lease.abandon()
                raise
            if claim is not None and lease.remaining:
                return claim, lease
            lease.abandon()

    def give_back(self, lease: AsyncLease) -> None:
        """Keep a lease without keys for the next holder, or let it expire."""
        self._idle.put(lease.detach())

    async def _take_lease(self, ttl: float, limits: TimeLimits) -> AsyncLease:
        held = self._idle.take(ttl, steady_seconds())
        if held is not None:
            return self._keep(held)
        return await self.client.lease(ttl, timeout=limits.request_seconds(_now()))

    async def _leave(self, key: str, lease: AsyncLease, seconds: Timeout) -> bool:
        """Remove a contender's key; return whether it was there, as far as is known.

        Where it was not, it may yet come: so the lease is ended. Where that is unknown, the lease
        expires, and the key with it.
        """
        existed = True
        try:
            existed = bool(await lease.perform(writes.remove(key, None), seconds))
            if not existed:
                await lease.revoke(timeout=LEAVE_SECONDS)
        except SkiffError:
            lease.abandon()
        except BaseException:
            lease.abandon()
            raise
        else:
            if existed:
                self.give_back(lease)
        return existed

    # --- procedures

    def request_limits(self, timeout: Timeout) -> TimeLimits:
        """Return the time limits of requests; see ``Coordinator.request_limits``."""
        return time_limits_of(0, seconds_of(timeout, self._request_seconds), _now())

    def time_limits(self, timeout: float | None) -> TimeLimits:
        """Return the time limits of a timeout that begins now; see ``Coordinator.time_limits``."""
        return time_limits_of(timeout, self._request_seconds, _now())

    async def perform(
        self, procedure: Procedure[ReturnT], limits: TimeLimits, lost: asyncio.Event | None = None
    ) -> ReturnT:
        """Perform a procedure; return its result; see ``Coordinator.perform``."""
        try:
            step = next(procedure)
            while True:
                step = procedure.send(await self._perform_step(step, limits, lost))
        except StopIteration as stop:
            result: ReturnT = stop.value
            return result

    async def _perform_step(
        self, step: Step, limits: TimeLimits, lost: asyncio.Event | None
    ) -> object:
        seconds = limits.request_seconds(_now())
        match step:
            case Commit(command=command):
                return await self.run(writes.commit(command), seconds)
            case ReadEntries(prefix=prefix, enough=enough):
                read = await self.run(reads.entries(prefix, enough), seconds)
                return Entries(read.revision, tuple(read.scanned))
            case AwaitChange():
                await self._await_change(step, limits, lost)
                return None

    async def _await_change(
        self, step: AwaitChange, limits: TimeLimits, lost: asyncio.Event | None
    ) -> None:
        if _now() >= limits.waits:
            raise NotFree("it was not free")
        seconds = limits.request_seconds(_now())
        try:
            async with await self.client.watch(
                step.prefix, type=msgspec.Raw, since=step.since, timeout=seconds
            ) as changes:
                while True:
                    if lost is not None and lost.is_set():
                        raise LeaseLost
                    left = limits.waits - _now()
                    try:
                        change = await changes.next_event(max(0.0, min(left, LOOK_SECONDS)))
                    except RequestTimeout:
                        if limits.ends_wait(_now()):
                            return  # the procedure reads the entries once more
                        continue
                    is_removed = change.kind in (EventKind.REMOVE, EventKind.EXPIRE)
                    if step.ends_with(change.key, is_removed):
                        return
        except Compacted:
            return  # the procedure reads the entries again


def _now() -> float:
    return asyncio.get_running_loop().time()
