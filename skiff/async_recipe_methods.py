"""AsyncRecipeMethods: the recipes of an asyncio client."""

from typing import Any

from skiff.async_runner import AsyncRunner
from skiff.descriptions import described_by
from skiff.recipe_methods import QUEUE_TTL_SECONDS, TTL_SECONDS, RecipeMethods
from skiff.recipes.async_barrier import AsyncBarrier
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.async_counter import AsyncCounter
from skiff.recipes.async_double_barrier import AsyncDoubleBarrier
from skiff.recipes.async_election import AsyncElection
from skiff.recipes.async_lock import AsyncLock
from skiff.recipes.async_party import AsyncParty
from skiff.recipes.async_queue import AsyncQueue
from skiff.recipes.async_read_write_lock import AsyncReadWriteLock
from skiff.recipes.async_semaphore import AsyncSemaphore
from skiff.recipes.double_barrier import gathering
from skiff.recipes.election import election_contest
from skiff.recipes.lock import lock_contest
from skiff.recipes.semaphore import semaphore_contest


@described_by(RecipeMethods)
class AsyncRecipeMethods(AsyncRunner):
    """Recipes; see ``RecipeMethods``. These methods are no coroutines, as they make no request."""

    _coordinator: AsyncCoordinator

    def lock(
        self, name: str, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> AsyncLock:
        """Return a lock, which is acquired by ``async with``; see ``Client.lock``."""
        return AsyncLock(self._coordinator, lock_contest(name, ttl, timeout))

    def read_write_lock(
        self, name: str, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> AsyncReadWriteLock:
        """Return a read/write lock; see ``Client.read_write_lock``."""
        return AsyncReadWriteLock(self._coordinator, name, ttl, timeout)

    def semaphore(
        self, name: str, slots: int, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> AsyncSemaphore:
        """Return one slot of a semaphore; see ``Client.semaphore``."""
        return AsyncSemaphore(self._coordinator, semaphore_contest(name, slots, ttl, timeout))

    def election(self, name: str, *, ttl: float = TTL_SECONDS) -> AsyncElection:
        """Return a candidate of an election, which also observes it; see ``Client.election``."""
        return AsyncElection(self._coordinator, election_contest(name, ttl))

    def barrier(self, name: str) -> AsyncBarrier:
        """Return a barrier: while it is up, tasks that reach it wait; see ``Client.barrier``."""
        return AsyncBarrier(self._coordinator, name)

    def double_barrier(
        self, name: str, parties: int, *, ttl: float = TTL_SECONDS, timeout: float | None = None
    ) -> AsyncDoubleBarrier:
        """Return one party of a double barrier; see ``Client.double_barrier``."""
        return AsyncDoubleBarrier(self._coordinator, gathering(name, parties, ttl, timeout))

    def queue(self, name: str, type: Any = Any, *, ttl: float = QUEUE_TTL_SECONDS) -> AsyncQueue:
        """Return a queue of values of a type; see ``Client.queue``."""
        return AsyncQueue(self._coordinator, name, type, ttl)

    def counter(self, name: str) -> AsyncCounter:
        """Return a counter, whose value is that of the key ``name``; see ``Client.counter``."""
        return AsyncCounter(self._coordinator, name)

    def party(self, name: str, *, ttl: float = TTL_SECONDS) -> AsyncParty:
        """Return a party: the processes that are here now; see ``Client.party``."""
        return AsyncParty(self._coordinator, name, ttl)
