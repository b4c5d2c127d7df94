"""Bugs in membership changes and in the counting of voters."""

from protocol.raft import commit, election, membership_changes
from protocol.raft.membership_history import MembershipHistory
from protocol.raft.state import RaftState
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "two changes of members are under way at once",
        "dissertation §4.1; skiff-rs",
        Edit(membership_changes._why_not_now, " or state.memberships.pending", ""),
    ),
    Bug(
        "members change before the leader has committed an entry of its term",
        "dissertation §4.1, the published bug of it; openraft #2051",
        Edit(membership_changes._why_not_now, "state.commit_index < leader.first_index or ", ""),
    ),
    Bug(
        "a change of members outlives the entry that brought it",
        "dissertation §4.1; etcd #7625",
        Edit(
            RaftState.append_entries,
            "first <= self.log.last_index and self.memberships.truncate_from(first)",
            "False",
        ),
    ),
    Bug(
        "a change of members counts only once it is committed",
        "dissertation §4.1",
        Edit(MembershipHistory.latest, "return self._history[-1]", "return self._history[0]"),
    ),
    Bug(
        "a change of members is forgotten in a crash",
        "dissertation §4.1",
        Edit(
            RaftState.membership_changed,
            "self.durability.write_memberships(self.memberships.to_store())",
            "pass",
        ),
    ),
    Bug(
        "learners vote",
        "dissertation §4.2.1",
        Edit(
            election.campaign,
            "state.membership.voters - {state.id}",
            "{each.id for each in state.membership.members} - {state.id}",
        ),
        Edit(
            election.on_request_vote_reply,
            "granted = sum(candidate.votes.get(each, False) for each in voters)",
            "granted = sum(candidate.votes.values())",
        ),
    ),
    Bug(
        "a leader leads on after its removal",
        "dissertation §4.2.2",
        Edit(commit._membership_committed, "state.become_follower()", "pass"),
    ),
)
