"""Handlers: which rule takes which message, of peers and of the node's own actors."""

from collections.abc import Callable
from typing import Any

from protocol.membership import NodeId
from protocol.messages.peer import (
    AppendEntries,
    AppendEntriesReply,
    ForwardMembershipChange,
    ForwardProposal,
    ForwardRead,
    ForwardTransfer,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    ProposalRefused,
    ReadIndex,
    ReadRefused,
    Removed,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from protocol.messages.replicator import (
    ChunkStaged,
    CommitNoticeDue,
    ElectionDue,
    HeartbeatDue,
    LeaderQuiet,
    LogCompacted,
    LogSlice,
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
    changing_members,
    election,
    heartbeats,
    reading,
    relocation,
    replication,
    snapshots,
    storage_check,
    transfers,
)
from protocol.raft.state import RaftState
from protocol.space import SpaceChanged

Handler = Callable[[RaftState, NodeId, Any], None]

HANDLERS: dict[type, Handler] = {
    # elections
    ElectionDue: election.on_election_due,
    LeaderQuiet: election.on_leader_quiet,
    QuorumCheckDue: changing_members.on_check_drop,
    RequestVote: election.on_request_vote,
    RequestVoteReply: election.on_request_vote_reply,
    Removed: election.on_removed,
    # transfers
    TransferTo: transfers.on_transfer_to,
    ForwardTransfer: transfers.on_forward_transfer,
    StepAside: transfers.on_step_aside,
    StorageCheckDue: storage_check.on_storage_check_due,
    TimeoutNow: transfers.on_timeout_now,
    # replication
    Propose: replication.on_propose,
    ForwardProposal: replication.on_forward_proposal,
    ProposalRefused: replication.on_proposal_refused,
    HeartbeatDue: relocation.on_beat_relocate,
    SpaceChanged: relocation.on_space_changed,
    CommitNoticeDue: heartbeats.on_commit_notice_due,
    LogSlice: replication.on_log_slice,
    AppendEntries: replication.on_append_entries,
    AppendEntriesReply: changing_members.on_reply_promote,
    LogCompacted: snapshots.on_log_compacted,
    SnapshotRead: snapshots.on_snapshot_read,
    InstallSnapshot: snapshots.on_install_snapshot,
    InstallSnapshotReply: snapshots.on_install_snapshot_reply,
    ChunkStaged: snapshots.on_chunk_staged,
    SnapshotInstalled: snapshots.on_snapshot_installed,
    Heartbeat: replication.on_heartbeat,
    HeartbeatReply: changing_members.on_beat_promote,
    # reads
    Read: reading.on_read,
    ForwardRead: reading.on_forward_read,
    ReadIndex: reading.on_read_index,
    ReadRefused: reading.on_read_refused,
    # members
    RemoveMember: changing_members.on_remove_member,
    ForwardMembershipChange: changing_members.on_forward_membership_change,
}
