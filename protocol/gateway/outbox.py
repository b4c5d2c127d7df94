"""Gateway outbox: the replies and messages that one turn sends."""

import msgspec

from protocol.audit import AuditRecord
from protocol.gateway.pending import Call, GatewayRequest
from protocol.messages.replicator import ReplicatorMessage
from protocol.messages.storage import ReadAt


class GatewayOutbox(msgspec.Struct):
    """Replies to clients, messages to log replicator and storage writer, and what is audited."""

    replies: list[Call] = msgspec.field(default_factory=list)
    replicator: list[ReplicatorMessage] = msgspec.field(default_factory=list)
    storage: list[ReadAt] = msgspec.field(default_factory=list)
    audit: list[AuditRecord] = msgspec.field(default_factory=list)

    def send(self, request: GatewayRequest) -> None:
        """Add a request to the messages of the actor that serves it."""
        if isinstance(request, ReadAt):
            self.storage.append(request)
        else:
            self.replicator.append(request)
