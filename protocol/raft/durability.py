"""Durability: no message is sent before the state that it depends on is on disk.

Storage persists writes in the order of their numbers and acknowledges them later, as with the
asynchronous storage writes of etcd-io/raft (and dissertation §10.2.1). A message that depends on a
write (a vote, an acceptance of entries) is kept here as a promise until that write is acknowledged.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.membership import MembershipAt, NodeId
from protocol.messages.peer import PeerMessage
from protocol.messages.replicator import Persisted
from protocol.messages.storage import Append

STALLED_CHECKS_MAX = 3  # storage checks that one write may outlast before storage is stalled

Promise = tuple[NodeId, PeerMessage]


class _Write(msgspec.Struct):
    """A write in flight, the end of the log that it persists, and the messages that wait for it."""

    number: int
    index: int
    term: int
    promises: list[Promise]


class Durability:
    """The writes in flight to storage, and the one that the current turn assembles."""

    def __init__(self) -> None:
        self._number = 0
        self._in_flight: deque[_Write] = deque()
        self._hard_state: HardState | None = None
        self._entries: list[LogEntry] = []
        self._memberships: tuple[MembershipAt, ...] | None = None
        self._promises: list[Promise] = []
        self._hard_state_number = 0
        self._acknowledged = 0
        self._check_due = False
        self._checked: int | None = None  # the oldest unacknowledged write at the last check
        self._stalled_checks = 0

    @property
    def stalled(self) -> bool:
        """Whether storage has not acknowledged one write for too many checks."""
        return self._stalled_checks >= STALLED_CHECKS_MAX

    def check(self) -> None:
        """Check whether storage has made progress; probe it by an empty write if it is idle.

        Only once a turn: if several checks are due, this process was paused, not storage.
        """
        if self._check_due:
            return
        self._check_due = True
        oldest = self._in_flight[0].number if self._in_flight else self._number + 1
        self._stalled_checks = self._stalled_checks + 1 if oldest == self._checked else 0
        self._checked = oldest

    @property
    def hard_state_durable(self) -> bool:
        """Whether the current term and vote are on disk."""
        return self._hard_state is None and self._hard_state_number <= self._acknowledged

    def write_hard_state(self, hard_state: HardState) -> None:
        """Persist term and vote with this turn's write."""
        self._hard_state = hard_state

    def write_entries(self, entries: Sequence[LogEntry]) -> None:
        """Persist entries with this turn's write, truncating from the first of them on."""
        first = entries[0].index
        self._entries = [entry for entry in self._entries if entry.index < first]
        self._entries.extend(entries)

    def write_memberships(self, memberships: tuple[MembershipAt, ...]) -> None:
        """Persist the committed and pending memberships with this turn's write."""
        self._memberships = memberships

    def promise(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message when all writes so far, this turn's included, are durable."""
        self._promises.append((to, message))

    def take_write(self, last_index: int, last_term: int) -> Append | None:
        """Return this turn's write, if it needs one; its promises wait for the acknowledgement."""
        probes, self._check_due = self._check_due and not self._in_flight, False
        unchanged = self._hard_state is None and not self._entries and self._memberships is None
        if unchanged and not probes:
            return None
        self._number += 1
        if self._hard_state is not None:
            self._hard_state_number = self._number
        write = Append(self._number, self._hard_state, tuple(self._entries), self._memberships)
        self._in_flight.append(_Write(self._number, last_index, last_term, self._promises))
        self._hard_state, self._entries, self._memberships = None, [], None
        self._promises = []
        return write

    def take_ready(self) -> list[Promise]:
        """Return the promises of a turn without a write, unless an earlier write is in flight."""
        ready, self._promises = self._promises, []
        if ready and self._in_flight:
            self._in_flight[-1].promises.extend(ready)
            return []
        return ready

    def acknowledge(self, persisted: Persisted) -> tuple[list[Promise], tuple[int, int] | None]:
        """Return the promises to send now, and index and term of the durable end of the log."""
        released: list[Promise] = []
        end: tuple[int, int] | None = None
        while self._in_flight and self._in_flight[0].number <= persisted.number:
            write = self._in_flight.popleft()
            released.extend(write.promises)
            end = (write.index, write.term)
            self._stalled_checks = 0
        self._acknowledged = max(self._acknowledged, persisted.number)
        return released, end
