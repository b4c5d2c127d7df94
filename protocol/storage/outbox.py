"""Storage outbox: the messages and log lines of one step of the storage writer's turn."""

import msgspec

from protocol.entry import LogEntry
from protocol.messages.gateway import GatewayMessage, RightsUpdate
from protocol.messages.replicator import LeasesApplied, ReplicatorMessage
from protocol.state.key_leases import LeaseChanges
from protocol.state.user_table import UserTable


class StorageOutbox(msgspec.Struct):
    """Messages to the other actors, in order, and log lines."""

    replicator: list[ReplicatorMessage] = msgspec.field(default_factory=list)
    gateway: list[GatewayMessage] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)  # log lines for the operator
    errors: list[str] = msgspec.field(default_factory=list)  # likewise, at level error

    def note_leases(self, index: int, changes: LeaseChanges) -> None:
        """Report to the replicator the leases that were granted and ended up to an entry."""
        if changes.granted or changes.ended or changes.left or changes.is_new_term:
            begun, left = tuple(changes.granted), tuple(changes.left)
            self.replicator.append(LeasesApplied(index, begun, tuple(changes.ended), left))

    def report_fault(self, entry: LogEntry, fault: str) -> None:
        """Log that an entry was skipped, and why."""
        self.errors.append(
            f"entry {entry.index} of term {entry.term} cannot be decoded as {entry.kind.name}; "
            f"it was skipped, here as on every node: {fault}"
        )

    def send_rights(self, users: UserTable) -> None:
        """Send the gateway all users and roles, if they have changed."""
        if users.has_changed:
            users.has_changed = False
            rights = users.rights
            update = RightsUpdate(tuple(rights.users.values()), tuple(rights.roles.values()))
            self.gateway.append(update)
