"""Client gateway: receives clients' requests, sends the replies, and publishes changes."""

import logging
import time
from collections import deque
from collections.abc import Iterator

from actors.actor import ActorContext, wait_for
from actors.audit import AuditTrail
from actors.change_publisher import ChangePublisher
from actors.connections import Connections
from actors.failure import ActorFailure
from actors.logs import OnceAWhile, OncePerSender
from actors.port import Frames, Port, Readable
from actors.reply_sender import ReplySender
from actors.sockets import BindFailed
from protocol.gateway.gateway import Gateway
from protocol.gateway.pending import Call
from protocol.messages.client import Failed, FailureCode, Reply
from protocol.messages.gateway import (
    Changes,
    Following,
    GatewayMessage,
    HandshakesRefused,
    Leadership,
    Opened,
    RightsUpdate,
)
from protocol.wire import Malformed, decode_for_gateway, decode_request, encode

TURN_OPERATIONS_MAX = 1000  # after which a turn receives no further requests
TURN_REPLY_BYTES_MAX = 4 << 20  # after which further replies wait for the next turn
CLIENT_SOCKET = "client"  # for clients on the same machine, in the node's own directory

WITHOUT_KEY = (
    "the state of this node has users, and the node was started without a key: give the cluster's "
    "secret key file in key, or accept unauthenticated connections by --insecure"
)

log = logging.getLogger("skiff.client_gateway")


