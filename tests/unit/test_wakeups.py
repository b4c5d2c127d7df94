"""Wakeups: every waiter is woken, and an interrupted one leaves nothing locked."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from actors.wakeups import Wakeups
from skiff.testing import wait_until

INTERRUPTIONS = 2000


class Interrupted(Exception):
    """Raised by the signal handler, like KeyboardInterrupt."""


@pytest.fixture
def alarms() -> Iterator[None]:
    """Let SIGALRM raise in this thread."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_every_waiter_is_woken_by_a_change() -> None:
    wakeups, state, results = Wakeups(), {"done": False}, []
    waiters = [
        threading.Thread(
            target=lambda: results.append(wakeups.wait_for(lambda: state["done"], 20.0))
        )
        for _ in range(5)
    ]
    for waiter in waiters:
        waiter.start()
    wakeups.notify()  # without a change
    state["done"] = True
    wakeups.notify()
    for waiter in waiters:
        waiter.join(20.0)
    assert results == [True] * 5


def test_a_wait_for_an_unmet_condition_times_out() -> None:
    began = time.monotonic()
    assert not Wakeups().wait_for(lambda: False, 0.05)
    assert time.monotonic() - began >= 0.05


def test_a_met_condition_needs_no_wakeup() -> None:
    assert Wakeups().wait_for(lambda: True, None)


@pytest.mark.usefixtures("alarms")
@pytest.mark.timeout(60, method="thread")
def test_a_waiter_interrupted_anywhere_blocks_no_other_thread() -> None:
    wakeups, ended, notified = Wakeups(), threading.Event(), 0
    interval = sys.getswitchinterval()

    def notify() -> None:
        nonlocal notified
        while not ended.is_set():
            wakeups.notify()
            notified += 1

    notifier = threading.Thread(target=notify)
    notifier.start()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(INTERRUPTIONS):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                wakeups.wait_for(lambda: False, None)
            except Interrupted:
                continue
    finally:
        sys.setswitchinterval(interval)
    before = notified
    wait_until(lambda: notified > before, "the notifier goes on")
    ended.set()
    notifier.join(20.0)
    assert not notifier.is_alive()
    assert wakeups._waiters == set()
