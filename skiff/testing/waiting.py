"""Waiting for a condition, within a bound."""

import time
from collections.abc import Callable

WAIT_SECONDS = 20.0
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], object], what: str, timeout: float = WAIT_SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not, after so many seconds; names what was waited for.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s in vain until {what}")
        time.sleep(POLL_SECONDS)
