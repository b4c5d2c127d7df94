"""Key leases in storage: it tells the replicator of them, and answers keep-alives."""

from typing import Any

import pytest

from protocol.entry import EntryKind, LogEntry
from protocol.messages.client import (
    Get,
    KeepAlive,
    KeptAlive,
    LeasePage,
    ListedLease,
    ListLeases,
    ReadBatch,
    ReadOperation,
    Scan,
)
from protocol.messages.gateway import ReadsDone
from protocol.messages.replicator import LeasesApplied, SnapshotInstalled
from protocol.messages.storage import ReadAt
from protocol.state.commands import (
    Batch,
    CheckpointLeases,
    Command,
    ExpireLeases,
    GrantLease,
    Insert,
    OpenSession,
    RevokeLease,
    Write,
)
from protocol.storage import lease_reads
from protocol.wire import decode_outcome, encode
from tests.harness.stored_node import PEER, StoredNode

TTL = 5000


class Leased(StoredNode):
    """A stored node with session 1."""

    def __init__(self, node: bytes = b"N" * 16) -> None:
        super().__init__(node)
        self.sequence = 0
        self.said: list[Any] = []

    def do(self, *commands: Command) -> list[Any]:
        """Apply an entry of commands; return what the replicator is told of leases."""
        writes = []
        for command in commands:
            self.sequence += 1
            is_free = isinstance(command, OpenSession | ExpireLeases | CheckpointLeases)
            writes.append(Write(0, 0, 0, command) if is_free else self._in_session(command))
        payload = encode(Batch(b"x" * 16, 1, 1, tuple(writes)))
        answers = self.apply(LogEntry(self.store.last_index + 1, 1, EntryKind.BATCH, payload))
        return [each for each in answers if isinstance(each, LeasesApplied)]

    def keep_alive(self, *leases: int) -> KeptAlive:
        kept = self.read(KeepAlive(leases))
        assert isinstance(kept, KeptAlive)
        return kept

    def read(self, operation: ReadOperation) -> Any:
        payload = encode(ReadBatch((operation,)))
        (done,) = self.turn(ReadAt(1, self.applied_index, payload, confirmed=True))
        assert isinstance(done, ReadsDone)
        (outcome,) = done.outcomes
        return decode_outcome(outcome)

    def _in_session(self, command: Command) -> Write:
        return Write(1, self.sequence, self.sequence, command)


def leased() -> Leased:
    node = Leased()
    node.do(OpenSession())
    return node


def test_the_replicator_is_told_of_leases_that_begin_and_end() -> None:
    node = leased()
    assert node.do(GrantLease(TTL), GrantLease(2 * TTL)) == [
        LeasesApplied(node.applied_index, ((1, TTL), (2, 2 * TTL)), ())
    ]
    assert node.do(Insert("a", b"", None, 1)) == []
    assert node.do(RevokeLease(1)) == [LeasesApplied(node.applied_index, (), (1,))]
    assert node.do(ExpireLeases((1, 2))) == [LeasesApplied(node.applied_index, (), (2,))]


def test_the_replicator_is_told_of_the_leases_of_keys_own() -> None:
    node = leased()
    (told,) = node.do(Insert("a", b"", ttl_ms=TTL), Insert("a", b"", ttl_ms=TTL))
    assert (told.granted, told.ended) == (((1, TTL), (2, TTL)), (1,))


def test_a_restarted_node_recovers_its_leases() -> None:
    node = leased()
    node.do(GrantLease(TTL), Insert("a", b"", ttl_ms=2 * TTL))
    node.open()
    assert node.recover().leases == ((1, TTL, 0), (2, 2 * TTL, 0))


def test_an_installed_snapshot_tells_its_leases() -> None:
    leader, follower = leased(), Leased(PEER)
    leader.do(GrantLease(TTL), Insert("a", b"", ttl_ms=2 * TTL))
    (installed,) = [
        each for each in follower.stage(*leader.chunks()) if isinstance(each, SnapshotInstalled)
    ]
    assert installed.leases == ((1, TTL, 0), (2, 2 * TTL, 0))
    assert follower.keep_alive(1) == KeptAlive((TTL,), 2)


