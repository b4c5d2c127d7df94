"""Wire: messages round-trip, and any other bytes raise Malformed."""

from contextlib import suppress
from random import Random
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import status
from protocol.entry import EntryKind, LogEntry
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages import client, gateway, peer, replicator, rights, storage, timer
from protocol.refusal import Refusal
from protocol.snapshot import SnapshotChunk, SnapshotId, SnapshotPosition
from protocol.space import Room, Shortage, SpaceChanged
from protocol.state import commands, user_commands
from protocol.wire import (
    Decoder,
    Malformed,
    decode_established,
    decode_for_gateway,
    decode_for_replicator,
    decode_for_storage,
    decode_for_timer,
    decode_mark,
    decode_outcome,
    decode_peer_frame,
    decode_published,
    decode_read_batch,
    decode_reply,
    decode_request,
    encode,
)

MUTATIONS = 300
ID = bytes(range(16))
SNAPSHOT = SnapshotId(5, 2)
CHUNK = SnapshotChunk(
    SnapshotPosition(SNAPSHOT), b"rows", SnapshotPosition(SNAPSHOT, b"\0key", 7), last=False
)
MEMBERSHIP = Membership((Member(ID, "node.example:9400", True),))
ENTRIES = (LogEntry(4, 2, EntryKind.BATCH, b"payload"), LogEntry(5, 2, EntryKind.NO_OP))
USER_KEY = bytes(range(32))
USER = user_commands.User("alice", (USER_KEY,), ("admin", "reader"))
ROLE = user_commands.Role("reader", ((user_commands.Right.READ, "a/"),))
STATUS = status.ReplicationStatus(3, status.RoleName.LEADER, ID, 9, 8, MEMBERSHIP, False, 5, 2)

