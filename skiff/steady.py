"""Steady clock of leases: it runs while the machine is suspended."""

import time

# Unlike time.monotonic, this clock runs during suspend. On macOS, CLOCK_MONOTONIC does.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_seconds() -> float:
    """Return seconds of a clock that never goes back and does not stop during suspend."""
    return time.clock_gettime(_STEADY)
