"""Handlers: the one table of role and message type to the rule that handles the message.

A message type that a role ignores is listed with the reason. A message without an entry is a
programming error and raises ``KeyError``; ``tests/unit/test_handlers.py`` checks that no peer and
no actor of this node can send one.
"""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from protocol.membership import NodeId
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    ClusterQuery,
    ClusterReply,
    ForwardMembershipChange,
    ForwardProposal,
    ForwardRead,
    ForwardTransfer,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Invitation,
    JoinReply,
    JoinRequest,
    MembershipQuery,
    MembershipReply,
    ProposalRefused,
    ReadIndex,
    ReadRefused,
    RemovalNotice,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.messages.replicator import (
    AskStatus,
    ChunkStaged,
    CommitNoticeDue,
    ElectionDue,
    HeartbeatDue,
    LeaderQuiet,
    LeasesApplied,
    LogCompacted,
    LogSlice,
    Persisted,
    Propose,
    QuorumCheckDue,
    Read,
    RemoveMember,
    SnapshotInstalled,
    SnapshotRead,
    StepAside,
    StorageCheckDue,
    TransferTo,
)
from protocol.raft import (
    check_quorum,
    commit,
    election,
    heartbeats,
    key_leases,
    membership_changes,
    proposals,
    reads,
    removal,
    replication,
    snapshots,
    space,
    status,
    transfer,
)
from protocol.raft.roles import Candidate, Follower, Leader, Role
from protocol.raft.state import RaftState
from protocol.space import SpaceChanged

ROLES: tuple[type[Role], ...] = (Follower, Candidate, Leader)

M = TypeVar("M")


class Ignored(msgspec.Struct, frozen=True):
    """A handler that does nothing, and the reason."""

    reason: str

    def __call__(self, *_: object) -> None:
        """Ignore a message."""


class PeerRule(NamedTuple, Generic[M]):
    """The handlers of one message type from peers, by role; they get the sender too."""

    message: type[M]
    follower: Callable[[RaftState, Follower, NodeId, M], None]
    candidate: Callable[[RaftState, Candidate, NodeId, M], None]
    leader: Callable[[RaftState, Leader, NodeId, M], None]


class ActorRule(NamedTuple, Generic[M]):
    """The handlers of one message type from this node's own actors, by role."""

    message: type[M]
    follower: Callable[[RaftState, Follower, M], None]
    candidate: Callable[[RaftState, Candidate, M], None]
    leader: Callable[[RaftState, Leader, M], None]


def _peers(
    message: type[M],
    not_leader: Callable[[RaftState, Follower | Candidate, NodeId, M], None],
    leader: Callable[[RaftState, Leader, NodeId, M], None],
) -> PeerRule[M]:
    return PeerRule(message, not_leader, not_leader, leader)


def _actors(
    message: type[M],
    not_leader: Callable[[RaftState, Follower | Candidate, M], None],
    leader: Callable[[RaftState, Leader, M], None],
) -> ActorRule[M]:
    return ActorRule(message, not_leader, not_leader, leader)


NOT_LEADER = Ignored("a reply to, or a result for, an earlier leadership of this node")
NOT_CANDIDATE = Ignored("a reply to an earlier candidacy of this node")
NO_READS = Ignored("a change of role fails the reads that a former leader was asked about")
RIVAL = Ignored("a second leader of this term is a contradiction, and was refused as one")
LEADER_ONLY = Ignored("a deadline of a leader that passed while its leadership ended")
SHELL_ONLY = Ignored(
    "the shell takes it if it is alone in its frame, as every correct node sends it"
)

