"""Subscriptions: the topics of each subscriber's connection, within limits."""

from collections import Counter

import msgspec

from protocol.audit import AuditRecord, record_of_denial
from protocol.gateway.shares import exceeds_share, payer_of
from protocol.gateway.topics import Topics, weight
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, PREV_TOPIC
from protocol.state.rights import PLACE_LENGTH_MAX, UNKNOWN, Rights
from protocol.state.user_commands import Denied, Right

TOPICS_MAX = 256  # of one connection
TOPIC_BYTES_MAX = 64 << 10  # of one connection
TOTAL_TOPIC_BYTES_MAX = 4 << 20  # of the different topics of all; one user may have its share
NONCE_FRAME_BYTES_MAX = 66  # subscription, topic and nonce of a confirmation

GONE = -1  # in place of a connection that is closed
CHANGE_TOPICS = (EVENT_TOPIC, PREV_TOPIC)
UNSUBSCRIBE, SUBSCRIBE = b"\0", b"\1"
SUBSCRIPTION = "Subscribe"  # its name in the audit trail


class _Connection(msgspec.Struct):
    """The topics of one connection; ZeroMQ counts a repeated subscription once."""

    user: bytes  # public key of its user; empty for no restrictions
    payer: bytes  # for whose share its topics count
    topics: set[bytes] = msgspec.field(default_factory=set)
    size: int = 0  # bytes


