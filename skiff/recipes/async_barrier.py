"""AsyncBarrier: while it is up, tasks that reach it wait; see ``barrier``."""

from protocol.coordination.barrier import await_removal
from skiff.arguments import CLIENT_DEFAULT, Timeout, check_wait
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.errors import LockTimeout, RevisionMismatch
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.barrier import Barrier, barrier_key
from skiff.recipes.turn import LATE, late


@described_by(Barrier)
class AsyncBarrier(BoundToProcess):
    """A barrier of an asyncio client."""

    def __init__(self, coordinator: AsyncCoordinator, name: str) -> None:
        """Name the barrier; see ``Client.barrier``."""
        self._coordinator = coordinator
        self._name = name
        self._key = barrier_key(name)

    def __repr__(self) -> str:
        return f"<AsyncBarrier {self._name!r} of {self._coordinator.client!r}>"

    async def create(self, *, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """Put the barrier up; return False if it was up already; see ``Barrier.create``."""
        try:
            await self._coordinator.client.insert(self._key, None, if_revision=0, timeout=timeout)
        except RevisionMismatch:
            return False
        return True

    async def remove(self, *, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """Take the barrier down; return False if it was down; see ``Barrier.remove``."""
        return await self._coordinator.client.remove(self._key, timeout=timeout)

    async def wait(self, *, timeout: float | None = None) -> None:
        """Wait until the barrier is down; see ``Barrier.wait``."""
        check_wait(timeout)
        coordinator = self._coordinator
        try:
            await coordinator.perform(await_removal(self._key), coordinator.time_limits(timeout))
        except LATE as error:
            raise LockTimeout(late(f"barrier {self._name!r} did not go", timeout)) from error
