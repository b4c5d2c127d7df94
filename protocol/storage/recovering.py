"""Recovering: what a directory holds, and how it becomes the first node of another cluster.

For a cluster that has lost its majority for good. What one of its nodes has is taken for committed.
"""

import msgspec

from protocol.compaction import LogLimits
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.storage import Append
from protocol.state_machine import MEMBERSHIP_KEY
from protocol.storage.log_store import DamagedLog, LogStore
from protocol.storage.state_tables import Places
from protocol.table import Database
from protocol.wire import encode

UNKNOWN_ADDRESS = "127.0.0.1:9400"  # the node corrects it when it is started


class NoMember(Exception):
    """The directory is of a node that never was a member of any cluster."""


class Holding(msgspec.Struct, frozen=True):
    """What the directory of a node holds."""

    node: NodeId
    cluster: bytes
    last_term: int
    last_index: int
    applied_index: int
    revision: int  # of what is applied
    membership: Membership  # the latest in the log, committed or not

    @property
    def rank(self) -> tuple[int, int]:
        """How much of the cluster's log it holds, as elections compare it (Raft §5.4.1)."""
        return self.last_term, self.last_index

    @property
    def is_alone(self) -> bool:
        """Whether the node needs nobody else to go on."""
        return self.membership.voters == {self.node}


def survey(database: Database, limits: LogLimits) -> Holding:
    """Return what a database holds.

    Raises:
        NoMember: its node never was a member of a cluster.
        DamagedLog: it cannot be what a node wrote there.
    """
    store, machine = LogStore(database, limits), Places(database).current.machine()
    store.recover(machine.applied_index)
    if not store.cluster or not store.memberships:
        raise NoMember
    return Holding(
        store.node,
        store.cluster,
        store.last_term,
        store.last_index,
        machine.applied_index,
        machine.revision,
        store.memberships[-1].membership,
    )


def recover(
    database: Database, limits: LogLimits, cluster: bytes, *, sessions_skipped: int
) -> None:
    """Make a database that of the only member of a new cluster, by one synced write.

    All of its log is applied, so that whoever joins begins with the state. Numbers of sessions
    that the old cluster may have given elsewhere are left out, as when a backup is restored.

    Raises:
        DamagedLog: so many numbers are not left.
    """
    holding = survey(database, limits)
    store, tables = LogStore(database, limits), Places(database).current
    machine = tables.machine()
    for index in range(machine.applied_index + 1, store.last_index + 1):
        entry = store.entry_at(index)
        assert entry is not None, "the log has no gap"
        machine.apply(entry)
    try:
        machine.skip_sessions(sessions_skipped)
    except OverflowError as error:
        raise DamagedLog(str(error)) from error
    machine.store_progress()
    here = holding.membership.get(holding.node)
    address = UNKNOWN_ADDRESS if here is None else here.address
    alone = Membership((Member(holding.node, address, voter=True),))
    members = MembershipAt(store.last_index, alone)
    term = max(store.hard_state.term, store.last_term)
    store.adopt_cluster(cluster)
    store.begin_after_snapshot(store.last_index, store.last_term, members)
    store.append(Append(0, HardState(term), (), None))
    tables.values.put(MEMBERSHIP_KEY, encode(members))
    database.write(sync=True)
