"""Read rights: what each read needs, checked by storage at the moment at which it is served.

A page of a scan is checked by the rights of then, although its view is older: a right that is
revoked ends the scan.
"""

from typing import assert_never

from protocol.messages.client import (
    Done,
    Get,
    GetMany,
    KeepAlive,
    ListKeys,
    ListLeases,
    ListPrefixes,
    ReadChanges,
    ReadOperation,
    ReadSnapshot,
    RightsRead,
    Scan,
)
from protocol.messages.rights import CheckRight, Identity, ListUsers, Users, WhoAmI
from protocol.state.key_leases import find_lease
from protocol.state.needed_rights import denial_of_lease
from protocol.state.rights import UNKNOWN, Rights
from protocol.state.tables import Table
from protocol.state.user_commands import Denied, Right


class ReadRights:
    """The rights as reads need them, with the reads of the rights themselves."""

    def __init__(self, rights: Rights, leases: Table) -> None:
        self._rights = rights
        self._leases = leases

    def denial(self, operation: ReadOperation, user: bytes) -> Denied | None:
        """Return that a user lacks a right that a read needs; the first one."""
        if self._rights.name_of(user) is None:
            return UNKNOWN
        match operation:
            case Get(key=key):
                return self._rights.denial(user, Right.READ, key)
            case GetMany(keys=keys):
                denials = (self._rights.denial(user, Right.READ, key) for key in keys)
                return next(filter(None, denials), None)
            case ListKeys() | ListPrefixes() | Scan():
                return self._rights.denial_of_prefix(user, Right.READ, operation.prefix)
            case ReadChanges(prefix=prefix):
                return self._rights.denial_of_prefix(user, Right.WATCH, prefix)
            case _:
                return self._denial_of_other(operation, user)

    def _denial_of_other(
        self, operation: ReadSnapshot | KeepAlive | ListLeases | RightsRead, user: bytes
    ) -> Denied | None:
        match operation:
            case ReadSnapshot():
                return self._rights.denial(user, Right.BACKUP)
            case ListLeases():
                return self._rights.denial(user, Right.READ)
            case ListUsers():
                return self._rights.denial(user, Right.USERS)
            case KeepAlive(leases=leases):
                return self._denial_of_leases(leases, user)
            case CheckRight(right=right, prefix=prefix, leases=leases):
                missing = right and self._rights.denial_of_prefix(user, right, prefix)
                return missing or self._denial_of_leases(leases, user)
            case WhoAmI():
                return None
            case unknown:
                assert_never(unknown)

    def read(self, operation: RightsRead, user: bytes) -> Users | Identity | Done:
        """Return what a read of the rights asks for."""
        match operation:
            case ListUsers():
                users = sorted(self._rights.users.items())
                roles = sorted(self._rights.roles.items())
                return Users(tuple([each for _, each in users]), tuple([each for _, each in roles]))
            case WhoAmI():
                return self._identity(user)
            case CheckRight():
                return Done()
            case unknown:
                assert_never(unknown)

    def _identity(self, user: bytes) -> Identity:
        found = self._rights.find(user)
        if found is None:
            return Identity("")
        return Identity(found.name, tuple(filter(None, map(self._rights.role, found.roles))))

    def _denial_of_leases(self, leases: tuple[int, ...], user: bytes) -> Denied | None:
        rows = ((lease, find_lease(self._leases, lease)) for lease in leases)
        denials = (denial_of_lease(*row, user, self._rights) for row in rows)
        return next(filter(None, denials), None)
