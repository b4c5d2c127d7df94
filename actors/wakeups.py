"""Wakeups: threads that wait for a change of another thread's state.

A signal handler may raise at any moment in a waiting thread, as Ctrl-C does. Where that interrupts
the methods of ``threading.Condition``, its lock stays locked, and the notifying thread hangs. Here
the threads share no lock: each waiter has one of its own, which the notifying thread releases.
"""

import contextlib
import threading
import time
from collections.abc import Callable

from protocol.deadlines import deadline_of


class Wakeups:
    """The waiters for changes that one thread makes."""

    def __init__(self) -> None:
        self._waiters: set[threading.Lock] = set()  # each method of it is atomic

    def notify(self) -> None:
        """Wake all waiters, after a change."""
        for waiter in list(self._waiters):
            with contextlib.suppress(RuntimeError):  # woken already, and not yet gone
                waiter.release()

    def wait_for(self, condition: Callable[[], object], timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds until a condition holds; return whether it does."""
        deadline = deadline_of(timeout, time.monotonic())
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait(condition, min(left, threading.TIMEOUT_MAX))
        return True

    def _wait(self, condition: Callable[[], object], seconds: float) -> None:
        waiter = threading.Lock()
        waiter.acquire()
        try:
            self._waiters.add(waiter)
            if not condition():  # a change before the waiter was added has notified nobody
                waiter.acquire(timeout=seconds)
        finally:
            self._waiters.discard(waiter)
