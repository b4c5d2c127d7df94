"""Leader lease: how long, by its own clock, a leader can rule out any other (dissertation §6.4.1).

A voter that its leader has contacted votes for no other candidate until its minimum election
timeout has passed by its own clock (§4.2.3, §9.6). The leader relies on a share of that time,
counted from the moment at which it sent the heartbeat that the voter replied to.

Assumed of clocks (``clock_rates``): while the leader's clock measures ``LEASE_SHARE`` of a timeout,
no voter's clock measures a whole one. A voter's clock may therefore run faster than the leader's by
less than a third.

A restarted voter keeps the promise of its earlier incarnation, counted from its start
(``RaftState.leader_lease_recovered``).
"""

from protocol.membership import NodeId, is_majority
from protocol.messages.peer import HeartbeatReply
from protocol.raft.clock_rates import LEASE_SHARE
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState


def extend_leader_lease(progress: Progress, reply: HeartbeatReply) -> None:
    """Extend the lease that a voter has granted, by the leader's clock."""
    if reply.stamp:
        until = reply.stamp + int(reply.election_timeout_min_us * LEASE_SHARE)
        progress.leader_lease_until = max(progress.leader_lease_until, until)


def holds_leader_lease(state: RaftState, leader: Leader) -> bool:
    """Whether a majority has granted the lease, and this leader knows all committed entries.

    Entries of earlier terms are known to be committed only once one of this term is. A successor
    that was sent TimeoutNow is bound by no lease, and may campaign late (§3.10).
    """
    if leader.timeout_now_sent or state.commit_index < leader.first_index:
        return False
    voters = state.membership.voters
    granted = sum(_has_granted(state, leader, voter) for voter in voters)
    return is_majority(granted, len(voters))


def _has_granted(state: RaftState, leader: Leader, voter: NodeId) -> bool:
    return voter == state.id or leader.progress[voter].leader_lease_until > state.now
