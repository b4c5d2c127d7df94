"""AsyncRightsMethods: the operations of an asyncio client on users, roles and rights."""

from skiff import rights
from skiff.arguments import CLIENT_DEFAULT, RightName, Timeout
from skiff.async_runner import AsyncRunner
from skiff.descriptions import described_by
from skiff.records import Identity, RoleInfo, UserInfo
from skiff.rights_methods import RightsMethods


@described_by(RightsMethods)
class AsyncRightsMethods(AsyncRunner):
    """Operations on users and roles; see ``RightsMethods``."""

    async def add_user(
        self, name: str, key: str, *, only_first: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Add a user with a public key, and without roles; see ``Client.add_user``."""
        await self._run(rights.add_user(name, key, only_first=only_first), timeout)

    async def remove_user(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Remove a user; see ``Client.remove_user``."""
        await self._run(rights.remove_user(name), timeout)

    async def add_user_key(self, name: str, key: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Add a second public key to a user; see ``Client.add_user_key``."""
        await self._run(rights.add_user_key(name, key), timeout)

    async def remove_user_key(
        self, name: str, key: str, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Remove one of the two public keys of a user; see ``Client.remove_user_key``."""
        await self._run(rights.remove_user_key(name, key), timeout)

    async def assign_role(self, user: str, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Give a user a role; the role "admin" has all rights; see ``Client.assign_role``."""
        await self._run(rights.assign_role(user, role), timeout)

    async def unassign_role(
        self, user: str, role: str, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Take a role from a user; see ``Client.unassign_role``."""
        await self._run(rights.unassign_role(user, role), timeout)

    async def grant(
        self, role: str, right: RightName, prefix: str = "", *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Give a role a right; the first one creates the role; see ``Client.grant``."""
        await self._run(rights.grant(role, right, prefix), timeout)

    async def revoke(
        self, role: str, right: RightName, prefix: str = "", *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Take a right from a role; with its last one, the role ends; see ``Client.revoke``."""
        await self._run(rights.revoke(role, right, prefix), timeout)

    async def remove_role(self, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """End a role, and take it from all its users; see ``Client.remove_role``."""
        await self._run(rights.remove_role(role), timeout)

    async def users(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[UserInfo]:
        """Return all users, by their names; see ``Client.users``."""
        return await self._run(rights.users(), timeout)

    async def roles(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[RoleInfo]:
        """Return all roles but the built-in "admin", by their names; see ``Client.roles``."""
        return await self._run(rights.roles(), timeout)

    async def whoami(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Identity:
        """Return the user of this client, with its roles; see ``Client.whoami``."""
        return await self._run(rights.whoami(), timeout)