class Subscriptions:
    """The topics of all connections to one publisher."""

    def __init__(self) -> None:
        self._topics = Topics()
        self._watched = dict.fromkeys(CHANGE_TOPICS, 0)  # of these, topics of changes
        self._connections: dict[int, _Connection] = {}
        self._payers: dict[bytes, Topics] = {}  # topics of the connections of each
        self._lost: dict[int, Counter[bytes]] = {}  # topics of lost connections, until unsubscribed
        self._early: Counter[bytes] = Counter()  # unsubscribed before their connection was lost
        self._denied: set[int] = set()  # connections that are being closed
        self._records: list[AuditRecord] = []  # of the denials since they were taken
        self._rights = Rights()

    @property
    def has_watchers(self) -> bool:
        """Whether any subscriber watches changes."""
        return any(self._watched.values())

    @property
    def wants_prev_values(self) -> bool:
        """Whether any subscriber watches changes with the values before them."""
        return self._watched[PREV_TOPIC] > 0

    def __bool__(self) -> bool:
        return bool(self._topics)

    def take(
        self,
        frame: bytes,
        connection: int,
        *,
        user: bytes = b"",
        host: str = "",
        is_lost: bool = False,
    ) -> bytes | None:
        """Process a frame of a user's connection; return the nonce if it asks for a confirmation.

        ``host`` is at its other end, and counts as a user where there are none. ``is_lost``: the
        connection was lost before the frame was read. ZeroMQ later unsubscribes its topics under
        connection ``GONE``.
        """
        topic = frame[1:]
        if frame[:1] == UNSUBSCRIBE:
            self._remove(topic, connection)
        if frame[:1] != SUBSCRIBE:
            return None
        if is_lost and connection not in self._connections:
            self._add_late(topic, connection)
        else:
            self._add(topic, connection, user, host)
        if topic.startswith(ESTABLISHED_TOPIC) and not self.is_excessive(connection):
            return topic[len(ESTABLISHED_TOPIC) :]
        return None

    def denies(self, frame: bytes, connection: int, user: bytes) -> bool:
        """Whether a frame subscribes to changes that the user may not watch.

        The connection must then be closed: nothing more of it is accepted.
        """
        denied = self._denial(user, frame[1:]) if frame[:1] == SUBSCRIBE else None
        if denied is not None and connection not in self._denied:
            name = self._rights.name_of(user) or ""
            self._records.append(record_of_denial(name, user, SUBSCRIPTION, denied))
            if connection == GONE:
                return True
            self._denied.add(connection)
        return connection in self._denied

    def take_records(self) -> list[AuditRecord]:
        """Return the records of the denied subscriptions since the last call."""
        records, self._records = self._records, []
        return records

    def learn_rights(self, rights: Rights) -> list[int]:
        """Take the rights of now; return the connections that have a topic without the right."""
        self._rights = rights
        denied = [
            connection
            for connection, held in self._connections.items()
            if connection not in self._denied
            and any(self._denial(held.user, topic) for topic in held.topics)
        ]
        self._denied.update(denied)
        return denied

    def _denial(self, user: bytes, topic: bytes) -> Denied | None:
        """Return that a user may not have what is published to topics that begin with one."""
        if not user:
            return None
        if topic and topic[:1] not in CHANGE_TOPICS:
            return UNKNOWN if self._rights.name_of(user) is None else None
        try:
            prefix = topic[1:].decode()
        except UnicodeDecodeError:  # no client of a user subscribes to a part of a character
            place = topic[1:].decode(errors="replace")[:PLACE_LENGTH_MAX]
            return Denied(Right.WATCH, place)
        return self._rights.denial(user, Right.WATCH, prefix)

    def is_excessive(self, connection: int) -> bool:
        """Whether a connection exceeds a limit and must be closed."""
        held = self._connections.get(connection)
        if held is None or not held.topics:
            return False
        return (
            len(held.topics) > TOPICS_MAX
            or held.size > TOPIC_BYTES_MAX
            or exceeds_share(self._payers[held.payer].bytes, TOTAL_TOPIC_BYTES_MAX)
            or self._topics.bytes > TOTAL_TOPIC_BYTES_MAX
        )

    def forget(self, connection: int) -> None:
        """Record that a connection is lost; ZeroMQ unsubscribes its topics one by one.

        Some may have been unsubscribed already, as losses are reported by another socket.
        """
        self._denied.discard(connection)
        held = self._connections.pop(connection, None)
        if held is None:
            return
        for topic in held.topics:
            self._release(topic, held.payer)
            if self._early[topic]:
                self._early[topic] -= 1
                self._discount(topic)
            else:
                self._lost.setdefault(connection, Counter())[topic] += 1
        self._early = +self._early if self._connections else Counter()

    def drop_lost(self) -> None:
        """Drop what is left of lost connections, because none is open.

        ZeroMQ does not say whose topic it takes back, which may be ambiguous if several were lost.
        """
        for topics in self._lost.values():
            for topic in topics.elements():
                self._discount(topic)
        self._lost.clear()
        self._early.clear()

    def _add(self, topic: bytes, connection: int, user: bytes, host: str) -> None:
        held = self._connections.get(connection)
        if held is None:
            payer = payer_of(user, self._rights, b"\0" + host.encode())
            held = self._connections[connection] = _Connection(user, payer)
        held.user = user
        if topic not in held.topics:
            held.topics.add(topic)
            held.size += weight(topic)
            self._payers.setdefault(held.payer, Topics()).add(topic)
            self._count(topic)

    def _release(self, topic: bytes, payer: bytes) -> None:
        """Count a topic of a connection for its payer no longer."""
        self._payers[payer].remove(topic)
        if not self._payers[payer]:
            del self._payers[payer]

    def _add_late(self, topic: bytes, connection: int) -> None:
        """Record a subscription that is read after its connection was lost."""
        lost = self._lost.setdefault(connection, Counter())
        if topic not in lost:
            lost[topic] = 1
            self._count(topic)

    def _remove(self, topic: bytes, connection: int) -> None:
        """Remove a topic that the connection holds; other connections keep theirs."""
        held = self._connections.get(connection)
        if held is not None and topic in held.topics:
            held.topics.remove(topic)
            held.size -= weight(topic)
            self._release(topic, held.payer)
            self._discount(topic)
        elif connection != GONE:
            self._remove_lost(topic, [connection])
        elif not self._remove_lost(topic, list(self._lost)):
            self._early[topic] = min(self._early[topic] + 1, self._topics.count(topic))

    def _remove_lost(self, topic: bytes, connections: list[int]) -> bool:
        """Remove a topic of one of these lost connections; return whether one had it."""
        for connection in connections:
            lost = self._lost.get(connection)
            if lost is not None and topic in lost:
                lost[topic] -= 1
                if not lost[topic]:
                    del lost[topic]
                if not lost:
                    del self._lost[connection]
                self._discount(topic)
                return True
        return False

    def _count(self, topic: bytes) -> None:
        if self._topics.add(topic):
            self._note_watched(topic, 1)

    def _discount(self, topic: bytes) -> None:
        if self._topics.remove(topic):
            self._note_watched(topic, -1)

    def _note_watched(self, topic: bytes, change: int) -> None:
        if topic[:1] in self._watched:
            self._watched[topic[:1]] += change


def is_subscription(frame: bytes) -> bool:
    """Whether a frame is a subscription or its cancellation, with a nonce of a sound length."""
    is_long = frame[1:2] == ESTABLISHED_TOPIC and len(frame) > NONCE_FRAME_BYTES_MAX
    return frame[:1] in (UNSUBSCRIBE, SUBSCRIBE) and not is_long


def is_request(frame: bytes) -> bool:
    """Whether a frame asks for messages; ZeroMQ itself takes back those of a lost connection."""
    return frame[:1] == SUBSCRIBE
