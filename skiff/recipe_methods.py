"""RecipeMethods: the recipes of a blocking client."""

from typing import Any

from skiff.method import Runner
from skiff.recipes.barrier import Barrier
from skiff.recipes.coordinator import Coordinator
from skiff.recipes.counter import Counter
from skiff.recipes.double_barrier import DoubleBarrier, gathering
from skiff.recipes.election import Election, election_contest
from skiff.recipes.lock import Lock, lock_contest
from skiff.recipes.party import Party
from skiff.recipes.queue import Queue
from skiff.recipes.read_write_lock import ReadWriteLock
from skiff.recipes.semaphore import Semaphore, semaphore_contest

TTL_SECONDS = 10.0
QUEUE_TTL_SECONDS = 30.0


class RecipeMethods(Runner):
    """Recipes; see ``Client``.

    The methods make no request. The keys of a recipe are under its name, which other recipes may
    share. ``ttl``, in seconds, is that of its leases, which are kept alive while they are needed:
    what a process holds is free that long, and up to a third longer, after its death. ``timeout``
    is in seconds, 0 to not wait, None for no limit. All raise ``InvalidRequest`` if the name is no
    key, or too long, or a number is out of its bounds.
    """

    _coordinator: Coordinator

    def lock(self, name: str, *, ttl: float = TTL_SECONDS, timeout: float | None = None) -> Lock:
        """Return a lock, which is acquired by ``with`` or ``acquire``; see ``RecipeMethods``.

        ``with`` raises ``LockTimeout`` if it was not free within ``timeout``.
        """
        return Lock(self._coordinator, lock_contest(name, ttl, timeout))

    def read_write_lock(
        self, name: str, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> ReadWriteLock:
        """Return a read/write lock; its ``read_lock()`` and ``write_lock()`` are for ``with``."""
        return ReadWriteLock(self._coordinator, name, ttl, timeout)

    def semaphore(
        self, name: str, slots: int, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> Semaphore:
        """Return one slot of a semaphore, which is acquired by ``with`` or ``acquire``."""
        return Semaphore(self._coordinator, semaphore_contest(name, slots, ttl, timeout))

    def election(self, name: str, *, ttl: float = TTL_SECONDS) -> Election:
        """Return a candidate of an election, which also observes it."""
        return Election(self._coordinator, election_contest(name, ttl))

    def barrier(self, name: str) -> Barrier:
        """Return a barrier: while it is up, processes that reach it wait."""
        return Barrier(self._coordinator, name)

    def double_barrier(
        self, name: str, parties: int, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> DoubleBarrier:
        """Return one party of a double barrier: so many begin together, and end together."""
        return DoubleBarrier(self._coordinator, gathering(name, parties, ttl, timeout))

    def queue(self, name: str, type: Any = Any, *, ttl: float = QUEUE_TTL_SECONDS) -> Queue:
        """Return a queue of values of a type; ``ttl`` is that of the claims of its consumers."""
        return Queue(self._coordinator, name, type, ttl)

    def counter(self, name: str) -> Counter:
        """Return a counter, whose value is that of the key ``name``."""
        return Counter(self._coordinator, name)

    def party(self, name: str, *, ttl: float = TTL_SECONDS) -> Party:
        """Return a party: the processes that are here now, each with a value."""
        return Party(self._coordinator, name, ttl)
