"""Gateway outbox: what one turn of a gateway wants sent."""

import msgspec

from protocol.gateway.pending import Call
from protocol.messages.replicator import ReplicatorMessage


class GatewayOutbox(msgspec.Struct):
    """What one turn wants sent."""

    replies: list[Call] = msgspec.field(default_factory=list)
    replicator: list[ReplicatorMessage] = msgspec.field(default_factory=list)
