"""Storage outbox: what one step of a storage writer's turn wants sent, and said to operators."""

import msgspec

from protocol.messages.gateway import GatewayMessage
from protocol.messages.replicator import ReplicatorMessage


class StorageOutbox(msgspec.Struct):
    """What one step of a turn wants sent."""

    replicator: list[ReplicatorMessage] = msgspec.field(default_factory=list)
    gateway: list[GatewayMessage] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)  # sentences for the operator
    errors: list[str] = msgspec.field(default_factory=list)  # graver ones
