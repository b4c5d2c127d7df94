"""A subscriber: changes in order, each once, none missing, unless it is told so."""

from typing import TYPE_CHECKING

from protocol.commands import Event
from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC, MARK_TOPIC
from protocol.wire import decode_established, decode_mark, decode_published
from tests.simulation.breach import expect

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.pipes import Pipes

WATCH_AGAIN_DELAY = 0.05
ESTABLISH_SECONDS = 1.0


class Watcher:
    """Watches at one node after another, and compares what it hears with the committed log."""

    def __init__(self, cluster: "Cluster", name: str, prefix: str) -> None:
        self.name = name
        self.revision = -1  # up to here all is known; -1 before the subscription counts
        self._cluster = cluster
        self._prefix = prefix
        self._topic = EVENT_TOPIC + prefix.encode()
        self._nonce = b""
        self._nonces = 0
        self._losses = 0
        self._pipes: Pipes | None = None

    def watch(self) -> None:
        """Subscribe at some node that serves."""
        node = self._cluster.setting.chance.choice(list(self._cluster.nodes.values()))
        if node.door is None or not node.door.is_open:
            self._cluster.setting.events.after(WATCH_AGAIN_DELAY, self.watch)
            return
        self._nonces += 1
        self._nonce = f"{self.name} {self._nonces}".encode()
        self.revision = -1
        self._pipes = node.door.pipes
        self._pipes.subscribe(self, self._nonce, self._prefix)
        self._cluster.setting.events.after(ESTABLISH_SECONDS, self._give_up, self._nonce)

    @property
    def pipes(self) -> "Pipes | None":
        """Where it is connected."""
        return self._pipes

    def wants(self, topic: bytes) -> bool:
        """Whether it has subscribed to this topic."""
        return topic in (MARK_TOPIC, ESTABLISHED_TOPIC + self._nonce) or topic.startswith(
            self._topic
        )

    def hear(self, pipes: "Pipes", topic: bytes, body: bytes) -> None:
        """Take in what was published."""
        if pipes is not self._pipes:
            return
        if topic.startswith(ESTABLISHED_TOPIC):
            established = decode_established(body)
            self._losses, self.revision = established.losses, established.revision
        elif self.revision < 0:
            pass  # from before the subscription counts
        elif topic == MARK_TOPIC:
            mark = decode_mark(body)
            if self._nothing_lost(mark.losses):
                self._skip_to(mark.revision + 1)
        else:
            self._hear_change(body)

    def _give_up(self, nonce: bytes) -> None:
        """Ask elsewhere, where the subscription was not confirmed in time."""
        if nonce == self._nonce and self.revision < 0 and self._pipes is not None:
            self._pipes.leave(self)
            self.lost(self._pipes)

    def lost(self, pipes: "Pipes") -> None:
        """Begin anew: the connection is gone, or changes may be missing."""
        if pipes is self._pipes:
            self._pipes = None
            self._cluster.setting.totals.streams_closed += 1
            self._cluster.setting.events.after(WATCH_AGAIN_DELAY, self.watch)

    def _hear_change(self, body: bytes) -> None:
        published = decode_published(body)
        if not self._nothing_lost(published.losses):
            return
        revision = published.revision
        expect(revision > self.revision, "a watcher heard of a change twice")
        self._skip_to(revision)
        change = Event(revision, published.key, published.value, published.prev_revision)
        known = self._cluster.setting.judge.log.model.events
        expect(change == known[revision - 1], "a watcher heard of a change that was not")
        self.revision = revision
        self._cluster.setting.totals.watched += 1

    def _skip_to(self, revision: int) -> None:
        """Check that no change between the last one heard and this one concerns the watcher."""
        known = self._cluster.setting.judge.log.model.events
        for event in known[self.revision : revision - 1]:
            expect(
                not event.key.startswith(self._prefix),
                f"a watcher missed the change of revision {event.revision}",
            )
        self.revision = max(self.revision, revision - 1)

    def _nothing_lost(self, losses: int) -> bool:
        if losses == self._losses:
            return True
        assert self._pipes is not None
        self._pipes.leave(self)
        self.lost(self._pipes)
        return False
