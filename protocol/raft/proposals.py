"""Proposals: batches of commands that gateways ask the leader to append."""

from protocol.entry import EntryKind
from protocol.membership import NodeId
from protocol.messages.gateway import Refused
from protocol.messages.peer import ForwardProposal, ProposalRefused
from protocol.messages.replicator import Propose
from protocol.raft import levels
from protocol.raft.replication import append
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.raft.space import refusal_of_growth
from protocol.raft.state import RaftState
from protocol.refusal import Refusal
from protocol.state.batches import InvalidOperation, TooNew

UNCOMMITTED_BYTES_MAX = 32 << 20  # beyond this, proposals are refused until entries commit

WhyNot = tuple[Refusal, str]  # with a detail for people

# --- of this node's gateway


def on_propose(state: RaftState, leader: Leader, message: Propose) -> None:
    """Append a batch, which this build's gateway has checked; an older member may not apply it."""
    why_not = why_not_append(state, leader, grows=message.grows)
    if why_not is None and state.memberships.level < state.level:
        why_not = _append_checked(state, leader, state.id, message.payload)
    elif why_not is None:
        append(state, leader, EntryKind.BATCH, message.payload)
    if why_not is not None:
        state.outbox.gateway.append(Refused(message.number, *why_not))


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
    why_not = why_not_append(state, leader, grows=message.grows)
    if why_not is None:
        why_not = _append_checked(state, leader, proposer, message.payload)
    if why_not is None:
        leader.proposers[proposer] = state.log.last_index
    else:
        state.send(proposer, ProposalRefused(message.number, *why_not))


def on_forward_proposal_elsewhere(
    state: RaftState, _: Follower | Candidate, proposer: NodeId, message: ForwardProposal
) -> None:
    """Refuse a batch that a leader should have received."""
    state.send(proposer, ProposalRefused(message.number, Refusal.NOT_LEADER))


def _append_checked(
    state: RaftState, leader: Leader, proposer: NodeId, payload: bytes
) -> WhyNot | None:
    try:
        checked = state.check_proposal(payload, proposer, state.memberships.level)
    except TooNew as error:
        return levels.refusal_of(state, leader, error.level)
    except InvalidOperation as error:
        state.complain(proposer, "proposal", f"refused its proposal, which is invalid: {error}")
        return Refusal.INVALID, ""
    append(state, leader, EntryKind.BATCH, checked)
    return None


def why_not_append(state: RaftState, leader: Leader, *, grows: bool) -> WhyNot | None:
    """Return why a leader appends no batch now; ``grows`` if it needs space."""
    refusal = None
    if leader.transfer_to is not None:
        refusal = Refusal.NOT_LEADER
    elif leader.uncommitted_bytes > UNCOMMITTED_BYTES_MAX:
        refusal = Refusal.OVERLOADED
    elif grows:
        refusal = refusal_of_growth(state, leader)
    return None if refusal is None else (refusal, "")
