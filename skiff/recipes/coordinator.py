"""Coordinator: performs the procedures of recipes by a blocking client."""

import os
import time
from collections.abc import Callable
from threading import Event as Signal
from threading import RLock
from typing import TYPE_CHECKING, Any

import msgspec

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
from skiff import leasing, reads, writes
from skiff.arguments import Timeout, seconds_of
from skiff.errors import Compacted, RequestTimeout, SkiffError
from skiff.lease import Lease, LeaseKeeper
from skiff.method import Method
from skiff.recipes.lease_pool import LeasePool
from skiff.recipes.time_limits import NotFree, TimeLimits, time_limits_of
from skiff.recipes.turn import Contest, Turn, this_process
from skiff.records import EventKind
from skiff.steady import steady_seconds

if TYPE_CHECKING:
    from skiff.client import Client

LEAVE_SECONDS = 1.0  # for the removal of a contender's key; else its lease expires
LOOK_SECONDS = 0.5  # between two looks at whether the lease is lost

Run = Callable[[Method[Any], Timeout], Any]


class LeaseLost(Exception):
    """The lease of a contender that waits is lost."""


class Coordinator:
    """The part of a blocking client that its recipes share; threads may share it."""

    def __init__(
        self, client: "Client", run: Run, keeper: LeaseKeeper, request_seconds: float | None
    ) -> None:
        """Perform procedures by a client, by ``run`` its methods, with leases of its keeper.

        They end with the objects that hold them, as an interrupt may leave one that has no holder.
        ``request_seconds`` is the default timeout of its requests.
        """
        self.client = client
        self.run = run
        self._keeper = keeper
        self._request_seconds = request_seconds
        self._begin()

    def _begin(self) -> None:
        """Have no leases, as in a forked child: they are its parent's."""
        self._mutex = RLock()
        self._idle: LeasePool = LeasePool()
        self._pid = os.getpid()  # last, as other threads of the child look at it

    # --- turns

    def take_turn(self, contest: Contest, value: bytes, timeout: float | None) -> Turn[Lease]:
        """Wait for a turn in a line, with a lease that is kept alive.

        Raises:
            RequestTimeout: there was none in time; the contender has left the line, or its lease
                expires.
            OutcomeUnknown: likewise.
        """
        limits = self.time_limits(timeout)
        while True:
            turn = self._contend(contest, value, limits)
            if turn is not None:
                return turn

    def keep_for_good(self, turn: Turn[Lease]) -> None:
        """Keep a turn's lease alive until the turn is ended, even if its holder is dropped."""
        self._keeper.disown(turn.lease)

    def keep_for_holder(self, turn: Turn[Lease]) -> None:
        """Keep a turn's lease alive only as long as something refers to it."""
        self._keeper.own(turn.lease)

    def end_turn(self, turn: Turn[Lease], timeout: Timeout) -> bool:
        """Leave the line; return whether the turn had lasted until now."""
        if not turn.lease.remaining:
            turn.lease.abandon()
            return False
        return self._leave(turn.key, turn.lease, timeout)

    def _contend(self, contest: Contest, value: bytes, limits: TimeLimits) -> Turn[Lease] | None:
        """Contend once; return None if the lease or the key was lost meanwhile."""
        lease = self._take_lease(contest.ttl, limits)
        key = contest.new_key()
        try:
            token = self.perform(contest.join(key, value, lease.id), limits, lease.lost)
            if token is not None and lease.remaining:
                return Turn(key, token, lease)
        except LeaseLost:
            pass
        except BaseException:
            self._leave(key, lease, LEAVE_SECONDS)
            raise
        lease.abandon()
        return None

    def take_item(self, keys: QueueKeys, ttl: float, timeout: float | None) -> tuple[Claim, Lease]:
        """Claim the first free item of a queue, with a lease that is kept alive.

        Raises:
            NotFree: there was none in time.
            RequestTimeout: no node answered in time.
            OutcomeUnknown: likewise; one may have been claimed, and becomes free again.
        """
        limits = self.time_limits(timeout).with_last_look
        while True:
            lease = self._take_lease(ttl, limits)
            try:
                claim = self.perform(take(keys, this_process(), lease.id), limits, lease.lost)
                if claim is not None and lease.remaining:
                    return claim, lease
            except LeaseLost:
                pass
            except RequestTimeout:
                self.give_back(lease)
                raise
            except BaseException:
                lease.abandon()
                raise
            lease.abandon()

    def give_back(self, lease: Lease) -> None:
        """Keep a lease without keys for the next holder, or let it expire."""
        with self._mutex:
            self._idle.put(lease.detach())

    def _leave(self, key: str, lease: Lease, seconds: Timeout) -> bool:
        """Remove a contender's key; return whether it was there, as far as is known.

        Where it was not, it may yet come: so the lease is ended. Where that is unknown, the lease
        expires, and the key with it.
        """
        existed = True
        try:
            existed = self.client.remove(key, timeout=seconds)
            if not existed:
                lease.revoke(timeout=LEAVE_SECONDS)
        except SkiffError:
            lease.abandon()
        except BaseException:
            lease.abandon()
            raise
        else:
            if existed:
                self.give_back(lease)
        return existed

    def _take_lease(self, ttl: float, limits: TimeLimits) -> Lease:
        if self._pid != os.getpid():
            self._begin()
        with self._mutex:
            held = self._idle.take(ttl, steady_seconds())
        if held is None:
            held = self.run(leasing.grant(ttl), limits.request_seconds(time.monotonic()))
        return self._keeper.add_owned(held)

    # --- procedures

    def request_limits(self, timeout: Timeout) -> TimeLimits:
        """Return the time limits of requests alone: no change is awaited."""
        return time_limits_of(0, seconds_of(timeout, self._request_seconds), time.monotonic())

    def time_limits(self, timeout: float | None) -> TimeLimits:
        """Return the time limits of a timeout that begins now; with 0, no change is awaited."""
        return time_limits_of(timeout, self._request_seconds, time.monotonic())

    def perform(
        self, procedure: Procedure[ReturnT], limits: TimeLimits, lost: Signal | None = None
    ) -> ReturnT:
        """Perform a procedure; return its result.

        Raises:
            RequestTimeout: a request or a wait was not over in time.
            LeaseLost: ``lost`` was set during a wait.
        """
        try:
            step = next(procedure)
            while True:
                step = procedure.send(self._perform_step(step, limits, lost))
        except StopIteration as stop:
            result: ReturnT = stop.value
            return result

    def _perform_step(self, step: Step, limits: TimeLimits, lost: Signal | None) -> object:
        seconds = limits.request_seconds(time.monotonic())
        match step:
            case Commit(command=command):
                return self.run(writes.commit(command), seconds)
            case ReadEntries(prefix=prefix, enough=enough):
                read = self.run(reads.entries(prefix, enough), seconds)
                return Entries(read.revision, tuple(read.scanned))
            case AwaitChange():
                self._await_change(step, limits, lost)
                return None

    def _await_change(self, step: AwaitChange, limits: TimeLimits, lost: Signal | None) -> None:
        if time.monotonic() >= limits.waits:
            raise NotFree("it was not free")
        seconds = limits.request_seconds(time.monotonic())
        try:
            with self.client.watch(
                step.prefix, type=msgspec.Raw, since=step.since, timeout=seconds
            ) as changes:
                while True:
                    if lost is not None and lost.is_set():
                        raise LeaseLost
                    left = limits.waits - time.monotonic()
                    try:
                        change = changes.next_event(timeout=max(0.0, min(left, LOOK_SECONDS)))
                    except RequestTimeout:
                        if limits.ends_wait(time.monotonic()):
                            return  # the procedure reads the entries once more
                        continue
                    is_removed = change.kind in (EventKind.REMOVE, EventKind.EXPIRE)
                    if step.ends_with(change.key, is_removed):
                        return
        except Compacted:
            return  # the procedure reads the entries again
