"""The clock by which a leader knows how long it may still serve reads."""

import time

# Unlike time.monotonic, this goes on while the machine sleeps. On macOS, CLOCK_MONOTONIC does.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_microseconds() -> int:
    """Return the time since some moment in the past; it never goes back nor stands still."""
    return time.clock_gettime_ns(_STEADY) // 1000
