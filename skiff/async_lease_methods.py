"""AsyncLeaseMethods: the operations of an asyncio client on leases, by their ids."""

from skiff import leasing
from skiff.arguments import CLIENT_DEFAULT, LeaseLike, Timeout
from skiff.async_runner import AsyncRunner
from skiff.descriptions import described_by
from skiff.lease_methods import LeaseMethods
from skiff.records import LeaseInfo


@described_by(LeaseMethods)
class AsyncLeaseMethods(AsyncRunner):
    """Operations on leases; see ``LeaseMethods``."""

    async def leases(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[LeaseInfo]:
        """Return the leases that have not ended, by their ids; see ``Client.leases``."""
        return await self._run(leasing.leases(), timeout)

    async def keep_lease_alive(
        self, lease: LeaseLike | int, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> float:
        """Keep a lease alive once, by its id; return its TTL; see ``Client.keep_lease_alive``."""
        return await self._run(leasing.keep_alive_by_id(lease), timeout)

    async def revoke_lease(
        self, lease: LeaseLike | int, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> int:
        """End a lease by its id; return the number of its keys; see ``Client.revoke_lease``."""
        return await self._run(leasing.revoke_by_id(lease), timeout)
