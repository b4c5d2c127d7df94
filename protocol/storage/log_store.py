"""Log store: a node's identity, hard state, memberships and log, in its database."""

import msgspec

from protocol.compaction import Amount, LogLimits, LogSize
from protocol.entry import LogEntry
from protocol.hard_state import HardState
from protocol.membership import MembershipAt, NodeId, after_snapshot
from protocol.messages.replicator import LogCompacted, LogSlice, Recovered
from protocol.messages.storage import Append
from protocol.state.tables import Database
from protocol.wire import encode

RECOVERED_ENTRIES = 1000  # at the end of the log, besides all unapplied entries
EVERYTHING = 1 << 62


class DamagedLog(Exception):
    """The log on disk is not what this node can have written."""


class LogStart(msgspec.Struct, frozen=True, array_like=True):
    """The last compacted entry, which the log begins after."""

    index: int = 0
    term: int = 0


_decode_entry = msgspec.msgpack.Decoder(LogEntry).decode
_decode_hard_state = msgspec.msgpack.Decoder(HardState).decode
_decode_memberships = msgspec.msgpack.Decoder(tuple[MembershipAt, ...]).decode
_decode_start = msgspec.msgpack.Decoder(LogStart).decode
_decode_int = msgspec.msgpack.Decoder(int).decode


class LogStore:
    """The log and the hard state; the caller decides when changes become durable."""

    def __init__(self, database: Database, limits: LogLimits) -> None:
        self._meta = database.table("raft_meta")
        self._log = database.table("raft_log")
        start = self._meta.get(b"log_start")
        self.start = LogStart() if start is None else _decode_start(start)
        self.last_index = self.start.index
        sizes = []
        for key, stored in self._log.scan(_key(self.start.index + 1)):
            self.last_index = int.from_bytes(key, "big")
            sizes.append(len(stored))
        self._size = LogSize(limits, self.start.index, sizes)
        self._is_gapless = len(sizes) == self.last_index - self.start.index
        self.last_term = self.term_at(self.last_index) or 0

    def begin(self, node: NodeId) -> None:
        """Set this node's id, when its directory is created."""
        self._meta.put(b"node", node)

    def begin_incarnation(self) -> None:
        """Increment the incarnation, which marks messages of earlier ones as outdated."""
        self._meta.put(b"incarnation", encode(self.incarnation + 1))

    def adopt_cluster(self, cluster: bytes) -> None:
        """Set the cluster that this node belongs to."""
        self._meta.put(b"cluster", cluster)

    def append(self, write: Append) -> None:
        """Store hard state and memberships; replace all entries from the first one's index on."""
        if write.hard_state is not None:
            self._meta.put(b"hard_state", encode(write.hard_state))
        if write.memberships is not None:
            self._meta.put(b"memberships", encode(write.memberships))
        if not write.entries:
            return
        first, last = write.entries[0], write.entries[-1]
        assert self.start.index < first.index <= self.last_index + 1, "the log has no gap"
        if first.index <= self.last_index:
            self._log.delete_range(_key(first.index), _key(self.last_index + 1))
            self._size.truncate_from(first.index)
        for entry in write.entries:
            encoded = encode(entry)
            self._log.put(_key(entry.index), encoded)
            self._size.append(len(encoded))
        self.last_index, self.last_term = last.index, last.term

    def compact(self, limit: int) -> None:
        """Drop old entries if the log is too long, none after ``limit``."""
        cut = self._size.cut(limit)
        if cut is not None:
            self._start_after(LogStart(cut, self.term_at(cut) or 0))

    def is_held_too_long(self, after: int, limit: int, read: Amount) -> bool:
        """Whether the log between two indexes is too much to retain for a reader's progress."""
        return self._size.is_too_much(self._size.between(after, limit), read)

    def begin_after_snapshot(self, index: int, term: int, membership: MembershipAt) -> None:
        """Begin the log after a snapshot, keeping entries that follow it (Raft figure 13, 6-7)."""
        keeps = self.start.index <= index and self.term_at(index) == term
        stored = after_snapshot(self.memberships, membership, index if keeps else None)
        self._meta.put(b"memberships", encode(stored))
        if not keeps:
            self._log.delete_range(_key(0), _key(self.last_index + 1))
            self._size.truncate_from(0)
            self.last_index, self.last_term = index, term
        self._start_after(LogStart(index, term))

    def _start_after(self, start: LogStart) -> None:
        self._log.delete_range(_key(0), _key(start.index + 1))
        self._size.compact_to(start.index)
        self._meta.put(b"log_start", encode(start))
        self.start = start

    @property
    def node(self) -> NodeId:
        """This node's id, which its directory never changes."""
        return self._meta.get(b"node") or b""

    @property
    def cluster(self) -> bytes:
        """The id of this node's cluster; empty before it has joined one."""
        return self._meta.get(b"cluster") or b""

    @property
    def incarnation(self) -> int:
        """How many times the node has been started."""
        stored = self._meta.get(b"incarnation")
        return 0 if stored is None else _decode_int(stored)

    @property
    def memberships(self) -> tuple[MembershipAt, ...]:
        """The last committed membership and those after it."""
        stored = self._meta.get(b"memberships")
        return () if stored is None else _decode_memberships(stored)

    @property
    def hard_state(self) -> HardState:
        """The last written hard state."""
        stored = self._meta.get(b"hard_state")
        return HardState() if stored is None else _decode_hard_state(stored)

    def entry_at(self, index: int) -> LogEntry | None:
        """Return the entry at an index."""
        stored = self._log.get(_key(index))
        return None if stored is None else _decode_entry(stored)

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at an index; None if the log does not hold it."""
        if index == self.start.index:
            return self.start.term
        entry = self.entry_at(index)
        return None if entry is None else entry.term

    def slice(self, first: int, bytes_max: int) -> tuple[LogEntry, ...]:
        """Return entries from index ``first`` on, up to ``bytes_max`` bytes, but at least one."""
        entries: list[LogEntry] = []
        size = 0
        for _, stored in self._log.scan(_key(first)):
            size += len(stored)
            if entries and size > bytes_max:
                break
            entries.append(_decode_entry(stored))
        return tuple(entries)

    def slice_for(self, peer: NodeId, first: int, bytes_max: int) -> LogSlice | LogCompacted:
        """Return entries for a follower, or that they are compacted."""
        before = self.term_at(first - 1)
        if first <= self.start.index or before is None:
            return LogCompacted(peer, first)
        return LogSlice(peer, first - 1, before, self.slice(first, bytes_max))

    def recover(
        self, applied_index: int, leases: tuple[tuple[int, int, int], ...] = ()
    ) -> Recovered:
        """Return the replicator's initial state: all unapplied entries, and some before them.

        Raises:
            DamagedLog: the log has a gap or does not reach the applied index.
        """
        if not self._is_gapless or not self.start.index <= applied_index <= self.last_index:
            raise DamagedLog(
                f"the log begins after {self.start.index} and ends at {self.last_index}"
                f"{'' if self._is_gapless else ' with a gap'}, and {applied_index} are applied"
            )
        prev = max(self.start.index, min(applied_index, self.last_index - RECOVERED_ENTRIES))
        return Recovered(
            node=self.node,
            cluster=self.cluster,
            incarnation=self.incarnation,
            hard_state=self.hard_state,
            applied_index=applied_index,
            prev_index=prev,
            prev_term=self.term_at(prev) or 0,
            entries=self.slice(prev + 1, EVERYTHING),
            memberships=self.memberships,
            leases=leases,
        )


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")
