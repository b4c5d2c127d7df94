"""Waiting for a condition, with a timeout."""

import time
from collections.abc import Callable

WAIT_SECONDS = 20.0
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], object], what: str, timeout: float = WAIT_SECONDS) -> None:
    """Wait until a condition holds, at most ``timeout`` seconds.

    Raises:
        TimeoutError: it does not hold in time; the message has ``what``.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"timed out after {timeout:.0f} s waiting until {what}")
        time.sleep(POLL_SECONDS)
