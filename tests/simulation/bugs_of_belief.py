"""Bugs in the defence against strangers and broken members."""

from protocol.raft import contradictions, membership_changes, proposals, removal
from protocol.raft.senders import Senders
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a forwarded proposal is appended as it is",
        "garbage in the log ends every node",
        Edit(
            proposals._append_checked,
            "state.check_proposal(payload, proposer, state.memberships.level)",
            "payload",
        ),
    ),
    Bug(
        "one sender moves a term as far as it likes",
        "a term of 2^64-1 ended all nodes",
        Edit(Senders.may_enter, "if term <= current + TERM_JUMP_MAX:", "if True:"),
    ),
    Bug(
        "nodes that no member knows are believed",
        "dissertation §4.1 asks for their votes, and for no more",
        Edit(
            Senders.trusts,
            "return self._vouched.get(sender, 0) > self._state.commit_index",
            "return True",
        ),
    ),
    Bug(
        "one member is believed that says a node was removed",
        "one word of a stranger ended a cluster",
        Edit(removal._is_borne_out, "return waited or", "return True or"),
    ),
    Bug(
        "an entry that contradicts a committed one is taken",
        "Raft §5.4.3, state machine safety",
        Edit(contradictions._append, " or _committed(state, message)", ""),
    ),
    Bug(
        "a removal begins without a check of the responsive voters",
        "dissertation §4.1; three voters, one dead, and a live one is removed",
        Edit(
            membership_changes._remove,
            "None if force else quorum_guard.why_at_risk(state, leader, node)",
            "None",
        ),
    ),
    Bug(
        "an acceptance beyond the leader's log is believed",
        "Raft §5.3",
        Edit(contradictions._append_reply, "message.index <= state.log.last_index", "True"),
    ),
)