WRITES = [
    commands.Write(1, 2, 2, commands.OpenSession()),
    commands.Write(1, 3, 2, commands.Insert("a/ключ", b"\0\xff", 7)),
    commands.Write(1, 4, 2, commands.Remove("a/ключ")),
    commands.Write(1, 5, 2, commands.RemovePrefix("a/")),
    commands.Write(1, 6, 2, commands.Increment("n", -(2**63))),
    commands.Write(1, 8, 2, commands.Insert("a", b"", None, 5)),
    commands.Write(1, 9, 2, commands.Insert("a", b"", ttl_ms=5000)),
    commands.Write(1, 10, 2, commands.GrantLease(5000)),
    commands.Write(1, 11, 2, commands.RevokeLease(5)),
    commands.Write(0, 0, 0, commands.ExpireLeases((5, 6))),
    commands.Write(0, 0, 0, commands.CheckpointLeases(((5, 3000), (6, 0)))),
    commands.Write(1, 12, 2, commands.Remove("a"), USER_KEY),
    commands.Write(1, 12, 2, user_commands.AddUser("alice", USER_KEY, only_first=True)),
    commands.Write(1, 13, 2, user_commands.RemoveUser("alice")),
    commands.Write(1, 14, 2, user_commands.AddUserKey("alice", USER_KEY)),
    commands.Write(1, 15, 2, user_commands.RemoveUserKey("alice", USER_KEY)),
    commands.Write(1, 16, 2, user_commands.AssignRole("alice", "reader")),
    commands.Write(1, 17, 2, user_commands.UnassignRole("alice", "reader")),
    commands.Write(1, 18, 2, user_commands.Grant("reader", user_commands.Right.READ, "a/")),
    commands.Write(1, 19, 2, user_commands.Revoke("reader", user_commands.Right.READ, "a/")),
    commands.Write(1, 20, 2, user_commands.RemoveRole("reader")),
    commands.Write(
        1,
        7,
        2,
        commands.Transact(
            (commands.Check("a", exists=True, version=2, value=b"v"), commands.Check("b")),
            (commands.Insert("a", b"w"), commands.Lookup("b"), commands.RemovePrefix("c/")),
            (commands.Remove("a"), commands.Increment("n")),
            (commands.Fence("lock/1", 6),),
        ),
    ),
]
RESULTS: list[Any] = [
    commands.SessionOpened(7),
    commands.Inserted(2**63),
    commands.Removed(True, 4),
    commands.RevisionMismatch(0),
    commands.SessionExpired(),
    commands.PrefixRemoved(3, 5),
    commands.Incremented(-(2**63), 6),
    commands.Inapplicable(commands.Obstacle.TOO_LARGE, "a"),
    commands.LeaseGranted(5),
    commands.LeaseEnded(2, 9),
    commands.NoLease(5, True),
    user_commands.RightsChanged(),
    user_commands.RightsRefused(user_commands.Objection.LAST_ADMINISTRATOR, "alice"),
    user_commands.Denied(user_commands.Right.WRITE, "a/ключ"),
    user_commands.Denied(None),
    commands.Transacted(
        True, 7, (commands.Inserted(7), commands.Found(7, 1, 1, 1, b"v"), commands.Missing(7))
    ),
]
OPERATIONS: list[Any] = [
    *WRITES,
    client.Hello(),
    client.Get("a"),
    client.Get("a", leader_lease=True),
    client.ListKeys("a/", 100, "a/b"),
    client.ListPrefixes("", 100, None, True),
    client.GetMany(("a", "b"), max_staleness_ms=5, min_revision=7),
    client.ReadChanges("a/", 7, 2, 9, prev_value=True),
    client.Scan(ID, "a/", 10, "a/b", reverse=True, revision=9, is_last=True),
    client.Status(),
    client.RemoveNode(ID),
    client.AddNode("node.example"),
    client.ReadSnapshot(ID, CHUNK.start),
    client.ReadSnapshot(ID, None),
    client.TransferLeadership(ID),
    client.KeepAlive((5, 6)),
    client.ListLeases(10, 5),
    rights.ListUsers(),
    rights.WhoAmI(),
    rights.CheckRight(user_commands.Right.WATCH, "a/", (5,)),
]
OUTCOMES: list[Any] = [
    *RESULTS,
    commands.Found(9, 1, 3, 2, b"value"),
    commands.Found(9, 1, 3, 2, b"value", 5),
    commands.Found(9, 1, 3, 2, b"value", ttl_ms=5000),
    commands.Missing(9),
    client.Names(9, ("a", "b"), True),
    client.ChangePage((commands.Event(7, "a", b"v", 3, 1, b"w"),), 7, 1, True, prev_values=True),
    client.Compacted(9),
    client.FoundMany(9, (commands.Found(9, 1, 3, 2, b"value"), commands.Missing(9))),
    client.Page(9, (client.ScannedEntry("a", 1, 3, 2, b"value", 5),), 1, "a", True),
    client.SnapshotPart(CHUNK, 10),
    client.Welcome(ID, ID, "tcp://node.example:9401", None, "", MEMBERSHIP, 2),
    client.NodeStatus(
        ID, ID, "n", status.RoleName.LEADER, 1, ID, 2, 2, 2, 2, MEMBERSHIP, False, level=2
    ),
    client.Done(),
    client.Failed(client.FailureCode.OVERLOADED, "too much"),
    client.Transferred(ID),
    client.KeptAlive((5000, 0), 7),
    client.LeasePage(9, (client.ListedLease(5, 5000, 2),), 5, True),
    rights.Users((USER,), (ROLE,)),
    rights.Identity("alice", (ROLE,)),
]
PEER_MESSAGES: list[Any] = [
    peer.RequestVote(3, 9, 2, pre=True),
    peer.RequestVoteReply(3, True),
    peer.AppendEntries(3, 3, 2, ENTRIES, 3),
    peer.AppendEntriesReply(3, False, 3, 2, 1),
    peer.Heartbeat(3, 7, 3, 1 << 50),
    peer.HeartbeatReply(3, 7, 1 << 50, 150_000, Shortage.CRITICAL, 2),
    peer.ForwardProposal(5, b"payload"),
    peer.ProposalRefused(5, Refusal.OVERLOADED),
    peer.ForwardRead(6),
    peer.ForwardRead(6, leader_lease=True),
    peer.ForwardRead(6, leases=(5, 6)),
    peer.ReadIndex(6, 3),
    peer.ReadRefused(6),
    peer.ForwardMembershipChange(7, 1, ID),
    peer.RemovalNotice(4, ID),
    peer.JoinRequest("node.example"),
    peer.JoinRequest("node.example", True, 4, 3, 2),
    peer.JoinRequest("node.example", False, 4, 3, 2, True),
    peer.ClusterQuery(),
    peer.ClusterReply(bytes(16), MEMBERSHIP, ("a:1", "b:1"), 2),
    peer.JoinReply(False, MEMBERSHIP, "node.example:9400", "", 4, 3),
    peer.Invitation("node.example"),
    peer.TimeoutNow(3),
    peer.InstallSnapshot(3, CHUNK),
    peer.InstallSnapshotReply(3, CHUNK.end),
    peer.ForwardTransfer(ID),
    peer.MembershipQuery(),
    peer.MembershipReply((MembershipAt(4, MEMBERSHIP),), 3),
]
FOR_STORAGE: list[Any] = [
    storage.Append(1, HardState(3, ID), ENTRIES, (MembershipAt(4, MEMBERSHIP),)),
    storage.Append(2, None, (), None),
    storage.Commit(5),
    storage.ReadAt(1, 5, b"payload", confirmed=False),
    storage.FetchLog(ID, 1, 1 << 20, 0),
    storage.AdoptCluster(ID),
    storage.ReportStatus(1, STATUS),
    storage.FollowChanges(b"nonce"),
    storage.IgnoreChanges(),
    storage.FetchSnapshot(ID, CHUNK.start),
    storage.FetchSnapshot(ID, None),
    storage.EndSnapshot(ID),
    storage.StageChunk(CHUNK),
]
FOR_REPLICATOR: list[Any] = [
    replicator.Recovered(ID, ID, 1, HardState(), 0, 3, 2, ENTRIES, (MembershipAt(0, MEMBERSHIP),)),
    replicator.Persisted(1, 1, 2, 5),
    replicator.LogSlice(ID, 3, 2, ENTRIES),
    replicator.ElectionDue(4),
    replicator.LeaderQuiet(4),
    replicator.HeartbeatDue(),
    replicator.QuorumCheckDue(),
    replicator.StorageCheckDue(),
    replicator.Propose(1, b"payload"),
    replicator.Read(1, b"payload"),
    replicator.Read(1, b"payload", leader_lease=True),
    replicator.Read(1, b"payload", False, False, (5, 6)),
    replicator.RemoveMember(1, ID),
    replicator.InviteMember("node.example"),
    replicator.AskStatus(1),
    replicator.CommitNoticeDue(),
    replicator.StepAside(),
    replicator.TransferTo(ID),
    replicator.LogCompacted(ID, 1),
    replicator.SnapshotRead(ID, CHUNK),
    replicator.SnapshotRead(ID, None),
    replicator.ChunkStaged(CHUNK.end),
    replicator.SnapshotInstalled(5, 2, MembershipAt(4, MEMBERSHIP)),
    replicator.SnapshotInstalled(5, 2, MembershipAt(4, MEMBERSHIP), ((5, 5000, 0),)),
    replicator.LeasesApplied(7, ((5, 5000),), (4,)),
    replicator.LeasesApplied(7, (), (), ((5, 3000),)),
    SpaceChanged(Shortage.LOW),
]
FOR_GATEWAY: list[Any] = [
    gateway.Opened(ID, ID, 1),
    gateway.Leadership(
        ID, 3, status.RoleName.FOLLOWER, ID, "node.example", MEMBERSHIP, False, True
    ),
    gateway.Refused(1, Refusal.BUSY),
    gateway.ReadFailed(1),
    gateway.BatchApplied(1, 2, tuple(RESULTS)),
    gateway.ReadsDone(1, (msgspec.Raw(encode(commands.Missing(9))),), confirmed=True),
    gateway.ReadsConfirmed((1, 2)),
    gateway.StatusReport(1, STATUS, 8, 7, Room(1 << 40, 9, Shortage.QUOTA)),
    gateway.Changes(
        (commands.Event(1, "a", b"x", 0), commands.Event(2, "a", None, 1, 0, b"x", True))
    ),
    gateway.Following(b"nonce", 7),
    gateway.ChangesLost(7),
    gateway.HandshakesRefused(7, {"127.0.0.1": 2}),
    gateway.RightsUpdate((USER,), (ROLE,)),
]

