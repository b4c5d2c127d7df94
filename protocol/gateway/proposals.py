"""Proposals: batches of writes for the log, and how one is split when some are refused."""

from protocol.gateway.pending import Call, PendingRequest, Slot
from protocol.messages.gateway import Leadership, Opened, Refused
from protocol.messages.replicator import Propose
from protocol.ranges import LEVEL_MIN
from protocol.refusal import Refusal
from protocol.state.commands import Batch, Write, grows
from protocol.state.levels import level_of_write, level_of_writes, runs_older
from protocol.state.machine import decode_batch
from protocol.wire import encode

Split = tuple[list[Slot], list[tuple[Slot, Write]]]  # refused slots, and the remaining writes


def proposal(opened: Opened, number: int, taken: list[tuple[Slot, Write]]) -> Propose:
    """Return a proposal of clients' writes under the given number."""
    writes = tuple([write for _, write in taken])
    batch = Batch(opened.node, opened.incarnation, number, writes)
    return Propose(number, encode(batch), any(map(_grows, writes)))


def split(pending: PendingRequest, refusal: Refusal) -> Split:
    """Split a proposal into the slots to which this refusal applies and the remaining writes."""
    return _by_level(pending) if refusal is Refusal.OLD_MEMBER else _by_growth(pending)


def _by_growth(pending: PendingRequest) -> Split:
    """Split a proposal whose inserts are refused for lack of space.

    Of each request, the first insert and all later writes are refused: applying a later write
    without that insert would reorder them. Writes whose slot is already answered are dropped.
    """
    refused: list[Slot] = []
    others: list[tuple[Slot, Write]] = []
    refused_call: Call | None = None
    for slot, write in zip(pending.slots, _writes(pending), strict=True):
        if slot.call is refused_call or _grows(write):
            refused_call = slot.call
            refused.append(slot)
        elif not slot.is_answered:
            others.append((slot, write))
    return refused, others


def _by_level(pending: PendingRequest) -> Split:
    """Split a proposal whose newest commands are refused because of an older member.

    A client does not repeat them, so that the later writes of its request go on.
    """
    writes = _writes(pending)
    level = level_of_writes(writes)
    pairs = list(zip(pending.slots, writes, strict=True))
    refused = [slot for slot, write in pairs if level_of_write(write) == level]
    others = [each for each in pairs if level_of_write(each[1]) < level]
    return refused, [each for each in others if not each[0].is_answered]


def reason_of(message: Refused, pending: PendingRequest, leadership: Leadership | None) -> Refused:
    """Return a refusal with its true reason.

    Only an older leader finds invalid what this gateway has checked. A leader from before there
    were levels may have lost those of the membership.
    """
    if message.refusal is not Refusal.INVALID or not isinstance(pending.message, Propose):
        return message
    if level_of_writes(_writes(pending)) == LEVEL_MIN:
        return message
    address = "" if leadership is None else leadership.leader_address
    return Refused(message.number, Refusal.OLD_MEMBER, runs_older(address) if address else "")


def _writes(pending: PendingRequest) -> tuple[Write, ...]:
    assert isinstance(pending.message, Propose)
    return decode_batch(pending.message.payload).writes


def _grows(write: Write) -> bool:
    return grows(write.command)