def test_a_keep_alive_is_answered_by_the_leases_that_have_not_ended() -> None:
    node = leased()
    node.do(GrantLease(TTL), GrantLease(TTL), Insert("a", b"", ttl_ms=TTL), RevokeLease(2))
    assert node.keep_alive(1, 2, 3, 99) == KeptAlive((TTL, 0, 0, 0), 3)


def test_the_replicator_is_told_of_checkpoints_and_a_keep_alive_is_answered_by_them() -> None:
    node = leased()
    node.do(GrantLease(TTL), GrantLease(TTL))
    told = node.do(CheckpointLeases(((1, 3000), (99, 3000))))
    assert told == [LeasesApplied(node.applied_index, (), (), ((1, 3000),))]
    assert node.keep_alive(1, 2).ttls_ms == (3000, TTL)
    node.open()
    assert node.recover().leases == ((1, TTL, 3000), (2, TTL, 0))
    assert node.do(CheckpointLeases(((1, 0),)))[0].left == ((1, 0),)
    assert node.keep_alive(1).ttls_ms == (TTL,)


@pytest.mark.parametrize("leases", [0, 1])
def test_the_replicator_is_told_of_a_new_term_while_there_are_leases(leases: int) -> None:
    node = leased()
    node.do(*[GrantLease(TTL)] * leases)
    answers = node.apply(LogEntry(node.store.last_index + 1, 2, EntryKind.NO_OP))
    told = [each for each in answers if isinstance(each, LeasesApplied)]
    assert told == [LeasesApplied(node.applied_index, (), ())] * leases


def test_reads_show_the_lease_of_a_key_or_the_time_of_its_own() -> None:
    node = leased()
    node.do(GrantLease(TTL), Insert("a", b"", None, 1), Insert("b", b"", ttl_ms=TTL))
    node.do(Insert("c", b""))
    shown = {"a": (1, 0), "b": (0, TTL), "c": (0, 0)}
    assert {key: _lease(node.read(Get(key))) for key in shown} == shown
    page = node.read(Scan(b"s" * 16, "", 10))
    assert {entry.key: _lease(entry) for entry in page.entries} == shown


def _lease(found: Any) -> tuple[int, int]:
    return found.lease, found.ttl_ms


def pages(node: Leased, limit: int) -> list[LeasePage]:
    """Return all pages of the leases."""
    read: list[LeasePage] = []
    while not read or read[-1].more:
        read.append(node.read(ListLeases(limit, read[-1].end if read else 0)))
    return read


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 1 << 40])
def test_the_leases_are_listed_in_pages(limit: int) -> None:
    node = leased()
    node.do(*[GrantLease(TTL + number) for number in range(300)])
    node.do(*[RevokeLease(lease) for lease in range(3, 299)])
    node.do(Insert("a", b"", None, 2), Insert("b", b"", None, 2))
    read = pages(node, limit)
    assert [each for page in read for each in page.leases] == [
        ListedLease(1, TTL, 0),
        ListedLease(2, TTL + 1, 2),
        ListedLease(299, TTL + 298, 0),
        ListedLease(300, TTL + 299, 0),
    ]
    assert {page.revision for page in read} == {2}
    assert all(len(page.leases) <= limit for page in read)


def test_a_page_ends_after_many_leases_of_keys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_reads, "PAGE_ROWS_MAX", 2)
    node = leased()
    node.do(*[Insert(str(number), b"", ttl_ms=TTL) for number in range(5)], GrantLease(TTL))
    read = pages(node, 10)
    assert [len(page.leases) for page in read] == [0, 0, 1]
    assert [page.end for page in read] == [2, 4, 6]
    assert read[-1].leases == (ListedLease(6, TTL, 0),)


def test_a_list_of_no_leases_is_empty() -> None:
    assert pages(leased(), 10) == [LeasePage(0, (), 0, more=False)]
