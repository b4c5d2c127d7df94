"""Bugs in reads, which make them stale."""

from protocol.gateway.reads import Reads
from protocol.raft import leader_lease, reads
from protocol.raft.roles import ReadQueue
from protocol.raft.state import RaftState
from protocol.storage.writer import StorageWriter
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a leader serves reads without asking whether it still leads",
        "dissertation §6.4; etcd #741; skiff-rs",
        Edit(
            reads._is_confirmed,
            "is_majority(confirmed, len(voters))",
            "True",
        ),
    ),
    Bug(
        "a round has the number of the one before",
        "dissertation §6.4; etcd #20418",
        Edit(ReadQueue.begin_round, "self.round += 1", "self.round = 1"),
    ),
    Bug(
        "a gateway answers what was read ahead before it is confirmed",
        "dissertation §6.4",
        Edit(Reads.on_done, "message.confirmed or pending.confirmed", "True"),
    ),
    Bug(
        "a leader that gives up calls confirmed what was read ahead",
        "dissertation §6.4",
        Edit(
            RaftState.fail_reads,
            "self.outbox.gateway.append(ReadFailed(number))",
            "from protocol.messages.gateway import ReadsConfirmed\n"
            "            self.outbox.gateway.append(ReadsConfirmed((number,)))",
        ),
    ),
    Bug(
        "what is committed need not be applied before a leader reads ahead",
        "dissertation §6.4",
        Edit(reads._read_ahead, "leader.reads.index", "0"),
    ),
    Bug(
        "a read joins the round that is under way",
        "dissertation §6.4",
        Edit(
            ReadQueue.add,
            "(self.leased if by_lease else self.waiting)",
            "(self.leased if by_lease else self.confirming or self.waiting)",
        ),
    ),
    Bug(
        "the answer to an older round confirms a read",
        "dissertation §6.4",
        Edit(reads._has_confirmed, ">= leader.reads.round", ">= leader.reads.round - 1"),
    ),
    Bug(
        "a new leader serves reads before an entry of its term is committed",
        "dissertation §6.4; etcd #7331; redisraft #22",
        Edit(
            reads._begin_round,
            "state.commit_index < leader.first_index",
            "False",
        ),
    ),
    Bug(
        "what storage left unread of a batch is asked again for the wrong clients",
        "dissertation §6.4",
        Edit(
            Reads._queue_again,
            "slot = pending.slots[place]",
            "slot = pending.slots[place - (place > count)]",
        ),
    ),
    Bug(
        "a read is answered before all that it must see is applied",
        "dissertation §6.4",
        Edit(StorageWriter._answer_reads, "read.index > self._machine.applied_index", "False"),
    ),
    Bug(
        "a voter started again forgets how long it promised to wait",
        "dissertation §6.4.1",
        Edit(RaftState.set_time, "now + self._recovered_promise_us", "now"),
    ),
    Bug(
        "a leader lease is longer than a voter's election timeout",
        "dissertation §6.4.1",
        Edit(
            leader_lease.extend_leader_lease,
            "int(reply.election_timeout_min_us * LEASE_SHARE)",
            "reply.election_timeout_min_us * 3",
        ),
    ),
    Bug(
        "a leader lease outlives TimeoutNow",
        "dissertation §3.10, §6.4.1",
        Edit(leader_lease.holds_leader_lease, "leader.timeout_now_sent or ", ""),
    ),
    Bug(
        "a leader lease counts before an entry of the leader's term is committed",
        "dissertation §6.4, §6.4.1",
        Edit(leader_lease.holds_leader_lease, " or state.commit_index < leader.first_index", ""),
    ),
    Bug(
        "a leader lease never expires",
        "dissertation §6.4.1; tikv #964",
        Edit(
            leader_lease._has_granted,
            "leader.progress[voter].leader_lease_until > state.now",
            "True",
        ),
    ),
)
