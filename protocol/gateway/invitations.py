"""Invitations: standby nodes that are brought into the cluster, until they vote."""

from protocol.address import parse_address
from protocol.gateway.pending import Answer, Slot
from protocol.membership import Member
from protocol.messages.client import AddNode, Done, Failed, FailureCode
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import InviteMember

INVITE_SECONDS = 0.3  # between two invitations: a standby node may not be up yet

_LATE = Failed(FailureCode.UNKNOWN, "the invited node has not become a voter in time; it still may")


class Invitations:
    """Addresses that are invited again and again until their nodes vote."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Slot, AddNode]] = []
        self._invite_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, operation: AddNode) -> None:
        """Wait for the node at an address, written as members have it: with its port."""
        address = str(parse_address(operation.address))
        self._waiting.append((slot, AddNode(address)))

    def take_all(self) -> list[Slot]:
        """Wait for nobody any more; return who waited."""
        waiting, self._waiting = self._waiting, []
        return [slot for slot, _ in waiting]

    def take_answers(self, leadership: Leadership | None, now: float) -> list[tuple[Slot, Answer]]:
        """Return the answers for those whose node votes by now, or whose time is over."""
        answers: list[tuple[Slot, Answer]] = []
        waiting: list[tuple[Slot, AddNode]] = []
        for slot, operation in self._waiting:
            if leadership is not None and _votes(leadership.membership.at(operation.address)):
                answers.append((slot, Done()))
            elif slot.call.deadline <= now:
                answers.append((slot, _too_late(operation.address, leadership)))
            else:
                waiting.append((slot, operation))
        self._waiting = waiting
        return answers

    def take_due(self, now: float) -> list[InviteMember]:
        """Return the invitations to send now."""
        if not self._waiting or now < self._invite_at:
            return []
        self._invite_at = now + INVITE_SECONDS
        addresses = dict.fromkeys(operation.address for _, operation in self._waiting)
        return [InviteMember(address) for address in addresses]


def _too_late(address: str, leadership: Leadership | None) -> Failed:
    """Tell a node that is slow from one that is not there: that one would be a learner at once."""
    if leadership is None or leadership.leader is None or leadership.membership.at(address):
        return _LATE
    found_none = f"no node at {address} has asked to become a member in time"
    return Failed(FailureCode.NO_STANDBY, found_none)


def _votes(member: Member | None) -> bool:
    return member is not None and member.voter
