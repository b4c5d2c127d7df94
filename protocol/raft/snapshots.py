"""Snapshots: the state in chunks, for followers whose next entries are compacted (Raft §7).

One chunk is in flight to a follower at a time; its reply names the start of the next one. The
storage writers read and stage the chunks, so that neither writes nor heartbeats wait for them.
"""

from protocol.membership import NodeId
from protocol.messages.peer import AppendEntriesReply, InstallSnapshot, InstallSnapshotReply
from protocol.messages.replicator import ChunkStaged, LogCompacted, SnapshotInstalled, SnapshotRead
from protocol.messages.storage import FetchSnapshot, StageChunk
from protocol.raft.key_leases import replace_all
from protocol.raft.progress import ProgressState
from protocol.raft.roles import Leader, Role
from protocol.raft.state import RaftState

# --- the leader sends


def on_log_compacted(state: RaftState, leader: Leader, message: LogCompacted) -> None:
    """Begin to send a snapshot, because the entries that a follower lacks are compacted."""
    progress = leader.progress.get(message.peer)
    if progress is None or progress.state is ProgressState.SNAPSHOT:
        return
    if progress.next_index == message.from_index:
        progress.begin_snapshot()
        state.outbox.storage.append(FetchSnapshot(message.peer, None))


def on_snapshot_read(state: RaftState, leader: Leader, message: SnapshotRead) -> None:
    """Send a chunk; begin a new snapshot where storage has released this one."""
    progress = leader.progress.get(message.reader)
    if progress is None or progress.state is not ProgressState.SNAPSHOT:
        return
    if message.chunk is None:
        progress.begin_snapshot()
        state.outbox.storage.append(FetchSnapshot(message.reader, None))
    else:
        progress.position = message.chunk.start
        state.send(message.reader, InstallSnapshot(state.term, message.chunk))


def on_install_snapshot_reply(
    state: RaftState, leader: Leader, peer: NodeId, message: InstallSnapshotReply
) -> None:
    """Read the chunk that the follower needs next."""
    progress = leader.progress.get(peer)
    if progress is None:
        return
    progress.checks_since_reply = 0
    # A duplicate reply repeats the position: acting on it would send every later chunk twice.
    if progress.state is ProgressState.SNAPSHOT and message.position != progress.position:
        progress.chunk_answered(message.position)
        state.outbox.storage.append(FetchSnapshot(peer, message.position))


# --- the follower installs


def on_install_snapshot(
    state: RaftState, _: Role, leader: NodeId, message: InstallSnapshot
) -> None:
    """Let storage stage the chunk, unless everything in the snapshot is committed here."""
    state.follow(leader)
    if message.chunk.start.snapshot.index <= state.commit_index:
        _accept(state, state.commit_index)
    elif not (state.chunks_staging or state.cannot_store):  # otherwise the leader repeats it
        state.chunks_staging += 1
        state.outbox.storage.append(StageChunk(message.chunk))


def on_chunk_staged(state: RaftState, _: Role, message: ChunkStaged) -> None:
    """Ask the leader for the next chunk."""
    state.chunks_staging -= 1
    if state.other_leader is None:
        return
    if message.position.snapshot.index <= state.commit_index:
        _accept(state, state.commit_index)
    else:
        reply = InstallSnapshotReply(state.term, message.position)
        state.send_in_term(state.other_leader, reply)


def on_snapshot_installed(state: RaftState, _: Role, message: SnapshotInstalled) -> None:
    """Begin the log after the snapshot, as storage has done."""
    state.chunks_staging -= 1
    state.install(message.index, message.term, message.membership)
    replace_all(state, message.leases)
    _accept(state, message.index)


def _accept(state: RaftState, index: int) -> None:
    """Reply that this node holds the log up to an index, as soon as that is durable."""
    if state.other_leader is not None:
        reply = AppendEntriesReply(state.term, True, index)
        state.durability.promise(state.other_leader, reply)
