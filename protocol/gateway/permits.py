"""Permits: operations that wait until storage has checked the rights of their users.

Storage checks reads and writes when it serves and applies them. Members are changed, and leases
kept alive, before it sees anything: storage is asked first, by a read that a quorum confirms.
"""

from collections.abc import Callable

import msgspec

from protocol.gateway.pending import Answer, Slot
from protocol.messages.client import (
    AddNode,
    Done,
    KeepAlive,
    Operation,
    RemoveNode,
    TransferLeadership,
)
from protocol.messages.rights import CheckRight
from protocol.state.user_commands import Right
from protocol.wire import encode

ALLOWED = encode(Done())  # the outcome of a check


class Permits:
    """The operations of one gateway whose checks have ended well."""

    def __init__(self, answer: Callable[[Slot, Answer], None]) -> None:
        self._answer = answer
        self._cleared: list[tuple[Slot, Operation]] = []

    def first_of(self, slot: Slot, operation: Operation) -> Operation:
        """Return what is to be done first: the operation itself, or the check before it."""
        match operation:
            case KeepAlive(leases=leases):
                slot.hold(operation)
                return CheckRight(None, leases=leases)
            case RemoveNode() | AddNode() | TransferLeadership():
                slot.hold(operation)
                return CheckRight(Right.MEMBERS)
            case _:
                return operation

    def answer_read(self, slot: Slot, outcome: Answer) -> None:
        """Answer a read, or note that the operation whose rights it has checked may begin."""
        held = slot.take_held()
        if held is not None and isinstance(outcome, msgspec.Raw) and bytes(outcome) == ALLOWED:
            self._cleared.append((slot, held))
        else:
            self._answer(slot, outcome)

    def take_cleared(self) -> list[tuple[Slot, Operation]]:
        """Return the operations that may begin now."""
        cleared, self._cleared = self._cleared, []
        return cleared
