"""AsyncElection: one of several candidates leads, for an asyncio client; see ``election``."""

from collections.abc import AsyncIterator
from typing import Any, Self

from protocol.coordination.election import find_leader
from skiff.arguments import CLIENT_DEFAULT, Timeout
from skiff.descriptions import described_by
from skiff.errors import LockMisused
from skiff.recipes.async_holder import AsyncHolder
from skiff.recipes.election import Election
from skiff.recipes.leaders import AsyncLeaders
from skiff.records import Entry
from skiff.values import check_type, encode_value, entry_of


@described_by(Election)
class AsyncElection(AsyncHolder):
    """A candidate of an election, and a view of it, of an asyncio client.

    ``async with await election.campaign(value):`` leads until the end of the block, which is
    cancelled when the leadership is lost, and then ends with ``LockLost``.
    """

    async def campaign(self, value: object = None, *, timeout: float | None = None) -> Self:
        """Wait until this candidate leads, and proclaim a value; see ``Election.campaign``."""
        await self._acquire(encode_value(self._contest.described, value), timeout)
        return self

    async def proclaim(self, value: object, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Proclaim another value, as the leader; see ``Election.proclaim``."""
        await self._rewrite(value, timeout)

    async def resign(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Lead no longer; the next candidate does at once; see ``release``."""
        await self.release(timeout=timeout)

    async def leader(
        self, type: Any = Any, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> Entry[Any] | None:
        """Return the leader's entry, None if there is no candidate; see ``Election.leader``."""
        check_type(type)
        limits = self._coordinator.request_limits(timeout)
        leader = await self._coordinator.perform(find_leader(self._contest.line), limits)
        return None if leader is None else entry_of(leader.key, leader, type)

    def observe(self, type: Any = Any) -> AsyncIterator[Entry[Any] | None]:
        """Yield the present leader's entry, then one for each change; see ``Election.observe``."""
        check_type(type)
        return AsyncLeaders(self._coordinator, self._contest.line, type)

    async def __aenter__(self) -> Self:
        if self._turn is None:
            raise LockMisused(f"{self._contest.described} is not held: campaign first")
        return self._begin_block()