SAMPLES: list[tuple[Decoder[Any], Any]] = [
    (decode_request, client.Request(1, 2, 5000, tuple(OPERATIONS))),
    (decode_reply, client.Reply(2, tuple(OUTCOMES))),
    *((decode_outcome, outcome) for outcome in OUTCOMES),
    (decode_read_batch, client.ReadBatch((client.Get("a"), client.ListKeys("", 1)))),
    (decode_peer_frame, peer.PeerFrame(1, ID, ID, 1, "node.example:9400", tuple(PEER_MESSAGES))),
    (decode_for_storage, FOR_STORAGE),
    (decode_for_replicator, FOR_REPLICATOR),
    (decode_for_gateway, FOR_GATEWAY),
    (decode_for_timer, [timer.ClockState(True, True, 4)]),
    (decode_published, client.Published(0, 7, "a", b"x", 3, prev_value=b"w")),
    (decode_published, client.Published(0, 7, "a", None, 3, expired=True)),
    (decode_established, client.Established(0, 7, prev_values=True)),
    (decode_mark, client.Mark(0, 7)),
]
DECODERS = list(dict.fromkeys(decoder for decoder, _ in SAMPLES))


def expect_message_or_malformed(decoder: Decoder[Any], frame: bytes) -> None:
    with suppress(Malformed):
        decoder(frame)


