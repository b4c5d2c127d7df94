"""Recovering: a directory becomes that of a new cluster by one write."""

import pytest

from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.storage import Append
from protocol.raft.node import RaftNode
from protocol.state.commands import Batch, Insert, OpenSession, SessionOpened, Write
from protocol.state.levels import STATE_LEVEL
from protocol.storage.recovering import DirectoryContents, NewerVersion, recover, survey
from protocol.wire import encode
from tests.harness.stored_node import CLUSTER, NODE, PEER, UNLIMITED, StoredNode, entry, history
from tests.simulation.disk import DiskFailure

NEW_CLUSTER = b"new cluster".ljust(16, b"\0")
SKIPPED = 1000
LAST = 14


@pytest.fixture
def node() -> StoredNode:
    """Return one node of two, with two entries not known to be committed."""
    node = StoredNode()
    both = Membership((Member(NODE, "node.example:9400", True), Member(PEER, "peer:9400", True)))
    change = LogEntry(11, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(both)))
    members = (MembershipAt(11, both),)
    node.apply(*history(10))
    node.turn(Append(90, HardState(3), (change,), members))
    node.turn(node.append(entry(12, Insert("a", b"x"), term=2)))
    node.turn(node.append(entry(13, OpenSession(), term=3), entry(LAST, Insert("b", b"y"), term=3)))
    return node


def begin_again(node: StoredNode) -> None:
    recover(node.disk, UNLIMITED, NEW_CLUSTER, sessions_skipped=SKIPPED)
    node.disk.finish_sync()


def test_a_survey_reports_the_identity_and_state_of_a_directory(node: StoredNode) -> None:
    contents = survey(node.disk, UNLIMITED)
    assert isinstance(contents, DirectoryContents)
    assert (contents.node, contents.cluster) == (NODE, CLUSTER)
    assert (contents.rank, contents.applied_index) == ((3, LAST), 10)
    assert not contents.is_alone


def test_recovery_applies_the_whole_log_and_leaves_a_single_member(node: StoredNode) -> None:
    begin_again(node)
    contents = survey(node.disk, UNLIMITED)
    assert (contents.cluster, contents.is_alone) == (NEW_CLUSTER, True)
    assert (contents.rank, contents.applied_index) == ((3, LAST), LAST)
    node.open()
    assert {b"a", b"b"} <= node.rows[0].keys()
    assert node.writer.revision == 10


def test_a_recovered_node_is_the_only_voter_and_keeps_no_log_entries(node: StoredNode) -> None:
    begin_again(node)
    node.open()
    recovered = node.recover()
    core = RaftNode(recovered)
    assert core.membership.voters == {NODE}
    assert recovered.entries == ()
    assert recovered.prev_index == LAST
    assert core.term == 4, "it campaigns in a new term"


def test_session_numbers_possibly_used_by_lost_nodes_are_skipped(node: StoredNode) -> None:
    begin_again(node)
    node.open()
    batch = encode(Batch(NODE, 1, 0, (Write(0, 0, 0, OpenSession()),)))
    outcome = node.writer._machine.apply(LogEntry(LAST + 1, 4, EntryKind.BATCH, batch))
    assert outcome.results == (SessionOpened(2 + SKIPPED + 1),)


def test_a_crash_leaves_the_old_cluster_or_the_new_one(node: StoredNode) -> None:
    node.disk.writes_left = 1
    with pytest.raises(DiskFailure):
        recover(node.disk, UNLIMITED, NEW_CLUSTER, sessions_skipped=SKIPPED)
    node.crash()
    contents = survey(node.disk, UNLIMITED)
    assert (contents.cluster, contents.applied_index) in ((CLUSTER, 10), (NEW_CLUSTER, LAST))
    begin_again(node)
    assert survey(node.disk, UNLIMITED).is_alone


def test_a_directory_of_a_newer_cluster_is_not_recovered(node: StoredNode) -> None:
    newer = Membership((Member(NODE, "node.example:9400", True, STATE_LEVEL + 1),))
    node.turn(Append(95, None, (), (MembershipAt(LAST, newer),)))
    with pytest.raises(NewerVersion):
        begin_again(node)
    assert node.store.cluster == CLUSTER
