"""Levels: the leader appends a command only if every member can apply it (``state.levels``).

The cluster's level is the lowest of all members of any membership that may be in force, so that it
is known while a member is down, and by every new leader. Each reply to a heartbeat announces the
level of its sender. The leader records what differs by an ordinary membership entry
(``membership_changes.record_levels``); a request to join brings the level of a new member.

The cluster's level never falls: no older node is added, and a record is lowered only above that
level, where a node may return to an older version. A node that finds its own level below that of
the committed membership applies nothing more, and ends.
"""

from protocol.membership import Member, NodeId
from protocol.raft.roles import Leader
from protocol.raft.state import RaftState
from protocol.refusal import Refusal
from protocol.state.levels import runs_older

OUTDATED = (
    "runs an older version than the cluster has been upgraded to, and may skip what it cannot "
    "apply: stop it, and start it with the version of the others"
)


def announced(state: RaftState, leader: Leader, peer: NodeId, level: int) -> None:
    """Note the level of a follower, to be recorded at the end of the turn."""
    leader.progress[peer].level = level
    leader.levels_announced = True
    if level < state.memberships.level:
        state.complain(peer, "level", OUTDATED)


def to_record(state: RaftState, leader: Leader, member: Member) -> int:
    """Return the level to record for a member: as announced, but never below the cluster's."""
    known = _known(state, leader, member)
    return member.level if known is None else max(known, state.memberships.level)


def refusal_of(state: RaftState, leader: Leader, level: int) -> tuple[Refusal, str]:
    """Return why the leader does not append a command of a level above the cluster's.

    ``BUSY`` asks to repeat the proposal if all members are about to have this level.
    """
    for member in state.membership.members:
        if member.level < level and not _may_reach(state, leader, member, level):
            return Refusal.OLD_MEMBER, runs_older(member.address)
    return Refusal.BUSY, ""


def _may_reach(state: RaftState, leader: Leader, member: Member, level: int) -> bool:
    """Whether a member has announced this level, or may do so in reply to the next heartbeat."""
    known = _known(state, leader, member)
    return leader.progress[member.id].answers if known is None else known >= level


def _known(state: RaftState, leader: Leader, member: Member) -> int | None:
    """Return the level of a member as this leader knows it from itself."""
    return state.level if member.id == state.id else leader.progress[member.id].level
