"""Holder: a contender of a line, which waits for its turn and holds it until it releases it."""

import os
import threading
from types import TracebackType
from typing import Self

from skiff.arguments import CLIENT_DEFAULT, Timeout, check_wait, seconds_of
from skiff.errors import LockMisused, LockTimeout
from skiff.lease import Lease
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.turn import LATE, Contest, late, this_process
from skiff.recipes.turn_holder import TurnHolder


class Holder(TurnHolder[Lease]):
    """One contender; each thread uses one of its own."""

    _is_of_thread = True  # whether only the thread that has acquired it may release it

    def __init__(self, coordinator: Coordinator, contest: Contest) -> None:
        """Contend by the client of a coordinator.

        Raises:
            InvalidRequest: the name is no key, or too long, or a number is out of its bounds.
        """
        super().__init__(contest)
        self._coordinator = coordinator
        self._mutex = threading.RLock()  # also for signal handlers
        self._user: tuple[int, int] | None = None  # process and thread that acquire or hold it
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
        self._acquire(this_process(), timeout)

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
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._turn is None or not self._is_own_process():
            return  # released within the block, or left by a forked child
        lasted = self._end()
        if not lasted and kind is None:
            raise self._was_lost()

    # ---

    def _acquire(self, value: bytes, timeout: float | None) -> None:
        seconds = self._contest.timeout if timeout is None else timeout
        check_wait(seconds)
        self._claim()
        try:
            turn = self._coordinator.take_turn(self._contest, value, seconds)
        except BaseException as error:
            self._user = None
            if isinstance(error, LATE):
                raise LockTimeout(late(self._contest.not_yet, seconds)) from error
            raise
        self._lost = turn.lease.lost
        self._turn = turn

    def _claim(self) -> None:
        """Claim this object for the present thread."""
        with self._mutex:
            if self._user is not None and self._user[0] == os.getpid():
                raise self._is_in_use()
            self._user = (os.getpid(), threading.get_ident())
            self._turn = None

    def _rewrite(self, value: object, timeout: Timeout) -> None:
        """Write another value to the contender's key."""
        turn = self._held()
        self._coordinator.client.insert(
            turn.key, value, lease=turn.lease, fence=turn.fence, timeout=timeout
        )

    def _end(self, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """End the turn; return whether it has lasted until now."""
        seconds_of(timeout, None)  # checks it before anything is done
        with self._mutex:
            turn = self._held()
            if self._is_of_thread and self._user != (os.getpid(), threading.get_ident()):
                raise LockMisused(f"{self._contest.described} was acquired by another thread")
            self._turn = None
        try:
            return self._coordinator.end_turn(turn, timeout)
        finally:
            self._user = None

    def _is_own_process(self) -> bool:
        return self._user is not None and self._user[0] == os.getpid()
