"""Status: the role, leader and membership of this node, for its gateway and for people."""

from protocol.membership import NodeId, majority_index
from protocol.messages.gateway import Leadership
from protocol.messages.replicator import AskStatus
from protocol.messages.storage import ReportStatus
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.raft.state import RaftState
from protocol.status import ReplicationStatus, RoleName


def on_ask_status(state: RaftState, _: Role, message: AskStatus) -> None:
    """Answer by way of storage, which adds the state machine's share."""
    state.outbox.storage.append(ReportStatus(message.number, status_of(state)))


def leadership_of(state: RaftState) -> Leadership:
    """Return the cluster, leader and members as the gateway must know them."""
    return Leadership(
        # A client keeps to the first cluster that it is told of, which must outlast a crash.
        cluster=b"" if state.founding else state.cluster,
        term=state.term,
        role=_role_name(state.role),
        leader=state.leader,
        leader_address=leader_address(state),
        membership=state.memberships.committed.membership,
        removed=state.removed,
        stalled=state.durability.stalled,
        membership_index=state.memberships.committed.index,
    )


def leader_address(state: RaftState) -> str:
    """Return the leader's address, or '' where it is unknown."""
    leader = None if state.leader is None else state.membership.get(state.leader)
    return "" if leader is None else leader.address


def status_of(state: RaftState) -> ReplicationStatus:
    """Return the replication status of this node."""
    return ReplicationStatus(
        term=state.term,
        role=_role_name(state.role),
        leader=state.leader,
        last_index=state.log.last_index,
        commit_index=state.commit_index,
        membership=state.memberships.committed.membership,
        removed=state.removed,
        silence_ms=_silence_ms(state),
        level=state.level,
    )


def _silence_ms(state: RaftState) -> int | None:
    """Return the time since the last contact with the leader or, for a leader, with a majority."""
    contact_at = state.leader_contact_at
    if isinstance(state.role, Leader):
        contacts = [_contact_at(state, state.role, voter) for voter in state.membership.voters]
        contact_at = majority_index(contacts)
    return max(0, state.now - contact_at) // 1000 if contact_at else None


def _contact_at(state: RaftState, leader: Leader, voter: NodeId) -> int:
    return state.now if voter == state.id else leader.progress[voter].answered_at


def _role_name(role: Role) -> RoleName:
    match role:
        case Leader():
            return RoleName.LEADER
        case Candidate():
            return RoleName.CANDIDATE
        case Follower():
            return RoleName.FOLLOWER
