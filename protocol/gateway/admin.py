"""Admin requests: standby nodes to invite and leadership to move, re-sent until that is done."""

from protocol.gateway.invitations import Invitations
from protocol.gateway.pending import Answer, Slot
from protocol.gateway.transfers import Transfers
from protocol.messages.client import AddNode, Failed, FailureCode, TransferLeadership
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import InviteMember, TransferTo

ADMIN_REQUESTS_MAX = 32  # that wait at one gateway: each costs messages and links between nodes
TOO_MANY = Failed(FailureCode.OVERLOADED, "too many changes of members or of the leader wait")


class AdminRequests:
    """All admin requests that wait at one gateway until what they ask for has come about."""

    def __init__(self) -> None:
        self._invitations = Invitations()
        self._transfers = Transfers()
        self.removals = 0  # which the gateway keeps among what it has sent to the log replicator

    def __bool__(self) -> bool:
        return bool(self._invitations or self._transfers)

    @property
    def are_too_many(self) -> bool:
        """Whether no further request is to wait."""
        waiting = len(self._invitations) + len(self._transfers) + self.removals
        return waiting >= ADMIN_REQUESTS_MAX

    def add(self, slot: Slot, operation: AddNode | TransferLeadership) -> None:
        """Let a request wait."""
        if isinstance(operation, AddNode):
            self._invitations.add(slot, operation)
        else:
            self._transfers.add(slot, operation)

    def take_all(self) -> list[Slot]:
        """Drop all requests; return their slots."""
        return [*self._invitations.take_all(), *self._transfers.take_all()]

    def take_answers(self, leadership: Leadership | None, now: float) -> list[tuple[Slot, Answer]]:
        """Return the answers of those that are done, never will be, or are late."""
        invitations = self._invitations.take_answers(leadership, now)
        return invitations + self._transfers.take_answers(leadership, now)

    def take_due(self, now: float) -> list[InviteMember | TransferTo]:
        """Return what is to be sent to the log replicator now."""
        return [*self._invitations.take_due(now), *self._transfers.take_due(now)]
