"""Moving leadership on demand: who waits for which node to lead (Raft dissertation §3.10)."""

import msgspec

from protocol.gateway.pending import Answer, Slot
from protocol.membership import NodeId
from protocol.messages.client import Failed, FailureCode, TransferLeadership, Transferred
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import TransferTo

TRANSFER_SECONDS = 0.3  # between two orders: the leader, or one on its way to it, may be gone

_LATE = Failed(FailureCode.UNKNOWN, "leadership has not moved before the deadline; it may yet")
_UNKNOWN = Failed(FailureCode.UNKNOWN_NODE, "no member has this id")
_LEARNER = Failed(FailureCode.INVALID, "this node cannot lead: it is a learner and has no vote yet")
_ALONE = Failed(FailureCode.INVALID, "leadership cannot move: there is no other voter")


class _Wish(msgspec.Struct):
    """Who is to lead; or, if none is named, who led when that was first seen."""

    slot: Slot
    node: NodeId
    former: NodeId | None = None


class Transfers:
    """Orders to transfer leadership, given again and again until it has moved."""

    def __init__(self) -> None:
        self._waiting: list[_Wish] = []
        self._order_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, operation: TransferLeadership) -> None:
        """Wait for leadership to move."""
        self._waiting.append(_Wish(slot, operation.node))
        self._order_at = 0.0

    def take_all(self) -> list[Slot]:
        """Wait for nothing any more; return who waited."""
        waiting, self._waiting = self._waiting, []
        return [wish.slot for wish in waiting]

    def take_answers(self, leadership: Leadership | None, now: float) -> list[tuple[Slot, Answer]]:
        """Return the answers for what has come about, never will, or is late."""
        answers: list[tuple[Slot, Answer]] = []
        waiting: list[_Wish] = []
        for wish in self._waiting:
            answer = None if leadership is None else _judge(wish, leadership)
            if answer is None and wish.slot.call.deadline <= now:
                answer = _LATE
            if answer is None:
                waiting.append(wish)
            else:
                answers.append((wish.slot, answer))
        self._waiting = waiting
        return answers

    def take_due(self, now: float) -> list[TransferTo]:
        """Return the orders to send now."""
        if not self._waiting or now < self._order_at:
            return []
        self._order_at = now + TRANSFER_SECONDS
        return [TransferTo(node) for node in dict.fromkeys(wish.node for wish in self._waiting)]


def _judge(wish: _Wish, leadership: Leadership) -> Answer | None:
    """Return what is certain by now of a wish; a node that has not joined knows nothing."""
    if not leadership.membership.members:
        return None
    if wish.node:
        member = leadership.membership.get(wish.node)
        if leadership.leader == wish.node:
            return Transferred(wish.node)
        if member is None:
            return _UNKNOWN
        return None if member.voter else _LEARNER
    wish.former = wish.former or leadership.leader
    if leadership.leader is not None and leadership.leader != wish.former:
        return Transferred(leadership.leader)
    return None if leadership.membership.voters - {wish.former} else _ALONE
