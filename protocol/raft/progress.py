"""The leader's view of one follower: what it holds, and what is on its way to it."""

from collections import deque

import msgspec

IN_FLIGHT_MESSAGES_MAX = 64  # a follower that answers slowly is sent no more than this


class Progress(msgspec.Struct):
    """One follower, as etcd's Raft tracks it.

    While ``probing``, one message at a time looks for the last entry that both logs share;
    after that, messages follow each other without waiting for replies.
    """

    next_index: int
    match_index: int = 0
    probing: bool = True
    paused: bool = False  # a probe is on its way, or entries are being read from disk for it
    active: bool = True  # has answered since the last quorum check
    commit_told: int = 0
    confirmed_round: int = 0
    in_flight: deque[int] = msgspec.field(default_factory=deque)  # last index of each message

    def may_send(self) -> bool:
        """Whether another message may go out now."""
        return not self.paused and len(self.in_flight) < IN_FLIGHT_MESSAGES_MAX

    def sent(self, last_index: int) -> None:
        """Note that entries up to this index are on their way."""
        if self.probing:
            self.paused = True
        elif last_index >= self.next_index:
            self.next_index = last_index + 1
            self.in_flight.append(last_index)

    def accepted(self, index: int) -> bool:
        """Note that the follower holds all up to an index; return whether that is news."""
        while self.in_flight and self.in_flight[0] <= index:
            self.in_flight.popleft()
        if self.probing:
            self.probing = self.paused = False
            self.in_flight.clear()
        if index <= self.match_index:
            return False
        self.match_index = index
        if index >= self.next_index:
            self.next_index = index + 1
            self.paused = False  # what is being read from disk is not needed any more
        return True

    def refused(self, prev_index: int, agreement: int) -> bool:
        """Go back to where the logs could agree; return False for an answer long out of date."""
        if prev_index <= self.match_index:
            return False
        if self.probing and prev_index != self.next_index - 1:
            return False
        self.next_index = max(self.match_index, min(agreement, prev_index - 1)) + 1
        self.probing = True
        self.paused = False
        self.in_flight.clear()
        return True
