"""Contradictions: messages that no correct node can have sent. They are refused and reported.

Each check returns the contradiction in a message of the current term, or None. A message that is
merely late contradicts nothing. These checks are defence in depth: the safety argument of Raft
assumes correct nodes, and a member with a damaged disk or memory is not one.
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
    """The rule that a message breaks, and a sentence about its sender that says how."""

    rule: str
    sentence: str


# The key of ``CHECKS`` establishes the type of message that the check was declared with.
Check = Callable[[RaftState, NodeId, Any], Contradiction | None]


def find(state: RaftState, sender: NodeId, message: object) -> Contradiction | None:
    """Return the contradiction in a peer's message of the current term, or None."""
    check = CHECKS.get(type(message))
    return None if check is None else check(state, sender, message)


def _rival(state: RaftState, sender: NodeId, _: PeerMessage) -> Contradiction | None:
    """A term has one leader (Raft §5.2)."""
    leader = state.leader
    if leader is None or leader == sender:
        return None
    sentence = f"claims to lead term {state.term}, which {leader.hex()[:8]} leads"
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
    """A chunk belongs to one snapshot, whose term is not later than the leader's."""
    snapshot = message.chunk.start.snapshot
    if snapshot != message.chunk.end.snapshot or snapshot.term > message.term:
        sent = f"sent an impossible chunk of a snapshot at index {snapshot.index}"
        return Contradiction("a chunk belongs to one snapshot", sent)
    return _rival(state, sender, message)


def _append_reply(state: RaftState, _: NodeId, message: AppendEntriesReply) -> Contradiction | None:
    """A follower holds no matching entry that its leader lacks (§5.3)."""
    if not isinstance(state.role, Leader) or message.index <= state.log.last_index:
        return None
    sent = f"acknowledged entry {message.index}, and this leader has {state.log.last_index}"
    return Contradiction("followers hold only entries that were sent", sent)


def _heartbeat_reply(state: RaftState, _: NodeId, message: HeartbeatReply) -> Contradiction | None:
    """Only a round that a leader has begun can be confirmed."""
    if not isinstance(state.role, Leader):
        return None
    if message.round <= state.role.reads.round and message.stamp <= state.now:
        return None
    sent = f"confirmed round {message.round}, stamped {message.stamp}, which was never begun"
    return Contradiction("only begun rounds are confirmed", sent)


CHECKS: dict[type, Check] = {
    AppendEntries: _append,
    Heartbeat: _rival,
    InstallSnapshot: _snapshot,
    TimeoutNow: _rival,
    AppendEntriesReply: _append_reply,
    HeartbeatReply: _heartbeat_reply,
}