class ClientGateway:
    """Serves clients over TCP and ipc: the sockets around the gateway core."""

    def __init__(self, context: ActorContext) -> None:
        self._context = context
        self._sockets = context.sockets
        self._gatekeeper = context.sockets.gatekeeper  # None if nothing is authenticated
        self._inbox = self._sockets.inbox("gateway")
        self._replicator = self._sockets.outbox("replicator")
        self._storage = self._sockets.outbox("storage")
        opened, others = wait_for(context, self._inbox, decode_for_gateway, Opened)
        context.log_fields.node = opened.node.hex()[:8]
        self._trace = context.trace(opened.node)
        self._core = Gateway(opened, context.config)
        self._router, publisher = self._listen()
        self._clients, subscribers = Connections(self._router), Connections(publisher)
        context.memory.watch(self._clients)
        context.memory.watch(subscribers)
        self._replies = ReplySender(self._router, self._core.reply_budget)
        self._subscribers = subscribers
        self._publisher = ChangePublisher(
            publisher, subscribers, context.limits.subscribers, self._gatekeeper
        )
        self._publisher_port = publisher
        self._audit = AuditTrail(context.config.dir)
        self._has_started = False
        self._unsent: deque[Call] = deque()
        self._malformed = OncePerSender()
        self._crowded = OnceAWhile()
        for message in others:  # the replicator may already have reported the leader
            self._step(message, time.monotonic())
        self._has_started = True
        context.ready(opened.node)

    def timeout(self) -> float:
        """Return the seconds until a deadline or a publication is due."""
        if self._unsent:
            return 0.0
        now = time.monotonic()
        due = min(self._core.next_deadline(now), self._publisher.feed.publisher.next_deadline(now))
        return min(due, self._replies.next_deadline(), self._audit.deadline) - now

    def turn(self, readable: Readable) -> None:
        """Process the messages that have arrived, and send the results."""
        now = time.monotonic()
        self._replies.look(now)  # first, as replies that were read make room for new ones
        if self._clients.is_readable(readable):
            self._trim(now)
        if self._gatekeeper is not None:
            self._note_refusals(now)
        if self._inbox in readable:
            for encoded in self._inbox.drain_single():
                messages = decode_for_gateway(encoded)
                self._trace.note("receives", messages)
                for message in messages:
                    self._step(message, now)
        if self._router in readable:
            self._receive_some(now)
        if self._publisher_port in readable:
            self._subscribe(now)
        self._publisher.turn(readable, now)
        self._send(now)

    def stop(self) -> float:
        """Stop at once: clients retry at another node."""
        return 0.0

    def close(self) -> None:
        """Write the trace, and what is left for the audit trail."""
        self._audit.close()
        self._trace.write()

    def _listen(self) -> tuple[Port, Port]:
        address = self._context.config.bind_address
        try:
            router = self._sockets.client_router(
                [address.client_endpoint, f"ipc://{CLIENT_SOCKET}"]
            )
            return router, self._sockets.publisher(
                address.publish_endpoint, manual=self._gatekeeper is not None
            )
        except BindFailed as error:
            raise ActorFailure("RPCBindFailed", str(error), lasting=True) from error

    def _step(self, message: GatewayMessage, now: float) -> None:
        self._publisher.feed.step(message, now)
        if isinstance(message, Leadership):
            self._context.log_fields.learn_term(message.term)
        if not isinstance(message, Changes | Following):
            self._core.step(message, now)
        if isinstance(message, RightsUpdate):
            self._learn_rights()
        if isinstance(message, HandshakesRefused):
            self._audit.refused.note(message.hosts, now)

    def _learn_rights(self) -> None:
        """Admit the users, at the start only with keys, if there are any.

        Raises:
            ActorFailure: the node was started without keys, which would admit any client.
        """
        keys = self._core.user_keys
        if self._gatekeeper is not None:
            self._gatekeeper.admit_users(keys)
        elif keys and not self._has_started and not self._context.config.may_have_users:
            raise ActorFailure("ClusterInitFailed", WITHOUT_KEY, lasting=True)

    def _note_refusals(self, now: float) -> None:
        """Count the connections that the ports for clients have refused."""
        ports = (self._clients, self._subscribers)
        self._core.refused_handshakes = sum(each.refused for each in ports)
        for each in ports:
            self._audit.refused.note(each.take_refused(), now)

    def _trim(self, now: float) -> None:
        """Process new and lost connections, and close the longest idle ones beyond the limit."""
        self._clients.take_in(now)
        closed = self._clients.trim(self._context.limits.clients, now)
        if closed and self._crowded.is_due(now):
            log.warning("closed %d idle client connections: the limit is reached", len(closed))

    def _receive_some(self, now: float) -> None:
        """Receive requests, up to a limit that keeps this turn short."""
        operations = 0
        for frames, user in self._requests():
            operations += self._receive(frames, user, now)
            if operations >= TURN_OPERATIONS_MAX:
                break

    def _requests(self) -> Iterator[tuple[Frames, bytes]]:
        """Yield messages with their users; drop those of unknown users, if users are known."""
        if self._gatekeeper is None:
            for frames in self._router.drain():
                yield frames, b""
            return
        for frames, user_id in self._router.drain_with_users():
            user = self._gatekeeper.user_of(user_id)
            if user is not None:
                yield frames, user

    def _receive(self, frames: Frames, user: bytes, now: float) -> int:
        """Process one message: the connection, an empty delimiter from REQ, the body.

        Returns its load.
        """
        *client, body = frames
        try:
            if client[1:] not in ([], [b""]):
                raise Malformed(f"{len(frames) - 1} frames; send one, or an empty one and one")
            request = decode_request(body)
        except Malformed as error:
            if self._malformed.is_new(frames[0]):
                log.warning("refused a malformed request: %s", error)
            failed = Failed(FailureCode.INVALID, f"malformed request: {error}")
            self._replies.send(tuple(client[:2]), encode(Reply(0, (failed,))), now)
            return 1
        return self._core.receive(tuple(client), request, len(body), now, user)

    def _subscribe(self, now: float) -> None:
        """Process subscriptions; storage confirms each in the order of its changes."""
        orders = self._publisher.feed.follow(self._publisher.take_nonces(now))
        if orders:
            self._storage.send(encode(orders))

    def _send(self, now: float) -> None:
        outbox = self._core.flush(now)
        records = outbox.audit + self._publisher.feed.subscriptions.take_records()
        if records or self._audit.deadline <= now:
            self._audit.write(records, now)
        if outbox.replicator:
            self._trace.note("sends", outbox.replicator)
            self._replicator.send(encode(outbox.replicator))
        if outbox.storage:
            self._trace.note("sends", outbox.storage)
            self._storage.send(encode(outbox.storage))
        self._unsent.extend(outbox.replies)
        size = 0
        while self._unsent and size < TURN_REPLY_BYTES_MAX:
            size += self._reply(self._unsent.popleft(), now)

    def _reply(self, call: Call, now: float) -> int:
        """Send the reply to a call; return its size in bytes."""
        reply = encode(Reply(call.id, tuple(call.outcomes)))  # type: ignore[arg-type]
        self._replies.send(call.client, reply, now, call.payer)
        return len(reply)
