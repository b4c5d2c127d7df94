"""Beginning a new cluster with the state that a snapshot brings."""

from protocol.address import Address
from protocol.compaction import LogLimits
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.storage import Append
from protocol.snapshot import SnapshotChunk
from protocol.state_machine import MEMBERSHIP_KEY, StateMachine
from protocol.storage.log_store import LogStore
from protocol.storage.snapshot_staging import SnapshotStaging
from protocol.storage.state_tables import Places
from protocol.table import Database
from protocol.wire import encode


class DamagedSnapshot(Exception):
    """The chunks are not those of one whole snapshot."""


class Restoring:
    """An empty database that is to become the only member of a new cluster."""

    def __init__(self, database: Database, limits: LogLimits) -> None:
        self._database = database
        self._places = Places(database)
        self._staging = SnapshotStaging(database.table("raft_meta"), self._places)
        self._store = LogStore(database, limits)

    def take(self, chunk: SnapshotChunk) -> None:
        """Take in the next chunk.

        Raises:
            DamagedSnapshot: it is not the next one, or not whole.
        """
        if not self._staging.take(chunk):
            raise DamagedSnapshot("a chunk is missing or damaged")
        self._database.write(sync=False)

    def finish(
        self, node: NodeId, cluster: bytes, address: Address, *, sessions_skipped: int
    ) -> None:
        """Let the state count, under a new identity: messages of the old cluster are foreign.

        So are its sessions: their numbers are left out, as many as it may have given since.

        Raises:
            DamagedSnapshot: so many numbers are not left.
        """
        machine = self._skip_sessions(sessions_skipped)
        self._places.switch()
        self._staging.end()
        index, term = machine.applied_index, machine.applied_term
        alone = Membership((Member(node, str(address), voter=True),))
        self._store.begin(node)
        self._store.adopt_cluster(cluster)
        self._store.begin_after_snapshot(index, term, MembershipAt(index, alone))
        self._store.append(Append(0, HardState(term), (), None))
        self._places.current.values.put(MEMBERSHIP_KEY, encode(MembershipAt(index, alone)))
        self._database.write(sync=True)

    def _skip_sessions(self, count: int) -> StateMachine:
        machine = self._places.spare.machine()
        try:
            machine.skip_sessions(count)
        except OverflowError as error:
            raise DamagedSnapshot(str(error)) from error
        machine.store_progress()
        return machine
