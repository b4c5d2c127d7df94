"""Lease: a lease of a blocking client, kept alive by a thread of that client."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from protocol.client.held_lease import HeldLease
from protocol.client.lease_keeping import LeaseKeeping
from protocol.deadlines import NEVER
from skiff import leasing
from skiff.arguments import CLIENT_DEFAULT, Timeout, seconds_of
from skiff.errors import LeaseExpired, SkiffError
from skiff.lease_handle import LeaseHandle
from skiff.method import Method
from skiff.steady import steady_seconds

WAIT_SECONDS_MAX = 0.5  # between two looks at whether the client is closed

Run = Callable[[Method[object], Timeout], object]


class Lease(LeaseHandle):
    """A lease, kept alive in the background until it is revoked or its client is closed.

    Its keys are removed with it. ``lost`` is set once this client can no longer count on it: it has
    ended, or no keep-alive was confirmed in time. Leaving a ``with`` block revokes it.
    """

    def __init__(self, held: HeldLease, keeper: "LeaseKeeper") -> None:
        """Wrap a lease that a keeper keeps alive."""
        super().__init__(held)
        self._keeper = keeper
        self.lost = threading.Event()

    def keep_alive(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Keep the lease alive now, besides the background.

        Raises:
            LeaseExpired: it has ended, or is lost.
            RequestTimeout: the deadline passed.
        """
        self._check_process()
        try:
            self._keeper.run(leasing.keep_one_alive(self._held), timeout)
        except LeaseExpired:
            self._drop()
            raise

    def revoke(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """End the lease and remove its keys; return their number, 0 if it has ended already.

        Raises:
            InvalidRequest: the timeout is invalid; the lease goes on.
            OutcomeUnknown: the deadline passed; it may have ended, and else expires.
            RequestTimeout: the deadline passed; it expires.
        """
        self._check_process()
        seconds_of(timeout, None)
        self._drop()
        count = self._keeper.run(leasing.revoke(self._held), timeout)
        assert isinstance(count, int)
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_inherited:
            return  # a forked child leaves the block of its parent
        with suppress(SkiffError):  # it expires otherwise
            self.revoke()

    def _drop(self) -> None:
        self._keeper.drop(self)
        self.lost.set()


class LeaseKeeper:
    """Keeps the leases of one client alive, by a thread that runs while there are any."""

    def __init__(
        self, run: Run, disconnect: Callable[[], None], is_closed: Callable[[], bool]
    ) -> None:
        """Perform methods by ``run``; ``disconnect`` the thread once ``is_closed``, or idle."""
        self.run = run
        self._disconnect = disconnect
        self._is_closed = is_closed
        self._begin()

    def _begin(self) -> None:
        """Keep nothing, as in a forked child: the leases are its parent's."""
        self._mutex = threading.RLock()  # which an interrupt does not leave locked
        self._changed = threading.Condition(self._mutex)
        self._keeping = LeaseKeeping()
        self._events: dict[int, threading.Event] = {}
        self._looks_at = -NEVER  # when the thread will look at the leases, by the steady clock
        self._owned: dict[int, weakref.KeyedRef[int, Lease]] = {}
        self._orphans: deque[weakref.KeyedRef[int, Lease]] = deque()  # whose objects are gone
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()  # last, as other threads of the child look at it

    def add(self, held: HeldLease) -> Lease:
        """Keep a lease alive until it is dropped."""
        lease = self.add_owned(held)
        self.disown(lease)
        return lease

    def add_owned(self, held: HeldLease) -> Lease:
        """Keep a lease alive as long as its object is referred to, and it is not dropped."""
        if self._pid != os.getpid():
            self._begin()
        lease = Lease(held, self)
        with self._mutex:
            self._own(lease)
            self._events[held.id] = lease.lost
            self._keeping.add(held, steady_seconds())
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="skiff leases", daemon=True)
                thread.start()
                self._thread = thread
            if self._keeping.next_deadline() < self._looks_at:
                self._changed.notify()
        return lease

    def own(self, lease: Lease) -> None:
        """Keep a lease that is kept alive only as long as its object is referred to."""
        with self._mutex:
            if lease.id in self._events:
                self._own(lease)

    def disown(self, lease: Lease) -> None:
        """Keep a lease alive although its object is referred to no more."""
        with self._mutex:
            self._owned.pop(lease.id, None)

    def drop(self, lease: Lease) -> None:
        """Keep a lease alive no longer."""
        if self._pid == os.getpid():
            with self._mutex:
                self._forget(lease.id)
                if not self._keeping:
                    self._changed.notify()

    def _work(self) -> None:
        try:
            while (due := self._await_due()) is not None:
                self._keep_alive(due)
        finally:
            with self._mutex:
                if self._thread is threading.current_thread():  # there was an error
                    self._thread = None
                    self._lose(self._keeping.take_all())
        with suppress(SkiffError):
            self._disconnect()

    def _await_due(self) -> tuple[int, ...] | None:
        """Return the leases whose keep-alive is due; None if there are no more leases."""
        with self._mutex:
            while True:
                if self._is_closed():
                    self._lose(self._keeping.take_all())
                self._forget_orphans()
                now = steady_seconds()
                self._lose(self._keeping.take_lost(now))
                if not self._keeping:
                    self._thread = None  # under the lock, so that the next lease starts another
                    return None
                if due := self._keeping.take_due(now):
                    return due
                self._wait(now)

    def _wait(self, now: float) -> None:
        """Wait for a deadline, or an earlier one, or the end of the last lease."""
        self._looks_at = min(self._keeping.next_deadline(), now + WAIT_SECONDS_MAX)
        self._changed.wait(self._looks_at - now)
        self._looks_at = -NEVER

    def _keep_alive(self, leases: tuple[int, ...]) -> None:
        since = steady_seconds()
        with self._mutex:
            reply_timeout = self._keeping.reply_timeout(since)
        try:
            ttls_ms = self.run(leasing.keep_alive(leases), reply_timeout)
        except SkiffError:
            return  # it is repeated until the lease is lost
        assert isinstance(ttls_ms, tuple)
        with self._mutex:
            self._keeping.answered(leases, ttls_ms, since)

    def _lose(self, lost: Iterable[HeldLease]) -> None:
        for held in lost:
            held.lose()
            self._forget(held.id)

    def _forget_orphans(self) -> None:
        """Let the leases expire whose objects are gone, as by an interrupt of their holders."""
        while self._orphans:
            owner = self._orphans.popleft()
            if self._owned.get(owner.key) is owner:
                self._forget(owner.key)

    def _own(self, lease: Lease) -> None:
        """Note when the object is gone: by C code alone, as an interrupt in it would be lost."""
        self._owned[lease.id] = weakref.KeyedRef(lease, self._orphans.append, lease.id)

    def _forget(self, lease: int) -> None:
        self._keeping.drop(lease)
        self._owned.pop(lease, None)
        event = self._events.pop(lease, None)
        if event is not None:
            event.set()
