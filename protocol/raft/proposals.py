"""Proposals: batches of commands that gateways ask the leader to append."""

from protocol.entry import EntryKind
from protocol.membership import NodeId
from protocol.messages.gateway import Refused
from protocol.messages.peer import ForwardProposal, ProposalRefused
from protocol.messages.replicator import Propose
from protocol.raft.replication import append
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.raft.space import refusal_of_growth
from protocol.raft.state import RaftState
from protocol.refusal import Refusal
from protocol.state.batches import InvalidOperation

UNCOMMITTED_BYTES_MAX = 32 << 20  # beyond this, proposals are refused until entries commit

# --- of this node's gateway


def on_propose(state: RaftState, leader: Leader, message: Propose) -> None:
    """Append a batch."""
    refusal = _why_not_append(state, leader, grows=message.grows)
    if refusal is None:
        append(state, leader, EntryKind.BATCH, message.payload)
    else:
        state.outbox.gateway.append(Refused(message.number, refusal))


def on_propose_elsewhere(state: RaftState, _: Follower | Candidate, message: Propose) -> None:
    """Forward a batch to the leader, if there is one."""
    if state.leader is None:
        state.outbox.gateway.append(Refused(message.number, Refusal.NOT_LEADER))
    else:
        forwarded = ForwardProposal(message.number, message.payload, message.grows)
        state.send(state.leader, forwarded)


def on_proposal_refused(state: RaftState, _: Role, __: NodeId, message: ProposalRefused) -> None:
    """Report to the gateway that the leader refused its batch or its change of members."""
    state.outbox.gateway.append(Refused(message.number, message.refusal, message.detail))


# --- of other nodes' gateways


def on_forward_proposal(
    state: RaftState, leader: Leader, proposer: NodeId, message: ForwardProposal
) -> None:
    """Append a follower's batch, if it is valid."""
    refusal = _why_not_append(state, leader, grows=message.grows)
    if refusal is None:
        refusal = _append_forwarded(state, leader, proposer, message.payload)
    if refusal is None:
        leader.proposers[proposer] = state.log.last_index
    else:
        state.send(proposer, ProposalRefused(message.number, refusal))


def on_forward_proposal_elsewhere(
    state: RaftState, _: Follower | Candidate, proposer: NodeId, message: ForwardProposal
) -> None:
    """Refuse a batch that a leader should have received."""
    state.send(proposer, ProposalRefused(message.number, Refusal.NOT_LEADER))


def _append_forwarded(
    state: RaftState, leader: Leader, proposer: NodeId, payload: bytes
) -> Refusal | None:
    try:
        append(state, leader, EntryKind.BATCH, state.check_proposal(payload, proposer))
    except InvalidOperation as error:
        state.complain(proposer, "proposal", f"refused its proposal, which is invalid: {error}")
        return Refusal.INVALID
    return None


def _why_not_append(state: RaftState, leader: Leader, *, grows: bool) -> Refusal | None:
    if leader.transfer_to is not None:
        return Refusal.NOT_LEADER
    if leader.uncommitted_bytes > UNCOMMITTED_BYTES_MAX:
        return Refusal.OVERLOADED
    return refusal_of_growth(state, leader) if grows else None
