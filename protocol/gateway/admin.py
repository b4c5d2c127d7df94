"""Admin requests: invitations and leadership transfers, re-sent until they have taken effect."""

from protocol.gateway.invitations import Invitations
from protocol.gateway.pending import Answer, Slot
from protocol.gateway.transfers import Transfers
from protocol.messages.client import AddNode, Failed, FailureCode, TransferLeadership
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import InviteMember, TransferTo

ADMIN_REQUESTS_MAX = 32  # pending at one gateway: each costs messages and links between nodes
TOO_MANY = Failed(FailureCode.OVERLOADED, "too many admin requests are pending")


class AdminRequests:
    """The pending admin requests of one gateway."""

    def __init__(self) -> None:
        self._invitations = Invitations()
        self._transfers = Transfers()
        self.removals = 0  # pending; the gateway itself keeps the requests

    def __bool__(self) -> bool:
        return bool(self._invitations or self._transfers)

    @property
    def are_too_many(self) -> bool:
        """Whether the limit is reached, so that further requests are refused."""
        pending = len(self._invitations) + len(self._transfers) + self.removals
        return pending >= ADMIN_REQUESTS_MAX

    def add(self, slot: Slot, operation: AddNode | TransferLeadership) -> None:
        """Add a request."""
        if isinstance(operation, AddNode):
            self._invitations.add(slot, operation)
        else:
            self._transfers.add(slot, operation)

    def take_all(self) -> list[Slot]:
        """Drop all requests and return their slots."""
        return [*self._invitations.take_all(), *self._transfers.take_all()]

    def take_answers(self, leadership: Leadership | None, now: float) -> list[tuple[Slot, Answer]]:
        """End the requests that are done, impossible or expired; return their answers."""
        invitations = self._invitations.take_answers(leadership, now)
        return invitations + self._transfers.take_answers(leadership, now)

    def take_due(self, now: float) -> list[InviteMember | TransferTo]:
        """Return the messages that are due to the log replicator."""
        return [*self._invitations.take_due(now), *self._transfers.take_due(now)]
