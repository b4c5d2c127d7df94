"""Proposals: batches of writes for the log, and what becomes of one for which there is no room."""

from protocol.commands import Batch, Insert, Write
from protocol.gateway.pending import Call, Errand, Slot
from protocol.messages.gateway import Opened
from protocol.messages.replicator import Propose
from protocol.state_machine import decode_batch
from protocol.wire import encode


def proposal(opened: Opened, number: int, taken: list[tuple[Slot, Write]]) -> Propose:
    """Return the proposal of these writes of a node's clients, under a number of its own."""
    writes = tuple([write for _, write in taken])
    batch = Batch(opened.node, opened.incarnation, number, writes)
    return Propose(number, encode(batch), any(map(_grows, writes)))


def split(errand: Errand) -> tuple[list[Slot], list[tuple[Slot, Write]]]:
    """Return the slots of a proposal that are refused for lack of room, and its other writes.

    Of a request, the first insert and all writes after it are refused: done before that insert,
    they would be done in another order. Writes that no client waits for are left out.
    """
    assert isinstance(errand.message, Propose)
    refused: list[Slot] = []
    others: list[tuple[Slot, Write]] = []
    refused_call: Call | None = None
    writes = decode_batch(errand.message.payload).writes
    for slot, write in zip(errand.slots, writes, strict=True):
        if slot.call is refused_call or _grows(write):
            refused_call = slot.call
            refused.append(slot)
        elif not slot.is_answered:
            others.append((slot, write))
    return refused, others


def _grows(write: Write) -> bool:
    return type(write.command) is Insert
