"""AsyncParty: the processes that are here now, for an asyncio client; see ``party``."""

from typing import Any, Self

from skiff.arguments import CLIENT_DEFAULT, Timeout
from skiff.async_subscriber import AsyncSubscriber
from skiff.bound import BoundToProcess
from skiff.descriptions import described_by
from skiff.recipes.async_coordinator import AsyncCoordinator
from skiff.recipes.async_holder import AsyncHolder
from skiff.recipes.party import Member, Party, in_order, party_contest
from skiff.records import Entry
from skiff.values import encode_value


@described_by(Member)
class AsyncMember(AsyncHolder):
    """A place in a party, kept alive until it is left; ``async with`` leaves it at the end.

    When the place is lost, the block is cancelled, and ends with ``LockLost``.
    """

    async def join(self, value: object = None, *, timeout: float | None = None) -> Self:
        """Join, perhaps once more after leaving; see ``Party.join``."""
        await self._acquire(encode_value(self._contest.described, value), timeout)
        return self

    async def update(self, value: object, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Write another value; see ``Member.update``."""
        await self._rewrite(value, timeout)

    async def leave(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Leave; see ``release``."""
        await self.release(timeout=timeout)

    async def __aenter__(self) -> Self:
        return self._begin_block()


@described_by(Party)
class AsyncParty(BoundToProcess):
    """A party, as an asyncio client sees it."""

    def __init__(self, coordinator: AsyncCoordinator, name: str, ttl: float) -> None:
        """Name the party; see ``Client.party``."""
        self._coordinator = coordinator
        self._contest = party_contest(name, ttl)

    def __repr__(self) -> str:
        return f"<AsyncParty {self._contest.name!r} of {self._coordinator.client!r}>"

    async def join(self, value: object = None, *, timeout: float | None = None) -> AsyncMember:
        """Join with a value; see ``Party.join``."""
        return await AsyncMember(self._coordinator, self._contest).join(value, timeout=timeout)

    async def members(
        self, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> list[Entry[Any]]:
        """Return the members' entries in order of arrival; see ``Party.members``."""
        entries = self._coordinator.client.scan(self._contest.key_prefix, type, timeout=timeout)
        return in_order(self._contest.key_prefix, [entry async for entry in entries])

    async def watch(self, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT) -> AsyncSubscriber:
        """Subscribe to those who come and go; see ``Party.watch``."""
        prefix = self._contest.key_prefix
        client = self._coordinator.client
        return await client.watch(prefix, type=type, initial=True, timeout=timeout)
