"""Poison: bytes that no gateway sends are refused, and have no effect if they are in the log."""

from collections.abc import Callable

import pytest

from protocol.config import VALUE_BYTES_CEILING
from protocol.entry import EntryKind, LogEntry, MembershipChange
from protocol.membership import Member, Membership
from protocol.messages.peer import ForwardProposal, ProposalRefused
from protocol.messages.storage import Commit
from protocol.raft.node import RaftNode
from protocol.refusal import Refusal
from protocol.state.batches import PROPOSAL_BYTES_MAX, InvalidOperation, check_proposal
from protocol.state.commands import (
    Batch,
    Check,
    Increment,
    Insert,
    Lookup,
    OpenSession,
    Remove,
    RemovePrefix,
    Transact,
    TransactionOperation,
    Write,
)
from protocol.state.levels import STATE_LEVEL
from protocol.wire import encode
from tests.harness.raft_cluster import ELECTION_TIMEOUT_MIN_US, A, B, C, Cluster, frame_of, led_by
from tests.harness.stored_node import StoredNode, history
from tests.harness.stored_node import entry as entry_of

WRITE = Write(1, 1, 1, Insert("key", b"value"))
GOOD = Batch(B, 1, 7, (WRITE,))


def batch(*writes: Write, origin: bytes = B) -> bytes:
    return encode(Batch(origin, 1, 7, writes))


def removing(*prefixes: str, insert: str = "") -> bytes:
    operations: list[TransactionOperation] = [RemovePrefix(each) for each in prefixes]
    if insert:
        operations.append(Insert(insert, b""))
    return batch(Write(1, 1, 1, Transact((), tuple(operations))))


def test_a_valid_batch_passes_the_check_unchanged() -> None:
    assert check_proposal(encode(GOOD), B, STATE_LEVEL) == encode(GOOD)
    apart = removing("a/", "a0", "ab", "a-", insert="other")
    assert check_proposal(apart, B, STATE_LEVEL) == apart


def test_trailing_data_after_a_batch_is_not_appended() -> None:
    longer = encode([*GOOD.__struct_fields__, "tail"])
    with pytest.raises(InvalidOperation):
        check_proposal(longer, B, STATE_LEVEL)
    followed = b"\x95" + encode(GOOD)[1:] + encode("tail")
    assert check_proposal(followed, B, STATE_LEVEL) == encode(GOOD)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "truncated"),
        (b"garbage", "array"),
        (b"\x91" * 10_000, "Expected"),
        (encode([B, 1, 7, "no writes"]), "array"),
        (batch(WRITE, origin=C), "another node"),
        (batch(WRITE, origin=b"short"), "length"),
        (encode([B, -1, 7, []]), ">= 0"),
        (encode([B, 1 << 40, 7, []]), "<="),
        (encode([B, 1, (1 << 64) - 1, []]), "<="),
        (batch(Write(-1, 1, 1, OpenSession())), ">= 0"),
        (batch(Write((1 << 64) - 1, 1, 1, OpenSession())), "<="),
        (batch(Write(1, 10_000, 1, Insert("key", b""))), "unacknowledged"),
        (batch(Write(1, 1, 2, Insert("key", b""))), "unacknowledged"),
        (batch(Write(1, 1, 1, Insert("\0applied", b""))), "cannot be a key"),
        (batch(Write(1, 1, 1, Remove(""))), "cannot be a key"),
        (batch(Write(1, 1, 1, Remove("é" * 4000))), "bytes"),
        (batch(Write(1, 1, 1, Insert("k", bytes(VALUE_BYTES_CEILING + 1)))), "at most"),
        (batch(Write(1, 1, 1, Transact((), ()))), "neither checks nor operations"),
        (batch(Write(1, 1, 1, Transact((), (Remove("k"), Remove("k"))))), "written twice"),
        (batch(Write(1, 1, 1, Transact((), (Increment("k", 1 << 63),)))), "<="),
        (batch(Write(1, 1, 1, Transact((Check("k", version=-1),), ()))), ">= 0"),
        (batch(*[WRITE] * 1001), "1001 operations"),
        (batch(WRITE, Write(1, 1, 1, Transact((), (Lookup("k"),) * 1000))), "1001 operations"),
        (batch(Write(1, 1, 1, Transact((), (Lookup("k"),) * 1001))), "1001 operations"),
        (removing("a/b", "b", "a/"), "'a/b' is removed twice"),
        (removing("a", "a"), "'a' is removed twice"),
        (removing("b", "/"), "'b' is removed twice"),
        (removing("c", "a/", insert="a/1"), "'a/1' is written and removed by the prefix 'a/'"),
        (removing("/", insert="a/1"), "'a/1' is written and removed by the prefix ''"),
        (bytes(PROPOSAL_BYTES_MAX + 1), "the limit is"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_invalid_proposal_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(InvalidOperation, match=reason):
        check_proposal(payload, B, STATE_LEVEL)


def strict(cluster: Cluster, node: bytes) -> RaftNode:
    """Enable a node's check of proposals, as in production."""
    core = cluster[node].core
    core._state.check_proposal = check_proposal
    return core


def test_a_leader_refuses_and_reports_a_malformed_forwarded_proposal() -> None:
    cluster = led_by(A, B, C)
    core = strict(cluster, A)
    last = cluster[A].last_index
    core.receive(frame_of(B, ForwardProposal(7, b"garbage"), incarnation=1))
    outbox = core.flush()
    assert outbox.peers[B] == [ProposalRefused(7, Refusal.INVALID)]
    (complaint,) = outbox.complaints
    assert complaint.sender == B
    assert "invalid" in complaint.sentence
    assert cluster[A].last_index == last


def test_a_leader_appends_a_valid_forwarded_batch() -> None:
    cluster = led_by(A, B, C)
    core = strict(cluster, A)
    core.receive(frame_of(B, ForwardProposal(7, encode(GOOD)), incarnation=1))
    assert not core.flush().complaints
    assert cluster[A].last_index == 2


# --- in the log


VOTER = Member(A, "a:1", True)
UNREADABLE = (
    LogEntry(5, 1, EntryKind.BATCH, b"garbage"),
    LogEntry(5, 1, EntryKind.BATCH, batch(WRITE, Write(1, 2, 1, Insert("\0applied", b"")))),
    LogEntry(5, 1, EntryKind.BATCH, batch(Write((1 << 64) - 1, 1, 1, Insert("key", b"")))),
    LogEntry(5, 1, EntryKind.MEMBERSHIP, b""),
    LogEntry(5, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(Membership()))),
    LogEntry(5, 1, EntryKind.MEMBERSHIP, encode(MembershipChange(Membership((VOTER, VOTER))))),
)


