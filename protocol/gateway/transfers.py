"""Leadership transfers on demand (Raft dissertation §3.10)."""

import msgspec

from protocol.gateway.pending import Answer, Slot
from protocol.membership import NodeId
from protocol.messages.client import Failed, FailureCode, TransferLeadership, Transferred
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import TransferTo

TRANSFER_SECONDS = 0.3  # between attempts: the leader, or a message to it, may be lost

_LATE = Failed(FailureCode.UNKNOWN, "leadership has not moved before the deadline; it may yet")
_UNKNOWN = Failed(FailureCode.UNKNOWN_NODE, "no member has this id")
_LEARNER = Failed(FailureCode.INVALID, "this node cannot lead: it is a learner and has no vote yet")
_ALONE = Failed(FailureCode.INVALID, "leadership cannot move: there is no other voter")


class _TransferRequest(msgspec.Struct):
    """A pending transfer to ``node``; if that is empty, away from the ``former`` leader."""

    slot: Slot
    node: NodeId
    former: NodeId | None = None


class Transfers:
    """Pending transfers, re-sent until leadership has moved."""

    def __init__(self) -> None:
        self._waiting: list[_TransferRequest] = []
        self._order_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, operation: TransferLeadership) -> None:
        """Add a request."""
        self._waiting.append(_TransferRequest(slot, operation.node))
        self._order_at = 0.0

    def take_all(self) -> list[Slot]:
        """Drop all requests and return their slots."""
        waiting, self._waiting = self._waiting, []
        return [request.slot for request in waiting]

    def take_answers(self, leadership: Leadership | None, now: float) -> list[tuple[Slot, Answer]]:
        """End the requests that are done, impossible or expired; return their answers."""
        answers: list[tuple[Slot, Answer]] = []
        waiting: list[_TransferRequest] = []
        for request in self._waiting:
            answer = None if leadership is None else _answer_of(request, leadership)
            if answer is None and request.slot.call.deadline <= now:
                answer = _LATE
            if answer is None:
                waiting.append(request)
            else:
                answers.append((request.slot, answer))
        self._waiting = waiting
        return answers

    def take_due(self, now: float) -> list[TransferTo]:
        """Return the transfer messages that are due."""
        if not self._waiting or now < self._order_at:
            return []
        self._order_at = now + TRANSFER_SECONDS
        return [
            TransferTo(node) for node in dict.fromkeys(request.node for request in self._waiting)
        ]


def _answer_of(request: _TransferRequest, leadership: Leadership) -> Answer | None:
    """Return a request's answer, None while undecided; a node that has not joined cannot decide."""
    if not leadership.membership.members:
        return None
    if request.node:
        member = leadership.membership.get(request.node)
        if leadership.leader == request.node:
            return Transferred(request.node)
        if member is None:
            return _UNKNOWN
        return None if member.voter else _LEARNER
    request.former = request.former or leadership.leader
    if leadership.leader is not None and leadership.leader != request.former:
        return Transferred(leadership.leader)
    return None if leadership.membership.voters - {request.former} else _ALONE
