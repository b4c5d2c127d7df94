"""What a node must remember of consensus, in its database: identity, hard state, log."""

import uuid

import msgspec

from actors.database import Database
from actors.failure import ActorFailure
from protocol.address import Address
from protocol.entry import Entry, EntryKind, MembershipChange
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.node_messages import Append, HardState, LogSlice, Recovered
from protocol.wire import encode

RECOVERED_ENTRIES = 1000  # of the log's end, besides all that is not applied yet
EVERYTHING = 1 << 62

_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_hard_state = msgspec.msgpack.Decoder(HardState).decode
_decode_memberships = msgspec.msgpack.Decoder(tuple[MembershipAt, ...]).decode
_decode_int = msgspec.msgpack.Decoder(int).decode


class LogStore:
    """The log and the hard state; the caller decides when what is put becomes durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._meta = database.table("raft_meta")
        self._log = database.table("raft_log")
        last = self._log.last_key()
        self.last_index = 0 if last is None else int.from_bytes(last, "big")
        self.last_term = self.term_at(self.last_index)

    def found(self, address: Address) -> None:
        """Begin a new cluster with this node as its only member."""
        self.begin()
        membership = Membership((Member(self.node, str(address), voter=True),))
        first = Entry(1, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(membership)))
        self.adopt_cluster(uuid.uuid4().bytes)
        self.append(Append(0, HardState(1), (first,), (MembershipAt(1, membership),)))

    def begin(self) -> None:
        """Give this node its identity."""
        self._meta.put(b"node", uuid.uuid4().bytes)

    def begin_incarnation(self) -> None:
        """Count this life of the node, so that messages of a former one can be told apart."""
        self._meta.put(b"incarnation", encode(self.incarnation + 1))

    def adopt_cluster(self, cluster: bytes) -> None:
        """Belong to a cluster."""
        self._meta.put(b"cluster", cluster)

    def append(self, write: Append) -> None:
        """Put hard state and memberships, and entries in place of all from the first on."""
        if write.hard_state is not None:
            self._meta.put(b"hard_state", encode(write.hard_state))
        if write.memberships is not None:
            self._meta.put(b"memberships", encode(write.memberships))
        if not write.entries:
            return
        first, last = write.entries[0], write.entries[-1]
        if first.index <= self.last_index:
            self._log.delete_range(_key(first.index), _key(self.last_index + 1))
        for entry in write.entries:
            self._log.put(_key(entry.index), encode(entry))
        self.last_index, self.last_term = last.index, last.term

    @property
    def node(self) -> NodeId:
        """This node's id, given once for the life of the directory."""
        return self._meta.get(b"node") or b""

    @property
    def cluster(self) -> bytes:
        """The cluster this node belongs to; empty before it joined one."""
        return self._meta.get(b"cluster") or b""

    @property
    def incarnation(self) -> int:
        """How many times the node has been started."""
        stored = self._meta.get(b"incarnation")
        return 0 if stored is None else _decode_int(stored)

    def entry_at(self, index: int) -> Entry | None:
        """Return the entry at an index."""
        stored = self._log.get(_key(index))
        return None if stored is None else _decode_entry(stored)

    def term_at(self, index: int) -> int:
        """Return the term of the entry at an index, 0 where there is none."""
        entry = self.entry_at(index)
        return 0 if entry is None else entry.term

    def slice(self, first: int, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from the first on: at least one if there is one, then up to a size."""
        entries: list[Entry] = []
        size = 0
        for _, stored in self._log.scan(_key(first)):
            size += len(stored)
            if entries and size > bytes_max:
                break
            entries.append(_decode_entry(stored))
        return tuple(entries)

    def slice_for(self, peer: NodeId, first: int, bytes_max: int) -> LogSlice:
        """Return entries for a follower, with the term of the one before them."""
        return LogSlice(peer, first - 1, self.term_at(first - 1), self.slice(first, bytes_max))

    def recover(self, applied_index: int) -> Recovered:
        """Return what the replicator starts with: all that is not applied, and some before it.

        Raises:
            ActorFailure: the log has a gap or ends before what was applied.
        """
        first = self._window_start(applied_index)
        entries = self.slice(first + 1, EVERYTHING)
        if first + len(entries) != self.last_index or self.last_index < applied_index:
            raise ActorFailure(
                "StorageError",
                f"the log ends at {self.last_index} with {len(entries)} entries after {first}, "
                f"but {applied_index} are applied: the data is damaged; it was left as it is",
                lasting=True,
            )
        hard_state = self._meta.get(b"hard_state")
        memberships = self._meta.get(b"memberships")
        return Recovered(
            self.node,
            self.cluster,
            self.incarnation,
            HardState() if hard_state is None else _decode_hard_state(hard_state),
            applied_index,
            first,
            self.term_at(first),
            entries,
            () if memberships is None else _decode_memberships(memberships),
        )

    def _window_start(self, applied_index: int) -> int:
        """Return the index before the first entry that the replicator is to hold."""
        return max(0, min(applied_index, self.last_index - RECOVERED_ENTRIES))


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")
