"""Proposals: batches of writes for the log, and how one is split when space runs out."""

from protocol.gateway.pending import Call, PendingRequest, Slot
from protocol.messages.gateway import Opened
from protocol.messages.replicator import Propose
from protocol.state.commands import Batch, Write, grows
from protocol.state.machine import decode_batch
from protocol.wire import encode


def proposal(opened: Opened, number: int, taken: list[tuple[Slot, Write]]) -> Propose:
    """Return a proposal of clients' writes under the given number."""
    writes = tuple([write for _, write in taken])
    batch = Batch(opened.node, opened.incarnation, number, writes)
    return Propose(number, encode(batch), any(map(_grows, writes)))


def split(pending: PendingRequest) -> tuple[list[Slot], list[tuple[Slot, Write]]]:
    """Split a proposal into the slots refused for lack of space and the remaining writes.

    Of each request, the first insert and all later writes are refused: applying a later write
    without that insert would reorder them. Writes whose slot is already answered are dropped.
    """
    assert isinstance(pending.message, Propose)
    refused: list[Slot] = []
    others: list[tuple[Slot, Write]] = []
    refused_call: Call | None = None
    writes = decode_batch(pending.message.payload).writes
    for slot, write in zip(pending.slots, writes, strict=True):
        if slot.call is refused_call or _grows(write):
            refused_call = slot.call
            refused.append(slot)
        elif not slot.is_answered:
            others.append((slot, write))
    return refused, others


def _grows(write: Write) -> bool:
    return grows(write.command)
