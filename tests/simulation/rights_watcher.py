"""Rights watcher: a subscriber that is a user, and may lose the right to watch."""

from typing import TYPE_CHECKING

from protocol.messages.client import ESTABLISHED_TOPIC, EVENT_TOPIC
from protocol.wire import decode_published
from tests.simulation.rights_user import key_of

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.pipes import Pipes

AGAIN_SECONDS = 0.3
STAY_SECONDS = 2.0  # at one node


class RightsWatcher:
    """Subscribes to one node after another; the judge checks each change that it is sent."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self.name = f"v{number}"
        self.user = key_of(f"user-{number}")
        self._cluster = cluster
        self._setting = cluster.setting
        self._prefix = self._setting.chance.choice(("r/", "r/a", "r/a/"))
        self._pipes: Pipes | None = None

    def watch(self) -> None:
        """Subscribe to a serving node."""
        node = self._setting.chance.choice(list(self._cluster.nodes.values()))
        if node.door is None or not node.door.is_open:
            self._setting.events.after(AGAIN_SECONDS, self.watch)
            return
        self._pipes = node.door.pipes
        topics = (EVENT_TOPIC + self._prefix.encode(), ESTABLISHED_TOPIC + self.name.encode())
        self._pipes.subscribe(self, topics, self.user)
        self._setting.events.after(STAY_SECONDS, self._leave, self._pipes)

    def wants(self, topic: bytes) -> bool:
        """Return whether it has subscribed to this topic."""
        return topic.startswith(EVENT_TOPIC + self._prefix.encode())

    def is_sent(self, topic: bytes, body: bytes) -> None:
        """Judge a message at the moment at which the node sends it."""
        if topic[:1] == EVENT_TOPIC:
            self._setting.totals.watched_by_users += 1
            revision = decode_published(body).revision
            self._setting.judge.rights.delivers(self.user, self._prefix, revision)

    def hear(self, pipes: "Pipes", topic: bytes, body: bytes) -> None:
        """Receive a published message."""

    def lost(self, pipes: "Pipes") -> None:
        """Subscribe again: the connection was closed."""
        if pipes is self._pipes:
            self._pipes = None
            self._setting.events.after(AGAIN_SECONDS, self.watch)

    def _leave(self, pipes: "Pipes") -> None:
        if pipes is self._pipes:
            pipes.leave(self)
            self.lost(pipes)
