"""Outbox: the messages of one turn of the Raft core, sorted by receiver."""

from collections import defaultdict

import msgspec

from protocol.membership import NodeId
from protocol.messages.gateway import GatewayMessage
from protocol.messages.peer import PeerMessage
from protocol.messages.storage import StorageMessage
from protocol.messages.timer import ClockState


class Complaint(msgspec.Struct, frozen=True):
    """A fault in a message of some node, for the operator."""

    sender: NodeId
    subject: str  # one complaint about a sender and subject is enough
    sentence: str


class Outbox(msgspec.Struct):
    """Messages in the order in which each receiver must handle them."""

    peers: defaultdict[NodeId, list[PeerMessage]] = msgspec.field(
        default_factory=lambda: defaultdict(list)
    )
    storage: list[StorageMessage] = msgspec.field(default_factory=list)
    gateway: list[GatewayMessage] = msgspec.field(default_factory=list)
    clock: ClockState | None = None
    complaints: list[Complaint] = msgspec.field(default_factory=list)
