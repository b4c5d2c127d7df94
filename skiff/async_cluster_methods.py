"""AsyncClusterMethods: the operations of an asyncio client on members and leadership."""

import uuid

from skiff import admin
from skiff.arguments import CLIENT_DEFAULT, Timeout
from skiff.async_runner import AsyncRunner
from skiff.cluster_methods import ClusterMethods
from skiff.descriptions import described_by
from skiff.records import Member, NodeStatus


@described_by(ClusterMethods)
class AsyncClusterMethods(AsyncRunner):
    """Operations on the cluster; see ``ClusterMethods``."""

    async def members(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Member]:
        """Return the members of the cluster; see ``Client.members``."""
        return list((await self.status(timeout=timeout)).members)

    async def add_member(self, address: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Add a standby node to the cluster; see ``Client.add_member``."""
        await self._run(admin.add_member(address), timeout)

    async def remove_node(
        self, node: uuid.UUID | str, *, force: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Remove a node from the cluster; return its id; see ``Client.remove_node``."""
        return await self._run(admin.remove_node(node, force=force), timeout)

    async def transfer_leadership(
        self, to: uuid.UUID | str | None = None, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> uuid.UUID:
        """Make another voter the leader; return its id; see ``Client.transfer_leadership``."""
        return await self._run(admin.transfer_leadership(to), timeout)

    async def status(self, *, timeout: Timeout = CLIENT_DEFAULT) -> NodeStatus:
        """Return the status of the node that answers; see ``Client.status``."""
        return await self._run(admin.status(), timeout)
