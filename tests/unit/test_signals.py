"""Signals: a node's command ends at once, whichever thread gets the signal."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from skiff.cli.signals import SIGNALS, EndRequest


@pytest.fixture
def ending() -> Iterator[EndRequest]:
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    ending = EndRequest()
    ending.listen_to_signals()
    yield ending
    signal.set_wakeup_fd(-1)
    for end in (ending._reader, ending._writer):
        end.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_another_thread_ends_the_wait(
    ending: EndRequest, number: signal.Signals
) -> None:
    def receive() -> None:
        time.sleep(0.1)  # so that the main thread waits by then
        signal.pthread_kill(threading.get_ident(), number)

    threading.Thread(target=receive).start()
    assert ending.wait() is None


def test_a_hangup_that_is_ignored_stays_ignored(ending: EndRequest) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ending.listen_to_signals()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_failure_reported_by_a_thread_ends_the_wait(ending: EndRequest) -> None:
    failure = OSError("no space left")
    threading.Thread(target=ending.request, args=(failure,)).start()
    assert ending.wait() is failure


def test_unread_signals_are_harmless(ending: EndRequest) -> None:
    for _ in range(1000):
        signal.raise_signal(signal.SIGTERM)
    assert ending.wait() is None
