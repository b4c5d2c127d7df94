"""Levels: no command enters the log that some member cannot apply."""

from collections.abc import Iterable
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from protocol.config import NodeConfig
from protocol.entry import EntryKind
from protocol.membership import Member, Membership
from protocol.messages.gateway import Refused
from protocol.messages.peer import (
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    JoinRequest,
    ProposalRefused,
)
from protocol.messages.replicator import Propose
from protocol.raft.admission import Admission
from protocol.raft.node import RaftNode
from protocol.raft.roles import Leader
from protocol.refusal import Refusal
from protocol.state.batches import TooNew, check_proposal
from protocol.state.commands import (
    Batch,
    CheckpointLeases,
    Command,
    ExpireLeases,
    GrantLease,
    Increment,
    Insert,
    Lookup,
    OpenSession,
    Remove,
    RemovePrefix,
    RevokeLease,
    StateCommand,
    Transact,
    TransactionOperation,
    Write,
)
from protocol.state.levels import LEVELS, RIGHTS_LEVEL, STATE_LEVEL, level_of, level_of_writes
from protocol.state.user_commands import AddUser
from protocol.wire import encode
from tests.harness.raft_cluster import A, B, C, Cluster, D, address_of

OLD = 1
INSERT, TRANSACT = Insert("k", b""), Transact((), (Lookup("k"),))
NODES = (A, B, C)


def batch(*commands: Command, origin: bytes = A) -> bytes:
    writes = tuple(Write(1, number, 1, each) for number, each in enumerate(commands, start=1))
    return encode(Batch(origin, 1, 1, writes))


def mixed(
    older: Iterable[bytes], spare: Iterable[bytes] = (), upgraded: Iterable[bytes] = ()
) -> Cluster:
    """Return a cluster led by A with some older members, of which some were just upgraded."""
    levels = {node: OLD if node in older else STATE_LEVEL for node in NODES}
    cluster = Cluster(*NODES, spare=spare)
    members = tuple(Member(node, address_of(node), True, levels[node]) for node in NODES)
    for node in NODES:
        (first,) = cluster[node].disk.memberships
        cluster[node].disk.memberships = (replace(first, membership=Membership(members)),)
    cluster.start()
    for node in cluster.machines:
        level = STATE_LEVEL if node in upgraded else levels.get(node, STATE_LEVEL)
        cluster[node].core._state.level = level
        cluster[node].core._state.check_proposal = check_proposal
    cluster.elect(A)
    return cluster


def upgrade(cluster: Cluster, *nodes: bytes) -> None:
    for node in nodes:
        cluster[node].core._state.level = STATE_LEVEL


def recorded(core: RaftNode) -> list[int]:
    return [member.level for member in core.membership.members]


def payloads(cluster: Cluster, node: bytes) -> list[bytes]:
    log = cluster[node].core._state.log
    return [each.payload for each in log.slice(1, 1 << 40) if each.kind is EntryKind.BATCH]


def refusals(cluster: Cluster, node: bytes) -> list[tuple[Refusal, str]]:
    return [(each.refusal, each.detail) for each in cluster[node].told(Refused)]


# --- the commands of a level


def test_every_command_has_a_level() -> None:
    leaders = {ExpireLeases, CheckpointLeases}
    kinds = {OpenSession, *leaders, *get_args(StateCommand), *get_args(TransactionOperation)}
    assert set(LEVELS) == kinds
    assert max(LEVELS.values()) == STATE_LEVEL


@pytest.mark.parametrize("command", [OpenSession(), INSERT, Remove("k")])
def test_the_first_commands_are_of_level_1(command: Command) -> None:
    assert level_of(command) == 1


@pytest.mark.parametrize("command", [RemovePrefix("k"), Increment("k"), TRANSACT])
def test_later_commands_are_of_level_2(command: Command) -> None:
    assert level_of(command) == 2


@pytest.mark.parametrize(
    "command",
    [
        GrantLease(5000),
        RevokeLease(1),
        ExpireLeases((1,)),
        Insert("k", b"", None, 1),
        Insert("k", b"", ttl_ms=5000),
        Transact((), (), (Insert("k", b"", None, 1),)),
    ],
)
def test_commands_of_leases_are_of_level_3(command: Command) -> None:
    assert level_of(command) == 3


def test_a_write_with_the_rights_of_a_user_is_of_level_4() -> None:
    assert level_of_writes((Write(1, 1, 1, INSERT, bytes(32)),)) == RIGHTS_LEVEL == 4
    assert level_of(AddUser("alice", bytes(32))) == RIGHTS_LEVEL


def test_a_transaction_needs_the_level_of_its_newest_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LEVELS, Lookup, 9)
    assert level_of(Transact((), (INSERT,), (Lookup("k"),))) == 9


