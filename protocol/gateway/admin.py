"""Admin requests: standby nodes to invite and leadership to move, re-sent until that is done."""

from protocol.client_messages import AddNode, TransferLeadership
from protocol.gateway.invitations import Invitations
from protocol.gateway.pending import Answer, Slot
from protocol.gateway.transfers import Transfers
from protocol.node_messages import InviteMember, Leadership, TransferTo


class AdminRequests:
    """All admin requests that wait at one gateway until what they ask for has come about."""

    def __init__(self) -> None:
        self._invitations = Invitations()
        self._transfers = Transfers()

    def __bool__(self) -> bool:
        return bool(self._invitations or self._transfers)

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
