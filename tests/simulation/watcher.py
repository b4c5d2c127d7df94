"""Watcher: a simulated subscriber, which checks the order and completeness of changes."""

from typing import TYPE_CHECKING

from protocol.client.changes import ESTABLISH_SECONDS, ChangeStream, StreamBroken
from protocol.messages.client import EVENT_TOPIC, Mark, Published
from protocol.state.commands import Event
from tests.simulation.breach import expect

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.pipes import Pipes

WATCH_AGAIN_DELAY = 0.05
ALL = 1 << 62  # above the position of every change of a revision


class Watcher:
    """Subscribes to one node after another, and compares the changes with the committed log."""

    def __init__(self, cluster: "Cluster", name: str, prefix: str) -> None:
        self.name = name
        # Revision and position of the last change received; before a confirmation, of none.
        self._heard = (-1, ALL)
        self._cluster = cluster
        self._prefix = prefix
        self._stream = ChangeStream(b"", b"", 0.0)
        self._nonces = 0
        self._pipes: Pipes | None = None

    def watch(self) -> None:
        """Subscribe to a serving node."""
        node = self._cluster.setting.chance.choice(list(self._cluster.nodes.values()))
        if node.door is None or not node.door.is_open:
            self._cluster.setting.events.after(WATCH_AGAIN_DELAY, self.watch)
            return
        self._nonces += 1
        nonce, events = f"{self.name} {self._nonces}".encode(), self._cluster.setting.events
        self._stream = ChangeStream(self._prefix.encode(), nonce, events.now)
        self._heard = (-1, ALL)
        self._pipes = node.door.pipes
        self._pipes.subscribe(self, nonce, self._prefix)
        events.after(ESTABLISH_SECONDS, self._give_up, self._stream)

    @property
    def revision(self) -> int:
        """The revision up to which all changes were received; -1 if none is confirmed."""
        revision, position = self._heard
        return revision if position == ALL else revision - 1

    @property
    def pipes(self) -> "Pipes | None":
        """The pipes that it is connected to."""
        return self._pipes

    def wants(self, topic: bytes) -> bool:
        """Return whether it has subscribed to this topic."""
        return topic.startswith(self._stream.topics)

    def hear(self, pipes: "Pipes", topic: bytes, body: bytes) -> None:
        """Receive a published message."""
        if pipes is not self._pipes:
            return
        was_established = self._stream.is_established
        try:
            taken = self._stream.take((topic, body), self._cluster.setting.events.now)
        except StreamBroken:
            pipes.leave(self)
            self.lost(pipes)
            return
        if self._stream.is_established and not was_established:
            self._heard = (self._stream.revision, ALL)
        elif isinstance(taken, Mark):
            self._skip_to((taken.revision + 1, 0))
        elif taken is not None:
            self._hear_change(taken)
        else:
            old = was_established and topic.startswith(EVENT_TOPIC)
            expect(not old, "a watcher heard of a change twice")

    def _give_up(self, stream: ChangeStream) -> None:
        """Try another node if the subscription was not confirmed in time."""
        if stream is self._stream and not stream.is_established and self._pipes is not None:
            self._pipes.leave(self)
            self.lost(self._pipes)

    def lost(self, pipes: "Pipes") -> None:
        """Subscribe again: the connection is lost, or changes may be missing."""
        if pipes is self._pipes:
            self._pipes = None
            self._cluster.setting.totals.streams_closed += 1
            self._cluster.setting.events.after(WATCH_AGAIN_DELAY, self.watch)

    def _hear_change(self, published: Published) -> None:
        place = (published.revision, published.position)
        self._skip_to(place)
        change = Event(
            published.revision,
            published.key,
            published.value,
            published.prev_revision,
            published.position,
        )
        known = self._cluster.setting.judge.log.model.changes
        expect(change == known[place[0] - 1][place[1]], "a watcher heard of a change that was not")
        self._heard = place
        self._cluster.setting.totals.watched += 1

    def _skip_to(self, place: tuple[int, int]) -> None:
        """Check that no change between the last one received and this place was missed."""
        known = self._cluster.setting.judge.log.model.changes
        for events in known[max(0, self._heard[0] - 1) : place[0]]:
            for event in events:
                is_between = self._heard < (event.revision, event.position) < place
                expect(
                    not (is_between and event.key.startswith(self._prefix)),
                    f"a watcher missed a change of revision {event.revision}",
                )
        if self._heard < place:
            self._heard = (place[0] - 1, ALL) if place[1] == 0 else (place[0], place[1] - 1)
