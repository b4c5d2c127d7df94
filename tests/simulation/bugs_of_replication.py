"""Bugs in log replication and commitment."""

from protocol import membership
from protocol.raft import commit, heartbeats, replication
from protocol.raft.log import Log
from protocol.raft.progress import Progress
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a leader counts itself before its disk",
        "Raft §5.3; etcd #14370; skiff-rs",
        Edit(commit._held_by, "return leader.durable_index", "return state.log.last_index"),
    ),
    Bug(
        "half of the disks commit",
        "Raft §5.3",
        Edit(
            membership.majority_index,
            "len(match_indexes) // 2",
            "(len(match_indexes) - 1) // 2",
        ),
    ),
    Bug(
        "an entry of an older term is committed by counting",
        "Raft §5.4.2, figure 8",
        Edit(
            commit.advance,
            " or state.log.term_at(index) != state.term",
            "",
        ),
    ),
    Bug(
        "a follower commits past the last new entry, of a leader that probes one entry early",
        "Raft figure 2; copycat #265; scylla #9965; skiff-rs",
        Edit(
            replication.on_append_entries,
            "min(message.commit_index, last)",
            "min(message.commit_index, state.log.last_index)",
        ),
        Edit(  # harmless by itself; skiff's own leaders always send what differs with the probe
            replication.track_followers,
            "Progress(next_index=state.log.last_index + 1)",
            "Progress(next_index=state.log.last_index)",
        ),
    ),
    Bug(
        "a heartbeat commits beyond what is known to match",
        "Raft §5.3",
        Edit(
            heartbeats.send,
            "progress.commit_sent = min(state.commit_index, progress.match_index)",
            "progress.commit_sent = state.commit_index",
        ),
    ),
    Bug(
        "a follower accepts entries before its disk holds them",
        "Raft figure 2",
        Edit(
            replication.on_append_entries,
            "state.durability.promise(leader, AppendEntriesReply(state.term, True, last))",
            "state.send(leader, AppendEntriesReply(state.term, True, last))",
        ),
    ),
    Bug(
        "a conflicting entry is kept",
        "Raft §5.3",
        Edit(
            Log.new_among,
            "if not self.matches(entry.index, entry.term):",
            "if entry.index > self.last_index:",
        ),
    ),
    Bug(
        "the term of the entry before is not compared",
        "Raft §5.3",
        Edit(
            replication.on_append_entries,
            "if not state.log.matches(message.prev_index, message.prev_term):",
            "if message.prev_index > state.log.last_index:",
        ),
    ),
    Bug(
        "the acknowledgement of one write is believed for all later ones",
        "etcd/raft, asynchronous storage writes",
        Edit(
            commit.on_leader_persisted,
            "max(leader.durable_index, end[0])",
            "max(leader.durable_index, state.log.last_index)",
        ),
    ),
    Bug(
        "an answer counts for all that was sent since",
        "Raft §5.3",
        Edit(
            Progress.accepted,
            "self.match_index = index",
            "self.match_index = max(index, self.next_index - 1)",
        ),
    ),
    Bug(
        "a refusal raises what a follower is known to hold",
        "Raft §5.3",
        Edit(
            Progress.refused,
            "self.next_index = max(self.match_index, min(agreement, prev_index - 1)) + 1",
            "self.match_index = max(self.match_index, min(agreement, prev_index - 1))\n"
            "        self.next_index = self.match_index + 1",
        ),
    ),
    Bug(
        "a lost probe is never sent again",
        "etcd/raft, progress of a follower",
        Edit(replication._resume, "progress.paused = False", "pass"),
    ),
)