@pytest.mark.parametrize("unreadable", UNREADABLE, ids=lambda entry: repr(entry)[:60])
def test_an_undecodable_entry_has_no_effect_and_the_next_one_applies(unreadable: LogEntry) -> None:
    node = StoredNode()
    node.apply(*history(4))
    before = dict(node.rows[0])
    node.turn(node.append(unreadable))
    (error,) = [each for outbox in node.steps(Commit(5)) for each in outbox.errors]
    assert "entry 5 of term 1" in error
    assert unreadable.kind.name in error
    after = dict(node.rows[0])
    assert before.pop(b"\0applied") != after.pop(b"\0applied")
    assert before == after
    node.apply(entry_of(6, Insert("after", b"v")))
    assert node.applied_index == 6
    node.crash()
    assert node.recover().memberships == node.store.memberships


@pytest.mark.parametrize("unreadable", UNREADABLE[3:], ids=lambda entry: repr(entry)[:60])
def test_an_undecodable_membership_entry_at_startup_changes_no_members(
    unreadable: LogEntry,
) -> None:
    def preload(cluster: Cluster) -> None:
        for machine in cluster.machines.values():
            machine.disk.preload([1, 1])
            machine.disk.entries.append(LogEntry(3, 1, unreadable.kind, unreadable.payload))

    cluster = _started(preload)
    cluster.elect(A)
    cluster.settle()
    assert [member.id for member in cluster[A].core.membership.members] == [A, B]
    assert cluster[B].commit_index == 4


def _started(prepare: Callable[[Cluster], None]) -> Cluster:
    cluster = Cluster(A, B)
    prepare(cluster)
    return cluster.start(election_timeout_min_us=ELECTION_TIMEOUT_MIN_US)


def test_an_undecodable_membership_entry_is_replicated_without_effect() -> None:
    cluster = led_by(A, B, C)
    leader = cluster[A].core
    before = leader.membership
    garbage = LogEntry(2, 1, EntryKind.MEMBERSHIP, b"garbage")
    leader._state.append_entries([garbage])
    cluster.turn(A, lambda _: None)
    cluster.settle()
    assert {machine.core.membership for machine in cluster.alive} == {before}
    assert cluster[C].commit_index == 2
