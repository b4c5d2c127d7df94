"""Read rights: storage checks each read at the moment at which it serves it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.entry import EntryKind, LogEntry
from protocol.messages.client import (
    Done,
    Failed,
    FailureCode,
    FoundMany,
    Get,
    GetMany,
    KeepAlive,
    KeptAlive,
    LeasePage,
    ListKeys,
    ListLeases,
    ListPrefixes,
    Page,
    ReadBatch,
    ReadChanges,
    ReadOperation,
    ReadSnapshot,
    Scan,
    SnapshotPart,
)
from protocol.messages.gateway import ReadsDone, RightsUpdate
from protocol.messages.rights import CheckRight, Identity, ListUsers, Users, WhoAmI
from protocol.messages.storage import ReadAt
from protocol.state.commands import Batch, Command, GrantLease, Insert, OpenSession, Write
from protocol.state.user_commands import (
    AddUser,
    AssignRole,
    Denied,
    Grant,
    RemoveUser,
    Revoke,
    Right,
    Role,
    User,
)
from protocol.storage import snapshot_source
from protocol.storage.backups import BACKUPS_MAX
from protocol.storage.scans import SCANS_MAX
from protocol.wire import decode_outcome, encode
from tests.harness.rights import covers
from tests.harness.stored_node import NODE, StoredNode, entry

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (1, 2, 3))
READ, WRITE, WATCH = Right.READ, Right.WRITE, Right.WATCH
ID = bytes(16)


def found_users(*more: Command) -> StoredNode:
    """Return a node with an administrator, a user of some rights, and keys."""
    node = StoredNode()
    node.apply(entry(2, OpenSession()))
    setup: list[Command] = [
        AddUser("alice", ALICE, only_first=True),
        AddUser("bob", BOB),
        Grant("clerk", READ, "jobs/"),
        Grant("clerk", WATCH, "jobs/"),
        Grant("clerk", WRITE, "jobs/"),
        AssignRole("bob", "clerk"),
        *(Insert(f"jobs/{number}", b"") for number in range(3)),
        Insert("jobs2/1", b""),
        GrantLease(5000),
        *more,
    ]
    node.apply(entry(3, *setup))
    return node


@pytest.fixture
def node() -> StoredNode:
    """Return a node with users."""
    return found_users()


def read(node: StoredNode, *operations: ReadOperation, user: bytes = BOB) -> list[Any]:
    """Return the outcomes of reads of one user."""
    return [decode_outcome(bytes(each)) for each in serve(node, operations, user).outcomes]


def serve(node: StoredNode, operations: tuple[ReadOperation, ...], user: bytes = BOB) -> ReadsDone:
    batch = ReadBatch(operations, (user,) * len(operations) if user else ())
    answers = node.turn(ReadAt(1, 0, encode(batch), confirmed=True))
    (done,) = [each for each in answers if isinstance(each, ReadsDone)]
    return done


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Get("jobs/1"), None),
        (Get("jobs2/1"), Denied(READ, "jobs2/1")),
        (Get("absent"), Denied(READ, "absent")),
        (GetMany(("jobs/1", "jobs/9")), None),
        (GetMany(("jobs/1", "jobs2/1")), Denied(READ, "jobs2/1")),
        (ListKeys("jobs/", 10), None),
        (ListKeys("jobs/1", 10), None),
        (ListKeys("jobs", 10), Denied(READ, "jobs")),
        (ListKeys("/", 10), Denied(READ, "")),
        (ListPrefixes("jobs/", 10), None),
        (ListPrefixes("", 10), Denied(READ, "")),
        (Scan(ID, "jobs/", 10), None),
        (Scan(ID, "jobs", 10), Denied(READ, "jobs")),
        (Scan(ID, "", 10, counts=True), Denied(READ, "")),
        (ReadChanges("jobs/", 0, 0), None),
        (ReadChanges("jobs", 0, 0), Denied(WATCH, "jobs")),
        (ReadSnapshot(ID, None), Denied(Right.BACKUP)),
        (ListLeases(10), Denied(READ, "")),
        (ListUsers(), Denied(Right.USERS)),
        (KeepAlive((1,)), Denied(WRITE, "")),
        (KeepAlive((2,)), None),
        (CheckRight(Right.MEMBERS), Denied(Right.MEMBERS)),
        (CheckRight(WATCH, "jobs/"), None),
        (CheckRight(WATCH, "jobs"), Denied(WATCH, "jobs")),
        (CheckRight(None, leases=(1,)), Denied(WRITE, "")),
        (WhoAmI(), None),
    ],
)
def test_what_a_user_may_read(
    node: StoredNode, operation: ReadOperation, expected: Denied | None
) -> None:
    (outcome,) = read(node, operation)
    assert not isinstance(outcome, Denied) if expected is None else outcome == expected
    (unrestricted,) = read(node, operation, user=b"")
    assert not isinstance(unrestricted, Denied)
    (of_administrator,) = read(node, operation, user=ALICE)
    assert not isinstance(of_administrator, Denied)
    assert read(node, operation, user=CAROL) == [Denied(None)], "no user has the key"


def test_a_user_that_may_write_less_keeps_its_leases_alive_no_more(node: StoredNode) -> None:
    writes = (Write(0, 0, 0, OpenSession(), BOB), Write(2, 1, 0, GrantLease(5000), BOB))
    node.apply(LogEntry(4, 1, EntryKind.BATCH, encode(Batch(NODE, 1, 0, writes))))
    asked = (KeepAlive((2,)), CheckRight(None, leases=(2,)))
    assert not any(isinstance(each, Denied) for each in read(node, *asked))
    node.apply(entry(5, Revoke("clerk", WRITE, "jobs/")))
    assert read(node, *asked) == [Denied(WRITE, "")] * 2
    node.apply(entry(6, Grant("clerk", WRITE, "jobs/")))
    assert read(node, *asked) == [Denied(WRITE, "")] * 2


def test_a_denial_is_to_be_confirmed_as_the_right_may_have_been_granted(node: StoredNode) -> None:
    done = serve(node, (Get("jobs/1"), Get("other"), Get("jobs/2")))
    assert done.behind == (1,)
    assert len(done.outcomes) == 3


def test_each_read_of_a_batch_has_the_rights_of_its_own_user(node: StoredNode) -> None:
    batch = ReadBatch((Get("other"),) * 3, (BOB, b"", ALICE))
    (done,) = node.turn(ReadAt(1, 0, encode(batch), confirmed=True))
    outcomes = [decode_outcome(bytes(each)) for each in done.outcomes]
    assert [isinstance(each, Denied) for each in outcomes] == [True, False, False]


def test_a_revocation_ends_a_scan_at_its_next_page(node: StoredNode) -> None:
    (page,) = read(node, Scan(ID, "jobs/", 1))
    assert isinstance(page, Page)
    following = Scan(ID, "jobs/", 1, page.end, revision=page.revision)
    node.apply(entry(4, Revoke("clerk", READ, "jobs/")))
    assert read(node, following) == [Denied(READ, "jobs/")]
    node.apply(entry(5, Grant("clerk", READ, "jobs/")))
    assert isinstance(read(node, following)[0], Page), "its view is still there"


def test_the_scans_of_a_user_end_none_of_another(node: StoredNode) -> None:
    ids = [number.to_bytes(16) for number in range(SCANS_MAX + 1)]
    first = Scan(ids[0], "jobs/", 1)
    for each in ids[:-1]:
        read(node, Scan(each, "jobs/", 1), user=ALICE)
    (page,) = read(node, first)
    assert isinstance(page, Page), "one of the other user's makes room, though it is read"
    (refused,) = read(node, Scan(ids[-1], "jobs/", 1), user=ALICE)
    assert isinstance(refused, Failed)
    assert refused.code is FailureCode.OVERLOADED
    following = Scan(ids[0], "jobs/", 1, page.end, revision=page.revision)
    assert [type(each) for each in read(node, following)] == [Page]
    again = [Scan(each, "jobs/", 1, page.end, revision=page.revision) for each in ids]
    gone = [isinstance(read(node, each, user=ALICE)[0], Failed) for each in again]
    assert gone == [True] + [False] * (SCANS_MAX - 1) + [True]


def test_the_backups_of_a_user_end_none_of_another(
    node: StoredNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_source, "CHUNK_BYTES", 30)
    node.apply(entry(4, Grant("clerk", Right.BACKUP)))
    (first,) = read(node, ReadSnapshot(ID, None))
    for number in range(2 * BACKUPS_MAX):
        read(node, ReadSnapshot(bytes([number]) * 16, None), user=ALICE)
    (read_on,) = read(node, ReadSnapshot(ID, first.chunk.end))
    assert read_on.chunk is not None
    (of_another,) = read(node, ReadSnapshot(ID, first.chunk.end), user=ALICE)
    assert of_another.chunk is None


def test_the_gateway_is_told_of_the_users_at_the_start_and_when_they_change(
    node: StoredNode,
) -> None:
    told = [each for each in node.apply(entry(4, RemoveUser("bob"))) if type(each) is RightsUpdate]
    grants = ((READ, "jobs/"), (WRITE, "jobs/"), (WATCH, "jobs/"))
    role, alice = Role("clerk", grants), User("alice", (ALICE,), ("admin",))
    assert told == [RightsUpdate((alice,), (role,))]
    assert not any(type(each) is RightsUpdate for each in node.apply(entry(5, Insert("a", b""))))
    node.crash(kept=99)
    assert RightsUpdate((alice,), (role,)) in node.writer.recover().gateway


def test_a_snapshot_carries_the_users(node: StoredNode) -> None:
    follower = StoredNode(b"follower".ljust(16, b"\0"))
    told = [each for each in follower.stage(*node.chunks()) if type(each) is RightsUpdate]
    assert {user.name for user in told[-1].users} == {"alice", "bob"}
    assert read(follower, Get("other")) == [Denied(READ, "other")]
    assert follower.rows == node.rows


def test_users_and_the_own_identity_are_listed(node: StoredNode) -> None:
    (listed,) = read(node, ListUsers(), user=ALICE)
    assert isinstance(listed, Users)
    assert [user.name for user in listed.users] == ["alice", "bob"]
    assert [role.name for role in listed.roles] == ["clerk"]
    assert read(node, WhoAmI()) == [Identity("bob", listed.roles)]
    assert read(node, WhoAmI(), user=b"") == [Identity("")]
    (admin,) = read(node, WhoAmI(), user=ALICE)
    assert [role.name for role in admin.roles] == ["admin"]


PLACES = ("", "a", "a/", "a/b", "ab", "b/")
KEYS = ("a", "a/b", "a/b/c", "ab", "b/1")
operations = st.one_of(
    st.builds(Get, st.sampled_from(KEYS)),
    st.builds(GetMany, st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple)),
    st.builds(ListKeys, st.sampled_from(PLACES), st.just(10)),
    st.builds(ListPrefixes, st.sampled_from(PLACES), st.just(10)),
    st.builds(Scan, st.just(ID), st.sampled_from(PLACES), st.just(10)),
    st.builds(ReadChanges, st.sampled_from(PLACES), st.just(0), st.just(0)),
)
grants = st.sets(st.tuples(st.sampled_from((READ, WATCH)), st.sampled_from(PLACES)), max_size=3)


@settings(deadline=None, max_examples=50)
@given(held=grants, asked=st.lists(operations, min_size=1, max_size=8))
def test_a_read_is_denied_just_as_a_plain_model_says(
    held: set[tuple[Right, str]], asked: list[ReadOperation]
) -> None:
    granted = [Grant("more", right, prefix) for right, prefix in sorted(held)]
    roles = [AssignRole("carol", "more")] if held else []
    node = found_users(AddUser("carol", CAROL), *granted, *roles)
    for operation in asked:
        right = WATCH if isinstance(operation, ReadChanges) else READ
        places = getattr(operation, "keys", None) or (
            (operation.key,) if isinstance(operation, Get) else (_prefix_of(operation),)
        )
        (outcome,) = read(node, operation, user=CAROL)
        allowed = all(covers(held, right, place) for place in places)
        assert isinstance(outcome, Denied) != allowed, operation


def _prefix_of(operation: msgspec.Struct) -> str:
    prefix: str = getattr(operation, "prefix", "")
    return prefix


def test_kinds_of_outcomes(node: StoredNode) -> None:
    kinds = [type(each) for each in read(node, GetMany(("jobs/1",)), ListLeases(10), user=ALICE)]
    assert kinds == [FoundMany, LeasePage]
    assert [type(each) for each in read(node, CheckRight(READ, "jobs/"))] == [Done]
    assert [type(each) for each in read(node, KeepAlive((1,)), user=ALICE)] == [KeptAlive]
    assert [type(each) for each in read(node, ReadSnapshot(ID, None), user=ALICE)] == [SnapshotPart]
