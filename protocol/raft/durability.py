"""Durability: no message is sent before the state that it depends on is on disk.

Storage makes writes durable in the order in which they were handed over and acknowledges them
later (the asynchronous storage of etcd's Raft). A message that rests on a write (a vote, an
acceptance of entries) is kept here until that write is acknowledged.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from protocol.entry import Entry
from protocol.hard_state import HardState
from protocol.membership import MembershipAt, NodeId
from protocol.node_messages import Append, Persisted
from protocol.peer_messages import PeerMessage

STALLED_CHECKS_MAX = 3  # that one write may outlast before storage counts as hung

Promise = tuple[NodeId, PeerMessage]


class _Write(msgspec.Struct):
    """A write on its way, the end of the log it makes durable, and who waits for it."""

    number: int
    index: int
    term: int
    promises: list[Promise]


class Durability:
    """The writes on their way to disk, and the one that the present turn puts together."""

    def __init__(self) -> None:
        self._number = 0
        self._under_way: deque[_Write] = deque()
        self._hard_state: HardState | None = None
        self._entries: list[Entry] = []
        self._memberships: tuple[MembershipAt, ...] | None = None
        self._promises: list[Promise] = []
        self._hard_state_number = 0
        self._acknowledged = 0
        self._check_due = False
        self._checked: int | None = None  # the write that was owed for longest at the last check
        self._stalled_checks = 0

    @property
    def stalled(self) -> bool:
        """Whether storage has owed the same write for so long that it may never answer."""
        return self._stalled_checks >= STALLED_CHECKS_MAX

    def check(self) -> None:
        """Note whether storage has moved since the last check; where it owes nothing, ask it.

        Once a turn: where more are due, it was this process that stood still.
        """
        if self._check_due:
            return
        self._check_due = True
        oldest = self._under_way[0].number if self._under_way else self._number + 1
        self._stalled_checks = self._stalled_checks + 1 if oldest == self._checked else 0
        self._checked = oldest

    @property
    def hard_state_durable(self) -> bool:
        """Whether term and vote, as they are now, would survive a crash."""
        return self._hard_state is None and self._hard_state_number <= self._acknowledged

    def write_hard_state(self, hard_state: HardState) -> None:
        """Make term and vote durable with this turn's write."""
        self._hard_state = hard_state

    def write_entries(self, entries: Sequence[Entry]) -> None:
        """Make entries durable with this turn's write, replacing all from the first of them."""
        first = entries[0].index
        self._entries = [entry for entry in self._entries if entry.index < first]
        self._entries.extend(entries)

    def write_memberships(self, memberships: tuple[MembershipAt, ...]) -> None:
        """Make the memberships that may still count durable with this turn's write."""
        self._memberships = memberships

    def promise(self, to: NodeId, message: PeerMessage) -> None:
        """Send a message when all that was written so far, this turn included, is durable."""
        self._promises.append((to, message))

    def take_write(self, last_index: int, last_term: int) -> Append | None:
        """Return this turn's write, if there is one; its promises wait from now on."""
        asks, self._check_due = self._check_due and not self._under_way, False
        unchanged = self._hard_state is None and not self._entries and self._memberships is None
        if unchanged and not asks:
            return None
        self._number += 1
        if self._hard_state is not None:
            self._hard_state_number = self._number
        write = Append(self._number, self._hard_state, tuple(self._entries), self._memberships)
        self._under_way.append(_Write(self._number, last_index, last_term, self._promises))
        self._hard_state, self._entries, self._memberships = None, [], None
        self._promises = []
        return write

    def take_ready(self) -> list[Promise]:
        """Return the promises of a turn without a write, unless an earlier write holds them."""
        ready, self._promises = self._promises, []
        if ready and self._under_way:
            self._under_way[-1].promises.extend(ready)
            return []
        return ready

    def acknowledge(self, persisted: Persisted) -> tuple[list[Promise], tuple[int, int] | None]:
        """Return the promises that may be sent now, and index and term of the durable end."""
        released: list[Promise] = []
        end: tuple[int, int] | None = None
        while self._under_way and self._under_way[0].number <= persisted.number:
            write = self._under_way.popleft()
            released.extend(write.promises)
            end = (write.index, write.term)
            self._stalled_checks = 0
        self._acknowledged = max(self._acknowledged, persisted.number)
        return released, end
