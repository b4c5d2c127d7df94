"""Moved nodes: a check of the former address, before the node opens its ports."""

import time

from actors.actor import ActorContext, Stopped
from actors.dialer import Dialer
from actors.failure import ActorFailure
from actors.lifeline import Stop
from actors.peer_links import JoinLinks
from actors.port import Port
from protocol.messages.peer import PEER_PROTOCOL_VERSION, ClusterQuery, PeerFrame
from protocol.messages.replicator import Recovered, ReplicatorMessage
from protocol.raft.moving import Moving
from protocol.wire import decode_for_replicator, encode


def refuse_copy(
    context: ActorContext, inbox: Port, recovered: Recovered
) -> list[ReplicatorMessage]:
    """Refuse to start if this directory's node still answers at its former address.

    Returns the messages that other actors sent meanwhile.

    Raises:
        ActorFailure: ``DirectoryCopied``, because the node runs at the former address.
        Stopped: the node was stopped meanwhile.
    """
    address = str(context.config.address)
    moving = Moving(recovered, address, time.monotonic())
    links = JoinLinks(Dialer(context.sockets))
    query = _query(recovered, address)
    received: list[ReplicatorMessage] = []
    while not moving.is_over(time.monotonic()):
        if moving.take_request(time.monotonic()):
            links.send(moving.former_address, query)
        readable = context.sockets.wait(moving.deadline - time.monotonic())
        if context.lifeline in readable and Stop() in context.lifeline.orders():
            raise Stopped
        for encoded in inbox.drain_single():
            received.extend(decode_for_replicator(encoded))
        for frame in links.receive():
            moving.hear(frame)
    links.close()
    if moving.is_copy:
        raise ActorFailure("DirectoryCopied", moving.failure, lasting=True)
    return received


def _query(recovered: Recovered, address: str) -> bytes:
    sender = (recovered.cluster, recovered.node, recovered.incarnation, address)
    return encode(PeerFrame(PEER_PROTOCOL_VERSION, *sender, (ClusterQuery(),)))
