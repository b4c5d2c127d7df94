"""Bugs in elections: votes, terms, timeouts, and stepping down."""

from protocol.election_clock import ElectionClock
from protocol.raft import check_quorum, election, transfer
from protocol.raft.durability import Durability
from protocol.raft.log import Log
from protocol.raft.node import RaftNode
from protocol.raft.state import RaftState
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a voter votes twice in a term",
        "Raft §5.2",
        Edit(election._would_vote, 'state.voted_for in (b"", candidate)', "True"),
    ),
    Bug(
        "a vote is never written down",
        "Raft figure 2; skiff-rs; PySyncObj",
        Edit(
            election.on_request_vote,
            "state.set_term(state.term, candidate)",
            "state.voted_for = candidate",
        ),
    ),
    Bug(
        "a vote is told before the disk holds it",
        "Raft figure 2; tikv #1610",
        Edit(
            election.on_request_vote,
            "state.durability.promise(candidate, RequestVoteReply(state.term, granted=True))",
            "state.send(candidate, RequestVoteReply(state.term, granted=True))",
        ),
    ),
    Bug(
        "a candidate asks for votes before the disk holds its own",
        "Raft §5.2",
        Edit(
            election.campaign,
            "state.send(voter, request) if pre else state.durability.promise(voter, request)",
            "state.send(voter, request)",
        ),
    ),
    Bug(
        "a new term is told before the disk holds it",
        "Raft figure 2",
        Edit(RaftState.send_in_term, "self.durability.hard_state_durable", "True"),
    ),
    Bug(
        "the winner of an election forgets its own vote",
        "Raft §5.2; skiff-rs had two leaders in one term by it",
        Edit(
            election._become_leader,
            "state.contact_count += 1",
            "state.contact_count += 1\n    state.set_term(state.term)",
        ),
    ),
    Bug(
        "the longer log wins regardless of its last term",
        "Raft §5.4.1",
        Edit(
            Log.accepts_candidate_log,
            "(last_term, last_index) >= (self.last_term, self.last_index)",
            "last_index >= self.last_index",
        ),
    ),
    Bug(
        "a log must be as long and as new to win",
        "Raft §5.4.1; skiff-rs, where some elections could not be won",
        Edit(
            Log.accepts_candidate_log,
            "(last_term, last_index) >= (self.last_term, self.last_index)",
            "last_term >= self.last_term and last_index >= self.last_index",
        ),
    ),
    Bug(
        "half of the votes elect a leader",
        "Raft §5.2",
        Edit(
            election.on_request_vote_reply,
            "if is_majority(granted, len(voters)):",
            "if granted * 2 >= len(voters):",
        ),
    ),
    Bug(
        "messages of older terms are taken for new",
        "Raft §5.1",
        Edit(
            RaftNode._step_peer,
            "self._answer_older_term(sender, message)",
            "self._handle(sender, message)",
        ),
    ),
    Bug(
        "a leader that meets a newer term leads on",
        "Raft §5.1; skiff-rs",
        Edit(
            RaftNode._meet_newer_term,
            "state.become_follower()",
            "isinstance(state.role, Leader) or state.become_follower()",
        ),
    ),
    Bug(
        "a pre-vote moves the term of its receiver",
        "dissertation §9.6",
        Edit(
            election.is_pre_vote,
            "case RequestVote(pre=pre): return pre",
            "case RequestVote(): return False",
        ),
    ),
    Bug(
        "a refused pre-vote does not tell the newer term",
        "etcd #8243, #8501",
        Edit(election.is_pre_vote, "return pre and granted", "return pre"),
    ),
    Bug(
        "a leader that no majority answers leads on",
        "dissertation §6.2; openraft #2080",
        Edit(check_quorum.on_quorum_check_due, "if has_quorum:", "if True:"),
    ),
    Bug(
        "a leader whose disk hangs leads on",
        "hashicorp/raft #503",
        Edit(transfer.on_leader_storage_check_due, "if state.durability.stalled:", "if False:"),
    ),
    Bug(
        "a node campaigns once and never again",
        "Raft §5.2",
        Edit(
            ElectionClock.take_due,
            "self._election = now + self._spread(chance)",
            "self._election = NEVER",
        ),
    ),
    Bug(
        "a leader that has called its successor waits for ever",
        "dissertation §3.10",
        Edit(
            check_quorum.on_quorum_check_due,
            "leader.end_transfer()",
            "pass",
        ),
        Edit(transfer.proceed, "leader.end_transfer()", "pass"),
    ),
    Bug(
        "a promise without a write of its own overtakes earlier writes",
        "Raft figure 2",
        Edit(Durability.take_ready, "if ready and self._in_flight:", "if False:"),
    ),
)
