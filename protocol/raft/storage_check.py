"""Noticing that this node's own storage hangs: nobody else can.

A leader needs no disk for heartbeats, so that the others would follow it for ever. What is noticed
is a storage writer that does not answer; where nothing is written, it need not touch its disk.
"""

from protocol.membership import NodeId
from protocol.node_messages import StorageCheckDue
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.raft.transfers import step_down_stalled


def on_storage_check_due(state: RaftState, _: NodeId, __: StorageCheckDue) -> None:
    """Ask storage for a sign of life; a leader who has waited for one too long gives way."""
    state.durability.check()
    if state.durability.stalled and isinstance(state.role, Leader):
        step_down_stalled(state, state.role)
