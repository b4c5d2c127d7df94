"""Leader lease: for how long, by its own clock, the leader rules out any other (§6.4.1).

A voter that has heard its leader votes for nobody else until its patience, the shortest election
timeout by its own clock, is over (§4.2.3, §9.6). The leader counts on a part of that, from the
moment at which it sent what the voter heard.

Assumed of clocks: while the leader's clock measures ``LEASE_SHARE`` of a timeout, no voter's clock
measures a whole one. So a voter's clock may run faster than the leader's by less than a third, and
none stands still while its node is stopped and the others go on.

A voter that is started again is bound for as long as it had promised before, from its start on.
"""

from protocol.membership import NodeId, is_majority
from protocol.peer_messages import HeartbeatReply
from protocol.raft.progress import Progress
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState

LEASE_SHARE = 0.75  # of a voter's election timeout


def extend_lease(progress: Progress, reply: HeartbeatReply) -> None:
    """Note until when a voter is bound, by the leader's clock."""
    if reply.stamp:
        until = reply.stamp + int(reply.election_timeout_min_us * LEASE_SHARE)
        progress.lease_until = max(progress.lease_until, until)


def holds_lease(state: RaftState, leader: Leader) -> bool:
    """Whether a majority is bound to this leader now, and all that is acknowledged known to it.

    What was acknowledged before its term is committed here only after an entry of that term. A
    successor that was told to campaign is not bound, and may do so late (§3.10).
    """
    if leader.timeout_now_sent or state.commit_index < leader.first_index:
        return False
    voters = state.membership.voters
    bound = sum(_is_bound(state, leader, voter) for voter in voters)
    return is_majority(bound, len(voters))


def _is_bound(state: RaftState, leader: Leader, voter: NodeId) -> bool:
    return voter == state.id or leader.progress[voter].lease_until > state.now
