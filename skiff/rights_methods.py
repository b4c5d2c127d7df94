"""RightsMethods: the operations of a blocking client on users, roles and rights."""

from skiff import rights
from skiff.arguments import CLIENT_DEFAULT, RightName, Timeout
from skiff.method import Runner
from skiff.records import Identity, RoleInfo, UserInfo


class RightsMethods(Runner):
    """Operations on users and roles; see ``Client``."""

    def add_user(
        self, name: str, key: str, *, only_first: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Add a user with a public key, and without roles.

        ``key`` is text of 40 characters of Z85, as ZeroMQ writes public keys. A name has 1 to 64
        characters of a-z, 0-9, dot, underscore and hyphen. With ``only_first``, it is added only
        while there are no users, and has the role "admin" at once.

        Raises:
            PermissionDenied: the right "users" is missing.
            UserExists: a user has this name or key, or there are users and ``only_first``.
            InvalidRequest: the name or the key is invalid, or the cluster has 1,000 users.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.add_user(name, key, only_first=only_first), timeout)

    def remove_user(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Remove a user; its connections are denied everything from then on.

        Raises:
            PermissionDenied: the right "users" is missing.
            UserNotFound: there is no such user.
            LastAdministrator: it is the last user with the role admin.
            InvalidRequest: the name is invalid.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.remove_user(name), timeout)

    def add_user_key(self, name: str, key: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Add a second public key to a user, as before the first one is removed.

        Raises:
            PermissionDenied: the right "users" is missing.
            UserNotFound: there is no such user.
            UserExists: a user has this key.
            InvalidRequest: the name or the key is invalid, or the user has two keys.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.add_user_key(name, key), timeout)

    def remove_user_key(self, name: str, key: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Remove one of the two public keys of a user.

        Raises:
            PermissionDenied: the right "users" is missing.
            UserNotFound: there is no such user.
            InvalidRequest: the name or the key is invalid, or the user has no such key, or no
                other.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.remove_user_key(name, key), timeout)

    def assign_role(self, user: str, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Give a user a role; the role "admin" has all rights.

        Raises:
            PermissionDenied: the right "users" is missing.
            UserNotFound: there is no such user.
            RoleNotFound: there is no such role.
            InvalidRequest: a name is invalid, or the user has 100 roles.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.assign_role(user, role), timeout)

    def unassign_role(self, user: str, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Take a role from a user.

        Raises:
            PermissionDenied: the right "users" is missing.
            UserNotFound: there is no such user.
            RoleNotFound: there is no such role, or the user does not have it.
            LastAdministrator: it is the last user with the role admin.
            InvalidRequest: a name is invalid.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.unassign_role(user, role), timeout)

    def grant(
        self, role: str, right: RightName, prefix: str = "", *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Give a role a right; the first one creates the role.

        ``right`` is "read", "write" or "watch", on the keys that begin with ``prefix``; or
        "members", "backup" or "users", in the whole cluster. The prefix ``"jobs/"`` has the key
        ``jobs/1`` under it; ``"jobs"`` has ``jobs2/1`` as well. ``""`` and ``"/"`` mean all keys.

        Raises:
            PermissionDenied: the right "users" is missing.
            InvalidRequest: an argument is invalid, or a limit is exceeded: 1,000 roles with 100
                rights each.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.grant(role, right, prefix), timeout)

    def revoke(
        self, role: str, right: RightName, prefix: str = "", *, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Take a right from a role; with its last one, the role ends.

        It is the right as it was granted: a prefix within a granted one cannot be taken out.

        Raises:
            PermissionDenied: the right "users" is missing.
            RoleNotFound: there is no such role, or it does not have this right.
            InvalidRequest: an argument is invalid.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.revoke(role, right, prefix), timeout)

    def remove_role(self, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """End a role, and take it from all its users.

        Raises:
            PermissionDenied: the right "users" is missing.
            RoleNotFound: there is no such role.
            InvalidRequest: the name is invalid, or the role is built in.
            OutcomeUnknown: the deadline passed; it may have been done, or may yet be.
            RequestTimeout: the deadline passed; nothing was changed.
        """
        self._run(rights.remove_role(role), timeout)

    def users(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[UserInfo]:
        """Return all users, by their names.

        Raises:
            PermissionDenied: the right "users" is missing.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(rights.users(), timeout)

    def roles(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[RoleInfo]:
        """Return all roles but the built-in "admin", by their names.

        Raises:
            PermissionDenied: the right "users" is missing.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(rights.roles(), timeout)

    def whoami(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Identity:
        """Return the user of this client, with its roles.

        Raises:
            PermissionDenied: no user has the client's key.
            RequestTimeout: the deadline passed before a majority confirmed the read.
        """
        return self._run(rights.whoami(), timeout)
