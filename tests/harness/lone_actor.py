"""Lone actor: one actor of a node in this process, on real sockets, without the others."""

from typing import Any, cast

from actors.actor import ActorContext
from actors.lifeline import ActorEnd, Report
from actors.logs import LogFields
from actors.memory import MemoryWatch
from actors.port import Port
from actors.sockets import Sockets
from protocol.config import NodeConfig
from protocol.connection_limits import limits_of
from protocol.wire import encode


class SilentLifeline:
    """The lifeline of an actor whose supervisor never orders anything."""

    def report(self, report: Report) -> None:
        """Drop a report."""


def surround(actor: str, config: NodeConfig, sockets: Sockets) -> ActorContext:
    """Return the context of an actor in the current directory."""
    return ActorContext(
        config,
        sockets,
        cast(ActorEnd, SilentLifeline()),
        LogFields(actor),
        limits_of(1024),
        MemoryWatch(""),
    )


def tell(sockets: Sockets, inbox: str, *messages: Any) -> Port:
    """Send messages to the inbox of an actor; return the socket, whose closing would drop them."""
    port = sockets.outbox(inbox)
    port.send(encode(messages))
    return port
