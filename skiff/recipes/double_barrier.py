"""Double barrier: a number of parties begin together, and end together.

Each waits in ``enter`` until all are there, and in ``leave`` until all have left. A party that dies
has left once its lease ends. All must name the same number, and none enters again before it has
left. A party that takes longer to look than the nodes keep their history may miss the moment at
which all were there, if one has left again by then.
"""

from protocol.coordination.barrier import await_absence, enter, look
from protocol.coordination.line import Line
from protocol.coordination.procedure import Procedure
from skiff.arguments import check_key, check_wait
from skiff.errors import InvalidRequest, LockTimeout
from skiff.recipes.holder import Holder
from skiff.recipes.turn import LATE, Contest, late


class Gathering(Contest, frozen=True):
    """The contest of a double barrier: each has its turn once all are there."""

    parties: int = 1

    @property
    def not_yet(self) -> str:
        """The state while some are missing, for messages."""
        return f"{self.described} was not complete"

    def join(self, key: str, value: bytes, lease: int) -> Procedure[int | None]:
        """Wait until all are there; the result is the token."""
        return enter(self.line.prefix, key, value, lease, self.parties)


class DoubleBarrier(Holder):
    """One party of a double barrier; ``with`` enters and leaves it."""

    def enter(self, *, timeout: float | None = None) -> None:
        """Wait until all parties are there; see ``acquire`` for the errors."""
        self.acquire(timeout=timeout)

    def leave(self, *, timeout: float | None = None) -> None:
        """Leave, and wait until all parties have; ``timeout`` in seconds, None for no limit.

        Raises:
            LockLost: this party had left before, as its lease had ended.
            LockTimeout: others were there until the deadline; this party has left.
            LockMisused: this party has not entered.
            InvalidRequest: the timeout is invalid.
        """
        check_wait(timeout)
        coordinator, prefix = self._coordinator, self._contest.line.prefix
        limits = coordinator.time_limits(timeout)
        self._held()
        try:
            try:
                before = coordinator.perform(look(prefix), limits)
            finally:
                lasted = self._end()
            if lasted:
                coordinator.perform(await_absence(prefix, before), limits)
        except LATE as error:
            raise LockTimeout(late(f"{self._contest.described} was not empty", timeout)) from error
        if not lasted:
            raise self._was_lost()

    def _end_block(self, *, failed: bool) -> None:
        if failed:
            self._end()
        else:
            self.leave(timeout=self._contest.timeout)


def gathering(name: str, parties: int, ttl: float, timeout: float | None) -> Gathering:
    """Return the contest of a double barrier.

    Raises:
        InvalidRequest: ``parties`` is no whole number from 1 on, or the name is no key.
    """
    if type(parties) is not int or parties < 1:
        raise InvalidRequest(f"parties must be a whole number from 1 on, not {parties!r}")
    name = check_key(name)
    prefix = f"{name}/party-"
    return Gathering("double barrier", name, Line(prefix), prefix, ttl, timeout, parties)
