"""Recovery: turns a node's directory into the first member of a new cluster.

It is for a cluster that has permanently lost its majority. The whole log of the chosen node is
taken as committed.
"""

import msgspec

from protocol.compaction import LogLimits
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt, NodeId
from protocol.messages.storage import Append
from protocol.state.levels import STATE_LEVEL
from protocol.state.machine import MEMBERSHIP_KEY
from protocol.state.tables import Database
from protocol.storage.log_store import DamagedLog, LogStore
from protocol.storage.state_tables import TableSets
from protocol.wire import encode

UNKNOWN_ADDRESS = "127.0.0.1:9400"  # the node corrects it at its next start


class NoMember(Exception):
    """The directory's node was never a member of a cluster."""


class NewerVersion(Exception):
    """The log may have commands that only newer versions can apply."""


class DirectoryContents(msgspec.Struct, frozen=True):
    """The contents of a node's directory."""

    node: NodeId
    cluster: bytes
    last_term: int
    last_index: int
    applied_index: int
    revision: int  # of the tables
    membership: Membership  # the latest in the log, committed or not

    @property
    def rank(self) -> tuple[int, int]:
        """The position of its last entry, as elections compare logs (Raft §5.4.1)."""
        return self.last_term, self.last_index

    @property
    def is_alone(self) -> bool:
        """Whether the node is the only voter, and so has a majority by itself."""
        return self.membership.voters == {self.node}


def survey(database: Database, limits: LogLimits) -> DirectoryContents:
    """Return the contents of a database.

    Raises:
        NoMember: its node was never a member of a cluster.
        NewerVersion: its cluster was upgraded to a newer version than this one.
        DamagedLog: the log is not what a node can have written.
    """
    store, machine = LogStore(database, limits), TableSets(database).active.machine()
    store.recover(machine.applied_index)
    if not store.cluster or not store.memberships:
        raise NoMember
    if any(each.membership.level > STATE_LEVEL for each in store.memberships):
        raise NewerVersion
    return DirectoryContents(
        node=store.node,
        cluster=store.cluster,
        last_term=store.last_term,
        last_index=store.last_index,
        applied_index=machine.applied_index,
        revision=machine.revision,
        membership=store.memberships[-1].membership,
    )


def recover(
    database: Database, limits: LogLimits, cluster: bytes, *, sessions_skipped: int
) -> None:
    """Turn a database into that of the only member of a new cluster, in one synced write.

    The whole log is applied first, so that new members receive a snapshot of all of it.
    ``sessions_skipped`` session numbers are left out, because the old cluster may have opened them
    elsewhere.

    Raises:
        NewerVersion: its cluster was upgraded to a newer version than this one.
        DamagedLog: the log is damaged, or too few session numbers are left.
    """
    contents = survey(database, limits)
    store, tables = LogStore(database, limits), TableSets(database).active
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
    here = contents.membership.get(contents.node)
    address = UNKNOWN_ADDRESS if here is None else here.address
    alone = Membership((Member(contents.node, address, True, STATE_LEVEL),))
    members = MembershipAt(store.last_index, alone)
    term = max(store.hard_state.term, store.last_term)
    store.adopt_cluster(cluster)
    store.begin_after_snapshot(store.last_index, store.last_term, members)
    store.append(Append(0, HardState(term), (), None))
    tables.values.put(MEMBERSHIP_KEY, encode(members))
    database.write(sync=True)
