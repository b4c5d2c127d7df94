"""TurnHolder: what the holders of both clients share: the turn, its token and its fence."""

from abc import ABC, abstractmethod
from typing import Generic

from skiff.bound import BoundToProcess
from skiff.errors import LockLost, LockMisused
from skiff.recipes.turn import Contest, LeaseT, Turn
from skiff.records import Fence


class TurnHolder(BoundToProcess, ABC, Generic[LeaseT]):
    """A contender of a line, and its turn while it holds it."""

    def __init__(self, contest: Contest) -> None:
        """Begin without a turn.

        Raises:
            InvalidRequest: the name is no key, or too long, or a number is out of its bounds.
        """
        self._contest = contest.check()
        self._turn: Turn[LeaseT] | None = None

    def __repr__(self) -> str:
        state = f"held with token {self._turn.token}" if self._turn is not None else "not held"
        return f"<{type(self).__name__} of {self._contest.described}, {state}>"

    @property
    def is_held(self) -> bool:
        """Whether this process holds it, and can count on that now."""
        return self.remaining > 0

    @property
    def remaining(self) -> float:
        """The seconds for which it is certainly held, unless it is kept alive; 0 if it is not."""
        turn = self._turn
        return turn.lease.remaining if turn is not None and self._is_own_process() else 0.0

    @property
    def token(self) -> int:
        """The fencing token: that of each later holder is greater.

        Raises:
            LockMisused: it is not held, or was not acquired by this process.
        """
        return self._held().token

    @property
    def fence(self) -> Fence:
        """The key and the token, for writes that are refused once it is held no longer.

        Raises:
            LockMisused: it is not held, or was not acquired by this process.
        """
        return self._held().fence

    @abstractmethod
    def _is_own_process(self) -> bool:
        """Whether this process has acquired it, and not the parent of a fork."""

    def _held(self) -> Turn[LeaseT]:
        if self._turn is None:
            raise LockMisused(f"{self._contest.described} is not held")
        if not self._is_own_process():
            raise LockMisused(f"{self._contest.described} is held by the parent of this process")
        return self._turn

    def _was_lost(self) -> LockLost:
        """Return the error for a turn that was over too early."""
        return LockLost(
            f"{self._contest.described} was lost before the end of its block: its lease or its key "
            "is gone"
        )

    def _is_in_use(self) -> LockMisused:
        """Return the error for a second use of the object."""
        return LockMisused(
            f"{self._contest.described} is held or being acquired by this object already; each "
            "thread or task, and each nested block, needs a lock object of its own"
        )
