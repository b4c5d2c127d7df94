"""What one turn of the Raft core wants sent, sorted by who is to hear it."""

from collections import defaultdict

import msgspec

from protocol.membership import NodeId
from protocol.node_messages import ClockState, GatewayMessage, StorageMessage
from protocol.peer_messages import PeerMessage


class Outbox(msgspec.Struct):
    """Messages in the order in which each addressee is to handle them."""

    peers: defaultdict[NodeId, list[PeerMessage]] = msgspec.field(
        default_factory=lambda: defaultdict(list)
    )
    storage: list[StorageMessage] = msgspec.field(default_factory=list)
    gateway: list[GatewayMessage] = msgspec.field(default_factory=list)
    clock: ClockState | None = None
