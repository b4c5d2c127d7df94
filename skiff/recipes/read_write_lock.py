"""Read/write lock: many readers or one writer at a time, first come, first served.

A reader waits for the writers that came before it, a writer for all that did. As the line is
strictly first come, first served, neither readers nor writers starve. Both sides are lost as a lock
is; a writer's token fences its writes as that of a lock does.
"""

from protocol.coordination.line import Line
from skiff.arguments import check_key
from skiff.bound import BoundToProcess
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.holder import Holder
from skiff.recipes.turn import Contest


class ReadLock(Holder):
    """The side of a reader; ``with`` acquires and releases it. It is not reentrant."""


class WriteLock(Holder):
    """The side of a writer; ``with`` acquires and releases it. It is not reentrant."""


class ReadWriteLock(BoundToProcess):
    """A read/write lock of a blocking client."""

    def __init__(
        self, coordinator: Coordinator, name: str, ttl: float, timeout: float | None
    ) -> None:
        """Name the lock; see ``Client.read_write_lock``."""
        self._coordinator = coordinator
        self._contests = Sides(name, ttl, timeout)

    def __repr__(self) -> str:
        return f"<ReadWriteLock {self._contests.reader.name!r} of {self._coordinator.client!r}>"

    def read_lock(self) -> ReadLock:
        """Return one more reader."""
        return ReadLock(self._coordinator, self._contests.reader)

    def write_lock(self) -> WriteLock:
        """Return one more writer."""
        return WriteLock(self._coordinator, self._contests.writer)


class Sides:
    """The contests of readers and of writers, which are in one line."""

    def __init__(self, name: str, ttl: float, timeout: float | None) -> None:
        """Name the lock.

        Raises:
            InvalidRequest: the name is no key, or too long, or a number is out of its bounds.
        """
        name = check_key(name)
        prefix = f"{name}/side-"
        reader, writer = f"{prefix}r-", f"{prefix}w-"
        line = Line(prefix, shared=reader)
        self.reader = Contest("read lock", name, line, reader, ttl, timeout).check()
        self.writer = Contest("write lock", name, line, writer, ttl, timeout).check()
