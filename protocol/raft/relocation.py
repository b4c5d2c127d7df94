"""Relocation: a leader whose disk is short of space hands over to a voter that has room."""

from protocol.membership import NodeId
from protocol.messages.replicator import HeartbeatDue
from protocol.raft.heartbeats import on_heartbeat_due
from protocol.raft.roles import Leader
from protocol.raft.space import roomier_voters
from protocol.raft.state import RaftState
from protocol.raft.transfers import begin_transfer
from protocol.space import SpaceChanged


def on_space_changed(state: RaftState, _: NodeId, message: SpaceChanged) -> None:
    """Note this node's shortage; a leader may have to move."""
    state.shortage = message.shortage
    _relocate(state)


def on_beat_relocate(state: RaftState, node: NodeId, message: HeartbeatDue) -> None:
    """Send heartbeats; move on what their answers have told before."""
    on_heartbeat_due(state, node, message)
    _relocate(state)


def _relocate(state: RaftState) -> None:
    if isinstance(state.role, Leader) and state.shortage.is_of_disk:
        begin_transfer(state, state.role, roomier_voters(state, state.role))
