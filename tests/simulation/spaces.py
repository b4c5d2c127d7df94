"""Spaces: leaders append inserts only while there is room."""

from protocol.entry import EntryKind, LogEntry
from protocol.membership import NodeId, is_majority
from protocol.raft.node import RaftNode
from protocol.raft.roles import Leader
from protocol.space import Shortage
from protocol.state.commands import Insert
from protocol.state.machine import decode_batch
from tests.harness.breach import expect

LOG_BYTES = 1 << 40


class Knowledge:
    """The shortages that a leader knows of, and the end of its log."""

    def __init__(self, core: RaftNode, leader: Leader) -> None:
        state = core._state
        self.term = state.term
        self.last_index = state.log.last_index
        self.own = state.shortage
        self.voters = core.membership.voters
        self.short: set[NodeId] = {
            peer
            for peer, progress in leader.progress.items()
            if progress.shortage is not None and progress.shortage.is_of_disk
        }
        if self.own.is_of_disk:
            self.short.add(core.id)


def known(core: RaftNode) -> Knowledge | None:
    """Return the knowledge of a leader, or None for another node."""
    role = core._state.role
    return Knowledge(core, role) if isinstance(role, Leader) else None


def judge(core: RaftNode, before: Knowledge | None) -> None:
    """Check the entries that a leader has appended by its knowledge before and after."""
    now = known(core)
    if before is None or now is None or before.term != now.term:
        return
    if now.last_index == before.last_index or not (now.own or now.short):
        return
    entries = core._state.log.slice(before.last_index + 1, LOG_BYTES)
    if not any(map(_grows, entries)):
        return
    is_short = Shortage.NONE not in (before.own, now.own)
    expect(not is_short, "a leader without room appended an insert")
    short = before.short & now.short
    # The same frame may have had a removal after the insert.
    has_room = [is_majority(len(each - short), len(each)) for each in (before.voters, now.voters)]
    expect(any(has_room), "an insert was appended without a majority's room")


def _grows(entry: LogEntry) -> bool:
    if entry.kind is not EntryKind.BATCH:
        return False
    return any(isinstance(write.command, Insert) for write in decode_batch(entry.payload).writes)
