"""Barrier: while it is up, processes that reach it wait; when it is taken down, all go on.

It is a key without a lease: it stays up when the process that put it up dies, and any process may
take it down. One that is taken down and put up again at once may be missed by none: each waits for
a removal that came after it began to wait, or finds the key absent.
"""

from protocol.coordination.barrier import await_removal
from skiff.arguments import CLIENT_DEFAULT, Timeout, check_key, check_wait
from skiff.bound import BoundToProcess
from skiff.errors import LockTimeout, RevisionMismatch
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.turn import LATE, late


class Barrier(BoundToProcess):
    """A barrier of a blocking client."""

    def __init__(self, coordinator: Coordinator, name: str) -> None:
        """Name the barrier; see ``Client.barrier``."""
        self._coordinator = coordinator
        self._name = name
        self._key = barrier_key(name)

    def __repr__(self) -> str:
        return f"<Barrier {self._name!r} of {self._coordinator.client!r}>"

    def create(self, *, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """Put the barrier up; return False if it was up already.

        Raises:
            StorageFull: the disks of a majority are full, or the quota is reached.
            OutcomeUnknown: the deadline passed; it may be up, or may yet be put up.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        try:
            self._coordinator.client.insert(self._key, None, if_revision=0, timeout=timeout)
        except RevisionMismatch:
            return False
        return True

    def remove(self, *, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """Take the barrier down, so that all who wait go on; return False if it was down.

        Raises:
            OutcomeUnknown: the deadline passed; it may be down, or may yet be taken down.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        return self._coordinator.client.remove(self._key, timeout=timeout)

    def wait(self, *, timeout: float | None = None) -> None:
        """Wait until the barrier is down; ``timeout`` in seconds, None for no limit.

        Raises:
            LockTimeout: it was up until the deadline.
            InvalidRequest: the timeout is invalid.
        """
        check_wait(timeout)
        coordinator = self._coordinator
        try:
            coordinator.perform(await_removal(self._key), coordinator.time_limits(timeout))
        except LATE as error:
            raise LockTimeout(late(f"barrier {self._name!r} did not go", timeout)) from error


def barrier_key(name: str) -> str:
    """Return the key of a barrier.

    Raises:
        InvalidRequest: the name is no key, or too long.
    """
    return check_key(f"{check_key(name)}/barrier")