@pytest.mark.parametrize(
    ("union", "samples"),
    [
        (client.Operation, OPERATIONS),
        (client.Outcome, OUTCOMES),
        (peer.PeerMessage, PEER_MESSAGES),
        (storage.StorageMessage, FOR_STORAGE),
        (replicator.ReplicatorMessage, FOR_REPLICATOR),
        (gateway.GatewayMessage, FOR_GATEWAY),
    ],
)
def test_every_message_has_a_sample(union: Any, samples: list[Any]) -> None:
    assert set(map(type, samples)) == set(get_args(union))


@pytest.mark.parametrize(("decoder", "message"), SAMPLES)
def test_a_message_round_trips_unchanged(decoder: Decoder[Any], message: Any) -> None:
    assert decoder(encode(message)) == message


@pytest.mark.parametrize(("decoder", "message"), SAMPLES)
def test_a_truncated_message_is_malformed(decoder: Decoder[Any], message: Any) -> None:
    frame = encode(message)
    for length in range(len(frame)):
        with pytest.raises(Malformed):
            decoder(frame[:length])


@pytest.mark.parametrize(("decoder", "message"), SAMPLES)
def test_trailing_bytes_after_a_message_are_malformed(decoder: Decoder[Any], message: Any) -> None:
    with pytest.raises(Malformed):
        decoder(encode(message) + b"\0")


@pytest.mark.parametrize(("decoder", "message"), SAMPLES)
def test_a_mutated_message_decodes_or_is_malformed(decoder: Decoder[Any], message: Any) -> None:
    chance = Random(7)
    for _ in range(MUTATIONS):
        frame = bytearray(encode(message))
        for _ in range(chance.randint(1, 4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        expect_message_or_malformed(decoder, bytes(frame))


@given(st.binary(max_size=200))
def test_random_bytes_decode_or_are_malformed(frame: bytes) -> None:
    for decoder in DECODERS:
        expect_message_or_malformed(decoder, frame)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_arbitrary_messagepack_values_decode_or_are_malformed(value: Any) -> None:
    for decoder in DECODERS:
        expect_message_or_malformed(decoder, encode(value))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",  # the byte that MessagePack never uses
        b"\x91" * 100_000,
        b"\x81" * 100_000,
        b"\x94\x01\x02\x03" + b"\x91" * 100_000,  # too deep in a field
        b"\x9f" + b"\x01" * 9 + b"\x91" * 100_000 + b"\x00" * 5,  # too deep where no field is
        b"\xdd\xff\xff\xff\xff",  # an array said to be of 2**32 - 1
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91\xa2\xff\xfe",  # no UTF-8
        b"\xa2\xc3\x28",
        b"\xd4\x05\x00",  # an extension
        b"\xcb\x7f\xf8\0\0\0\0\0\0",  # not a number
    ],
    ids=lambda frame: frame[:8].hex() if isinstance(frame, bytes) else "",
)
def test_hostile_bytes_are_malformed(decoder: Decoder[Any], frame: bytes) -> None:
    with pytest.raises(Malformed):
        decoder(frame)


def test_text_that_is_not_utf8_is_malformed() -> None:
    frame = encode(client.Request(1, 2, 3, (client.Get("key"),)))
    with pytest.raises(Malformed):
        decode_request(frame.replace(b"key", b"\xff\xfe\xfd"))


def test_excessive_nesting_beyond_the_last_field_is_malformed() -> None:
    frame = encode([1, 2, 3, [], msgspec.Raw(b"\x91" * 100_000 + b"\xc0")])
    with pytest.raises(Malformed):
        decode_request(frame)


def test_an_unknown_kind_of_message_is_malformed() -> None:
    with pytest.raises(Malformed):
        decode_request(encode([1, 2, 3, [[99, "a"]]]))
    with pytest.raises(Malformed):
        decode_peer_frame(encode([1, ID, ID, 1, "a", [[99]]]))