def test_a_batch_needs_the_level_of_its_newest_command() -> None:
    writes = [Write(1, 1, 1, each) for each in (INSERT, TRANSACT, INSERT)]
    assert level_of_writes(tuple(writes)) == 2
    assert level_of_writes(()) == 1


def test_a_proposal_above_the_level_is_refused_with_the_level_that_it_needs() -> None:
    assert check_proposal(batch(INSERT), A, OLD) == batch(INSERT)
    with pytest.raises(TooNew) as caught:
        check_proposal(batch(INSERT, TRANSACT), A, OLD)
    assert caught.value.level == 2


# --- messages of older nodes


def test_a_node_that_announces_no_level_counts_as_of_level_1() -> None:
    reply = msgspec.msgpack.decode(encode([6, 3, 7, 0, 150_000, 0]), type=HeartbeatReply)
    assert reply.level == 1
    assert msgspec.msgpack.decode(encode([14, "a:1", False, 0, 0]), type=JoinRequest).level == 1
    assert msgspec.msgpack.decode(encode([A, "a:1", True]), type=Member).level == 1


def test_an_older_node_ignores_the_level_of_a_member() -> None:
    class OlderMember(msgspec.Struct, array_like=True):
        id: bytes
        address: str
        voter: bool

    encoded = encode(Member(A, "a:1", True, STATE_LEVEL))
    assert msgspec.msgpack.decode(encoded, type=OlderMember).address == "a:1"


# --- the level of a cluster


def test_the_level_of_a_cluster_is_the_lowest_of_its_members() -> None:
    levels = (3, 2, 5)
    members = [Member(node, "", True, level) for node, level in zip(NODES, levels, strict=True)]
    assert Membership(tuple(members)).level == 2
    assert Membership().level == 1


def test_a_member_counts_until_its_removal_is_committed() -> None:
    cluster = mixed(older=(C,))
    cluster.remove(C, through=A)
    assert cluster[A].core.membership.get(C) is None
    assert cluster[A].core._state.memberships.level == OLD
    cluster.settle()
    assert cluster[A].core._state.memberships.level == STATE_LEVEL


# --- recording levels


def test_the_announced_levels_are_recorded() -> None:
    cluster = mixed(older=(B, C))
    cluster.settle()
    upgrade(cluster, B, C)
    cluster.beat(A)
    cluster.settle()
    assert recorded(cluster[B].core) == [STATE_LEVEL] * 3


def test_levels_announced_during_a_change_are_recorded_together_after_it() -> None:
    cluster = mixed(older=(B, C), spare=[D])
    cluster.settle()
    upgrade(cluster, B, C)
    cluster.join(D, through=A)
    cluster.beat(A)
    cluster.deliver(Heartbeat)
    cluster.deliver(HeartbeatReply)
    assert recorded(cluster[A].core) == [STATE_LEVEL, OLD, OLD, STATE_LEVEL]
    while recorded(cluster[A].core) == [STATE_LEVEL, OLD, OLD, STATE_LEVEL]:
        cluster.deliver()
        cluster.sync(A, B, C)
    assert recorded(cluster[A].core) == [STATE_LEVEL] * 4


def test_a_new_cluster_writes_no_entry_for_levels() -> None:
    cluster = mixed(older=())
    cluster.beat(A)
    cluster.settle()
    assert cluster[A].last_index == 1


def test_a_leader_records_its_own_level() -> None:
    cluster = mixed(older=NODES, upgraded=[A])
    cluster.settle()
    assert recorded(cluster[A].core) == [STATE_LEVEL, OLD, OLD]


def test_the_level_of_a_member_that_is_down_is_known_to_a_new_leader() -> None:
    cluster = mixed(older=(C,))
    upgrade(cluster, C)
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    cluster.crash(C)
    cluster.step(A, Propose(1, batch(TRANSACT)))
    assert batch(TRANSACT) in payloads(cluster, A)


def test_a_member_may_return_to_an_older_version_while_another_one_is_older() -> None:
    cluster = mixed(older=(C,))
    cluster.settle()
    cluster[B].core._state.level = OLD
    cluster.beat(A)
    cluster.settle()
    assert recorded(cluster[A].core) == [STATE_LEVEL, OLD, OLD]
    assert not cluster[B].core.is_outdated


def test_a_level_is_not_lowered_below_that_of_the_cluster() -> None:
    cluster = mixed(older=())
    cluster.settle()
    cluster[B].core._state.level = OLD
    cluster.beat(A)
    cluster.settle()
    assert recorded(cluster[A].core) == [STATE_LEVEL] * 3


