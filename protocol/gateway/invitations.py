"""Invitations: standby nodes asked to join the cluster, repeatedly until they are voters."""

from protocol.address import parse_address
from protocol.gateway.pending import Answer, Slot
from protocol.membership import Member
from protocol.messages.client import AddNode, Done, Failed, FailureCode
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import InviteMember

INVITE_SECONDS = 0.3  # between invitations: the standby node may not be up yet

_LATE = Failed(FailureCode.UNKNOWN, "the invited node is not a voter yet; it may still become one")


class Invitations:
    """Pending ``AddNode`` requests."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Slot, AddNode]] = []
        self._invite_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, operation: AddNode) -> None:
        """Add a request; its address is normalized to host:port, as members have it."""
        address = str(parse_address(operation.address))
        self._waiting.append((slot, AddNode(address)))

    def take_all(self) -> list[Slot]:
        """Drop all requests and return their slots."""
        waiting, self._waiting = self._waiting, []
        return [slot for slot, _ in waiting]

    def take_answers(self, leadership: Leadership | None, now: float) -> list[tuple[Slot, Answer]]:
        """End the requests whose node is a voter or whose deadline passed; return their answers."""
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
        """Return the invitations that are due."""
        if not self._waiting or now < self._invite_at:
            return []
        self._invite_at = now + INVITE_SECONDS
        addresses = dict.fromkeys(operation.address for _, operation in self._waiting)
        return [InviteMember(address) for address in addresses]


def _too_late(address: str, leadership: Leadership | None) -> Failed:
    """Distinguish a slow node from a missing one: a node that asks becomes a learner at once."""
    if leadership is None or leadership.leader is None or leadership.membership.at(address):
        return _LATE
    found_none = f"no node at {address} has asked to become a member in time"
    return Failed(FailureCode.NO_STANDBY, found_none)


def _votes(member: Member | None) -> bool:
    return member is not None and member.voter
