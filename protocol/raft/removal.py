"""Removal notices: how a removed node learns of its removal, and when it believes it.

A removed node receives no entries any more, so that its own log may lack the removal. Members
answer its vote requests by ``RemovalNotice`` (dissertation §4.2.3 only ignores them).
"""

from protocol.membership import MembershipAt, NodeId
from protocol.messages.peer import RemovalNotice
from protocol.raft.roles import Candidate, Follower
from protocol.raft.state import RaftState

REMOVAL_CLAIMS_MIN = 2  # members that must agree, where this node knows as many
REMOVAL_CLAIM_MICROSECONDS = 30_000_000  # without a leader, after which one claim is enough


def notify_if_removed(state: RaftState, candidate: NodeId) -> bool:
    """Notify a candidate that the committed membership lacks it; return whether it does.

    The candidate compares the index with its own log: its membership may be newer than this one.
    """
    committed = state.memberships.committed
    was_removed = bool(committed.membership.members) and not committed.membership.get(candidate)
    if was_removed:
        state.send(candidate, RemovalNotice(committed.index, candidate))
    return was_removed


def on_removed(
    state: RaftState, _: Follower | Candidate, sender: NodeId, message: RemovalNotice
) -> None:
    """Stop campaigning, unless a newer membership lists this node.

    Where its own log lacks that membership, the node believes two members, or one if no leader
    makes contact for a while: otherwise a single broken member could remove it. A node that no
    committed membership of its log has listed counts as new: it asks for membership again.
    """
    if state.removed or message.node not in (b"", state.id):
        return
    if message.index <= state.listed_at or not _may_claim(state, sender):
        return  # the sender's membership is older than the one that let this node in
    if _is_removed(state, sender, message.index) and not state.addition_pending:
        state.removal_claims.clear()
        state.set_removed()
        state.become_follower()


def is_left_out(state: RaftState, memberships: tuple[MembershipAt, ...]) -> bool:
    """Whether none of a member's memberships lists this node, which its own log lists."""
    if not state.memberships.ever_had(state.id):
        return False  # it is still joining, and these may be older than its own membership
    has = [each.membership.get(state.id) is not None for each in memberships]
    return bool(memberships) and bool(memberships[0].membership.members) and not any(has)


def addition_lost(state: RaftState) -> bool:
    """Whether members lack the uncommitted membership that lists this node."""
    return state.addition_pending and bool(state.removal_claims) and _is_borne_out(state)


def _may_claim(state: RaftState, sender: NodeId) -> bool:
    """Whether a sender's claim counts: not a learner's, which the voters outrank.

    A node that its log does not list is still joining, and has no membership to lose.
    """
    claimant = state.membership.get(sender)
    return state.memberships.ever_had(state.id) and (claimant is None or claimant.voter)


def _is_removed(state: RaftState, sender: NodeId, index: int) -> bool:
    known = state.memberships.latest.index
    if index <= known:
        return index == known and not state.is_member
    state.removal_claims.setdefault(sender, state.now)
    return _is_borne_out(state)


def _is_borne_out(state: RaftState) -> bool:
    claims = state.removal_claims
    others = state.memberships.voters - {state.id}
    waited = state.now - min(claims.values()) >= REMOVAL_CLAIM_MICROSECONDS
    return waited or len(claims) >= min(len(others), REMOVAL_CLAIMS_MIN)
