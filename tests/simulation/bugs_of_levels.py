"""Bugs in clusters with nodes of two versions."""

from protocol.gateway import proposals
from protocol.raft import levels, membership_changes
from protocol.raft import proposals as raft_proposals
from protocol.raft.state import RaftState
from protocol.state import batches
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a command is proposed although a member cannot apply it",
        "an older member skips its entry",
        Edit(batches._check_level, "if needed > level:", "if False:"),
    ),
    Bug(
        "a leader does not check the newer commands of its own gateway",
        "an older member skips their entries",
        Edit(
            raft_proposals.on_propose,
            "state.memberships.level < state.level",
            "False",
        ),
    ),
    Bug(
        "an older node is added to a newer cluster",
        "it cannot apply the log",
        Edit(
            membership_changes._let_in,
            "if request.level < state.memberships.level:",
            "if False:",
        ),
    ),
    Bug(
        "a member counts with the level of its leader",
        "an older member skips newer entries",
        Edit(levels._known, "if member.id == state.id", "if True"),
    ),
    Bug(
        "a record is lowered below the level of the cluster",
        "older nodes could join after newer commands",
        Edit(levels.to_record, "max(known, state.memberships.level)", "known"),
    ),
    Bug(
        "a node of an older version goes on in an upgraded cluster",
        "it skips newer entries",
        Edit(RaftState.is_outdated, "committed.level > self.level", "False"),
    ),
    Bug(
        "a refusal of newer commands concerns the whole batch",
        "a client is told that its write was not done",
        Edit(
            proposals._by_level,
            "if level_of_write(write) == level",
            "",
        ),
    ),
    Bug(
        "the levels of members are never recorded",
        "an upgraded cluster refuses what it could do",
        Edit(membership_changes.record_levels, "if recorded != state.membership:", "if False:"),
    ),
)
