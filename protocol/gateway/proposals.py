"""Proposals: batches of writes for the log, and what becomes of one for which there is no room."""

from protocol.commands import Batch, Insert, Write
from protocol.gateway.pending import Errand, Slot
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
    """Return the slots of a proposal's inserts, and its other writes that still are waited for."""
    assert isinstance(errand.message, Propose)
    writes = decode_batch(errand.message.payload).writes
    taken = list(zip(errand.slots, writes, strict=True))
    inserts = [slot for slot, write in taken if _grows(write)]
    others = [each for each in taken if not (_grows(each[1]) or each[0].is_answered)]
    return inserts, others


def _grows(write: Write) -> bool:
    return type(write.command) is Insert
