"""Gateway rights: requests are those of the connection's user, whatever their frames say."""

import msgspec
import pytest

from protocol.audit import AuditRecord, fingerprint
from protocol.config import NodeConfig
from protocol.gateway.audit_notes import DENIALS_MAX
from protocol.gateway.former_keys import FormerKeys
from protocol.gateway.gateway import Gateway
from protocol.gateway.outbox import GatewayOutbox
from protocol.messages.client import (
    AddNode,
    Done,
    FailureCode,
    Get,
    Hello,
    KeepAlive,
    KeptAlive,
    Operation,
    ReadChanges,
    RemoveNode,
    Request,
    Scan,
    Status,
    TransferLeadership,
)
from protocol.messages.gateway import Opened, ReadsDone, RightsUpdate
from protocol.messages.replicator import Propose, Read, RemoveMember
from protocol.messages.rights import CheckRight
from protocol.state.commands import Insert, Write
from protocol.state.machine import decode_batch
from protocol.state.rights import UNKNOWN
from protocol.state.user_commands import Denied, Grant, Right, User
from protocol.wire import decode_outcome, decode_read_batch, encode

NODE = b"n" * 16
BOB, ALICE = b"b" * 32, b"a" * 32


@pytest.fixture
def gateway() -> Gateway:
    """Return a gateway without a leader."""
    return Gateway(Opened(NODE, NODE, 1), NodeConfig(dir="d"))


def ask(gateway: Gateway, *operations: Operation, user: bytes = BOB) -> GatewayOutbox:
    gateway.receive((b"client",), Request(1, 7, 5000, operations), 100, 0.0, user)
    return gateway.flush(0.0)


def answer(gateway: Gateway, read: Read, *outcomes: object) -> GatewayOutbox:
    raws = tuple(msgspec.Raw(encode(each)) for each in outcomes)
    gateway.step(ReadsDone(read.number, raws, confirmed=True), 0.0)
    return gateway.flush(0.0)


def only_read(outbox: GatewayOutbox) -> Read:
    (read,) = outbox.replicator
    assert isinstance(read, Read)
    return read


@pytest.mark.parametrize("claimed", [b"", ALICE, BOB])
@pytest.mark.parametrize("user", [b"", BOB])
def test_a_write_is_proposed_for_the_user_of_its_connection(
    gateway: Gateway, claimed: bytes, user: bytes
) -> None:
    outbox = ask(gateway, Write(1, 1, 1, Insert("a", b""), claimed), user=user)
    (proposal,) = outbox.replicator
    assert isinstance(proposal, Propose)
    assert [write.user for write in decode_batch(proposal.payload).writes] == [user]


def test_reads_without_restrictions_carry_no_users(gateway: Gateway) -> None:
    assert decode_read_batch(only_read(ask(gateway, Get("a"), user=b"")).payload).users == ()


def test_reads_carry_the_users_of_their_connections(gateway: Gateway) -> None:
    gateway.receive((b"one",), Request(1, 1, 5000, (Get("a"),)), 100, 0.0, BOB)
    gateway.receive((b"two",), Request(1, 2, 5000, (Get("b"),)), 100, 0.0)
    batch = decode_read_batch(only_read(gateway.flush(0.0)).payload)
    assert (batch.operations, batch.users) == ((Get("a"), Get("b")), (BOB, b""))


@pytest.mark.parametrize("operation", [RemoveNode(NODE), AddNode("host"), TransferLeadership()])
def test_members_are_changed_once_the_right_is_confirmed(
    gateway: Gateway, operation: Operation
) -> None:
    check = only_read(ask(gateway, operation))
    batch = decode_read_batch(check.payload)
    assert (batch.operations, batch.users) == ((CheckRight(Right.MEMBERS),), (BOB,))
    denied = answer(gateway, check, Denied(Right.MEMBERS))
    assert not denied.replicator
    (call,) = denied.replies
    assert decode_outcome(bytes(call.outcomes[0])) == Denied(Right.MEMBERS)  # type: ignore[arg-type]
    check = only_read(ask(gateway, operation))
    cleared = answer(gateway, check, Done())
    assert not cleared.replies
    assert isinstance(operation, AddNode | TransferLeadership) or isinstance(
        cleared.replicator[0], RemoveMember
    )


def test_a_lease_is_kept_alive_once_its_user_is_confirmed(gateway: Gateway) -> None:
    check = only_read(ask(gateway, KeepAlive((5, 6))))
    assert check.leases == ()
    assert decode_read_batch(check.payload).operations == (CheckRight(None, leases=(5, 6)),)
    keep = only_read(answer(gateway, check, Done()))
    assert keep.leases == (5, 6)
    assert decode_read_batch(keep.payload).users == (BOB,)
    (call,) = answer(gateway, keep, KeptAlive((5000, 0))).replies
    assert decode_outcome(bytes(call.outcomes[0])) == KeptAlive((5000, 0))  # type: ignore[arg-type]
    unrestricted = only_read(ask(gateway, KeepAlive((5,)), user=b""))
    assert unrestricted.leases == (5,)


