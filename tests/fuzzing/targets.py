"""Targets of the fuzzer: each takes any bytes, and raises only if skiff has a bug.

An input is a list of frames: each begins with a byte that selects something, such as its sender,
and two bytes of length. Nothing depends on time or chance, so that an input that fails once fails
always.
"""

from collections.abc import Callable, Iterator

from protocol.config import NodeConfig
from protocol.entry import EntryKind, LogEntry
from protocol.gateway.gateway import TIMEOUT_MS_MAX, Gateway
from protocol.gateway.publisher import Publisher
from protocol.gateway.subscriptions import GONE, UNSUBSCRIBE, Subscriptions
from protocol.hard_state import HardState
from protocol.membership import Member, Membership, MembershipAt
from protocol.messages.gateway import Following, Leadership, Opened
from protocol.messages.replicator import ElectionDue, HeartbeatDue, Persisted, Recovered
from protocol.messages.storage import Append
from protocol.raft.node import RaftNode
from protocol.raft.senders import RejectedFrame
from protocol.state.machine import decode_batch, decode_membership_change
from protocol.status import RoleName
from protocol.wire import (
    Malformed,
    decode_established,
    decode_mark,
    decode_peer_frame,
    decode_published,
    decode_reply,
    decode_request,
    encode,
)

HEAD_BYTES = 3  # of a frame in an input
NODE, PEER, OTHER, CLUSTER = b"A" * 16, b"B" * 16, b"C" * 16, b"c" * 16
ADDRESSES = ("127.0.0.1:1", "127.0.0.1:4", "127.0.0.1:7")
MEMBERS = Membership(
    tuple(
        Member(node, address, voter=True)
        for node, address in zip((NODE, PEER, OTHER), ADDRESSES, strict=True)
    )
)
LEADERSHIP = Leadership(
    CLUSTER, 1, RoleName.LEADER, NODE, ADDRESSES[0], MEMBERS, removed=False, stalled=False
)
DECODERS: tuple[Callable[[bytes], object], ...] = (
    decode_request,
    decode_reply,
    decode_peer_frame,
    decode_published,
    decode_established,
    decode_mark,
    decode_batch,
    decode_membership_change,
)
CONNECTIONS = 4
BOUNDED_TERM = 1 << 40  # no honest peer comes near it, and no frame may move a node beyond it


def frames_of(given: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of an input, each with its selecting byte."""
    place = 0
    while place + HEAD_BYTES <= len(given):
        length = int.from_bytes(given[place + 1 : place + HEAD_BYTES], "big")
        place += HEAD_BYTES
        yield given[place - HEAD_BYTES], given[place : place + length]
        place += length


def input_of(frames: list[tuple[int, bytes]]) -> bytes:
    """Return the input of these frames."""
    heads = [bytes([selects]) + len(body).to_bytes(2, "big") for selects, body in frames]
    return b"".join(head + body for head, (_, body) in zip(heads, frames, strict=True))


def fuzz_decoders(given: bytes) -> None:
    """Decode each frame; what can be decoded is encoded to the same message again."""
    for selects, frame in frames_of(given):
        decode = DECODERS[selects % len(DECODERS)]
        try:
            message = decode(frame)
        except Malformed:
            continue
        assert decode(encode(message)) == message


def fuzz_gateway(given: bytes) -> None:
    """Send requests to a gateway; each is answered by its deadline, and nothing is kept."""
    core = Gateway(Opened(NODE, CLUSTER, 1), NodeConfig(dir="d"))
    core.step(LEADERSHIP, 0.0)
    sent = answered = 0
    for selects, frame in frames_of(given):
        try:
            request = decode_request(frame)
        except Malformed:
            continue
        core.receive((bytes([selects % CONNECTIONS]), b""), request, len(frame), float(sent))
        sent += 1
        answered += len(core.flush(float(sent)).replies)
    end = sent + TIMEOUT_MS_MAX / 1000
    answered += sum(len(core.flush(end + later).replies) for later in (1.0, 2.0))
    assert answered == sent, f"{sent} requests, {answered} replies"
    assert core.next_deadline(end + 3.0) == float("inf"), "something is kept"


def fuzz_publisher(given: bytes) -> None:
    """Send subscriptions to a publisher; a connection that goes takes its topics with it."""
    subscriptions, publisher = Subscriptions(), Publisher()
    held: set[tuple[int, bytes]] = set()
    for selects, frame in frames_of(given):
        connection = selects % CONNECTIONS
        nonce = subscriptions.take(frame, connection)
        if nonce is not None:
            publisher.establish(Following(nonce, 1), 0.0)
        if frame[:1] in (b"\0", b"\1"):
            change = held.add if frame[:1] == b"\1" else held.discard
            change((connection, frame[1:]))
    publisher.flush(lambda _: True)
    assert publisher.is_clear
    for connection in range(CONNECTIONS):
        subscriptions.forget(connection)
    for _, topic in held:  # as ZeroMQ does, once the connections are gone
        subscriptions.take(UNSUBSCRIBE + topic, GONE)
    assert not subscriptions


def fuzz_peer(given: bytes) -> None:
    """Send peer frames to a Raft node; no frame makes it forget what it has promised."""
    entries = (LogEntry(1, 1, EntryKind.NO_OP), LogEntry(2, 1, EntryKind.NO_OP))
    members = (MembershipAt(0, MEMBERS),)
    hard_state = HardState(term=3)
    core = RaftNode(Recovered(NODE, CLUSTER, 1, hard_state, 1, 0, 0, entries, members))
    now, term = 0, core.term
    for selects, frame in frames_of(given):
        now += 1_000_000
        core.set_time(now)
        try:
            core.receive(decode_peer_frame(frame))
        except (Malformed, RejectedFrame):
            core.step(HeartbeatDue() if selects & 1 else ElectionDue(selects >> 1))
        for message in core.flush().storage:
            if isinstance(message, Append):
                core.step(Persisted(message.number, 1, *_end_of(message)))
        core.flush()
        assert term <= core.term < BOUNDED_TERM, "terms only grow, and not by leaps"
        term = core.term


def _end_of(append: Append) -> tuple[int, int]:
    if not append.entries:
        return 1, 2
    return append.entries[-1].term, append.entries[-1].index


TARGETS: dict[str, Callable[[bytes], None]] = {
    "decoders": fuzz_decoders,
    "gateway": fuzz_gateway,
    "publisher": fuzz_publisher,
    "peer": fuzz_peer,
}
