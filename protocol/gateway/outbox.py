"""Gateway outbox: the replies and messages that one turn sends."""

import msgspec

from protocol.gateway.pending import Call
from protocol.messages.replicator import ReplicatorMessage


class GatewayOutbox(msgspec.Struct):
    """Replies to clients and messages to the log replicator, in order."""

    replies: list[Call] = msgspec.field(default_factory=list)
    replicator: list[ReplicatorMessage] = msgspec.field(default_factory=list)
