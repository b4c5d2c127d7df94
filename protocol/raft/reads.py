"""Linearizable reads without a log entry: the read index (Raft dissertation §6.4).

A read may be served at the commit index of a moment at which a majority confirmed the leader.
Reads that arrive while a round of heartbeats is under way wait for the next round, so that the
reply to an older one never confirms a later read. A round whose messages may have been lost is
sent again under its own number: what confirms it at all was asked after its reads had arrived.
"""

import msgspec

from protocol.membership import NodeId


class WaitingRead(msgspec.Struct, frozen=True):
    """A read that must be confirmed: whose it is, and its number there."""

    reader: NodeId
    number: int
    lease: bool = False
    ahead: bool = False  # this node's storage reads before it is confirmed


class Reads(msgspec.Struct):
    """The reads of one leader's term."""

    round: int = 0
    index: int = 0  # the commit index when the present round began
    confirming: list[WaitingRead] = msgspec.field(default_factory=list)
    waiting: list[WaitingRead] = msgspec.field(default_factory=list)
    leased: list[WaitingRead] = msgspec.field(default_factory=list)  # until the end of the turn

    def add(self, read: WaitingRead) -> None:
        """Let a read wait for the next round, or for a look at the clock."""
        (self.leased if read.lease else self.waiting).append(read)

    def take_leased(self) -> list[WaitingRead]:
        """Return the reads for which a lease is good enough."""
        leased, self.leased = self.leased, []
        return leased

    def begin_round(self, commit_index: int) -> bool:
        """Begin a round for all that waits, unless one is under way; return whether it began."""
        if self.confirming or not self.waiting:
            return False
        self.round += 1
        self.index = commit_index
        self.confirming, self.waiting = self.waiting, []
        return True

    def take_confirmed(self) -> list[WaitingRead]:
        """Return the reads of the present round, which a majority has confirmed."""
        confirmed, self.confirming = self.confirming, []
        return confirmed

    def take_all(self) -> list[WaitingRead]:
        """Return every read that was not served, because this leader leads no more."""
        unserved = self.confirming + self.waiting + self.leased
        self.confirming, self.waiting, self.leased = [], [], []
        return unserved
