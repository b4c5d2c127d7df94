"""Holder: a contender of a line, which waits for its turn and holds it until it releases it."""

import os
import threading
from types import TracebackType
from typing import Self

import msgspec

from skiff.arguments import CLIENT_DEFAULT, Timeout, check_wait, seconds_of
from skiff.errors import LockMisused, LockTimeout
from skiff.lease import Lease
from skiff.recipes.coordinator import LEAVE_SECONDS, Coordinator
from skiff.recipes.turn import LATE, Contest, Turn, late, this_process
from skiff.recipes.turn_holder import TurnHolder


class User(msgspec.Struct, frozen=True, eq=False):
    """The use of a holder, from the beginning of its contention to the end of its turn."""

    process: int
    thread: int


class Holder(TurnHolder[Lease]):
    """One contender; each thread uses one of its own.

    An interrupt, as by Ctrl-C, ends a turn that has no block yet. A turn that a call has acquired
    lasts until it is released, or until the process ends.
    """

    _is_of_thread = True  # whether only the thread that has acquired it may release it

    def __init__(self, coordinator: Coordinator, contest: Contest) -> None:
        """Contend by the client of a coordinator.

        Raises:
            InvalidRequest: the name is no key, or too long, or a number is out of its bounds.
        """
        super().__init__(contest)
        self._coordinator = coordinator
        self._mutex = threading.RLock()  # also for signal handlers
        self._user: User | None = None
        self._entered: User | None = None  # that a block was begun by
        self._lost = threading.Event()

    @property
    def lost(self) -> threading.Event:
        """The event that is set once the present turn, or the last one, cannot be counted on.

        Each turn has an event of its own.
        """
        return self._lost

    def acquire(self, *, timeout: float | None = None) -> None:
        """Wait for the turn; ``timeout`` in seconds, 0 to not wait, None for the recipe's own.

        Raises:
            LockTimeout: the turn did not come in time.
            LockMisused: it is held already, or being acquired.
            StorageFull: the disks of a majority are full, or the quota is reached.
            InvalidRequest: the timeout is invalid.
        """
        self._acquire_for_good(this_process(), timeout)

    def release(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """End the turn; the next contender has it at once.

        If no node answers within ``timeout`` seconds, the lease is kept alive no longer, and the
        turn ends with it.

        Raises:
            LockLost: the turn was over before.
            LockMisused: it is not held, or another thread or process has acquired it.
            InvalidRequest: the timeout is invalid.
        """
        if not self._end(timeout):
            raise self._was_lost()

    def __enter__(self) -> Self:
        before = self._user
        try:
            self._acquire(this_process(), None)
        except BaseException:
            self._end_since(before)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        user = self._user
        try:
            if self._turn is not None and self._is_own_process():
                self._end_block(failed=kind is not None)
            # Else it was released within the block, or a forked child leaves it.
        except LockMisused:
            raise
        except BaseException:
            if self._user is user:
                self._let_expire()  # or an interrupt would leave it held
            raise

    # ---

    def _begin_block(self) -> Self:
        """Begin a block with the turn that was acquired before; there is one block for each."""
        with self._mutex:
            self._held()
            if self._entered is self._user:
                raise self._is_in_use()
            self._entered = self._user  # not the turn, which ends when nothing refers to it
        return self

    def _end_block(self, *, failed: bool) -> None:
        """End the turn at the end of its block."""
        if not self._end() and not failed:
            raise self._was_lost()

    def _acquire(self, value: bytes, timeout: float | None) -> None:
        seconds = self._contest.timeout if timeout is None else timeout
        check_wait(seconds)
        user, turn = User(os.getpid(), threading.get_ident()), None
        try:
            self._claim(user)
            turn = self._coordinator.take_turn(self._contest, value, seconds)
            self._lost = turn.lease.lost
            self._turn = turn
        except BaseException as error:
            if self._user is user:  # no call before, as an interrupt may come in one
                self._turn = self._user = None
            if turn is not None:
                self._coordinator.end_turn(turn, LEAVE_SECONDS)
            if isinstance(error, LATE):
                raise LockTimeout(late(self._contest.not_yet, seconds)) from error
            raise

    def _acquire_for_good(self, value: bytes, timeout: float | None) -> None:
        """Acquire a turn that lasts although this object may be dropped."""
        before = self._user
        try:
            self._acquire(value, timeout)
            self._coordinator.keep_for_good(self._held())
        except BaseException:
            self._end_since(before)
            raise

    def _claim(self, user: User) -> None:
        """Claim this object for a user."""
        with self._mutex:
            if self._is_own_process():
                raise self._is_in_use()
            self._turn = None
            self._user = user

    def _end_since(self, before: User | None) -> None:
        """End the turn that the present thread has acquired since, and has got no block for."""
        user = self._user
        if user is not None and user is not before and user.thread == threading.get_ident():
            self._end(LEAVE_SECONDS)

    def _let_expire(self) -> None:
        """Refer to the turn no more, so that it ends with its lease."""
        if self._turn is not None:
            self._coordinator.keep_for_holder(self._turn)
        self._turn = self._user = None

    def _rewrite(self, value: object, timeout: Timeout) -> None:
        """Write another value to the contender's key."""
        turn = self._held()
        self._coordinator.client.insert(
            turn.key, value, lease=turn.lease, fence=turn.fence, timeout=timeout
        )

    def _end(self, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """End the turn; return whether it has lasted until now."""
        seconds_of(timeout, None)  # checks it before anything is done
        user, ends = self._user, False
        try:
            with self._mutex:
                turn = self._held_here()
                self._coordinator.keep_for_holder(turn)
                ends, self._turn = True, None
            lasted = self._coordinator.end_turn(turn, timeout)
        finally:
            if ends and self._user is user:
                self._turn = self._user = None
        return lasted

    def _held_here(self) -> Turn[Lease]:
        """Return the turn, which the present thread may end."""
        turn, user = self._held(), self._user
        if self._is_of_thread and user is not None and user.thread != threading.get_ident():
            raise LockMisused(f"{self._contest.described} was acquired by another thread")
        return turn

    def _is_own_process(self) -> bool:
        return self._user is not None and self._user.process == os.getpid()
