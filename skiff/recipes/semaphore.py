"""Semaphore: at most ``slots`` holders at a time, first come, first served.

All who use one name must give it the same number of slots: each waits by its own. Holders lose
their slots as they lose a lock, and have tokens for fences as well.
"""

from protocol.coordination.line import Line
from skiff.arguments import check_key
from skiff.errors import InvalidRequest
from skiff.recipes.holder import Holder
from skiff.recipes.turn import Contest


class Semaphore(Holder):
    """One slot of a semaphore of a blocking client; ``with`` acquires and releases it."""


def semaphore_contest(name: str, slots: int, ttl: float, timeout: float | None) -> Contest:
    """Return the contest for a slot.

    Raises:
        InvalidRequest: ``slots`` is no whole number from 1 on, or the name is no key.
    """
    if type(slots) is not int or slots < 1:
        raise InvalidRequest(f"slots must be a whole number from 1 on, not {slots!r}")
    name = check_key(name)
    prefix = f"{name}/slot-"
    return Contest("semaphore", name, Line(prefix, slots), prefix, ttl, timeout)
