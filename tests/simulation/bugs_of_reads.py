"""Bugs by which reads see the past."""

from protocol.raft import reading
from protocol.raft.reads import Reads
from protocol.storage.writer import StorageWriter
from tests.simulation.bug import Bug, Edit

BUGS = (
    Bug(
        "a read joins the round that is under way",
        "dissertation §6.4",
        Edit(
            Reads.add,
            "(self.leased if read.lease else self.waiting)",
            "(self.leased if read.lease else self.confirming or self.waiting)",
        ),
    ),
    Bug(
        "a new leader serves reads before an entry of its term is committed",
        "dissertation §6.4; etcd #7331; redisraft #22",
        Edit(
            reading.begin_round,
            "state.commit_index < leader.first_index",
            "False",
        ),
    ),
    Bug(
        "a read is answered before all that it must see is applied",
        "dissertation §6.4",
        Edit(StorageWriter._answer_reads, "read.index > self._machine.applied_index", "False"),
    ),
)
