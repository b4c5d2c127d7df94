"""Restoring: creates the first member of a new cluster from a snapshot."""

from protocol.address import Address
from protocol.compaction import LogLimits
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.storage import Append
from protocol.snapshot import SnapshotChunk
from protocol.state.levels import STATE_LEVEL
from protocol.state.machine import MEMBERSHIP_KEY, StateMachine
from protocol.state.tables import Database
from protocol.storage.log_store import LogStore
from protocol.storage.snapshot_staging import SnapshotStaging
from protocol.storage.state_tables import TableSets
from protocol.wire import encode


class DamagedSnapshot(Exception):
    """The chunks do not form one complete snapshot."""


class Restoring:
    """An empty database that is to become the only member of a new cluster."""

    def __init__(self, database: Database, limits: LogLimits) -> None:
        self._database = database
        self._table_sets = TableSets(database)
        self._staging = SnapshotStaging(database.table("raft_meta"), self._table_sets)
        self._store = LogStore(database, limits)

    def take(self, chunk: SnapshotChunk) -> None:
        """Stage the next chunk.

        Raises:
            DamagedSnapshot: the chunk is out of order or damaged.
        """
        if not self._staging.take(chunk):
            raise DamagedSnapshot("a chunk is missing or damaged")
        self._database.write(sync=False)

    def finish(
        self, node: NodeId, cluster: bytes, address: Address, *, sessions_skipped: int
    ) -> None:
        """Activate the state under a new node id and cluster id.

        ``sessions_skipped`` session numbers are left out, because the old cluster may have opened
        them after the backup.

        Raises:
            DamagedSnapshot: too few session numbers are left.
        """
        machine = self._skip_sessions(sessions_skipped)
        self._table_sets.switch()
        self._staging.end()
        index, term = machine.applied_index, machine.applied_term
        alone = Membership((Member(node, str(address), True, STATE_LEVEL),))
        self._store.begin(node)
        self._store.adopt_cluster(cluster)
        self._store.begin_after_snapshot(index, term, MembershipAt(index, alone))
        self._store.append(Append(0, HardState(term), (), None))
        self._table_sets.active.values.put(MEMBERSHIP_KEY, encode(MembershipAt(index, alone)))
        self._database.write(sync=True)

    def _skip_sessions(self, count: int) -> StateMachine:
        machine = self._table_sets.spare.machine()
        try:
            machine.skip_sessions(count)
        except OverflowError as error:
            raise DamagedSnapshot(str(error)) from error
        machine.store_progress()
        return machine
