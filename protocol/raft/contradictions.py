"""Contradictions: what no correct node can have sent, and so is refused, whoever sent it.

Each check returns what is wrong with a message, or None. A message that is only late, or of
another term, contradicts nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from protocol.membership import NodeId
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PeerMessage,
    TimeoutNow,
)
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState


class Contradiction(NamedTuple):
    """The rule that a message breaks, and how, as a sentence about its sender."""

    rule: str
    sentence: str


Check = Callable[[RaftState, NodeId, Any], Contradiction | None]


def find(state: RaftState, sender: NodeId, message: object) -> Contradiction | None:
    """Return what is wrong with a peer's message of the present term, or None."""
    check = CHECKS.get(type(message))
    return None if check is None else check(state, sender, message)


def _rival(state: RaftState, sender: NodeId, _: PeerMessage) -> Contradiction | None:
    """A term has one leader (Raft §5.2)."""
    leader = state.leader
    if leader is None or leader == sender:
        return None
    sentence = f"speaks as the leader of term {state.term}, which {leader.hex()[:8]} leads"
    return Contradiction("one leader a term", sentence)


def _append(state: RaftState, sender: NodeId, message: AppendEntries) -> Contradiction | None:
    """Entries follow each other, and none replaces a committed one (§5.3, §5.4)."""
    index, term = message.prev_index, message.prev_term
    for entry in message.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= message.term:
            sent = f"sent entry {entry.index} of term {entry.term} after {index - 1} of {term}"
            return Contradiction("entries follow each other", sent)
        term = entry.term
    if message.prev_index <= state.agreed_index:
        return _rival(state, sender, message) or _committed(state, message)
    return _rival(state, sender, message)


def _committed(state: RaftState, message: AppendEntries) -> Contradiction | None:
    places = [(message.prev_index, message.prev_term)]
    places += [(entry.index, entry.term) for entry in message.entries]
    for index, term in places:
        if index <= state.agreed_index and not state.log.matches(index, term):
            held = state.log.term_at(index)
            sent = f"sent entry {index} of term {term}, where one of term {held} is committed"
            return Contradiction("committed entries stay", f"{sent}; it was refused")
    return None


def _snapshot(state: RaftState, sender: NodeId, message: InstallSnapshot) -> Contradiction | None:
    """A chunk is of one snapshot, which no later term than the leader's can have made."""
    snapshot = message.chunk.start.snapshot
    if snapshot != message.chunk.end.snapshot or snapshot.term > message.term:
        sent = f"sent a chunk of a snapshot of index {snapshot.index} that cannot be"
        return Contradiction("chunks are of one snapshot", sent)
    return _rival(state, sender, message)


def _append_reply(state: RaftState, _: NodeId, message: AppendEntriesReply) -> Contradiction | None:
    """A follower holds nothing that its leader does not (§5.3)."""
    if not isinstance(state.role, Leader) or message.index <= state.log.last_index:
        return None
    sent = f"answered for entry {message.index}, and this leader has {state.log.last_index}"
    return Contradiction("followers hold what was sent", sent)


def _heartbeat_reply(state: RaftState, _: NodeId, message: HeartbeatReply) -> Contradiction | None:
    """Only what a leader has asked for can be confirmed."""
    if not isinstance(state.role, Leader):
        return None
    if message.round <= state.role.reads.round and message.stamp <= state.now:
        return None
    sent = f"confirmed round {message.round}, stamped {message.stamp}, which was never asked for"
    return Contradiction("only rounds that were begun", sent)


CHECKS: dict[type, Check] = {
    AppendEntries: _append,
    Heartbeat: _rival,
    InstallSnapshot: _snapshot,
    TimeoutNow: _rival,
    AppendEntriesReply: _append_reply,
    HeartbeatReply: _heartbeat_reply,
}