def test_a_promoted_learner_keeps_its_level() -> None:
    cluster = mixed(older=(C,), spare=[D])
    cluster.settle()
    assert cluster.join(D, through=A).accepted
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    assert cluster[A].core.membership.get(D) == Member(D, address_of(D), True, STATE_LEVEL)


# --- proposals


def test_a_leader_refuses_a_newer_command_of_its_gateway_while_a_member_is_older() -> None:
    cluster = mixed(older=(C,))
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    cluster.step(A, Propose(1, batch(INSERT)), Propose(2, batch(TRANSACT)))
    assert payloads(cluster, A) == [batch(INSERT)]
    ((refusal, detail),) = refusals(cluster, A)
    assert refusal is Refusal.OLD_MEMBER
    assert detail == f"the member {address_of(C)} runs an older version; upgrade it, or remove it"


def test_a_leader_refuses_a_newer_command_of_another_gateway() -> None:
    cluster = mixed(older=(C,))
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    cluster.step(B, Propose(1, batch(TRANSACT, origin=B)))
    cluster.deliver(to=A)
    (refused,) = cluster.sent(ProposalRefused, to=B)
    assert refused.refusal is Refusal.OLD_MEMBER
    assert not payloads(cluster, A)


def test_a_proposal_is_to_be_repeated_while_a_level_is_about_to_be_recorded() -> None:
    cluster = mixed(older=(C,))
    role = cluster[A].core._state.role
    assert isinstance(role, Leader)
    role.progress[C].level = None  # it has not replied to this leader yet
    cluster.step(A, Propose(1, batch(TRANSACT)))
    assert refusals(cluster, A) == [(Refusal.BUSY, "")]
    upgrade(cluster, C)
    cluster.settle()
    cluster.beat(A)
    cluster.settle()
    cluster.step(A, Propose(1, batch(TRANSACT)))
    assert payloads(cluster, A) == [batch(TRANSACT)]


def test_a_silent_older_member_is_named_after_two_quorum_checks() -> None:
    cluster = mixed(older=(C,))
    cluster.crash(C)
    for _ in range(3):
        cluster.settle(A, B)
        cluster.beat(A)
        cluster.settle(A, B)
        cluster.check_quorum(A)
    cluster.step(A, Propose(1, batch(TRANSACT)))
    assert [each for each, _ in refusals(cluster, A)] == [Refusal.OLD_MEMBER]


def test_a_uniform_cluster_does_not_decode_the_proposals_of_its_own_gateway() -> None:
    cluster = mixed(older=())
    cluster.step(A, Propose(1, b"not decoded"))
    assert payloads(cluster, A) == [b"not decoded"]


# --- joining


def join(cluster: Cluster, level: int) -> tuple[bool, str]:
    request = JoinRequest(address_of(D), False, *cluster.basis(A), level)
    reply = cluster.turn(A, lambda core: core.join(D, request))
    return reply.accepted, reply.refusal


def test_an_older_node_joins_a_cluster_of_its_level_only() -> None:
    cluster = mixed(older=(C,), spare=[D])
    cluster.settle()
    assert join(cluster, OLD) == (True, "")
    newer = mixed(older=(), spare=[D])
    newer.settle()
    accepted, refusal = join(newer, OLD)
    assert not accepted
    assert "upgraded to a newer version" in refusal


# --- a node that is outdated


def test_an_outdated_node_applies_nothing() -> None:
    cluster = mixed(older=(C,))
    cluster.settle()
    applied = cluster[C].disk.applied_index
    cluster[C].core._state.level = 0  # older than its cluster
    assert cluster[C].core.is_outdated
    cluster.propose(A, batch(INSERT))
    cluster.deliver((AppendEntries, Heartbeat))
    cluster.settle()
    assert cluster[C].commit_index == 2
    assert cluster[C].disk.applied_index == applied


def test_an_older_node_that_was_removed_does_not_end_as_outdated() -> None:
    cluster = mixed(older=(A,))
    cluster.settle()
    cluster.remove(A, through=A)
    cluster.settle()
    core = cluster[A].core
    assert core.removed
    assert core.is_outdated
    admission = Admission(core, NodeConfig(dir="x", advertise="a.example"), bytes, 0.0)
    failure = admission.flush(1.0).failure
    assert failure is not None
    assert failure.error == "NodeRemoved"


def test_a_node_that_is_outdated_ends() -> None:
    cluster = mixed(older=())
    cluster.settle()
    cluster[B].core._state.level = OLD
    admission = Admission(cluster[B].core, NodeConfig(dir="x", advertise="b.example"), bytes, 0.0)
    failure = admission.flush(1.0).failure
    assert failure is not None
    assert failure.error == "StorageError"
    assert "upgraded to a newer version" in failure.text