# Without a declared type, each row is checked on its own: its handlers take its message.
PEER_RULES = (
    # election
    _peers(RequestVote, election.on_request_vote, election.on_request_vote),
    PeerRule(RequestVoteReply, NOT_CANDIDATE, election.on_request_vote_reply, NOT_CANDIDATE),
    _peers(TimeoutNow, election.on_timeout_now, RIVAL),
    _peers(
        RemovalNotice, removal.on_removed, Ignored("a leader learns of its removal from its log")
    ),
    # replication
    _peers(AppendEntries, replication.on_append_entries, RIVAL),
    _peers(AppendEntriesReply, NOT_LEADER, replication.on_append_entries_reply),
    _peers(Heartbeat, heartbeats.on_heartbeat, RIVAL),
    _peers(HeartbeatReply, NOT_LEADER, heartbeats.on_heartbeat_reply),
    _peers(InstallSnapshot, snapshots.on_install_snapshot, RIVAL),
    _peers(InstallSnapshotReply, NOT_LEADER, snapshots.on_install_snapshot_reply),
    # requests of other nodes' gateways, and the replies to forwarded requests of this node's
    _peers(ForwardProposal, proposals.on_forward_proposal_elsewhere, proposals.on_forward_proposal),
    _peers(ProposalRefused, proposals.on_proposal_refused, proposals.on_proposal_refused),
    _peers(ForwardRead, reads.on_forward_read_elsewhere, reads.on_forward_read),
    PeerRule(ReadIndex, reads.on_read_index, NO_READS, NO_READS),
    PeerRule(ReadRefused, reads.on_read_refused, NO_READS, NO_READS),
    _peers(
        ForwardMembershipChange,
        membership_changes.on_forward_membership_change_elsewhere,
        membership_changes.on_forward_membership_change,
    ),
    _peers(
        ForwardTransfer,
        Ignored("its sender repeats the request until another node leads"),
        transfer.on_forward_transfer,
    ),
    # requests of nodes that need not be members, and the replies
    _peers(JoinRequest, SHELL_ONLY, SHELL_ONLY),
    _peers(JoinReply, SHELL_ONLY, SHELL_ONLY),
    _peers(Invitation, SHELL_ONLY, SHELL_ONLY),
    _peers(ClusterQuery, SHELL_ONLY, SHELL_ONLY),
    _peers(ClusterReply, SHELL_ONLY, SHELL_ONLY),
    _peers(MembershipQuery, SHELL_ONLY, SHELL_ONLY),
    _peers(MembershipReply, SHELL_ONLY, SHELL_ONLY),
)

ACTOR_RULES = (
    # deadlines
    # A leader's timer has no election deadline. Scenarios use one to let a leader campaign anew.
    _actors(ElectionDue, election.on_election_due, election.on_election_due),
    ActorRule(
        LeaderQuiet,
        election.on_leader_quiet,
        Ignored("a candidate grants no lease"),
        Ignored("a leader grants no lease"),
    ),
    _actors(HeartbeatDue, LEADER_ONLY, heartbeats.on_heartbeat_due),
    _actors(QuorumCheckDue, LEADER_ONLY, check_quorum.on_quorum_check_due),
    _actors(CommitNoticeDue, LEADER_ONLY, commit.on_commit_notice_due),
    _actors(StorageCheckDue, transfer.on_storage_check_due, transfer.on_leader_storage_check_due),
    # this node's storage
    _actors(Persisted, commit.on_persisted, commit.on_leader_persisted),
    _actors(SpaceChanged, space.on_space_changed, space.on_space_changed),
    _actors(LogSlice, NOT_LEADER, replication.on_log_slice),
    _actors(LogCompacted, NOT_LEADER, snapshots.on_log_compacted),
    _actors(SnapshotRead, NOT_LEADER, snapshots.on_snapshot_read),
    _actors(ChunkStaged, snapshots.on_chunk_staged, snapshots.on_chunk_staged),
    _actors(SnapshotInstalled, snapshots.on_snapshot_installed, snapshots.on_snapshot_installed),
    _actors(LeasesApplied, key_leases.on_leases_applied_elsewhere, key_leases.on_leases_applied),
    # this node's gateway and shell
    _actors(Propose, proposals.on_propose_elsewhere, proposals.on_propose),
    _actors(Read, reads.on_read_elsewhere, reads.on_read),
    _actors(
        RemoveMember,
        membership_changes.on_remove_member_elsewhere,
        membership_changes.on_remove_member,
    ),
    ActorRule(
        TransferTo,
        transfer.on_transfer_to_elsewhere,
        Ignored("a candidate knows no leader; the gateway repeats the request"),
        transfer.on_transfer_to,
    ),
    _actors(StepAside, Ignored("only a leader has leadership to give"), transfer.on_step_aside),
    _actors(AskStatus, status.on_ask_status, status.on_ask_status),
)

# The key establishes the types of role and message that the handler was declared with.
PeerHandler = Callable[[RaftState, Any, NodeId, Any], None]
ActorHandler = Callable[[RaftState, Any, Any], None]


def _by_role(
    rules: Iterable[tuple[Any, ...]],
) -> dict[tuple[type[Role], type], Callable[..., None]]:
    rows = product(rules, range(len(ROLES)))
    return {(ROLES[column], rule[0]): rule[column + 1] for rule, column in rows}


PEER_HANDLERS: dict[tuple[type[Role], type], PeerHandler] = _by_role(PEER_RULES)
ACTOR_HANDLERS: dict[tuple[type[Role], type], ActorHandler] = _by_role(ACTOR_RULES)
