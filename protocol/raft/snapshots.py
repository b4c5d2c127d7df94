"""Bringing a follower up whose next entries are gone: by the leader's state instead (Raft §7).

One chunk is under way to a follower at a time; its answer says where the next one begins. The
storage writers read and keep the chunks, so that neither writes nor heartbeats wait for them.
"""

from protocol.membership import NodeId
from protocol.messages.peer import AppendEntriesReply, InstallSnapshot, InstallSnapshotReply
from protocol.messages.replicator import ChunkStaged, LogCompacted, SnapshotInstalled, SnapshotRead
from protocol.messages.storage import FetchSnapshot, StageChunk
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState

# --- the leader sends


def on_log_compacted(state: RaftState, _: NodeId, message: LogCompacted) -> None:
    """Begin to send the state, where the entries that a follower lacks are gone."""
    if not isinstance(state.role, Leader):
        return
    progress = state.role.progress.get(message.peer)
    if progress is None or progress.installing or progress.next_index != message.from_index:
        return
    progress.begin_install()
    state.outbox.storage.append(FetchSnapshot(message.peer, None))


def on_snapshot_read(state: RaftState, _: NodeId, message: SnapshotRead) -> None:
    """Pass on what was read; begin anew where the snapshot is kept no more."""
    if not isinstance(state.role, Leader):
        return
    progress = state.role.progress.get(message.reader)
    if progress is None or not progress.installing:
        return
    if message.chunk is None:
        progress.begin_install()
        state.outbox.storage.append(FetchSnapshot(message.reader, None))
    else:
        progress.position = message.chunk.start
        state.send(message.reader, InstallSnapshot(state.term, message.chunk))


def on_install_snapshot_reply(
    state: RaftState, peer: NodeId, message: InstallSnapshotReply
) -> None:
    """Read the chunk that the follower needs next."""
    if not isinstance(state.role, Leader):
        return
    progress = state.role.progress.get(peer)
    if progress is None:
        return
    progress.active = True
    # An answer that says nothing new was sent twice; acting on it would send everything twice.
    if progress.installing and message.position != progress.position:
        progress.chunk_answered(message.position)
        state.outbox.storage.append(FetchSnapshot(peer, message.position))


# --- the follower receives


def on_install_snapshot(state: RaftState, leader: NodeId, message: InstallSnapshot) -> None:
    """Let storage keep the chunk, unless all that it brings is committed here."""
    state.hear_leader(leader)
    if message.chunk.start.snapshot.index <= state.commit_index:
        _accept(state, state.commit_index)
    elif not (state.chunks_staging or state.cannot_store):  # else it comes again
        state.chunks_staging += 1
        state.outbox.storage.append(StageChunk(message.chunk))


def on_chunk_staged(state: RaftState, _: NodeId, message: ChunkStaged) -> None:
    """Ask the leader for the next chunk."""
    state.chunks_staging -= 1
    if state.other_leader is None:
        return
    if message.position.snapshot.index <= state.commit_index:
        _accept(state, state.commit_index)
    else:
        reply = InstallSnapshotReply(state.term, message.position)
        state.say(state.other_leader, reply)


def on_snapshot_installed(state: RaftState, _: NodeId, message: SnapshotInstalled) -> None:
    """Begin the log after the snapshot, as storage has done."""
    state.chunks_staging -= 1
    state.install(message.index, message.term, message.membership)
    _accept(state, message.index)


def _accept(state: RaftState, index: int) -> None:
    """Tell the leader that this node holds everything up to here, as soon as it is durable."""
    if state.other_leader is not None:
        reply = AppendEntriesReply(state.term, True, index)
        state.durability.promise(state.other_leader, reply)
