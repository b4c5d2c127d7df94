"""Follower, candidate, leader: the volatile state that a node keeps only while in that role."""

import msgspec

from protocol.membership import NodeId
from protocol.raft.key_lease_clock import KeyLeaseClock
from protocol.raft.lease_records import LeaseRecords
from protocol.raft.progress import Progress


class Follower(msgspec.Struct):
    """Follows the leader of this term, once that leader has made contact."""

    leader: NodeId | None = None
    # Some leader, of this or an earlier term, made contact within the minimum election timeout.
    leader_lease_granted: bool = False


class Candidate(msgspec.Struct):
    """Collects votes; with ``pre``, only asks whether an election would be won (§9.6)."""

    pre: bool
    votes: dict[NodeId, bool] = msgspec.field(default_factory=dict)


class WaitingRead(msgspec.Struct, frozen=True):
    """A read that waits for confirmation: its node, and its number there."""

    reader: NodeId
    number: int
    leader_lease: bool = False  # a leader lease is enough
    ahead: bool = False  # this node's storage may read before the confirmation
    leases: tuple[int, ...] = ()  # on keys, which it keeps alive


class ReadQueue(msgspec.Struct):
    """The reads of one leader's term, in rounds of heartbeats (dissertation §6.4).

    A read that arrives during a round waits for the next one, so that a reply to an older
    heartbeat never confirms it. A round whose messages are lost is repeated under its own number:
    every reply to it was sent after its reads had arrived.
    """

    round: int = 0
    index: int = 0  # the commit index when the current round began
    began_at: int = 0  # leader's clock, in microseconds, when the current round began
    confirming: list[WaitingRead] = msgspec.field(default_factory=list)
    waiting: list[WaitingRead] = msgspec.field(default_factory=list)
    leased: list[WaitingRead] = msgspec.field(default_factory=list)  # until the turn ends

    def add(self, read: WaitingRead) -> None:
        """Queue a read for the next round, or for the end of the turn if a lease is enough."""
        by_lease = read.leader_lease and not read.leases
        (self.leased if by_lease else self.waiting).append(read)

    def take_leased(self) -> list[WaitingRead]:
        """Return the reads for which a leader lease is enough."""
        leased, self.leased = self.leased, []
        return leased

    def begin_round(self, commit_index: int, now: int) -> bool:
        """Begin a round for all waiting reads, unless one is under way; return whether it began."""
        if self.confirming or not self.waiting:
            return False
        self.round += 1
        self.index, self.began_at = commit_index, now
        self.confirming, self.waiting = self.waiting, []
        return True

    def take_confirmed(self) -> list[WaitingRead]:
        """Return the reads of the current round, which a majority has confirmed."""
        confirmed, self.confirming = self.confirming, []
        return confirmed

    def take_all(self) -> list[WaitingRead]:
        """Return every read that was not served, because this leader steps down."""
        unserved = self.confirming + self.waiting + self.leased
        self.confirming, self.waiting, self.leased = [], [], []
        return unserved


class Leader(msgspec.Struct):
    """Replicates its log to all other members."""

    first_index: int  # of its own term: only entries from here on commit by counting (§5.4.2)
    progress: dict[NodeId, Progress] = msgspec.field(default_factory=dict)
    # Facts of this turn, on which its end acts once (``node.py``):
    answered: set[NodeId] = msgspec.field(default_factory=set)  # peers that have replied
    heartbeat_answers: set[NodeId] = msgspec.field(default_factory=set)  # to heartbeats
    levels_announced: bool = True  # some level may differ from the recorded one
    held_more: bool = False  # some disk, this node's included, holds more of the log than before
    reads: ReadQueue = msgspec.field(default_factory=ReadQueue)
    key_leases: KeyLeaseClock = msgspec.field(default_factory=lambda: KeyLeaseClock(()))
    lease_records: LeaseRecords = msgspec.field(default_factory=LeaseRecords)
    own_term_applied: bool = False  # storage has applied an entry of its own term
    durable_index: int = 0  # end of the log on its own disk
    uncommitted_bytes: int = 0
    proposers: dict[NodeId, int] = msgspec.field(default_factory=dict)  # last index forwarded by
    transfer_to: NodeId | None = None
    transfer_since: int = 0  # leader's clock, in microseconds, when the transfer began
    transfer_due: bool = False  # TimeoutNow waits until the successor holds the whole log
    timeout_now_sent: bool = False  # in this term: its receiver may campaign at any time
    # Leader's clock, in microseconds, when each pending removal was first asked for.
    removals_asked: dict[NodeId, int] = msgspec.field(default_factory=dict)

    def end_transfer(self) -> None:
        """Take proposals again, because no successor has emerged."""
        self.transfer_to, self.transfer_due = None, False

    def is_caught_up(self, peer: NodeId, index: int) -> bool:
        """Whether a follower is known to hold the log up to an index."""
        progress = self.progress.get(peer)
        return progress is not None and 0 < progress.match_index >= index


Role = Follower | Candidate | Leader
