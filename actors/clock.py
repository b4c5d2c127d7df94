"""Clock of the leader lease."""

import time

# Unlike time.monotonic, this clock runs during suspend. On macOS, CLOCK_MONOTONIC does.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_microseconds() -> int:
    """Return microseconds of a clock that never goes back and does not stop during suspend."""
    return time.clock_gettime_ns(_STEADY) // 1000