def test_a_check_that_a_client_asks_for_is_answered(gateway: Gateway) -> None:
    check = only_read(ask(gateway, CheckRight(Right.WATCH, "a/")))
    (call,) = answer(gateway, check, Done()).replies
    assert decode_outcome(bytes(call.outcomes[0])) == Done()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "operation",
    [
        CheckRight(Right.WATCH, "a/"),
        Scan(NODE, "a/", 10, revision=5),
        ReadChanges("a/", 3, 0),
    ],
)
def test_an_immutable_read_needs_a_leader_for_the_rights_of_users_alone(
    gateway: Gateway, operation: Operation
) -> None:
    (free,) = ask(gateway, operation, user=b"").storage
    assert (free.index, free.confirmed) == (0, True)
    restricted = ask(gateway, operation)
    assert decode_read_batch(only_read(restricted).payload).operations == (operation,)
    assert not restricted.storage


def test_the_keys_of_users_are_known_as_storage_tells_them(gateway: Gateway) -> None:
    assert gateway.user_keys == frozenset()
    gateway.step(RightsUpdate((User("bob", (BOB, ALICE), ()),), ()), 0.0)
    assert gateway.user_keys == {BOB, ALICE}


def test_administration_and_denials_are_audited(gateway: Gateway) -> None:
    gateway.step(RightsUpdate((User("bob", (BOB,), ()),), ()), 0.0)
    check = only_read(ask(gateway, RemoveNode(NODE)))
    (record,) = answer(gateway, check, Denied(Right.MEMBERS)).audit
    assert (record.user, record.operation, record.outcome) == ("bob", "RemoveNode", "denied")
    read = only_read(ask(gateway, Get("secret")))
    (record,) = answer(gateway, read, Denied(Right.READ, "secret")).audit
    assert record == AuditRecord("bob", fingerprint(BOB), "Get", "read secret", "denied")
    gateway.step(RightsUpdate((), ()), 0.0)
    (denied,) = ask(gateway, Write(1, 1, 2, Insert("secret", b"a value"))).audit
    assert denied == AuditRecord("", fingerprint(BOB), "Insert", "known user", "denied")
    gateway.step(RightsUpdate((User("bob", (BOB,), ()),), ()), 0.0)
    read = only_read(ask(gateway, Get("a"), user=b""))
    assert answer(gateway, read, Done()).audit == []


def test_all_audited_operations_and_different_denials_of_a_request_are_recorded(
    gateway: Gateway,
) -> None:
    gateway.step(RightsUpdate((User("bob", (BOB,), ()),), ()), 0.0)
    keys = [f"secret/{number}" for number in range(DENIALS_MAX + 2)]
    reads = [Get(key) for key in keys[:1] + keys]
    check = only_read(ask(gateway, RemoveNode(NODE), AddNode("host:9400"), *reads))
    denials = [Denied(Right.MEMBERS)] * 2 + [Denied(Right.READ, key) for key in keys[:1] + keys]
    records = answer(gateway, check, *denials).audit
    assert [(each.operation, each.target, each.outcome) for each in records] == [
        ("RemoveNode", NODE.hex(), "denied"),
        ("AddNode", "host:9400", "denied"),
        *[("Get", f"read {key}", "denied") for key in keys[:DENIALS_MAX]],
    ]
    suppressed = [each.suppressed for each in records[2:]]
    assert suppressed == [1, *[0] * (DENIALS_MAX - 2), 2]


def test_a_user_that_was_removed_is_denied_at_once_within_its_quota_and_on_record() -> None:
    gateway = Gateway(Opened(NODE, NODE, 1), NodeConfig(dir="d", user_operations_max=5))
    gateway.step(RightsUpdate((User("bob", (BOB,), ()), User("ann", (ALICE,), ())), ()), 0.0)
    gateway.step(RightsUpdate((User("ann", (ALICE,), ()),), ()), 0.0)
    grant = Write(1, 1, 1, Grant("clerk", Right.READ))
    outbox = ask(gateway, Hello(), Status(), Get("a"), grant)
    assert not outbox.replicator
    (call,) = outbox.replies
    assert call.outcomes == [UNKNOWN] * 4
    assert call.payer == BOB
    assert [(each.operation, each.target, each.outcome) for each in outbox.audit] == [
        ("Grant", "clerk read", "denied"),
        *[(name, "known user", "denied") for name in ("Hello", "Status", "Get")],
    ]
    (refused,) = ask(gateway, Hello(), Hello()).replies
    assert {each.code for each in refused.outcomes} == {FailureCode.OVERLOADED}  # type: ignore[union-attr]
    gateway.step(RightsUpdate((User("bob", (BOB,), ()),), ()), 0.0)
    assert not ask(gateway, Hello()).audit, "it is a user again"


def test_a_user_of_whom_the_node_has_not_heard_is_judged_in_the_order_of_the_log(
    gateway: Gateway,
) -> None:
    (call,) = answer(gateway, only_read(ask(gateway, Get("a"))), UNKNOWN).replies
    assert decode_outcome(bytes(call.outcomes[0])) == UNKNOWN  # type: ignore[arg-type]


def test_former_keys_are_few() -> None:
    keys, former = [bytes([number]) * 32 for number in range(3)], FormerKeys()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("protocol.gateway.former_keys.KEYS_MAX", 2)
        for key in keys:
            former.learn(frozenset({key}), frozenset())
    assert [key in former for key in keys] == [False, False, True]
