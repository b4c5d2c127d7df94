"""Deadlines, in seconds of a steady clock."""

NEVER = float("inf")


def deadline_of(timeout: float | None, now: float) -> float:
    """Return the deadline of a timeout in seconds that begins now; ``NEVER`` for None."""
    return NEVER if timeout is None else now + timeout
